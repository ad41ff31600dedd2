//! Digest vectors produced by Apache ZooKeeper's own classes, and undo as the exact inverse of apply.

use super::*;
use crate::ids::{SessionId, Zxid};
use crate::wire::txn::CreateKind;
use crate::wire::{Acl, Txn, TxnHeader};
use proptest::prelude::*;

fn settings() -> StoreSettings {
    StoreSettings { hash_seed: 1, rules: OwnerRules::default(), digest_enabled: true, enforce_quota: false }
}

fn header(zxid: i64, txn: &Txn<'_>) -> TxnHeader {
    TxnHeader {
        session: SessionId(7),
        cxid: 1,
        zxid: Zxid(zxid),
        time_ms: 1_700_000_000_000 + zxid,
        op: txn.op(),
    }
}

fn create(path: &str, ephemeral: bool, perms: i32) -> Txn<'static> {
    Txn::Create {
        kind: CreateKind::Create,
        path: path.to_string().into(),
        data: Some(b"data"),
        acl: vec![Acl { perms, scheme: "world".into(), id: "anyone".into() }].into(),
        ephemeral,
        parent_cversion: -1,
    }
}

#[test]
fn a_fresh_tree_has_the_digest_of_apache() {
    let store = Store::new(settings());
    assert_eq!(store.digest(), Some(0x51c6_d660));
    assert_eq!(store.tree().node_count(), 5);
}

/// Everything a tree tells about itself, in a fixed order.
fn picture(store: &Store) -> Vec<String> {
    let tree = store.tree();
    let mut lines: Vec<String> = tree
        .nodes()
        .map(|node| {
            let stat = tree.stat(node);
            let acl = tree.acl(node.head().acl);
            format!("{} {:?} {stat:?} {:?} {acl:?}", node.path(), node.data(), tree.child_stat_of(node))
        })
        .collect();
    lines.sort();
    for session in tree.ephemeral_sessions() {
        lines.push(format!("{session}: {}", tree.ephemerals(session).count()));
    }
    lines.push(format!("{:?} {} {}", store.digest(), tree.data_bytes(), tree.ephemeral_count()));
    lines
}

fn random_txn() -> impl Strategy<Value = Txn<'static>> {
    let path = (0..4usize, 0..3usize).prop_map(|(a, b)| match b {
        0 => format!("/n{a}"),
        b => format!("/n{a}/m{b}"),
    });
    let quota = (0..2usize, any::<bool>()).prop_map(|(a, stats)| {
        format!("/zookeeper/quota/n{a}/{}", if stats { "zookeeper_stats" } else { "zookeeper_limits" })
    });
    prop_oneof![
        4 => (path.clone(), any::<bool>(), 1..4i32).prop_map(|(path, own, perms)| create(&path, own, perms)),
        1 => (0..2usize).prop_map(|a| create(&format!("/zookeeper/quota/n{a}"), false, 31)),
        1 => quota.prop_map(|path| create(&path, false, 31)),
        3 => path.clone().prop_map(|path| Txn::Delete { path: path.into(), container: false }),
        3 => (path.clone(), 0..9i32).prop_map(|(path, version)| Txn::SetData {
            path: path.into(), data: Some(b"other data"), version, reconfig: false
        }),
        1 => (path, 1..4i32).prop_map(|(path, perms)| Txn::SetAcl {
            path: path.into(),
            acl: vec![Acl { perms, scheme: "ip".into(), id: "127.0.0.1".into() }].into(),
            version: 3
        }),
        1 => Just(Txn::CloseSession { paths: None }),
    ]
}

/// Deletes that would orphan children never reach a store: the member refuses them.
fn is_sane(store: &Store, txn: &Txn<'_>) -> bool {
    match txn {
        Txn::Delete { path, .. } => store.tree().child_stat(path).count == 0,
        Txn::CloseSession { .. } => {
            store.tree().ephemerals(SessionId(7)).all(|node| store.tree().child_stat(node.path()).count == 0)
        }
        _ => true,
    }
}

proptest! {
    #[test]
    fn undo_is_the_exact_inverse_and_effects_rebuild_the_tree(txns in prop::collection::vec(random_txn(), 1..40)) {
        let mut store = Store::new(settings());
        let mut other = Tree::new(1, OwnerRules::default());
        let mut pictures = vec![picture(&store)];
        let mut undos = Vec::new();
        for (index, txn) in txns.iter().enumerate().filter(|_| true) {
            if !is_sane(&store, txn) {
                continue;
            }
            let (mut effects, mut undo) = (Vec::new(), Undo::default());
            if store.apply(&header(index as i64 + 1, txn), txn, &mut effects, &mut undo).is_err() {
                store.undo(&mut undo, 0);
                prop_assert_eq!(pictures.last().expect("one at least"), &picture(&store));
                continue;
            }
            effects.iter().for_each(|effect| other.install(effect));
            pictures.push(picture(&store));
            undos.push(undo);
        }
        let rebuilt = Store::from_tree(settings(), other);
        prop_assert_eq!(&picture(&rebuilt), pictures.last().expect("one at least"));
        while let Some(mut undo) = undos.pop() {
            pictures.pop();
            store.undo(&mut undo, 0);
            prop_assert_eq!(pictures.last().expect("one at least"), &picture(&store));
        }
    }
}
