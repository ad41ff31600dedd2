//! Whether the log can take an entry. Two reasons why not, told apart: the next segment is merely late (requests
//! wait), or the disk is full (writes are refused, reads go on, and the member tries again each second).
//!
//! On a full disk the member makes space itself (`relief.rs`), and a smaller segment will do.

use super::{Member, MemberOutput, RunState};
use crate::ids::{Now, SegmentId};
use crate::limits::{LOG_BLOCK, LOG_SEGMENTS_AHEAD};
use crate::log::LogOutput;

/// Bytes that client writes leave free, so that sessions can still be opened, for reading, and end on a full disk. The
/// half of it is kept for the end of sessions.
const RESERVE_BYTES: usize = 4 << 20;
/// The smallest segment that is asked for where there is no space for a larger one.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;
/// A segment that could not be prepared is asked for again after this time.
const RETRY_MS: u64 = 1000;

/// What is known about segments to come.
pub(super) struct Room {
    segment_bytes: u64,
    /// Asked for and not there yet.
    asked: Vec<(SegmentId, u64)>,
    /// Of those, the ones that failed.
    failed: Vec<Failed>,
    retry_at_ms: Option<u64>,
    /// Why the last one failed.
    what: String,
    /// Writes are refused, and the operator was told.
    refusing: bool,
    /// The log has a segment of this process.
    has_begun: bool,
    /// The newest prepared segment's bytes.
    newest_bytes: u64,
    /// What failed is asked for again at once, smaller or after space was made: requests wait.
    is_trying: bool,
    /// A snapshot for the sake of space failed; the next one not before.
    pub(super) no_relief_before_ms: u64,
}

/// A segment that could not be prepared.
///
/// Crash story: 1. A segment fails and is asked for again; the disk is slow. 2. A second later it is asked for once
/// more. 3. The first order is carried out, the segment is used. 4. The second order puts an empty file in its place.
/// So there is never more than one order for a segment.
struct Failed {
    segment: SegmentId,
    bytes: u64,
    is_asked_again: bool,
}

/// May an entry be appended?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Yes,
    /// Not before the next segment is there, which is being prepared.
    Wait,
    /// Not until there is space on the disk, or never.
    No,
}

impl Room {
    pub fn new(segment_bytes: u64) -> Room {
        Room {
            segment_bytes,
            asked: Vec::new(),
            failed: Vec::new(),
            retry_at_ms: None,
            what: String::new(),
            refusing: false,
            has_begun: false,
            newest_bytes: segment_bytes,
            is_trying: false,
            no_relief_before_ms: 0,
        }
    }

    /// There is no space for a segment.
    pub fn is_full(&self) -> bool {
        !self.failed.is_empty()
    }

    fn smallest_bytes(&self) -> u64 {
        SEGMENT_BYTES_MIN.min(self.segment_bytes)
    }

    /// When a failed segment is asked for again.
    pub fn retry_at_ms(&self) -> Option<u64> {
        self.retry_at_ms
    }

    /// On small segments the reserve is an eighth.
    fn reserve_bytes(&self) -> usize {
        RESERVE_BYTES.min(self.segment_bytes as usize / 8)
    }

    /// Whether an empty segment takes an entry, a frame's header and padding included.
    pub fn could_take(&self, bytes: usize) -> bool {
        bytes + 16 * 1024 <= self.segment_bytes as usize
    }

    /// What failed was asked for, and is asked for again some time.
    pub fn check(&self) {
        assert!(self.asked.len() <= LOG_SEGMENTS_AHEAD, "few segments are prepared ahead");
        assert!(
            self.failed.iter().all(|failed| self.asked.iter().any(|(asked, _)| *asked == failed.segment))
        );
        assert_eq!(self.failed.is_empty(), self.retry_at_ms.is_none(), "what failed is asked for again");
        assert!(self.newest_bytes <= self.segment_bytes);
    }

    fn without_room(&self, bytes: usize) -> Verdict {
        // An entry that no segment could take would wait for ever, also one that the small segment cannot take which
        // is there while none is asked for.
        let is_coming = !self.asked.is_empty() || bytes + 16 * 1024 <= self.newest_bytes as usize;
        let is_had = self.failed.is_empty() || self.is_trying;
        if self.could_take(bytes) && is_had && is_coming { Verdict::Wait } else { Verdict::No }
    }
}

impl Member {
    /// For what clients ask for.
    pub(super) fn room_for(&self, bytes: usize) -> Verdict {
        self.room_for_ending(bytes + self.room.reserve_bytes())
    }

    /// For new sessions, which may use half of the reserve.
    pub(super) fn room_to_open(&self, bytes: usize) -> Verdict {
        self.room_for_ending(bytes + self.room.reserve_bytes() / 2)
    }

    /// For the end of sessions, which may use the reserve.
    pub(super) fn room_for_ending(&self, bytes: usize) -> Verdict {
        if self.log.has_room(bytes) { Verdict::Yes } else { self.room.without_room(bytes) }
    }

