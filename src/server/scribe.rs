//! The scribe: a thread off the hot cores with a tree of its own. It writes snapshots, prepares log segments, and
//! removes what is no longer needed. It follows the committed batches when it has time; a snapshot is taken between
//! two batches, so it is a point in time without anybody waiting for it.

use super::core::CoreMessage;
use super::snapshots::{self, Snapshot};
use super::{ServerOptions, boot};
use crate::ids::{SegmentId, SessionId, Zxid};
use crate::io::disk::{create_zeros, sync_folder};
use crate::io::queue::Sender;
use crate::limits::LOG_SPARES_MAX;
use crate::log::files::spare_name;
use crate::mesh::Batch;
use crate::tree::Tree;
use crate::tree::chunked::Shared;
use crate::tree::image::{Compression, ImageOptions};
use crossbeam::queue::ArrayQueue;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

/// What the scribe tells core 0.
pub enum Report {
    SegmentReady { segment: SegmentId, bytes: u64 },
    SegmentFailed { segment: SegmentId, no_space: bool, what: String },
    SnapshotDone { zxid: Zxid, bytes: u64, folder_bytes: u64 },
    SnapshotFailed { what: String },
}

enum Order {
    Batch(Arc<Batch>),
    Snapshot { zxid: Zxid, digest: Option<(Zxid, u64)>, sessions: Vec<(SessionId, i32)>, keep: Option<usize> },
    RemoveSnapshots { before: Zxid },
    Prepare { segment: SegmentId, bytes: u64 },
    Release { segment: SegmentId },
}

/// Core 0's end.
pub struct Handle {
    /// Batches and snapshots, in order.
    data: Arc<ArrayQueue<Order>>,
    /// Segments: never behind a snapshot.
    files: Arc<ArrayQueue<Order>>,
    overflow: VecDeque<Order>,
    data_thread: Thread,
    files_thread: Thread,
    /// Transactions queued since the scribe was last woken.
    unseen: usize,
}

/// Orders that go to the scribe before core 0 keeps the next ones itself.
const ORDERS_MAX: usize = 4096;
/// Orders core 0 keeps before the member takes no further requests: while the scribe writes a snapshot it follows no
/// batches, and what waits for it is memory.
const OVERFLOW_MAX: usize = 64 * 1024;
/// The scribe is woken after so many transactions; before, it looks by itself now and then. What waits for it holds
/// memory and leaves the cache, and a wake-up costs a system call.
const WAKE_AFTER: usize = 512;
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Handle {
    /// A committed batch.
    pub fn commit(&mut self, batch: &Arc<Batch>) {
        self.push(Order::Batch(Arc::clone(batch)));
        self.unseen += batch.txns.len();
        if self.unseen >= WAKE_AFTER {
            self.unseen = 0;
            self.data_thread.unpark();
        }
    }

    /// True while it is so far behind that nothing should be added.
    pub fn is_behind(&self) -> bool {
        self.overflow.len() >= OVERFLOW_MAX
    }

    /// Write a snapshot of everything committed so far.
    pub fn snapshot(
        &mut self,
        zxid: Zxid,
        digest: Option<(Zxid, u64)>,
        sessions: Vec<(SessionId, i32)>,
        keep: Option<usize>,
    ) {
        self.push(Order::Snapshot { zxid, digest, sessions, keep });
        self.data_thread.unpark();
    }

    /// Space is needed: only snapshots from this one on are kept.
    pub fn remove_snapshots(&mut self, before: Zxid) {
        self.push_file(Order::RemoveSnapshots { before });
    }

    /// Have a segment ready.
    pub fn prepare(&mut self, segment: SegmentId, bytes: u64) {
        self.push_file(Order::Prepare { segment, bytes });
    }

    /// A segment is no longer needed.
    pub fn release(&mut self, segment: SegmentId) {
        self.push_file(Order::Release { segment });
    }

    fn push_file(&mut self, order: Order) {
        assert!(self.files.push(order).is_ok(), "few segment orders are open at a time");
        self.files_thread.unpark();
    }

    fn push(&mut self, order: Order) {
        self.overflow.push_back(order);
        self.catch_up();
    }

    /// Hands over what the scribe had no room for. True if something is left.
    pub fn catch_up(&mut self) -> bool {
        while let Some(order) = self.overflow.pop_front() {
            if let Err(order) = self.data.push(order) {
                self.overflow.push_front(order);
                self.data_thread.unpark();
                return true;
            }
        }
        false
    }
}

/// Starts the threads; they end with the process.
pub fn start(
    options: &ServerOptions,
    folders: &boot::Folders,
    booted: &boot::Booted,
    core: Sender<CoreMessage>,
) -> Result<Handle, String> {
    let data = Arc::new(ArrayQueue::new(ORDERS_MAX));
    let files = Arc::new(ArrayQueue::new(FILE_ORDERS_MAX));
    let historian = Historian {
        folder: folders.data.clone(),
        image: options.image,
        compression: options.compression,
        tree: booted.tree().without_index(),
        core: core.clone(),
    };
    let spare = booted.spares.iter().map(|id| (folders.log.join(spare_name(*id)), options.segment_bytes()));
    let clerk =
        Clerk { folder: folders.log.clone(), snapshots: folders.data.clone(), spare: spare.collect(), core };
    let data_thread = spawn("scribe", Arc::clone(&data), historian)?;
    let files_thread = spawn("scribe-log", Arc::clone(&files), clerk)?;
    Ok(Handle { data, files, overflow: VecDeque::new(), data_thread, files_thread, unseen: 0 })
}

