//! The snapshot being written, and which older ones go when it is in place.
//!
//! A snapshot that the start could not read counts for nothing: as many good ones are kept as the settings ask for, and it
//! goes with those that are older than they are. Two files of one zxid, packed differently, are one snapshot.

use super::{Done, Lane, Report, ScribeOutput, ScribeSettings, Work, WorkError, work};
use crate::ids::{SessionId, Zxid};
use crate::limits::IMAGE_CHUNKS_IN_FLIGHT;
use crate::log::apache::zxid_in_name;
use crate::tree::Tree;
use crate::tree::chunked::Shared;
use crate::tree::image_writer::ImageWriter;
use crate::tree::packer::Packer;
use std::collections::{BTreeSet, VecDeque};

/// Snapshots.
pub(super) struct Images {
    settings: ScribeSettings,
    /// Names of files that cannot be read.
    unreadable: BTreeSet<String>,
    running: Option<Running>,
}

/// The one on its way.
struct Running {
    zxid: Zxid,
    name: String,
    keep: Option<usize>,
    stage: Stage,
    /// Works that have not ended.
    in_flight: usize,
}

enum Stage {
    Creating(Box<Frozen>),
    Writing(Box<Frozen>),
    Finishing,
    /// It failed: nothing more is written, and what was begun goes.
    Abandoning {
        what: String,
        is_removing: bool,
    },
    /// It is in place, with so many bytes.
    Listing {
        bytes: u64,
    },
    Removing {
        bytes: u64,
        folder_bytes: u64,
        left: VecDeque<(String, u64)>,
    },
}

/// The point in time and how far it is written.
struct Frozen {
    tree: Tree<Shared>,
    writer: ImageWriter,
    packer: Packer,
    is_more: bool,
}

impl Images {
    pub fn new(settings: ScribeSettings, unreadable: Vec<String>) -> Images {
        Images { settings, unreadable: unreadable.into_iter().collect(), running: None }
    }

    /// The one on its way.
    pub fn snapshot(&self) -> Option<Zxid> {
        self.running.as_ref().map(|running| running.zxid)
    }

    pub fn begin(
        &mut self,
        tree: Tree<Shared>,
        digest: Option<(Zxid, u64)>,
        sessions: Vec<(SessionId, i32)>,
        keep: Option<usize>,
        out: &mut Vec<ScribeOutput>,
    ) {
        assert!(self.running.is_none(), "one snapshot at a time");
        let ScribeSettings { image, compression, chunk_bytes } = self.settings;
        let zxid = tree.applied();
        let name = format!("snapshot.{zxid:x}{}", compression.extension());
        let writer = ImageWriter::new(&tree, sessions, digest, zxid, image).in_chunks_of(chunk_bytes);
        let frozen = Frozen { tree, writer, packer: Packer::new(compression), is_more: true };
        out.push(work(Lane::Snapshots, Work::Create { name: name.clone() }));
        let stage = Stage::Creating(Box::new(frozen));
        self.running = Some(Running { zxid, name, keep, stage, in_flight: 1 });
    }

    pub fn on_ended(&mut self, result: Result<Done, WorkError>, out: &mut Vec<ScribeOutput>) {
        let mut running = self.running.take().expect("only works of a snapshot end here");
        assert!(running.in_flight > 0, "a work ends once");
        running.in_flight -= 1;
        let next = match (running.stage, result) {
            (Stage::Creating(frozen) | Stage::Writing(frozen), Ok(_)) => {
                write_on(frozen, &mut running.in_flight, out)
            }
            (Stage::Creating(_) | Stage::Writing(_) | Stage::Finishing, Err(error)) => {
                abandon(error.what, false, &running.name, &mut running.in_flight, out)
            }
            (Stage::Finishing, Ok(done)) => {
                // It has taken the place of one that could not be read.
                self.unreadable.remove(&running.name);
                list(done, &mut running.in_flight, out)
            }
            (Stage::Abandoning { what, is_removing }, _) => {
                abandon(what, is_removing, &running.name, &mut running.in_flight, out)
            }
            (Stage::Listing { bytes }, Ok(Done::Listed(files))) => {
                let stage = self.choose(bytes, &files, running.keep);
                remove_next(stage, running.zxid, &mut running.in_flight, out)
            }
            (Stage::Listing { bytes }, error) => {
                let what = error.err().map(|error| error.what).unwrap_or_default();
                out.push(notice(format!("old snapshots are not removed: {what}")));
                let report = Report::SnapshotDone { zxid: running.zxid, bytes, folder_bytes: None };
                out.push(ScribeOutput::Report(report));
                None
            }
            (stage @ Stage::Removing { .. }, result) => {
                if let Err(error) = result {
                    out.push(notice(format!("cannot remove an old snapshot: {}", error.what)));
                }
                remove_next(stage, running.zxid, &mut running.in_flight, out)
            }
        };
        self.running = next.map(|stage| Running { stage, ..running });
    }

    /// Which of the folder's files go.
    fn choose(&mut self, bytes: u64, files: &[(String, u64)], keep: Option<usize>) -> Stage {
        self.unreadable.retain(|name| files.iter().any(|(found, _)| found == name));
        let left: VecDeque<(String, u64)> = match keep {
            Some(keep) => superfluous(files, &self.unreadable, keep).into(),
            None => VecDeque::new(),
        };
        let sum =
            |files: &mut dyn Iterator<Item = &(String, u64)>| files.map(|(_, bytes)| bytes).sum::<u64>();
        let folder_bytes = sum(&mut files.iter()) - sum(&mut left.iter());
        Stage::Removing { bytes, folder_bytes, left }
    }

