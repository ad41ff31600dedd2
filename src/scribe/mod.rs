//! The scribe: everything that is done in the background, off the hot cores. It follows what is committed with a tree of
//! its own, writes snapshots of it, prepares log segments, keeps released ones to be used again, and removes what is no
//! longer needed. A deterministic state machine: which files there should be is decided here; a driver carries out the
//! [`Work`] and tells how it ended.
//!
//! Work is in two lanes, so that a segment never waits behind a snapshot: the works of a lane are carried out one after the
//! other, in order. A snapshot is a point in time between two batches: the tree is frozen by chunks, which costs next to
//! nothing, and goes on following while the image is written (`tree/chunked.rs`). However long that takes, nobody waits.
//!
//! Invariants, asserted after every step (`check`): at most one snapshot is on its way; the frozen tree is at its zxid, the
//! tree never behind it; a lane without work has nothing left to do; there are at most `LOG_SPARES_MAX` spares.
//!
//! It does not decide when a snapshot is due and which segments are needed: the member does.

mod images;
mod segments;
#[cfg(test)]
mod tests;

use crate::ids::{SegmentId, SessionId, Zxid};
use crate::mesh::Batch;
use crate::tree::Tree;
use crate::tree::chunked::Shared;
use crate::tree::image::{Compression, ImageOptions};
use images::Images;
use segments::Segments;
use std::sync::Arc;

/// The scribe's state.
pub struct Scribe {
    /// At the committed state, without an index.
    tree: Tree<Shared>,
    images: Images,
    segments: Segments,
}

/// How snapshots are written.
#[derive(Clone, Copy, Debug)]
pub struct ScribeSettings {
    pub image: ImageOptions,
    pub compression: Compression,
    /// What is written at once, about.
    pub chunk_bytes: usize,
}

/// What the start found in the folders.
#[derive(Clone, Default, Debug)]
pub struct Found {
    /// Files to be used for segments to come, with their bytes.
    pub spares: Vec<(SegmentId, u64)>,
    /// Names of snapshots that cannot be read.
    pub unreadable: Vec<String>,
}

/// Everything that can happen to the scribe.
pub enum ScribeInput {
    /// What was committed next.
    Batch(Arc<Batch>),
    /// Write a snapshot of what was committed so far, which is up to `zxid`. Afterwards keep as many as `keep` says and
    /// remove older ones; None keeps all. One at a time.
    #[allow(missing_docs)]
    Snapshot { zxid: Zxid, digest: Option<(Zxid, u64)>, sessions: Vec<(SessionId, i32)>, keep: Option<usize> },
    /// Space is needed: only snapshots from this one on are kept.
    #[allow(missing_docs)]
    RemoveSnapshots { before: Zxid },
    /// Have a segment ready.
    #[allow(missing_docs)]
    Prepare { segment: SegmentId, bytes: u64 },
    /// A segment is no longer needed.
    #[allow(missing_docs)]
    Release { segment: SegmentId },
    /// The lane's oldest work ended.
    #[allow(missing_docs)]
    Ended { lane: Lane, result: Result<Done, WorkError> },
}

/// Everything the scribe wants of its driver.
#[derive(Debug)]
pub enum ScribeOutput {
    /// Carry this out, behind the lane's other works.
    #[allow(missing_docs)]
    Work { lane: Lane, work: Work },
    /// Tell the member.
    Report(Report),
    /// Worth a line in the operator's log.
    #[allow(missing_docs)]
    Notice { text: String },
}

/// What is carried out one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// The snapshot being written.
    Snapshots,
    /// Segments, and snapshots that must go for the sake of space.
    Segments,
}

