//! The readers against recorded files, and against those files with any byte changed.

use super::files::Kind;
use super::reader::{LogReader, Problem};
use crate::limits::LOG_BLOCK;
use crate::log::apache::ApacheLog;
use crate::log::frame::{
    FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, KIND_TXNS, SEGMENT_MAGIC, Seed, SegmentHeader,
};
use crate::tree::image::{self, ImageOptions};
use crate::tree::{OwnerRules, Tree, snappy};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use zerocopy::{FromZeros, IntoBytes};

/// Every recorded file whose name begins so.
fn recorded(prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if name.starts_with(prefix) {
                found.push(entry.path());
            }
        }
    }
    assert!(found.len() > 10, "{prefix}");
    found.sort();
    found
}

fn read(bytes: Vec<u8>, kind: Kind) -> (Vec<Vec<u8>>, Vec<Problem>) {
    let mut reader = match LogReader::open(Box::new(bytes), kind) {
        Ok(reader) => reader,
        Err(problem) => return (Vec::new(), vec![problem]),
    };
    let (mut entries, mut problems, mut entry) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match reader.next(&mut entry) {
            Ok(Some(_)) => entries.push(entry.clone()),
            Ok(None) => break,
            Err(problem) => {
                let goes_on = problem.goes_on;
                problems.push(problem);
                if !goes_on {
                    return (entries, problems);
                }
            }
        }
    }
    problems.extend(reader.tail());
    (entries, problems)
}

#[test]
fn every_recorded_log_reads_as_the_restoring_reader_reads_it() {
    for path in recorded("log.") {
        let bytes = std::fs::read(&path).expect("is there");
        let log = ApacheLog::new(&bytes, 1 << 20).expect("sound");
        let expected: Vec<Vec<u8>> = log.map(|entry| entry.expect("sound").bytes.to_vec()).collect();
        assert_eq!(read(bytes.clone(), Kind::ApacheLog), (expected, Vec::new()), "{}", path.display());
    }
}

/// Content as a crash leaves it: cut anywhere.
#[test]
fn a_cut_log_keeps_the_entries_before_the_cut_and_names_the_torn_one() {
    let bytes = include_bytes!("../../../tests/datadirs/trunc-case/after/data/version-2/log.100000001");
    let ends: Vec<usize> = ApacheLog::new(bytes, 1 << 20)
        .expect("sound")
        .map(|entry| entry.expect("sound").end as usize)
        .collect();
    for cut in 16..bytes.len() {
        let (entries, problems) = read(bytes[..cut].to_vec(), Kind::ApacheLog);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(entries.len(), whole, "cut at {cut}");
        let boundary = if whole == 0 { 16 } else { ends[whole - 1] };
        assert!(cut > boundary || problems.is_empty(), "cut at {cut}");
        assert!(cut < boundary + 12 || !problems.is_empty(), "cut at {cut}");
        assert!(problems.iter().all(|problem| (boundary..=cut).contains(&(problem.offset as usize))));
    }
}

fn flips_are_named(whole: &[u8], kind: Kind, places: impl Iterator<Item = usize>) {
    for at in places {
        for bits in [0x01, 0x80, 0xff] {
            let mut flipped = whole.to_vec();
            flipped[at] ^= bits;
            let (_, problems) = read(flipped, kind);
            assert!(!problems.is_empty(), "byte {at} changed by {bits:02x}");
            assert!(problems[0].offset <= whole.len() as u64);
        }
    }
}

#[test]
fn any_changed_byte_of_a_log_is_named() {
    let whole = include_bytes!("../../../tests/datadirs/trunc-case/before/data/version-2/log.100000001");
    let content = whole.iter().rposition(|byte| *byte != 0).expect("has content") + 1;
    flips_are_named(whole, Kind::ApacheLog, (0..content).chain((content..whole.len()).step_by(997)));
}

