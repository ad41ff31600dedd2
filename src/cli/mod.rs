//! (stub)
pub mod bench;
