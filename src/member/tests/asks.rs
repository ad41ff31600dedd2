//! Four-letter words that all shards are asked for.

use super::*;
use crate::mesh::{Question, ShardPart};

#[test]
fn a_question_is_answered_when_every_shard_has_said_its_part() {
    let mut world = Rig::new(MemberSettings { shards: 2, ..MemberSettings::default() });
    world.step(MemberInput::FromShard(ToMember::Ask { origin: origin(3), question: Question::Wchs }));
    let Some(ToShard::Ask { ask, .. }) = world.messages.last().cloned() else {
        panic!("all shards are asked")
    };
    let part = |shard, is_last, path_hashes| ShardPart {
        shard: ShardId(shard),
        is_last,
        data_watches: if is_last { 0 } else { 2 },
        path_hashes,
        ..ShardPart::default()
    };
    world.messages.clear();
    let mut say = |part| world.step(MemberInput::FromShard(ToMember::Part { ask, part: Box::new(part) }));
    say(part(1, false, vec![1, 2]));
    say(part(0, false, vec![2]));
    say(part(1, true, vec![3]));
    assert!(world.messages.is_empty());
    let last = part(0, true, vec![]);
    world.step(MemberInput::FromShard(ToMember::Part { ask, part: Box::new(last) }));
    let Some(ToShard::Text { text, is_last: true, .. }) = world.messages.last() else { panic!("a text") };
    assert_eq!(&**text, "0 connections watching 3 paths\nTotal watches:4\n");
}

/// Work that goes on in the next turn is not a timer that is late.
#[test]
fn a_long_text_and_a_long_round_of_the_collector_keep_no_session_from_expiring() {
    let mut world = Rig::new(MemberSettings::default());
    world.connect(1);
    world.now.mono_ms += 100_000;
    world.flush();
    let mut tick = |is_round: bool| {
        if is_round {
            world.member.collecting = Some(Default::default());
        } else {
            let dump = ToMember::Ask { origin: origin(3), question: Question::Dump };
            world.step(MemberInput::FromShard(dump));
        }
        assert_eq!(world.member.next_timeout(), Some(world.now.mono_ms), "at once");
        world.step(MemberInput::Tick);
        assert!(world.member.no_expiry_before_ms <= world.now.mono_ms);
    };
    tick(false);
    tick(true);
}
