//! A whole shard without sockets: from the bytes of requests to the bytes of replies, and from a committed batch to the
//! bytes of events.

use super::Body;
use super::tree::{Paths, World, path, set_data};
use ringkeeper::ids::{ConnId, Now, Origin, SessionId, ShardId, Zxid};
use ringkeeper::mesh::{Batch, Committed, SessionChange, ToShard};
use ringkeeper::shard::{Shard, ShardInput, ShardOutput, ShardSettings};
use ringkeeper::tree::Effects;
use ringkeeper::wire::{Op, Writer};
use std::sync::Arc;

const NOW: Now = Now { mono_ms: 60_000, wall_ms: 1_700_000_000_000 };

struct Harness {
    shard: Shard,
    zxid: i64,
    out: Vec<ShardOutput>,
}

impl Harness {
    fn new(world: &World) -> Harness {
        Harness {
            shard: Shard::new(ShardSettings::default(), world.store.tree().clone()),
            zxid: world.zxid,
            out: Vec::new(),
        }
    }

    /// Connects a client and opens its session.
    fn connect(&mut self, slot: u32) -> ConnId {
        let conn = ConnId { slot, generation: 1 };
        let peer = "127.0.0.1:9".parse().expect("an address");
        self.shard.step(NOW, ShardInput::Accepted { conn, peer }, &mut self.out);
        let connect = frame(|writer| {
            writer.int(0);
            writer.long(0);
            writer.int(30_000);
            writer.long(0);
            writer.buffer(Some(&[0; 16]));
            writer.boolean(false);
        });
        self.shard.step(NOW, ShardInput::Received { conn, bytes: &connect }, &mut self.out);
        let origin = Some(Origin { shard: ShardId(0), conn });
        let session = SessionId(1000 + i64::from(slot));
        let opened = SessionChange::Opened { session, timeout_ms: 30_000, origin };
        self.commit(Effects::new(), Some(opened));
        assert!(self.sent() > 0, "the connect response");
        conn
    }

    fn commit(&mut self, effects: Effects, session: Option<SessionChange>) {
        self.zxid += 1;
        let committed = Committed { zxid: Zxid(self.zxid), effects, answer: None, session };
        let batch = ToShard::Committed(Arc::new(Batch { txns: vec![committed], bytes: 0 }));
        self.shard.step(NOW, ShardInput::FromMember(batch), &mut self.out);
    }

    /// Ends turns until nothing is left to send; the bytes sent. Buffers come back as from a socket.
    fn sent(&mut self) -> usize {
        let mut bytes = 0;
        loop {
            self.shard.flush(NOW, &mut self.out);
            let outputs = std::mem::take(&mut self.out);
            if outputs.is_empty() {
                return bytes;
            }
            for output in outputs {
                if let ShardOutput::Send { conn, buffer } = output {
                    bytes += buffer.len();
                    let spare = buffer.into_spare();
                    self.shard.step(NOW, ShardInput::Sent { conn, spare }, &mut self.out);
                }
            }
        }
    }
}

/// A request with its length.
fn frame(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut body = Vec::new();
    fill(&mut Writer::new(&mut body));
    let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

pub fn get_data(nodes: u32) -> Body {
    let (world, mut paths) = (World::new(nodes), Paths::new(nodes));
    let mut harness = Harness::new(&world);
    let conn = harness.connect(0);
    let requests: Vec<Vec<u8>> =
        (0..ROUNDS).map(|_| (0..IN_FLIGHT).flat_map(|xid| get(xid, paths.next())).collect()).collect();
    let mut round = 0;
    let turn = move || {
        round = (round + 1) % ROUNDS;
        harness.shard.step(NOW, ShardInput::Received { conn, bytes: &requests[round] }, &mut harness.out);
        assert_eq!(harness.sent(), IN_FLIGHT as usize * REPLY_BYTES);
    };
    Body { operations: IN_FLIGHT as u64, turn: Box::new(turn) }
}

fn get(xid: i32, path: &str) -> Vec<u8> {
    frame(|writer| {
        writer.int(xid);
        writer.int(Op::GetData as i32);
        writer.string(path);
        writer.boolean(false);
    })
}

const IN_FLIGHT: i32 = 32;
const ROUNDS: usize = 64;
/// Length, header, 100 bytes with their length, Stat.
const REPLY_BYTES: usize = 4 + 16 + 104 + 68;

/// Persistent watches, so that nothing has to be set again.
pub fn fan_out(_: u32) -> Body {
    let mut world = World::new(1);
    let mut harness = Harness::new(&world);
    let watched = path(0);
    for slot in 0..WATCHERS {
        let conn = harness.connect(slot);
        let request = frame(|writer| {
            writer.int(1);
            writer.int(Op::AddWatch as i32);
            writer.string(&watched);
            writer.int(0);
        });
        harness.shard.step(NOW, ShardInput::Received { conn, bytes: &request }, &mut harness.out);
    }
    assert!(harness.sent() > 0, "the answers");
    let effects = Effects::from(world.apply(&set_data(&watched)).to_vec());
    let event_bytes = 4 + 16 + 8 + 4 + watched.len();
    let turn = move || {
        harness.commit(effects.clone(), None);
        assert_eq!(harness.sent(), WATCHERS as usize * event_bytes);
    };
    Body { operations: u64::from(WATCHERS), turn: Box::new(turn) }
}

const WATCHERS: u32 = 1000;
