//! The writing side: transactions are appended to the frame being built; `flush` sends it on its way whenever a write
//! may start. There is no timer: what was appended while writes were in flight is the next frame. On a busy core a small
//! frame is held back while a write is in flight; on an idle one it goes at once.
//!
//! Invariants, asserted by `check`: durable <= written <= appended, in frames and in zxids. A frame lies in one segment. `durable` only
//! covers the contiguous prefix: completions come in any order.

use super::frame::{
    Epochs, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, KIND_EPOCHS, KIND_TXNS, SEGMENT_MAGIC, Seed,
    SegmentHeader,
};
use crate::aligned::AlignedBuffer;
use crate::ids::{FrameSeq, SegmentId, Zxid};
use crate::limits::{
    LOG_BLOCK, LOG_FRAME_BYTES_HELD, LOG_FRAME_BYTES_MAX, LOG_SEGMENTS_AHEAD, LOG_WRITES_IN_FLIGHT_MAX,
};
use std::collections::VecDeque;
use zerocopy::IntoBytes;

/// Where a log goes on after recovery (or begins).
#[derive(Clone, Copy, Debug)]
pub struct LogStart {
    /// Random per data folder.
    pub log_id: u128,
    /// Differs from that of every writer before.
    pub incarnation: u64,
    /// The first segment this writer uses: always a fresh one.
    pub segment: SegmentId,
    /// The next frame.
    pub frame: FrameSeq,
    /// The newest zxid in the log or snapshot.
    pub last_zxid: Zxid,
    /// As recovery found them.
    pub epochs: Epochs,
    /// Bytes of each new segment.
    pub segment_bytes: u64,
}

/// What the writer wants done.
pub enum LogOutput {
    /// Make these bytes durable at this place; `on_written` with the token follows.
    Write { segment: SegmentId, offset: u64, buffer: AlignedBuffer, token: u64 },
    /// Have a zero-written segment of at least these bytes ready; `on_segment_ready` follows.
    Prepare { segment: SegmentId, bytes: u64 },
    /// Nothing more will be written to it.
    Close { segment: SegmentId },
    /// Nothing in it is needed any more: recycle or delete it.
    Release { segment: SegmentId },
}

/// The log's writing side.
pub struct LogWriter {
    log_id: u128,
    seed: Seed,
    incarnation: u64,
    segment_bytes: u64,
    /// Segments with frames of this run or before, oldest first, with the newest zxid before each.
    history: VecDeque<(SegmentId, Zxid)>,
    /// The segment frames go to; None before the first one is used.
    current: Option<Place>,
    /// Prepared, in order.
    ready: VecDeque<(SegmentId, u64)>,
    /// The next segment to ask for.
    next_segment: SegmentId,
    asked: usize,
    must_roll: bool,
    /// Nothing more may go into the current segment: the next header makes a truncation durable.
    is_truncated: bool,
    epochs: Epochs,
    /// They wait to be written as a frame of their own.
    epochs_due: bool,
    durable_epochs: Epochs,
    building: AlignedBuffer,
    built_bytes: usize,
    built_txns: u32,
    first_zxid: Zxid,
    appended: Zxid,
    /// The newest zxid of the frames whose writes have begun.
    written: Zxid,
    next_frame: FrameSeq,
    in_flight: VecDeque<InFlight>,
    durable: Zxid,
    durable_frame: FrameSeq,
    spare: Vec<AlignedBuffer>,
}

struct Place {
    segment: SegmentId,
    bytes: u64,
    offset: u64,
}

struct InFlight {
    sequence: FrameSeq,
    last_zxid: Zxid,
    epochs: Epochs,
    is_written: bool,
}

