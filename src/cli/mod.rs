//! The operator's commands.

pub mod bench;
