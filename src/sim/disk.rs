//! A disk that loses everything a real one may lose: of a write in flight any sectors, in any order; of a snapshot that
//! was not finished everything. What was reported as durable stays.

use crate::aligned::AlignedBuffer;
use crate::ids::{SegmentId, Zxid};
use crate::log::SegmentSource;
use crate::prng::Prng;
use std::collections::BTreeMap;
use std::io;

/// Files in memory.
#[derive(Clone, Default)]
pub struct Disk {
    pub segments: BTreeMap<SegmentId, Vec<u8>>,
    pub snapshots: BTreeMap<Zxid, Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

/// A write that is not yet durable.
pub struct Write {
    pub segment: SegmentId,
    pub offset: u64,
    pub buffer: AlignedBuffer,
    pub token: u64,
}

const SECTOR: usize = 512;
const SPARES_MAX: usize = 2;

impl Disk {
    /// A segment of zeros, or one that was used before.
    pub fn prepare(&mut self, segment: SegmentId, bytes: u64) {
        let file = self.spare.pop().filter(|file| file.len() as u64 == bytes);
        self.segments.insert(segment, file.unwrap_or_else(|| vec![0; bytes as usize]));
    }

    /// A segment is no longer needed.
    pub fn release(&mut self, segment: SegmentId) {
        if let Some(file) = self.segments.remove(&segment)
            && self.spare.len() < SPARES_MAX
        {
            self.spare.push(file);
        }
    }

    /// A write is durable.
    pub fn complete(&mut self, write: &Write) {
        let start = write.offset as usize;
        let file = self.segments.get_mut(&write.segment).expect("writes go to prepared segments");
        file[start..start + write.buffer.len()].copy_from_slice(write.buffer.as_slice());
    }

    /// The power goes while these writes are in flight.
    pub fn crash(&mut self, writes: Vec<Write>, prng: &mut Prng) {
        self.spare.clear();
        for write in writes {
            let survives = [0, 50, 90, 100][prng.below(4) as usize];
            let Some(file) = self.segments.get_mut(&write.segment) else { continue };
            for (index, sector) in write.buffer.as_slice().chunks(SECTOR).enumerate() {
                if prng.chance(survives) {
                    let start = write.offset as usize + index * SECTOR;
                    file[start..start + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

impl SegmentSource for Disk {
    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        Ok(self.segments.keys().copied().collect())
    }

    fn length(&self, segment: SegmentId) -> io::Result<u64> {
        Ok(self.segments[&segment].len() as u64)
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        into.copy_from_slice(&self.segments[&segment][start..start + into.len()]);
        Ok(())
    }

    fn name(&self, segment: SegmentId) -> String {
        format!("segment {}", segment.0)
    }
}
