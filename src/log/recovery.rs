//! Reading the log back after any crash.
//!
//! Frames are read in sequence. Where the expected frame is not there, two things are possible:
//! 1. The tail is torn: the process died while writes were in flight. Nothing in the missing frame was acknowledged,
//!    so the rest is discarded, with a message.
//! 2. The log is damaged: the missing frame was durable once. A later frame or segment header that says so
//!    (`durable_through`) proves it; a missing or unreadable segment shows in the same way. Then the start is refused: nobody but an operator may decide to
//!    lose acknowledged writes.

use super::frame::{FRAME_HEADER_BYTES, FrameHeader, SegmentHeader};
use crate::ids::{FrameSeq, SegmentId, Zxid};
use crate::limits::LOG_BLOCK;
use std::io;

/// Where recovery reads from: files in production, memory in tests and in the simulator.
pub trait SegmentSource {
    /// All segments there are, ascending.
    fn segments(&self) -> io::Result<Vec<SegmentId>>;
    /// Bytes of a segment.
    fn length(&self, segment: SegmentId) -> io::Result<u64>;
    /// Fills `into` from `offset`; it lies inside the segment.
    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// What to call it in messages.
    fn name(&self, segment: SegmentId) -> String;
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The newest zxid in the log; the snapshot's if the log holds nothing newer.
    pub last_zxid: Zxid,
    /// The first segment number that was never used.
    pub next_segment: SegmentId,
    /// The next frame.
    pub next_frame: FrameSeq,
    /// The log's identity; None if there is no log yet.
    pub log_id: Option<u128>,
    /// What was discarded at the end, for the log line.
    pub discarded: Option<String>,
    /// Segments with frames, oldest first, each with the newest zxid before it.
    pub segments: Vec<(SegmentId, Zxid)>,
    /// Segments to reuse or delete before anything is written: prepared but never used, or wholly torn.
    pub unused: Vec<SegmentId>,
    /// Transactions handed to `visit`.
    pub txns: u64,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}, offset {offset}: {what}. {way_out}")]
pub struct RecoveryError {
    /// Which segment.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What was found and what was expected.
    pub what: String,
    /// What the operator can do.
    pub way_out: String,
}

const WAY_OUT: &str = "Restore the file from a backup, or restore the whole data folder from another copy; \
    if losing the writes after this point is acceptable, move this file and all later segments away and start again";

/// Reads all transactions after `snapshot` in order and hands each to `visit`.
pub fn recover(
    source: &mut dyn SegmentSource,
    snapshot: Zxid,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<Recovered, RecoveryError> {
    let ids = source.segments().map_err(|error| io_error("the log folder".into(), 0, &error))?;
    let headers = read_headers(source, &ids)?;
    let mut recovery = Recovery { source, snapshot, visit, buffer: Vec::new() };
    recovery.run(&ids, &headers)
}

struct Recovery<'a> {
    source: &'a mut dyn SegmentSource,
    snapshot: Zxid,
    visit: &'a mut dyn FnMut(&[u8]) -> Result<(), String>,
    buffer: Vec<u8>,
}

/// What stands at a place of a segment.
enum Found {
    Frame(FrameHeader),
    /// Not the expected frame; why.
    Nothing(String),
}

