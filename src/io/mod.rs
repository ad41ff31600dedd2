//! The edge: the only place with system calls, clocks, threads and `unsafe`. It moves bytes and knows nothing of
//! ZooKeeper. One [`Backend`] belongs to one core thread and is never shared; other threads reach it only through its
//! [`Waker`].
//!
//! Two backends implement the trait: `uring` (io_uring: multishot accept and receive, provided buffer ring, one enter
//! per turn) and `epoll`, chosen by `probe` at start.

// The edge is where clocks, threads, files and sockets belong.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bufring;
pub mod clock;
pub mod disk;
pub mod epoll;
pub mod local_time;
pub mod log_thread;
pub mod machine;
mod patience;
pub mod poller;
pub mod process;
pub mod queue;
pub mod ring;
pub mod signals;
pub mod sys;
#[cfg(test)]
mod tests;
pub mod uring;

pub use crate::aligned::AlignedBuffer;
use crate::ids::ConnId;
pub use crate::send_buffer::SendBuffer;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// What the kernel told this core. Borrowed bytes are valid only during the call.
pub enum Event<'a> {
    /// A client connected to listener number `listener`. Not yet read from: hand the socket to a core's `adopt`.
    Accepted { listener: usize, socket: OwnedFd, peer: SocketAddr },
    /// Bytes arrived.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// The one send in flight of this connection is done; `spare` is its memory, empty.
    Sent { conn: ConnId, spare: Vec<u8> },
    /// The peer sends nothing more, but may still read. The connection lives on until `close`.
    Ended { conn: ConnId },
    /// The peer is gone (an error). The connection is already released; its id is dead.
    Closed { conn: ConnId },
    /// A durable write is done. On `Ok` all of its bytes are durable.
    WriteDone { token: u64, buffer: AlignedBuffer, result: std::io::Result<()> },
    /// Another thread called [`Waker::wake`].
    Woken,
}

/// One core's IO. At most one send per connection is in flight; a send buffer stays untouched until `Sent`.
pub trait Backend {
    /// Starts accepting on a bound, listening socket; returns its number for [`Event::Accepted`].
    fn listen(&mut self, listener: TcpListener) -> std::io::Result<usize>;
    /// Stops accepting on all listeners and closes them.
    fn stop_listening(&mut self);
    /// At most one connection per listener and turn is accepted from now on, or again as many as there are: what is
    /// accepted has a descriptor before anybody can refuse it.
    fn accept_one_by_one(&mut self, on: bool);
    /// Takes over a connected socket (made non-blocking, TCP_NODELAY set) and starts receiving.
    fn adopt(&mut self, socket: OwnedFd) -> std::io::Result<ConnId>;
    /// Sends all of `buffer`; partial sends are continued inside. Exactly one `Sent` or `Closed` follows.
    /// Panics if a send of this connection is in flight.
    fn send(&mut self, conn: ConnId, buffer: SendBuffer);
    /// Stops (`false`) or resumes (`true`) receiving from a connection. Bytes already taken from the kernel may still arrive.
    fn receive(&mut self, conn: ConnId, on: bool);
    /// Closes a connection once the send in flight (if any) is done, or by force if the peer does not read it within
    /// two seconds. No event for it follows.
    fn close(&mut self, conn: ConnId);
    /// Registers a file for durable writes; the returned number names it in `write_durable`.
    fn register_file(&mut self, file: OwnedFd, mode: Durability) -> std::io::Result<usize>;
    /// Forgets and closes a registered file. No write to it may be in flight.
    fn release_file(&mut self, file: usize);
    /// Writes the whole buffer at `offset` (both multiples of 4096) and makes it durable; several may be in flight and
    /// complete in any order. `Event::WriteDone` follows.
    fn write_durable(&mut self, file: usize, offset: u64, buffer: AlignedBuffer, token: u64);
    /// A handle with which other threads wake this core.
    fn waker(&self) -> Arc<dyn Waker>;
    /// One turn: submits what was asked for, waits up to `wait` (None: until something happens; zero: do not wait) if
    /// nothing is ready, then hands every ready event to `sink`. `sink` may call nothing on the backend: it collects.
    fn turn(&mut self, wait: Option<Duration>, sink: &mut dyn FnMut(Event<'_>)) -> std::io::Result<()>;
    /// "io_uring" or "epoll", for the log.
    fn name(&self) -> &'static str;
}

/// Wakes one core from any thread.
pub trait Waker: Send + Sync {
    /// Makes the core's current or next `turn` return early with [`Event::Woken`]. Costs a system call.
    fn wake(&self);
}

/// How a durable write becomes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// `RWF_DSYNC` on each write.
    Dsync,
    /// The write, then `fdatasync`.
    Fdatasync,
    /// No sync at all (`forceSync=no`).
    None,
}

/// Which backend to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoChoice {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// Opens a backend for the calling thread. `is_first` says what was chosen and why in the log.
pub fn open_backend(
    choice: IoChoice,
    event_fd: Arc<sys::EventFd>,
    is_first: bool,
) -> std::io::Result<Box<dyn Backend>> {
    if choice != IoChoice::Epoll {
        match uring::Uring::new(Arc::clone(&event_fd)) {
            Ok(ring) => {
                if is_first {
                    tracing::info!("IO by io_uring");
                }
                return Ok(Box::new(ring));
            }
            Err(error) if choice == IoChoice::IoUring => return Err(error),
            Err(error) if is_first => {
                let reason = refusal(&error);
                tracing::warn!(
                    "IO by epoll: io_uring is {reason} ({error}); fan-out costs about a fifth more"
                );
            }
            Err(_) => {}
        }
    } else if is_first {
        tracing::info!("IO by epoll, as asked for");
    }
    Ok(Box::new(epoll::Epoll::new(event_fd)?))
}

/// Why there is no io_uring, in words that go on from "io_uring is".
fn refusal(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "denied by a seccomp filter or kernel.io_uring_disabled",
        Some(libc::ENOSYS) => "not in this kernel",
        Some(libc::ENOMEM) => "out of memory it may lock",
        _ => "not usable",
    }
}

/// Tries io_uring with everything a core needs of it, and closes it again. True: the kernel also defers its work to the
/// thread that asks (6.1). The error goes on from "io_uring is".
pub fn try_io_uring() -> Result<bool, String> {
    let ring = sys::EventFd::new().and_then(|event_fd| uring::Uring::new(Arc::new(event_fd)));
    ring.map(|ring| ring.is_deferred()).map_err(|error| format!("{} ({error})", refusal(&error)))
}
