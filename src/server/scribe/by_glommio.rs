//! The scribe on one glommio executor, not bound to a CPU: three task queues share it, so that following and preparing
//! segments get their time while a snapshot is written, and no work blocks another one. Files are written past the page
//! cache.
//!
//! Never built before a ring was opened and closed again (`build`): glommio panics where it cannot go on.

use super::desk::Desk;
use super::store::{Ended, Sink, Store, Worker, if_there};
use crate::io::disk::temporary;
use crate::io::sys::EventFd;
use crate::io::{Waker, try_io_uring};
use crate::scribe::{Lane, Work};
use glommio::channels::local_channel::{self, LocalSender};
use glommio::future::timeout;
use glommio::io::{Directory, DmaBuffer, DmaFile, PollableFd};
use glommio::{
    GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle,
};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// Written at once: enough to keep a disk busy, little enough not to keep the log's writes waiting behind it.
const WRITE_BYTES: usize = 256 << 10;
/// Memory registered with the ring: a few buffers of that size.
const IO_MEMORY_BYTES: usize = 2 << 20;
const RING_ENTRIES: usize = 64;
/// The limit of locked memory that glommio asks for, whatever it will lock.
pub(super) const LOCKED_BYTES: u64 = 512 << 10;
/// Works that wait for their task: those that the scribe may have on their way, with room to spare.
const WORKS_MAX: usize = 8;

/// What the tasks get of the executor when all of them want it, and how soon they want it.
const FOLLOWING: (usize, Latency) = (500, Latency::Matters(Duration::from_millis(5)));
const SEGMENTS: (usize, Latency) = (200, Latency::Matters(Duration::from_millis(20)));
const SNAPSHOTS: (usize, Latency) = (100, Latency::NotImportant);

/// Files by an executor's ring.
#[derive(Clone, Copy)]
pub(super) struct Direct;

impl Store for Direct {
    type Sink = DirectFile;

    async fn create(&self, path: &Path) -> io::Result<DirectFile> {
        DirectFile::create(path).await
    }

    async fn zeros(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut file = DirectFile::create(path).await?;
        file.file.pre_allocate(bytes, false).await.or_else(if_unsupported)?;
        // Its buffer holds zeros.
        while file.offset < bytes {
            file.write_out().await?;
        }
        file.finish_at(bytes).await.map(drop)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        glommio::io::rename(from, to).await.map_err(plain)
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = Directory::open(folder).await.map_err(plain)?;
        let synced = folder.sync().await.map_err(plain);
        folder.close().await.map_err(plain)?;
        synced
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        if_there(glommio::io::remove(path).await.map_err(plain))
    }
}

/// A file written by blocks, under another name until it is whole.
pub(super) struct DirectFile {
    file: DmaFile,
    path: PathBuf,
    /// Bytes not yet written, the first `filled` of them. The ring has it, too, while a write is on its way.
    buffer: Rc<DmaBuffer>,
    filled: usize,
    /// Bytes written.
    offset: u64,
}

impl DirectFile {
    async fn create(path: &Path) -> io::Result<DirectFile> {
        let file = DmaFile::create(temporary(path)).await.map_err(plain)?;
        let buffer = Rc::new(zeroed(&file));
        Ok(DirectFile { file, path: path.into(), buffer, filled: 0, offset: 0 })
    }

    /// The buffer, to be filled; another one if the ring has not let go of it.
    fn room(&mut self) -> &mut DmaBuffer {
        if Rc::get_mut(&mut self.buffer).is_none() {
            assert!(self.filled == 0, "what is not written yet is not on its way");
            self.buffer = Rc::new(zeroed(&self.file));
        }
        Rc::get_mut(&mut self.buffer).expect("nobody else has it")
    }

