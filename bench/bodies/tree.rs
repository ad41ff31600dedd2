//! The data: looking up, and one transaction on the member's tree and on a shard's.

use super::Body;
use ringkeeper::ids::{SessionId, Zxid};
use ringkeeper::tree::{Effect, Effects, OwnerRules, Store, StoreSettings, Undo};
use ringkeeper::wire::txn::CreateKind;
use ringkeeper::wire::{Acl, Txn, TxnHeader};
use std::hint::black_box;

/// A store with nodes /bench/n00000000 and so on, of 100 bytes each, and how transactions reach it.
pub struct World {
    pub store: Store,
    pub zxid: i64,
    effects: Effects,
    undo: Undo,
}

impl World {
    pub fn new(nodes: u32) -> World {
        let rules = OwnerRules::default();
        let settings = StoreSettings { hash_seed: 1, rules, digest_enabled: true, enforce_quota: false };
        let (effects, undo) = (Effects::new(), Undo::kept());
        let mut world = World { store: Store::new(settings), zxid: 0, effects, undo };
        world.apply(&create("/bench"));
        (0..nodes).for_each(|index| {
            world.apply(&create(&path(index)));
        });
        world
    }

    /// The effects of a transaction.
    pub fn apply(&mut self, txn: &Txn<'_>) -> &[Effect] {
        self.zxid += 1;
        let header = TxnHeader {
            session: SessionId(7),
            cxid: 1,
            zxid: Zxid(self.zxid),
            time_ms: 1_700_000_000_000,
            op: txn.op(),
        };
        self.effects.clear();
        self.undo.clear();
        let applied = self.store.apply(&header, txn, &mut self.effects, &mut self.undo);
        assert!(applied.is_ok(), "the benchmark's transactions fit its tree");
        &self.effects
    }
}

pub fn path(index: u32) -> String {
    format!("/bench/n{index:08}")
}

/// A path after the other, spread over the whole tree.
pub struct Paths {
    paths: Vec<String>,
    next: usize,
}

impl Paths {
    pub fn new(nodes: u32) -> Paths {
        Paths { paths: (0..nodes).map(path).collect(), next: 0 }
    }

    pub fn next(&mut self) -> &str {
        self.next = (self.next + STRIDE) % self.paths.len();
        &self.paths[self.next]
    }
}

/// Prime, so that all come in turn.
const STRIDE: usize = 7919;

fn create(path: &str) -> Txn<'static> {
    Txn::Create {
        kind: CreateKind::Create,
        path: path.to_string().into(),
        data: Some(&[b'v'; 100]),
        acl: vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }].into(),
        ephemeral: false,
        parent_cversion: -1,
    }
}

pub fn set_data(path: &str) -> Txn<'_> {
    Txn::SetData { path: path.into(), data: Some(&[b'w'; 100]), version: 1, reconfig: false }
}

pub fn look_up(nodes: u32) -> Body {
    let (world, mut paths) = (World::new(nodes), Paths::new(nodes));
    let turn = move || {
        let node = world.store.tree().node(black_box(paths.next()));
        assert_eq!(node.expect("it is there").data_length(), 100);
    };
    Body { operations: 1, turn: Box::new(turn) }
}

pub fn list_children(_: u32) -> Body {
    const CHILDREN: u32 = 1000;
    let world = World::new(CHILDREN);
    let turn = move || {
        let tree = world.store.tree();
        let (slot, _) = tree.find(black_box("/bench")).expect("it is there");
        let bytes: usize = tree.children(slot).map(|(_, child)| child.name().len()).sum();
        assert_eq!(bytes, 9 * CHILDREN as usize);
    };
    Body { operations: u64::from(CHILDREN), turn: Box::new(turn) }
}

pub fn apply_set_data(nodes: u32) -> Body {
    let (mut world, mut paths) = (World::new(nodes), Paths::new(nodes));
    let turn = move || assert_eq!(world.apply(&set_data(paths.next())).len(), 1);
    Body { operations: 1, turn: Box::new(turn) }
}

pub fn apply_create_delete(nodes: u32) -> Body {
    let mut world = World::new(nodes);
    let path = "/bench/another";
    let (create, delete) = (create(path), Txn::Delete { path: path.into(), container: false });
    let turn = move || {
        assert_eq!(world.apply(&create).len(), 1);
        assert_eq!(world.apply(&delete).len(), 1);
    };
    Body { operations: 2, turn: Box::new(turn) }
}

/// What each shard does with what the member has worked out.
pub fn install_set_data(nodes: u32) -> Body {
    let (mut world, mut paths) = (World::new(nodes), Paths::new(nodes));
    let mut tree = world.store.tree().clone();
    let effects: Vec<Effect> =
        (0..EFFECTS).flat_map(|_| world.apply(&set_data(paths.next())).to_vec()).collect();
    let turn = move || effects.iter().for_each(|effect| tree.install(black_box(effect)));
    Body { operations: EFFECTS, turn: Box::new(turn) }
}

const EFFECTS: u64 = 64;
