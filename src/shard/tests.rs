//! What only a shard alone can show; its whole behaviour is tested through conversations and the simulator.

use super::*;
use crate::tree::OwnerRules;

fn shard() -> Shard {
    let settings = ShardSettings { four_letter_words: None, ..ShardSettings::default() };
    Shard::new(settings, Tree::new(1, OwnerRules::default()))
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: mono_ms as i64 }
}

#[test]
fn who_does_not_read_its_last_answer_is_closed_after_a_while() {
    let mut shard = shard();
    let conn = ConnId { slot: 3, generation: 1 };
    let mut out = Vec::new();
    let peer = "127.0.0.1:9".parse().expect("an address");
    shard.step(at(0), ShardInput::Accepted { conn, peer }, &mut out);
    shard.step(at(0), ShardInput::Received { conn, bytes: b"ruok" }, &mut out);
    shard.flush(at(0), &mut out);
    assert!(
        out.iter().any(|output| matches!(output, ShardOutput::Send { buffer, .. } if **buffer == *b"imok"))
    );
    out.clear();
    assert_eq!(shard.next_timeout(), Some(CLOSING_MS_MAX));
    shard.step(at(CLOSING_MS_MAX - 1), ShardInput::Tick, &mut out);
    assert!(out.is_empty() && shard.is_open(conn));
    shard.step(at(CLOSING_MS_MAX), ShardInput::Tick, &mut out);
    assert!(matches!(&out[..], [ShardOutput::Close { .. }, ShardOutput::ToMember(_)]));
    assert!(!shard.is_open(conn));
}
