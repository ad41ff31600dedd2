//! A disk in memory that tears, reorders and flips; the promise: recovery yields exactly a prefix of what was appended
//! that includes everything `durable` had promised, or refuses to start. Never silence about a loss that can be seen.

use super::frame::FRAME_HEADER_BYTES;
use super::*;
use crate::aligned::AlignedBuffer;
use crate::ids::{FrameSeq, SegmentId, SessionId, Zxid};
use crate::limits::{LOG_BLOCK, LOG_FRAME_BYTES_HELD};
use crate::prng::Prng;
use crate::wire::txn::encode_entry;
use crate::wire::{Txn, TxnHeader};
use std::collections::BTreeMap;
use std::io;

#[derive(Default, Clone)]
struct MemoryDisk {
    files: BTreeMap<u64, Vec<u8>>,
}

impl SegmentSource for MemoryDisk {
    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        Ok(self.files.keys().map(|id| SegmentId(*id)).collect())
    }

    fn length(&self, segment: SegmentId) -> io::Result<u64> {
        Ok(self.files[&segment.0].len() as u64)
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        into.copy_from_slice(&self.files[&segment.0][start..start + into.len()]);
        Ok(())
    }

    fn sync(&mut self, _: SegmentId) -> io::Result<()> {
        Ok(())
    }

    fn name(&self, segment: SegmentId) -> String {
        format!("segment.{:016x}", segment.0)
    }
}

const LOG_ID: u128 = 99;
const SEGMENT_BYTES: u64 = 10 * LOG_BLOCK as u64;

struct Rig {
    disk: MemoryDisk,
    writer: LogWriter,
    writes: Vec<(u64, u64, AlignedBuffer, u64)>,
    recycled: Vec<Vec<u8>>,
    zxid: i64,
}

impl Rig {
    fn new() -> Rig {
        let start = LogStart {
            log_id: LOG_ID,
            incarnation: 1 << 32,
            segment: SegmentId(1),
            frame: FrameSeq(1),
            last_zxid: Zxid(0),
            epochs: Epochs::default(),
            segment_bytes: SEGMENT_BYTES,
        };
        Rig::with(MemoryDisk::default(), start, &[])
    }

    fn with(disk: MemoryDisk, start: LogStart, history: &[(SegmentId, Zxid)]) -> Rig {
        let mut world = Rig::idle(disk, start, history);
        world.flush();
        world
    }

    fn idle(disk: MemoryDisk, start: LogStart, history: &[(SegmentId, Zxid)]) -> Rig {
        let mut writer = LogWriter::new(start);
        writer.adopt_history(history);
        Rig { disk, writer, writes: Vec::new(), recycled: Vec::new(), zxid: start.last_zxid.0 }
    }

    fn flush(&mut self) {
        let mut out = Vec::new();
        self.writer.flush(true, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<LogOutput>) {
        for output in out {
            match output {
                LogOutput::Write { segment, offset, buffer, token } => {
                    self.writes.push((segment.0, offset, buffer, token));
                }
                LogOutput::Prepare { segment, bytes } => {
                    let file = self.recycled.pop().unwrap_or_else(|| vec![0; bytes as usize]);
                    self.disk.files.insert(segment.0, file);
                    self.writer.on_segment_ready(segment, bytes);
                }
                LogOutput::Close { .. } => {}
                LogOutput::Release { segment } => {
                    self.recycled.extend(self.disk.files.remove(&segment.0));
                }
            }
        }
    }

    fn append(&mut self, bytes: usize) -> bool {
        let entry = entry(self.zxid + 1, bytes);
        if !self.writer.has_room(entry.len()) {
            return false;
        }
        self.zxid += 1;
        self.writer.append(Zxid(self.zxid), &entry);
        true
    }

    fn complete(&mut self, index: usize) {
        let (segment, offset, buffer, token) = self.writes.remove(index);
        let start = offset as usize;
        let file = self.disk.files.get_mut(&segment).expect("prepared");
        file[start..start + buffer.len()].copy_from_slice(buffer.as_slice());
        self.writer.on_written(token, buffer);
    }

    /// The power goes: each sector of each write in flight is on the disk, or not.
    fn crash(mut self, prng: &mut Prng) -> MemoryDisk {
        for (segment, offset, buffer, _) in self.writes.drain(..) {
            let file = self.disk.files.get_mut(&segment).expect("prepared");
            let survives = prng.below(101);
            for (index, sector) in buffer.as_slice().chunks(512).enumerate() {
                if prng.chance(survives) {
                    let start = offset as usize + index * 512;
                    file[start..start + 512].copy_from_slice(sector);
                }
            }
        }
        self.disk
    }
}

fn entry(zxid: i64, bytes: usize) -> Vec<u8> {
    let data = vec![zxid as u8; bytes];
    let txn = Txn::SetData { path: "/a".into(), data: Some(&data), version: 1, reconfig: false };
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(zxid), time_ms: 0, op: txn.op() };
    let mut out = Vec::new();
    encode_entry(&mut out, &header, &txn, None);
    out
}

