//! The scribe's works as operations on files, over two small traits: a [`Store`] of files and a [`Sink`] for the bytes of one.
//! Both drivers carry out the same function; under the threads it never waits but in the calls themselves.
//!
//! A file counts only under its final name: its bytes, its length and then the folder's entry are durable in this order.

use crate::ids::SegmentId;
use crate::io::disk::{open_segment, temporary};
use crate::log::files::{segment_name, spare_name};
use crate::scribe::{Done, Lane, Work, WorkError};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where the scribe's files are.
pub(super) trait Store {
    /// The bytes of a new file.
    type Sink: Sink;
    /// Begins a file that comes to this name when it is whole.
    async fn create(&self, path: &Path) -> io::Result<Self::Sink>;
    /// A file of so many written zeros, durable.
    async fn zeros(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Another name for a file.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the entries of a folder durable.
    async fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    async fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub(super) trait Sink: Sized {
    /// Appends.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Durable and under its name; its length. Whoever drops it before that leaves at most a file with `.tmp` behind it.
    async fn finish(self) -> io::Result<u64>;
}

/// The end of a work.
pub(super) struct Ended {
    pub lane: Lane,
    pub result: Result<Done, WorkError>,
    /// A prepared segment, open for the log: core 0 opens no file, so it cannot lack a descriptor for one.
    pub opened: Option<(SegmentId, OwnedFd)>,
}

/// Carries out the works of one lane.
pub(super) struct Worker<S: Store> {
    pub lane: Lane,
    pub store: S,
    /// Of the snapshots.
    pub data: PathBuf,
    /// Of the segments.
    pub log: PathBuf,
    /// Segments are opened past the page cache.
    pub direct: bool,
    /// The snapshot that was begun.
    pub sink: Option<S::Sink>,
}

impl<S: Store> Worker<S> {
    /// Carries out one work.
    pub async fn carry_out(&mut self, work: Work) -> Ended {
        let (path, prepared) = self.subject(&work);
        let result = self.try_carry_out(work, &path).await;
        let opened = match (prepared, &result) {
            (Some(segment), Ok(_)) => Some(open_segment(&path, self.direct).map(|fd| (segment, fd))),
            _ => None,
        };
        let (result, opened) = match opened.transpose() {
            Ok(opened) => (result, opened),
            Err(error) => (Err(error), None),
        };
        let what = |error: io::Error| WorkError {
            no_space: is_no_space(&error),
            what: format!("{}: {error}", path.display()),
        };
        Ended { lane: self.lane, result: result.map_err(what), opened }
    }

    /// The file that a work is about, and the segment that it prepares.
    fn subject(&self, work: &Work) -> (PathBuf, Option<SegmentId>) {
        let segment = |segment: &SegmentId| self.log.join(segment_name(*segment));
        match work {
            Work::Create { name } | Work::Abandon { name } | Work::RemoveSnapshot { name } => {
                (self.data.join(name), None)
            }
            Work::Write { .. } | Work::Finish | Work::List => (self.data.clone(), None),
            Work::Zeros { segment: id, .. } | Work::Reuse { segment: id, .. } => (segment(id), Some(*id)),
            Work::Keep { segment: id } | Work::RemoveSegment { segment: id } => (segment(id), None),
            Work::RemoveSpare { spare } => (self.log.join(spare_name(*spare)), None),
        }
    }

    async fn try_carry_out(&mut self, work: Work, path: &Path) -> io::Result<Done> {
        match work {
            Work::Create { .. } => self.sink = Some(self.store.create(path).await?),
            Work::Write { bytes } => self.write(&bytes).await?,
            Work::Finish => {
                let sink = self.sink.take().ok_or_else(given_up)?;
                return Ok(Done::Finished { bytes: sink.finish().await? });
            }
            Work::Abandon { .. } => {
                self.sink = None;
                self.store.remove(&temporary(path)).await?;
            }
            Work::List => return list(path).map(Done::Listed),
            Work::Zeros { bytes, .. } => self.store.zeros(path, bytes).await?,
            Work::Reuse { spare, .. } => {
                self.store.rename(&self.log.join(spare_name(spare)), path).await?;
                self.store.sync_folder(&self.log).await?;
            }
            Work::Keep { segment } => {
                let bytes = fs::metadata(path)?.len();
                self.store.rename(path, &self.log.join(spare_name(segment))).await?;
                return Ok(Done::Kept { bytes });
            }
            Work::RemoveSnapshot { .. } | Work::RemoveSpare { .. } | Work::RemoveSegment { .. } => {
                self.store.remove(path).await?;
            }
        }
        Ok(Done::Done)
    }

    /// After an error nothing more is written to the file.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sink = self.sink.as_mut().ok_or_else(given_up)?;
        let written = sink.write(bytes).await;
        if written.is_err() {
            self.sink = None;
        }
        written
    }
}

fn given_up() -> io::Error {
    io::Error::other("it was given up before")
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Names and bytes of a folder's files.
fn list(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            files.push((name, entry.metadata().map_or(0, |metadata| metadata.len())));
        }
    }
    Ok(files)
}

/// What is not there is removed.
pub(super) fn if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
