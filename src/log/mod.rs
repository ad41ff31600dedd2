//! What is written where, still without any IO: frames of transactions in preallocated, recycled segments, and how to
//! read them back after any crash.
//!
//! A segment is a file of whole 4 KiB blocks. Its first block is the segment header, written together with the first
//! frame. One group commit is one frame: a header block field and the transactions exactly as ZooKeeper serialises
//! them, padded to whole blocks. A sector that may hold something acknowledged is never written again.
//!
//! Knows no tree, no roles, no files: `LogWriter` emits writes, `recovery` reads through a trait.

pub mod apache;
pub mod frame;
pub mod recovery;
mod writer;

pub use recovery::{Recovered, RecoveryError, SegmentSource, recover};
pub use writer::{LogOutput, LogStart, LogWriter};

#[cfg(test)]
mod tests;