fn recover_all(disk: &mut MemoryDisk, snapshot: Zxid) -> Result<(Recovered, Vec<i64>), RecoveryError> {
    let mut zxids = Vec::new();
    let recovered = recover(disk, snapshot, &mut |bytes| {
        let (header, _, _) = crate::wire::txn::decode_entry(bytes).map_err(|error| error.to_string())?;
        zxids.push(header.zxid.0);
        Ok(())
    })?;
    Ok((recovered, zxids))
}

#[test]
fn whatever_tears_everything_promised_is_there() {
    for seed in 0..3000 {
        let mut prng = Prng::new(seed);
        let mut world = Rig::new();
        for life in 0..4 {
            for _ in 0..prng.below(60) {
                match prng.below(10) {
                    0..6 => {
                        let bytes = if prng.chance(10) { 9000 } else { prng.below(700) as usize };
                        world.append(bytes);
                    }
                    6 => world.writer.roll(),
                    _ if !world.writes.is_empty() => {
                        let index = prng.below(world.writes.len() as u64) as usize;
                        world.complete(index);
                    }
                    _ => {}
                }
                world.flush();
            }
            let (promised, appended) = (world.writer.durable().0, world.zxid);
            let mut disk = world.crash(&mut prng);
            let (recovered, zxids) = recover_all(&mut disk, Zxid(0))
                .unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            let expected: Vec<i64> = (1..=recovered.last_zxid.0).collect();
            assert_eq!(zxids, expected, "seed {seed}, life {life}");
            assert!(recovered.last_zxid.0 >= promised, "seed {seed}, life {life}: lost what was promised");
            assert!(recovered.last_zxid.0 <= appended, "seed {seed}, life {life}");
            world = restarted(disk, &recovered, &mut prng);
        }
    }
}

/// The next process, as a start does it: prepared segments are used again, nothing else is touched.
fn restarted(mut disk: MemoryDisk, recovered: &Recovered, prng: &mut Prng) -> Rig {
    // The oldest is used first (`recycled` is a stack), so that a file may get its old number again.
    let spares = recovered.prepared.iter().rev().filter_map(|id| disk.files.remove(&id.0)).collect();
    // After a sweep without a use the number is taken again, by a file that may hold frames of that number.
    let next_segment = disk.files.keys().next_back().map_or(SegmentId(1), |last| SegmentId(last + 1));
    let start = recovered.log_start(LOG_ID, prng.next_u64() as u32, SEGMENT_BYTES);
    let start = LogStart { segment: next_segment, ..start };
    let mut world = Rig::idle(disk, start, &recovered.segments);
    world.recycled = spares;
    world.flush();
    world
}

/// Ten frames, all durable, over two segments.
fn filled() -> MemoryDisk {
    let mut world = Rig::new();
    for _ in 0..14 {
        assert!(world.append(100));
        world.flush();
        world.complete(0);
    }
    world.disk
}

/// The same after a restart and ten more frames.
fn refilled(mut disk: MemoryDisk) -> MemoryDisk {
    let (recovered, _) = recover_all(&mut disk, Zxid(0)).expect("sound");
    let mut world = restarted(disk, &recovered, &mut Prng::new(5));
    for _ in 0..10 {
        assert!(world.append(100));
        world.flush();
        world.complete(0);
    }
    world.disk
}

#[test]
fn damage_in_the_middle_is_refused_with_file_and_offset() {
    for block in 1..5 {
        let mut disk = filled();
        disk.files.get_mut(&1).expect("first")[block * LOG_BLOCK + FRAME_HEADER_BYTES + 20] ^= 1;
        let error = recover_all(&mut disk, Zxid(0)).expect_err("damaged");
        assert_eq!(
            (error.file.as_str(), error.offset),
            ("segment.0000000000000001", (block * LOG_BLOCK) as u64)
        );
    }
}