const FILE_ORDERS_MAX: usize = 4096;

trait Worker: Send + 'static {
    fn carry_out(&mut self, order: Order);
}

fn spawn(name: &str, queue: Arc<ArrayQueue<Order>>, mut worker: impl Worker) -> Result<Thread, String> {
    let run = move || {
        loop {
            match queue.pop() {
                Some(order) => worker.carry_out(order),
                None => std::thread::park_timeout(LOOK_EVERY),
            }
        }
    };
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    Ok(thread.map_err(|error| format!("cannot start a thread: {error}"))?.thread().clone())
}

fn report(core: &Sender<CoreMessage>, report: Report) {
    let mut message = CoreMessage::Scribe(report);
    while let Err(back) = core.send(message) {
        message = back;
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Keeps the tree and writes snapshots.
struct Historian {
    folder: PathBuf,
    image: ImageOptions,
    compression: Compression,
    tree: Tree<Shared>,
    core: Sender<CoreMessage>,
}

impl Worker for Historian {
    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Batch(batch) => {
                self.tree.look_ahead_of(batch.effects());
                for committed in &batch.txns {
                    committed.effects.iter().for_each(|effect| self.tree.install(effect));
                    self.tree.set_applied(committed.zxid);
                }
            }
            Order::Snapshot { zxid, digest, sessions, keep } => {
                assert!(self.tree.applied() == zxid, "the batches up to the snapshot came before it");
                let snapshot = Snapshot { tree: &self.tree, sessions: &sessions, digest, zxid };
                match snapshot.write(&self.folder, self.compression, &self.image) {
                    Ok((_, bytes)) => {
                        self.remove_old(keep);
                        let folder_bytes = folder_bytes(&self.folder);
                        report(&self.core, Report::SnapshotDone { zxid, bytes, folder_bytes });
                    }
                    Err(what) => report(&self.core, Report::SnapshotFailed { what }),
                }
            }
            Order::Prepare { .. } | Order::Release { .. } | Order::RemoveSnapshots { .. } => {
                unreachable!("files are the clerk's")
            }
        }
    }
}

impl Historian {
    fn remove_old(&self, keep: Option<usize>) {
        let (Some(keep), Ok(found)) = (keep, snapshots::find(&self.folder, "snapshot")) else { return };
        for (_, path) in found.iter().rev().skip(keep) {
            remove_old_file(path);
        }
    }
}

fn remove_old_file(path: &std::path::Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!("cannot remove the old snapshot {}: {error}", path.display());
    }
}

/// Bytes of all files in a folder.
pub fn folder_bytes(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// Prepares segments and recycles released ones.
struct Clerk {
    folder: PathBuf,
    /// The snapshots' folder.
    snapshots: PathBuf,
    spare: VecDeque<(PathBuf, u64)>,
    core: Sender<CoreMessage>,
}

impl Worker for Clerk {
    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Prepare { segment, bytes } => {
                let done = match self.prepare(segment, bytes) {
                    Ok(()) => Report::SegmentReady { segment, bytes },
                    Err(error) => Report::SegmentFailed {
                        segment,
                        no_space: matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)),
                        what: format!("{}: {error}", self.folder.display()),
                    },
                };
                report(&self.core, done);
            }
            Order::Release { segment } => self.release(segment),
            Order::RemoveSnapshots { before } => {
                let found = snapshots::find(&self.snapshots, "snapshot").unwrap_or_default();
                for (_, path) in found.iter().filter(|(zxid, _)| *zxid < before) {
                    remove_old_file(path);
                }
            }
            Order::Batch(_) | Order::Snapshot { .. } => unreachable!("the tree is the historian's"),
        }
    }
}

impl Clerk {
    fn prepare(&mut self, segment: SegmentId, bytes: u64) -> io::Result<()> {
        let path = self.folder.join(boot::segment_name(segment));
        while let Some((spare, length)) = self.spare.pop_front() {
            if length == bytes && fs::rename(&spare, &path).is_ok() {
                return sync_folder(&self.folder);
            }
            let _ = fs::remove_file(&spare);
        }
        create_zeros(&path, bytes)
    }

    /// Old frames in a reused file carry their old segment number, so they need not be overwritten.
    fn release(&mut self, segment: SegmentId) {
        let path = self.folder.join(boot::segment_name(segment));
        let spare = self.folder.join(spare_name(segment));
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if self.spare.len() < LOG_SPARES_MAX && fs::rename(&path, &spare).is_ok() {
            self.spare.push_back((spare, length));
        } else if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("cannot remove the old log segment {}: {error}", path.display());
        }
    }
}
