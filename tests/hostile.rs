//! Whatever arrives on the client port, a healthy client notices nothing: malformed, truncated, oversized, slow and
//! greedy input, each beside a client that writes and reads all the time and checks every reply.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{Client, DEADLINE, Server, buffer, connect_body, create_body, open_acl, set_body, string};

/// A client that works without a pause until it is stopped.
struct Healthy {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Healthy {
    fn start(server: &Server) -> Healthy {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (port, is_over, count) = (server.port, Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(port, 30_000);
            assert_eq!(client.create("/healthy", b"", 0).err, 0);
            while !is_over.load(Ordering::SeqCst) {
                let round = count.load(Ordering::SeqCst).to_string();
                assert_eq!(client.set("/healthy", round.as_bytes()).err, 0);
                assert_eq!(client.get("/healthy"), Ok(round.into_bytes()));
                count.fetch_add(1, Ordering::SeqCst);
            }
            assert_eq!(client.delete("/healthy").err, 0);
        });
        Healthy { stop, rounds, thread: Some(thread) }
    }

    /// It gets on, now.
    fn gets_on(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        let start = Instant::now();
        while self.rounds.load(Ordering::SeqCst) < before + 3 {
            assert!(start.elapsed() < DEADLINE, "the healthy client is stuck");
            std::thread::yield_now();
        }
    }

    fn end(mut self) {
        self.gets_on();
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().expect("every reply was right");
    }
}

fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The server ends the connection without another word.
fn is_closed_silently(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert!(rest.is_empty(), "{} bytes came", rest.len()),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is not closed"),
    }
}

const LENGTHS: [i32; 6] = [i32::MIN, -2, -1, 0x00ff_ffff, 0x7000_0000, i32::MAX];

#[test]
fn frames_of_impossible_length_close_only_their_connection() {
    let server = Server::start("ringkeeper.shards=2", &[]);
    let healthy = Healthy::start(&server);
    for length in LENGTHS {
        let mut stream = raw(&server);
        stream.write_all(&length.to_be_bytes()).unwrap();
        is_closed_silently(&mut stream);
        let mut client = server.connect();
        client.stream.write_all(&length.to_be_bytes()).unwrap();
        is_closed_silently(&mut client.stream);
        let session =
            Client::resume(server.port, client.session, &client.password, 0).expect("an answer").session;
        assert_eq!(session, client.session, "the session has lost its connection only");
        healthy.gets_on();
    }
    // An empty frame has no header.
    let mut client = server.connect();
    client.send_frame(&[]).unwrap();
    is_closed_silently(&mut client.stream);
    // The largest request that is allowed, and one byte more.
    let mut client = server.connect();
    assert_eq!(client.create("/large", &[], 0).err, 0);
    let room = 0xfffff - 8 - set_body("/large", &[], -1).len();
    assert_eq!(client.call(5, &set_body("/large", &vec![7; room], -1)).err, 0);
    assert_eq!(client.get("/large").unwrap().len(), room);
    let _ = client.send(9, 5, &set_body("/large", &vec![8; room + 1], -1));
    is_closed_silently(&mut client.stream);
    healthy.end();
}

#[test]
fn connect_requests_of_every_length() {
    let server = Server::start("", &[]);
    let healthy = Healthy::start(&server);
    let whole = connect_body(0, 30_000, 0, Some(&[0; 16]), Some(false));
    for length in 0..whole.len() {
        let answer = Client::handshake(server.port, &whole[..length]);
        // Only the read-only flag of later clients may be missing.
        assert_eq!(answer.is_some(), length == whole.len() - 1, "{length} bytes");
    }
    for version in [i32::MIN, -1, 1, i32::MAX] {
        let mut body = whole.clone();
        body[..4].copy_from_slice(&version.to_be_bytes());
        assert!(Client::handshake(server.port, &body).is_some(), "ZooKeeper does not look at the version");
    }
    for length in LENGTHS {
        let mut body = whole.clone();
        body[24..28].copy_from_slice(&length.to_be_bytes());
        // -1 is a null password, as some clients send it.
        assert_eq!(
            Client::handshake(server.port, &body).is_some(),
            length == -1,
            "a password of {length} bytes"
        );
    }
    healthy.end();
}

