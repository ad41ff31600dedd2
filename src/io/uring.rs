//! The io_uring backend: multishot accept and receive, a provided buffer ring instead of a buffer per connection, one
//! send per connection in flight, one enter per turn.
//!
//! Every completion carries (kind, generation, index) in its user data, so a late one for a reused slot is recognised.
//! A buffer that the kernel may still read (a send, a log write) stays in its slot until the completion has come, and a
//! descriptor stays open until every request that names it has been submitted: a number that is reused in between
//! would arm a request on somebody else's socket.

use super::bufring::BufferRing;
use super::patience::{AcceptPause, Lingering, shorten};
use super::sys::{EventFd, prepare_socket, shutdown};
use super::{AlignedBuffer, Backend, Durability, Event, SendBuffer, Waker};
use crate::ids::ConnId;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// One core's ring.
pub struct Uring {
    ring: IoUring,
    buffers: BufferRing,
    listeners: Vec<Option<TcpListener>>,
    /// Listeners whose multishot accept has ended.
    listeners_idle: Vec<usize>,
    conns: Vec<Slot>,
    free_conns: Vec<u32>,
    files: Vec<Option<(OwnedFd, Durability)>>,
    writes: Vec<Option<DiskWrite>>,
    free_writes: Vec<u32>,
    /// Entries that did not fit into the submission queue.
    overflow: VecDeque<squeue::Entry>,
    /// Descriptors to close once everything queued so far is submitted.
    retired: Vec<OwnedFd>,
    lingering: Lingering,
    accept_pause: AcceptPause,
    /// Accepts are armed for one connection each.
    accepts_one: bool,
    is_deferred: bool,
    event_fd: Arc<EventFd>,
    event_count: Box<u64>,
    is_wake_armed: bool,
    completions: Vec<(u64, i32, u32)>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    socket: Option<OwnedFd>,
    /// The buffer in flight and how much of it is sent.
    sending: Option<(SendBuffer, usize)>,
    /// A multishot receive is active in the kernel.
    is_armed: bool,
    wants_input: bool,
    /// Closed for its user; the slot is free once the send in flight has ended.
    is_closing: bool,
}

struct DiskWrite {
    buffer: AlignedBuffer,
    file: usize,
    token: u64,
    is_syncing: bool,
}

const KIND_ACCEPT: u64 = 1;
const KIND_RECEIVE: u64 = 2;
const KIND_SEND: u64 = 3;
const KIND_WRITE: u64 = 4;
const KIND_WAKE: u64 = 5;
const KIND_CANCEL: u64 = 6;
const KIND_TRIAL: u64 = 7;

const ENTRIES: u32 = 4096;
const RECEIVE_BUFFERS: u16 = 256;
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

impl Uring {
    /// Sets up a ring for the calling thread, which must be the one that uses it; others wake it by `event_fd`.
    pub fn new(event_fd: Arc<EventFd>) -> io::Result<Uring> {
        Uring::with_buffers(event_fd, RECEIVE_BUFFERS, RECEIVE_BUFFER_BYTES)
    }

