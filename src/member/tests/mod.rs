//! The member driven by hand: inputs in, log writes completed when the test says so, answers looked at.

mod asks;
mod quotas;
mod space;

use super::*;
use crate::aligned::AlignedBuffer;
use crate::ids::{ConnId, FrameSeq, ShardId};
use crate::log::Epochs;
use crate::mesh::{Answer, ClientRequest, Common, Connect, SessionChange};
use crate::tree::{OwnerRules, StoreSettings};
use crate::wire::request::{MultiHeader, encode_create};
use crate::wire::txn::decode_entry;
use crate::wire::{Acl, ErrorCode, Identity, Op, Reader, Stat, Txn, Writer};
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 1 << 20;

/// A member and the world around it: a disk and one shard.
struct Rig {
    member: Member,
    now: Now,
    out: Vec<MemberOutput>,
    /// Log writes that are not done.
    writes: Vec<(u64, AlignedBuffer)>,
    disk_full: bool,
    /// Segments asked for are kept back while this is set.
    late: bool,
    held: Vec<(SegmentId, u64)>,
    /// Segments refused for want of space.
    refused_segments: usize,
    answers: Vec<(ConnId, Zxid, Answer)>,
    changes: Vec<SessionChange>,
    messages: Vec<ToShard>,
    notices: Vec<String>,
    snapshots: Vec<(Zxid, Vec<(SessionId, i32)>)>,
    released: usize,
    /// Snapshots before it were given up.
    removed_before: Zxid,
    /// What shards know.
    committed: Zxid,
    stopped: bool,
    fatal: Option<String>,
    identities: Arc<[Identity]>,
    xid: i32,
}

fn store(settings: &MemberSettings) -> Store {
    Store::new(StoreSettings {
        hash_seed: 1,
        rules: settings.owner_rules,
        digest_enabled: settings.digest_enabled,
        enforce_quota: settings.enforce_quota,
    })
}

impl Rig {
    fn new(settings: MemberSettings) -> Rig {
        let store = store(&settings);
        Rig::recovered(settings, store, Vec::new(), Zxid::ZERO)
    }

    fn recovered(
        settings: MemberSettings,
        store: Store,
        sessions: Vec<(SessionId, i32)>,
        last_zxid: Zxid,
    ) -> Rig {
        let log = LogStart {
            log_id: 1,
            incarnation: 1 << 32,
            segment: SegmentId(1),
            frame: FrameSeq(1),
            last_zxid,
            epochs: Epochs::default(),
            segment_bytes: SEGMENT_BYTES,
        };
        let recovered = RecoveredState {
            store,
            sessions,
            last_zxid,
            log,
            segments: Vec::new(),
            snapshots: Vec::new(),
            txns_since_snapshot: 0,
        };
        let mut world = Rig {
            member: Member::new(settings, recovered),
            now: Now { mono_ms: 10_000, wall_ms: 1_700_000_000_000 },
            out: Vec::new(),
            writes: Vec::new(),
            disk_full: false,
            late: false,
            held: Vec::new(),
            refused_segments: 0,
            answers: Vec::new(),
            changes: Vec::new(),
            messages: Vec::new(),
            notices: Vec::new(),
            snapshots: Vec::new(),
            released: 0,
            removed_before: Zxid::ZERO,
            committed: last_zxid,
            stopped: false,
            fatal: None,
            identities: vec![Identity { scheme: "ip".into(), id: "127.0.0.1".into() }].into(),
            xid: 0,
        };
        world.step(MemberInput::Start);
        world.settle();
        world
    }

    fn step(&mut self, input: MemberInput) {
        self.member.step(self.now, input, &mut self.out);
        self.deliver();
    }

    /// Ends the turn without completing any write.
    fn flush(&mut self) {
        self.member.flush(self.now, true, &mut self.out);
        self.deliver();
    }

    /// Ends turns and completes writes until nothing more happens.
    fn settle(&mut self) {
        loop {
            self.flush();
            if self.writes.is_empty() {
                // A segment asked for by the flush may have let waiting messages go on.
                self.flush();
            }
            if self.writes.is_empty() {
                return;
            }
            for (token, buffer) in std::mem::take(&mut self.writes) {
                self.step(MemberInput::LogWritten { token, buffer });
            }
        }
    }

