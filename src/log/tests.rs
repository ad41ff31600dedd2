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

    fn name(&self, segment: SegmentId) -> String {
        format!("segment.{:016x}", segment.0)
    }
}

const SEGMENT_BYTES: u64 = 10 * LOG_BLOCK as u64;

struct World {
    disk: MemoryDisk,
    writer: LogWriter,
    writes: Vec<(u64, u64, AlignedBuffer, u64)>,
    recycled: Vec<Vec<u8>>,
    zxid: i64,
}

impl World {
    fn new() -> World {
        let start = LogStart {
            log_id: 99,
            segment: SegmentId(1),
            frame: FrameSeq(1),
            last_zxid: Zxid(0),
            segment_bytes: SEGMENT_BYTES,
        };
        World::with(MemoryDisk::default(), start, &[])
    }

    fn with(disk: MemoryDisk, start: LogStart, history: &[(SegmentId, Zxid)]) -> World {
        let mut writer = LogWriter::new(start);
        writer.adopt_history(history);
        let zxid = start.last_zxid.0;
        let mut world = World { disk, writer, writes: Vec::new(), recycled: Vec::new(), zxid };
        world.flush();
        world
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
        let mut world = World::new();
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
            for unused in &recovered.unused {
                disk.files.remove(&unused.0);
            }
            let start = LogStart {
                log_id: recovered.log_id.unwrap_or(99),
                segment: recovered.segments.last().map_or(SegmentId(1), |(last, _)| SegmentId(last.0 + 1)),
                frame: recovered.next_frame,
                last_zxid: recovered.last_zxid,
                segment_bytes: SEGMENT_BYTES,
            };
            world = World::with(disk, start, &recovered.segments);
        }
    }
}

/// Ten frames, all durable, over two segments.
fn filled() -> MemoryDisk {
    let mut world = World::new();
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
    let start = LogStart {
        log_id: 99,
        segment: recovered.next_segment,
        frame: recovered.next_frame,
        last_zxid: recovered.last_zxid,
        segment_bytes: SEGMENT_BYTES,
    };
    let mut world = World::with(disk, start, &recovered.segments);
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
    let mut world = World::new();
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
    let mut world = World::new();
    let flush = |world: &mut World, is_idle| {
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
