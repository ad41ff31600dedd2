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
        .map(|(slot, node)| {
            let (stat, children) = (tree.stat(slot), tree.child_stat(slot));
            let acl = tree.acl(node.acl());
            let mut names: Vec<&str> = tree.children(slot).map(|(_, child)| child.name()).collect();
            names.sort_unstable();
            assert_eq!(names.len(), children.count);
            format!("{} {:?} {stat:?} {children:?} {acl:?} {names:?}", node.path(), node.data())
        })
        .collect();
    lines.sort();
    for session in tree.ephemeral_sessions() {
        lines.push(format!("{session}: {}", tree.ephemerals(session).count()));
    }
    let lists = tree.acls().count();
    lines.push(format!("{:?} {} {} {lists}", store.digest(), tree.data_bytes(), tree.ephemeral_count()));
    lines
}

fn random_txn() -> impl Strategy<Value = Txn<'static>> {
    let multi = prop::collection::vec(random_operation(), 0..5).prop_map(Txn::Multi);
    prop_oneof![8 => random_operation(), 2 => multi, 1 => closing()]
}

fn closing() -> impl Strategy<Value = Txn<'static>> {
    let paths = prop::collection::vec((0..4usize).prop_map(|node| format!("/n{node}").into()), 0..3);
    prop::option::of(paths).prop_map(|paths| Txn::CloseSession { paths })
}

fn random_operation() -> impl Strategy<Value = Txn<'static>> {
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
        1 => Just(Txn::Check { path: "/n0".into(), version: 1 }),
    ]
}

