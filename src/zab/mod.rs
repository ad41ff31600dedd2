//! Atomic broadcast: who leads, what is proposed, what is committed. So far the leader's role in an ensemble whose voters
//! are known from the start; a standalone server is an ensemble of one, so it runs this code with a quorum of one.
//!
//! Knows zxids, epochs, servers and opaque entries, not transactions, trees or clients.

pub mod election;
pub mod history;
pub mod leader;
pub mod links;
pub mod quorum;
pub mod sync;

pub use leader::Leader;
