//! What one client can make a shard hold, and what becomes of the others meanwhile.

use super::*;
use crate::ids::{Origin, Zxid};
use crate::mesh::{Answer, Batch, Committed, ReplyBody, SessionChange};
use crate::tree::{Effects, Node, NodeHead, OwnerRules, Store, StoreSettings, Undo};
use crate::wire::request::MultiHeader;
use crate::wire::txn::{CreateKind, Txn, TxnHeader};
use crate::wire::{Acl, ErrorCode, Op, Reader, ReplyHeader, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Now = Now { mono_ms: 60_000, wall_ms: 1_700_000_000_000 };

/// A shard, the store that its batches come from, and what its clients have got.
pub(super) struct Rig {
    pub shard: Shard,
    store: Store,
    zxid: i64,
    pub out: Vec<ShardOutput>,
    /// Sends that the client has not taken yet.
    pub unread: BTreeMap<u32, SendBuffer>,
    pub got: BTreeMap<u32, Vec<u8>>,
    /// Writes on their way to the member: connection and xid.
    pub writes: VecDeque<(ConnId, i32)>,
    pub closed: Vec<u32>,
    receiving: BTreeMap<u32, bool>,
    /// Slices of answers to four-letter words.
    pub parts: Vec<ShardPart>,
}

impl Rig {
    pub fn new(change: impl FnOnce(&mut ShardSettings)) -> Rig {
        let rules = OwnerRules::default();
        let store = StoreSettings { hash_seed: 1, rules, digest_enabled: true, enforce_quota: false };
        let mut settings = ShardSettings::default();
        change(&mut settings);
        Rig {
            shard: Shard::new(settings, Tree::new(1, rules)),
            store: Store::new(store),
            zxid: 0,
            out: Vec::new(),
            unread: BTreeMap::new(),
            got: BTreeMap::new(),
            writes: VecDeque::new(),
            closed: Vec::new(),
            receiving: BTreeMap::new(),
            parts: Vec::new(),
        }
    }

    pub fn step(&mut self, input: ShardInput<'_>) {
        self.shard.step(NOW, input, &mut self.out);
        self.shard.check();
        self.carry_out();
        self.shard.flush(NOW, &mut self.out);
        self.shard.check();
        self.carry_out();
    }

    pub fn carry_out(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                ShardOutput::Send { conn, buffer } => {
                    assert!(self.unread.insert(conn.slot, buffer).is_none(), "one send at a time");
                }
                ShardOutput::Close { conn } => self.closed.push(conn.slot),
                ShardOutput::Receive { conn, on } => drop(self.receiving.insert(conn.slot, on)),
                ShardOutput::ToMember(ToMember::Request(request)) => {
                    self.writes.push_back((request.origin.conn, request.xid));
                }
                ShardOutput::ToMember(ToMember::Part { part, .. }) => self.parts.push(*part),
                _ => {}
            }
        }
    }

    /// The client takes what is on its way, and what comes then.
    pub fn read(&mut self, conn: ConnId) {
        while let Some(buffer) = self.unread.remove(&conn.slot) {
            self.got.entry(conn.slot).or_default().extend_from_slice(&buffer);
            self.step(ShardInput::Sent { conn, spare: buffer.into_spare() });
        }
    }

    pub fn connect(&mut self, slot: u32) -> ConnId {
        let conn = ConnId { slot, generation: 1 };
        let peer = "127.0.0.1:9".parse().expect("an address");
        self.step(ShardInput::Accepted { conn, peer });
        let mut connect = Vec::new();
        let mut writer = Writer::new(&mut connect);
        writer.int(0);
        writer.long(0);
        writer.int(30_000);
        writer.long(0);
        writer.buffer(Some(&[0; 16]));
        self.step(ShardInput::Received { conn, bytes: &framed(&connect) });
        let session = SessionId(1000 + i64::from(slot));
        let origin = Some(Origin { shard: ShardId(0), conn });
        self.commit(None, Some(SessionChange::Opened { session, timeout_ms: 30_000, origin }), None);
        self.read(conn);
        self.got.clear();
        conn
    }

    /// A committed transaction; `answered` gets its answer.
    pub fn commit(
        &mut self,
        txn: Option<&Txn<'_>>,
        session: Option<SessionChange>,
        answered: Option<(ConnId, i32)>,
    ) {
        self.commit_as(SessionId(7), txn, session, answered);
    }

    pub fn commit_as(
        &mut self,
        by: SessionId,
        txn: Option<&Txn<'_>>,
        session: Option<SessionChange>,
        answered: Option<(ConnId, i32)>,
    ) {
        self.zxid += 1;
        let zxid = Zxid(self.zxid);
        let mut effects = Effects::new();
        if let Some(txn) = txn {
            let header = TxnHeader { session: by, cxid: 1, zxid, time_ms: 1, op: txn.op() };
            self.store.apply(&header, txn, &mut effects, &mut Undo::none()).expect("it fits the tree");
        }
        let answer = answered.map(|(conn, xid)| {
            let answer =
                Answer { xid, op: Op::SetData, err: 0, body: ReplyBody::new(), close: false, silent: false };
            (Origin { shard: ShardId(0), conn }, answer)
        });
        let batch = Batch { txns: vec![Committed { zxid, effects, answer, session }], bytes: 0 };
        self.step(ShardInput::FromMember(ToShard::Committed(Arc::new(batch))));
    }

    pub fn create(&mut self, path: &str, data: &[u8]) {
        let txn = Txn::Create {
            kind: CreateKind::Create,
            path: path.into(),
            data: Some(data),
            acl: Acl::open().into(),
            ephemeral: false,
            parent_cversion: -1,
        };
        self.commit(Some(&txn), None, None);
    }

    /// A node in the shard's tree only, without any look at the whole.
    pub fn install_child(&mut self, parent: &str, path: &str) {
        let (parent, _) = self.shard.tree.find(parent).expect("it is there");
        let node = Node::new(NodeHead::zero(), path, None);
        let slot = self.shard.tree.vacant();
        self.shard.tree.insert_at(node, slot, Some(parent));
    }

    pub fn create_as(&mut self, session: SessionId, path: &str, ephemeral: bool) {
        let txn = Txn::Create {
            kind: CreateKind::Create,
            path: path.into(),
            data: Some(b""),
            acl: Acl::open().into(),
            ephemeral,
            parent_cversion: -1,
        };
        self.commit_as(session, Some(&txn), None, None);
    }

    /// The oldest write on its way takes effect.
    pub fn commit_set(&mut self, path: &str, data: &[u8], version: i32) {
        let write = self.writes.pop_front().expect("a write was asked for");
        let txn = Txn::SetData { path: path.into(), data: Some(data), version, reconfig: false };
        self.commit(Some(&txn), None, Some(write));
    }

    pub fn send(&mut self, conn: ConnId, requests: &[Vec<u8>]) {
        let bytes = requests.concat();
        self.step(ShardInput::Received { conn, bytes: &bytes });
    }

    /// Error code and body length of each whole reply that has come, in the order of xids from 1.
    fn replies(&self, conn: ConnId) -> Vec<(i32, usize)> {
        let bytes = self.got.get(&conn.slot).map_or(&[][..], Vec::as_slice);
        let (mut replies, mut at) = (Vec::new(), 0);
        while let Some(length) = bytes.get(at..at + 4) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            let mut reader = Reader::new(&bytes[at + 4..at + 4 + length]);
            let header = ReplyHeader::decode(&mut reader).expect("a header");
            at += 4 + length;
            if header.xid == -1 {
                continue;
            }
            replies.push((header.err, reader.remaining()));
            assert_eq!(header.xid, replies.len() as i32, "replies come in the order of requests");
        }
        replies
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

