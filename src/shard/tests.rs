//! What only a shard alone can show; its whole behaviour is tested through conversations and the simulator.

use super::*;
use crate::mesh::Question;
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

#[test]
fn a_slow_handshake_has_time_for_each_of_its_bytes_and_no_more() {
    let mut shard = shard();
    let patience_ms = shard.settings.sessionless_timeout_ms;
    let (slow, endless) = (ConnId { slot: 0, generation: 1 }, ConnId { slot: 1, generation: 1 });
    let mut out = Vec::new();
    let peer = "127.0.0.1:9".parse().expect("an address");
    for conn in [slow, endless] {
        shard.step(at(0), ShardInput::Accepted { conn, peer }, &mut out);
    }
    let request = [&[0, 0, 0, 45][..], &[0; 45]].concat();
    let mut now_ms = 0;
    for (index, byte) in request.iter().enumerate() {
        now_ms += patience_ms - 1;
        shard.step(at(now_ms), ShardInput::Received { conn: slow, bytes: &[*byte] }, &mut out);
        // A first frame of 256 bytes is nobody's connect request.
        let byte = u8::from(index == 2);
        shard.step(at(now_ms), ShardInput::Received { conn: endless, bytes: &[byte] }, &mut out);
        shard.step(at(now_ms), ShardInput::Tick, &mut out);
    }
    assert!(out.iter().any(|output| matches!(output, ShardOutput::ToMember(ToMember::Connect(_)))));
    out.clear();
    let mut bytes = request.len();
    while shard.is_open(endless) {
        bytes += 1;
        now_ms += patience_ms - 1;
        shard.step(at(now_ms), ShardInput::Tick, &mut out);
        shard.step(at(now_ms), ShardInput::Received { conn: endless, bytes: &[0] }, &mut out);
    }
    assert_eq!(bytes, limits::HANDSHAKE_BYTES + 2);
    // Who says nothing is closed on time.
    let silent = ConnId { slot: 2, generation: 1 };
    shard.step(at(now_ms), ShardInput::Accepted { conn: silent, peer }, &mut out);
    shard.step(at(now_ms + 5), ShardInput::Received { conn: silent, bytes: b"ruo" }, &mut out);
    shard.step(at(now_ms + patience_ms + 4), ShardInput::Tick, &mut out);
    assert!(shard.is_open(silent));
    assert_eq!(shard.next_timeout(), Some(now_ms + patience_ms + 5));
    shard.step(at(now_ms + patience_ms + 5), ShardInput::Tick, &mut out);
    assert!(!shard.is_open(silent));
}

#[test]
fn a_request_that_waits_for_long_is_told_of() {
    let mut shard = shard();
    shard.now = at(2000);
    assert!(!shard.is_slow(1001) && shard.is_slow(1000));
    let conn = Conn::new(
        ConnId { slot: 0, generation: 1 },
        "127.0.0.1:9".parse().expect("an address"),
        at(0),
        ConnBounds::default(),
    );
    shard.tell_slow(&conn, 5, 7, 1000);
    assert_eq!(shard.complaints.total(Kind::Slow), 1);
    shard.settings.slow_request_ms = 0;
    assert!(!shard.is_slow(0), "never");
}

#[test]
fn clients_addresses_are_shown_as_by_java() {
    let mut shard = shard();
    let peers = ["[::1]:7", "[::ffff:10.0.0.7]:7", "127.0.0.1:7"];
    let mut out = Vec::new();
    for (slot, peer) in (0..).zip(peers) {
        let conn = ConnId { slot, generation: 1 };
        shard.step(at(0), ShardInput::Accepted { conn, peer: peer.parse().expect("an address") }, &mut out);
        let identities = &shard.conn(conn).expect("it is open").identities;
        let shown = ["0:0:0:0:0:0:0:1", "10.0.0.7", "127.0.0.1"][slot as usize];
        assert_eq!((identities[0].scheme.as_str(), identities[0].id.as_str()), ("ip", shown));
    }
    let mut ask = |question| {
        let message = ToShard::Ask { ask: 1, question, lister: ShardId(0), is_alone: true };
        shard.step(at(0), ShardInput::FromMember(message), &mut out);
        out.clear();
        shard.flush(at(0), &mut out);
        let [ShardOutput::ToMember(ToMember::Part { part, .. })] = &out[..] else { panic!("one part") };
        part.text.clone() + &part.expiry.iter().map(|(_, line)| line.as_str()).collect::<String>()
    };
    for (question, start) in [(Question::Cons, " /"), (Question::Stat, " /"), (Question::Dump, "\tip: /")] {
        let text = ask(question);
        for shown in ["[0:0:0:0:0:0:0:1]:7", "10.0.0.7:7", "127.0.0.1:7"] {
            assert!(text.contains(&format!("{start}{shown}")), "{text}");
        }
    }
    // A four-letter word is a packet, too.
    let first = ConnId { slot: 0, generation: 1 };
    shard.step(at(0), ShardInput::Received { conn: first, bytes: b"dump" }, &mut out);
    assert_eq!((shard.stats.packets_received, shard.stats.bytes_received), (1, 4));
    assert_eq!(shard.conn(first).expect("it waits for the text").stats.received, 1);
}
