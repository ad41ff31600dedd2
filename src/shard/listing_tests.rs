//! Answers that are put together in slices: they show one state, whatever happens meanwhile, and keep their place.

use super::bounds_tests::{Rig, get, request, set};
use super::*;
use crate::wire::txn::Txn;
use crate::wire::{Op, Reader, ReplyHeader};
use std::collections::BTreeSet;

const ENTRIES: usize = 4;

/// Numbers that look drawn.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn sliced() -> Rig {
    Rig::new(|settings| settings.listing_entries_at_once = ENTRIES)
}

fn list(xid: i32, op: Op, path: &str, watch: bool) -> Vec<u8> {
    request(xid, op, |writer| {
        writer.string(path);
        if matches!(op, Op::GetChildren | Op::GetChildren2) {
            writer.boolean(watch);
        }
    })
}

fn delete(world: &mut Rig, path: &str) {
    world.commit(Some(&Txn::Delete { path: path.into(), container: false }), None, None);
}

/// Takes turns until nothing is left to do.
fn idle(world: &mut Rig) {
    while world.shard.has_work() {
        world.step(ShardInput::Tick);
    }
}

/// Every frame that the client has: header and body.
fn frames(world: &Rig, conn: ConnId) -> Vec<(ReplyHeader, Vec<u8>)> {
    let bytes = world.got.get(&conn.slot).map_or(&[][..], Vec::as_slice);
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let mut reader = Reader::new(&bytes[at + 4..at + 4 + length]);
        let header = ReplyHeader::decode(&mut reader).expect("a header");
        frames.push((header, reader.rest().to_vec()));
        at += 4 + length;
    }
    frames
}

fn names(body: &[u8]) -> BTreeSet<String> {
    let mut reader = Reader::new(body);
    let count = reader.int().expect("a count");
    let names: BTreeSet<String> =
        (0..count).map(|_| reader.string("name").expect("a name").into_owned()).collect();
    assert_eq!(names.len() as i32, count, "each once");
    names
}

/// What is below /p, in which world.
#[derive(Default)]
struct Model {
    nodes: BTreeSet<(String, bool)>,
    next: usize,
}

impl Model {
    fn create(&mut self, world: &mut Rig, owner: SessionId, draw: &mut Draw) {
        let name = format!("n{}", self.next);
        self.next += 1;
        let ephemeral = draw.below(3) > 0;
        world.create_as(owner, &format!("/p/{name}"), ephemeral);
        self.nodes.insert((name, ephemeral));
    }

    fn delete(&mut self, world: &mut Rig, draw: &mut Draw) {
        let at = draw.below(self.nodes.len());
        let node = self.nodes.iter().nth(at).expect("there are so many").clone();
        delete(world, &format!("/p/{}", node.0));
        self.nodes.remove(&node);
    }

    fn answer(&self, op: Op) -> BTreeSet<String> {
        match op {
            Op::GetEphemerals => {
                self.nodes.iter().filter(|node| node.1).map(|(name, _)| format!("/p/{name}")).collect()
            }
            _ => self.nodes.iter().map(|(name, _)| name.clone()).collect(),
        }
    }
}

#[test]
fn a_sliced_answer_shows_the_state_it_was_begun_in() {
    let ops = [Op::GetChildren, Op::GetChildren2, Op::GetEphemerals, Op::GetAllChildrenNumber];
    for seed in 0..120 {
        let mut draw = Draw(seed);
        let mut world = sliced();
        let conn = world.connect(0);
        let owner = SessionId(1000);
        world.create("/p", b"");
        world.create("/other", b"");
        let mut model = Model::default();
        (0..40).for_each(|_| model.create(&mut world, owner, &mut draw));
        (0..10).for_each(|_| model.delete(&mut world, &mut draw));
        let op = ops[draw.below(ops.len())];
        let (expected, begun) = (model.answer(op), world.shard.tree().applied());
        world.send(conn, &[list(1, op, "/p", true), get(2, "/p")]);
        for _ in 0..draw.below(30) {
            match draw.below(5) {
                0 | 1 => model.create(&mut world, owner, &mut draw),
                2 | 3 if !model.nodes.is_empty() => model.delete(&mut world, &mut draw),
                _ => world.step(ShardInput::Tick),
            }
        }
        idle(&mut world);
        world.read(conn);
        idle(&mut world);
        world.read(conn);
        let frames = frames(&world, conn);
        assert_eq!((frames[0].0.xid, frames[0].0.zxid, frames[0].0.err), (1, begun, 0), "seed {seed}");
        if op == Op::GetAllChildrenNumber {
            assert_eq!(frames[0].1, (expected.len() as i32).to_be_bytes(), "seed {seed}");
        } else {
            assert_eq!(names(&frames[0].1), expected, "seed {seed}");
        }
        assert_eq!(frames.last().map(|frame| frame.0.xid), Some(2), "what was asked later comes later");
        let events = frames.iter().filter(|frame| frame.0.xid == -1).count();
        assert!(events <= 1 && frames.len() == 2 + events, "seed {seed}");
    }
}

/// The parent goes with all its children while they are listed, and another node gets its place.
#[test]
fn a_parent_that_goes_while_its_children_are_listed() {
    let mut world = sliced();
    let conn = world.connect(0);
    world.create("/p", b"");
    (0..20).for_each(|index| world.create(&format!("/p/{index}"), b""));
    world.send(conn, &[list(1, Op::GetChildren2, "/p", false)]);
    (0..20).for_each(|index| delete(&mut world, &format!("/p/{index}")));
    delete(&mut world, "/p");
    world.create("/q", b"");
    (0..20).for_each(|index| world.create(&format!("/q/{index}"), b""));
    idle(&mut world);
    world.read(conn);
    assert_eq!(names(&frames(&world, conn)[0].1), (0..20).map(|index| index.to_string()).collect());
}