impl LogWriter {
    /// A writer that starts in a fresh segment.
    pub fn new(start: LogStart) -> LogWriter {
        LogWriter {
            log_id: start.log_id,
            seed: Seed::of(start.log_id),
            incarnation: start.incarnation,
            segment_bytes: start.segment_bytes,
            history: VecDeque::new(),
            current: None,
            ready: VecDeque::new(),
            next_segment: start.segment,
            asked: 0,
            must_roll: false,
            is_truncated: false,
            epochs: start.epochs,
            epochs_due: false,
            durable_epochs: start.epochs,
            building: AlignedBuffer::default(),
            built_bytes: 0,
            built_txns: 0,
            first_zxid: Zxid::ZERO,
            appended: start.last_zxid,
            written: start.last_zxid,
            next_frame: start.frame,
            in_flight: VecDeque::new(),
            durable: start.last_zxid,
            durable_frame: FrameSeq(start.frame.0 - 1),
            spare: Vec::new(),
        }
    }

    /// Segments that recovery found, oldest first, each with the newest zxid before it; released in their turn.
    pub fn adopt_history(&mut self, segments: &[(SegmentId, Zxid)]) {
        self.history = segments.iter().copied().collect();
    }

    /// Adds a transaction to the frame being built. Only if `has_room`.
    pub fn append(&mut self, zxid: Zxid, entry: &[u8]) {
        assert!(zxid > self.appended, "transactions are appended in zxid order");
        assert!(!self.epochs_due, "epochs that wait are written before transactions that follow them");
        if self.built_txns == 0 {
            self.first_zxid = zxid;
            self.built_bytes = FRAME_HEADER_BYTES;
            if self.building.is_empty() {
                self.building = self.spare.pop().unwrap_or_default();
            }
        }
        let end = self.built_bytes + 4 + entry.len();
        if end > self.building.len() {
            self.building.resize(end.next_multiple_of(GROW_BYTES));
        }
        let bytes = self.building.as_mut_slice();
        bytes[self.built_bytes..self.built_bytes + 4].copy_from_slice(&(entry.len() as u32).to_le_bytes());
        bytes[self.built_bytes + 4..end].copy_from_slice(entry);
        self.built_bytes = end;
        self.built_txns += 1;
        self.appended = zxid;
    }

    /// Whether the prepared space surely takes an entry of so many bytes after what is being built.
    pub fn has_room(&self, bytes: usize) -> bool {
        let base = if self.built_txns == 0 { FRAME_HEADER_BYTES } else { self.built_bytes };
        let frame = (base + 4 + bytes).next_multiple_of(LOG_BLOCK) as u64;
        let here =
            self.current.as_ref().is_some_and(|place| !self.rolls() && place.offset + frame <= place.bytes);
        here || self.ready.front().is_some_and(|(_, bytes)| LOG_BLOCK as u64 + frame <= *bytes)
    }

    /// Whether the frame being built is as large as one may be: flush before appending more.
    pub fn is_frame_full(&self) -> bool {
        self.built_bytes >= LOG_FRAME_BYTES_MAX
    }

    /// A segment asked for is ready for use.
    pub fn on_segment_ready(&mut self, segment: SegmentId, bytes: u64) {
        assert!(self.asked > 0, "only segments that were asked for become ready");
        self.asked -= 1;
        self.ready.push_back((segment, bytes));
    }

    /// Preparing a segment failed; it will be asked for again by the next `flush`.
    pub fn on_segment_failed(&mut self, segment: SegmentId) {
        assert!(
            self.asked == 1 && segment.0 + 1 == self.next_segment.0,
            "one segment is asked for at a time"
        );
        self.asked -= 1;
        self.next_segment = segment;
    }

    /// Starts what may be started, and asks for segments ahead of need. `is_idle`: nothing else waits for this core.
    pub fn flush(&mut self, is_idle: bool, out: &mut Vec<LogOutput>) {
        while self.ready.len() + self.asked < LOG_SEGMENTS_AHEAD {
            let segment = self.next_segment;
            self.next_segment = SegmentId(segment.0 + 1);
            self.asked += 1;
            out.push(LogOutput::Prepare { segment, bytes: self.segment_bytes });
        }
        if self.epochs_due && self.in_flight.len() < LOG_WRITES_IN_FLIGHT_MAX {
            self.start_epochs(out);
        }
        if self.built_txns > 0
            && self.in_flight.len() < LOG_WRITES_IN_FLIGHT_MAX
            && (is_idle || !self.is_held_back())
        {
            self.start_write(KIND_TXNS, out);
        }
        self.check();
    }