#[test]
fn a_missing_or_foreign_segment_is_refused() {
    let mut disk = filled();
    disk.files.insert(3, vec![0; SEGMENT_BYTES as usize]);
    disk.files.remove(&1);
    assert!(recover_all(&mut disk, Zxid(0)).expect_err("gap").what.contains("snapshot only reaches"));
    let mut disk = filled();
    let second = disk.files.get_mut(&2).expect("second");
    let mut header = super::frame::SegmentHeader::read(second).expect("valid");
    header.log_id = 5.into();
    header.crc = header.checksum().into();
    second[..zerocopy::IntoBytes::as_bytes(&header).len()]
        .copy_from_slice(zerocopy::IntoBytes::as_bytes(&header));
    assert!(recover_all(&mut disk, Zxid(0)).expect_err("foreign").what.contains("log id"));
    let mut disk = filled();
    disk.files.get_mut(&1).expect("first")[9] ^= 1;
    assert!(recover_all(&mut disk, Zxid(0)).expect_err("no header").what.contains("snapshot only reaches"));
    let mut disk = filled();
    for _ in 0..2 {
        disk = refilled(disk);
    }
    disk.files.remove(&2);
    assert!(recover_all(&mut disk, Zxid(0)).expect_err("a gap").what.contains("was durable"));
}

#[test]
fn a_snapshot_skips_and_releases_what_it_holds() {
    let mut world = Rig::new();
    for _ in 0..30 {
        assert!(world.append(100));
        world.flush();
        world.complete(0);
    }
    let mut out = Vec::new();
    world.writer.on_snapshot(Zxid(20), &mut out);
    let released = out.len();
    world.carry_out(out);
    assert!(released >= 2);
    let (recovered, zxids) = recover_all(&mut world.disk, Zxid(20)).expect("sound");
    assert_eq!(zxids, (21..=30).collect::<Vec<i64>>());
    assert_eq!(recovered.last_zxid, Zxid(30));
}

#[test]
fn no_bytes_make_recovery_panic() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut disk = filled();
        for _ in 0..1 + prng.below(20) {
            let id = 1 + prng.below(2);
            let file = disk.files.get_mut(&id).expect("there");
            if file.len() < SEGMENT_BYTES as usize {
                continue;
            }
            let at = prng.below(file.len() as u64) as usize;
            match prng.below(3) {
                0 => file[at] = prng.next_u64() as u8,
                1 => file[at / LOG_BLOCK * LOG_BLOCK + prng.below(64) as usize] = prng.next_u64() as u8,
                _ => file.truncate(at.max(1)),
            }
        }
        let _ = recover_all(&mut disk, Zxid(prng.below(40) as i64));
    }
}

#[test]
fn a_small_frame_waits_for_company_only_on_a_busy_core_and_behind_a_write() {
    let mut world = Rig::new();
    let flush = |world: &mut Rig, is_idle| {
        let mut out = Vec::new();
        world.writer.flush(is_idle, &mut out);
        world.carry_out(out);
        (world.writes.len(), world.writer.is_held_back())
    };
    assert!(world.append(100));
    assert_eq!(flush(&mut world, false), (1, false), "nothing to wait behind");
    assert!(world.append(100));
    assert_eq!(flush(&mut world, false), (1, true));
    assert!(world.append(LOG_FRAME_BYTES_HELD));
    assert_eq!(flush(&mut world, false), (2, false), "large enough");
    assert!(world.append(100));
    assert_eq!(flush(&mut world, false), (2, true));
    assert_eq!(flush(&mut world, true), (3, false), "the core has nothing else to do");
    assert!(world.append(100));
    assert_eq!(flush(&mut world, false), (3, true));
    (0..3).for_each(|_| world.complete(0));
    assert_eq!(flush(&mut world, false), (1, false), "the writes before it are done");
}

impl Rig {
    /// Everything that was appended becomes durable.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.flush();
            while !self.writes.is_empty() {
                self.complete(0);
            }
        }
        assert!(self.writer.is_idle(), "there is always a segment");
    }
}

