//! The writing side: transactions are appended to the frame being built; `flush` sends it on its way whenever a write
//! may start. There is no timer: what was appended while writes were in flight is the next frame. On a busy core a small
//! frame is held back while a write is in flight; on an idle one it goes at once.
//!
//! Invariants: durable <= written <= appended, in frames and in zxids. A frame lies in one segment. `durable` only
//! covers the contiguous prefix: completions come in any order.

use super::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, SEGMENT_MAGIC, SegmentHeader};
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
    /// The first segment this writer uses: always a fresh one.
    pub segment: SegmentId,
    /// The next frame.
    pub frame: FrameSeq,
    /// The newest zxid in the log or snapshot.
    pub last_zxid: Zxid,
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
    building: AlignedBuffer,
    built_bytes: usize,
    built_txns: u32,
    first_zxid: Zxid,
    appended: Zxid,
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
    is_written: bool,
}

impl LogWriter {
    /// A writer that starts in a fresh segment.
    pub fn new(start: LogStart) -> LogWriter {
        LogWriter {
            log_id: start.log_id,
            segment_bytes: start.segment_bytes,
            history: VecDeque::new(),
            current: None,
            ready: VecDeque::new(),
            next_segment: start.segment,
            asked: 0,
            must_roll: false,
            building: AlignedBuffer::default(),
            built_bytes: 0,
            built_txns: 0,
            first_zxid: Zxid::ZERO,
            appended: start.last_zxid,
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
        if self.built_txns > 0
            && self.in_flight.len() < LOG_WRITES_IN_FLIGHT_MAX
            && (is_idle || !self.is_held_back())
        {
            self.start_write(out);
        }
    }

    /// A frame is held back for company. It goes with the next `flush` of an idle core, or once nothing is in flight.
    pub fn is_held_back(&self) -> bool {
        let writes = 1..LOG_WRITES_IN_FLIGHT_MAX;
        self.built_txns > 0
            && writes.contains(&self.in_flight.len())
            && self.built_bytes < LOG_FRAME_BYTES_HELD
    }

    fn start_write(&mut self, out: &mut Vec<LogOutput>) {
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
            sequence: self.next_frame.0.into(),
            durable_through: self.durable_frame.0.into(),
            first_zxid: (self.first_zxid.0 as u64).into(),
            last_zxid: (self.appended.0 as u64).into(),
            body_bytes: (body as u32).into(),
            txns: self.built_txns.into(),
            crc: 0.into(),
        };
        header.crc = header.checksum(&bytes[FRAME_HEADER_BYTES..self.built_bytes]).into();
        bytes[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        let (segment, offset) = (place.segment, place.offset);
        place.offset += frame_bytes as u64;
        let buffer = if is_new_segment { self.with_segment_header(buffer) } else { buffer };
        let offset = if is_new_segment { 0 } else { offset };
        self.in_flight.push_back(InFlight {
            sequence: self.next_frame,
            last_zxid: self.appended,
            is_written: false,
        });
        out.push(LogOutput::Write { segment, offset, buffer, token: self.next_frame.0 });
        self.next_frame = FrameSeq(self.next_frame.0 + 1);
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
        let before = self.in_flight.back().map_or(self.durable, |last| last.last_zxid);
        self.history.push_back((segment, before));
        self.current = Some(Place { segment, bytes, offset: LOG_BLOCK as u64 });
        self.must_roll = false;
        true
    }

    /// Puts the header block in front of a segment's first frame: one write, one durability.
    fn with_segment_header(&mut self, frame: AlignedBuffer) -> AlignedBuffer {
        let (segment, previous) = *self.history.back().expect("the segment was just entered");
        let mut header = SegmentHeader {
            magic: SEGMENT_MAGIC.into(),
            log_id: self.log_id.into(),
            segment: segment.0.into(),
            first_frame: self.next_frame.0.into(),
            previous_zxid: (previous.0 as u64).into(),
            durable_through: self.durable_frame.0.into(),
            durable_zxid: (self.durable.0 as u64).into(),
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
            self.in_flight.pop_front();
        }
        assert!(self.durable <= self.appended, "nothing is durable that was not appended");
        self.keep_spare(buffer);
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
        self.must_roll && !self.ready.is_empty()
    }

    /// A snapshot makes everything up to `oldest_kept` unnecessary: releases segments that hold nothing newer.
    pub fn on_snapshot(&mut self, oldest_kept: Zxid, out: &mut Vec<LogOutput>) {
        while self.history.len() > 1 && self.history[1].1 <= oldest_kept {
            let (segment, _) = self.history.pop_front().expect("there are two at least");
            out.push(LogOutput::Release { segment });
        }
    }

    /// Segments in use and how many bytes they take, for `dirs` and `conf`.
    pub fn used_bytes(&self) -> u64 {
        self.history.len() as u64 * self.segment_bytes
    }
}

const GROW_BYTES: usize = 64 << 10;