    fn deliver(&mut self) {
        // What else was put out comes before the answer to an order.
        let mut failed = Vec::new();
        for output in std::mem::take(&mut self.out) {
            match output {
                MemberOutput::ToShard(_, ToShard::Answer { conn, answer }) => {
                    self.answers.push((conn, self.committed, answer));
                }
                MemberOutput::Broadcast(ToShard::Committed(batch)) => {
                    for txn in &batch.txns {
                        assert!(txn.zxid > self.committed, "in order, once");
                        self.committed = txn.zxid;
                        if let Some((origin, answer)) = &txn.answer {
                            self.answers.push((origin.conn, txn.zxid, answer.clone()));
                        }
                        self.changes.extend(txn.session.clone());
                    }
                }
                MemberOutput::ToShard(_, message) | MemberOutput::Broadcast(message) => {
                    self.messages.push(message)
                }
                MemberOutput::Log(LogOutput::Write { token, buffer, .. }) => {
                    self.writes.push((token, buffer))
                }
                MemberOutput::Log(LogOutput::Prepare { segment, bytes }) if self.late => {
                    self.held.push((segment, bytes));
                }
                MemberOutput::Log(LogOutput::Prepare { segment, .. }) if self.disk_full => {
                    self.refused_segments += 1;
                    let what = "no space left on device".to_owned();
                    failed.push(MemberInput::SegmentFailed { segment, no_space: true, what });
                }
                MemberOutput::Log(LogOutput::Prepare { segment, bytes }) => {
                    self.step(MemberInput::SegmentReady { segment, bytes });
                }
                MemberOutput::Log(LogOutput::Release { .. }) => self.released += 1,
                MemberOutput::Log(LogOutput::Close { .. }) => {}
                MemberOutput::Assign { .. } | MemberOutput::Refuse { .. } => {}
                MemberOutput::Snapshot { zxid, sessions, .. } => {
                    assert_eq!(zxid, self.committed, "right after the batch that reaches it");
                    self.snapshots.push((zxid, sessions));
                }
                MemberOutput::RemoveSnapshots { before } => self.removed_before = before,
                MemberOutput::Notice { text } => self.notices.push(text),
                MemberOutput::Stopped => self.stopped = true,
                MemberOutput::Fatal { what } => self.fatal = Some(what),
            }
        }
        failed.into_iter().for_each(|input| self.step(input));
    }

    /// Time passes; the member is ticked when it asked for it.
    fn pass(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while let Some(at) = self.member.next_timeout()
            && at <= end_ms
        {
            let step_ms = at.saturating_sub(self.now.mono_ms);
            self.now.mono_ms += step_ms;
            self.now.wall_ms += step_ms as i64;
            self.step(MemberInput::Tick);
            self.settle();
        }
        self.now.wall_ms += (end_ms - self.now.mono_ms) as i64;
        self.now.mono_ms = end_ms;
    }

    fn connect(&mut self, slot: u32) -> SessionId {
        self.connect_as(slot, SessionId::NONE, true);
        self.settle();
        match self.changes.last() {
            Some(SessionChange::Opened { session, origin: Some(opened), .. }) if *opened == origin(slot) => {
                *session
            }
            other => panic!("no session was opened: {other:?}"),
        }
    }

    fn connect_as(&mut self, slot: u32, session: SessionId, password_ok: bool) {
        let connect = Connect {
            origin: origin(slot),
            session,
            password_ok,
            timeout_ms: 6000,
            last_zxid_seen: Zxid::ZERO,
        };
        self.step(MemberInput::FromShard(ToMember::Connect(connect)));
    }

    fn send(&mut self, slot: u32, session: SessionId, op: Op, body: Vec<u8>) {
        self.xid += 1;
        let request = ClientRequest {
            origin: origin(slot),
            session,
            xid: self.xid,
            op,
            body: body.into(),
            identities: Arc::clone(&self.identities),
        };
        self.step(MemberInput::FromShard(ToMember::Request(request)));
    }

    /// One request from connection 1, to its answer: error, zxid, body.
    fn call(&mut self, session: SessionId, op: Op, body: Vec<u8>) -> (i32, Zxid, Vec<u8>) {
        self.answers.clear();
        self.send(1, session, op, body);
        self.settle();
        let (_, zxid, answer) = self.answers.pop().expect("a request is answered");
        (answer.err, zxid, answer.body.to_vec())
    }

