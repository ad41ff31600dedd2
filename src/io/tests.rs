//! One suite for both backends: what [`Backend`](super::Backend) promises, over real sockets and files. Every wait ends
//! with the awaited event or fails after a generous deadline.

use super::*;
use crate::ids::ConnId;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

/// A backend and everything it has told so far.
struct Net {
    backend: Box<dyn Backend>,
    accepted: Vec<OwnedFd>,
    received: BTreeMap<ConnId, Vec<u8>>,
    sent: Vec<(ConnId, Vec<u8>)>,
    ended: Vec<ConnId>,
    closed: Vec<ConnId>,
    written: Vec<(u64, std::io::Result<()>)>,
    woken: usize,
}

impl Net {
    fn new(backend: Box<dyn Backend>) -> Net {
        let (accepted, sent, ended, closed, written) = Default::default();
        Net { backend, accepted, received: BTreeMap::new(), sent, ended, closed, written, woken: 0 }
    }

    fn turn(&mut self, wait: Option<Duration>) {
        let Net { backend, accepted, received, sent, ended, closed, written, woken } = self;
        let result = backend.turn(wait, &mut |event| match event {
            Event::Accepted { socket, .. } => accepted.push(socket),
            Event::Received { conn, bytes } => received.entry(conn).or_default().extend_from_slice(bytes),
            Event::Sent { conn, spare } => sent.push((conn, spare)),
            Event::Ended { conn } => ended.push(conn),
            Event::Closed { conn } => closed.push(conn),
            Event::WriteDone { token, result, .. } => written.push((token, result)),
            Event::Woken => *woken += 1,
        });
        result.expect("the kernel takes a turn");
    }

    /// Turns until `is_done`.
    fn until(&mut self, what: &str, is_done: impl FnMut(&Net) -> bool) {
        self.drive(what, is_done, |_| {});
    }

    /// Turns until `is_done`, with something to do after each turn.
    fn drive(&mut self, what: &str, mut is_done: impl FnMut(&Net) -> bool, mut act: impl FnMut(&mut Net)) {
        let deadline = Instant::now() + DEADLINE;
        while !is_done(self) {
            assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
            self.turn(Some(Duration::from_millis(20)));
            act(self);
        }
    }

    /// Turns for a while: for what must *not* happen.
    fn turn_for(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.turn(Some(Duration::from_millis(5)));
        }
    }

    fn listen(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        self.backend.listen(listener).expect("listening");
        address
    }

    /// A connected pair: our end, adopted, and the client's.
    fn connect(&mut self) -> (ConnId, TcpStream) {
        let (ours, client) = pair();
        (self.backend.adopt(ours).expect("adopted"), client)
    }

    /// Sends back whatever has arrived, one send per connection at a time.
    fn echo(&mut self, busy: &mut BTreeMap<ConnId, ()>) {
        for (conn, _) in self.sent.drain(..) {
            busy.remove(&conn);
        }
        for (conn, bytes) in &mut self.received {
            if !bytes.is_empty() && !busy.contains_key(conn) {
                busy.insert(*conn, ());
                self.backend.send(*conn, std::mem::take(bytes).into());
            }
        }
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    client.set_read_timeout(Some(DEADLINE)).expect("a valid timeout");
    let (ours, _) = listener.accept().expect("somebody connected");
    (ours.into(), client)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn uring_with(buffers: u16, bytes: usize) -> Option<Net> {
    let event_fd = Arc::new(sys::EventFd::new().expect("an eventfd"));
    match uring::Uring::with_buffers(event_fd, buffers, bytes) {
        Ok(ring) => Some(Net::new(Box::new(ring))),
        Err(error) => {
            eprintln!("SKIPPED: io_uring does not work here: {error}");
            None
        }
    }
}

fn epoll() -> Net {
    let event_fd = Arc::new(sys::EventFd::new().expect("an eventfd"));
    Net::new(Box::new(epoll::Epoll::new(event_fd).expect("epoll always works")))
}

macro_rules! for_both_backends {
    ($($name:ident)*) => {
        mod by_uring {
            $(#[test]
            fn $name() {
                if let Some(net) = super::uring_with(64, 16 << 10) {
                    super::$name(net);
                }
            })*
        }
        mod by_epoll {
            $(#[test]
            fn $name() {
                super::$name(super::epoll());
            })*
        }
    };
}

for_both_backends! {
    accepts_and_echoes_one_connection
    echoes_500_connections
    a_turn_without_waiting_makes_progress
    a_large_send_reaches_a_slow_reader
    close_waits_for_the_send_in_flight
    close_gives_up_on_a_peer_that_does_not_read
    close_is_final_and_silent
    the_end_of_a_peer_is_told_once
    an_answer_reaches_a_peer_that_has_shut_its_side
    a_reset_while_sending_is_told_once
    a_reused_slot_has_a_new_generation
    a_paused_connection_is_not_read
    pausing_and_resuming_in_one_turn_keeps_reading
    another_thread_wakes_a_waiting_turn
    a_wake_before_the_turn_counts
    a_turn_waits_no_longer_than_asked
    sockets_of_other_threads_are_adopted
    durable_writes_in_flight_all_arrive
    a_failed_write_is_an_error
    released_files_make_room
    stopped_listeners_free_their_port
    dropping_frees_the_port_and_ends_connections
}

fn accepts_and_echoes_one_connection(mut net: Net) {
    let address = net.listen();
    let mut client = TcpStream::connect(address).expect("connected");
    client.write_all(b"early").expect("sent");
    net.until("accepted", |net| net.accepted.len() == 1);
    let socket = net.accepted.remove(0);
    let conn = net.backend.adopt(socket).expect("adopted");
    net.until("received", |net| net.received.get(&conn).is_some_and(|bytes| bytes == b"early"));
    net.backend.send(conn, b"answer".to_vec().into());
    net.until("sent", |net| net.sent.len() == 1);
    assert!(net.sent[0].1.is_empty() && net.sent[0].1.capacity() > 0, "the buffer comes back empty");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"answer");
}

