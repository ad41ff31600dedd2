//! What the fuzz targets do with an input. `tests/fuzz_bodies.rs` takes them in, too: an ordinary build sees what no longer fits.

pub mod apache_log;
pub mod config;
pub mod connection;
pub mod log;
pub mod requests;
pub mod seeds;
pub mod snapshot;
pub mod txns;

use ringkeeper::tree::{OwnerRules, Tree};

/// Writes the first inputs of a target, if a run asks for them.
pub fn prepare(target: &str) {
    if let Some(folder) = std::env::var_os("SEEDS") {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests");
        seeds::write(tests.as_ref(), target, folder.as_ref());
    }
}

/// An empty tree to be filled.
fn empty_tree() -> Tree {
    Tree::empty(1, OwnerRules { extended_types: true, emulate_353: false })
}

/// Every operation a request may have, and some it may not.
fn op(byte: u8) -> Option<ringkeeper::wire::Op> {
    let number = match byte {
        0..=25 => i32::from(byte),
        26..=40 => i32::from(byte) + 74,
        41 => -10,
        42 => -11,
        _ => i32::from(byte),
    };
    ringkeeper::wire::Op::from_i32(number)
}
