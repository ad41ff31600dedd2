//! Atomic broadcast: who leads (`election`, its connections in `links`), how the elected one finds a quorum, brings it to
//! its own history and commits (`leading`, `learning`), what both need (`quorum`, `history`, `sync`, `settings`).
//!
//! The member still runs with `leader` alone: a standalone server is an ensemble of one whose voter is known from the
//! start. The rest are the same kind of state machines, and nothing drives them yet.
//!
//! Knows zxids, epochs, servers and opaque entries, not transactions, trees or clients.

pub mod election;
pub mod history;
pub mod leader;
pub mod leading;
pub mod learning;
pub mod links;
pub mod quorum;
pub mod settings;
pub mod sync;

pub use leader::Leader;

#[cfg(test)]
mod tests;