#[test]
fn other_protocols_and_noise_are_turned_away() {
    let server = Server::start("", &[]);
    let healthy = Healthy::start(&server);
    let hello =
        [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[0x55; 512]].concat();
    let http = b"GET /commands HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    for bytes in [hello, http, b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), vec![0xff; 4096], b"ruo\0".to_vec()] {
        let mut stream = raw(&server);
        // The server may be gone before it has taken everything.
        let _ = stream.write_all(&bytes);
        is_closed_silently(&mut stream);
        healthy.gets_on();
    }
    let mut prng = Prng(7);
    for _ in 0..200 {
        let mut stream = raw(&server);
        let bytes: Vec<u8> = (0..prng.below(200)).map(|_| prng.next() as u8).collect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // Requests that are sent before the session is there wait for it.
    let mut stream = raw(&server);
    let mut bytes = Vec::new();
    for frame in
        [connect_body(0, 30_000, 0, Some(&[0; 16]), Some(false)), [&[0, 0, 0, 1, 0, 0, 0, 107][..]].concat()]
    {
        bytes.extend((frame.len() as u32).to_be_bytes());
        bytes.extend(frame);
    }
    stream.write_all(&bytes).unwrap();
    let mut answer = vec![0; 4 + 37 + 4 + 16];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[45..49], [0, 0, 0, 1]);
    healthy.end();
}

/// xorshift: a seed decides everything.
struct Prng(u64);

impl Prng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A sound request of every kind that carries something.
fn requests() -> Vec<(i32, Vec<u8>)> {
    let version = (-1i32).to_be_bytes().to_vec();
    let watch = |path: &str| [string(path), vec![0]].concat();
    let create = create_body("/h", b"data", 0);
    let op = |code: i32, body: &[u8]| [&code.to_be_bytes()[..], &[0], &(-1i32).to_be_bytes(), body].concat();
    let end = op(-1, &[])[..4].iter().copied().chain([1]).chain((-1i32).to_be_bytes()).collect::<Vec<u8>>();
    let multi = [
        op(1, &create),
        op(5, &set_body("/h", b"x", -1)),
        op(2, &[string("/h"), version.clone()].concat()),
        end.clone(),
    ];
    let reads = [op(4, &watch("/")), op(8, &watch("/")), end];
    let paths = |paths: &[&str]| {
        let mut bytes = (paths.len() as i32).to_be_bytes().to_vec();
        paths.iter().for_each(|path| bytes.extend(string(path)));
        bytes
    };
    let lists = [paths(&["/a"]), paths(&["/b"]), paths(&["/c"])].concat();
    vec![
        (1, create.clone()),
        (15, create.clone()),
        (19, create_body("/h", b"data", 4)),
        (21, [create_body("/h", b"data", 5), 1000i64.to_be_bytes().to_vec()].concat()),
        (2, [string("/h"), version.clone()].concat()),
        (20, string("/h")),
        (3, watch("/h")),
        (4, watch("/h")),
        (5, set_body("/h", b"more", -1)),
        (6, string("/h")),
        (7, [string("/h"), open_acl(), version.clone()].concat()),
        (8, watch("/h")),
        (12, watch("/h")),
        (9, string("/h")),
        (13, [string("/h"), version.clone()].concat()),
        (14, multi.concat()),
        (22, reads.concat()),
        (16, [string("joining"), string("leaving"), string("members"), 0i64.to_be_bytes().to_vec()].concat()),
        (17, [string("/h"), 3i32.to_be_bytes().to_vec()].concat()),
        (18, [string("/h"), 3i32.to_be_bytes().to_vec()].concat()),
        (100, [0i32.to_be_bytes().to_vec(), string("digest"), buffer(b"a:b")].concat()),
        (101, [0i64.to_be_bytes().to_vec(), lists.clone()].concat()),
        (105, [0i64.to_be_bytes().to_vec(), lists, paths(&["/d"]), paths(&["/e"])].concat()),
        (102, buffer(b"token")),
        (103, string("/")),
        (104, string("/")),
        (106, [string("/h"), 1i32.to_be_bytes().to_vec()].concat()),
    ]
}

