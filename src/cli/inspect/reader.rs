//! Log files read record by record, Apache's and ours alike, with a window of the file in memory and no more. Where
//! `log::plan` and `log::replay` decide with what a server may start, this goes on as far as it can and names what is wrong.

use super::files::Kind;
use crate::ids::Zxid;
use crate::limits::LOG_BLOCK;
use crate::log::frame::{
    FRAME_HEADER_BYTES, FrameHeader, KIND_EPOCHS, KIND_TXNS, Seed, SegmentHeader, other_version,
};
use crate::log::{End, Epochs};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes at places: a file, or memory in tests.
pub trait Source {
    /// Fills as much of `into` as there is.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }
}

impl Source for Vec<u8> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Something in a file that should not be so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub offset: u64,
    /// What was found and expected.
    pub what: String,
    /// The reader stands behind it; false: nothing can be read after it.
    pub goes_on: bool,
}

fn end(offset: u64, what: impl Into<String>) -> Problem {
    Problem { offset, what: what.into(), goes_on: false }
}

/// Reads the entries of one file in order. Invariant: `at` only grows, and nothing before it is read again.
pub struct LogReader {
    window: Window,
    at: u64,
    form: Form,
    /// Of a segment beside others: what is behind does not count.
    until: End,
}

enum Form {
    Apache,
    Segment {
        header: SegmentHeader,
        /// The next frame's number.
        expected: u64,
        /// Of the frame `at` is in: where its transactions end, where the next one begins.
        body_end: u64,
        frame_end: u64,
    },
}

impl LogReader {
    /// Checks the file's header. An empty file has no entries.
    pub fn open(source: Box<dyn Source>, kind: Kind) -> Result<LogReader, Problem> {
        let mut window = Window { source, start: 0, bytes: Vec::new() };
        let (at, form) = match kind {
            Kind::Segment => open_segment(&mut window)?,
            _ => open_apache(&mut window)?,
        };
        Ok(LogReader { window, at, form, until: End::UNBOUNDED })
    }

    /// Ends where the segment no longer counts.
    pub fn until(self, until: End) -> LogReader {
        LogReader { until, ..self }
    }

    /// The next entry (header, transaction, digest) into `entry`; returns where its record begins. None: the content
    /// ends here, for now: asked again it looks again.
    pub fn next(&mut self, entry: &mut Vec<u8>) -> Result<Option<u64>, Problem> {
        entry.clear();
        match self.form {
            Form::Apache => self.next_apache(entry),
            Form::Segment { .. } => loop {
                let place = self.next_in_frame(entry)?;
                if place.is_none() || zxid_of(entry).is_none_or(|zxid| zxid <= self.until.zxid) {
                    return Ok(place);
                }
                entry.clear();
            },
        }
    }

    /// Bytes of the file behind this reader.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Forgets what was read ahead, because the file may have grown.
    pub fn look_again(&mut self) {
        self.window.bytes.clear();
    }

    /// After the last entry: what follows it and should not be there.
    pub fn tail(&mut self) -> Option<Problem> {
        match self.form {
            Form::Apache => self.apache_tail(),
            Form::Segment { expected, .. } if expected >= self.until.frame.0 => None,
            Form::Segment { header, expected, .. } => self.segment_tail(&header, expected),
        }
    }

    fn next_apache(&mut self, entry: &mut Vec<u8>) -> Result<Option<u64>, Problem> {
        let at = self.at;
        let head = self.window.at(at, RECORD_HEAD_BYTES)?;
        if head.len() < RECORD_HEAD_BYTES {
            return Ok(None);
        }
        let (expected, length) = record_head(head);
        if matches!(length, 0 | -1) {
            return Ok(None);
        }
        if length < 0 || length as usize > ENTRY_BYTES_MAX {
            return Err(end(at, format!("a record claims a length of {length} bytes")));
        }
        let length = length as usize;
        let record = self.window.at(at, RECORD_HEAD_BYTES + length + 1)?;
        if record.get(RECORD_HEAD_BYTES + length) != Some(&END_OF_RECORD) {
            return Ok(None);
        }
        entry.extend_from_slice(&record[RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + length]);
        self.at += (RECORD_HEAD_BYTES + length + 1) as u64;
        let found = u64::from(simd_adler32::adler32(&entry.as_slice()));
        if found != expected {
            let what = format!("the record's checksum is {expected:08x}, but its bytes have {found:08x}");
            return Err(Problem { offset: at, what, goes_on: true });
        }
        Ok(Some(at))
    }

    fn apache_tail(&mut self) -> Option<Problem> {
        let head = self.window.at(self.at, RECORD_HEAD_BYTES).ok()?;
        if head.len() == RECORD_HEAD_BYTES && record_head(head).1 > 0 {
            let what = "an incomplete record: its end mark is missing. Apache ZooKeeper reads no further; right after a \
                        crash this is a write that nobody was told about";
            return Some(end(self.at, what));
        }
        let offset = self.window.first_nonzero(self.at)?;
        Some(end(offset, format!("bytes after the end of the content at offset {}", self.at)))
    }

