//! The server's log: one bounded queue that any thread fills, one thread that writes. A line for which the queue has no room,
//! or that cannot be written, is counted and dropped; the next line that can be written is preceded by the count. So no
//! reader of the log, no full disk and no closed terminal makes a serving core wait or end.

use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crossbeam::queue::ArrayQueue;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Where lines go.
#[derive(Clone, Debug)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// A file that is moved aside when it is full: `path.1` is the newest of those moved.
    File {
        /// Its name.
        path: PathBuf,
        /// Bytes after which the next line begins a new file.
        bytes_max: u64,
        /// Files kept, this one included.
        files: usize,
    },
}

/// The filling end; cheap to clone.
#[derive(Clone)]
pub struct LogQueue {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    lines: ArrayQueue<Vec<u8>>,
    dropped: AtomicU64,
    written: AtomicU64,
    queued: AtomicU64,
    reopen: AtomicBool,
}

impl LogQueue {
    /// Starts the thread. A file that cannot be opened is an error now, not later.
    pub fn start(target: Target) -> io::Result<LogQueue> {
        let shared = Arc::new(Shared {
            lines: ArrayQueue::new(LOG_LINES_MAX),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        });
        let mut sink = Sink::open(target)?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                write_all(&of_thread, &mut sink);
                std::thread::park_timeout(LOOK_EVERY);
            }
        })?;
        Ok(LogQueue { shared, thread: thread.thread().clone() })
    }

    /// Queues one line, or counts it as dropped.
    pub fn push(&self, mut line: Vec<u8>) {
        if line.len() > LOG_LINE_BYTES_MAX {
            line.truncate(LOG_LINE_BYTES_MAX);
            line.extend_from_slice(b"...\n");
        }
        match self.shared.lines.push(line) {
            Ok(()) => _ = self.shared.queued.fetch_add(1, Ordering::SeqCst),
            Err(_) => _ = self.shared.dropped.fetch_add(1, Ordering::SeqCst),
        }
        self.thread.unpark();
    }

    /// Opens the file again before the next line: it was moved away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }

    /// Waits until what is queued is written, but not longer than this.
    pub fn flush(&self, at_most: Duration) {
        let start = Instant::now();
        let queued = self.shared.queued.load(Ordering::SeqCst);
        while self.shared.written.load(Ordering::SeqCst) < queued && start.elapsed() < at_most {
            self.thread.unpark();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lines dropped and not yet told of.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::SeqCst)
    }
}

/// A line that arrives while the thread goes to sleep is found after this at the latest.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn write_all(shared: &Shared, sink: &mut Sink) {
    if shared.reopen.swap(false, Ordering::SeqCst) {
        sink.reopen();
    }
    while let Some(line) = shared.lines.pop() {
        let dropped = shared.dropped.swap(0, Ordering::SeqCst);
        let told = dropped == 0
            || sink.write(
                format!("{dropped} line(s) of this log were dropped: it could not take them\n").as_bytes(),
            );
        if !told {
            shared.dropped.fetch_add(dropped, Ordering::SeqCst);
        }
        if !told || !sink.write(&line) {
            shared.dropped.fetch_add(1, Ordering::SeqCst);
        }
        shared.written.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the thread writes to.
enum Sink {
    Stderr,
    File { file: Option<File>, bytes: u64, path: PathBuf, bytes_max: u64, files: usize },
}

impl Sink {
    fn open(target: Target) -> io::Result<Sink> {
        Ok(match target {
            Target::Stderr => Sink::Stderr,
            Target::File { path, bytes_max, files } => {
                let (file, bytes) = open_file(&path)?;
                Sink::File { file: Some(file), bytes, path, bytes_max, files }
            }
        })
    }

    fn reopen(&mut self) {
        if let Sink::File { file, bytes, path, .. } = self {
            match open_file(path) {
                Ok((opened, length)) => (*file, *bytes) = (Some(opened), length),
                Err(_) => *file = None,
            }
        }
    }

    /// False: the line is lost.
    fn write(&mut self, line: &[u8]) -> bool {
        match self {
            Sink::Stderr => io::stderr().lock().write_all(line).is_ok(),
            Sink::File { bytes, bytes_max, files, path, file } => {
                if *bytes > 0 && *bytes + line.len() as u64 > *bytes_max {
                    rotate(path, *files);
                    *file = None;
                }
                if file.is_none() {
                    self.reopen();
                }
                let Sink::File { file, bytes, .. } = self else { return false };
                let written = file.as_mut().is_some_and(|file| file.write_all(line).is_ok());
                *bytes += line.len() as u64;
                written
            }
        }
    }
}

fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Moves each file to the next number; the last one goes.
fn rotate(path: &Path, files: usize) {
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if files < 2 {
        let _ = std::fs::remove_file(path);
        return;
    }
    for number in (1..files - 1).rev() {
        let _ = std::fs::rename(numbered(number), numbered(number + 1));
    }
    let _ = std::fs::rename(path, numbered(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, bytes_max: u64, files: usize) -> Target {
        Target::File { path: folder.join("log"), bytes_max, files }
    }

    #[test]
    fn full_files_are_moved_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = LogQueue::start(file(folder.path(), 20, 3)).expect("a thread");
        for index in 0..9 {
            log.push(format!("line number {index}\n").into_bytes());
        }
        log.flush(Duration::from_secs(30));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(read("log"), "line number 8\n");
        assert_eq!((read("log.1"), read("log.2")), ("line number 7\n".into(), "line number 6\n".into()));
        assert!(!folder.path().join("log.3").exists());
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = LogQueue::start(file(folder.path(), 1 << 20, 3)).expect("a thread");
        log.push(b"before\n".to_vec());
        log.flush(Duration::from_secs(30));
        std::fs::rename(folder.path().join("log"), folder.path().join("moved")).expect("a move");
        log.reopen();
        log.push(b"after\n".to_vec());
        log.flush(Duration::from_secs(30));
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).expect("a new file"), "after\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let target = Target::File { path: "/dev/full".into(), bytes_max: 1 << 20, files: 2 };
        let log = LogQueue::start(target).expect("a thread");
        (0..10).for_each(|_| log.push(b"lost\n".to_vec()));
        log.flush(Duration::from_secs(30));
        assert_eq!(log.dropped(), 10);
    }
}