/// Sends a request that may be anything; then the client is asked whether it is still served. A closed connection is a
/// sound answer, too; silence is not.
fn survives(server: &Server, client: &mut Client, op: i32, body: &[u8]) {
    let sent = client.send(77, op, body).and_then(|()| client.send(-2, 11, &[]));
    let mut is_alive = sent.is_ok();
    while is_alive {
        match client.receive() {
            Some(reply) if reply.xid == -2 => return,
            Some(reply) => assert_eq!(reply.xid, 77),
            None => is_alive = false,
        }
    }
    *client = server.connect();
}

#[test]
fn requests_cut_at_every_byte() {
    let server = Server::start("ringkeeper.shards=2\nextendedTypesEnabled=true", &[]);
    let healthy = Healthy::start(&server);
    let mut client = server.connect();
    for (op, body) in requests() {
        for length in 0..=body.len() {
            survives(&server, &mut client, op, &body[..length]);
        }
        survives(&server, &mut client, op, &[body, vec![0; 9]].concat());
    }
    healthy.end();
}

#[test]
fn requests_with_impossible_numbers_and_noise() {
    let server = Server::start("ringkeeper.shards=2\nextendedTypesEnabled=true", &[]);
    let healthy = Healthy::start(&server);
    let mut client = server.connect();
    let before = server.resident_bytes();
    let values = [i32::MIN, -2, -1, 0, 1, 100_000, 0x00ff_ffff, 0x7fff_0000, i32::MAX];
    for (op, body) in requests() {
        for at in 0..body.len().saturating_sub(3) {
            for value in values {
                let mut body = body.clone();
                body[at..at + 4].copy_from_slice(&value.to_be_bytes());
                survives(&server, &mut client, op, &body);
            }
        }
        for at in 0..body.len() {
            let mut body = body.clone();
            body[at] = 0xff;
            survives(&server, &mut client, op, &body);
        }
    }
    let mut prng = Prng(42);
    for _ in 0..3_000 {
        let op = (prng.below(140) as i32) - 20;
        let body: Vec<u8> = (0..prng.below(120)).map(|_| (prng.next() >> 20) as u8 & 0x7f).collect();
        survives(&server, &mut client, op, &body);
    }
    healthy.end();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 128 << 20,
        "{grown} bytes stay in memory after requests that announce more than they have"
    );
}

#[test]
fn transactions_of_very_many_operations() {
    let server = Server::start("", &[]);
    let healthy = Healthy::start(&server);
    let mut client = server.connect();
    let check = [
        &13i32.to_be_bytes()[..],
        &[0],
        &(-1i32).to_be_bytes(),
        &string("/zookeeper"),
        &(-1i32).to_be_bytes(),
    ]
    .concat();
    let end = [&(-1i32).to_be_bytes()[..], &[1], &(-1i32).to_be_bytes()].concat();
    let many = 0xfff00 / check.len();
    let reply = client.call(14, &[check.repeat(many), end.clone()].concat());
    assert_eq!((reply.err, reply.body.len()), (0, 9 * (many + 1)));
    // Headers without operations, and an operation within itself.
    survives(&server, &mut client, 14, &end.repeat(1000));
    let nested = [&14i32.to_be_bytes()[..], &[0], &(-1i32).to_be_bytes()].concat();
    survives(&server, &mut client, 14, &nested.repeat(50_000));
    survives(&server, &mut client, 22, &nested.repeat(50_000));
    healthy.end();
}

#[test]
fn who_says_nothing_is_closed_in_time() {
    let server = Server::start("nio.sessionlessCnxnTimeout=1500", &[]);
    let healthy = Healthy::start(&server);
    let mut silent: Vec<TcpStream> = (0..1000).map(|_| raw(&server)).collect();
    // Some have said part of something and then nothing more.
    for (index, stream) in silent.iter_mut().enumerate() {
        let begun = [&b"ruo"[..], &[0, 0, 0, 45, 0, 0], &[]][index % 3];
        stream.write_all(begun).unwrap();
    }
    silent.iter_mut().for_each(is_closed_silently);
    let srvr = server.four_letters("srvr").expect("an answer");
    assert!(srvr.contains("Connections: 2\n"), "{srvr}");
    healthy.end();
}

