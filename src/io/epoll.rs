//! The epoll backend, for where io_uring is denied: readiness, plain reads and writes, and one helper thread for durable
//! writes. Level-triggered; what is read in one turn from one connection is bounded, so nobody starves.

use super::disk::write_durable;
use super::patience::{AcceptPause, Lingering, shorten};
use super::sys::{EventFd, check, prepare_socket, shutdown};
use super::{AlignedBuffer, Backend, Durability, Event, SendBuffer, Waker};
use crate::ids::ConnId;
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// One core's epoll instance.
pub struct Epoll {
    poll: OwnedFd,
    listeners: Vec<Option<TcpListener>>,
    conns: Vec<Slot>,
    free: Vec<u32>,
    /// Sends that are done, buffers to hand back.
    sent: Vec<(ConnId, Vec<u8>)>,
    /// Connections found gone while sending.
    gone: Vec<ConnId>,
    lingering: Lingering,
    accept_pause: AcceptPause,
    /// Connections of one listener accepted per turn.
    accepts_max: usize,
    files: Vec<Option<(Arc<OwnedFd>, Durability)>>,
    /// None only while dropping.
    disk: Option<mpsc::Sender<DiskWrite>>,
    disk_thread: Option<JoinHandle<()>>,
    done: Arc<Mutex<VecDeque<DiskDone>>>,
    event_fd: Arc<EventFd>,
    buffer: Vec<u8>,
    events: Vec<libc::epoll_event>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    socket: Option<OwnedFd>,
    sending: Option<(SendBuffer, usize)>,
    wants_input: bool,
    /// Closed for its user; the slot is free once the send in flight has ended.
    is_closing: bool,
    interest: u32,
}

struct DiskWrite {
    file: Arc<OwnedFd>,
    durability: Durability,
    offset: u64,
    buffer: AlignedBuffer,
    token: u64,
}

struct DiskDone {
    token: u64,
    buffer: AlignedBuffer,
    result: io::Result<()>,
}

const LISTENER: u64 = 1 << 62;
const WAKE: u64 = 1 << 61;
const EVENTS_PER_TURN: usize = 1024;
const READ_BYTES: usize = 64 << 10;
const ACCEPTS_PER_TURN: usize = 256;

impl Epoll {
    /// An instance that others wake by `event_fd`.
    pub fn new(event_fd: Arc<EventFd>) -> io::Result<Epoll> {
        // SAFETY: no pointers; the descriptor is owned by nobody else.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: as above.
        let poll = unsafe { OwnedFd::from_raw_fd(fd) };
        control(&poll, libc::EPOLL_CTL_ADD, event_fd.raw(), libc::EPOLLIN as u32, WAKE)?;
        let done = Arc::new(Mutex::new(VecDeque::new()));
        let (disk, disk_thread) = start_disk_thread(Arc::clone(&done), Arc::clone(&event_fd))?;
        Ok(Epoll {
            poll,
            listeners: Vec::new(),
            conns: Vec::new(),
            free: Vec::new(),
            sent: Vec::new(),
            gone: Vec::new(),
            lingering: Lingering::default(),
            accept_pause: AcceptPause::default(),
            accepts_max: ACCEPTS_PER_TURN,
            files: Vec::new(),
            disk: Some(disk),
            disk_thread: Some(disk_thread),
            done,
            event_fd,
            buffer: vec![0; READ_BYTES],
            events: Vec::with_capacity(EVENTS_PER_TURN),
        })
    }

    fn id(&self, index: u32) -> ConnId {
        ConnId { slot: index, generation: self.conns[index as usize].generation }
    }

    /// A connection that is open for its user.
    fn slot(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.conns.get_mut(conn.slot as usize)?;
        (slot.generation == conn.generation && slot.socket.is_some() && !slot.is_closing).then_some(slot)
    }

    /// Asks the kernel for what this connection waits for, if that changed.
    fn update_interest(&mut self, index: u32) {
        let slot = &mut self.conns[index as usize];
        let Some(socket) = &slot.socket else { return };
        let is_read = slot.wants_input && !slot.is_closing;
        let input = if is_read { libc::EPOLLIN } else { 0 };
        let output = if slot.sending.is_some() { libc::EPOLLOUT } else { 0 };
        let wanted = (input | output) as u32;
        if wanted != slot.interest {
            slot.interest = wanted;
            let _ = control(&self.poll, libc::EPOLL_CTL_MOD, socket.as_raw_fd(), wanted, index as u64);
        }
    }

