//! The table of watches alone.

use super::Body;
use super::tree::Paths;
use ringkeeper::shard::watches::{Table, Watches, mode};

/// A one-shot watch on one of many watched paths.
pub fn set_and_fire(nodes: u32) -> Body {
    let (mut watches, mut paths) = (Watches::new(1), Paths::new(nodes));
    (0..nodes).for_each(|_| watches.add(1, paths.next(), mode::DATA));
    let mut told = Vec::new();
    let turn = move || {
        let path = paths.next();
        watches.add(2, path, mode::DATA);
        watches.fire(Table::Data, path, &mut told);
        assert_eq!(told.len(), 2);
        watches.add(1, path, mode::DATA);
    };
    Body { operations: 1, turn: Box::new(turn) }
}
