//! Reading the log back after any crash: the frames of the segments that a plan names, in sequence. Where the expected
//! frame is not there, two things are possible:
//! 1. The tail is torn: the process died while writes were in flight. Nothing in the missing frame was acknowledged,
//!    so the rest does not count, with a message. It stays where it is until snapshots cover it: the header of the
//!    next segment says that it is void.
//! 2. The log is damaged: the missing frame was durable once. A later frame's or segment's header that says so
//!    (`durable_through`) proves it; its checksum begins with the log id, so that it was written by this log.
//!    Then the start is refused: nobody but an operator may decide to lose acknowledged writes.
//!
//! A segment is made durable before it is read: what a process that died left in the page cache must not be shown to
//! anybody before it is safe.

use super::frame::{Epochs, FRAME_HEADER_BYTES, FrameHeader, KIND_EPOCHS, KIND_TXNS, Seed};
use super::plan::{Begin, Plan, RecoveryError, SegmentSource, io_error, plan, read_headers};
use super::writer::LogStart;
use crate::ids::{FrameSeq, SegmentId, Zxid};
use crate::limits::LOG_BLOCK;

/// What replaying found.
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
    /// The newest one that wrote to this log; 0 if there is none.
    pub incarnation: u64,
    /// As they were last made durable.
    pub epochs: Epochs,
    /// What was discarded at the end, for the log line.
    pub discarded: Option<String>,
    /// Segments of the log, void and damaged ones too, oldest first, each with the newest zxid before it. Snapshots
    /// release them in turn.
    pub segments: Vec<(SegmentId, Zxid)>,
    /// Segments that were prepared and never used: spares.
    pub prepared: Vec<SegmentId>,
    /// Transactions handed to `visit`.
    pub txns: u64,
}

impl Recovered {
    /// Where a writer goes on. `new_id`: of a log that begins here; `drawn`: a random number, so that two starts never
    /// have the same incarnation, even if the first one's only write was lost.
    pub fn log_start(&self, new_id: u128, drawn: u32, segment_bytes: u64) -> LogStart {
        let starts = (self.incarnation >> 32) + 1;
        LogStart {
            log_id: self.log_id.unwrap_or(new_id),
            incarnation: starts << 32 | u64::from(drawn),
            segment: self.next_segment,
            frame: self.next_frame.max(FrameSeq(1)),
            last_zxid: self.last_zxid,
            epochs: self.epochs,
            segment_bytes,
        }
    }
}

/// Who takes what is replayed.
pub trait Visitor {
    /// A segment is begun.
    fn on_segment(&mut self, _segment: SegmentId, _name: &str) {}
    /// The next transaction; an error says why it cannot be used.
    fn on_txn(&mut self, entry: &[u8]) -> Result<(), String>;
}

impl<F: FnMut(&[u8]) -> Result<(), String>> Visitor for F {
    fn on_txn(&mut self, entry: &[u8]) -> Result<(), String> {
        self(entry)
    }
}

/// Plans from all headers and replays: for tests and fuzzing of the log alone.
pub fn recover(
    source: &mut dyn SegmentSource,
    snapshot: Zxid,
    mut visit: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<Recovered, RecoveryError> {
    let files = read_headers(source)?;
    let plan = plan(source, files, snapshot)?;
    replay(source, &plan, &mut visit)
}

/// Reads all transactions after the plan's snapshot in order and hands each to `visit`.
pub fn replay(
    source: &mut dyn SegmentSource,
    plan: &Plan,
    visit: &mut dyn Visitor,
) -> Result<Recovered, RecoveryError> {
    let next_segment = plan.files.last().map_or(SegmentId(1), |last| SegmentId(last.id.0 + 1));
    let mut recovered = Recovered {
        last_zxid: plan.snapshot,
        next_segment,
        next_frame: FrameSeq(1),
        log_id: plan.log_id,
        incarnation: plan.incarnation(),
        epochs: Epochs::default(),
        discarded: None,
        segments: Vec::new(),
        prepared: plan.prepared(),
        txns: 0,
    };
    let seed = Seed::of(plan.log_id.unwrap_or_default());
    let mut replay = Replay { source, plan, seed, visit, buffer: Vec::new(), last_in_log: None };
    replay.run(&mut recovered)?;
    recovered.segments = plan.history(recovered.last_zxid);
    Ok(recovered)
}

struct Replay<'a> {
    source: &'a mut dyn SegmentSource,
    plan: &'a Plan,
    seed: Seed,
    visit: &'a mut dyn Visitor,
    buffer: Vec<u8>,
    /// The newest zxid of the frames read so far.
    last_in_log: Option<Zxid>,
}

/// What stands at a place of a segment.
enum Found {
    Frame(FrameHeader),
    /// Not the expected frame; why.
    Nothing(String),
}

