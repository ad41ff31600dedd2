//! What the fuzz targets share.

use ringkeeper::tree::{OwnerRules, Tree};

/// An empty tree to be filled.
pub fn empty_tree() -> Tree {
    Tree::empty(1, OwnerRules { extended_types: true, emulate_353: false })
}

/// Every operation a request may have, and some it may not.
pub fn op(byte: u8) -> Option<ringkeeper::wire::Op> {
    let number = match byte {
        0..=25 => i32::from(byte),
        26..=40 => i32::from(byte) + 74,
        41 => -10,
        42 => -11,
        _ => i32::from(byte),
    };
    ringkeeper::wire::Op::from_i32(number)
}