#[test]
fn a_write_behind_a_long_answer_goes_when_that_is_complete() {
    let mut world = sliced();
    let conn = world.connect(0);
    world.create("/p", b"");
    (0..40).for_each(|index| world.create(&format!("/p/{index}"), b""));
    world.send(conn, &[list(1, Op::GetChildren, "/p", false), set(2, "/p")]);
    assert!(world.writes.is_empty(), "the answer is not complete");
    idle(&mut world);
    assert_eq!(world.writes.len(), 1);
    // Behind a write as well.
    world.send(conn, &[list(3, Op::GetChildren, "/p", false), get(4, "/p"), set(5, "/p")]);
    world.create("/p/more", b"");
    world.commit_set("/p", b"first", 1);
    assert!(world.writes.is_empty());
    idle(&mut world);
    assert_eq!(world.writes.len(), 1);
    world.commit_set("/p", b"second", 2);
    world.read(conn);
    let xids: Vec<i32> = frames(&world, conn).iter().map(|frame| frame.0.xid).collect();
    assert_eq!(xids, [1, 2, 3, 4, 5]);
    assert_eq!(names(&frames(&world, conn)[2].1).len(), 41);
}

/// The list was short when it was asked for.
#[test]
fn a_list_that_becomes_long_while_it_waits_is_complete_before_a_later_answer() {
    let mut world = sliced();
    let conn = world.connect(0);
    world.create("/p", b"");
    world.send(
        conn,
        &[
            set(1, "/p"),
            list(2, Op::GetChildren, "/p", false),
            set(3, "/p"),
            list(4, Op::GetChildren, "/p", false),
        ],
    );
    assert_eq!(world.writes.len(), 2);
    (0..40).for_each(|index| world.create(&format!("/p/{index}"), b""));
    world.commit_set("/p", b"first", 1);
    world.create("/p/more", b"");
    world.commit_set("/p", b"second", 2);
    idle(&mut world);
    world.read(conn);
    let frames = frames(&world, conn);
    assert_eq!(frames.iter().map(|frame| frame.0.xid).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((names(&frames[1].1).len(), names(&frames[3].1).len()), (40, 41));
}

#[test]
fn more_long_answers_than_may_be_begun_wait_and_those_whose_clients_go_make_room() {
    let mut world = sliced();
    world.create("/p", b"");
    (0..40).for_each(|index| world.create(&format!("/p/{index}"), b""));
    let conns: Vec<ConnId> = (0..6).map(|slot| world.connect(slot)).collect();
    for conn in &conns {
        world.send(*conn, &[list(1, Op::GetChildren, "/p", false), get(2, "/p")]);
        // The next list is another one: this one is not kept.
        world.create(&format!("/p/after{}", conn.slot), b"");
    }
    world.step(ShardInput::Closed { conn: conns[0] });
    world.step(ShardInput::Closed { conn: conns[5] });
    idle(&mut world);
    for conn in &conns[1..5] {
        world.read(*conn);
        let frames = frames(&world, *conn);
        assert_eq!(frames.iter().map(|frame| frame.0.xid).collect::<Vec<_>>(), [1, 2]);
        assert!(names(&frames[0].1).len() >= 41);
    }
    assert_eq!(world.shard.sends.held_bytes(), 0);
}

#[test]
fn a_sliced_list_is_kept_for_who_asks_next() {
    let mut world = sliced();
    let conn = world.connect(0);
    world.create("/p", b"");
    (0..100).for_each(|index| world.create(&format!("/p/{index}"), b""));
    world.send(conn, &[list(1, Op::GetChildren2, "/p", false)]);
    idle(&mut world);
    world.read(conn);
    world.send(conn, &[list(2, Op::GetChildren2, "/p", false)]);
    assert!(!world.shard.listings.has_work(), "it is there at once");
    world.read(conn);
    let frames = frames(&world, conn);
    assert_eq!(frames[0].1, frames[1].1);
}

#[test]
fn a_list_of_more_than_64_mib_is_sent_in_pieces() {
    const CHILDREN: usize = 100_000;
    const NAME: usize = 700;
    let mut world = Rig::new(|_| {});
    let conn = world.connect(0);
    world.create("/p", b"");
    // Without a walk over all after each, which the world's steps do.
    for index in 0..CHILDREN {
        world.install_child("/p", &format!("/p/{index:0NAME$}"));
    }
    world.send(conn, &[list(1, Op::GetChildren2, "/p", false), get(2, "/p")]);
    let mut turns = 0;
    while world.shard.has_work() {
        world.shard.flush(Now { mono_ms: 60_000, wall_ms: 1_700_000_000_000 }, &mut world.out);
        world.carry_out();
        turns += 1;
    }
    assert!(turns >= CHILDREN / limits::LISTING_ENTRIES_AT_ONCE, "{turns} turns");
    let mut largest = 0;
    while let Some(buffer) = world.unread.remove(&conn.slot) {
        largest = largest.max(buffer.len());
        world.got.entry(conn.slot).or_default().extend_from_slice(&buffer);
        world.step(ShardInput::Sent { conn, spare: buffer.into_spare() });
    }
    assert!(largest <= limits::LISTING_PIECE_BYTES, "{largest} bytes in one send");
    assert!(world.closed.is_empty());
    let frames = frames(&world, conn);
    assert_eq!(frames[0].1.len(), 4 + CHILDREN * (4 + NAME) + 68);
    assert_eq!((names(&frames[0].1).len(), frames[1].0.xid), (CHILDREN, 2));
}