/// Work on files, each with what it ends in. Names are those of files in the snapshots' folder.
#[derive(PartialEq, Eq, Debug)]
pub enum Work {
    /// Begin to write a snapshot, under another name until it is whole. `Done`.
    #[allow(missing_docs)]
    Create { name: String },
    /// Append to it. `Done`.
    #[allow(missing_docs)]
    Write { bytes: Vec<u8> },
    /// Make it durable, then put it in place. `Finished`.
    Finish,
    /// Remove the snapshot that was begun. `Done`.
    #[allow(missing_docs)]
    Abandon { name: String },
    /// Find the snapshots' folder's files with their bytes. `Listed`.
    List,
    /// Remove a snapshot. `Done`, also if there is none.
    #[allow(missing_docs)]
    RemoveSnapshot { name: String },
    /// Create a segment of zeros, durable. `Done`.
    #[allow(missing_docs)]
    Zeros { segment: SegmentId, bytes: u64 },
    /// Use a spare file for a segment, durably. `Done`.
    #[allow(missing_docs)]
    Reuse { spare: SegmentId, segment: SegmentId },
    /// Make a segment's file a spare one. `Kept`.
    #[allow(missing_docs)]
    Keep { segment: SegmentId },
    /// Remove a spare file. `Done`, also if there is none.
    #[allow(missing_docs)]
    RemoveSpare { spare: SegmentId },
    /// Remove a segment's file. `Done`, also if there is none.
    #[allow(missing_docs)]
    RemoveSegment { segment: SegmentId },
}

/// How work ended well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    Done,
    /// The snapshot has so many bytes.
    #[allow(missing_docs)]
    Finished {
        bytes: u64,
    },
    /// Names and bytes of all files.
    Listed(Vec<(String, u64)>),
    /// The spare file has so many bytes.
    #[allow(missing_docs)]
    Kept {
        bytes: u64,
    },
}

/// How work ended otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkError {
    /// The disk, or what may be used of it, is full.
    pub no_space: bool,
    /// With the file it is about.
    pub what: String,
}

/// What the scribe tells the member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    #[allow(missing_docs)]
    SegmentReady { segment: SegmentId, bytes: u64 },
    #[allow(missing_docs)]
    SegmentFailed { segment: SegmentId, no_space: bool, what: String },
    /// `folder_bytes`: of all files in the snapshots' folder, if that could be found out.
    #[allow(missing_docs)]
    SnapshotDone { zxid: Zxid, bytes: u64, folder_bytes: Option<u64> },
    #[allow(missing_docs)]
    SnapshotFailed { what: String },
}

impl Scribe {
    /// One that follows from this tree on.
    pub fn new(settings: ScribeSettings, tree: Tree<Shared>, found: Found) -> Scribe {
        Scribe {
            tree,
            images: Images::new(settings, found.unreadable),
            segments: Segments::new(found.spares),
        }
    }

    /// Takes one input; what it wants is appended to `out`.
    pub fn step(&mut self, input: ScribeInput, out: &mut Vec<ScribeOutput>) {
        match input {
            ScribeInput::Batch(batch) => self.on_batch(&batch),
            ScribeInput::Snapshot { zxid, digest, sessions, keep } => {
                assert!(self.tree.applied() == zxid, "the batches up to the snapshot came before it");
                self.images.begin(self.tree.freeze(), digest, sessions, keep, out);
            }
            ScribeInput::RemoveSnapshots { before } => self.segments.remove_snapshots(before, out),
            ScribeInput::Prepare { segment, bytes } => self.segments.prepare(segment, bytes, out),
            ScribeInput::Release { segment } => self.segments.release(segment, out),
            ScribeInput::Ended { lane: Lane::Snapshots, result } => self.images.on_ended(result, out),
            ScribeInput::Ended { lane: Lane::Segments, result } => self.segments.on_ended(result, out),
        }
        self.check();
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.images.snapshot().is_none() && self.segments.is_idle()
    }

    /// The snapshot that is being written, until it is in place.
    pub fn snapshot(&self) -> Option<Zxid> {
        self.images.snapshot()
    }

    /// Files that are kept to be used again.
    pub fn spares(&self) -> impl Iterator<Item = SegmentId> {
        self.segments.spares()
    }

    fn on_batch(&mut self, batch: &Batch) {
        self.tree.look_ahead_of(batch.effects());
        for committed in &batch.txns {
            assert!(committed.zxid > self.tree.applied(), "batches come in zxid order");
            committed.effects.iter().for_each(|effect| self.tree.install(effect));
            self.tree.set_applied(committed.zxid);
        }
    }

    fn check(&self) {
        self.images.check(self.tree.applied());
        self.segments.check();
    }
}

/// Something of a lane.
fn work(lane: Lane, work: Work) -> ScribeOutput {
    ScribeOutput::Work { lane, work }
}