fn echoes_500_connections(mut net: Net) {
    let address = net.listen();
    let clients = std::thread::spawn(move || {
        let mut clients: Vec<_> = (0..500).map(|_| TcpStream::connect(address).expect("connected")).collect();
        for round in 0..5u8 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.write_all(&message(index, round)).expect("sent");
            }
            for (index, client) in clients.iter_mut().enumerate() {
                client.set_read_timeout(Some(DEADLINE)).expect("a valid timeout");
                let mut answer = vec![0; message(index, round).len()];
                client.read_exact(&mut answer).expect("answered");
                assert_eq!(answer, message(index, round));
            }
        }
    });
    let mut busy = BTreeMap::new();
    net.drive(
        "all echoed and gone",
        |net| net.ended.len() == 500,
        |net| {
            for socket in std::mem::take(&mut net.accepted) {
                net.backend.adopt(socket).expect("adopted");
            }
            net.echo(&mut busy);
        },
    );
    clients.join().expect("every client saw its own bytes");
}

fn message(index: usize, round: u8) -> Vec<u8> {
    let mut bytes = vec![round; 50 + index % 300];
    bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

fn a_turn_without_waiting_makes_progress(mut net: Net) {
    let (conn, mut client) = net.connect();
    client.write_all(b"ping").expect("sent");
    let deadline = Instant::now() + DEADLINE;
    while !net.received.contains_key(&conn) {
        assert!(Instant::now() < deadline, "turns that do not wait never saw the bytes");
        net.turn(Some(Duration::ZERO));
    }
    net.backend.send(conn, b"pong".to_vec().into());
    while net.sent.is_empty() {
        assert!(Instant::now() < deadline, "turns that do not wait never finished the send");
        net.turn(Some(Duration::ZERO));
    }
    client.read_exact(&mut [0; 4]).expect("answered");
}

/// Reads everything up to the end of the stream, in small pieces.
fn read_slowly(mut client: TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut all, mut part) = (Vec::new(), vec![0; 24 << 10]);
        loop {
            match client.read(&mut part) {
                Ok(0) | Err(_) => return all,
                Ok(count) => all.extend_from_slice(&part[..count]),
            }
            std::thread::yield_now();
        }
    })
}

