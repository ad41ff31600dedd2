//! Segments that come late or not at all, entries of all sizes, snapshots.

use super::*;

#[test]
fn requests_wait_for_a_late_segment_in_order() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.late = true;
    let data = vec![7; 100_000];
    world.call(session, Op::Create, create("/a", 0));
    let mut sent = 0;
    while world.member.is_accepting() {
        world.send(1, session, Op::SetData, set_data("/a", &data, -1));
        world.settle();
        sent += 1;
        assert!(sent < 40, "two segments take less");
    }
    world.send(1, session, Op::Sync, sync("/"));
    world.settle();
    assert_eq!(world.answers.len(), sent - 1, "the last write waits, the sync behind it");
    world.late = false;
    for (segment, bytes) in std::mem::take(&mut world.held) {
        world.step(MemberInput::SegmentReady { segment, bytes });
    }
    world.settle();
    assert!(world.member.is_accepting());
    assert!(world.answers.iter().all(|(_, _, answer)| answer.err == 0));
    let ops: Vec<_> = world.answers.iter().rev().take(2).map(|(_, _, answer)| answer.op).collect();
    assert_eq!(ops, [Op::Sync, Op::SetData]);
    assert!(world.notices.is_empty());
}

#[test]
fn writes_are_refused_on_a_full_disk_until_there_is_space() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.disk_full = true;
    let data = vec![7; 100_000];
    let mut served = 0;
    while world.call(session, Op::Create, create(&format!("/n{served}"), 1)).0 == 0 {
        let (err, _, _) = world.call(session, Op::SetData, set_data(&format!("/n{served}"), &data, -1));
        served += 1;
        if err != 0 {
            break;
        }
        assert!(served < 40, "two segments take less");
    }
    assert!(served > 5);
    let proposed = world.member.proposed();
    let (err, zxid, _) = world.call(session, Op::SetData, set_data("/n0", &data, -1));
    assert_eq!((err, zxid), (ErrorCode::SystemError.code(), proposed), "no transaction, nothing lost");
    assert_eq!(world.notices.len(), 1, "{:?}", world.notices);
    assert_eq!(world.call(session, Op::Sync, sync("/")).0, 0, "what needs no room goes on");
    let small = world.call(session, Op::CloseSession, Vec::new());
    assert_eq!(small.0, 0, "sessions can end: there is a reserve for that");

    world.disk_full = false;
    world.pass(1000);
    assert_eq!(world.notices.len(), 2, "{:?}", world.notices);
    let session = world.connect(1);
    assert_eq!(world.call(session, Op::Create, create("/again", 0)).0, 0);
}

#[test]
fn a_full_disk_closes_who_wants_a_session() {
    let mut world = Rig::new(MemberSettings::default());
    world.disk_full = true;
    let session = world.connect(1);
    let data = vec![1; 200_000];
    world.call(session, Op::Create, create("/a", 0));
    while world.call(session, Op::SetData, set_data("/a", &data, -1)).0 == 0 {}
    while world.call(session, Op::SetData, set_data("/a", &data[..2000], -1)).0 == 0 {}
    while world.call(session, Op::SetData, set_data("/a", b"", -1)).0 == 0 {}
    // New sessions, for reading, have half of the reserve, a block each.
    for opened in 0..40 {
        world.messages.clear();
        world.connect_as(9, SessionId::NONE, true);
        world.settle();
        if let Some(ToShard::Close { conn, .. }) = world.messages.last() {
            assert_eq!(*conn, origin(9).conn);
            assert!(opened >= 10, "only {opened} sessions were opened on the reserve");
            assert_eq!(
                world.call(session, Op::CloseSession, Vec::new()).0,
                0,
                "the other half is for the end"
            );
            return;
        }
    }
    panic!("sessions are opened without end on a full disk");
}

/// Text that is not UTF-8 grows when it is decoded; the bound on the entry's length must know.
#[test]
fn the_largest_entries_find_room() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let id: Vec<u8> = [b"a:", &[0xff; 150_000][..]].concat();
    for _ in 0..6 {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.string("/");
        writer.int(1);
        writer.int(31);
        writer.string("digest");
        writer.buffer(Some(&id));
        writer.int(-1);
        assert_eq!(world.call(session, Op::SetAcl, body).0, 0);
        world.identities = vec![Identity { scheme: "super".into(), id: String::new() }].into();
    }
    let expanded = Identity { scheme: "digest".into(), id: "\u{1f600}".repeat(100) };
    world.identities = [&world.identities[..], &[expanded]].concat().into();
    let mut body = Vec::new();
    let auth = vec![Acl { perms: 31, scheme: "auth".into(), id: String::new() }];
    encode_create(&mut body, "/auth", None, &auth, 0, None);
    assert_eq!(world.call(session, Op::Create, body).0, 0);
}

#[test]
fn snapshots_hold_what_was_proposed_and_let_segments_go() {
    let settings = MemberSettings { snapshot_txns: Some(20), snapshots_kept: 2, ..MemberSettings::default() };
    let mut world = Rig::new(settings);
    let session = world.connect(1);
    world.call(session, Op::Create, create("/a", 0));
    let mut seen = 0;
    for _ in 0..200 {
        world.call(session, Op::SetData, set_data("/a", b"x", -1));
        if world.snapshots.len() > seen {
            seen = world.snapshots.len();
            let (zxid, sessions) = world.snapshots[seen - 1].clone();
            assert_eq!(sessions, [(session, 6000)]);
            world.step(MemberInput::SnapshotDone { zxid, bytes: 1 });
        }
    }
    assert!((10..=20).contains(&seen), "{seen} in 200 transactions, every 10 to 20");
    assert!(world.released > 0, "segments below the oldest of two kept snapshots");
}

