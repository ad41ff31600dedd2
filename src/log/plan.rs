//! What of a log counts, from the headers of its segments alone, and which segments a snapshot leaves necessary.
//!
//! A server that starts goes on in a segment of a new number whose header says where the log ended: `first_frame` and
//! `previous_zxid`. So of every segment only that counts which is before the least `first_frame` and up to the least
//! `previous_zxid` of the headers behind it. That makes a torn tail void without deleting it, and is how a truncation is
//! written: a crash before the new header finds the old tail, one after it the truncated log.
//!
//! Reading begins at the last segment whose `previous_zxid` a snapshot reaches. Nothing in older ones is looked at, so
//! damage there stops no start.

use super::frame::{FrameHeader, Seed, SegmentHeader, VERSION, other_version};
use crate::ids::{FrameSeq, SegmentId, Zxid};
use crate::limits::LOG_BLOCK;
use std::io;

/// Where a log is read from: files in production, memory in tests and in the simulator.
pub trait SegmentSource {
    /// All segments there are, ascending.
    fn segments(&self) -> io::Result<Vec<SegmentId>>;
    /// Bytes of a segment.
    fn length(&self, segment: SegmentId) -> io::Result<u64>;
    /// Fills `into` from `offset`; it lies inside the segment.
    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Makes durable what can be read of it: a process that died may have left it in the page cache.
    fn sync(&mut self, segment: SegmentId) -> io::Result<()>;
    /// What to call it in messages.
    fn name(&self, segment: SegmentId) -> String;
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

/// What stands in a segment's first block.
#[derive(Clone, Debug)]
enum First {
    Header(SegmentHeader),
    /// Nothing was ever written under this number: zeros, or the header of a number that the file had before.
    Prepared,
    /// Torn or damaged. With the newest zxid that a frame behind it says was durable, if that is known.
    Damaged {
        durable: Option<Zxid>,
    },
    /// Why it cannot be read.
    Unreadable(String),
}

/// A segment as its first block shows it.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    pub id: SegmentId,
    first: First,
}

impl SegmentFile {
    /// Its header, if that is sound.
    pub fn header(&self) -> Option<&SegmentHeader> {
        if let First::Header(header) = &self.first { Some(header) } else { None }
    }
}

/// Reads the first block of every segment. Refused are segments of another format.
pub fn read_headers(source: &mut dyn SegmentSource) -> Result<Vec<SegmentFile>, RecoveryError> {
    let ids = source.segments().map_err(|error| io_error("the log folder".into(), 0, &error))?;
    let mut block = vec![0; LOG_BLOCK];
    let mut files = Vec::with_capacity(ids.len());
    for id in ids {
        let read = source.length(id).and_then(|length| {
            let is_whole = length >= LOG_BLOCK as u64;
            if is_whole { source.read(id, 0, &mut block).map(|()| true) } else { Ok(false) }
        });
        let first = match read {
            Err(error) => First::Unreadable(error.to_string()),
            Ok(false) => First::Prepared,
            Ok(true) => match first_of(source, id, &block)? {
                First::Damaged { .. } => First::Damaged { durable: durable_behind(source, id, &block) },
                first => first,
            },
        };
        files.push(SegmentFile { id, first });
    }
    Ok(files)
}

fn first_of(source: &dyn SegmentSource, id: SegmentId, block: &[u8]) -> Result<First, RecoveryError> {
    if let Some(version) = other_version(block) {
        return Err(RecoveryError {
            file: source.name(id),
            offset: 0,
            what: format!(
                "this segment is of log format {version}, and this server reads format {VERSION} only"
            ),
            way_out:
                "Start the version of the server that wrote it, or restore the whole data folder from a copy \
                      in this format"
                    .into(),
        });
    }
    Ok(match SegmentHeader::read(block) {
        Some(header) if header.segment.get() == id.0 => First::Header(header),
        Some(_) => First::Prepared,
        None if block.iter().all(|byte| *byte == 0) => First::Prepared,
        None => First::Damaged { durable: None },
    })
}