    pub fn check(&self, applied: Zxid) {
        let Some(running) = &self.running else { return };
        assert!(running.in_flight > 0, "a snapshot on its way has work to wait for");
        match &running.stage {
            Stage::Creating(frozen) | Stage::Writing(frozen) => {
                assert!(running.in_flight <= IMAGE_CHUNKS_IN_FLIGHT, "no more pieces than allowed");
                assert!(frozen.tree.applied() == running.zxid, "the frozen tree stays where it is");
                assert!(running.zxid <= applied, "the tree goes on from the snapshot");
            }
            Stage::Abandoning { .. } => assert!(running.in_flight <= IMAGE_CHUNKS_IN_FLIGHT),
            Stage::Finishing | Stage::Listing { .. } | Stage::Removing { .. } => {
                assert!(running.in_flight == 1, "one thing after the other");
            }
        }
    }
}

/// Makes pieces while there may be more of them on their way; the last one is followed by the end.
fn write_on(mut frozen: Box<Frozen>, in_flight: &mut usize, out: &mut Vec<ScribeOutput>) -> Option<Stage> {
    while frozen.is_more && *in_flight < IMAGE_CHUNKS_IN_FLIGHT {
        let bytes = frozen.next_piece();
        out.push(work(Lane::Snapshots, Work::Write { bytes }));
        *in_flight += 1;
    }
    if *in_flight > 0 {
        return Some(Stage::Writing(frozen));
    }
    out.push(work(Lane::Snapshots, Work::Finish));
    *in_flight += 1;
    Some(Stage::Finishing)
}

impl Frozen {
    /// Never empty: an empty one would be no work, and nothing would follow it.
    fn next_piece(&mut self) -> Vec<u8> {
        loop {
            let mut plain = Vec::new();
            self.is_more = self.writer.next_chunk(&self.tree, &mut plain);
            let bytes = self.packer.pack(plain, !self.is_more);
            if !bytes.is_empty() {
                return bytes;
            }
            assert!(self.is_more, "an image ends with something");
        }
    }
}

/// Once nothing of it is on its way any more, what was begun is removed; then the member hears.
fn abandon(
    what: String,
    is_removing: bool,
    name: &str,
    in_flight: &mut usize,
    out: &mut Vec<ScribeOutput>,
) -> Option<Stage> {
    if *in_flight > 0 {
        return Some(Stage::Abandoning { what, is_removing });
    }
    if is_removing {
        out.push(ScribeOutput::Report(Report::SnapshotFailed { what }));
        return None;
    }
    out.push(work(Lane::Snapshots, Work::Abandon { name: name.into() }));
    *in_flight += 1;
    Some(Stage::Abandoning { what, is_removing: true })
}

fn list(done: Done, in_flight: &mut usize, out: &mut Vec<ScribeOutput>) -> Option<Stage> {
    let Done::Finished { bytes } = done else { unreachable!("a snapshot that is finished has a length") };
    out.push(work(Lane::Snapshots, Work::List));
    *in_flight += 1;
    Some(Stage::Listing { bytes })
}

fn remove_next(
    mut stage: Stage,
    zxid: Zxid,
    in_flight: &mut usize,
    out: &mut Vec<ScribeOutput>,
) -> Option<Stage> {
    let Stage::Removing { bytes, folder_bytes, left } = &mut stage else { unreachable!("it has chosen") };
    match left.pop_front() {
        Some((name, _)) => {
            out.push(work(Lane::Snapshots, Work::RemoveSnapshot { name }));
            *in_flight += 1;
            Some(stage)
        }
        None => {
            let folder_bytes = Some(*folder_bytes);
            out.push(ScribeOutput::Report(Report::SnapshotDone { zxid, bytes: *bytes, folder_bytes }));
            None
        }
    }
}

/// Snapshots older than the oldest of the newest `keep` good ones, and at least one good one is kept.
fn superfluous(files: &[(String, u64)], unreadable: &BTreeSet<String>, keep: usize) -> Vec<(String, u64)> {
    let zxid = |name: &str| zxid_in_name(name, "snapshot");
    let good = files.iter().filter(|(name, _)| !unreadable.contains(name));
    let good: BTreeSet<Zxid> = good.filter_map(|(name, _)| zxid(name)).collect();
    let Some(oldest) = good.into_iter().rev().nth(keep.max(1) - 1) else { return Vec::new() };
    files.iter().filter(|(name, _)| zxid(name).is_some_and(|zxid| zxid < oldest)).cloned().collect()
}

fn notice(text: String) -> ScribeOutput {
    ScribeOutput::Notice { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(files: &[&str], unreadable: &[&str], keep: usize) -> Vec<String> {
        let files: Vec<(String, u64)> = files.iter().map(|name| ((*name).into(), 1)).collect();
        let unreadable = unreadable.iter().map(|name| (*name).into()).collect();
        superfluous(&files, &unreadable, keep).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn as_many_good_snapshots_are_kept_as_asked_for() {
        let files = ["snapshot.1", "snapshot.2", "snapshot.2.gz", "snapshot.3", "snapshot.a", "identity"];
        assert_eq!(gone(&files, &[], 3), ["snapshot.1"]);
        assert_eq!(gone(&files, &["snapshot.3"], 3), [""; 0]);
        assert_eq!(gone(&files, &["snapshot.3"], 2), ["snapshot.1"]);
        assert_eq!(gone(&files, &["snapshot.2"], 3), ["snapshot.1"], "its other file is good");
        assert_eq!(gone(&files, &["snapshot.2", "snapshot.1"], 1).len(), 4);
        assert_eq!(gone(&files, &[], 0).len(), 4, "one is kept whatever is asked for");
        assert_eq!(gone(&files, &[], 5), [""; 0]);
        assert_eq!(gone(&["snapshot.1"], &["snapshot.1"], 1), [""; 0]);
    }
}