    /// Writes the whole buffer at the end.
    async fn write_out(&mut self) -> io::Result<()> {
        let written = self.file.write_rc_at(Rc::clone(&self.buffer), self.offset).await.map_err(plain)?;
        if written != self.buffer.len() {
            // The kernel writes less only where there is no room for more.
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.filled = 0;
        self.offset += written as u64;
        Ok(())
    }

    /// Crash story: the last block is filled up, so the length is set behind the writes. Were the file made durable before
    /// that, renamed after it and the machine failed then, the file would be there with a tail that is none of its bytes.
    async fn finish_at(self, bytes: u64) -> io::Result<u64> {
        let DirectFile { file, path, .. } = self;
        let finish = async {
            file.fdatasync().await?;
            file.truncate(bytes).await?;
            file.fdatasync().await?;
            file.rename(&path).await
        };
        let finished = finish.await.map_err(plain);
        let closed = file.close().await.map_err(plain);
        finished.and(closed)?;
        Direct.sync_folder(path.parent().unwrap_or(Path::new("."))).await?;
        Ok(bytes)
    }
}

impl Sink for DirectFile {
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(WRITE_BYTES - self.filled);
            let filled = self.filled;
            self.room().as_bytes_mut()[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == WRITE_BYTES {
                self.write_out().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> io::Result<u64> {
        let bytes = self.offset + self.filled as u64;
        if self.filled > 0 {
            let length = self.file.align_up(self.filled as u64) as usize;
            self.room().trim_to_size(length);
            self.write_out().await?;
        }
        self.finish_at(bytes).await
    }
}

fn zeroed(file: &DmaFile) -> DmaBuffer {
    let mut buffer = file.alloc_dma_buffer(WRITE_BYTES);
    buffer.as_bytes_mut().fill(0);
    buffer
}

/// Keeps the error's number, by which a full disk is known.
fn plain(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}

fn if_unsupported(error: GlommioError<()>) -> io::Result<()> {
    let error = plain(error);
    if error.raw_os_error() == Some(libc::EOPNOTSUPP) { Ok(()) } else { Err(error) }
}

/// Starts the executor on a thread of its own, which ends with the process. The error says why there can be none.
pub(super) fn start(
    desk: Desk,
    make_worker: impl Fn(Lane) -> Worker<Direct> + Send + 'static,
    event_fd: Arc<EventFd>,
) -> Result<(), String> {
    let (to_thread, from_main) = sync_channel::<Desk>(1);
    let (to_main, from_thread) = sync_channel(1);
    let run = move || {
        let executor = match build() {
            Ok(executor) => executor,
            Err(why) => return to_main.send(Err(why)).unwrap_or_default(),
        };
        if to_main.send(Ok(())).is_ok()
            && let Ok(desk) = from_main.recv()
        {
            executor.run(follow(desk, make_worker, event_fd));
        }
    };
    let started = thread::Builder::new().name("scribe".into()).spawn(run);
    started.map_err(|error| format!("its thread cannot be started: {error}"))?;
    from_thread.recv().unwrap_or_else(|_| Err(ITS_END.into()))?;
    to_thread.send(desk).map_err(|_| ITS_END.into())
}

const ITS_END: &str = "its thread ended at once";

/// The ring that is tried is opened on this very thread, and first. The kernel lets a thread have as many workers for calls
/// that block as its first ring has entries, and glommio's first one has one.
///
/// Crash story: 1. The disk of the snapshots stands still, and with it the one worker. 2. The log's next segment, on another
/// disk, waits behind it. 3. So does every write.
fn build() -> Result<LocalExecutor, String> {
    try_io_uring().map_err(|why| format!("io_uring is {why}"))?;
    let builder = LocalExecutorBuilder::new(Placement::Unbound).name("scribe");
    let builder = builder.io_memory(IO_MEMORY_BYTES).ring_depth(RING_ENTRIES);
    builder.make().map_err(|error| error.to_string())
}

type AllEnded = Rc<RefCell<VecDeque<Ended>>>;

async fn follow(desk: Desk, make_worker: impl Fn(Lane) -> Worker<Direct> + 'static, event_fd: Arc<EventFd>) {
    let ended = AllEnded::default();
    let snapshots = spawn_lane(make_worker(Lane::Snapshots), SNAPSHOTS, "snapshots", &ended, &event_fd);
    let segments = spawn_lane(make_worker(Lane::Segments), SEGMENTS, "segments", &ended, &event_fd);
    let carry = move |lane, work| {
        let to = match lane {
            Lane::Snapshots => &snapshots,
            Lane::Segments => &segments,
        };
        let sent = to.try_send(work);
        assert!(sent.is_ok(), "few works are on their way, and their task lives as long as this one");
    };
    let following =
        glommio::spawn_local_into(turn(desk, carry, ended, event_fd), queue(FOLLOWING, "following"));
    following.expect("the queue was just made").await;
}

fn queue((shares, latency): (usize, Latency), name: &str) -> TaskQueueHandle {
    glommio::executor().create_task_queue(Shares::Static(shares), latency, name)
}

fn spawn_lane(
    mut worker: Worker<Direct>,
    priority: (usize, Latency),
    name: &str,
    ended: &AllEnded,
    event_fd: &Arc<EventFd>,
) -> LocalSender<Work> {
    let (sender, receiver) = local_channel::new_bounded(WORKS_MAX);
    let (ended, event_fd) = (Rc::clone(ended), Arc::clone(event_fd));
    let carry_out = async move {
        while let Some(work) = receiver.recv().await {
            let end = worker.carry_out(work).await;
            ended.borrow_mut().push_back(end);
            event_fd.wake();
        }
    };
    let task = glommio::spawn_local_into(carry_out, queue(priority, name));
    task.expect("the queue was just made").detach();
    sender
}

/// As the threads do it.
async fn turn(mut desk: Desk, mut carry: impl FnMut(Lane, Work), ended: AllEnded, event_fd: Arc<EventFd>) {
    let woken = PollableFd::new(Arc::clone(&event_fd)).expect("this is a task of an executor");
    loop {
        let mut is_busy = desk.turn(&mut carry);
        let ends = std::mem::take(&mut *ended.borrow_mut());
        for end in ends {
            is_busy = true;
            desk.end(end, &mut carry);
        }
        if is_busy {
            glommio::yield_if_needed().await;
        } else if desk.may_sleep() {
            // Looks again in time, too, so that it does not matter which of the two it was.
            let _ = timeout(desk.wait_time(), woken.readable()).await;
            event_fd.drain();
            desk.awake();
        }
    }
}