/// Crash story: a leader truncates a log; before the next header is durable the old tail counts, after it it does not, and
/// nothing of the old tail ever comes back.
#[test]
fn a_truncation_counts_once_its_header_is_durable_and_rewrites_nothing() {
    for seed in 0..2000 {
        let mut prng = Prng::new(seed);
        let mut world = Rig::new();
        for _ in 0..1 + prng.below(25) {
            world.append(prng.below(3000) as usize);
            if prng.chance(60) {
                world.settle();
            }
        }
        world.settle();
        let (full, to) = (world.zxid, prng.below(world.zxid as u64 + 1) as i64);
        let before = world.disk.clone();
        world.writer.truncate(Zxid(to));
        world.zxid = to;
        world.flush();
        for (id, file) in &before.files {
            assert!(world.disk.files[id] == *file, "seed {seed}: a truncation rewrites nothing");
        }
        let is_durable = prng.chance(50);
        if is_durable {
            world.settle();
            for _ in 0..prng.below(12) {
                world.append(100);
                world.settle();
            }
        }
        let (due, epochs) = (world.zxid, world.writer.durable_epochs());
        let mut disk = world.crash(&mut prng);
        let (recovered, zxids) =
            recover_all(&mut disk, Zxid(0)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let last = recovered.last_zxid.0;
        assert_eq!(zxids, (1..=last).collect::<Vec<i64>>(), "seed {seed}");
        assert!(last == due || !is_durable && last == full, "seed {seed}: {last}, {due} of {full}");
        assert_eq!(recovered.epochs, epochs);
        // What the next process writes stands on what counted.
        let mut world = restarted(disk, &recovered, &mut prng);
        world.append(50);
        world.settle();
        let (again, zxids) = recover_all(&mut world.disk, Zxid(0)).expect("sound");
        assert_eq!((again.last_zxid.0, zxids.len() as i64), (last + 1, last + 1), "seed {seed}");
    }
}

#[test]
fn a_truncated_log_is_released_by_the_snapshots_that_cover_it() {
    let mut world = Rig::new();
    for _ in 0..30 {
        assert!(world.append(100));
        world.settle();
    }
    let old: Vec<SegmentId> = world.writer.segments().collect();
    world.writer.truncate(Zxid(5));
    world.zxid = 5;
    world.settle();
    assert!(world.append(100));
    world.settle();
    let mut out = Vec::new();
    world.writer.on_snapshot(Zxid(6), &mut out);
    let released = out.iter().filter(|output| matches!(output, LogOutput::Release { .. })).count();
    assert!(released >= old.len() - 2, "{released} of {old:?}");
    world.carry_out(out);
    let (recovered, zxids) = recover_all(&mut world.disk, Zxid(6)).expect("sound");
    assert_eq!((recovered.last_zxid, zxids), (Zxid(6), Vec::new()));
}

#[test]
fn epochs_are_found_again_whatever_tears() {
    for seed in 0..1000 {
        let mut prng = Prng::new(seed);
        let mut world = Rig::new();
        let (mut promised, mut written) = (Epochs::default(), Epochs::default());
        for _ in 0..4 {
            for _ in 0..prng.below(8) {
                if prng.chance(40) {
                    world.settle();
                    written =
                        Epochs { accepted: written.accepted + 1, current: written.accepted + prng.below(2) };
                    world.writer.write_epochs(written);
                } else {
                    world.settle();
                    world.append(prng.below(500) as usize);
                }
                world.flush();
                if !world.writes.is_empty() && prng.chance(70) {
                    world.complete(0);
                }
                promised = world.writer.durable_epochs();
            }
            let mut disk = world.crash(&mut prng);
            let (recovered, _) = recover_all(&mut disk, Zxid(0)).expect("sound");
            assert!(promised <= recovered.epochs && recovered.epochs <= written, "seed {seed}");
            written = recovered.epochs;
            world = restarted(disk, &recovered, &mut prng);
        }
    }
}

/// A transaction with data that is, at the start of every block it covers, the header of a frame that says that everything
/// was durable, as sound as somebody can make it who does not know the log id.
fn forged_entry(zxid: i64, offset_in_frame: usize, segment: u64, knows_id: bool) -> Vec<u8> {
    let mut forged = <frame::FrameHeader as zerocopy::FromZeros>::new_zeroed();
    forged.magic = frame::FRAME_MAGIC.into();
    forged.segment = segment.into();
    forged.incarnation = (1u64 << 32).into();
    forged.sequence = 40.into();
    forged.durable_through = 39.into();
    forged.first_zxid = 40.into();
    forged.last_zxid = 40.into();
    forged.kind = frame::KIND_TXNS.into();
    forged.seal(frame::Seed::of(if knows_id { LOG_ID } else { 0 }), &[]);
    let empty = entry(zxid, 0).len();
    let mut entry = entry(zxid, 3 * LOG_BLOCK);
    // The data stands in front of the version, 4 bytes, at the entry's end.
    let data = empty - 4 + offset_in_frame;
    for block in 1..3 {
        let at = block * LOG_BLOCK - data + (empty - 4);
        entry[at..at + FRAME_HEADER_BYTES].copy_from_slice(zerocopy::IntoBytes::as_bytes(&forged));
    }
    entry
}

#[test]
fn data_of_a_client_that_looks_like_frames_is_no_proof() {
    for knows_id in [false, true] {
        let mut world = Rig::new();
        assert!(world.append(100));
        world.settle();
        let forged = forged_entry(2, FRAME_HEADER_BYTES + 4, 1, knows_id);
        assert!(world.writer.has_room(forged.len()));
        world.writer.append(Zxid(2), &forged);
        world.flush();
        // The machine fails: the first sector of the frame is lost, the rest is there.
        let (segment, offset, buffer, _) = world.writes.remove(0);
        let file = world.disk.files.get_mut(&segment).expect("prepared");
        let start = offset as usize;
        file[start + 512..start + buffer.len()].copy_from_slice(&buffer.as_slice()[512..]);
        let result = recover_all(&mut world.disk, Zxid(0));
        match knows_id {
            false => assert_eq!(result.expect("a torn tail").0.last_zxid, Zxid(1)),
            // The forgery is one: with the id it would be taken for a proof.
            true => assert!(result.expect_err("refused").what.contains("was durable")),
        }
    }
}

#[test]
fn damage_in_what_a_snapshot_covers_stops_nothing_and_the_advice_names_the_loss() {
    let mut world = Rig::new();
    for _ in 0..40 {
        assert!(world.append(100));
        world.settle();
    }
    let snapshot = Zxid(25);
    let files = read_headers(&mut world.disk).expect("readable");
    let needed: Vec<SegmentId> = plan(&world.disk, files, snapshot).expect("sound").needed().collect();
    for (id, file) in world.disk.clone().files {
        for at in (0..file.len()).step_by(911) {
            let mut disk = world.disk.clone();
            disk.files.get_mut(&id).expect("there")[at] ^= 0x10;
            let result = recover_all(&mut disk, snapshot);
            if id < needed[0].0 {
                assert_eq!(
                    result.expect("covered").1,
                    (26..=40).collect::<Vec<i64>>(),
                    "segment {id}, byte {at}"
                );
            } else if let Err(error) = result {
                assert!(error.way_out.contains("lose every write after"), "{error}");
            }
        }
    }
    assert!(needed[0].0 > 2, "there are covered ones");
}

#[test]
fn a_segment_of_the_first_format_is_refused_by_its_version() {
    let mut block = vec![0; SEGMENT_BYTES as usize];
    block[..8].copy_from_slice(b"RKSEGMT1");
    block[24] = 1;
    let sum = crc32c::crc32c(&block[..64]);
    block[64..68].copy_from_slice(&sum.to_le_bytes());
    let mut disk = MemoryDisk::default();
    disk.files.insert(1, block.clone());
    let error = recover_all(&mut disk, Zxid(0)).expect_err("refused").to_string();
    assert!(error.contains("log format 1") && error.contains("format 2 only"), "{error}");
    // One flipped bit of the version is damage, not another version.
    let mut disk = filled();
    disk.files.get_mut(&1).expect("first")[7] ^= 1;
    assert!(!recover_all(&mut disk, Zxid(0)).expect_err("damaged").to_string().contains("format"));
}

/// Crash story: 1. A start writes its first two frames; the power goes and only the second one's sectors are there. 2. The
/// file is used again under the same number. 3. The frame at the second place must not follow a new first one.
#[test]
fn frames_of_a_lost_start_never_follow_those_of_the_next_one() {
    let mut world =
        restarted(filled(), &recover_all(&mut filled(), Zxid(0)).expect("sound").0, &mut Prng::new(1));
    assert!(world.append(10) && world.zxid == 15);
    world.flush();
    assert!(world.append(10));
    world.flush();
    let (segment, offset, buffer, _) = world.writes.remove(1);
    let file = world.disk.files.get_mut(&segment).expect("prepared");
    file[offset as usize..offset as usize + buffer.len()].copy_from_slice(buffer.as_slice());
    let mut disk = world.disk;
    let (recovered, _) = recover_all(&mut disk, Zxid(0)).expect("torn");
    assert_eq!((recovered.last_zxid, recovered.prepared.contains(&SegmentId(segment))), (Zxid(14), true));
    let mut world = restarted(disk, &recovered, &mut Prng::new(2));
    assert!(world.append(10));
    world.settle();
    let (again, _) = recover_all(&mut world.disk, Zxid(0)).expect("sound");
    assert_eq!(again.last_zxid, Zxid(15), "the old 16 is not there");
}
