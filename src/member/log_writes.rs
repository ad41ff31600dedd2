//! How long the log's writes take, and what the operator hears of slow ones. A write that stays away is told of while it is
//! on its way: a disk that hangs completes nothing.

use super::four_letter::Summary;
use super::{Member, MemberOutput};
use crate::aligned::AlignedBuffer;
use crate::ids::{Now, SegmentId};
use crate::limits::SLOW_LOG_EVERY_MS;
use crate::log::files::segment_name;
use std::collections::VecDeque;

/// The writes under way and the times of those that are done.
pub(super) struct LogWrites {
    /// `fsync.warningthresholdms`.
    threshold_ms: u64,
    /// In the order in which they began.
    under_way: VecDeque<Write>,
    /// Of those that are done.
    pub times: Summary,
    /// Writes that took longer than the threshold, or are about to.
    pub slow: u64,
    told: Told,
}

#[derive(Clone, Copy)]
struct Write {
    token: u64,
    segment: SegmentId,
    bytes: usize,
    started_ms: u64,
    /// It has been counted.
    is_slow: bool,
}

/// Of a disk that stays slow there is a line now and then.
#[derive(Default)]
struct Told {
    not_before_ms: u64,
    silent: u64,
    longest_ms: u64,
}

impl LogWrites {
    pub fn new(threshold_ms: u64) -> LogWrites {
        LogWrites {
            threshold_ms,
            under_way: VecDeque::new(),
            times: Summary::default(),
            slow: 0,
            told: Told::default(),
        }
    }

    pub fn begin(&mut self, now: Now, token: u64, segment: SegmentId, bytes: usize) {
        self.under_way.push_back(Write { token, segment, bytes, started_ms: now.mono_ms, is_slow: false });
    }

    /// When the first one under way that is not known to be slow becomes it.
    pub fn slow_at_ms(&self) -> Option<u64> {
        let first = self.under_way.iter().find(|write| !write.is_slow)?;
        Some(first.started_ms.saturating_add(self.threshold_ms).saturating_add(1))
    }

    /// A write is durable. Gives back what the operator should hear.
    fn end(&mut self, now: Now, token: u64) -> Option<String> {
        let at = self.under_way.iter().position(|write| write.token == token)?;
        let write = self.under_way.remove(at)?;
        let took_ms = now.mono_ms.saturating_sub(write.started_ms);
        self.times.add(took_ms);
        if took_ms <= self.threshold_ms {
            return None;
        }
        self.slow += u64::from(!write.is_slow);
        self.tell(now, &write, "took", took_ms)
    }

    /// Time passed: tells of those that stay away.
    fn look(&mut self, now: Now) -> Option<String> {
        let mut text = None;
        while let Some(at) = self.under_way.iter().position(|write| !write.is_slow) {
            let write = &mut self.under_way[at];
            let lasts_ms = now.mono_ms.saturating_sub(write.started_ms);
            if lasts_ms <= self.threshold_ms {
                break;
            }
            write.is_slow = true;
            self.slow += 1;
            let write = *write;
            text = text.or(self.tell(now, &write, "has not come back for", lasts_ms));
        }
        text
    }

    fn tell(&mut self, now: Now, write: &Write, what: &str, ms: u64) -> Option<String> {
        let told = &mut self.told;
        if now.mono_ms < told.not_before_ms {
            told.silent += 1;
            told.longest_ms = told.longest_ms.max(ms);
            return None;
        }
        let Told { silent, longest_ms, .. } = std::mem::take(told);
        told.not_before_ms = now.mono_ms + SLOW_LOG_EVERY_MS;
        let before = match silent {
            0 => String::new(),
            _ => format!(" Since the last such line: {silent} more, the longest {longest_ms} ms."),
        };
        Some(format!(
            "the disk of the transaction log is slow: a durable write of {} bytes to {} {what} {ms} ms, \
             fsync.warningthresholdms is {}.{before} Every write of a client waits for it. What else uses this disk \
             (iostat -x 1, iotop -o)? `ringkeeper doctor` measures it; a dataLogDir on a disk of its own helps",
            write.bytes,
            segment_name(write.segment),
            self.threshold_ms,
        ))
    }
}

impl Member {
    /// The log's durable prefix may have grown; [`Member::flush`] acknowledges it.
    pub(super) fn on_log_written(
        &mut self,
        now: Now,
        token: u64,
        buffer: AlignedBuffer,
        out: &mut Vec<MemberOutput>,
    ) {
        let text = self.log_writes.end(now, token);
        out.extend(text.map(|text| MemberOutput::Notice { text }));
        self.log.on_written(token, buffer);
    }

    pub(super) fn look_for_slow_writes(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        let text = self.log_writes.look(now);
        out.extend(text.map(|text| MemberOutput::Notice { text }));
    }

    /// Writes of the log that took longer than `fsync.warningthresholdms`.
    pub fn slow_log_writes(&self) -> u64 {
        self.log_writes.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_slow_write_is_told_of_with_file_time_and_threshold() {
        let mut writes = LogWrites::new(1000);
        writes.begin(at(0), 1, SegmentId(9), 4096);
        assert_eq!(writes.end(at(1000), 1), None, "as long as the threshold");
        writes.begin(at(2000), 2, SegmentId(9), 8192);
        let text = writes.end(at(3400), 2).expect("longer");
        for part in ["8192 bytes", "segment.0000000000000009", "took 1400 ms", "warningthresholdms is 1000"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!((writes.slow, writes.times.count, writes.times.max), (1, 2, 1400));
    }

    #[test]
    fn a_write_that_stays_away_is_told_of_and_counted_once() {
        let mut writes = LogWrites::new(1000);
        writes.begin(at(100), 1, SegmentId(1), 4096);
        writes.begin(at(200), 2, SegmentId(1), 4096);
        assert_eq!((writes.slow_at_ms(), writes.look(at(1100))), (Some(1101), None));
        let text = writes.look(at(1101)).expect("too long");
        assert!(text.contains("has not come back for 1001 ms"), "{text}");
        assert_eq!((writes.slow, writes.slow_at_ms()), (1, Some(1201)));
        assert_eq!(writes.look(at(1201)), None, "one line is enough for now");
        assert_eq!((writes.slow, writes.slow_at_ms()), (2, None));
        // Out of order, and no second count.
        assert_eq!((writes.end(at(5000), 2), writes.end(at(6000), 1)), (None, None));
        assert_eq!((writes.slow, writes.times.count), (2, 2));
    }

    #[test]
    fn a_disk_that_stays_slow_is_told_of_now_and_then() {
        let mut writes = LogWrites::new(10);
        let mut lines = Vec::new();
        for token in 0..100 {
            let start = token * SLOW_LOG_EVERY_MS / 10;
            writes.begin(at(start), token, SegmentId(1), 4096);
            lines.extend(writes.end(at(start + 20 + token % 7), token));
        }
        assert_eq!((writes.slow, lines.len()), (100, 10));
        assert!(lines[1].contains("Since the last such line: 9 more, the longest 26 ms"), "{}", lines[1]);
    }
}