fn a_large_send_reaches_a_slow_reader(mut net: Net) {
    let (conn, client) = net.connect();
    let expected = pattern(16 << 20);
    net.backend.send(conn, expected.clone().into());
    net.turn(Some(Duration::from_millis(5)));
    assert!(net.sent.is_empty(), "so much does not fit into socket buffers");
    let reader = read_slowly(client);
    net.until("all sent", |net| net.sent.len() == 1);
    net.backend.close(conn);
    net.turn_for(Duration::from_millis(10));
    assert!(reader.join().expect("read") == expected, "every byte, in order");
}

fn close_waits_for_the_send_in_flight(mut net: Net) {
    let (conn, client) = net.connect();
    let expected = pattern(16 << 20);
    net.backend.send(conn, expected.clone().into());
    net.backend.close(conn);
    let reader = read_slowly(client);
    net.drive("everything read, then the end", |_| reader.is_finished(), |_| {});
    assert!(reader.join().expect("read") == expected, "nothing of the last answer is lost");
    assert!(net.sent.is_empty() && net.closed.is_empty(), "no event follows a close");
}

fn close_gives_up_on_a_peer_that_does_not_read(mut net: Net) {
    let (conn, mut client) = net.connect();
    net.backend.send(conn, pattern(32 << 20).into());
    net.turn(Some(Duration::from_millis(5)));
    net.backend.close(conn);
    // The peer's writes fail once the connection is really gone; it has not read a byte until then.
    net.drive("the connection ends", |_| client.write_all(b"x").is_err(), |_| {});
}

fn close_is_final_and_silent(mut net: Net) {
    let (conn, mut client) = net.connect();
    net.turn(Some(Duration::ZERO));
    client.write_all(b"too late").expect("sent");
    net.backend.close(conn);
    net.backend.close(conn);
    net.backend.send(conn, b"nobody hears this".to_vec().into());
    net.backend.receive(conn, true);
    net.turn_for(Duration::from_millis(20));
    assert!(net.received.is_empty() && net.sent.is_empty() && net.closed.is_empty());
    assert!(!matches!(client.read(&mut [0; 8]), Ok(1..)), "the peer sees the end");
}

fn the_end_of_a_peer_is_told_once(mut net: Net) {
    let (conn, mut client) = net.connect();
    net.backend.send(conn, b"hello".to_vec().into());
    net.until("sent", |net| !net.sent.is_empty());
    client.write_all(b"bye").expect("sent");
    client.shutdown(Shutdown::Write).expect("shut");
    net.until("ended", |net| !net.ended.is_empty());
    assert_eq!(net.received[&conn], b"bye", "bytes before the end are not lost");
    net.turn_for(Duration::from_millis(20));
    net.backend.close(conn);
    net.turn_for(Duration::from_millis(20));
    assert_eq!((net.ended, net.closed), (vec![conn], vec![]));
}

fn an_answer_reaches_a_peer_that_has_shut_its_side(mut net: Net) {
    let (conn, mut client) = net.connect();
    client.write_all(b"ruok").expect("sent");
    client.shutdown(Shutdown::Write).expect("shut");
    net.until("ended", |net| net.ended == [conn]);
    net.backend.send(conn, pattern(8 << 20).into());
    net.backend.close(conn);
    let reader = read_slowly(client);
    net.drive("read", |_| reader.is_finished(), |_| {});
    assert!(reader.join().expect("read") == pattern(8 << 20));
    assert!(net.closed.is_empty() && net.sent.is_empty(), "a closed connection has no events");
}

fn a_reset_while_sending_is_told_once(mut net: Net) {
    let (conn, client) = net.connect();
    net.backend.send(conn, pattern(16 << 20).into());
    net.turn(Some(Duration::from_millis(5)));
    // Unread bytes at the close make it a reset.
    drop(client);
    net.until("closed", |net| !net.closed.is_empty());
    net.turn_for(Duration::from_millis(20));
    assert_eq!(net.closed, [conn]);
    assert!(net.sent.is_empty(), "one of `Sent` and `Closed`, not both");
}