pub(super) fn request(xid: i32, op: Op, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer.int(xid);
    writer.int(op as i32);
    fill(&mut writer);
    framed(&body)
}

pub(super) fn get(xid: i32, path: &str) -> Vec<u8> {
    request(xid, Op::GetData, |writer| {
        writer.string(path);
        writer.boolean(false);
    })
}

pub(super) fn set(xid: i32, path: &str) -> Vec<u8> {
    request(xid, Op::SetData, |writer| {
        writer.string(path);
        writer.buffer(Some(b"x"));
        writer.int(-1);
    })
}

fn multi_read(xid: i32, path: &str, count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..count {
        MultiHeader { op: Op::GetData as i32, done: false, err: -1 }.encode(&mut body);
        let mut writer = Writer::new(&mut body);
        writer.string(path);
        writer.boolean(false);
    }
    MultiHeader::END.encode(&mut body);
    request(xid, Op::MultiRead, |writer| writer.raw(&body))
}

const LARGE: usize = 900_000;
const STAT: usize = 68;

#[test]
fn a_multi_read_of_more_than_a_reply_may_have_is_an_error_and_holds_nothing() {
    let mut world = Rig::new(|settings| settings.reply_bytes_max = 4 << 20);
    let conn = world.connect(0);
    world.create("/large", &[5; LARGE]);
    world.send(conn, &[multi_read(1, "/large", 4), multi_read(2, "/large", 3000), get(3, "/large")]);
    assert!(world.shard.sends.held_bytes() < 6 << 20, "{} bytes are held", world.shard.sends.held_bytes());
    world.read(conn);
    let replies = world.replies(conn);
    assert_eq!(replies[0], (0, 4 * (9 + 4 + LARGE + STAT) + 9));
    assert_eq!(replies[1].0, ErrorCode::MarshallingError.code());
    assert_eq!(replies[2], (0, 4 + LARGE + STAT), "the connection is kept");
}

