//! A disk that loses everything a real one may lose: of a write in flight any sectors, in any order; of a snapshot that
//! was not finished everything but its name. What was reported as durable stays.
//!
//! A process can die alone: then what it was writing may be in the page cache, where the next process reads it, and go
//! with the power later, unless it was made durable (`sync`).

use crate::aligned::AlignedBuffer;
use crate::ids::SegmentId;
use crate::log::SegmentSource;
use crate::log::files::{LogFile, Sweep, log_file, segment_name, spare_name};
use crate::member::{RestoreSource, SnapshotFile};
use crate::prng::Prng;
use crate::tree::image::{self, Image, ImageOptions};
use crate::tree::{StoreSettings, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Files in memory.
#[derive(Clone, Default)]
pub struct Disk {
    pub segments: BTreeMap<SegmentId, Vec<u8>>,
    pub spares: BTreeMap<SegmentId, Vec<u8>>,
    /// By file, so that one zxid may have two.
    pub snapshots: BTreeMap<SnapshotFile, Vec<u8>>,
    /// Names of files that were never finished.
    pub leftovers: BTreeSet<String>,
    unsynced: Vec<Sector>,
}

/// What stands on the disk below a sector of the page cache.
#[derive(Clone)]
struct Sector {
    segment: SegmentId,
    start: usize,
    below: [u8; SECTOR],
}

/// A write that is not yet durable.
pub struct Write {
    pub segment: SegmentId,
    pub offset: u64,
    pub buffer: AlignedBuffer,
    pub token: u64,
}

const SECTOR: usize = 512;

impl Disk {
    /// A write is durable.
    pub fn complete(&mut self, write: &Write) {
        let start = write.offset as usize;
        let file = self.segments.get_mut(&write.segment).expect("writes go to prepared segments");
        file[start..start + write.buffer.len()].copy_from_slice(write.buffer.as_slice());
    }

    /// The power goes, or the process dies alone, while these writes are in flight.
    pub fn crash(&mut self, writes: Vec<Write>, is_power_gone: bool, prng: &mut Prng) {
        if is_power_gone {
            self.lose_cache(prng);
        }
        for write in writes {
            let survives = [0, 50, 90, 100][prng.below(4) as usize];
            let Some(file) = self.segments.get_mut(&write.segment) else { continue };
            for (index, sector) in write.buffer.as_slice().chunks(SECTOR).enumerate() {
                if !prng.chance(survives) {
                    continue;
                }
                let start = write.offset as usize + index * SECTOR;
                let place = &mut file[start..start + SECTOR];
                if !is_power_gone {
                    let below = (&*place).try_into().expect("a sector");
                    self.unsynced.push(Sector { segment: write.segment, start, below });
                }
                place.copy_from_slice(sector);
            }
        }
    }

    /// Some of what was never made durable is gone, newest first.
    fn lose_cache(&mut self, prng: &mut Prng) {
        let survives = [0, 50, 100][prng.below(3) as usize];
        for Sector { segment, start, below } in std::mem::take(&mut self.unsynced).into_iter().rev() {
            if let Some(file) = self.segments.get_mut(&segment)
                && !prng.chance(survives)
            {
                file[start..start + SECTOR].copy_from_slice(&below);
            }
        }
    }

    /// A start cleans up.
    pub fn sweep(&mut self, sweep: &Sweep) {
        for segment in &sweep.rename {
            let file = self.segments.remove(segment).expect("prepared segments are there");
            self.spares.insert(*segment, file);
        }
        for name in &sweep.remove {
            match log_file(name) {
                Some(LogFile::Segment(id)) => _ = self.segments.remove(&id),
                Some(LogFile::Spare(id)) => _ = self.spares.remove(&id),
                _ => _ = self.leftovers.remove(name),
            }
        }
    }

    /// Files of the log's folder and their bytes.
    pub fn log_files(&self) -> Vec<(String, u64)> {
        let bytes = |file: &Vec<u8>| file.len() as u64;
        let segments = self.segments.iter().map(|(id, file)| (segment_name(*id), bytes(file)));
        let spares = self.spares.iter().map(|(id, file)| (spare_name(*id), bytes(file)));
        let leftovers = self.leftovers.iter().map(|name| (name.clone(), 1));
        segments.chain(spares).chain(leftovers).collect()
    }
}

impl RestoreSource for Disk {
    fn snapshots(&self) -> io::Result<Vec<SnapshotFile>> {
        Ok(self.snapshots.keys().cloned().collect())
    }

    fn load(&mut self, file: &SnapshotFile, settings: &StoreSettings) -> Result<Image, String> {
        let empty = Tree::empty(settings.hash_seed, settings.rules);
        let bytes = &self.snapshots[file];
        image::read(&mut &bytes[..], empty, &ImageOptions::default()).map_err(|error| error.to_string())
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

    fn sync(&mut self, segment: SegmentId) -> io::Result<()> {
        self.unsynced.retain(|sector| sector.segment != segment);
        Ok(())
    }

    fn name(&self, segment: SegmentId) -> String {
        segment_name(segment)
    }
}