    /// Tells the operator, once.
    pub(super) fn on_refused(&mut self, out: &mut Vec<MemberOutput>) {
        if !self.room.refusing && !self.room.failed.is_empty() {
            self.room.refusing = true;
            let what = &self.room.what;
            let text = format!("no space for the transaction log, writes are refused until there is: {what}");
            out.push(MemberOutput::Notice { text });
        }
    }

    pub(super) fn on_segment_ready(
        &mut self,
        now: Now,
        segment: SegmentId,
        bytes: u64,
        out: &mut Vec<MemberOutput>,
    ) {
        tracing::debug!("log segment {} is ready, {bytes} bytes", segment.0);
        self.room.asked.retain(|(asked, _)| *asked != segment);
        self.room.failed.retain(|failed| failed.segment != segment);
        self.log.on_segment_ready(segment, bytes);
        self.room.has_begun = true;
        self.room.newest_bytes = bytes;
        if self.room.failed.is_empty() {
            self.room.retry_at_ms = None;
            if std::mem::take(&mut self.room.refusing) {
                let text = "the transaction log has space again, writes are accepted".to_owned();
                out.push(MemberOutput::Notice { text });
            }
        }
        self.end_sessions(now);
        self.drain_stalled(now, out);
    }

    /// Requests that waited for the segment are refused now; nothing was proposed for them, so nothing is lost.
    pub(super) fn on_segment_failed(
        &mut self,
        now: Now,
        segment: SegmentId,
        no_space: bool,
        what: String,
        out: &mut Vec<MemberOutput>,
    ) {
        let Some((_, bytes)) = self.room.asked.iter().find(|(asked, _)| *asked == segment).copied() else {
            return;
        };
        if self.room.failed.is_empty() && !no_space {
            out.push(MemberOutput::Notice { text: format!("a log segment cannot be prepared: {what}") });
        }
        self.room.what = what;
        self.room.failed.retain(|failed| failed.segment != segment);
        self.room.failed.push(Failed { segment, bytes, is_asked_again: false });
        self.room.retry_at_ms = Some(now.mono_ms + RETRY_MS);
        self.room.is_trying = no_space && self.on_no_space(now, segment, bytes, out);
        if self.room.is_trying {
            self.room.retry_at_ms = Some(now.mono_ms);
            self.retry_segments(now, out);
        }
        self.drain_stalled(now, out);
    }

    /// Makes space, or has less asked for: true if that may help at once. A server that has no log at all ends.
    fn on_no_space(&mut self, now: Now, segment: SegmentId, bytes: u64, out: &mut Vec<MemberOutput>) -> bool {
        let smallest = self.room.smallest_bytes();
        if self.relieve(now, out) {
            return true;
        }
        if bytes > smallest {
            let smaller = (bytes / 2).next_multiple_of(LOG_BLOCK as u64).max(smallest);
            assert!(smaller < bytes, "it becomes smaller until it is the smallest");
            // Asked for in full again once it was had.
            if let Some((_, asked)) = self.room.asked.iter_mut().find(|(asked, _)| *asked == segment) {
                *asked = smaller;
            }
            for failed in self.room.failed.iter_mut().filter(|failed| failed.segment == segment) {
                failed.bytes = smaller;
            }
            return true;
        }
        if !self.room.has_begun && !self.snapshots.is_busy() && self.phase == RunState::Running {
            self.phase = RunState::Ended;
            let what = format!(
                "no space for the transaction log: {}; at least {} KiB must be free, and for segments of the size of \
                 preAllocSize {} KiB",
                self.room.what,
                2 * smallest / 1024,
                2 * self.room.segment_bytes / 1024
            );
            out.push(MemberOutput::Fatal { what });
        }
        false
    }

    /// A snapshot is there while a segment is not: what it makes unnecessary goes.
    pub(super) fn on_space(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        if self.relieve(now, out) {
            self.room.is_trying = true;
            self.room.retry_at_ms = Some(now.mono_ms);
            self.retry_segments(now, out);
        }
    }

    pub(super) fn retry_segments(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        if self.room.retry_at_ms.is_some_and(|at| at <= now.mono_ms) {
            self.room.retry_at_ms = Some(now.mono_ms + RETRY_MS);
            for failed in self.room.failed.iter_mut().filter(|failed| !failed.is_asked_again) {
                failed.is_asked_again = true;
                let (segment, bytes) = (failed.segment, failed.bytes);
                out.push(MemberOutput::Log(LogOutput::Prepare { segment, bytes }));
            }
        }
    }

    /// Passes on what the log wants, and remembers which segments it waits for.
    pub(super) fn emit_log_outputs(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        for output in self.log_out.drain(..) {
            match &output {
                LogOutput::Prepare { segment, bytes } => self.room.asked.push((*segment, *bytes)),
                LogOutput::Write { segment, buffer, token, .. } => {
                    self.log_writes.begin(now, *token, *segment, buffer.len());
                }
                LogOutput::Release { .. } | LogOutput::Close { .. } => {}
            }
            out.push(MemberOutput::Log(output));
        }
    }
}