/// Crash story: the only segment that is left loses a bit of its header; nothing else knows the log's identity, and without
/// that none of its frames can be told from noise. So the identity in the damaged header itself is tried: a whole frame that
/// is right under it proves it, and tells what was durable before it was written.
fn durable_behind(source: &mut dyn SegmentSource, id: SegmentId, header: &[u8]) -> Option<Zxid> {
    let log_id = header.get(LOG_ID)?.try_into().expect("sixteen bytes");
    let seed = Seed::of(u128::from_le_bytes(log_id));
    let length = source.length(id).ok()?;
    let (mut offset, mut before, mut durable) = (LOG_BLOCK as u64, None, None);
    let mut block = vec![0; LOG_BLOCK];
    while offset + LOG_BLOCK as u64 <= length {
        source.read(id, offset, &mut block).ok()?;
        let Some(frame) = FrameHeader::read(&block, seed).filter(|frame| frame.segment.get() == id.0) else {
            break;
        };
        let told = |(sequence, zxid): (u64, u64)| {
            (sequence <= frame.durable_through.get()).then_some(Zxid(zxid as i64))
        };
        durable = before.and_then(told).or(durable);
        before = Some((frame.sequence.get(), frame.last_zxid.get()));
        offset += frame.frame_bytes();
    }
    durable
}

/// Where a segment's header has the log's identity.
const LOG_ID: std::ops::Range<usize> = 8..24;

/// Up to where a segment counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Before this frame.
    pub frame: FrameSeq,
    /// Up to and with this zxid.
    pub zxid: Zxid,
}

impl End {
    /// Nothing is behind it.
    pub const UNBOUNDED: End = End { frame: FrameSeq(u64::MAX), zxid: Zxid(i64::MAX) };
}

/// What counts, and what a snapshot leaves necessary. Invariant: `first` names a segment with a header.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) files: Vec<SegmentFile>,
    /// Of each segment: before which frame it counts, and up to which zxid.
    pub(super) ends: Vec<End>,
    /// The snapshot that reading goes on from.
    pub(super) snapshot: Zxid,
    pub(super) begin: Begin,
    /// The log's identity; None if there is no log yet.
    pub(super) log_id: Option<u128>,
}

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// There is no log.
    Empty,
    /// At the first frame of this segment.
    At(usize),
    /// Nothing counts: the segment before this one is torn, header and all, and when this one was begun nothing beyond
    /// the snapshot was durable.
    Behind(usize),
}

/// Decides from the headers; `snapshot` is the newest transaction of the snapshot that the log is to be put on.
pub fn plan(
    source: &dyn SegmentSource,
    files: Vec<SegmentFile>,
    snapshot: Zxid,
) -> Result<Plan, RecoveryError> {
    let ends: Vec<End> = ends(&files).into_iter().map(|(_, end)| end).collect();
    let log_id = files.iter().rev().find_map(SegmentFile::header).map(|header| header.log_id.get());
    let foreign =
        |file: &&SegmentFile| file.header().is_some_and(|header| Some(header.log_id.get()) != log_id);
    if let Some(file) = files.iter().find(foreign) {
        return Err(RecoveryError {
            file: source.name(file.id),
            offset: 0,
            what: "the segment belongs to another server's log: its log id is not that of the newest segment".into(),
            way_out: "Find out which of the files came from another folder and move those away; none of this server's \
                      own segments may be missing then"
                .into(),
        });
    }
    let begin = begin(source, &files, &ends, snapshot)?;
    let needed = match begin {
        Begin::At(first) | Begin::Behind(first) => &files[first..],
        Begin::Empty => &files[..],
    };
    for file in needed {
        if let First::Unreadable(why) = &file.first {
            return Err(io_error_text(source.name(file.id), 0, why));
        }
    }
    Ok(Plan { files, ends, snapshot, begin, log_id })
}

/// Up to where each segment counts: by the least of all headers behind it.
pub fn ends(files: &[SegmentFile]) -> Vec<(SegmentId, End)> {
    let mut least = End::UNBOUNDED;
    let mut ends: Vec<(SegmentId, End)> = files.iter().map(|file| (file.id, least)).collect();
    for ((_, end), file) in ends.iter_mut().zip(files).rev() {
        *end = least;
        if let Some(header) = file.header() {
            least.frame = least.frame.min(FrameSeq(header.first_frame.get()));
            least.zxid = least.zxid.min(Zxid(header.previous_zxid.get() as i64));
        }
    }
    ends
}