proptest! {
    #[test]
    fn undo_is_the_exact_inverse_and_effects_rebuild_the_tree(txns in prop::collection::vec(random_txn(), 1..40)) {
        let mut store = Store::new(settings());
        let mut other = Tree::new(1, OwnerRules::default());
        let mut pictures = vec![picture(&store)];
        let mut undos = Vec::new();
        for (index, txn) in txns.iter().enumerate() {
            let (mut effects, mut undo) = (Effects::new(), Undo::kept());
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

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn node_digests_are_those_of_apache() {
    let vectors = json(include_str!("../../tests/vectors/digest.json"));
    for vector in vectors["nodeDigests"].as_array().expect("an array") {
        let path = vector["path"].as_str().expect("text");
        let data = vector["data_hex"].as_str().map(bytes);
        let stat =
            vector["stat_persisted_czxid_mzxid_ctime_mtime_version_cversion_aversion_ephemeralOwner_pzxid"]
                .as_str()
                .map(bytes)
                .expect("text");
        let long = |at: usize| i64::from_be_bytes(stat[at..at + 8].try_into().expect("eight bytes"));
        let int = |at: usize| i32::from_be_bytes(stat[at..at + 4].try_into().expect("four bytes"));
        let head = NodeHead {
            czxid: Zxid(long(0)),
            mzxid: Zxid(long(8)),
            ctime: long(16),
            mtime: long(24),
            version: int(32),
            aversion: int(40),
            owner: long(44),
            ..NodeHead::zero()
        };
        let node = Node::new(head, if path.is_empty() { "/" } else { path }, data.as_deref());
        let children = ChildStat { cversion: int(36), pzxid: Zxid(long(52)), count: 0 };
        assert_eq!(
            u64::from(digest::node_digest(&node, children)),
            vector["digest"].as_u64().expect("a number"),
            "{path}"
        );
    }
}

/// The transactions that made `Snapshot.tiny` and the digests of `treeDigestSteps`.
fn tiny() -> Vec<Txn<'static>> {
    let world = || Acl { perms: 31, scheme: "world".into(), id: "anyone".into() };
    let user = || Acl { perms: 31, scheme: "digest".into(), id: "user:hash=".into() };
    let create = |path: &'static str, kind, data, ephemeral, parent_cversion| Txn::Create {
        kind,
        path: path.into(),
        data,
        acl: vec![if ephemeral { user() } else { world() }].into(),
        ephemeral,
        parent_cversion,
    };
    let set = |path: &'static str, data: &'static [u8]| Txn::SetData {
        path: path.into(),
        data: Some(data),
        version: 1,
        reconfig: false,
    };
    vec![
        Txn::CreateSession { timeout_ms: 30_000 },
        create("/foo", CreateKind::Create, Some(b"hello"), false, 1),
        create("/foo/e", CreateKind::Create, None, true, 1),
        create("/c", CreateKind::Container, Some(b""), false, 2),
        set("/foo", b"world"),
        Txn::SetAcl { path: "/c".into(), acl: vec![user()].into(), version: 1 },
        create("/bar", CreateKind::Create, Some(b"x"), false, 3),
        Txn::Delete { path: "/bar".into(), container: false },
        Txn::Multi(vec![create("/m1", CreateKind::Create, Some(b"1"), false, 4), set("/m1", b"2")]),
    ]
}

fn tiny_store(until: impl Fn(&Store, usize)) -> Store {
    let mut store = Store::new(settings());
    until(&store, 0);
    for (index, txn) in tiny().iter().enumerate() {
        let zxid = index as i64 + 1;
        let header = TxnHeader {
            session: SessionId(0x1000_0000_0000_0001),
            cxid: 0,
            zxid: Zxid(0x1_0000_0000 + zxid),
            time_ms: 1_700_000_000_000 + 1000 * zxid,
            op: txn.op(),
        };
        store.apply(&header, txn, &mut Effects::new(), &mut Undo::none()).expect("valid");
        until(&store, index + 1);
    }
    store
}

#[test]
fn tree_digests_are_those_of_apache_after_every_transaction() {
    let vectors = json(include_str!("../../tests/vectors/digest.json"));
    tiny_store(|store, step| {
        let expected = &vectors["treeDigestSteps"][step];
        assert_eq!(store.digest(), expected["treeDigest"].as_u64(), "{}", expected["step"]);
    });
}

/// Without the last line, where lists are counted: Apache has one for open nodes, too.
fn nodes(store: &Store) -> Vec<String> {
    let mut lines = picture(store);
    lines.pop();
    lines
}

#[test]
fn the_snapshot_is_that_of_apache() {
    let vectors = json(include_str!("../../tests/vectors/disk.json"));
    let named = |name: &str| {
        let vector = vectors.as_array().expect("an array").iter().find(|vector| vector["name"] == name);
        bytes(vector.expect("is there")["hex"].as_str().expect("text"))
    };
    let expected = named("Snapshot.tiny");
    let options = image::ImageOptions::default();
    let read = |bytes: &[u8]| image::read(&mut &bytes[..], Tree::empty(1, OwnerRules::default()), &options);
    let apache = read(&expected).expect("sound");
    let store = tiny_store(|_, _| {});
    let mut ours = Vec::new();
    let zxid = Zxid(0x1_0000_0009);
    let digest = store.digest().map(|digest| (zxid, digest));
    image::write(store.tree(), &apache.sessions, digest, zxid, &options, &mut ours).expect("written");
    assert_eq!(apache.bytes, expected.len() as u64);
    let stream = named("SnapStream.network");
    let (body, rest) =
        image::read_body(&mut &stream[..], Tree::empty(1, OwnerRules::default()), &options).expect("sound");
    assert_eq!(&rest[4..], b"BenWasHere");
    assert_eq!(nodes(&Store::from_tree(settings(), body.tree)), nodes(&store));
    let mut body = Vec::new();
    image::write_body(store.tree(), &apache.sessions, &mut body).expect("written");
    let (again, rest) =
        image::read_body(&mut &body[..], Tree::empty(1, OwnerRules::default()), &options).expect("sound");
    assert!(rest.is_empty() && again.bytes == body.len() as u64 && again.sessions == apache.sessions);
    assert_eq!((apache.digest, apache.last_zxid), (digest, Some(zxid)));
    assert_eq!(nodes(&Store::from_tree(settings(), apache.tree)), nodes(&store));
    let again = read(&ours).expect("sound");
    assert_eq!(picture(&Store::from_tree(settings(), again.tree)), picture(&store));
}

fn replayed(txns: &[(i64, Txn<'_>)]) -> Store {
    let mut store = Store::new(settings());
    for (zxid, txn) in txns {
        store.replay(&header(*zxid, txn), txn);
    }
    store
}

#[test]
fn replay_over_a_newer_tree_ends_where_the_log_ends() {
    let delete = |path: &'static str| Txn::Delete { path: path.into(), container: false };
    let mut txns = vec![create("/a", false, 1), create("/a/b", false, 2), delete("/a/b"), delete("/a")];
    txns.extend([create("/a", true, 3), create("/c", false, 1), create("/c/d", true, 31), delete("/c/d")]);
    txns.extend([create("/c/e", false, 5), create("/c/d", false, 2)]);
    let txns: Vec<_> = (1..).zip(txns).collect();
    // Fuzzy: the tree already has everything when the log is replayed from any point on.
    let end = replayed(&txns);
    for from in 0..txns.len() {
        let mut store = replayed(&txns);
        for (zxid, txn) in &txns[from..] {
            store.replay(&header(*zxid, txn), txn);
        }
        let mut paths: Vec<_> = store.tree().nodes().map(|(_, node)| node.path().to_string()).collect();
        let mut expected: Vec<_> = end.tree().nodes().map(|(_, node)| node.path().to_string()).collect();
        paths.sort();
        expected.sort();
        assert_eq!(paths, expected, "replayed from {from}");
        let fresh = Store::from_tree(settings(), store.tree().clone());
        assert_eq!(fresh.digest(), store.digest(), "the digest stays that of the nodes");
    }
}

#[test]
fn quota_usage_inside_one_multi_is_counted_once() {
    let mut store = Store::new(settings());
    let quota = |name: &str| create(&format!("/zookeeper/quota/q{name}"), false, 31);
    let txns = [create("/q", false, 31), quota(""), quota("/zookeeper_limits")];
    let multi =
        Txn::Multi(vec![create("/q/x", false, 31), quota("/zookeeper_stats"), create("/q/y", false, 31)]);
    for (zxid, txn) in (1..).zip(txns.iter().chain([&multi])) {
        store.apply(&header(zxid, txn), txn, &mut Effects::new(), &mut Undo::none()).expect("valid");
    }
    let stats = store.tree().node("/zookeeper/quota/q/zookeeper_stats").expect("is there");
    assert_eq!(stats.data(), Some(&b"count=3,bytes=12"[..]));
    assert_eq!(stats.head().version, 0);
}
