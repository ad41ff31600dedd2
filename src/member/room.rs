//! Whether the log can take an entry. Two reasons why not, told apart: the next segment is merely late (requests
//! wait), or the disk is full (writes are refused, reads go on, and the member tries again each second).

use super::{Member, MemberOutput};
use crate::ids::{Now, SegmentId};
use crate::log::LogOutput;

/// Bytes that client writes leave free, so that sessions can still end on a full disk.
const RESERVE_BYTES: usize = 64 * 1024;
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
        }
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

    fn without_room(&self, bytes: usize) -> Verdict {
        // An entry that no segment could take would wait for ever.
        if self.could_take(bytes) && self.failed.is_empty() { Verdict::Wait } else { Verdict::No }
    }
}

impl Member {
    /// For what clients ask for.
    pub(super) fn room_for(&self, bytes: usize) -> Verdict {
        self.room_for_ending(bytes + self.room.reserve_bytes())
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
        self.drain_stalled(now, out);
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
                LogOutput::Write { token, .. } => self.log_writes.push_back((*token, now.mono_ms)),
                LogOutput::Release { .. } | LogOutput::Close { .. } => {}
            }
            out.push(MemberOutput::Log(output));
        }
    }
}
