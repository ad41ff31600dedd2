//! Small safe wrappers around the system calls both backends need.

use crate::io::Waker;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Turns a `-1` return value into the last OS error.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An eventfd by which other threads wake a core.
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A fresh, non-blocking one.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd takes no pointers; the returned descriptor is owned by nobody else.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: as above, `fd` is a fresh descriptor.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Resets the counter.
    pub fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: the buffer is 8 bytes long, as eventfd asks for.
        unsafe { libc::read(self.raw(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.raw()
    }
}

impl Waker for EventFd {
    fn wake(&self) {
        let one = 1u64;
        // SAFETY: the buffer is 8 bytes long. A full counter already means "woken", so the result does not matter.
        unsafe { libc::write(self.raw(), (&raw const one).cast(), 8) };
    }
}

/// Sets TCP_NODELAY and non-blocking mode on a connected socket.
pub fn prepare_socket(fd: &OwnedFd) -> io::Result<()> {
    let socket = socket2::SockRef::from(fd);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)
}

/// Stops both directions; queued bytes are still delivered.
pub fn shutdown(fd: RawFd) {
    // SAFETY: no pointers; a descriptor that is already disconnected only yields an error nobody needs.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}