    fn try_send(&mut self, index: u32) {
        let conn = self.id(index);
        let slot = &mut self.conns[index as usize];
        let (Some(socket), Some((buffer, sent))) = (&slot.socket, &mut slot.sending) else { return };
        while *sent < buffer.len() {
            match send(socket.as_raw_fd(), &buffer[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.update_interest(index);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if slot.is_closing => return self.release(index),
                Err(_) => return self.gone.push(conn),
            }
        }
        if slot.is_closing {
            return self.release(index);
        }
        if let Some((buffer, _)) = slot.sending.take() {
            self.sent.push((conn, buffer.into_spare()));
        }
        self.update_interest(index);
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.conns[index as usize];
        if let Some(socket) = slot.socket.take() {
            shutdown(socket.as_raw_fd());
        }
        let generation = slot.generation.wrapping_add(1);
        *slot = Slot { generation, ..Slot::default() };
        self.free.push(index);
    }

    fn read(&mut self, index: u32, is_hung_up: bool, sink: &mut dyn FnMut(Event<'_>)) {
        let conn = self.id(index);
        let slot = &mut self.conns[index as usize];
        let Some(socket) = &slot.socket else { return };
        if slot.is_closing {
            if is_hung_up {
                self.release(index);
            }
            return;
        }
        if !slot.wants_input {
            if is_hung_up {
                self.on_gone(index, sink);
            }
            return;
        }
        match receive(socket.as_raw_fd(), &mut self.buffer) {
            Ok(0) => {
                self.conns[index as usize].wants_input = false;
                self.update_interest(index);
                sink(Event::Ended { conn });
            }
            Ok(count) => sink(Event::Received { conn, bytes: &self.buffer[..count] }),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.on_gone(index, sink),
        }
    }

    fn on_gone(&mut self, index: u32, sink: &mut dyn FnMut(Event<'_>)) {
        let conn = self.id(index);
        self.release(index);
        sink(Event::Closed { conn });
    }

    fn accept(&mut self, number: usize, sink: &mut dyn FnMut(Event<'_>)) {
        for _ in 0..self.accepts_max {
            let Some(Some(listener)) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok((socket, peer)) => {
                    self.accept_pause.on_success();
                    sink(Event::Accepted { listener: number, socket: socket.into(), peer });
                }
                Err(error) => {
                    if self.accept_pause.on_error(error.raw_os_error().unwrap_or(0)) {
                        self.watch_listeners(false);
                    }
                    return;
                }
            }
        }
    }

    fn watch_listeners(&self, on: bool) {
        let events = if on { libc::EPOLLIN as u32 } else { 0 };
        for (number, listener) in self.listeners.iter().enumerate() {
            if let Some(listener) = listener {
                let data = LISTENER | number as u64;
                let _ = control(&self.poll, libc::EPOLL_CTL_MOD, listener.as_raw_fd(), events, data);
            }
        }
    }

    /// Watches listeners that have rested, ends connections that linger too long.
    fn look_after_the_late(&mut self) {
        if self.accept_pause.is_over() {
            self.watch_listeners(true);
        }
        while let Some(conn) = self.lingering.due() {
            let slot = &self.conns[conn.slot as usize];
            if slot.generation == conn.generation && slot.is_closing {
                self.release(conn.slot);
            }
        }
    }

    fn hand_over_done(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        let mut done = std::mem::take(&mut *self.done.lock().expect("nobody panics with this lock"));
        for DiskDone { token, buffer, result } in done.drain(..) {
            sink(Event::WriteDone { token, buffer, result });
        }
        for conn in std::mem::take(&mut self.gone) {
            if self.slot(conn).is_some() {
                self.on_gone(conn.slot, sink);
            }
        }
        let mut sent = std::mem::take(&mut self.sent);
        for (conn, spare) in sent.drain(..) {
            if self.slot(conn).is_some() {
                sink(Event::Sent { conn, spare });
            }
        }
        self.sent = sent;
    }
}

impl Backend for Epoll {
    fn listen(&mut self, listener: TcpListener) -> io::Result<usize> {
        listener.set_nonblocking(true)?;
        let number = self.listeners.len();
        let events = libc::EPOLLIN as u32;
        control(&self.poll, libc::EPOLL_CTL_ADD, listener.as_raw_fd(), events, LISTENER | number as u64)?;
        self.listeners.push(Some(listener));
        Ok(number)
    }

    fn accept_one_by_one(&mut self, on: bool) {
        self.accepts_max = if on { 1 } else { ACCEPTS_PER_TURN };
    }

    fn stop_listening(&mut self) {
        self.listeners.iter_mut().for_each(|listener| *listener = None);
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        prepare_socket(&socket)?;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.conns.push(Slot::default());
                self.conns.len() as u32 - 1
            }
        };
        let interest = libc::EPOLLIN as u32;
        if let Err(error) =
            control(&self.poll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), interest, index as u64)
        {
            self.free.push(index);
            return Err(error);
        }
        let slot = &mut self.conns[index as usize];
        slot.socket = Some(socket);
        slot.wants_input = true;
        slot.interest = interest;
        Ok(self.id(index))
    }

