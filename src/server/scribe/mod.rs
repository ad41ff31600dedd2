//! The scribe's driver: core 0's end of its queues, and which of two ways its works on files take. What is done is decided
//! by `crate::scribe`; here bytes are moved, off the hot cores.
//!
//! `by_glommio`: one executor with task queues by shares, writing past the page cache. `threads`: three plain threads with
//! blocking calls, wherever glommio cannot be. Neither touches a client's socket, the log's commits or a serving core.

mod by_glommio;
mod desk;
mod store;
mod threads;

use super::core::CoreMessage;
use super::{ServerOptions, boot};
use crate::ids::{SegmentId, SessionId, Zxid};
use crate::io::disk::{DiskProbe, takes_direct};
use crate::io::process::lockable_bytes;
use crate::io::queue::{Receiver, Sender, mailbox};
use crate::io::sys::EventFd;
use crate::io::{IoChoice, Waker};
use crate::limits::{SCRIBE_BYTES_MAX, SCRIBE_ORDER_BYTES};
use crate::mesh::Batch;
use crate::scribe::{Found, Lane, Report, Scribe, ScribeInput, ScribeSettings};
use crate::tree::image_writer::CHUNK_BYTES;
use desk::Desk;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Store, Worker};

/// `ringkeeper.scribe`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScribeChoice {
    /// glommio where it can be, else threads.
    Auto,
    /// glommio or an error.
    Glommio,
    /// Threads.
    Threads,
}

/// What the scribe tells core 0.
pub struct Message {
    pub report: Report,
    /// Of a segment that is ready.
    pub file: Option<OwnedFd>,
}

/// Core 0's end.
pub struct Handle {
    /// Batches and snapshots, in order.
    data: Queue,
    /// Segments: never behind batches.
    files: Queue,
    given_bytes: usize,
    taken_bytes: Arc<AtomicUsize>,
    /// Transactions queued since the scribe was last woken.
    unseen: usize,
}

/// A queue with what it had no room for.
struct Queue {
    sender: Sender<ScribeInput>,
    overflow: VecDeque<ScribeInput>,
}

/// Inputs that go to the scribe before core 0 keeps the next ones itself. What waits is bounded by its bytes.
const QUEUE_MAX: usize = 4096;
/// The scribe is woken after so many transactions; before, it looks by itself now and then. What waits for it holds
/// memory and leaves the cache, and a wake-up costs a system call.
const WAKE_AFTER: usize = 512;
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Handle {
    /// A committed batch.
    pub fn commit(&mut self, batch: &Arc<Batch>) {
        self.push_data(ScribeInput::Batch(Arc::clone(batch)));
        self.unseen += batch.txns.len();
        if self.unseen >= WAKE_AFTER {
            self.unseen = 0;
            self.data.sender.wake();
        }
    }

    /// True while it is so far behind that nothing should be added.
    pub fn is_behind(&self) -> bool {
        let taken_bytes = self.taken_bytes.load(Ordering::Acquire);
        assert!(taken_bytes <= self.given_bytes, "only what was given is taken");
        self.given_bytes - taken_bytes > SCRIBE_BYTES_MAX
    }

    /// Write a snapshot of everything committed so far.
    pub fn snapshot(
        &mut self,
        zxid: Zxid,
        digest: Option<(Zxid, u64)>,
        sessions: Vec<(SessionId, i32)>,
        keep: Option<usize>,
    ) {
        self.push_data(ScribeInput::Snapshot { zxid, digest, sessions, keep });
        self.data.sender.wake();
    }

    /// Space is needed: only snapshots from this one on are kept.
    pub fn remove_snapshots(&mut self, before: Zxid) {
        self.push_file(ScribeInput::RemoveSnapshots { before });
    }

    /// Have a segment ready.
    pub fn prepare(&mut self, segment: SegmentId, bytes: u64) {
        self.push_file(ScribeInput::Prepare { segment, bytes });
    }

    /// A segment is no longer needed.
    pub fn release(&mut self, segment: SegmentId) {
        self.push_file(ScribeInput::Release { segment });
    }

    fn push_data(&mut self, input: ScribeInput) {
        self.given_bytes += order_bytes(&input);
        self.data.push(input);
    }

    fn push_file(&mut self, input: ScribeInput) {
        self.files.push(input);
        self.files.sender.wake();
    }

    /// Hands over what the scribe had no room for. True if something is left.
    pub fn catch_up(&mut self) -> bool {
        let is_data_left = self.data.catch_up();
        self.files.catch_up() || is_data_left
    }
}

impl Queue {
    fn push(&mut self, input: ScribeInput) {
        self.overflow.push_back(input);
        self.catch_up();
    }

    fn catch_up(&mut self) -> bool {
        while let Some(input) = self.overflow.pop_front() {
            if let Err(input) = self.sender.send_quietly(input) {
                self.overflow.push_front(input);
                self.sender.wake();
                return true;
            }
        }
        false
    }
}

