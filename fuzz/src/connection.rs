//! Bytes of a client, in pieces, into a shard: framing, four-letter words, the connect request, every request.

use ringkeeper::ids::{ConnId, Now, SessionId, Zxid};
use ringkeeper::mesh::{ToMember, ToShard};
use ringkeeper::shard::{Shard, ShardInput, ShardOutput, ShardSettings};
use ringkeeper::tree::{OwnerRules, Tree};

const RULES: OwnerRules = OwnerRules { extended_types: true, emulate_353: false };
const NOW: Now = Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 };

fn shard() -> Shard {
    let settings =
        ShardSettings { four_letter_words: None, environment: "env".into(), ..ShardSettings::default() };
    Shard::new(settings, Tree::new(1, RULES))
}

pub fn run(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let mut shard = shard();
    let conn = ConnId { slot: 0, generation: 0 };
    let mut out = Vec::new();
    shard.step(NOW, ShardInput::Accepted { conn, peer: ([127, 0, 0, 1], 9).into() }, &mut out);
    for bytes in bytes.chunks(usize::from(piece).max(1)) {
        shard.step(NOW, ShardInput::Received { conn, bytes }, &mut out);
        shard.flush(NOW, &mut out);
        for output in std::mem::take(&mut out) {
            match output {
                ShardOutput::ToMember(ToMember::Connect(connect)) => {
                    let (session, timeout_ms) = (SessionId(5), connect.timeout_ms);
                    let resumed =
                        ToShard::Resumed { conn, session, timeout_ms, valid: true, seen: Zxid::ZERO };
                    shard.step(NOW, ShardInput::FromMember(resumed), &mut out);
                }
                ShardOutput::Send { conn, buffer } => {
                    let spare = buffer.into_spare();
                    shard.step(NOW, ShardInput::Sent { conn, spare }, &mut out);
                }
                ShardOutput::Close { .. } => return,
                _ => {}
            }
        }
    }
}