fn a_reused_slot_has_a_new_generation(mut net: Net) {
    let (old, mut old_client) = net.connect();
    net.turn(Some(Duration::ZERO));
    old_client.write_all(b"for the old one").expect("sent");
    net.backend.close(old);
    let (new, mut new_client) = net.connect();
    assert_eq!(new.slot, old.slot, "slots are reused");
    assert_ne!(new.generation, old.generation);
    net.backend.send(old, b"stale".to_vec().into());
    net.backend.close(old);
    new_client.write_all(b"new").expect("sent");
    net.until("received", |net| net.received.contains_key(&new));
    net.backend.send(new, b"fresh".to_vec().into());
    net.until("sent", |net| !net.sent.is_empty());
    let mut answer = [0; 5];
    new_client.read_exact(&mut answer).expect("answered");
    assert_eq!((&answer, net.received[&new].as_slice()), (b"fresh", b"new".as_slice()));
    assert!(!net.received.contains_key(&old) && net.closed.is_empty());
}

fn a_paused_connection_is_not_read(mut net: Net) {
    let (conn, mut client) = net.connect();
    client.write_all(b"first").expect("sent");
    net.until("received", |net| net.received.contains_key(&conn));
    net.backend.receive(conn, false);
    net.turn_for(Duration::from_millis(10));
    let client = std::thread::spawn(move || {
        client.write_all(&pattern(16 << 20)).expect("sent, once somebody reads");
        client
    });
    net.turn_for(Duration::from_millis(50));
    assert_eq!(net.received[&conn].len(), 5, "nothing is read while paused");
    assert!(!client.is_finished(), "the sender feels the back-pressure");
    net.backend.receive(conn, true);
    net.until("the rest", |net| net.received[&conn].len() == 5 + (16 << 20));
    assert!(net.received[&conn][5..] == pattern(16 << 20));
    client.join().expect("sent");
}

fn pausing_and_resuming_in_one_turn_keeps_reading(mut net: Net) {
    let (conn, mut client) = net.connect();
    for round in 1..=20 {
        net.backend.receive(conn, false);
        net.backend.receive(conn, true);
        net.backend.receive(conn, false);
        net.backend.receive(conn, true);
        client.write_all(b"x").expect("sent");
        net.until("one more byte", |net| net.received.get(&conn).is_some_and(|bytes| bytes.len() == round));
    }
}

fn another_thread_wakes_a_waiting_turn(mut net: Net) {
    let waker = net.backend.waker();
    let thread = std::thread::spawn(move || waker.wake());
    while net.woken == 0 {
        // Hangs for good if the wake is lost.
        net.turn(None);
    }
    thread.join().expect("woke us");
}

fn a_wake_before_the_turn_counts(mut net: Net) {
    for round in 1..=3 {
        net.backend.waker().wake();
        net.backend.waker().wake();
        net.turn(None);
        assert_eq!(net.woken, round, "two wakes before a turn are one event");
    }
}

fn a_turn_waits_no_longer_than_asked(mut net: Net) {
    net.turn(Some(Duration::ZERO));
    let start = Instant::now();
    net.turn(Some(Duration::from_millis(30)));
    assert!(start.elapsed() >= Duration::from_millis(25), "nothing happened, so it waited");
    assert!(start.elapsed() < DEADLINE);
}

fn sockets_of_other_threads_are_adopted(mut net: Net) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (sender, receiver) = queue::mailbox::<OwnedFd>(4, net.backend.waker());
    let acceptor = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("somebody connected");
        assert!(sender.send(socket.into()).is_ok(), "the queue has room");
    });
    let mut client = TcpStream::connect(address).expect("connected");
    client.write_all(b"hello").expect("sent");
    let socket = loop {
        if receiver.announce_sleep() {
            net.turn(None);
        }
        if let Some(socket) = receiver.pop() {
            break socket;
        }
    };
    let conn = net.backend.adopt(socket).expect("adopted");
    net.until("received", |net| net.received.get(&conn).is_some_and(|bytes| bytes == b"hello"));
    acceptor.join().expect("accepted");
}

/// A segment on a real file system, ready for `write_durable`.
fn segment(folder: &tempfile::TempDir) -> (std::path::PathBuf, bool) {
    let path = folder.path().join("segment");
    disk::create_zeros(&path, 1 << 20).expect("created");
    (path, disk::probe(folder.path()).expect("probed").direct)
}

