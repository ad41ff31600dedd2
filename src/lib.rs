//! Ringkeeper: a coordination server that takes the place of Apache ZooKeeper 3.9 on Linux.
//!
//! The core (`wire tree log zab shard member scribe`) is sans-IO and deterministic: everything that happens is an input to
//! a `step`, everything it wants is an output. `io` and `server` drive it in production, `sim` drives it under
//! virtual time. `src/README.md` is the map.

pub mod aligned;
pub mod cli;
pub mod config;
pub mod ids;
pub mod io;
pub mod limits;
pub mod log;
pub mod member;
pub mod mesh;
pub mod metrics;
pub mod prng;
pub mod scribe;
pub mod send_buffer;
pub mod server;
pub mod shard;
pub mod sim;
pub mod tree;
pub mod wire;
pub mod zab;

#[cfg(test)]
mod tidy;
