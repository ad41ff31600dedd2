//! Four-letter words that need numbers of every shard: asked of all, gathered, formatted when the last part is there.

use super::four_letter::{self, Facts};
use super::{Member, MemberOutput};
use crate::ids::{Now, Origin};
use crate::mesh::{Question, ShardPart, ToShard};
use std::collections::VecDeque;
use std::sync::Arc;

/// Questions not yet answered.
pub(super) struct Asks {
    shards: usize,
    next: u64,
    open: VecDeque<Ask>,
}

struct Ask {
    id: u64,
    origin: Origin,
    question: Question,
    parts: Vec<ShardPart>,
}

/// Questions answered at once; beyond, the oldest is given up and its connection closed with an empty text.
const ASKS_MAX: usize = 256;

impl Asks {
    pub fn new(shards: u16) -> Asks {
        Asks { shards: shards as usize, next: 1, open: VecDeque::new() }
    }
}

impl Member {
    pub(super) fn on_ask(
        &mut self,
        now: Now,
        origin: Origin,
        question: Question,
        out: &mut Vec<MemberOutput>,
    ) {
        match question {
            Question::Crst => {
                out.push(MemberOutput::Broadcast(ToShard::ResetStats { connections: true, server: false }));
                return send_text(origin, "Connection stats reset.\n".into(), out);
            }
            Question::Srst => {
                out.push(MemberOutput::Broadcast(ToShard::ResetStats { connections: false, server: true }));
                return send_text(origin, "Server stats reset.\n".into(), out);
            }
            // Nothing of this is known to shards.
            Question::Hash | Question::Dirs | Question::Conf => {
                let facts = self.facts(now);
                return send_text(origin, four_letter::answer(question, &facts, &[]), out);
            }
            _ => {}
        }
        if self.asks.open.len() >= ASKS_MAX
            && let Some(oldest) = self.asks.open.pop_front()
        {
            send_text(oldest.origin, String::new(), out);
        }
        let id = self.asks.next;
        self.asks.next += 1;
        self.asks.open.push_back(Ask { id, origin, question, parts: Vec::with_capacity(self.asks.shards) });
        out.push(MemberOutput::Broadcast(ToShard::Ask { ask: id, question }));
    }

    pub(super) fn on_part(&mut self, now: Now, id: u64, part: ShardPart, out: &mut Vec<MemberOutput>) {
        let Some(at) = self.asks.open.iter().position(|ask| ask.id == id) else { return };
        let ask = &mut self.asks.open[at];
        if ask.parts.iter().any(|known| known.shard == part.shard) {
            return;
        }
        ask.parts.push(part);
        if ask.parts.len() < self.asks.shards {
            return;
        }
        let mut ask = self.asks.open.remove(at).expect("its position was just found");
        ask.parts.sort_unstable_by_key(|part| part.shard);
        let text = four_letter::answer(ask.question, &self.facts(now), &ask.parts);
        send_text(ask.origin, text, out);
    }

    fn facts(&self, now: Now) -> Facts<'_> {
        Facts {
            now,
            version: &self.settings.version,
            sessions: &self.sessions,
            digests: &self.digests,
            uptime_ms: now.mono_ms.saturating_sub(self.started_ms),
            outstanding: self.pending.len() as u64,
            connections_refused: self.admission.refused(),
            snapshots: self.snapshots.count(),
            usage: self.usage,
            log_write_times: self.log_writes.times,
            slow_log_writes: self.log_writes.slow,
            log_dir_bytes: self.log.used_bytes(),
            configuration: &self.settings.configuration,
        }
    }
}

fn send_text(origin: Origin, text: String, out: &mut Vec<MemberOutput>) {
    Member::send(origin, ToShard::Text { conn: origin.conn, text: Arc::from(text) }, out);
}