    /// A frame is held back for company. It goes with the next `flush` of an idle core, or once nothing is in flight.
    pub fn is_held_back(&self) -> bool {
        let writes = 1..LOG_WRITES_IN_FLIGHT_MAX;
        self.built_txns > 0
            && writes.contains(&self.in_flight.len())
            && self.built_bytes < LOG_FRAME_BYTES_HELD
    }

    /// Makes epochs durable, in a frame of their own; `durable_epochs` tells when they are. What was appended before is
    /// flushed first.
    pub fn write_epochs(&mut self, epochs: Epochs) {
        assert!(self.built_txns == 0, "transactions that precede epochs are flushed first");
        assert!(epochs.current <= epochs.accepted, "nobody follows an epoch that it has not accepted");
        assert!(self.epochs <= epochs, "epochs only grow");
        self.epochs = epochs;
        self.epochs_due = true;
    }

    /// The newest ones that survive a crash.
    pub fn durable_epochs(&self) -> Epochs {
        self.durable_epochs
    }

    /// Everything after `to` no longer counts, once the header of the next segment is durable: it is written at once,
    /// with a frame of epochs. Nothing is rewritten, so a crash before finds the old tail.
    pub fn truncate(&mut self, to: Zxid) {
        assert!(self.is_idle() && !self.epochs_due, "a log is truncated when all of it is durable");
        assert!(to <= self.appended, "only what is there is truncated");
        self.history.iter_mut().for_each(|(_, previous)| *previous = to.min(*previous));
        (self.appended, self.written, self.durable) = (to, to, to);
        self.is_truncated = self.current.is_some();
        self.must_roll = self.is_truncated;
        self.epochs_due = true;
    }

    fn start_epochs(&mut self, out: &mut Vec<LogOutput>) {
        assert!(self.built_txns == 0, "epochs are a frame of their own");
        let body = self.epochs.to_bytes();
        if self.building.is_empty() {
            self.building = self.spare.pop().unwrap_or_default();
        }
        self.built_bytes = FRAME_HEADER_BYTES + body.len();
        self.building.resize(LOG_BLOCK);
        self.building.as_mut_slice()[FRAME_HEADER_BYTES..self.built_bytes].copy_from_slice(&body);
        self.first_zxid = self.appended;
        let before = self.next_frame;
        self.start_write(KIND_EPOCHS, out);
        // Without a segment it waits, and the buffer is free again.
        self.epochs_due = self.next_frame == before;
        self.built_bytes = 0;
    }