#[test]
fn a_list_of_more_than_a_reply_may_have_is_an_error() {
    let mut world = Rig::new(|settings| settings.reply_bytes_max = 1 << 20);
    let conn = world.connect(0);
    world.create("/wide", b"");
    (0..20_000).for_each(|index| world.create(&format!("/wide/{index:060}"), b""));
    let list = request(1, Op::GetChildren, |writer| {
        writer.string("/wide");
        writer.boolean(false);
    });
    world.send(conn, &[list, get(2, "/wide")]);
    while world.shard.has_work() {
        world.step(ShardInput::Tick);
    }
    world.read(conn);
    assert_eq!(world.replies(conn)[0].0, ErrorCode::MarshallingError.code());
    assert_eq!(world.replies(conn)[1], (0, 4 + STAT));
}

#[test]
fn many_large_reads_behind_a_write_are_answered_as_they_are_taken() {
    let mut world = Rig::new(|_| {});
    let conn = world.connect(0);
    world.create("/large", &[5; LARGE]);
    let mut requests = vec![set(1, "/large")];
    requests.extend((2..=60).map(|xid| get(xid, "/large")));
    world.send(conn, &requests);
    world.commit_set("/large", &[6; LARGE], 1);
    let most = limits::CONN_OUT_BYTES_SOFT_MAX + 2 * LARGE;
    assert!(world.shard.sends.held_bytes() < most, "{} bytes are held", world.shard.sends.held_bytes());
    world.read(conn);
    assert_eq!(world.replies(conn).len(), 60);
    assert!(world.closed.is_empty());
}

#[test]
fn reads_between_two_writes_see_the_first_only_however_slowly_they_are_taken() {
    let mut world = Rig::new(|_| {});
    let conn = world.connect(0);
    world.create("/large", &[5; LARGE]);
    let mut requests = vec![set(1, "/large")];
    requests.extend((2..=11).map(|xid| get(xid, "/large")));
    requests.extend([set(12, "/large"), get(13, "/large")]);
    world.send(conn, &requests);
    world.commit_set("/large", &[6; LARGE], 1);
    world.commit_set("/large", b"second", 2);
    world.read(conn);
    let replies = world.replies(conn);
    assert!(replies[1..11].iter().all(|reply| *reply == (0, 4 + LARGE + STAT)), "{replies:?}");
    assert_eq!(replies[12], (0, 4 + 6 + STAT));
}

#[test]
fn a_write_waits_behind_many_unanswered_reads() {
    let mut world = Rig::new(|_| {});
    let conn = world.connect(0);
    world.create("/large", &[5; LARGE]);
    let reads = limits::READS_BEFORE_WRITE_MAX as i32 + 1;
    let mut requests = vec![set(1, "/large")];
    requests.extend((2..2 + reads).map(|xid| get(xid, "/large")));
    requests.push(set(2 + reads, "/large"));
    world.send(conn, &requests);
    assert_eq!(world.writes.len(), 1, "the second write waits");
    world.commit_set("/large", &[6; LARGE], 1);
    assert!(world.writes.is_empty());
    world.read(conn);
    assert_eq!(world.replies(conn).len() as i32, 1 + reads);
    assert_eq!(world.writes.len(), 1, "it has gone on its way by itself");
}

#[test]
fn watchers_that_do_not_read_are_closed_before_anybody_else() {
    let mut world = Rig::new(|settings| {
        settings.reply_bytes_max = 1 << 20;
        settings.output_bytes_max = 2 << 20;
    });
    let path = format!("/{}", "p".repeat(900));
    world.create(&path, b"");
    let conns: Vec<ConnId> = (0..21).map(|slot| world.connect(slot)).collect();
    for conn in &conns {
        let watch = request(1, Op::AddWatch, |writer| {
            writer.string(&path);
            writer.int(0);
        });
        world.send(*conn, &[watch]);
        world.read(*conn);
    }
    let reader = conns[7];
    world.got.clear();
    for version in 1..=10_000 {
        let txn = Txn::SetData { path: path.as_str().into(), data: Some(b"x"), version, reconfig: false };
        world.commit(Some(&txn), None, None);
        world.read(reader);
    }
    assert_eq!(world.closed.len(), 20, "all that do not read");
    assert!(!world.closed.contains(&reader.slot));
    let event = 4 + 16 + 4 + 4 + 4 + path.len();
    assert_eq!(world.got[&reader.slot].len(), 10_000 * event, "who reads misses nothing");
}