/// Where the expected frame is missing, and why.
struct Missing {
    index: usize,
    offset: u64,
    why: String,
}

impl Replay<'_> {
    fn run(&mut self, recovered: &mut Recovered) -> Result<(), RecoveryError> {
        let mut index = match self.plan.begin {
            Begin::Empty => return Ok(()),
            Begin::Behind(first) => {
                let header = self.plan.files[first].header().expect("plans begin at headers");
                recovered.next_frame = FrameSeq(header.durable_through.get().saturating_add(1));
                recovered.epochs = header.epochs();
                let why = "the segment before is torn".into();
                return self.examine_tail(Missing { index: first, offset: LOG_BLOCK as u64, why }, recovered);
            }
            Begin::At(first) => first,
        };
        let header = self.plan.files[index].header().expect("plans begin at headers");
        recovered.next_frame = FrameSeq(header.first_frame.get());
        loop {
            let header = self.plan.files[index].header().expect("segments that count have headers");
            recovered.epochs = recovered.epochs.max(header.epochs());
            if let Some(missing) = self.read_segment(index, recovered)? {
                return self.examine_tail(missing, recovered);
            }
            index = self.plan.next_after(index, recovered.next_frame).expect("it ends where another begins");
        }
    }

    /// Reads the frames of a segment that count. Tells where and why the expected one is not there; None if the log goes
    /// on in a later segment.
    fn read_segment(
        &mut self,
        index: usize,
        recovered: &mut Recovered,
    ) -> Result<Option<Missing>, RecoveryError> {
        let segment = self.plan.files[index].id;
        self.visit.on_segment(segment, &self.source.name(segment));
        self.source.sync(segment).map_err(|error| io_error(self.source.name(segment), 0, &error))?;
        let length = self.length(segment)?;
        let mut offset = LOG_BLOCK as u64;
        while recovered.next_frame < self.plan.ends[index].frame {
            match self.frame_at(index, offset, length, recovered.next_frame)? {
                Found::Frame(header) => {
                    self.take_frame(index, offset, &header, recovered)?;
                    offset += header.frame_bytes();
                    recovered.next_frame = FrameSeq(recovered.next_frame.0.saturating_add(1));
                }
                Found::Nothing(why) => return Ok(Some(Missing { index, offset, why })),
            }
        }
        Ok(None)
    }

    /// Reads the frame that should stand at `offset`.
    fn frame_at(
        &mut self,
        index: usize,
        offset: u64,
        length: u64,
        expected: FrameSeq,
    ) -> Result<Found, RecoveryError> {
        let nothing = |why: &str| Ok(Found::Nothing(why.into()));
        let file = &self.plan.files[index];
        if offset + LOG_BLOCK as u64 > length {
            return nothing("the segment is full");
        }
        self.read(file.id, offset, LOG_BLOCK)?;
        let Some(header) = FrameHeader::read(&self.buffer, self.seed) else {
            return nothing("no frame begins here");
        };
        let incarnation = file.header().expect("segments that count have headers").incarnation;
        let is_expected = header.segment.get() == file.id.0
            && header.incarnation == incarnation
            && header.sequence.get() == expected.0;
        if !is_expected {
            return nothing("an older frame stands here");
        }
        if offset + header.frame_bytes() > length {
            return nothing("the frame's length reaches beyond the segment");
        }
        self.read(file.id, offset, header.frame_bytes() as usize)?;
        let end = FRAME_HEADER_BYTES + header.body_bytes.get() as usize;
        if !header.is_body(&self.buffer[FRAME_HEADER_BYTES..end]) {
            return nothing("the frame's checksum is wrong");
        }
        Ok(Found::Frame(header))
    }

    /// Takes in the frame in the buffer.
    fn take_frame(
        &mut self,
        index: usize,
        offset: u64,
        header: &FrameHeader,
        recovered: &mut Recovered,
    ) -> Result<(), RecoveryError> {
        let body = FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes.get() as usize;
        match header.kind.get() {
            KIND_TXNS => self.visit_frame(index, offset, header, recovered),
            KIND_EPOCHS => match Epochs::read(&self.buffer[body]) {
                Some(epochs) => {
                    recovered.epochs = recovered.epochs.max(epochs);
                    Ok(())
                }
                None => Err(self.error(index, offset, "a frame of epochs has a body of another kind".into())),
            },
            kind => Err(self.error(index, offset, format!("the frame is of the unknown kind {kind}"))),
        }
    }

    /// Hands over the transactions of the frame in the buffer that are behind the snapshot and were not truncated.
    fn visit_frame(
        &mut self,
        index: usize,
        offset: u64,
        header: &FrameHeader,
        recovered: &mut Recovered,
    ) -> Result<(), RecoveryError> {
        let end = self.plan.ends[index].zxid;
        let (first, last) = (Zxid(header.first_zxid.get() as i64), Zxid(header.last_zxid.get() as i64));
        if self.last_in_log.is_some_and(|before| first <= before.min(end)) && first <= end || last < first {
            let what = format!("zxids do not ascend: {first} to {last} comes late");
            return Err(self.error(index, offset, what));
        }
        self.last_in_log = Some(last.min(end));
        if last <= self.plan.snapshot || first > end {
            return Ok(());
        }
        let mut rest =
            &self.buffer[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes.get() as usize];
        for _ in 0..header.txns.get() {
            let entry = rest.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize);
            let Some(entry) = entry.and_then(|length| rest.get(4..4 + length)) else {
                return Err(self.error(index, offset, "a transaction reaches beyond its frame".into()));
            };
            rest = &rest[4 + entry.len()..];
            let Some(zxid) = zxid_of(entry) else {
                return Err(self.error(index, offset, "a transaction has no header".into()));
            };
            if zxid <= self.plan.snapshot {
                continue;
            }
            if zxid > end {
                break;
            }
            if zxid <= recovered.last_zxid {
                let what = format!("transaction {zxid} comes after {}", recovered.last_zxid);
                return Err(self.error(index, offset, what));
            }
            self.visit.on_txn(entry).map_err(|what| {
                self.error(index, offset, format!("transaction {zxid} cannot be used: {what}"))
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
    fn examine_tail(&mut self, missing: Missing, recovered: &mut Recovered) -> Result<(), RecoveryError> {
        let Missing { index, offset, why } = missing;
        let expected = recovered.next_frame.0;
        let mut torn = 0;
        for other in index..self.plan.files.len() {
            let is_here = other == index;
            let file = &self.plan.files[other];
            if let Some(header) = file.header().filter(|_| !is_here) {
                if header.durable_through.get() >= expected {
                    let name = self.source.name(file.id);
                    let what = format!(
                        "{why}; frame {expected} is missing here, but {name} says that it was durable"
                    );
                    return Err(self.error(index, offset, what));
                }
                torn += 1;
            }
            let start = if is_here { offset } else { LOG_BLOCK as u64 };
            let (found, proof) = self.scan(other, start, expected)?;
            if let Some(proof) = proof {
                let what = format!(
                    "{why}; frame {expected} is missing, but {proof} behind it says that it was durable"
                );
                return Err(self.error(index, offset, what));
            }
            torn += found;
        }
        recovered.discarded = (torn > 0).then(|| {
            format!(
                "{}, offset {offset}: {why}; discarded the torn tail of the log from frame {expected} on, nothing of \
                 which was acknowledged",
                self.source.name(self.plan.files[index].id)
            )
        });
        Ok(())
    }

    /// Looks at every block for frames of this segment from `expected` on; a later one may prove that it was durable.
    fn scan(
        &mut self,
        index: usize,
        start: u64,
        expected: u64,
    ) -> Result<(u64, Option<String>), RecoveryError> {
        let file = &self.plan.files[index];
        let length = self.length(file.id)?;
        let (mut found, mut at) = (0, start);
        while at + LOG_BLOCK as u64 <= length {
            let chunk = (length - at).min(SCAN_BYTES) as usize / LOG_BLOCK * LOG_BLOCK;
            self.read(file.id, at, chunk)?;
            for block in self.buffer.chunks_exact(LOG_BLOCK) {
                let Some(frame) = FrameHeader::read(block, self.seed) else { continue };
                let is_of_another =
                    file.header().is_some_and(|header| header.incarnation != frame.incarnation);
                let sequence = frame.sequence.get();
                if frame.segment.get() != file.id.0 || is_of_another || sequence < expected {
                    continue;
                }
                found += 1;
                if frame.durable_through.get() >= expected {
                    return Ok((found, Some(format!("frame {sequence}"))));
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

    /// Says exactly what starting without the rest would lose.
    fn error(&self, index: usize, offset: u64, what: String) -> RecoveryError {
        let file = &self.plan.files[index];
        let previous = file.header().map_or(0, |header| header.previous_zxid.get() as i64);
        let kept = self.plan.snapshot.max(Zxid(previous));
        RecoveryError {
            file: self.source.name(file.id),
            offset,
            what,
            way_out: format!(
                "Restore the file from a backup, or the whole data folder from another copy. Starting without this \
                 segment and all later ones would lose every write after {kept}, also those that clients were told \
                 are done: only if that is acceptable, move them to another folder, keep them, and start again"
            ),
        }
    }
}

/// The zxid of a serialised transaction: after session (8) and cxid (4).
fn zxid_of(entry: &[u8]) -> Option<Zxid> {
    Some(Zxid(i64::from_be_bytes(entry.get(12..20)?.try_into().ok()?)))
}

const SCAN_BYTES: u64 = 4 << 20;