    fn start_write(&mut self, kind: u32, out: &mut Vec<LogOutput>) {
        let frame_bytes = self.built_bytes.next_multiple_of(LOG_BLOCK);
        let fits =
            |place: &Place, must_roll: bool| !must_roll && place.offset + frame_bytes as u64 <= place.bytes;
        let is_new_segment = !self.current.as_ref().is_some_and(|place| fits(place, self.rolls()));
        if is_new_segment && !self.enter_next_segment(frame_bytes, out) {
            return;
        }
        let place = self.current.as_mut().expect("a segment was entered");
        let mut buffer = std::mem::take(&mut self.building);
        buffer.resize(frame_bytes);
        let body = self.built_bytes - FRAME_HEADER_BYTES;
        let bytes = buffer.as_mut_slice();
        bytes[self.built_bytes..].fill(0);
        let mut header = FrameHeader {
            magic: FRAME_MAGIC.into(),
            segment: place.segment.0.into(),
            incarnation: self.incarnation.into(),
            sequence: self.next_frame.0.into(),
            durable_through: self.durable_frame.0.into(),
            first_zxid: (self.first_zxid.0 as u64).into(),
            last_zxid: (self.appended.0 as u64).into(),
            body_bytes: (body as u32).into(),
            txns: self.built_txns.into(),
            kind: kind.into(),
            header_crc: 0.into(),
            crc: 0.into(),
        };
        header.seal(self.seed, &bytes[FRAME_HEADER_BYTES..self.built_bytes]);
        bytes[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        let (segment, offset) = (place.segment, place.offset);
        place.offset += frame_bytes as u64;
        let buffer = if is_new_segment { self.with_segment_header(buffer) } else { buffer };
        let offset = if is_new_segment { 0 } else { offset };
        self.in_flight.push_back(InFlight {
            sequence: self.next_frame,
            last_zxid: self.appended,
            epochs: self.epochs,
            is_written: false,
        });
        out.push(LogOutput::Write { segment, offset, buffer, token: self.next_frame.0 });
        self.next_frame = FrameSeq(self.next_frame.0 + 1);
        self.written = self.appended;
        self.built_txns = 0;
        self.built_bytes = 0;
    }

    /// Goes on in the next prepared segment, if there is one that is large enough.
    fn enter_next_segment(&mut self, frame_bytes: usize, out: &mut Vec<LogOutput>) -> bool {
        let Some(&(segment, bytes)) = self.ready.front() else { return false };
        assert!((LOG_BLOCK + frame_bytes) as u64 <= bytes, "has_room was asked before");
        self.ready.pop_front();
        if let Some(old) = self.current.take() {
            out.push(LogOutput::Close { segment: old.segment });
        }
        assert!(self.is_current_before(segment), "segments are entered in the order of their numbers");
        self.history.push_back((segment, self.written));
        self.current = Some(Place { segment, bytes, offset: LOG_BLOCK as u64 });
        self.must_roll = false;
        self.is_truncated = false;
        true
    }

    fn is_current_before(&self, segment: SegmentId) -> bool {
        self.history.back().is_none_or(|(last, _)| *last < segment)
    }

    /// Puts the header block in front of a segment's first frame: one write, one durability.
    fn with_segment_header(&mut self, frame: AlignedBuffer) -> AlignedBuffer {
        let (segment, previous) = *self.history.back().expect("the segment was just entered");
        let mut header = SegmentHeader {
            magic: SEGMENT_MAGIC.into(),
            log_id: self.log_id.into(),
            incarnation: self.incarnation.into(),
            segment: segment.0.into(),
            first_frame: self.next_frame.0.into(),
            previous_zxid: (previous.0 as u64).into(),
            durable_through: self.durable_frame.0.into(),
            durable_zxid: (self.durable.0 as u64).into(),
            accepted_epoch: self.epochs.accepted.into(),
            current_epoch: self.epochs.current.into(),
            crc: 0.into(),
        };
        header.crc = header.checksum().into();
        let mut buffer = AlignedBuffer::zeroed(LOG_BLOCK + frame.len());
        let bytes = buffer.as_mut_slice();
        bytes[..header.as_bytes().len()].copy_from_slice(header.as_bytes());
        bytes[LOG_BLOCK..].copy_from_slice(frame.as_slice());
        self.keep_spare(frame);
        buffer
    }

    /// A write has become durable. In any order; only the contiguous prefix counts.
    pub fn on_written(&mut self, token: u64, buffer: AlignedBuffer) {
        let frame = self.in_flight.iter_mut().find(|frame| frame.sequence.0 == token);
        frame.expect("a completion belongs to a write in flight").is_written = true;
        while let Some(frame) = self.in_flight.front()
            && frame.is_written
        {
            assert!(frame.sequence.0 == self.durable_frame.0 + 1, "the durable prefix has no holes");
            self.durable_frame = frame.sequence;
            self.durable = frame.last_zxid;
            self.durable_epochs = frame.epochs;
            self.in_flight.pop_front();
        }
        self.keep_spare(buffer);
        self.check();
    }

    fn keep_spare(&mut self, mut buffer: AlignedBuffer) {
        if self.spare.len() < LOG_WRITES_IN_FLIGHT_MAX && buffer.memory_bytes() <= 2 * LOG_FRAME_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// The newest zxid of the contiguous durable prefix.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// The newest zxid appended.
    pub fn appended(&self) -> Zxid {
        self.appended
    }

    /// Nothing is being built or in flight.
    pub fn is_idle(&self) -> bool {
        self.built_txns == 0 && self.in_flight.is_empty()
    }

    /// The next frame starts a new segment, or the first one that finds one ready: on a full disk what was appended
    /// on the promise of room in the current segment still goes there.
    pub fn roll(&mut self) {
        self.must_roll = self.current.is_some();
    }

    fn rolls(&self) -> bool {
        self.is_truncated || self.must_roll && !self.ready.is_empty()
    }

    /// A snapshot makes everything up to `oldest_kept` unnecessary: releases segments that hold nothing newer.
    pub fn on_snapshot(&mut self, oldest_kept: Zxid, out: &mut Vec<LogOutput>) {
        while self.history.len() > 1 && self.history[1].1 <= oldest_kept {
            let (segment, _) = self.history.pop_front().expect("there are two at least");
            out.push(LogOutput::Release { segment });
        }
    }

    /// Asserts the invariants: the cursors always, what is summed over in debug builds and the simulator.
    pub fn check(&self) {
        assert!(
            self.durable <= self.written && self.written <= self.appended,
            "durable <= written <= appended"
        );
        assert!(self.durable_epochs <= self.epochs, "only epochs that were written are durable");
        let in_flight = self.next_frame.0 - self.durable_frame.0 - 1;
        assert!(in_flight == self.in_flight.len() as u64, "every frame is durable or in flight");
        assert!(self.in_flight.len() <= LOG_WRITES_IN_FLIGHT_MAX, "writes in flight are bounded");
        assert!(
            self.in_flight.front().is_none_or(|first| !first.is_written),
            "the durable prefix is moved on"
        );
        assert!((self.built_txns == 0) == (self.built_bytes == 0), "a frame is being built or not");
        assert!(
            self.built_txns > 0 || self.written == self.appended,
            "what is appended is being built or written"
        );
        assert!(self.ready.len() + self.asked <= LOG_SEGMENTS_AHEAD, "few segments are prepared ahead");
        if cfg!(debug_assertions) {
            self.check_sums();
        }
    }

    fn check_sums(&self) {
        let history = self.history.iter().zip(self.history.iter().skip(1));
        for ((segment, previous), (next, next_previous)) in history {
            assert!(segment < next && previous <= next_previous, "segments and their zxids ascend");
        }
        let frames = self.in_flight.iter().zip(self.in_flight.iter().skip(1));
        for (frame, next) in frames {
            assert!(frame.sequence.0 + 1 == next.sequence.0, "frames have no gaps");
            assert!(frame.last_zxid <= next.last_zxid && frame.epochs <= next.epochs, "frames ascend");
        }
        if let Some(place) = &self.current {
            assert!(place.offset <= place.bytes, "frames lie inside their segment");
            assert!(
                self.history.back().is_some_and(|(last, _)| *last == place.segment),
                "the newest is written to"
            );
        }
        assert!(
            self.ready.iter().all(|(segment, _)| self.is_current_before(*segment)),
            "the prepared ones follow"
        );
    }

    /// All segments that this writer knows on the disk: its history, and those that are ready.
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> + '_ {
        let ready = self.ready.iter().map(|(segment, _)| *segment);
        self.history.iter().map(|(segment, _)| *segment).chain(ready)
    }

    /// Segments in use and how many bytes they take, for `dirs` and `conf`.
    pub fn used_bytes(&self) -> u64 {
        self.history.len() as u64 * self.segment_bytes
    }
}

const GROW_BYTES: usize = 64 << 10;