#[test]
fn identities_of_a_connection_are_bounded_in_number_and_bytes() {
    let mut world = Rig::new(|_| {});
    let auth = |xid: i32, user: &str| {
        request(xid, Op::Auth, |writer| {
            writer.int(0);
            writer.string("digest");
            writer.buffer(Some(format!("{user}:secret").as_bytes()));
        })
    };
    let conn = world.connect(0);
    let count = limits::IDENTITIES_MAX as i32;
    for xid in 1..count {
        world.send(conn, &[auth(xid, &format!("user{xid}")), auth(xid, &format!("user{xid}"))]);
        world.read(conn);
    }
    assert!(world.closed.is_empty(), "one that is known already is not another");
    world.send(conn, &[auth(count, "one more")]);
    world.read(conn);
    assert_eq!(world.closed, [0]);
    let conn = world.connect(1);
    world.send(conn, &[auth(1, &"u".repeat(limits::IDENTITIES_BYTES_MAX))]);
    world.read(conn);
    assert_eq!(world.replies(conn), [(ErrorCode::AuthFailed.code(), 0)]);
    assert_eq!(world.closed, [0, 1]);
}

#[test]
fn watches_beyond_the_bound_are_refused_and_those_of_a_reconnect_end_the_connection() {
    let mut world = Rig::new(|settings| settings.watch_bounds.conn_bytes_max = 10 * 1000);
    let conn = world.connect(0);
    let exists = |xid: i32| {
        request(xid, Op::Exists, |writer| {
            writer.string(&format!("/{xid:0839}"));
            writer.boolean(true);
        })
    };
    world.send(conn, &(1..=11).map(exists).collect::<Vec<_>>());
    world.read(conn);
    let codes: Vec<i32> = world.replies(conn).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes[..10], [ErrorCode::NoNode.code(); 10]);
    assert_eq!(codes[10], ErrorCode::ThrottledOp.code());
    let paths: Vec<String> = (20..40).map(|index| format!("/{index:0839}")).collect();
    let again = request(12, Op::SetWatches, |writer| {
        writer.long(1);
        writer.strings::<String>(&[]);
        writer.strings(&paths);
        writer.strings::<String>(&[]);
    });
    world.send(conn, &[again]);
    world.read(conn);
    assert_eq!(world.closed, [0]);
}

#[test]
fn a_deleted_node_tells_each_of_its_watchers_once() {
    let mut world = Rig::new(|_| {});
    world.create("/n", b"");
    let conns: Vec<ConnId> = (0..50).map(|slot| world.connect(slot)).collect();
    for conn in &conns {
        let list = request(2, Op::GetChildren, |writer| {
            writer.string("/n");
            writer.boolean(true);
        });
        let data = request(1, Op::GetData, |writer| {
            writer.string("/n");
            writer.boolean(conn.slot % 2 == 0);
        });
        world.send(*conn, &[data, list]);
        world.read(*conn);
    }
    world.got.clear();
    world.commit(Some(&Txn::Delete { path: "/n".into(), container: false }), None, None);
    for conn in conns {
        world.read(conn);
        assert_eq!(world.got[&conn.slot].len(), 4 + 16 + 4 + 4 + 4 + 2, "one event");
    }
}

#[test]
fn parts_of_large_requests_are_read_only_while_there_is_room_and_small_ones_always() {
    let mut world = Rig::new(|settings| settings.input_bytes_max = 4 << 20);
    let conns: Vec<ConnId> = (0..20).map(|slot| world.connect(slot)).collect();
    let small = world.connect(20);
    world.create("/n", b"");
    world.receiving.clear();
    let part = &set_large(1, "/n")[..LARGE];
    conns.iter().for_each(|conn| world.send(*conn, &[part.to_vec()]));
    let stopped = world.receiving.values().filter(|on| !**on).count();
    assert!((10..20).contains(&stopped), "{stopped} are not read any more");
    world.send(small, &[get(1, "/n")]);
    world.read(small);
    assert_eq!(world.replies(small), [(0, 4 + STAT)]);
    // Some go; the others are read again.
    conns[..19].iter().for_each(|conn| world.step(ShardInput::Closed { conn: *conn }));
    assert_ne!(world.receiving.get(&19), Some(&false));
}

fn set_large(xid: i32, path: &str) -> Vec<u8> {
    request(xid, Op::SetData, |writer| {
        writer.string(path);
        writer.buffer(Some(&[7; LARGE]));
        writer.int(-1);
    })
}