impl Recovery<'_> {
    fn run(
        &mut self,
        ids: &[SegmentId],
        headers: &[Option<SegmentHeader>],
    ) -> Result<Recovered, RecoveryError> {
        let used = headers.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let mut recovered = Recovered {
            last_zxid: self.snapshot,
            next_segment: ids.last().map_or(SegmentId(1), |last| SegmentId(last.0 + 1)),
            next_frame: FrameSeq(1),
            log_id: None,
            discarded: None,
            segments: Vec::new(),
            unused: ids[used..].to_vec(),
            txns: 0,
        };
        let Some((first, header)) = first_header(headers) else { return Ok(recovered) };
        recovered.log_id = Some(header.log_id.get());
        recovered.next_frame = FrameSeq(header.first_frame.get());
        if !self.reaches(ids[first], header)? {
            // The segment before this one is torn, header and all, and nothing in it was ever acknowledged.
            recovered.next_frame = FrameSeq(header.durable_through.get().saturating_add(1));
            self.examine_tail(
                ids,
                headers,
                (first, LOG_BLOCK as u64, "the segment before is torn"),
                &mut recovered,
            )?;
            recovered.unused.push(ids[first]);
            return Ok(recovered);
        }
        for (id, other) in ids.iter().zip(headers) {
            if other.is_some_and(|other| other.log_id.get() != header.log_id.get()) {
                let what = "the segment belongs to another server's log (its log id differs)".into();
                return Err(self.error(*id, 0, what));
            }
        }
        let mut index = first;
        let mut last_in_log = None;
        loop {
            let previous = headers[index].as_ref().map_or(0, |header| header.previous_zxid.get());
            recovered.segments.push((ids[index], Zxid(previous as i64)));
            let (offset, why) =
                self.read_segment(ids[index], &headers[index + 1..], &mut recovered, &mut last_in_log)?;
            let expected = recovered.next_frame.0;
            let goes_on = |header: &Option<SegmentHeader>| {
                header.is_some_and(|header| header.first_frame.get() == expected)
            };
            match headers[index + 1..].iter().position(goes_on) {
                Some(further) => index += 1 + further,
                None => {
                    self.examine_tail(ids, headers, (index, offset, &why), &mut recovered)?;
                    return Ok(recovered);
                }
            }
        }
    }

    /// The oldest segment must begin where the snapshot ends, or before. `false`: it does not, but when it was begun
    /// nothing beyond the snapshot was durable yet.
    fn reaches(&self, segment: SegmentId, header: &SegmentHeader) -> Result<bool, RecoveryError> {
        let previous = Zxid(header.previous_zxid.get() as i64);
        if previous <= self.snapshot {
            return Ok(true);
        }
        if Zxid(header.durable_zxid.get() as i64) <= self.snapshot {
            return Ok(false);
        }
        let what = format!(
            "the oldest readable segment begins after zxid {previous}, but the newest usable snapshot only reaches {}",
            self.snapshot
        );
        Err(self.error(segment, 0, what))
    }

    /// Reads frames until the expected one is not there; tells where and why.
    fn read_segment(
        &mut self,
        segment: SegmentId,
        later: &[Option<SegmentHeader>],
        recovered: &mut Recovered,
        last_in_log: &mut Option<Zxid>,
    ) -> Result<(u64, String), RecoveryError> {
        let length = self.length(segment)?;
        let mut offset = LOG_BLOCK as u64;
        loop {
            let expected = recovered.next_frame;
            if later.iter().flatten().any(|header| header.first_frame.get() == expected.0) {
                return Ok((offset, "the log goes on in a later segment".into()));
            }
            match self.frame_at(segment, offset, length, expected)? {
                Found::Frame(header) => {
                    self.visit_frame(segment, offset, &header, recovered, last_in_log)?;
                    offset += header.frame_bytes();
                    recovered.next_frame = FrameSeq(expected.0.saturating_add(1));
                }
                Found::Nothing(why) => return Ok((offset, why)),
            }
        }
    }

    /// Reads the frame that should stand at `offset`.
    fn frame_at(
        &mut self,
        segment: SegmentId,
        offset: u64,
        length: u64,
        expected: FrameSeq,
    ) -> Result<Found, RecoveryError> {
        let nothing = |why: &str| Ok(Found::Nothing(why.into()));
        if offset + LOG_BLOCK as u64 > length {
            return nothing("the segment is full");
        }
        self.read(segment, offset, LOG_BLOCK)?;
        let Some(header) = FrameHeader::read(&self.buffer) else { return nothing("no frame begins here") };
        if header.segment.get() != segment.0 || header.sequence.get() != expected.0 {
            return nothing("an older frame stands here");
        }
        if offset + header.frame_bytes() > length {
            return nothing("the frame's length reaches beyond the segment");
        }
        self.read(segment, offset, header.frame_bytes() as usize)?;
        let end = FRAME_HEADER_BYTES + header.body_bytes.get() as usize;
        if header.checksum(&self.buffer[FRAME_HEADER_BYTES..end]) != header.crc.get() {
            return nothing("the frame's checksum is wrong");
        }
        Ok(Found::Frame(header))
    }

    /// Hands over the transactions of the frame in the buffer.
    fn visit_frame(
        &mut self,
        segment: SegmentId,
        offset: u64,
        header: &FrameHeader,
        recovered: &mut Recovered,
        last_in_log: &mut Option<Zxid>,
    ) -> Result<(), RecoveryError> {
        let (first, last) = (Zxid(header.first_zxid.get() as i64), Zxid(header.last_zxid.get() as i64));
        if last_in_log.is_some_and(|before| first <= before) || last < first {
            return Err(self.error(
                segment,
                offset,
                format!("zxids do not ascend: {first} to {last} comes late"),
            ));
        }
        *last_in_log = Some(last);
        if last <= self.snapshot {
            return Ok(());
        }
        let mut rest =
            &self.buffer[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes.get() as usize];
        for _ in 0..header.txns.get() {
            let entry = rest.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize);
            let Some(entry) = entry.and_then(|length| rest.get(4..4 + length)) else {
                return Err(self.error(segment, offset, "a transaction reaches beyond its frame".into()));
            };
            rest = &rest[4 + entry.len()..];
            let Some(zxid) = zxid_of(entry) else {
                return Err(self.error(segment, offset, "a transaction has no header".into()));
            };
            if zxid <= self.snapshot {
                continue;
            }
            if zxid <= recovered.last_zxid {
                let what = format!("transaction {zxid} comes after {}", recovered.last_zxid);
                return Err(self.error(segment, offset, what));
            }
            (self.visit)(entry).map_err(|what| RecoveryError {
                file: self.source.name(segment),
                offset,
                what: format!("transaction {zxid} cannot be used: {what}"),
                way_out: WAY_OUT.into(),
            })?;
            recovered.last_zxid = zxid;
            recovered.txns += 1;
        }
        Ok(())
    }

    /// Decides whether the missing frame was ever durable: looks at every header and block behind it. If it was not,
    /// the rest is a torn tail.
    ///
    /// Crash story: 1. Frames 18 and 19 are in flight at the end of a segment, frame 20 with the header of the next.
    /// 2. The power goes; 18 is lost, 20 is there. 3. The later segment proves nothing: when its header was written,
    /// only 17 was durable, and it says so.
    fn examine_tail(
        &mut self,
        ids: &[SegmentId],
        headers: &[Option<SegmentHeader>],
        (index, offset, why): (usize, u64, &str),
        recovered: &mut Recovered,
    ) -> Result<(), RecoveryError> {
        let expected = recovered.next_frame.0;
        let was_durable = |through: u64| through >= expected;
        let mut torn = 0;
        for (other, header) in ids.iter().zip(headers).skip(index) {
            let is_here = *other == ids[index];
            if !is_here && header.is_some_and(|header| was_durable(header.durable_through.get())) {
                let what = format!(
                    "{why}; frame {expected} is missing here, but {} says that it was durable",
                    self.source.name(*other)
                );
                return Err(self.error(ids[index], offset, what));
            }
            torn += u64::from(!is_here && header.is_some());
            let start = if is_here { offset } else { LOG_BLOCK as u64 };
            let (found, proof) = self.scan(*other, start, expected)?;
            if let Some(proof) = proof {
                let what = format!(
                    "{why}; frame {expected} is missing, but {proof} behind it says that it was durable"
                );
                return Err(self.error(ids[index], offset, what));
            }
            torn += found;
            if !is_here && header.is_some() {
                recovered.unused.push(*other);
            }
        }
        recovered.unused.sort_unstable();
        recovered.discarded = (torn > 0).then(|| {
            format!(
                "{}, offset {offset}: {why}; discarded the torn tail of the log from frame {expected} on, nothing of \
                 which was acknowledged",
                self.source.name(ids[index])
            )
        });
        Ok(())
    }

    /// Looks at every block for frames of this segment from `expected` on; a later one may prove that it was durable.
    fn scan(
        &mut self,
        segment: SegmentId,
        start: u64,
        expected: u64,
    ) -> Result<(u64, Option<String>), RecoveryError> {
        let length = self.length(segment)?;
        let (mut found, mut at) = (0, start);
        while at + LOG_BLOCK as u64 <= length {
            let chunk = (length - at).min(SCAN_BYTES) as usize / LOG_BLOCK * LOG_BLOCK;
            self.read(segment, at, chunk)?;
            for block in self.buffer.chunks_exact(LOG_BLOCK) {
                let Some(header) = FrameHeader::read(block) else { continue };
                if header.segment.get() != segment.0 || header.sequence.get() < expected {
                    continue;
                }
                found += 1;
                if header.durable_through.get() >= expected && is_plausible(&header, expected) {
                    return Ok((found, Some(format!("frame {}", header.sequence.get()))));
                }
            }
            at += chunk as u64;
        }
        Ok((found, None))
    }

    fn length(&self, segment: SegmentId) -> Result<u64, RecoveryError> {
        self.source.length(segment).map_err(|error| io_error(self.source.name(segment), 0, &error))
    }

    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<(), RecoveryError> {
        self.buffer.resize(bytes, 0);
        let result = self.source.read(segment, offset, &mut self.buffer);
        result.map_err(|error| io_error(self.source.name(segment), offset, &error))
    }

    fn error(&self, segment: SegmentId, offset: u64, what: String) -> RecoveryError {
        RecoveryError { file: self.source.name(segment), offset, what, way_out: WAY_OUT.into() }
    }
}