    fn last_entry(&self) -> (crate::wire::TxnHeader, Txn<'_>, bool) {
        let (header, txn, digest) =
            decode_entry(&self.member.entry).expect("the member writes what it can read");
        (header, txn, digest.is_some())
    }
}

fn origin(slot: u32) -> Origin {
    Origin { shard: ShardId(0), conn: ConnId { slot, generation: 1 } }
}

fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    encode_create(&mut body, path, Some(b"data"), &Acl::open(), flags, None);
    body
}

fn path_version(path: &str, version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer.string(path);
    writer.int(version);
    body
}

fn set_data(path: &str, data: &[u8], version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer.string(path);
    writer.buffer(Some(data));
    writer.int(version);
    body
}

fn sync(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    Writer::new(&mut body).string(path);
    body
}

fn multi(ops: &[(Op, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, record) in ops {
        MultiHeader { op: *op as i32, done: false, err: -1 }.encode(&mut body);
        body.extend_from_slice(record);
    }
    MultiHeader::END.encode(&mut body);
    body
}

#[test]
fn a_write_is_answered_only_when_the_log_has_it() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.send(1, session, Op::Create, create("/a", 0));
    world.send(1, session, Op::Sync, sync("whatever"));
    world.flush();
    assert!(world.answers.is_empty(), "the write is in flight");
    assert!(world.member.store().tree().node("/a").is_some(), "the tree is at the proposed state");
    world.settle();
    let errs: Vec<_> =
        world.answers.iter().map(|(_, zxid, answer)| (zxid.0, answer.op, answer.err)).collect();
    assert_eq!(errs, [(2, Op::Create, 0), (2, Op::Sync, 0)]);
    assert_eq!(&world.answers[1].2.body[..], sync("whatever"), "the path is echoed");
    assert_eq!(world.call(session, Op::Sync, vec![0xff; 4]).2, [0xff; 4], "null, too");
}

#[test]
fn a_failed_log_write_ends_everything() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.send(1, session, Op::Create, create("/a", 0));
    world.flush();
    world.step(MemberInput::LogFailed { what: "EIO".into() });
    assert!(world.fatal.is_some());
    world.settle();
    assert!(world.answers.is_empty(), "nothing is acknowledged afterwards");
}

#[test]
fn a_stop_finishes_what_is_proposed() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.send(1, session, Op::Create, create("/a", 0));
    world.step(MemberInput::Stop);
    world.send(1, session, Op::Create, create("/b", 0));
    world.flush();
    assert!(!world.stopped);
    world.settle();
    assert!(world.stopped);
    assert_eq!(world.answers.len(), 1);
}

#[test]
fn failed_writes_take_a_zxid_and_are_logged_without_a_digest() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    assert_eq!(world.call(session, Op::Create, create("/none/a", 0)).0, ErrorCode::NoNode.code());
    let (header, txn, has_digest) = world.last_entry();
    assert_eq!((header.zxid, header.op, header.session), (Zxid(2), Op::Error, session));
    assert_eq!(txn, Txn::Error { err: ErrorCode::NoNode.code() });
    assert!(!has_digest);
    assert_eq!(world.call(session, Op::Create, vec![0, 0]).1, Zxid(2), "what cannot be read takes none");
    assert_eq!(world.call(session, Op::Multi, vec![0, 0]).1, Zxid(3), "unless it is a multi");
}

