//! The scribe's work on the disk: it takes as long as the seed wants, fails, or is cut off half done. Every snapshot that is
//! put in place must be the state at its zxid, whatever was committed while it was written.

use super::disk::Disk;
use super::world::World;
use crate::ids::{SegmentId, Zxid};
use crate::log::apache::zxid_in_name;
use crate::log::files::segment_name;
use crate::member::{MemberInput, SnapshotFile};
use crate::prng::Prng;
use crate::scribe::{Done, Lane, Report, ScribeInput, ScribeOutput, Work, WorkError};
use crate::tree::image::{self, ImageOptions};
use crate::tree::{Store, StoreSettings, Tree};
use std::collections::VecDeque;

/// Of one process.
#[derive(Default)]
pub struct Files {
    snapshots: VecDeque<Work>,
    segments: VecDeque<Work>,
    /// The snapshot that was begun.
    unfinished: Option<(String, Vec<u8>)>,
}

impl Files {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Work> {
        match lane {
            Lane::Snapshots => &mut self.snapshots,
            Lane::Segments => &mut self.segments,
        }
    }
}

impl World {
    /// The scribe gets some time, or its disk.
    pub fn scribe(&mut self) -> Result<(), String> {
        for _ in 0..1 + self.prng.below(4) {
            match self.prng.below(2) {
                0 => self.follow()?,
                _ => {
                    let is_full = self.prng.chance(2);
                    self.finish_work(Lane::Snapshots, is_full)?;
                }
            }
        }
        Ok(())
    }

    /// The scribe gets all the time it needs.
    pub fn scribe_all(&mut self) -> Result<(), String> {
        while let Some(process) = &self.process
            && !(process.orders.is_empty() && process.scribe.is_idle())
        {
            self.follow()?;
            self.finish_work(Lane::Snapshots, false)?;
            self.finish_work(Lane::Segments, false)?;
        }
        Ok(())
    }

    /// It takes the next batch or snapshot.
    fn follow(&mut self) -> Result<(), String> {
        let order = self.process.as_mut().and_then(|process| process.orders.pop_front());
        order.map_or(Ok(()), |order| self.order(order))
    }

    /// The scribe takes an input.
    pub fn order(&mut self, input: ScribeInput) -> Result<(), String> {
        let process = self.process.as_mut().expect("a process runs");
        let mut out = Vec::new();
        process.scribe.step(input, &mut out);
        let mut reports = Vec::new();
        for output in out {
            match output {
                ScribeOutput::Work { lane, work } => process.files.lane(lane).push_back(work),
                ScribeOutput::Report(report) => reports.push(report),
                ScribeOutput::Notice { text } => self.trace.line(format_args!("scribe: {text}")),
            }
        }
        reports.into_iter().try_for_each(|report| self.report(report))
    }

    fn report(&mut self, report: Report) -> Result<(), String> {
        if self.process.is_none() {
            return Ok(());
        }
        self.trace.line(format_args!("scribe: {report:?}"));
        self.with_member(match report {
            Report::SegmentReady { segment, bytes } => MemberInput::SegmentReady { segment, bytes },
            Report::SegmentFailed { segment, no_space, what } => {
                MemberInput::SegmentFailed { segment, no_space, what }
            }
            Report::SnapshotDone { zxid, bytes, .. } => MemberInput::SnapshotDone { zxid, bytes },
            Report::SnapshotFailed { what } => MemberInput::SnapshotFailed { what },
        })?;
        self.check_snapshots()
    }

    /// The oldest work of a lane ends, or cannot be done.
    pub fn finish_work(&mut self, lane: Lane, is_full: bool) -> Result<(), String> {
        // A snapshot needs less room than a segment; sometimes there is not even that.
        let is_too_full = lane == Lane::Segments || self.prng.chance(30);
        let is_full = is_full || self.now.mono_ms < self.full_until_ms && is_too_full;
        let World { process, disk, prng, settings, may_refuse, .. } = self;
        let Some(process) = process else { return Ok(()) };
        let Some(work) = process.files.lane(lane).pop_front() else { return Ok(()) };
        let grows =
            matches!(work, Work::Create { .. } | Work::Write { .. } | Work::Finish | Work::Zeros { .. });
        let is_unlucky = matches!(work, Work::Keep { .. } | Work::Reuse { .. }) && prng.chance(3);
        let result = if is_full && grows {
            *may_refuse |= matches!(work, Work::Zeros { .. });
            Err(WorkError { no_space: true, what: "no space left".into() })
        } else if is_unlucky {
            Err(WorkError { no_space: false, what: "EIO".into() })
        } else {
            carry_out(work, disk, &mut process.files.unfinished, settings.store(), prng)?
        };
        self.order(ScribeInput::Ended { lane, result })
    }