/// A session has written some segments full; with what.
fn with_several_segments() -> (Rig, SessionId, Vec<u8>) {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.call(session, Op::Create, create("/a", 0));
    let data = vec![7; 100_000];
    for _ in 0..30 {
        assert_eq!(world.call(session, Op::SetData, set_data("/a", &data, -1)).0, 0);
    }
    (world, session, data)
}

/// Writes until a write is refused.
fn fill(world: &mut Rig, session: SessionId) {
    let data = vec![7; 100_000];
    for _ in 0..60 {
        if world.call(session, Op::SetData, set_data("/a", &data, -1)).0 != 0 {
            return;
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_disk_is_relieved_by_a_snapshot() {
    let (mut world, session, data) = with_several_segments();
    assert!(world.snapshots.is_empty() && world.released == 0);
    world.disk_full = true;
    fill(&mut world, session);
    assert_eq!(world.snapshots.len(), 1, "one snapshot, however often a segment fails");
    world.pass(5000);
    assert_eq!(world.snapshots.len(), 1, "none while one is written");

    world.disk_full = false;
    let zxid = world.snapshots[0].0;
    world.step(MemberInput::SnapshotDone { zxid, bytes: 1 });
    assert!(world.released >= 2, "{} segments are before it", world.released);
    world.pass(1);
    assert_eq!(world.call(session, Op::SetData, set_data("/a", &data, -1)).0, 0, "at once");
}

#[test]
fn a_snapshot_that_finds_no_space_either_is_not_tried_without_end() {
    let (mut world, session, _) = with_several_segments();
    world.disk_full = true;
    fill(&mut world, session);
    let mut failed = 0;
    for _ in 0..60 {
        if world.snapshots.len() > failed {
            failed += 1;
            world.step(MemberInput::SnapshotFailed { what: "no space left on device".into() });
        }
        world.pass(1000);
    }
    assert!((2..=3).contains(&world.snapshots.len()), "{} in a minute", world.snapshots.len());
}

#[test]
fn a_full_disk_takes_older_snapshots_and_the_log_before_the_newest() {
    let settings =
        MemberSettings { snapshot_txns: Some(20), purge_interval_hours: 0, ..MemberSettings::default() };
    let mut world = Rig::new(settings);
    let session = world.connect(1);
    world.call(session, Op::Create, create("/a", 0));
    let data = vec![7; 50_000];
    let mut seen = 0;
    for _ in 0..60 {
        assert_eq!(world.call(session, Op::SetData, set_data("/a", &data, -1)).0, 0);
        if world.snapshots.len() > seen {
            let zxid = world.snapshots[seen].0;
            world.step(MemberInput::SnapshotDone { zxid, bytes: 1 });
            seen += 1;
        }
    }
    assert!(seen >= 3 && world.released == 0, "by the settings nothing is ever removed");
    let newest = world.snapshots[seen - 1].0;
    world.disk_full = true;
    fill(&mut world, session);
    assert_eq!(world.removed_before, newest);
    assert!(world.released >= 2, "{} segments are before it", world.released);
}

/// An answer without a transaction may wait while nothing else does; no transaction is there to ask for the snapshot.
#[test]
fn a_snapshot_for_space_is_asked_for_also_where_an_answer_waits() {
    let (mut world, session, data) = with_several_segments();
    world.disk_full = true;
    fill(&mut world, session);
    assert_eq!(world.snapshots.len(), 1);
    world.step(MemberInput::SnapshotFailed { what: "no space left on device".into() });
    world.settle();
    // Within one turn: the answer waits while a segment fails and the next snapshot may be tried.
    world.now.mono_ms += 60_000;
    world.send(1, session, Op::Sync, sync("/"));
    world.step(MemberInput::Tick);
    world.settle();
    assert_eq!(world.snapshots.len(), 2);
    let zxid = world.snapshots[1].0;
    world.disk_full = false;
    world.step(MemberInput::SnapshotDone { zxid, bytes: 1 });
    world.pass(1);
    assert_eq!(world.call(session, Op::SetData, set_data("/a", &data, -1)).0, 0, "it goes on");
}

#[test]
fn a_member_that_takes_no_requests_says_so_and_when_it_goes_on() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.late = true;
    let data = vec![7; 100_000];
    world.call(session, Op::Create, create("/a", 0));
    while world.member.is_accepting() {
        world.send(1, session, Op::SetData, set_data("/a", &data, -1));
        world.settle();
    }
    world.pass(900);
    assert!(world.notices.is_empty(), "{:?}", world.notices);
    world.pass(5000);
    assert_eq!(world.notices.len(), 1, "{:?}", world.notices);
    assert!(world.notices[0].contains("the next segment of the transaction log is not ready"));
    world.late = false;
    for (segment, bytes) in std::mem::take(&mut world.held) {
        world.step(MemberInput::SegmentReady { segment, bytes });
    }
    world.settle();
    assert_eq!(world.notices.len(), 2, "{:?}", world.notices);
    assert!(world.notices[1].starts_with("requests are taken again, after 59"), "{:?}", world.notices);
}