/// Every write of the recorded conversations with ZooKeeper gets its error, zxid and body. Times are not compared.
#[test]
fn answers_are_those_zookeeper_gave() {
    let default = include_str!("../../../tests/vectors/behaviour-default.json");
    let extended = include_str!("../../../tests/vectors/behaviour-extended-types.json");
    for (text, extended_types) in [(default, false), (extended, true)] {
        let owner_rules = OwnerRules { extended_types, emulate_353: false };
        let mut world = Rig::new(MemberSettings { owner_rules, ..MemberSettings::default() });
        let session = world.connect(1);
        let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        let mut compared = 0;
        // From then on the recording uses other connections, whose sessions take zxids of their own.
        for vector in vectors.iter().take_while(|vector| vector["name"] != "getData no auth") {
            let name = vector["name"].as_str().unwrap();
            let op = Op::from_i32(vector["op"].as_i64().unwrap() as i32).unwrap();
            if name == "auth digest" {
                let settings = crate::tree::permission::DigestSettings::default();
                let mut identities = world.identities.to_vec();
                let body = unhex(vector["request_body"].as_str().unwrap());
                let Ok(crate::wire::Request::Auth { scheme, auth }) = crate::wire::Request::decode(op, &body)
                else {
                    panic!("an auth packet")
                };
                let outcome =
                    crate::tree::permission::authenticate(&settings, &scheme.unwrap(), auth.unwrap());
                if let crate::tree::permission::AuthOutcome::Identities(found) = outcome {
                    identities.extend(found);
                }
                world.identities = identities.into();
            }
            if !op.is_for_member() {
                continue;
            }
            let (err, zxid, body) = world.call(session, op, unhex(vector["request_body"].as_str().unwrap()));
            let reply = &vector["reply"];
            assert_eq!(err as i64, reply["err"].as_i64().unwrap(), "{name}");
            assert_eq!(zxid.0, reply["zxid"].as_i64().unwrap(), "{name}");
            let wanted = unhex(reply["body"].as_str().unwrap());
            assert_eq!(without_times(op, &body, &wanted), without_times(op, &wanted, &wanted), "{name}");
            compared += 1;
        }
        assert!(compared > 70, "{compared}");
    }
}

/// Wherever the recorded bytes hold a time or session of the recording, zeros.
fn without_times(op: Op, bytes: &[u8], recorded: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if op == Op::Sync {
        return bytes;
    }
    for at in 0..recorded.len().saturating_sub(7) {
        let is_time = recorded[at..].starts_with(&[0, 0, 0x01, 0xa1, 0xf8, 0xd2]);
        let is_session = recorded[at..].starts_with(&[1, 0, 0]) && recorded[at + 6..].starts_with(&[0, 0]);
        if (is_time || is_session) && bytes.len() >= at + 8 {
            bytes[at..at + 8].fill(0);
        }
    }
    bytes
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn permissions_come_before_versions_and_children() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let mut body = Vec::new();
    let read_only = [Acl { perms: 1, scheme: "world".into(), id: "anyone".into() }];
    encode_create(&mut body, "/ro", None, &read_only, 0, None);
    assert_eq!(world.call(session, Op::Create, body).0, 0);
    assert_eq!(world.call(session, Op::SetData, set_data("/ro", b"x", 9)).0, ErrorCode::NoAuth.code());
    assert_eq!(world.call(session, Op::Create, create("/ro/a", 0)).0, ErrorCode::NoAuth.code());
    world.identities = vec![Identity { scheme: "super".into(), id: String::new() }].into();
    assert_eq!(world.call(session, Op::SetData, set_data("/ro", b"x", 9)).0, ErrorCode::BadVersion.code());
    assert_eq!(world.call(session, Op::Create, create("/ro/a", 0)).0, 0);
    assert_eq!(world.call(session, Op::Delete, path_version("/ro", 9)).0, ErrorCode::BadVersion.code());
    assert_eq!(world.call(session, Op::Delete, path_version("/ro", -1)).0, ErrorCode::NotEmpty.code());
}

#[test]
fn only_containers_and_ttl_nodes_can_be_collected_by_clients() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.call(session, Op::Create, create("/plain", 0));
    world.call(session, Op::CreateContainer, create("/container", 4));
    assert_eq!(world.call(session, Op::DeleteContainer, sync("/plain")).0, ErrorCode::BadArguments.code());
    assert_eq!(world.call(session, Op::DeleteContainer, sync("/container")).0, 0);
}

