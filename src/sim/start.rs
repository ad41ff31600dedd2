//! The start of a process, as production does it: `member::restore`, then the sweep of the log's folder. What a crash
//! leaves behind, and what damages files, is drawn here.

use super::disk::Disk;
use super::process::Process;
use super::world::World;
use crate::ids::{SegmentId, SessionId, Zxid};
use crate::log::files::sweep;
use crate::log::{plan, read_headers, recover};
use crate::member::{MemberInput, OnMismatch, Restored, restore};
use crate::scribe::Found;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Recovers from the disk and starts a process.
    pub fn start(&mut self) -> Result<(), String> {
        while self.prng.chance(15) {
            self.fail_to_start()?;
        }
        let restored = self.restore()?;
        self.learn_all(&restored)?;
        let last = restored.recovered.last_zxid;
        self.trace.line(format_args!(
            "start: {:?}, {} transactions, last {last}",
            restored.snapshot, restored.recovered.txns
        ));
        if last.0 < self.acknowledged || last.0 != self.model.zxid {
            return Err(format!(
                "recovered up to {last}; {:#x} was acknowledged, {:#x} committed",
                self.acknowledged, self.model.zxid
            ));
        }
        self.compare("the recovered tree", restored.store().tree())?;
        let sessions: &BTreeMap<SessionId, i32> = restored.sessions();
        if *sessions != self.model.sessions {
            return Err(format!("recovered sessions {sessions:?}, the model has {:?}", self.model.sessions));
        }
        self.heard = sessions.keys().map(|session| (*session, vec![self.now.mono_ms])).collect();
        let found = self.sweep(&restored);
        let log = restored.recovered.log_start(
            self.settings.log_id,
            self.prng.next_u64() as u32,
            self.settings.segment_bytes,
        );
        self.process = Some(Process::new(&self.settings, restored.into_state(log), found));
        self.check_files()?;
        self.with_member(MemberInput::Start)
    }

    /// Reads the disk.
    pub fn restore(&mut self) -> Result<Restored, String> {
        restore_from(&mut self.disk, self.settings.store())
    }

    /// Everything that the log has after the snapshot and the model does not know yet was durable, but nobody was told.
    fn learn_all(&mut self, restored: &Restored) -> Result<(), String> {
        let begin = restored.snapshot.as_ref().map_or(Zxid::ZERO, |file| file.zxid);
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let mut keep = |entry: &[u8]| {
            entries.push(entry.to_vec());
            Ok(())
        };
        recover(&mut self.disk, begin, &mut keep).map_err(|error| error.to_string())?;
        entries.iter().try_for_each(|entry| self.learn(entry))
    }

    /// Renames and removes as the start decides; tells what the scribe should know.
    fn sweep(&mut self, restored: &Restored) -> Found {
        let prepared = &restored.recovered.prepared;
        let swept = sweep(&self.disk.log_files(), prepared, self.settings.segment_bytes);
        self.disk.sweep(&swept);
        self.disk.leftovers.retain(|name| !name.starts_with("snapshot."));
        let spares = swept.spares.iter().map(|spare| (*spare, self.settings.segment_bytes));
        let unreadable = restored.unreadable.iter().map(|file| file.name.clone());
        Found { spares: spares.collect(), unreadable: unreadable.collect() }
    }

    /// A start that dies before anybody is served: with the power, or alone.
    fn fail_to_start(&mut self) -> Result<(), String> {
        self.trace.line(format_args!("a start dies"));
        let restored = self.restore()?;
        if self.prng.chance(50) {
            self.sweep(&restored);
        }
        let is_power_gone = self.prng.chance(50);
        self.disk.crash(Vec::new(), is_power_gone, &mut self.prng);
        Ok(())
    }

    /// The files on the disk are those that the process knows.
    pub fn check_files(&self) -> Result<(), String> {
        let process = self.process.as_ref().ok_or("no process")?;
        let known: BTreeSet<SegmentId> = process.member.log_segments().collect();
        let there: BTreeSet<SegmentId> = self.disk.segments.keys().copied().collect();
        if known != there {
            return Err(format!("segments on the disk: {there:?}; known: {known:?}"));
        }
        let known: BTreeSet<SegmentId> = process.scribe.spares().collect();
        let there: BTreeSet<SegmentId> = self.disk.spares.keys().copied().collect();
        if known != there {
            return Err(format!("spares on the disk: {there:?}; known: {known:?}"));
        }
        self.check_snapshots()?;
        match self.disk.leftovers.first() {
            Some(name) => Err(format!("{name} is left behind")),
            None => Ok(()),
        }
    }

    /// Those that the member relies on are there.
    pub fn check_snapshots(&self) -> Result<(), String> {
        let Some(process) = &self.process else { return Ok(()) };
        let there: BTreeSet<Zxid> = self.disk.snapshots.keys().map(|file| file.zxid).collect();
        if let Some(gone) = process.member.snapshots_on_disk().find(|zxid| !there.contains(zxid)) {
            return Err(format!(
                "the snapshot at {gone}, which the member relies on, is not there: {there:?}"
            ));
        }
        Ok(())
    }

    /// A disk that loses what it had: the newest snapshot, as long as another one can stand in, or a byte of a segment
    /// that snapshots cover. The next start must not mind.
    pub fn damage_covered(&mut self) -> Result<(), String> {
        let good: Vec<_> =
            self.disk.snapshots.keys().filter(|file| !self.bad_snapshots.contains(*file)).cloned().collect();
        let Some(newest) = good.last() else { return Ok(()) };
        // In one world snapshots go, in the other segments: both at once is a loss.
        if self.settings.loses_snapshots {
            if good.len() == 1 {
                return Ok(());
            }
            self.trace.line(format_args!("{} becomes unreadable", newest.name));
            let bytes = self.disk.snapshots.get_mut(newest).expect("it was listed");
            let length = bytes.len() as u64;
            match self.prng.below(2) {
                0 => bytes.truncate(self.prng.below(length) as usize),
                _ => bytes[self.prng.below(length) as usize] ^= 1 << self.prng.below(8),
            }
            self.bad_snapshots.insert(newest.clone());
            return Ok(());
        }
        let covered = self.covered(newest.zxid)?;
        if covered.is_empty() {
            return Ok(());
        }
        let segment = covered[self.prng.below(covered.len() as u64) as usize];
        let file = self.disk.segments.get_mut(&segment).expect("it was listed");
        let (at, flip) = (self.prng.below(file.len() as u64) as usize, 1 << self.prng.below(8));
        file[at] ^= flip;
        self.trace.line(format_args!("segment {}: byte {at} is flipped by {flip:#x}", segment.0));
        Ok(())
    }

    /// Segments that the snapshot leaves unnecessary.
    pub fn covered(&mut self, snapshot: Zxid) -> Result<Vec<SegmentId>, String> {
        let files = read_headers(&mut self.disk).map_err(|error| error.to_string())?;
        let plan = plan(&self.disk, files, snapshot).map_err(|error| error.to_string())?;
        let first = plan.needed().next();
        let older = |id: &SegmentId| first.is_some_and(|first| *id < first);
        Ok(self.disk.segments.keys().copied().filter(older).collect())
    }
}

/// Reads a disk as a start does.
pub fn restore_from(disk: &mut Disk, settings: crate::tree::StoreSettings) -> Result<Restored, String> {
    restore(disk, settings, OnMismatch::Refuse, &mut |_| {})
}
