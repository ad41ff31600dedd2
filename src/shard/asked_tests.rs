//! Four-letter words that list: every slice is small, and all of them together say what there is.

use super::bounds_tests::{Rig, request};
use super::*;
use crate::mesh::Question;
use crate::wire::Op;
use std::collections::BTreeSet;

fn watch(world: &mut Rig, conn: ConnId, path: &str) {
    let get = request(1, Op::Exists, |writer| {
        writer.string(path);
        writer.boolean(true);
    });
    world.send(conn, &[get]);
    world.read(conn);
}

/// Asks, and takes turns until the shard has said its last; what each slice had.
fn ask(world: &mut Rig, question: Question, is_alone: bool) -> Vec<ShardPart> {
    world.parts.clear();
    let asked = ToShard::Ask { ask: 1, question, lister: ShardId(0), is_alone };
    world.step(ShardInput::FromMember(asked));
    while !world.parts.last().is_some_and(|part| part.is_last) {
        assert!(world.shard.has_work());
        world.step(ShardInput::Tick);
    }
    assert!(!world.shard.has_work());
    std::mem::take(&mut world.parts)
}

fn text(parts: &[ShardPart]) -> String {
    parts.iter().map(|part| part.text.as_str()).collect()
}

#[test]
fn connections_are_listed_in_slices() {
    let mut world = Rig::new(|_| {});
    let count = 3 * limits::ASK_ENTRIES_AT_ONCE as u32 / 4 + 5;
    (0..count).for_each(|slot| _ = world.connect(slot));
    world.step(ShardInput::Closed { conn: ConnId { slot: 7, generation: 1 } });
    for question in [Question::Cons, Question::Stat, Question::Dump] {
        let parts = ask(&mut world, question, true);
        assert!(parts.len() >= 3, "{} slices", parts.len());
        let lines: usize = parts.iter().map(|part| part.text.lines().count() + part.expiry.len()).sum();
        let front = usize::from(question == Question::Dump);
        assert_eq!(lines, count as usize - 1 + front);
        let most = parts.iter().map(|part| part.text.lines().count() + part.expiry.len()).max();
        assert!(most <= Some(limits::ASK_ENTRIES_AT_ONCE / 4 + front));
        assert_eq!(parts.iter().map(|part| part.stats.connections).sum::<u64>(), u64::from(count) - 1);
    }
}

#[test]
fn watches_are_listed_by_connection_and_by_path() {
    let mut world = Rig::new(|_| {});
    let (one, two) = (world.connect(0), world.connect(1));
    let paths = limits::ASK_ENTRIES_AT_ONCE * 2;
    (0..paths).for_each(|index| watch(&mut world, one, &format!("/{index}")));
    watch(&mut world, two, "/0");
    watch(&mut world, two, "/only");

    let parts = ask(&mut world, Question::Wchc, true);
    assert!(parts.len() >= 3);
    let text = text(&parts);
    let groups: Vec<&str> = text.split("0x").filter(|group| !group.is_empty()).collect();
    assert_eq!(groups.len(), 2, "one for each connection");
    let sizes: BTreeSet<usize> = groups.iter().map(|group| group.lines().count() - 1).collect();
    assert_eq!(sizes, [2, paths].into());

    let parts = ask(&mut world, Question::Wchp, true);
    assert!(parts.len() >= 3);
    let watched: Vec<_> = parts.iter().flat_map(|part| &part.watched).collect();
    assert_eq!(watched.len(), paths + 1);
    let both = watched.iter().find(|(path, _)| &**path == "/0").expect("it is watched");
    assert_eq!(both.1.len(), 2);

    let parts = ask(&mut world, Question::Wchs, true);
    assert_eq!(parts.len(), 1);
    let first = &parts[0];
    let expected = (paths as u64 + 2, paths as u64 + 1, 2);
    assert_eq!((first.data_watches, first.watched_paths, first.watching_connections), expected);
    let parts = ask(&mut world, Question::Wchs, false);
    let hashes: BTreeSet<u64> = parts.iter().flat_map(|part| part.path_hashes.iter().copied()).collect();
    assert_eq!(hashes.len(), paths + 1);
}

#[test]
fn a_connection_that_goes_while_its_watches_are_listed() {
    let mut world = Rig::new(|_| {});
    let one = world.connect(0);
    let paths = limits::ASK_ENTRIES_AT_ONCE * 2;
    (0..paths).for_each(|index| watch(&mut world, one, &format!("/{index}")));
    world.step(ShardInput::FromMember(ToShard::Ask {
        ask: 1,
        question: Question::Wchc,
        lister: ShardId(0),
        is_alone: true,
    }));
    world.step(ShardInput::Closed { conn: one });
    while world.shard.has_work() {
        world.step(ShardInput::Tick);
    }
    assert!(world.parts.last().is_some_and(|part| part.is_last));
}

#[test]
fn ephemerals_are_listed_by_one_shard_only() {
    let mut world = Rig::new(|_| {});
    let count = limits::ASK_ENTRIES_AT_ONCE + 10;
    (0..count).for_each(|index| world.create_as(SessionId(5), &format!("/e{index}"), true));
    world.create_as(SessionId(6), "/other", true);
    let parts = ask(&mut world, Question::Dump, true);
    assert!(parts.len() >= 2);
    let text = text(&parts);
    assert!(text.starts_with("Sessions with Ephemerals (2):\n0x5:\n"));
    assert_eq!(text.lines().filter(|line| line.starts_with("\t/e")).count(), count);
    assert!(text.ends_with("0x6:\n\t/other\n"));
    let asked = ToShard::Ask { ask: 2, question: Question::Dump, lister: ShardId(9), is_alone: false };
    world.step(ShardInput::FromMember(asked));
    assert_eq!(world.parts.len(), 1);
    assert!(world.parts[0].text.is_empty());
}