#[test]
fn a_failed_multi_changes_nothing_and_is_logged_as_prepared() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let digest = world.member.store().digest();
    let body = multi(&[
        (Op::Create, create("/s-", 2)),
        (Op::Create, create("/e", 1)),
        (Op::Check, path_version("/none", -1)),
        (Op::Create, create("/b", 0)),
    ]);
    let (err, zxid, results) = world.call(session, Op::Multi, body);
    assert_eq!((err, zxid), (0, Zxid(2)), "the header says nothing of the failure");
    let mut reader = Reader::new(&results);
    let mut codes = Vec::new();
    loop {
        let header = MultiHeader::decode(&mut reader).unwrap();
        if header.done {
            break;
        }
        assert_eq!(header.op, -1);
        assert_eq!(reader.int().unwrap(), header.err);
        codes.push(header.err);
    }
    assert_eq!(codes, [0, 0, -101, -2]);
    assert_eq!(world.member.store().digest(), digest);
    assert!(world.member.store().tree().node("/s-0000000000").is_none());
    let (header, txn, _) = world.last_entry();
    assert_eq!(header.op, Op::Multi);
    let Txn::Multi(txns) = txn else { panic!("a multi") };
    assert!(matches!(&txns[0], Txn::Create { path, .. } if path == "/s-0000000000"));
    assert_eq!(txns[2..], [Txn::Error { err: -101 }, Txn::Error { err: -2 }]);
    assert_eq!(
        world.call(session, Op::Create, create("/s-", 2)).2,
        sync("/s-0000000000"),
        "no number is lost"
    );
}

#[test]
fn operations_of_a_multi_see_each_other() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let body = multi(&[
        (Op::Create, create("/a", 0)),
        (Op::Create2, create("/a/b", 0)),
        (Op::SetData, set_data("/a", b"123", 0)),
        (Op::Delete, path_version("/a/b", 0)),
        (Op::Delete, path_version("/a", 1)),
    ]);
    let (err, _, results) = world.call(session, Op::Multi, body);
    assert_eq!(err, 0);
    let mut reader = Reader::new(&results);
    MultiHeader::decode(&mut reader).unwrap();
    reader.string("path").unwrap();
    MultiHeader::decode(&mut reader).unwrap();
    reader.string("path").unwrap();
    Stat::decode(&mut reader).unwrap();
    MultiHeader::decode(&mut reader).unwrap();
    let stat = Stat::decode(&mut reader).unwrap();
    assert_eq!((stat.version, stat.num_children, stat.cversion, stat.data_length), (1, 1, 1, 3));
    assert!(world.member.store().tree().node("/a").is_none());
}

#[test]
fn malformed_creates_spoil_a_multi() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let mut null_acl = Vec::new();
    let mut writer = Writer::new(&mut null_acl);
    writer.string("/a");
    writer.buffer(None);
    writer.int(-1);
    writer.int(0);
    for bad in [create("/a", 9), create("/a", 5), null_acl] {
        let body = multi(&[(Op::Create, create("/ok", 0)), (Op::Create, bad)]);
        assert_eq!(world.call(session, Op::Multi, body).0, ErrorCode::MarshallingError.code());
        assert!(world.member.store().tree().node("/ok").is_none());
    }
}

#[test]
fn an_expired_session_goes_with_its_ephemerals() {
    let mut world = Rig::new(MemberSettings {
        common: Common { tick_ms: 1000, ..Common::default() },
        ..MemberSettings::default()
    });
    let session = world.connect(1);
    world.call(session, Op::Create, create("/e1", 1));
    world.call(session, Op::Create, create("/e0", 1));
    for _ in 0..10 {
        world.pass(4000);
        world.step(MemberInput::FromShard(ToMember::Touch(vec![session])));
    }
    assert!(world.member.store().tree().node("/e0").is_some(), "touched in time");
    world.pass(6000);
    assert!(world.member.store().tree().node("/e0").is_some(), "never early");
    world.pass(2000);
    assert!(world.member.store().tree().node("/e0").is_none());
    assert!(
        matches!(world.changes.last(), Some(SessionChange::Closed { session: closed }) if *closed == session)
    );
    let (header, txn, has_digest) = world.last_entry();
    assert_eq!((header.session, header.cxid, header.op), (session, 0, Op::CloseSession));
    assert_eq!(txn, Txn::CloseSession { paths: Some(vec!["/e0".into(), "/e1".into()]) });
    assert!(has_digest);
    assert_eq!(world.call(session, Op::Create, create("/x", 0)).0, ErrorCode::UnknownSession.code());
}

#[test]
fn a_session_with_more_ephemerals_than_a_segment_takes_ends_without_the_list() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let long = "x".repeat(40_000);
    for number in 0..30 {
        assert_eq!(world.call(session, Op::Create, create(&format!("/{number}{long}"), 1)).0, 0);
    }
    assert_eq!(world.call(session, Op::CloseSession, Vec::new()).0, 0);
    assert_eq!(world.last_entry().1, Txn::CloseSession { paths: None });
    assert_eq!(world.member.store().tree().ephemeral_count(), 0);
}

