//! What is written where, still without any IO: frames of transactions in preallocated, recycled segments, and how to
//! read them back after any crash.
//!
//! A segment is a file of whole 4 KiB blocks. Its first block is the segment header, written together with the first
//! frame. One group commit is one frame: a header block field and the transactions exactly as ZooKeeper serialises
//! them, padded to whole blocks. A sector that may hold something acknowledged is never written again.
//!
//! Reading has two steps: `plan` looks at the segments' headers only and says which segments count, up to where, and
//! which of them a snapshot leaves necessary; `replay` reads those.
//!
//! Knows no tree, no roles, no files: `LogWriter` emits writes, `plan` and `replay` read through a trait.

pub mod apache;
pub mod files;
pub mod frame;
mod plan;
mod replay;
mod writer;

pub use frame::Epochs;
pub use plan::{End, Plan, RecoveryError, SegmentFile, SegmentSource, ends, plan, read_headers};
pub use replay::{Recovered, Visitor, recover, replay};
pub use writer::{LogOutput, LogStart, LogWriter};

#[cfg(test)]
mod tests;
