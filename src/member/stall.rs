//! Whether the member takes requests at the moment, and what the operator hears where it has not for long.

use super::{Member, MemberOutput, RunState};
use crate::ids::Now;
use crate::limits::STALL_TOLD_AFTER_MS;

/// Since when no requests are taken.
#[derive(Default)]
pub(super) struct Stall {
    since_ms: Option<u64>,
    is_told: bool,
    /// Stalls that were long enough to be told of.
    pub count: u64,
}

impl Stall {
    /// When a stall under way is told of.
    pub fn told_at_ms(&self) -> Option<u64> {
        self.since_ms.filter(|_| !self.is_told).map(|since_ms| since_ms + STALL_TOLD_AFTER_MS)
    }

    /// How long the one under way lasts.
    pub fn lasts_ms(&self, now: Now) -> u64 {
        self.since_ms.map_or(0, |since_ms| now.mono_ms.saturating_sub(since_ms))
    }
}

impl Member {
    /// At the end of a turn, and when it is time to tell.
    pub(super) fn look_for_a_stall(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        let why = if self.phase == RunState::Running { self.why_not_accepting() } else { None };
        assert_eq!(why.is_none(), self.phase != RunState::Running || self.is_accepting());
        let Some(why) = why else {
            let Stall { since_ms, is_told, count } = std::mem::take(&mut self.stall);
            self.stall.count = count;
            if let (Some(since_ms), true) = (since_ms, is_told) {
                let ms = now.mono_ms.saturating_sub(since_ms);
                out.push(MemberOutput::Notice { text: format!("requests are taken again, after {ms} ms") });
            }
            return;
        };
        let since_ms = *self.stall.since_ms.get_or_insert(now.mono_ms);
        let ms = now.mono_ms.saturating_sub(since_ms);
        if ms >= STALL_TOLD_AFTER_MS && !self.stall.is_told {
            self.stall.is_told = true;
            self.stall.count += 1;
            let text = format!("no writes and no new sessions are taken since {ms} ms: {why}; reads go on");
            out.push(MemberOutput::Notice { text });
        }
    }

    /// What the next request would wait for.
    fn why_not_accepting(&self) -> Option<String> {
        if !self.stalled.is_empty() {
            return Some("the next segment of the transaction log is not ready".into());
        }
        if self.waits_for_shards() {
            return Some("a shard has not taken what it was told; one core gets no CPU time".into());
        }
        (!self.is_accepting()).then(|| {
            let (txns, bytes) = (self.pending.len(), self.pending_bytes);
            format!("{txns} transactions of {bytes} bytes are not durable yet")
        })
    }
}
