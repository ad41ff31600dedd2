//! A transaction log of Apache ZooKeeper.

use ringkeeper::log::apache::ApacheLog;
use ringkeeper::wire::txn::decode_entry;

pub fn run(data: &[u8]) {
    let Ok(log) = ApacheLog::new(data, 1 << 20) else { return };
    for entry in log {
        match entry {
            Ok(entry) => _ = decode_entry(entry.bytes),
            Err(error) => assert!(error.offset <= data.len() as u64),
        }
    }
}