    fn next_in_frame(&mut self, entry: &mut Vec<u8>) -> Result<Option<u64>, Problem> {
        let Form::Segment { body_end, .. } = self.form else { unreachable!("asked for a segment") };
        if self.at == body_end && !self.enter_txns()? {
            return Ok(None);
        }
        let Form::Segment { body_end, frame_end, .. } = &mut self.form else {
            unreachable!("asked for a segment")
        };
        let at = self.at;
        let head = self.window.at(at, 4)?;
        let length = head.first_chunk::<4>().map_or(u64::MAX, |bytes| u64::from(u32::from_le_bytes(*bytes)));
        if length > *body_end - at - 4.min(*body_end - at) {
            // The frame's checksum is right, so this is how it was written.
            let what = format!("a transaction claims a length of {length} bytes, more than its frame has");
            return Err(end(at, what));
        }
        entry.extend_from_slice(self.window.at(at + 4, length as usize)?);
        self.at += 4 + length;
        if self.at == *body_end {
            self.at = *frame_end;
            *body_end = *frame_end;
        }
        Ok(Some(at))
    }

    /// Goes on to the next frame with transactions.
    fn enter_txns(&mut self) -> Result<bool, Problem> {
        while let Some(kind) = self.enter_frame()? {
            let Form::Segment { body_end, frame_end, .. } = &mut self.form else {
                unreachable!("asked for a segment")
            };
            let length = (*body_end - self.at) as usize;
            match kind {
                KIND_TXNS if length == 0 => return Err(end(self.at, "a frame without transactions")),
                KIND_TXNS => return Ok(true),
                KIND_EPOCHS if Epochs::read(self.window.at(self.at, length)?).is_some() => {
                    self.at = *frame_end;
                    *body_end = *frame_end;
                }
                KIND_EPOCHS => return Err(end(self.at, "a frame of epochs has a body of another kind")),
                _ => return Err(end(self.at, format!("a frame of the unknown kind {kind}"))),
            }
        }
        Ok(false)
    }

    /// The kind of the expected frame, if it stands at `at`, whole; `at` is at its body then.
    fn enter_frame(&mut self) -> Result<Option<u32>, Problem> {
        let Form::Segment { header, expected, body_end, frame_end } = &mut self.form else {
            unreachable!("asked for a segment")
        };
        if *expected >= self.until.frame.0 {
            return Ok(None);
        }
        let block = self.window.at(self.at, FRAME_HEADER_BYTES)?;
        let Some(frame) = FrameHeader::read(block, seed_of(header)) else { return Ok(None) };
        let is_next = is_of(&frame, header) && frame.sequence.get() == *expected;
        if !is_next || !is_sound(&mut self.window, self.at, &frame)? {
            return Ok(None);
        }
        *expected += 1;
        *frame_end = self.at + frame.frame_bytes();
        self.at += FRAME_HEADER_BYTES as u64;
        *body_end = self.at + u64::from(frame.body_bytes.get());
        Ok(Some(frame.kind.get()))
    }

    /// Behind the last frame there is nothing, or what the file held before it was used again.
    fn segment_tail(&mut self, header: &SegmentHeader, expected: u64) -> Option<Problem> {
        let first = self.window.first_nonzero(self.at)?;
        let mut is_reused = false;
        let mut at = self.at;
        while let Ok(block) = self.window.at(at, FRAME_HEADER_BYTES)
            && block.len() == FRAME_HEADER_BYTES
        {
            if let Some(frame) = FrameHeader::read(block, seed_of(header)) {
                let is_sound = is_sound(&mut self.window, at, &frame).unwrap_or(false);
                if is_sound && frame.segment.get() <= header.segment.get() && !is_of(&frame, header) {
                    is_reused = true;
                } else if at == self.at || is_sound && frame.sequence.get() >= expected {
                    return Some(end(self.at, frame_problem(self.at, at, expected)));
                }
            }
            at += LOG_BLOCK as u64;
        }
        (!is_reused).then(|| end(first, format!("bytes where frame {expected} would begin, or nothing")))
    }
}

fn frame_problem(expected_at: u64, found_at: u64, expected: u64) -> String {
    if expected_at == found_at {
        format!(
            "frame {expected} is torn or damaged: its header or checksum is wrong. As the last one of a log, right after \
             a crash, it is a write that nobody was told about"
        )
    } else {
        format!(
            "frame {expected} should stand here, but a later one stands at offset {found_at}: it is damaged"
        )
    }
}

/// Of a serialised transaction: after session (8) and cxid (4).
fn zxid_of(entry: &[u8]) -> Option<Zxid> {
    Some(Zxid(i64::from_be_bytes(entry.get(12..20)?.try_into().ok()?)))
}

