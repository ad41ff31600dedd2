//! A small, safe face of the system calls that the load generator needs and std lacks: level-triggered epoll, pinning
//! a thread, the CPU time of another process, the limit on open files. Belongs to `cli::bench`; the server's cores
//! have their own backends. Keeps no buffers and decides nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A descriptor that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// As given to `add`.
    pub token: u64,
    /// Bytes, an end of stream or an error can be read.
    pub readable: bool,
    /// More can be written.
    pub writable: bool,
}

/// One epoll instance. Belongs to one thread.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: epoll_create1 takes no pointers; a non-negative result is a descriptor that nobody else owns.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Poller { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Watches a descriptor for reading, and for writing if asked. Closing the descriptor removes it.
    pub fn add(&self, socket: &impl AsFd, token: u64, writable: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_fd().as_raw_fd(), token, writable)
    }

    /// Changes what a watched descriptor is watched for.
    pub fn modify(&self, socket: &impl AsFd, token: u64, writable: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket.as_fd().as_raw_fd(), token, writable)
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, writable: bool) -> io::Result<()> {
        let interest = libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: both descriptors are open for the call, and the kernel copies `event` before it returns.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something is ready (None: without end) and replaces `ready` with what is. A signal ends it early.
    pub fn wait(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = wait.map(|wait| libc::timespec {
            tv_sec: wait.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: wait.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), |timeout| timeout as *const libc::timespec);
        // SAFETY: `events` is valid for writes of its whole length, which is what the kernel is told; `timeout` is null or
        // points at a value that outlives the call; there is no signal mask.
        let count = unsafe {
            let (events, room) = (self.events.as_mut_ptr(), self.events.len() as i32);
            libc::epoll_pwait2(self.epoll.as_raw_fd(), events, room, timeout, std::ptr::null())
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready.extend(self.events[..count as usize].iter().map(|event| {
            let bits = event.events as i32;
            let failed = bits & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            let readable = failed || bits & libc::EPOLLIN != 0;
            Ready { token: event.u64, readable, writable: failed || bits & libc::EPOLLOUT != 0 }
        }));
        Ok(())
    }
}

/// Lets the calling thread wake up when it asked to, not up to 50 µs later.
pub fn set_precise_timers() -> io::Result<()> {
    // SAFETY: this prctl takes a number and no pointer.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Pins the calling thread, and the threads it starts later, to one CPU.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a cpu_set_t is plain bits, for which all zeros is a value; `cpu` was checked against its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CPU time that all threads of a process have used, ended ones included, in ns.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    // SAFETY: both calls only write the value that their last argument points at, which lives on this stack.
    unsafe {
        let mut clock: libc::clockid_t = 0;
        let result = libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock);
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if libc::clock_gettime(clock, &mut time) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

/// Raises the soft limit on open files to the hard one and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    // SAFETY: both calls only read or write the struct that they are given, which lives on this stack.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) < 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(limit.rlim_cur)
    }
}

/// Ready descriptors reported by one `wait`.
const EVENTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_socket_is_ready_once_bytes_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (server, _) = listener.accept().expect("a client waits");
        let mut poller = Poller::new().expect("epoll");
        poller.add(&server, 7, false).expect("a fresh socket");
        let mut ready = Vec::new();
        poller.wait(Some(Duration::ZERO), &mut ready).expect("epoll");
        assert!(ready.is_empty());
        client.write_all(b"x").expect("connected");
        poller.wait(None, &mut ready).expect("epoll");
        assert_eq!(ready, [Ready { token: 7, readable: true, writable: false }]);
    }

    #[test]
    fn a_process_uses_cpu() {
        let before = process_cpu_ns(std::process::id()).expect("own process");
        let sum = (0..2_000_000u64).fold(1u64, |sum, i| sum.wrapping_mul(31) ^ i);
        assert!(sum != 0 && process_cpu_ns(std::process::id()).expect("own process") > before);
    }
}
