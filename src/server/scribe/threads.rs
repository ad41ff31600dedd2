//! The scribe on plain threads, with blocking calls: one that follows and decides, one that writes snapshots, one for
//! segments. It works everywhere.

use super::desk::Desk;
use super::store::{Ended, Sink, Store, Worker, if_there};
use crate::io::Waker;
use crate::io::disk::{AtomicFile, create_zeros, sync_folder};
use crate::scribe::{Lane, Work};
use crossbeam::queue::SegQueue;
use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, Thread};

/// Works that wait for a thread: those that the scribe may have on their way, with room to spare.
const WORKS_MAX: usize = 8;

/// Files by blocking calls.
#[derive(Clone, Copy)]
pub(super) struct Blocking;

impl Store for Blocking {
    type Sink = AtomicFile;

    async fn create(&self, path: &Path) -> io::Result<AtomicFile> {
        AtomicFile::create(path)
    }

    async fn zeros(&self, path: &Path, bytes: u64) -> io::Result<()> {
        create_zeros(path, bytes)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        if_there(fs::remove_file(path))
    }
}

impl Sink for AtomicFile {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    async fn finish(self) -> io::Result<u64> {
        AtomicFile::finish(self)
    }
}

/// Wakes a thread that parks; one that has not begun yet does not.
#[derive(Default)]
pub(super) struct Unpark(OnceLock<Thread>);

impl Waker for Unpark {
    fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// Starts the threads; they end with the process.
pub(super) fn start(
    mut desk: Desk,
    snapshots: Worker<Blocking>,
    segments: Worker<Blocking>,
    waker: Arc<Unpark>,
) -> io::Result<()> {
    let ended = Arc::new(SegQueue::new());
    let snapshots = spawn("scribe-image", snapshots, &ended, &waker)?;
    let segments = spawn("scribe-log", segments, &ended, &waker)?;
    let run = move || {
        let is_first = waker.0.set(thread::current()).is_ok();
        assert!(is_first, "one thread follows");
        let mut carry = |lane, work| {
            let to = match lane {
                Lane::Snapshots => &snapshots,
                Lane::Segments => &segments,
            };
            let sent = to.try_send(work);
            assert!(sent.is_ok(), "few works are on their way, and their thread lives as long as this one");
        };
        loop {
            let mut is_busy = desk.turn(&mut carry);
            while let Some(end) = ended.pop() {
                is_busy = true;
                desk.end(end, &mut carry);
            }
            if !is_busy && desk.may_sleep() {
                // Who ends a work after this look leaves a token, so that the thread does not park.
                if ended.is_empty() {
                    thread::park_timeout(desk.wait_time());
                }
                desk.awake();
            }
        }
    };
    thread::Builder::new().name("scribe".into()).spawn(run).map(drop)
}

fn spawn(
    name: &str,
    mut worker: Worker<Blocking>,
    ended: &Arc<SegQueue<Ended>>,
    waker: &Arc<Unpark>,
) -> io::Result<SyncSender<Work>> {
    let (sender, receiver) = sync_channel(WORKS_MAX);
    let (ended, waker) = (Arc::clone(ended), Arc::clone(waker));
    let run = move || {
        while let Ok(work) = receiver.recv() {
            ended.push(at_once(worker.carry_out(work)));
            waker.wake();
        }
    };
    thread::Builder::new().name(name.into()).spawn(run)?;
    Ok(sender)
}

/// What waits for nothing but blocking calls is ready when it returns.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("blocking calls have ended when they return"),
    }
}