    /// The same with `count` (a power of two) receive buffers of `bytes` each.
    pub fn with_buffers(event_fd: Arc<EventFd>, count: u16, bytes: usize) -> io::Result<Uring> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        builder.setup_submit_all().setup_cqsize(ENTRIES * 4);
        let (ring, is_deferred) = match builder.build(ENTRIES) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                (IoUring::builder().setup_cqsize(ENTRIES * 4).build(ENTRIES)?, false)
            }
            other => (other?, true),
        };
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel's io_uring is too old (6.0 or later)",
            ));
        }
        let buffers = BufferRing::register(&ring, count, bytes)?;
        let mut uring = Uring {
            ring,
            buffers,
            listeners: Vec::new(),
            listeners_idle: Vec::new(),
            conns: Vec::new(),
            free_conns: Vec::new(),
            files: Vec::new(),
            writes: Vec::new(),
            free_writes: Vec::new(),
            overflow: VecDeque::new(),
            retired: Vec::new(),
            lingering: Lingering::default(),
            accept_pause: AcceptPause::default(),
            accepts_one: false,
            is_deferred,
            event_fd,
            event_count: Box::new(0),
            is_wake_armed: false,
            completions: Vec::new(),
        };
        uring.try_multishot_receive()?;
        Ok(uring)
    }

    /// Completions are run by this thread only, when it asks for them (6.1).
    pub fn is_deferred(&self) -> bool {
        self.is_deferred
    }

    /// Multishot receive from a buffer ring came last (6.0) and cannot be asked for: it is tried on a socket pair.
    fn try_multishot_receive(&mut self) -> io::Result<()> {
        let (ours, mut theirs) = UnixStream::pair()?;
        theirs.write_all(b"?")?;
        let entry = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), self.buffers.group()).build();
        self.push(entry.user_data(user_data(KIND_TRIAL, 0, 0)));
        drop(theirs);
        let mut received = 0;
        let mut is_over = false;
        while !is_over {
            self.submit(None)?;
            let completions: Vec<_> = self.ring.completion().collect();
            for entry in completions {
                if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
                    self.buffers.give_back(buffer);
                    received += entry.result();
                }
                is_over |= !cqueue::more(entry.flags());
            }
        }
        self.buffers.publish();
        if received == 1 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel has no multishot receive (6.0 or later)"))
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: what the entry points to (send and write buffers in their slots, the boxed event counter) is kept
        // until its completion has been handled.
        if !self.overflow.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.overflow.push_back(entry);
        }
    }

    fn arm_accept(&mut self, listener: usize) {
        let Some(Some(socket)) = self.listeners.get(listener) else { return };
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let fd = types::Fd(socket.as_raw_fd());
        let entry = match self.accepts_one {
            true => opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).flags(flags).build(),
            false => opcode::AcceptMulti::new(fd).flags(flags).build(),
        };
        self.push(entry.user_data(user_data(KIND_ACCEPT, 0, listener as u32)));
    }

    fn arm_receive(&mut self, index: u32) {
        let slot = &mut self.conns[index as usize];
        let Some(socket) = &slot.socket else { return };
        if slot.is_armed || !slot.wants_input || slot.is_closing {
            return;
        }
        slot.is_armed = true;
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), self.buffers.group()).build();
        let data = user_data(KIND_RECEIVE, slot.generation, index);
        self.push(entry.user_data(data));
    }

    fn start_send(&mut self, index: u32) {
        let slot = &self.conns[index as usize];
        let (Some(socket), Some((buffer, sent))) = (&slot.socket, &slot.sending) else { return };
        let rest = &buffer[*sent..];
        let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        let data = user_data(KIND_SEND, slot.generation, index);
        self.push(entry.user_data(data));
    }

    fn arm_wake(&mut self) {
        if self.is_wake_armed {
            return;
        }
        self.is_wake_armed = true;
        let target: *mut u64 = &raw mut *self.event_count;
        let entry = opcode::Read::new(types::Fd(self.event_fd.raw()), target.cast(), 8).build();
        self.push(entry.user_data(user_data(KIND_WAKE, 0, 0)));
    }

    /// Frees the slot unless a send still needs its buffer. `false`: the connection lives on until then.
    fn release(&mut self, index: u32) -> bool {
        let slot = &mut self.conns[index as usize];
        slot.is_closing = true;
        if slot.sending.is_some() {
            return false;
        }
        let cancel = slot.is_armed.then(|| user_data(KIND_RECEIVE, slot.generation, index));
        if let Some(socket) = slot.socket.take() {
            shutdown(socket.as_raw_fd());
            self.retired.push(socket);
        }
        let generation = slot.generation.wrapping_add(1) & GENERATION_MASK;
        *slot = Slot { generation, ..Slot::default() };
        self.free_conns.push(index);
        if let Some(data) = cancel {
            let entry = opcode::AsyncCancel::new(data).build();
            self.push(entry.user_data(user_data(KIND_CANCEL, 0, 0)));
        }
        true
    }

    fn id(&self, index: u32) -> ConnId {
        ConnId { slot: index, generation: self.conns[index as usize].generation }
    }

    fn submit(&mut self, wait: Option<Duration>) -> io::Result<()> {
        while let Some(entry) = self.overflow.pop_front() {
            // SAFETY: as in `push`.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                self.overflow.push_front(entry);
                match self.enter_without_waiting() {
                    // The completion queue is full: the rest waits until this turn has emptied it.
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => break,
                    Err(error) if !is_passing(&error) => return Err(error),
                    _ => {}
                }
            }
        }
        let wait = shorten(wait, &self.lingering, &self.accept_pause);
        let ready = !self.ring.completion().is_empty();
        let result = match wait {
            _ if ready => self.enter_without_waiting(),
            Some(Duration::ZERO) => self.enter_without_waiting(),
            Some(wait) => {
                let timeout = types::Timespec::from(wait);
                let args = types::SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(1, &args).map(drop)
            }
            None => self.ring.submit_and_wait(1).map(drop),
        };
        // An entry that waits for room may still name one of them.
        if self.overflow.is_empty() && self.ring.submission().is_empty() {
            self.retired.clear();
        }
        match result {
            Err(error) if is_passing(&error) => Ok(()),
            other => other,
        }
    }

    /// With deferred task running, completions are only produced by an enter that asks for events.
    fn enter_without_waiting(&mut self) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        let queued = {
            let mut submission = self.ring.submission();
            submission.sync();
            submission.len() as u32
        };
        // SAFETY: no argument is passed; the entries' buffers are kept as in `push`.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }.map(drop)
    }

    /// Arms listeners that have rested, ends connections that linger too long.
    fn look_after_the_late(&mut self) {
        if !self.accept_pause.is_active() || self.accept_pause.is_over() {
            for listener in std::mem::take(&mut self.listeners_idle) {
                self.arm_accept(listener);
            }
        }
        while let Some(conn) = self.lingering.due() {
            let slot = &self.conns[conn.slot as usize];
            let Some(socket) = &slot.socket else { continue };
            if slot.generation == conn.generation && slot.is_closing {
                // The send in flight fails, and its completion frees the slot.
                shutdown(socket.as_raw_fd());
            }
        }
    }

    fn on_completion(&mut self, data: u64, result: i32, flags: u32, sink: &mut dyn FnMut(Event<'_>)) {
        let (kind, generation, index) = split_user_data(data);
        match kind {
            KIND_ACCEPT => self.on_accept(index as usize, result, flags, sink),
            KIND_RECEIVE => self.on_receive(generation, index, result, flags, sink),
            KIND_SEND => self.on_send(index, result, sink),
            KIND_WRITE => self.on_write(index, result, sink),
            KIND_WAKE => {
                self.is_wake_armed = false;
                sink(Event::Woken);
            }
            _ => {}
        }
    }

    fn on_accept(&mut self, listener: usize, result: i32, flags: u32, sink: &mut dyn FnMut(Event<'_>)) {
        if result >= 0 {
            // SAFETY: the kernel has just made this descriptor for us.
            let socket = unsafe { OwnedFd::from_raw_fd(result) };
            self.accept_pause.on_success();
            if let Some(peer) = peer_of(&socket) {
                sink(Event::Accepted { listener, socket, peer });
            }
        } else {
            self.accept_pause.on_error(-result);
        }
        if !cqueue::more(flags) {
            self.listeners_idle.push(listener);
        }
    }

    fn on_receive(
        &mut self,
        generation: u32,
        index: u32,
        result: i32,
        flags: u32,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let slot = &mut self.conns[index as usize];
        let is_current = slot.generation == generation && slot.socket.is_some();
        let is_listened_to = is_current && !slot.is_closing;
        if let Some(buffer) = cqueue::buffer_select(flags) {
            let length = result.max(0) as usize;
            if is_listened_to && length > 0 {
                let conn = ConnId { slot: index, generation };
                self.buffers.with(buffer, length, |bytes| sink(Event::Received { conn, bytes }));
            }
            self.buffers.give_back(buffer);
        }
        if !is_current {
            return;
        }
        let slot = &mut self.conns[index as usize];
        if !cqueue::more(flags) {
            slot.is_armed = false;
        }
        if !is_listened_to {
            return;
        }
        if result == 0 {
            self.conns[index as usize].wants_input = false;
            sink(Event::Ended { conn: self.id(index) });
        } else if result < 0
            && !matches!(-result, libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN)
        {
            self.on_gone(index, sink);
        } else {
            self.arm_receive(index);
        }
    }

    /// The peer is gone: tells so at once; the slot itself may have to wait for a send, which the shutdown ends.
    fn on_gone(&mut self, index: u32, sink: &mut dyn FnMut(Event<'_>)) {
        let conn = self.id(index);
        if let Some(socket) = &self.conns[index as usize].socket {
            shutdown(socket.as_raw_fd());
        }
        self.release(index);
        sink(Event::Closed { conn });
    }

    fn on_send(&mut self, index: u32, result: i32, sink: &mut dyn FnMut(Event<'_>)) {
        let slot = &mut self.conns[index as usize];
        let Some((buffer, sent)) = &mut slot.sending else { return };
        if result > 0 {
            *sent += result as usize;
        }
        let is_done = *sent == buffer.len();
        let is_transient = matches!(-result, libc::EINTR | libc::EAGAIN);
        if !is_done && (result > 0 || is_transient) {
            return self.start_send(index);
        }
        let Some((buffer, _)) = slot.sending.take() else { return };
        if slot.is_closing {
            self.release(index);
        } else if is_done {
            let conn = self.id(index);
            sink(Event::Sent { conn, spare: buffer.into_spare() });
        } else {
            self.on_gone(index, sink);
        }
    }

    fn on_write(&mut self, index: u32, result: i32, sink: &mut dyn FnMut(Event<'_>)) {
        let write = self.writes[index as usize].as_mut().expect("a completion belongs to a write in flight");
        let length = write.buffer.len();
        let outcome = match result {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            _ if write.is_syncing => Ok(()),
            written if written as usize == length => {
                let (fd, durability) = self.files[write.file].as_ref().expect("files outlive their writes");
                if *durability == Durability::Fdatasync {
                    write.is_syncing = true;
                    let fd = types::Fd(fd.as_raw_fd());
                    let entry = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
                    return self.push(entry.user_data(user_data(KIND_WRITE, 0, index)));
                }
                Ok(())
            }
            written => Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("only {written} of {length} bytes were written"),
            )),
        };
        let write = self.writes[index as usize].take().expect("still in flight");
        self.free_writes.push(index);
        sink(Event::WriteDone { token: write.token, buffer: write.buffer, result: outcome });
    }
}

impl Backend for Uring {
    fn listen(&mut self, listener: TcpListener) -> io::Result<usize> {
        self.listeners.push(Some(listener));
        let number = self.listeners.len() - 1;
        self.arm_accept(number);
        Ok(number)
    }

    fn accept_one_by_one(&mut self, on: bool) {
        if std::mem::replace(&mut self.accepts_one, on) || !on {
            return;
        }
        // What is armed for many ends, and is armed for one then.
        for number in 0..self.listeners.len() {
            let entry = opcode::AsyncCancel::new(user_data(KIND_ACCEPT, 0, number as u32)).build();
            self.push(entry.user_data(user_data(KIND_CANCEL, 0, 0)));
        }
    }

    fn stop_listening(&mut self) {
        for number in 0..self.listeners.len() {
            if let Some(listener) = self.listeners[number].take() {
                // The accept in flight holds the socket; shutting it down ends both at once.
                shutdown(listener.as_raw_fd());
                self.retired.push(listener.into());
                let entry = opcode::AsyncCancel::new(user_data(KIND_ACCEPT, 0, number as u32)).build();
                self.push(entry.user_data(user_data(KIND_CANCEL, 0, 0)));
            }
        }
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        prepare_socket(&socket)?;
        let index = match self.free_conns.pop() {
            Some(index) => index,
            None => {
                self.conns.push(Slot::default());
                self.conns.len() as u32 - 1
            }
        };
        let slot = &mut self.conns[index as usize];
        slot.socket = Some(socket);
        slot.wants_input = true;
        self.arm_receive(index);
        Ok(self.id(index))
    }

    fn send(&mut self, conn: ConnId, buffer: SendBuffer) {
        let Some(slot) = self.conns.get_mut(conn.slot as usize) else { return };
        if slot.generation != conn.generation || slot.socket.is_none() || slot.is_closing {
            return;
        }
        assert!(slot.sending.is_none(), "one send per connection is in flight at most");
        slot.sending = Some((buffer, 0));
        self.start_send(conn.slot);
    }

    fn receive(&mut self, conn: ConnId, on: bool) {
        let Some(slot) = self.conns.get_mut(conn.slot as usize) else { return };
        if slot.generation != conn.generation || slot.is_closing || slot.wants_input == on {
            return;
        }
        slot.wants_input = on;
        if on {
            self.arm_receive(conn.slot);
        } else if slot.is_armed {
            let entry = opcode::AsyncCancel::new(user_data(KIND_RECEIVE, conn.generation, conn.slot)).build();
            self.push(entry.user_data(user_data(KIND_CANCEL, 0, 0)));
        }
    }

    fn close(&mut self, conn: ConnId) {
        let Some(slot) = self.conns.get_mut(conn.slot as usize) else { return };
        if slot.generation != conn.generation || slot.socket.is_none() || slot.is_closing {
            return;
        }
        if !self.release(conn.slot) {
            self.lingering.add(conn);
        }
    }

    fn register_file(&mut self, file: OwnedFd, mode: Durability) -> io::Result<usize> {
        match self.files.iter().position(Option::is_none) {
            Some(free) => {
                self.files[free] = Some((file, mode));
                Ok(free)
            }
            None => {
                self.files.push(Some((file, mode)));
                Ok(self.files.len() - 1)
            }
        }
    }

    fn release_file(&mut self, file: usize) {
        let is_busy = self.writes.iter().flatten().any(|write| write.file == file);
        assert!(!is_busy, "no write to a released file is in flight");
        self.files[file] = None;
    }

    fn write_durable(&mut self, file: usize, offset: u64, buffer: AlignedBuffer, token: u64) {
        let (fd, durability) = self.files[file].as_ref().expect("writes go to registered files");
        let flags = if *durability == Durability::Dsync { libc::RWF_DSYNC } else { 0 };
        let bytes = buffer.as_slice();
        let entry = opcode::Write::new(types::Fd(fd.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .offset(offset)
            .rw_flags(flags)
            .build();
        let index = match self.free_writes.pop() {
            Some(index) => index,
            None => {
                self.writes.push(None);
                self.writes.len() as u32 - 1
            }
        };
        self.writes[index as usize] = Some(DiskWrite { buffer, file, token, is_syncing: false });
        self.push(entry.user_data(user_data(KIND_WRITE, 0, index)));
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.event_fd) as Arc<dyn Waker>
    }

    fn turn(&mut self, wait: Option<Duration>, sink: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        self.arm_wake();
        self.look_after_the_late();
        self.submit(wait)?;
        let mut completions = std::mem::take(&mut self.completions);
        completions
            .extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        for (data, result, flags) in completions.drain(..) {
            self.on_completion(data, result, flags, sink);
        }
        self.completions = completions;
        self.buffers.publish();
        Ok(())
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for Uring {
    /// Nothing the kernel still reads from may be freed, and the ports must be free for the next process.
    fn drop(&mut self) {
        self.stop_listening();
        for slot in &mut self.conns {
            slot.is_closing = true;
            if let Some(socket) = &slot.socket {
                shutdown(socket.as_raw_fd());
            }
        }
        for _ in 0..DROP_TURNS_MAX {
            let is_busy = self.writes.iter().any(Option::is_some)
                || self.conns.iter().any(|slot| slot.sending.is_some());
            if self.turn(Some(Duration::from_millis(1)), &mut |_| {}).is_err() || !is_busy {
                break;
            }
        }
        // The reads and receives that are still armed end here, so that nothing writes to freed memory.
        let limit = types::Timespec::from(Duration::from_secs(1));
        let _ = self.ring.submitter().register_sync_cancel(Some(limit), types::CancelBuilder::any());
        let _ = self.turn(Some(Duration::ZERO), &mut |_| {});
        // A send or write that did not end in time may still be read by the kernel: its memory is given up, not freed.
        std::mem::forget(self.conns.iter_mut().filter_map(|slot| slot.sending.take()).collect::<Vec<_>>());
        std::mem::forget(std::mem::take(&mut self.writes));
    }
}

const DROP_TURNS_MAX: usize = 1000;
const GENERATION_MASK: u32 = (1 << 24) - 1;

fn user_data(kind: u64, generation: u32, index: u32) -> u64 {
    kind << 56 | ((generation & GENERATION_MASK) as u64) << 32 | index as u64
}

fn split_user_data(data: u64) -> (u64, u32, u32) {
    (data >> 56, (data >> 32) as u32 & GENERATION_MASK, data as u32)
}

/// The other end's address; None if it is gone already.
pub(super) fn peer_of(socket: &OwnedFd) -> Option<SocketAddr> {
    socket2::SockRef::from(socket).peer_addr().ok()?.as_socket()
}

/// Errors of an enter that leave everything in order: the next turn goes on.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
}
