//! The tree's digest (`DigestCalculator`, `AdHash`, version 2): the wrapping sum of a CRC-32 per node, so that a
//! transaction costs only the nodes it changes.

use super::index::ChildStat;
use super::node::Node;

/// The version this code computes.
pub const DIGEST_VERSION: i32 = 2;

/// One node's share. Nodes below /zookeeper count nothing, /zookeeper itself does.
pub fn node_digest(node: &Node, children: ChildStat) -> u64 {
    let path = node.path_bytes();
    if path.starts_with(b"/zookeeper/") {
        return 0;
    }
    let head = node.head();
    let mut stat = [0; 60];
    let longs = [head.czxid.0, head.mzxid.0, children.pzxid.0, head.ctime, head.mtime];
    for (slot, value) in stat.chunks_exact_mut(8).zip(longs) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    stat[40..44].copy_from_slice(&head.version.to_be_bytes());
    stat[44..48].copy_from_slice(&children.cversion.to_be_bytes());
    stat[48..52].copy_from_slice(&head.aversion.to_be_bytes());
    stat[52..].copy_from_slice(&head.owner.to_be_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(if path == b"/" { b"" } else { path });
    crc.update(node.data().unwrap_or_default());
    crc.update(&stat);
    crc.finalize() as u64
}