/// What an input takes while it waits.
fn order_bytes(input: &ScribeInput) -> usize {
    match input {
        ScribeInput::Batch(batch) => batch.bytes + SCRIBE_ORDER_BYTES,
        _ => SCRIBE_ORDER_BYTES,
    }
}

/// Starts it; it ends with the process.
pub fn start(
    options: &ServerOptions,
    folders: &boot::Folders,
    booted: &boot::Booted,
    probe: &DiskProbe,
    core: Sender<CoreMessage>,
) -> Result<Handle, String> {
    let why = match options.scribe {
        ScribeChoice::Threads => "as asked for".to_owned(),
        choice => match start_glommio(options, folders, booted, probe, &core) {
            Ok(handle) => {
                tracing::info!("background work by glommio: io_uring and O_DIRECT are there");
                return Ok(handle);
            }
            Err(why) if choice == ScribeChoice::Glommio => {
                return Err(format!("ringkeeper.scribe=glommio is not possible: {why}"));
            }
            Err(why) => why,
        },
    };
    tracing::info!("background work by threads: {why}");
    let waker = Arc::new(threads::Unpark::default());
    let (handle, desk) = connect(options, booted, &core, &waker);
    let make = make_worker(folders, probe, threads::Blocking);
    let started = threads::start(desk, make(Lane::Snapshots), make(Lane::Segments), waker);
    started.map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(handle)
}

fn start_glommio(
    options: &ServerOptions,
    folders: &boot::Folders,
    booted: &boot::Booted,
    probe: &DiskProbe,
    core: &Sender<CoreMessage>,
) -> Result<Handle, String> {
    find_obstacle(options.io, &folders.data, &folders.log)?;
    let event_fd = EventFd::new().map_err(|error| format!("cannot create an eventfd: {error}"))?;
    let event_fd = Arc::new(event_fd);
    let (handle, desk) = connect(options, booted, core, &event_fd);
    by_glommio::start(desk, make_worker(folders, probe, by_glommio::Direct), event_fd)?;
    Ok(handle)
}

/// Both ends of the queues.
fn connect<W: Waker + 'static>(
    options: &ServerOptions,
    booted: &boot::Booted,
    core: &Sender<CoreMessage>,
    waker: &Arc<W>,
) -> (Handle, Desk) {
    let queue = || -> (Queue, Receiver<ScribeInput>) {
        let (sender, receiver) = mailbox(QUEUE_MAX, Arc::clone(waker) as Arc<dyn Waker>);
        (Queue { sender, overflow: VecDeque::new() }, receiver)
    };
    let ((data, data_receiver), (files, files_receiver)) = (queue(), queue());
    let settings =
        ScribeSettings { image: options.image, compression: options.compression, chunk_bytes: CHUNK_BYTES };
    let taken_bytes = Arc::new(AtomicUsize::new(0));
    let spares = booted.spares.iter().map(|id| (*id, options.segment_bytes()));
    let found = Found { spares: spares.collect(), unreadable: booted.unreadable.clone() };
    let desk = Desk {
        scribe: Scribe::new(settings, booted.tree().without_index(), found),
        data: data_receiver,
        files: files_receiver,
        taken_bytes: Arc::clone(&taken_bytes),
        core: core.clone(),
        unsent: VecDeque::new(),
        opened: BTreeMap::new(),
        out: Vec::new(),
    };
    (Handle { data, files, given_bytes: 0, taken_bytes, unseen: 0 }, desk)
}

fn make_worker<S: Store + Copy>(
    folders: &boot::Folders,
    probe: &DiskProbe,
    store: S,
) -> impl Fn(Lane) -> Worker<S> + use<S> {
    let (data, log, direct) = (folders.data.clone(), folders.log.clone(), probe.direct);
    move |lane| Worker { lane, store, data: data.clone(), log: log.clone(), direct, sink: None }
}

/// What stands in the way of glommio; nothing of it is built before this is known. Last, a ring is tried on its thread.
fn find_obstacle(io: IoChoice, data: &Path, log: &Path) -> Result<(), String> {
    if io == IoChoice::Epoll {
        return Err("ringkeeper.io=epoll asks for no io_uring".into());
    }
    let lockable_bytes = lockable_bytes();
    if lockable_bytes < by_glommio::LOCKED_BYTES {
        return Err(format!(
            "a process may lock {} KiB of memory here, and glommio wants {} KiB (ulimit -l, LimitMEMLOCK of systemd)",
            lockable_bytes >> 10,
            by_glommio::LOCKED_BYTES >> 10
        ));
    }
    [data, log].iter().try_for_each(|folder| takes_direct(folder))
}

/// Bytes of all files in a folder.
pub fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}
