//! The table of watches alone.

use super::Body;
use super::tree::Paths;
use ringkeeper::shard::watches::{Bounds, Table, Watches, mode};

const BOUNDS: Bounds = Bounds { conn_bytes_max: 1 << 30, bytes_max: 1 << 30 };

/// A one-shot watch on one of many watched paths.
pub fn set_and_fire(nodes: u32) -> Body {
    let (mut watches, mut paths) = (Watches::new(1, BOUNDS), Paths::new(nodes));
    (0..nodes).for_each(|_| assert!(watches.add(1, paths.next(), mode::DATA)));
    let mut told = Vec::new();
    let turn = move || {
        let path = paths.next();
        assert!(watches.add(2, path, mode::DATA));
        watches.fire(Table::Data, path, &mut told);
        assert_eq!(told.len(), 2);
        assert!(watches.add(1, path, mode::DATA));
    };
    Body { operations: 1, turn: Box::new(turn) }
}
