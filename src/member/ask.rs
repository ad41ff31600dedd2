//! Four-letter words that need numbers of every shard. All shards are asked and answer slice by slice; what they list
//! goes on to the client as it comes, the rest when everybody has said everything. Long texts are made a piece per turn.

use super::four_letter::{self, Facts, Gathered, Lines};
use super::{Member, MemberOutput};
use crate::ids::{Now, Origin};
use crate::limits::{ASK_ENTRIES_AT_ONCE, ASKS_MAX};
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
    gathered: Gathered,
    /// Shards that have said everything.
    finished: usize,
    /// What is being written at the moment.
    lines: Option<Lines>,
}

impl Asks {
    pub fn new(shards: u16) -> Asks {
        Asks { shards: shards as usize, next: 1, open: VecDeque::new() }
    }

    /// A text is being made.
    pub fn has_work(&self) -> bool {
        self.open.iter().any(|ask| ask.lines.is_some())
    }

    /// Those that are answered are gone.
    pub fn check(&self) {
        assert!(self.open.len() <= ASKS_MAX);
        assert!(self.open.iter().all(|ask| ask.id < self.next));
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
                return send_text(origin, "Connection stats reset.\n".into(), true, out);
            }
            Question::Srst => {
                out.push(MemberOutput::Broadcast(ToShard::ResetStats { connections: false, server: true }));
                return send_text(origin, "Server stats reset.\n".into(), true, out);
            }
            // Nothing of this is known to shards.
            Question::Hash | Question::Dirs | Question::Conf => {
                let text = four_letter::end(question, &self.facts(now), &mut Gathered::default());
                return send_text(origin, text.collect(), true, out);
            }
            _ => {}
        }
        if self.asks.open.len() >= ASKS_MAX
            && let Some(oldest) = self.asks.open.pop_front()
        {
            send_text(oldest.origin, String::new(), true, out);
        }
        let id = self.asks.next;
        self.asks.next += 1;
        let lines = four_letter::front(question, &self.facts(now));
        let has_front = lines.is_some();
        let gathered = Gathered::default();
        self.asks.open.push_back(Ask { id, origin, question, gathered, finished: 0, lines });
        if !has_front {
            self.ask_shards(id, origin, question, out);
        }
    }

    fn ask_shards(&self, ask: u64, origin: Origin, question: Question, out: &mut Vec<MemberOutput>) {
        let (lister, is_alone) = (origin.shard, self.asks.shards == 1);
        out.push(MemberOutput::Broadcast(ToShard::Ask { ask, question, lister, is_alone }));
    }

    pub(super) fn on_part(&mut self, now: Now, id: u64, mut part: ShardPart, out: &mut Vec<MemberOutput>) {
        let Some(at) = self.asks.open.iter().position(|ask| ask.id == id) else { return };
        let ask = &mut self.asks.open[at];
        let text = std::mem::take(&mut part.text);
        if !text.is_empty() {
            send_text(ask.origin, text, false, out);
        }
        ask.finished += usize::from(part.is_last);
        assert!(ask.finished <= self.asks.shards, "a shard says nothing behind its last");
        ask.gathered.add(part);
        if ask.finished < self.asks.shards {
            return;
        }
        let (question, mut gathered) = (ask.question, std::mem::take(&mut ask.gathered));
        let lines = four_letter::end(question, &self.facts(now), &mut gathered);
        self.asks.open[at].lines = Some(lines);
        self.write_lines(at, out);
    }

    /// One piece of one text.
    pub(super) fn advance_asks(&mut self, out: &mut Vec<MemberOutput>) {
        if !self.waits_for_shards()
            && let Some(at) = self.asks.open.iter().position(|ask| ask.lines.is_some())
        {
            self.write_lines(at, out);
        }
    }

    fn write_lines(&mut self, at: usize, out: &mut Vec<MemberOutput>) {
        let ask = &mut self.asks.open[at];
        let Some(lines) = &mut ask.lines else { return };
        let mut text = String::new();
        let mut is_done = false;
        for _ in 0..ASK_ENTRIES_AT_ONCE {
            let Some(line) = lines.next() else {
                is_done = true;
                break;
            };
            text.push_str(&line);
        }
        let (id, origin, question) = (ask.id, ask.origin, ask.question);
        let is_last = is_done && ask.finished == self.asks.shards;
        send_text(origin, text, is_last, out);
        if is_last {
            self.asks.open.remove(at);
        } else if is_done {
            ask.lines = None;
            self.ask_shards(id, origin, question, out);
        }
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
            stalls: self.stall.count,
            stall_ms: self.stall.lasts_ms(now),
            log_dir_bytes: self.log.used_bytes(),
            configuration: &self.settings.configuration,
        }
    }
}

fn send_text(origin: Origin, text: String, is_last: bool, out: &mut Vec<MemberOutput>) {
    Member::send(origin, ToShard::Text { conn: origin.conn, text: Arc::from(text), is_last }, out);
}
