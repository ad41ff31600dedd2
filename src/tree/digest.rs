//! The tree's digest (`DigestCalculator`, `AdHash`, version 2): the wrapping sum of a CRC-32 per node, so that a
//! transaction costs only the nodes it changes.

use super::index::ChildStat;
use super::node::Node;

/// The version this code computes.
pub const DIGEST_VERSION: i32 = 2;

/// One node's share. Nodes below /zookeeper count nothing, /zookeeper itself does.
pub fn node_digest(node: &Node, children: ChildStat) -> u32 {
    let path = node.path_bytes();
    if path.starts_with(b"/zookeeper/") {
        return 0;
    }
    let head = node.head();
    let mut stat = [0; STAT_BYTES];
    let longs = [head.czxid.0, head.mzxid.0, children.pzxid.0, head.ctime, head.mtime];
    for (slot, value) in stat.chunks_exact_mut(8).zip(longs) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    stat[40..44].copy_from_slice(&head.version.to_be_bytes());
    stat[44..48].copy_from_slice(&children.cversion.to_be_bytes());
    stat[48..52].copy_from_slice(&head.aversion.to_be_bytes());
    stat[52..].copy_from_slice(&head.owner.to_be_bytes());
    let path = if path == b"/" { b"" } else { path };
    checksum([path, node.data().unwrap_or_default(), &stat])
}

/// The check sum of all parts. Short ones are put together first: one long run costs much less than three short ones.
fn checksum(parts: [&[u8]; 3]) -> u32 {
    let mut together = [0; TOGETHER_BYTES];
    let mut end = 0;
    let mut crc = crc32fast::Hasher::new();
    for part in parts {
        if end + part.len() > TOGETHER_BYTES {
            crc.update(&together[..end]);
            crc.update(part);
            end = 0;
            continue;
        }
        together[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    crc.update(&together[..end]);
    crc.finalize()
}

const STAT_BYTES: usize = 60;
/// Parts up to here are put together on the stack.
const TOGETHER_BYTES: usize = 512;