    fn send(&mut self, conn: ConnId, buffer: SendBuffer) {
        let Some(slot) = self.slot(conn) else { return };
        assert!(slot.sending.is_none(), "one send per connection is in flight at most");
        slot.sending = Some((buffer, 0));
        self.try_send(conn.slot);
    }

    fn receive(&mut self, conn: ConnId, on: bool) {
        let Some(slot) = self.slot(conn) else { return };
        slot.wants_input = on;
        self.update_interest(conn.slot);
    }

    fn close(&mut self, conn: ConnId) {
        let Some(slot) = self.slot(conn) else { return };
        if slot.sending.is_none() {
            return self.release(conn.slot);
        }
        slot.is_closing = true;
        self.lingering.add(conn);
        self.update_interest(conn.slot);
    }

    fn register_file(&mut self, file: OwnedFd, mode: Durability) -> io::Result<usize> {
        let file = Some((Arc::new(file), mode));
        match self.files.iter().position(Option::is_none) {
            Some(free) => {
                self.files[free] = file;
                Ok(free)
            }
            None => {
                self.files.push(file);
                Ok(self.files.len() - 1)
            }
        }
    }

    fn release_file(&mut self, file: usize) {
        let file = self.files[file].take();
        let is_busy = file.is_some_and(|(file, _)| Arc::strong_count(&file) > 1);
        assert!(!is_busy, "no write to a released file is in flight");
    }

    fn write_durable(&mut self, file: usize, offset: u64, buffer: AlignedBuffer, token: u64) {
        let (file, durability) = self.files[file].as_ref().expect("writes go to registered files");
        let write = DiskWrite { file: Arc::clone(file), durability: *durability, offset, buffer, token };
        let disk = self.disk.as_ref().expect("only dropping takes it");
        disk.send(write).expect("the disk thread lives as long as this backend");
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.event_fd) as Arc<dyn Waker>
    }

    fn turn(&mut self, wait: Option<Duration>, sink: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        self.look_after_the_late();
        let wait = shorten(wait, &self.lingering, &self.accept_pause);
        let has_done = !self.sent.is_empty() || !self.gone.is_empty();
        let timeout_ms = match wait {
            _ if has_done => 0,
            None => -1,
            Some(wait) => wait.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32,
        };
        let mut events = std::mem::take(&mut self.events);
        // SAFETY: the vector has room for as many events as are asked for; the kernel fills the first `count`.
        let count = unsafe {
            let count = libc::epoll_wait(
                self.poll.as_raw_fd(),
                events.as_mut_ptr(),
                EVENTS_PER_TURN as i32,
                timeout_ms,
            );
            events.set_len(count.max(0) as usize);
            count
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        for event in &events {
            let (data, ready) = (event.u64, event.events);
            if data & WAKE != 0 {
                self.event_fd.drain();
                sink(Event::Woken);
            } else if data & LISTENER != 0 {
                self.accept((data & !LISTENER) as usize, sink);
            } else {
                if ready & libc::EPOLLOUT as u32 != 0 {
                    self.try_send(data as u32);
                }
                if ready & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0 {
                    let is_hung_up = ready & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
                    self.read(data as u32, is_hung_up, sink);
                }
            }
        }
        events.clear();
        self.events = events;
        self.hand_over_done(sink);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "epoll"
    }
}

impl Drop for Epoll {
    /// No write outlives its backend: the next owner of the log would meet it.
    fn drop(&mut self) {
        self.disk = None;
        if let Some(thread) = self.disk_thread.take() {
            let _ = thread.join();
        }
        for slot in &self.conns {
            if let Some(socket) = &slot.socket {
                shutdown(socket.as_raw_fd());
            }
        }
    }
}

fn start_disk_thread(
    done: Arc<Mutex<VecDeque<DiskDone>>>,
    event_fd: Arc<EventFd>,
) -> io::Result<(mpsc::Sender<DiskWrite>, JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel::<DiskWrite>();
    let thread = std::thread::Builder::new().name("disk".into()).spawn(move || {
        for DiskWrite { file, durability, offset, buffer, token } in receiver {
            let result = write_durable(&file, offset, &buffer, durability);
            drop(file);
            let entry = DiskDone { token, buffer, result };
            done.lock().expect("nobody panics with this lock").push_back(entry);
            event_fd.wake();
        }
    })?;
    Ok((sender, thread))
}

fn control(poll: &OwnedFd, operation: i32, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the event is valid for the call; the kernel copies it.
    check(unsafe { libc::epoll_ctl(poll.as_raw_fd(), operation, fd, &raw mut event) })?;
    Ok(())
}

fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the slice is valid for the call and only read.
    let count = unsafe {
        libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

fn receive(fd: RawFd, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the slice is valid for the call; at most its length is written.
    let count = unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}