#[test]
fn a_closing_session_includes_creates_that_are_not_durable_yet() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.send(1, session, Op::Create, create("/e", 1));
    world.send(1, session, Op::CloseSession, Vec::new());
    world.send(1, session, Op::Create, create("/late", 1));
    world.settle();
    let answers: Vec<_> = world.answers.iter().map(|(_, _, answer)| (answer.err, answer.close)).collect();
    assert_eq!(answers, [(0, false), (0, true), (ErrorCode::SessionExpired.code(), false)]);
    assert!(world.member.store().tree().node("/e").is_none());
    assert_eq!(world.member.sessions.len(), 0);
}

#[test]
fn a_session_moves_with_its_client() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    world.connect_as(2, session, true);
    assert!(matches!(&world.messages[..], [
        ToShard::Close { conn: old, .. },
        ToShard::Resumed { conn: new, valid: true, timeout_ms: 6000, .. },
    ] if *old == origin(1).conn && *new == origin(2).conn));
    world.send(1, session, Op::Create, create("/a", 0));
    world.settle();
    let (_, zxid, answer) = &world.answers[0];
    assert_eq!(*zxid, Zxid(2), "a write of the old connection becomes an error transaction");
    assert!(answer.silent && answer.close);
    world.send(2, session, Op::Create, create("/a", 0));
    world.settle();
    assert_eq!(world.answers[1].2.err, 0);

    world.messages.clear();
    world.connect_as(3, session, false);
    world.connect_as(4, SessionId(99), true);
    // A wrong password drops the live connection, too; its client connects again and goes on.
    assert!(matches!(&world.messages[..], [
        ToShard::Close { conn: live, .. },
        ToShard::Resumed { conn: third, valid: false, .. },
        ToShard::Resumed { conn: fourth, valid: false, .. },
    ] if *live == origin(2).conn && *third == origin(3).conn && *fourth == origin(4).conn));
}

#[test]
fn a_client_from_the_future_is_sent_away() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    let connect =
        Connect { origin: origin(2), session, password_ok: true, timeout_ms: 6000, last_zxid_seen: Zxid(2) };
    world.step(MemberInput::FromShard(ToMember::Connect(connect)));
    assert!(matches!(&world.messages[..], [ToShard::Close { conn, .. }] if *conn == origin(2).conn));
    assert_eq!(world.call(session, Op::Create, create("/a", 0)).0, 0, "the old connection keeps the session");
}

#[test]
fn known_sessions_live_on_after_a_restart_and_unknown_owners_are_removed() {
    let settings =
        MemberSettings { common: Common { tick_ms: 1000, ..Common::default() }, ..MemberSettings::default() };
    let mut store = store(&settings);
    for (session, path) in [(5, "/five"), (6, "/six")] {
        let header = crate::wire::TxnHeader {
            session: SessionId(session),
            cxid: 0,
            zxid: Zxid(session),
            time_ms: 0,
            op: Op::Create,
        };
        let txn = Txn::Create {
            kind: crate::wire::txn::CreateKind::Create,
            path: path.into(),
            data: None,
            acl: Acl::open().into(),
            ephemeral: true,
            parent_cversion: -1,
        };
        store.replay(&header, &txn);
    }
    let mut world = Rig::recovered(settings, store, vec![(SessionId(5), 5000)], Zxid(6));
    assert_eq!(world.committed, Zxid(7), "the end of session 6");
    assert!(world.member.store().tree().node("/six").is_none());
    world.pass(5000);
    assert!(world.member.store().tree().node("/five").is_some(), "a full timeout from the start");
    world.connect_as(1, SessionId(5), true);
    assert!(matches!(world.messages.last(), Some(ToShard::Resumed { valid: true, .. })));
    world.pass(8000);
    assert!(world.member.store().tree().node("/five").is_none());
}