fn block(fill: u8, blocks: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(blocks * 4096);
    buffer.as_mut_slice().fill(fill);
    buffer
}

fn durable_writes_in_flight_all_arrive(mut net: Net) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let (path, is_direct) = segment(&folder);
    for mode in [Durability::Dsync, Durability::Fdatasync, Durability::None] {
        let file = disk::open_segment(&path, is_direct).expect("opened");
        let file = net.backend.register_file(file, mode).expect("registered");
        for token in 0..8u64 {
            let buffer = block(token as u8 + mode as u8 * 16 + 1, 3);
            net.backend.write_durable(file, token * 3 * 4096, buffer, token);
        }
        net.until("all written", |net| net.written.len() == 8);
        net.backend.release_file(file);
        let mut tokens = Vec::new();
        for (token, result) in net.written.drain(..) {
            result.expect("written");
            tokens.push(token);
        }
        tokens.sort_unstable();
        assert_eq!(tokens, [0, 1, 2, 3, 4, 5, 6, 7]);
        let bytes = std::fs::read(&path).expect("readable");
        for (index, part) in bytes[..8 * 3 * 4096].chunks(3 * 4096).enumerate() {
            assert!(part.iter().all(|byte| *byte == index as u8 + mode as u8 * 16 + 1), "{mode:?} {index}");
        }
    }
}

fn a_failed_write_is_an_error(mut net: Net) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let (path, _) = segment(&folder);
    let read_only = std::fs::File::open(&path).expect("opened");
    let file = net.backend.register_file(read_only.into(), Durability::Fdatasync).expect("registered");
    net.backend.write_durable(file, 0, block(1, 1), 7);
    net.until("answered", |net| net.written.len() == 1);
    assert_eq!(net.written[0].0, 7);
    assert!(net.written[0].1.is_err());
}

fn released_files_make_room(mut net: Net) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let (path, _) = segment(&folder);
    let open = || disk::open_segment(&path, false).expect("opened");
    let first = net.backend.register_file(open(), Durability::None).expect("registered");
    let second = net.backend.register_file(open(), Durability::None).expect("registered");
    net.backend.release_file(first);
    let third = net.backend.register_file(open(), Durability::None).expect("registered");
    assert_eq!((third, second != first), (first, true));
    net.backend.write_durable(third, 0, block(9, 1), 1);
    net.until("written", |net| net.written.len() == 1);
    assert_eq!(std::fs::read(&path).expect("readable")[..4096], [9; 4096]);
}

fn stopped_listeners_free_their_port(mut net: Net) {
    let address = net.listen();
    let client = TcpStream::connect(address).expect("connected");
    net.until("accepted", |net| net.accepted.len() == 1);
    net.backend.stop_listening();
    net.turn_for(Duration::from_millis(20));
    assert!(TcpStream::connect(address).is_err(), "nobody accepts any more");
    net.accepted.clear();
    drop(client);
    // std sets SO_REUSEADDR, so only a listening socket is in the way.
    TcpListener::bind(address).expect("the port is free");
}

fn dropping_frees_the_port_and_ends_connections(mut net: Net) {
    let address = net.listen();
    let (conn, mut client) = net.connect();
    net.backend.send(conn, pattern(16 << 20).into());
    net.turn(Some(Duration::ZERO));
    drop(net);
    TcpListener::bind(address).expect("the port is free at once");
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 16 << 20, "the connection ended in the middle");
}

#[test]
fn a_short_supply_of_receive_buffers_loses_nothing() {
    let Some(mut net) = uring_with(2, 4096) else { return };
    let mut clients: Vec<_> = (0..20).map(|_| net.connect()).collect();
    for (_, client) in &mut clients {
        client.write_all(&pattern(60_000)).expect("sent");
    }
    net.until("all received", |net| {
        net.received.len() == 20 && net.received.values().all(|bytes| bytes.len() == 60_000)
    });
    assert!(net.received.values().all(|bytes| *bytes == pattern(60_000)));
    assert!(net.closed.is_empty());
}