#[test]
fn one_byte_a_second_is_served_in_the_end() {
    let server = Server::start("", &[]);
    let healthy = Healthy::start(&server);
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.connect();
            std::thread::spawn(move || {
                let body = [&7i32.to_be_bytes()[..], &3i32.to_be_bytes(), &string("/"), &[0]].concat();
                for byte in buffer(&body) {
                    client.stream.write_all(&[byte]).unwrap();
                    // Slowness is what is tested here; nothing waits for a time to pass.
                    std::thread::sleep(Duration::from_secs(1));
                }
                let reply = client.receive().expect("an answer");
                assert_eq!((reply.xid, reply.err, reply.body.len()), (7, 0, 68));
            })
        })
        .collect();
    slow.into_iter().for_each(|thread| thread.join().expect("served"));
    healthy.end();
}

#[test]
fn who_asks_for_much_and_reads_nothing_holds_little_memory() {
    let server = Server::start("ringkeeper.shards=2", &[]);
    let healthy = Healthy::start(&server);
    let mut client = server.connect();
    assert_eq!(client.create("/large", &vec![5; 500_000], 0).err, 0);
    let before = server.resident_bytes();
    let get = buffer(&[&1i32.to_be_bytes()[..], &4i32.to_be_bytes(), &string("/large"), &[0]].concat());
    const ASKED: usize = 400;
    let mut greedy: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    for client in &mut greedy {
        client.stream.write_all(&get.repeat(ASKED)).unwrap();
    }
    healthy.gets_on();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "8 connections that do not read hold {grown} bytes");
    // Nothing was thrown away: whoever reads in the end gets every answer.
    for client in &mut greedy[..2] {
        for _ in 0..ASKED {
            assert_eq!(client.receive().expect("an answer").body.len(), 4 + 500_000 + 68);
        }
    }
    drop(greedy);
    healthy.end();
}

#[test]
fn a_hundred_thousand_requests_before_the_first_reply_is_read() {
    let server = Server::start("ringkeeper.shards=2", &[]);
    let healthy = Healthy::start(&server);
    let mut client = server.connect();
    assert_eq!(client.create("/p", b"", 0).err, 0);
    let mut writer = client.stream.try_clone().unwrap();
    const COUNT: i32 = 100_000;
    let sender = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        for xid in 1..=COUNT {
            // Every tenth is a write: reads behind it keep their order.
            let (op, body) = if xid % 10 == 0 {
                (5, set_body("/p", b"x", -1))
            } else {
                (3, [string("/p"), vec![0]].concat())
            };
            bytes.extend(buffer(&[&xid.to_be_bytes()[..], &i32::to_be_bytes(op), &body].concat()));
        }
        writer.write_all(&bytes).expect("the server takes everything in time");
    });
    healthy.gets_on();
    for xid in 1..=COUNT {
        let reply = client.receive().expect("an answer");
        assert_eq!((reply.xid, reply.err), (xid, 0));
        let version = i32::from_be_bytes(reply.body[32..36].try_into().unwrap());
        assert_eq!(version, xid / 10);
    }
    sender.join().unwrap();
    healthy.end();
}

#[test]
fn a_flood_of_connections_from_one_address() {
    let server = Server::start("maxClientCnxns=40", &[]);
    let mut held: Vec<TcpStream> = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        let mut stream = raw(&server);
        let connect = connect_body(0, 30_000, 0, Some(&[0; 16]), Some(false));
        let served = stream.write_all(&buffer(&connect)).is_ok() && stream.read_exact(&mut [0; 41]).is_ok();
        if served {
            held.push(stream);
        } else {
            refused += 1;
        }
    }
    assert_eq!((held.len(), refused), (40, 260));
    // Somebody who leaves makes room.
    drop(held.pop());
    support::eventually("room for another", || {
        let connect = connect_body(0, 30_000, 0, Some(&[0; 16]), Some(false));
        let mut stream = raw(&server);
        let served = stream.write_all(&buffer(&connect)).is_ok() && stream.read_exact(&mut [0; 41]).is_ok();
        if served {
            held.push(stream);
        }
        served
    });
}