fn begin(
    source: &dyn SegmentSource,
    files: &[SegmentFile],
    ends: &[End],
    snapshot: Zxid,
) -> Result<Begin, RecoveryError> {
    let is_reached = |(file, end): (&SegmentFile, &End)| {
        file.header().is_some_and(|header| {
            header.first_frame.get() < end.frame.0 && Zxid(header.previous_zxid.get() as i64) <= snapshot
        })
    };
    if let Some(first) = files.iter().zip(ends).rposition(is_reached) {
        return Ok(Begin::At(first));
    }
    let Some((first, header)) =
        files.iter().enumerate().find_map(|(index, file)| Some((index, file.header()?)))
    else {
        return no_header(source, files, snapshot);
    };
    let previous = Zxid(header.previous_zxid.get() as i64);
    if Zxid(header.durable_zxid.get() as i64) <= snapshot {
        return Ok(Begin::Behind(first));
    }
    Err(RecoveryError {
        file: source.name(files[first].id),
        offset: 0,
        what: format!(
            "the oldest readable segment begins after zxid {previous}, but the newest usable snapshot only reaches {snapshot}"
        ),
        way_out: format!(
            "Restore the segments before this one or a snapshot of {previous} or later from a backup. Starting without \
             any segment would lose every write after {snapshot}, also those that clients were told are done"
        ),
    })
}

/// There is no log yet, or all that is left of it has lost its header.
fn no_header(
    source: &dyn SegmentSource,
    files: &[SegmentFile],
    snapshot: Zxid,
) -> Result<Begin, RecoveryError> {
    let lost = files.iter().find_map(|file| match file.first {
        First::Damaged { durable: Some(zxid) } if zxid > snapshot => Some((file.id, zxid)),
        _ => None,
    });
    let Some((id, zxid)) = lost else { return Ok(Begin::Empty) };
    Err(RecoveryError {
        file: source.name(id),
        offset: 0,
        what: format!(
            "the segment's header is damaged, and what follows it was durable up to zxid {zxid} at least; the newest \
             usable snapshot only reaches {snapshot}"
        ),
        way_out: format!(
            "Restore this file from a backup. Starting without it would lose every write after {snapshot}, also those \
             that clients were told are done"
        ),
    })
}

impl Plan {
    /// The segments that are read for it, oldest first.
    pub fn needed(&self) -> impl Iterator<Item = SegmentId> + '_ {
        let first = match self.begin {
            Begin::At(first) => first,
            Begin::Empty | Begin::Behind(_) => self.files.len(),
        };
        let counts = |index: &usize| self.counts(*index);
        (first..self.files.len()).filter(counts).map(|index| self.files[index].id)
    }

    /// Whether any frame of a segment counts.
    pub(super) fn counts(&self, index: usize) -> bool {
        let end = self.ends[index].frame;
        self.files[index].header().is_some_and(|header| header.first_frame.get() < end.0)
    }

    /// The segment that goes on with this frame, after another one.
    pub(super) fn next_after(&self, index: usize, frame: FrameSeq) -> Option<usize> {
        let begins = |other: &usize| {
            let header = self.files[*other].header();
            self.counts(*other) && header.is_some_and(|header| header.first_frame.get() == frame.0)
        };
        (index + 1..self.files.len()).find(begins)
    }

    /// The newest incarnation that a header tells of.
    pub(super) fn incarnation(&self) -> u64 {
        let headers = self.files.iter().filter_map(SegmentFile::header);
        headers.map(|header| header.incarnation.get()).max().unwrap_or(0)
    }

    /// Segments that nothing was written to under their number; behind all that have a header.
    pub(super) fn prepared(&self) -> Vec<SegmentId> {
        let used = self.files.iter().rposition(|file| file.header().is_some()).map_or(0, |last| last + 1);
        let is_prepared = |file: &&SegmentFile| matches!(file.first, First::Prepared);
        self.files[used..].iter().filter(is_prepared).map(|file| file.id).collect()
    }

    /// All other segments, oldest first, each with the newest zxid before it as far as the log counts.
    pub(super) fn history(&self, last_zxid: Zxid) -> Vec<(SegmentId, Zxid)> {
        let prepared = self.prepared();
        let mut history = Vec::with_capacity(self.files.len());
        for (file, End { zxid: end, .. }) in self.files.iter().zip(&self.ends) {
            if prepared.contains(&file.id) {
                continue;
            }
            // One without a header is kept as long as the one behind it.
            let previous = file.header().map_or(*end, |header| Zxid(header.previous_zxid.get() as i64));
            history.push((file.id, previous.min(*end).min(last_zxid)));
        }
        history
    }
}

pub(super) fn io_error(file: String, offset: u64, error: &io::Error) -> RecoveryError {
    io_error_text(file, offset, &error.to_string())
}

fn io_error_text(file: String, offset: u64, error: &str) -> RecoveryError {
    RecoveryError {
        file,
        offset,
        what: format!("reading failed: {error}"),
        way_out: "Check the disk and the permissions of the folder, then start again".into(),
    }
}
