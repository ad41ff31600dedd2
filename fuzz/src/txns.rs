//! An entry of the log: what decodes encodes to something that decodes to the same. Text is settled only after one round:
//! as in Java, characters beyond the basic plane are written as surrogates, which nobody can read.

use ringkeeper::wire::txn::{decode_entry, encode_entry};

pub fn run(data: &[u8]) {
    let Ok((header, txn, digest)) = decode_entry(data) else { return };
    let mut settled = Vec::new();
    encode_entry(&mut settled, &header, &txn, digest);
    let (header, txn, digest) = decode_entry(&settled).expect("what was encoded decodes");
    let mut again = Vec::new();
    encode_entry(&mut again, &header, &txn, digest);
    let decoded = decode_entry(&again).expect("what was encoded decodes");
    assert_eq!(decoded, (header, txn, digest));
}