/// A block of a transaction's data may look like a header; sequences far off give it away.
fn is_plausible(header: &FrameHeader, expected: u64) -> bool {
    header.durable_through.get() < header.sequence.get()
        && header.sequence.get() - expected <= crate::limits::LOG_SEGMENT_BYTES / LOG_BLOCK as u64 * 16
}

fn first_header(headers: &[Option<SegmentHeader>]) -> Option<(usize, &SegmentHeader)> {
    headers.iter().enumerate().find_map(|(index, header)| header.as_ref().map(|header| (index, header)))
}

fn read_headers(
    source: &mut dyn SegmentSource,
    ids: &[SegmentId],
) -> Result<Vec<Option<SegmentHeader>>, RecoveryError> {
    let mut headers = Vec::with_capacity(ids.len());
    let mut block = vec![0; LOG_BLOCK];
    for id in ids {
        let fail = |source: &dyn SegmentSource, error: &io::Error| io_error(source.name(*id), 0, error);
        let length = source.length(*id).map_err(|error| fail(source, &error))?;
        if length < LOG_BLOCK as u64 {
            headers.push(None);
            continue;
        }
        source.read(*id, 0, &mut block).map_err(|error| fail(source, &error))?;
        headers.push(SegmentHeader::read(&block).filter(|header| header.segment.get() == id.0));
    }
    Ok(headers)
}

/// The zxid of a serialised transaction: after session (8) and cxid (4).
fn zxid_of(entry: &[u8]) -> Option<Zxid> {
    Some(Zxid(i64::from_be_bytes(entry.get(12..20)?.try_into().ok()?)))
}

fn io_error(file: String, offset: u64, error: &io::Error) -> RecoveryError {
    RecoveryError {
        file,
        offset,
        what: format!("reading failed: {error}"),
        way_out: "Check the disk and the permissions of the folder, then start again".into(),
    }
}

const SCAN_BYTES: u64 = 4 << 20;