    /// What a process that dies leaves half done.
    pub fn leave_behind(&mut self, files: &mut Files) {
        let World { disk, prng, settings, .. } = self;
        let name = files.unfinished.as_ref().map(|(name, _)| format!("{name}.tmp"));
        let in_flight = [files.snapshots.pop_front(), files.segments.pop_front()];
        for work in in_flight.into_iter().flatten() {
            if let Work::Zeros { segment, .. } = &work
                && prng.chance(30)
            {
                disk.leftovers.insert(format!("{}.tmp", segment_name(*segment)));
            } else if prng.chance(50) {
                // It was done, and nobody was told.
                let result = carry_out(work, disk, &mut files.unfinished, settings.store(), prng);
                _ = result.map(|_| ());
            }
        }
        if let Some(name) = name
            && files.unfinished.is_some()
            && prng.chance(50)
        {
            disk.leftovers.insert(name);
        }
    }
}

fn carry_out(
    work: Work,
    disk: &mut Disk,
    unfinished: &mut Option<(String, Vec<u8>)>,
    settings: StoreSettings,
    prng: &mut Prng,
) -> Result<Result<Done, WorkError>, String> {
    match work {
        Work::Create { name } => *unfinished = Some((name, Vec::new())),
        Work::Write { bytes } => match unfinished {
            Some((_, file)) => file.extend(bytes),
            None => return Ok(Err(WorkError { no_space: false, what: "it was given up".into() })),
        },
        Work::Finish => {
            let (name, file) = unfinished.take().expect("it was begun, and nothing failed");
            let bytes = file.len() as u64;
            put_in_place(disk, &name, file, settings, prng)?;
            return Ok(Ok(Done::Finished { bytes }));
        }
        Work::Abandon { .. } => *unfinished = None,
        Work::List => {
            let files = disk.snapshots.iter().map(|(file, bytes)| (file.name.clone(), bytes.len() as u64));
            return Ok(Ok(Done::Listed(files.collect())));
        }
        Work::RemoveSnapshot { name } => disk.snapshots.retain(|file, _| file.name != name),
        Work::Zeros { segment, bytes } => {
            disk.segments.insert(segment, vec![0; bytes as usize]);
        }
        Work::Reuse { spare, segment } => {
            let file = disk.spares.remove(&spare).expect("spares that are known are there");
            disk.segments.insert(segment, file);
        }
        Work::Keep { segment } => return Ok(Ok(keep(disk, segment))),
        Work::RemoveSpare { spare } => _ = disk.spares.remove(&spare),
        Work::RemoveSegment { segment } => _ = disk.segments.remove(&segment),
    }
    Ok(Ok(Done::Done))
}

fn keep(disk: &mut Disk, segment: SegmentId) -> Done {
    let file = disk.segments.remove(&segment).expect("segments that are known are there");
    let bytes = file.len() as u64;
    disk.spares.insert(segment, file);
    Done::Kept { bytes }
}

fn put_in_place(
    disk: &mut Disk,
    name: &str,
    bytes: Vec<u8>,
    settings: StoreSettings,
    prng: &mut Prng,
) -> Result<(), String> {
    let zxid = zxid_in_name(name, "snapshot").ok_or_else(|| format!("{name} is no snapshot's name"))?;
    let is_right = is_state_at(zxid, &bytes, settings);
    is_right.map_err(|what| format!("{name} is not the state at its zxid: {what}"))?;
    if prng.chance(10) {
        // Somebody has packed it.
        disk.snapshots.insert(SnapshotFile { zxid, name: format!("{name}.gz") }, bytes.clone());
    }
    disk.snapshots.insert(SnapshotFile { zxid, name: name.into() }, bytes);
    Ok(())
}

fn is_state_at(zxid: Zxid, mut bytes: &[u8], settings: StoreSettings) -> Result<(), String> {
    let empty = Tree::empty(settings.hash_seed, settings.rules);
    let image =
        image::read(&mut bytes, empty, &ImageOptions::default()).map_err(|error| error.to_string())?;
    let digest = Store::from_tree(settings, image.tree).digest().map(|digest| (zxid, digest));
    match digest == image.digest {
        true => Ok(()),
        false => Err(format!("the digest is {digest:?}, it was {:?}", image.digest)),
    }
}