fn seed_of(header: &SegmentHeader) -> Seed {
    Seed::of(header.log_id.get())
}

/// Whether a frame was written for the segment with this header, and not for what its file was before.
fn is_of(frame: &FrameHeader, header: &SegmentHeader) -> bool {
    frame.segment == header.segment && frame.incarnation == header.incarnation
}

fn is_sound(window: &mut Window, at: u64, frame: &FrameHeader) -> Result<bool, Problem> {
    let whole = FRAME_HEADER_BYTES + frame.body_bytes.get() as usize;
    if whole > FRAME_BYTES_MAX {
        return Ok(false);
    }
    let bytes = window.at(at, whole)?;
    Ok(bytes.len() == whole && frame.is_body(&bytes[FRAME_HEADER_BYTES..]))
}

fn open_apache(window: &mut Window) -> Result<(u64, Form), Problem> {
    let header = window.at(0, HEADER_BYTES)?;
    let number = |at: usize| header[at..].first_chunk::<4>().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    let what = match header.len() {
        0 => return Ok((0, Form::Apache)),
        1..HEADER_BYTES => "the file ends in its header".into(),
        _ if &header[..4] != b"ZKLG" => "this is no transaction log (its magic is not ZKLG)".into(),
        _ if number(4) != VERSION => format!("the log has version {}, not {VERSION}", number(4)),
        _ if number(8) != 0 || number(12) != 0 => "the database id in the header is not 0".into(),
        _ => return Ok((HEADER_BYTES as u64, Form::Apache)),
    };
    Err(end(0, what))
}

fn open_segment(window: &mut Window) -> Result<(u64, Form), Problem> {
    let block = window.at(0, LOG_BLOCK)?;
    if let Some(version) = other_version(block) {
        return Err(end(
            0,
            format!("the segment is of log format {version}, which this version does not read"),
        ));
    }
    let Some(header) = SegmentHeader::read(block) else {
        return match window.first_nonzero(0) {
            // Prepared for later.
            None => Err(end(0, "the segment was prepared and not used yet")),
            Some(_) => Err(end(0, "the segment's header is damaged (its magic or checksum is wrong)")),
        };
    };
    if let Some(at) = block[size_of::<SegmentHeader>()..].iter().position(|byte| *byte != 0) {
        return Err(end((size_of::<SegmentHeader>() + at) as u64, "bytes behind the segment's header"));
    }
    let at = LOG_BLOCK as u64;
    let expected = header.first_frame.get();
    Ok((at, Form::Segment { header, expected, body_end: at, frame_end: at }))
}

fn record_head(head: &[u8]) -> (u64, i32) {
    let checksum = head[..8].try_into().expect("eight bytes");
    let length = head[8..12].try_into().expect("four bytes");
    (u64::from_be_bytes(checksum), i32::from_be_bytes(length))
}

/// A part of the file in memory.
struct Window {
    source: Box<dyn Source>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Up to `need` bytes from `at`; fewer where the file ends.
    fn at(&mut self, at: u64, need: usize) -> Result<&[u8], Problem> {
        let have = (self.start + self.bytes.len() as u64).saturating_sub(at.max(self.start)) as usize;
        if at < self.start || have < need {
            self.load(at, need).map_err(|error| end(at, format!("reading failed: {error}")))?;
        }
        let from = ((at - self.start) as usize).min(self.bytes.len());
        Ok(&self.bytes[from..(from + need).min(self.bytes.len())])
    }

    /// Grows only as far as bytes really come.
    fn load(&mut self, at: u64, need: usize) -> io::Result<()> {
        self.start = at;
        self.bytes.clear();
        while self.bytes.len() < need {
            let have = self.bytes.len();
            self.bytes.resize(have + WINDOW_BYTES, 0);
            let read = self.source.read_at(&mut self.bytes[have..], at + have as u64)?;
            self.bytes.truncate(have + read);
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    fn first_nonzero(&mut self, from: u64) -> Option<u64> {
        let mut at = from;
        loop {
            let bytes = self.at(at, LOG_BLOCK).ok().filter(|bytes| !bytes.is_empty())?;
            if let Some(found) = bytes.iter().position(|byte| *byte != 0) {
                return Some(at + found as u64);
            }
            at += bytes.len() as u64;
        }
    }
}

const HEADER_BYTES: usize = 16;
const VERSION: i32 = 2;
const RECORD_HEAD_BYTES: usize = 12;
const END_OF_RECORD: u8 = b'B';
/// Generous to raised limits of `jute.maxbuffer`; longer ones are damage.
const ENTRY_BYTES_MAX: usize = 128 << 20;
const FRAME_BYTES_MAX: usize = 128 << 20;
const WINDOW_BYTES: usize = 256 << 10;
