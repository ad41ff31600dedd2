//! Bytes to values and back: jute, frames, requests, replies, transactions. Stateless; shapes and names are those of
//! `zookeeper.jute`. Decoders never panic and never allocate more than the input is long.
//!
//! Does not decide anything: path rules, permissions and order of checks live in `member` and `shard`.

pub mod address;
pub mod codes;
pub mod jute;
pub mod password;
pub mod properties;
pub mod quorum;
pub mod records;
pub mod request;
pub mod servers;
pub mod txn;
pub mod vote;

pub use codes::{ErrorCode, EventType, Op};
pub use jute::{DecodeError, Reader, Writer};
pub use records::{Acl, ConnectRequest, ConnectResponse, Identity, ReplyHeader, RequestHeader, Stat};
pub use request::Request;
pub use txn::{Txn, TxnDigest, TxnHeader};

#[cfg(test)]
pub(crate) mod traces;
#[cfg(test)]
mod vectors;