#[test]
fn containers_and_ttl_nodes_are_collected() {
    let owner_rules = OwnerRules { extended_types: true, emulate_353: false };
    let mut world = Rig::new(MemberSettings { owner_rules, ..MemberSettings::default() });
    let session = world.connect(1);
    world.call(session, Op::CreateContainer, create("/used", 4));
    world.call(session, Op::CreateContainer, create("/unused", 4));
    world.call(session, Op::Create, create("/used/child", 0));
    let mut ttl = Vec::new();
    encode_create(&mut ttl, "/ttl", None, &Acl::open(), 5, Some(10));
    assert_eq!(world.call(session, Op::CreateTtl, ttl).0, 0);
    let touch = |world: &mut Rig| world.step(MemberInput::FromShard(ToMember::Touch(vec![session])));
    for _ in 0..15 {
        world.pass(4000);
        touch(&mut world);
    }
    let there = |world: &Rig, path: &str| world.member.store().tree().node(path).is_some();
    assert!(there(&world, "/used") && there(&world, "/unused") && !there(&world, "/ttl"));
    world.call(session, Op::Delete, path_version("/used/child", -1));
    for _ in 0..15 {
        world.pass(4000);
        touch(&mut world);
    }
    assert!(!there(&world, "/used") && there(&world, "/unused"));
    let (header, txn, _) = world.last_entry();
    assert_eq!((header.session, header.op), (SessionId::NONE, Op::DeleteContainer));
    assert_eq!(txn, Txn::Delete { path: "/used".into(), container: true });
}

#[test]
fn createttl_without_a_ttl_is_refused() {
    let owner_rules = OwnerRules { extended_types: true, emulate_353: false };
    let mut world = Rig::new(MemberSettings { owner_rules, ..MemberSettings::default() });
    let session = world.connect(1);
    for (flags, ttl_ms) in [(0, -1), (0, 5), (1, -1), (5, 0), (5, 1 << 40)] {
        let mut body = Vec::new();
        encode_create(&mut body, "/a", None, &Acl::open(), flags, Some(ttl_ms));
        assert_eq!(world.call(session, Op::CreateTtl, body).0, ErrorCode::BadArguments.code());
    }
}

#[test]
fn reconfig_needs_an_ensemble() {
    let body = || {
        let mut body = vec![0xff; 12];
        body.extend_from_slice(&[0xff; 8]);
        body
    };
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    assert_eq!(world.call(session, Op::Reconfig, body()).0, ErrorCode::ReconfigDisabled.code());
    let mut world = Rig::new(MemberSettings { reconfig_enabled: true, ..MemberSettings::default() });
    let session = world.connect(1);
    assert_eq!(world.call(session, Op::Reconfig, body()).0, ErrorCode::Unimplemented.code());
}

#[test]
fn too_much_in_flight_stops_the_intake() {
    let mut world = Rig::new(MemberSettings::default());
    let session = world.connect(1);
    for _ in 0..crate::limits::OUTSTANDING_TXNS_MAX {
        assert!(world.member.is_accepting());
        world.send(1, session, Op::Sync, sync("/"));
    }
    assert!(!world.member.is_accepting());
    world.settle();
    assert!(world.member.is_accepting());
    assert_eq!(world.answers.len(), crate::limits::OUTSTANDING_TXNS_MAX);
}

#[test]
fn a_used_up_zxid_counter_moves_on_to_the_next_epoch() {
    let settings = MemberSettings::default();
    let store = store(&settings);
    let mut world = Rig::recovered(settings, store, Vec::new(), Zxid(0xffff_fffe));
    let session = world.connect(1);
    assert_eq!(world.committed, Zxid(0xffff_ffff));
    assert_eq!(world.call(session, Op::Create, create("/a", 0)).1, Zxid(0x1_0000_0000));
}

#[test]
fn nothing_is_told_or_taken_while_a_shard_is_a_ring_behind() {
    let mut world = Rig::new(MemberSettings { words_max: 4, ..MemberSettings::default() });
    let session = world.connect(1);
    let answers = world.answers.len();
    world.member.set_lag(crate::mesh::Lag { words: 2, bytes: 0 });
    assert!(!world.member.is_accepting() && world.member.waits_for_shards());
    world.send(1, session, Op::Sync, sync("/"));
    world.settle();
    assert_eq!(world.answers.len(), answers, "it has no room");
    world.member.set_lag(crate::mesh::Lag { words: 0, bytes: 0 });
    assert!(world.member.is_accepting());
    world.settle();
    assert_eq!(world.answers.len(), answers + 1);
    world.member.set_lag(crate::mesh::Lag { words: 0, bytes: crate::limits::WORDS_BYTES_MAX });
    assert!(!world.member.is_accepting());
}
