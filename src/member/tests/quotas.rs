//! Hard quotas: what is refused, by which limits and usage, and what the usage is afterwards.

use super::*;

/// A member that enforces quotas, with /q and a quota of such limits on it.
fn limited(limits: &[u8]) -> (Rig, SessionId) {
    let mut world = Rig::new(MemberSettings { enforce_quota: true, ..MemberSettings::default() });
    let session = world.connect(1);
    for path in ["/q", "/q/a", QUOTA] {
        assert_eq!(world.call(session, Op::Create, create(path, 0)).0, 0);
    }
    for (path, data) in [(LIMITS, limits), (STATS, &b""[..])] {
        assert_eq!(world.call(session, Op::Create, create_with(path, data)).0, 0);
    }
    (world, session)
}

const QUOTA: &str = "/zookeeper/quota/q";
const LIMITS: &str = "/zookeeper/quota/q/zookeeper_limits";
const STATS: &str = "/zookeeper/quota/q/zookeeper_stats";
const QUOTA_EXCEEDED: i32 = -125;

fn create_with(path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    encode_create(&mut body, path, Some(data), &Acl::open(), 0, None);
    body
}

fn usage(world: &Rig) -> &str {
    let stats = world.member.store().tree().node(STATS).expect("it is there");
    std::str::from_utf8(stats.data().expect("it is counted")).expect("it is text")
}

#[test]
fn less_is_refused_too_while_it_is_above_the_limit() {
    let (mut world, session) = limited(b"count=-1,bytes=-1=;byteHardLimit=5;countHardLimit=3");
    assert_eq!(usage(&world), "count=2,bytes=8");
    let mut set = |data: &[u8], version| world.call(session, Op::SetData, set_data("/q", data, version)).0;
    assert_eq!(set(b"12", -1), QUOTA_EXCEEDED, "6 bytes are left");
    assert_eq!(set(b"12", 9), QUOTA_EXCEEDED, "the quota is looked at before the version");
    assert_eq!(set(b"1234", 9), ErrorCode::BadVersion.code(), "what stays as large is not looked at");
    assert_eq!(set(b"1234", -1), 0);
    assert_eq!(set(b"", 9), ErrorCode::BadVersion.code());
    assert_eq!(set(b"1", -1), 0);
    assert_eq!(set(b"12", -1), QUOTA_EXCEEDED);
    assert_eq!(usage(&world), "count=2,bytes=5");
    assert_eq!(world.call(session, Op::Create, create_with("/q/b", b"")).0, 0);
    assert_eq!(world.call(session, Op::Create, create_with("/q/c", b"")).0, QUOTA_EXCEEDED);
    assert_eq!(world.call(session, Op::Delete, path_version("/q/a", -1)).0, 0);
    assert_eq!(usage(&world), "count=2,bytes=1");
}

#[test]
fn a_multi_is_judged_by_the_quota_before_it() {
    let (mut world, session) = limited(b"countHardLimit=3");
    let mut call = |ops: &[(Op, Vec<u8>)]| {
        let (err, _, results) = world.call(session, Op::Multi, multi(ops));
        assert_eq!(err, 0);
        // The first result says whether all was done.
        i32::from_be_bytes(results[..4].try_into().expect("a header"))
    };
    let create = |path: &str| (Op::Create, create_with(path, b""));
    let limit = |text: &[u8]| (Op::SetData, set_data(LIMITS, text, -1));
    let done = [Op::SetData as i32, Op::Create as i32, Op::Delete as i32];
    assert_eq!(call(&[create("/q/b"), create("/q/c")]), done[1], "each alone would fit");
    assert_eq!(call(&[limit(b"countHardLimit=9"), create("/q/d")]), Op::Error as i32);
    assert_eq!(call(&[limit(b"countHardLimit=9")]), done[0]);
    assert_eq!(call(&[limit(b"countHardLimit=0"), create("/q/d")]), done[0]);
    assert_eq!(call(&[(Op::Delete, path_version(LIMITS, -1)), create("/q/e")]), Op::Error as i32);
    assert_eq!(call(&[(Op::Delete, path_version(LIMITS, -1))]), done[2]);
    assert_eq!(call(&[(Op::Create, create_with(LIMITS, b"countHardLimit=0")), create("/q/e")]), done[1]);
    assert_eq!(call(&[create("/q/f")]), Op::Error as i32);
    // /q/d was counted, /q/e too: its limits stood already; the quota's nodes are none of /q.
    assert_eq!(usage(&world), "count=6,bytes=8");
}

#[test]
fn what_clients_write_as_usage_is_what_is_added_to() {
    let (mut world, session) = limited(b"countHardLimit=1000000");
    let set = set_data(STATS, b"count=9223372036854775807,bytes=-9223372036854775808,mine=3", -1);
    assert_eq!(world.call(session, Op::SetData, set).0, 0);
    // It wraps, as in Java: nobody can stop the server by a number.
    assert_eq!(world.call(session, Op::Create, create_with("/q/b", b"12")).0, 0);
    assert_eq!(usage(&world), "count=-9223372036854775808,bytes=-9223372036854775806=;mine=3");
    assert_eq!(world.call(session, Op::Delete, path_version("/q/b", -1)).0, 0);
    assert_eq!(usage(&world), "count=9223372036854775807,bytes=-9223372036854775808=;mine=3");
    // Inside a multi what was used before it is overwritten, what is used after it is added.
    let ops = [
        (Op::Create, create_with("/q/b", b"1")),
        (Op::SetData, set_data(STATS, b"bytes=7", -1)),
        (Op::Create, create_with("/q/c", b"22")),
    ];
    assert_eq!(world.call(session, Op::Multi, multi(&ops)).0, 0);
    assert_eq!(usage(&world), "count=0,bytes=9");
}

#[test]
fn a_quota_on_its_own_nodes_counts_them_while_it_is_there() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let quota = "/zookeeper/quota/zookeeper";
    let (limits, stats) = (format!("{quota}/zookeeper_limits"), format!("{quota}/zookeeper_stats"));
    let text = |world: &Rig| {
        let node = world.member.store().tree().node(&stats).expect("it is there").data();
        String::from_utf8_lossy(node.unwrap_or_default()).into_owned()
    };
    assert_eq!(world.call(session, Op::Create, create_with(quota, b"")).0, 0);
    assert_eq!(world.call(session, Op::Create, create_with(&stats, b"")).0, 0);
    assert_eq!(text(&world), "count=5,bytes=0");
    assert_eq!(world.call(session, Op::Create, create_with(&limits, b"bytes=1")).0, 0);
    assert_eq!(text(&world), "count=6,bytes=7", "limits count themselves when they come");
    assert_eq!(world.call(session, Op::Delete, path_version(&limits, -1)).0, 0);
    assert_eq!(text(&world), "count=6,bytes=7", "and not when they go");
}