/// A segment with frames of these entries.
fn segment(frames: &[&[&[u8]]]) -> Vec<u8> {
    let mut header = SegmentHeader::new_zeroed();
    header.magic.set(SEGMENT_MAGIC);
    header.log_id.set(7);
    header.segment.set(3);
    header.first_frame.set(41);
    let crc = header.checksum();
    header.crc.set(crc);
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(LOG_BLOCK, 0);
    for (index, entries) in frames.iter().enumerate() {
        let mut body = Vec::new();
        for entry in *entries {
            body.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            body.extend_from_slice(entry);
        }
        let mut frame = FrameHeader::new_zeroed();
        frame.magic.set(FRAME_MAGIC);
        frame.segment.set(3);
        frame.sequence.set(41 + index as u64);
        frame.body_bytes.set(body.len() as u32);
        frame.txns.set(entries.len() as u32);
        frame.kind.set(KIND_TXNS);
        frame.seal(Seed::of(7), &body);
        bytes.extend_from_slice(frame.as_bytes());
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().next_multiple_of(LOG_BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * LOG_BLOCK, 0);
    bytes
}

#[test]
fn a_segment_reads_entry_by_entry_and_any_changed_byte_is_named() {
    let big = vec![5; 5000];
    let whole = segment(&[&[b"one", b"two"], &[&big], &[b"three"]]);
    let (entries, problems) = read(whole.clone(), Kind::Segment);
    assert_eq!(entries, [b"one".to_vec(), b"two".to_vec(), big.clone(), b"three".to_vec()]);
    assert_eq!(problems, []);
    flips_are_named(&whole, Kind::Segment, 0..LOG_BLOCK);
    // Frames lie at blocks 1, 2 to 3, and 4; what fills up their last block stands for nothing.
    for (block, entries_bytes) in [(1, 4 + 3 + 4 + 3), (2, 4 + 5000), (4, 4 + 5)] {
        let start = block * LOG_BLOCK;
        flips_are_named(&whole, Kind::Segment, start..start + FRAME_HEADER_BYTES + entries_bytes);
    }
    flips_are_named(&whole, Kind::Segment, 5 * LOG_BLOCK..whole.len());
}

#[test]
fn what_a_segment_held_before_it_is_used_again_is_no_problem() {
    let older = segment(&[&[b"old"], &[b"older"], &[b"oldest"]]);
    let mut newer = segment(&[&[b"new"]]);
    let mut renumbered = older;
    for block in 1..4 {
        let at = block * LOG_BLOCK;
        let mut frame = FrameHeader::read(&renumbered[at..], Seed::of(7)).expect("a frame");
        frame.segment.set(2);
        let body = at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + frame.body_bytes.get() as usize;
        frame.seal(Seed::of(7), &renumbered[body]);
        renumbered[at..at + FRAME_HEADER_BYTES].copy_from_slice(frame.as_bytes());
    }
    newer.truncate(2 * LOG_BLOCK);
    newer.extend_from_slice(&renumbered[2 * LOG_BLOCK..]);
    assert_eq!(read(newer, Kind::Segment), (vec![b"new".to_vec()], Vec::new()));
}

/// What a snapshot says, None if it is refused.
fn scanned(source: &mut dyn Read) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let empty = Tree::empty(1, OwnerRules::default());
    let image = image::scan(source, empty, &ImageOptions::default(), &mut |tree, node, children| {
        found.push(super::render::node_json(node, children, tree.acl(node.head().acl)).to_string());
        Ok(())
    });
    let image = match image {
        Ok(image) => image,
        Err(error) => {
            assert!(!error.what.is_empty());
            return None;
        }
    };
    found.push(format!("{:?} {:?} {:?}", image.sessions, image.digest, image.last_zxid));
    Some(found)
}

fn unpack(bytes: &[u8], name: &str) -> Box<dyn Read> {
    let source = Cursor::new(bytes.to_vec());
    match name.rsplit('.').next() {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Some("snappy") => Box::new(snappy::Decoder::new(source)),
        _ => Box::new(source),
    }
}

#[test]
fn a_changed_byte_of_a_snapshot_is_refused_or_changes_nothing() {
    let mut refused = 0;
    for path in recorded("snapshot.") {
        let name = path.display().to_string();
        let whole = std::fs::read(&path).expect("is there");
        let expected = scanned(&mut *unpack(&whole, &name));
        assert!(expected.is_some(), "{name}");
        // Large files are sampled.
        for at in (0..whole.len()).step_by(whole.len() / 400 + 1) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            match scanned(&mut *unpack(&flipped, &name)) {
                None => refused += 1,
                // Header fields and filling bits of gzip and snappy stand for nothing; a plain one has no such bits.
                found => {
                    let is_packed = name.ends_with("gz") || name.ends_with("snappy");
                    assert!(is_packed && found == expected, "{name}: byte {at}");
                }
            }
        }
    }
    assert!(refused > 4000, "{refused}");
}
