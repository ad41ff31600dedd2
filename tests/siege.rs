//! A siege: hostile clients of every kind at once, beside a healthy load that must not notice them. Memory stays within
//! what `start --check` promises, every acknowledged write is there after kill -9. How long it lasts is up to
//! RINGKEEPER_SIEGE_SECONDS, five minutes unless set; latencies are printed, never asserted: the machine has other guests.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use hdrhistogram::Histogram;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{Client, Server, buffer, connect_body, create_body, set_body, string};

/// Two shards, so that batches cross cores.
const SETTINGS: &str = "ringkeeper.shards=2\nsnapCount=5000\nautopurge.snapRetainCount=3";

/// Clients whose replies are all checked.
const HEALTHY_CLIENTS: usize = 4;
/// Between two requests of a healthy client.
const HEALTHY_PAUSE: Duration = Duration::from_millis(2);

#[test]
#[ignore = "a stage of scripts/test of its own: scripts/test siege"]
fn hostile_clients_of_every_kind_beside_a_healthy_load() {
    let seconds =
        std::env::var("RINGKEEPER_SIEGE_SECONDS").map_or(300, |text| text.parse().expect("seconds"));
    let mut server = Server::start(SETTINGS, &[]);
    let promised = promised_bytes(&server);
    prepare(&server);
    let before = server.resident_bytes();
    let crowd = Crowd::start(server.port);
    std::thread::sleep(Duration::from_secs(seconds / 6 + 1));
    let quiet = crowd.latencies();
    let stop = Arc::new(AtomicBool::new(false));
    let attackers = start_attackers(server.port, &stop);
    let most = watch_memory(&server, Duration::from_secs(seconds));
    stop.store(true, Ordering::SeqCst);
    let attempts: Vec<(&str, u64)> =
        attackers.into_iter().map(|(name, thread)| (name, thread.join().expect("an attacker"))).collect();
    crowd.gets_on();
    let besieged = crowd.latencies();
    server.kill();
    let acknowledged = crowd.end();
    server.launch();
    check_nothing_lost(&server, &acknowledged);
    report(&attempts, &quiet, &besieged);
    let grown = most.saturating_sub(before);
    println!("memory: {} MiB grown at most, {} MiB promised", grown >> 20, promised >> 20);
    assert!(grown <= promised, "{grown} bytes grown, {promised} promised");
    for (name, count) in attempts {
        assert!(count > 0, "{name} never got to attack");
    }
}

/// What `start --check` says may be held beside the data.
fn promised_bytes(server: &Server) -> u64 {
    let output = Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
        .args(["start", "--check"])
        .arg(server.folder.path().join("zoo.cfg"))
        .output()
        .expect("the server's binary");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("at most ").unwrap_or_else(|| panic!("no promise in {text}"));
    let mib: u64 = rest.split_whitespace().next().expect("a number").parse().expect("a number");
    mib << 20
}

/// What the attackers aim at.
fn prepare(server: &Server) {
    let mut client = server.connect();
    assert_eq!(client.create("/siege", b"", 0).err, 0);
    assert_eq!(client.create("/siege/large", &vec![5; 900_000], 0).err, 0);
    assert_eq!(client.create("/siege/wide", b"", 0).err, 0);
    assert_eq!(client.create("/siege/told", b"", 0).err, 0);
    for index in 0..20_000 {
        let body = create_body(&format!("/siege/wide/child-{index:010}"), b"", 0);
        client.send(index, 1, &body).expect("a request");
        if index % 500 == 499 {
            (0..500).for_each(|_| assert_eq!(client.receive().expect("a reply").err, 0));
        }
    }
    for index in 0..HEALTHY_CLIENTS {
        assert_eq!(client.create(&format!("/healthy-{index}"), b"0", 0).err, 0);
    }
}

/// The healthy load.
struct Crowd {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    threads: Vec<JoinHandle<u64>>,
    latencies: Arc<std::sync::Mutex<Histogram<u64>>>,
}

impl Crowd {
    fn start(port: u16) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let latencies = Arc::new(std::sync::Mutex::new(
            Histogram::new_with_bounds(1, 60_000_000, 3).expect("a minute in three digits"),
        ));
        let threads = (0..HEALTHY_CLIENTS)
            .map(|index| {
                let (stop, rounds, latencies) =
                    (Arc::clone(&stop), Arc::clone(&rounds), Arc::clone(&latencies));
                std::thread::spawn(move || healthy(port, index, &stop, &rounds, &latencies))
            })
            .collect();
        Crowd { stop, rounds, threads, latencies }
    }

    /// Those since the last call, in microseconds.
    fn latencies(&self) -> Histogram<u64> {
        let mut latencies = self.latencies.lock().expect("no client panicked");
        std::mem::replace(
            &mut *latencies,
            Histogram::new_with_bounds(1, 60_000_000, 3).expect("a minute in three digits"),
        )
    }

    fn gets_on(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        support::eventually("healthy clients get on", || self.rounds.load(Ordering::SeqCst) > before + 8);
    }

    /// Per client, the last value whose write was acknowledged. The server is gone already.
    fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().expect("every reply was right")).collect()
    }
}

/// Writes ascending numbers and reads each back; ends when the connection does.
fn healthy(
    port: u16,
    index: usize,
    stop: &AtomicBool,
    rounds: &AtomicU64,
    latencies: &std::sync::Mutex<Histogram<u64>>,
) -> u64 {
    let mut client = Client::connect(port, 30_000);
    let path = format!("/healthy-{index}");
    let mut acknowledged = 0;
    for value in 1.. {
        let start = Instant::now();
        let Some(reply) = client.try_call(5, &set_body(&path, value.to_string().as_bytes(), -1)) else {
            break;
        };
        assert_eq!(reply.err, 0);
        let set_us = start.elapsed().as_micros() as u64;
        acknowledged = value;
        let start = Instant::now();
        let Some(reply) = client.try_call(4, &[string(&path), vec![0]].concat()) else { break };
        let get_us = start.elapsed().as_micros() as u64;
        let text = value.to_string();
        assert_eq!(reply.body[4..4 + text.len()], *text.as_bytes(), "it reads what it wrote");
        let mut latencies = latencies.lock().expect("no client panicked");
        latencies.saturating_record(set_us);
        latencies.saturating_record(get_us);
        drop(latencies);
        rounds.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(HEALTHY_PAUSE);
    }
    // A connection that ends before the server was killed ended for no good reason.
    let start = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        assert!(start.elapsed() < Duration::from_secs(5), "client {index} lost its connection");
        std::thread::yield_now();
    }
    acknowledged
}

fn check_nothing_lost(server: &Server, acknowledged: &[u64]) {
    let mut client = server.connect();
    for (index, acknowledged) in acknowledged.iter().enumerate() {
        let data = client.get(&format!("/healthy-{index}")).expect("the node is there");
        let value: u64 = String::from_utf8(data).unwrap().parse().unwrap();
        assert!(*acknowledged > 0 && value >= *acknowledged, "{value} stored, {acknowledged} acknowledged");
        assert!(value <= acknowledged + 1, "{value} was never sent before {acknowledged} was acknowledged");
    }
}

/// The most that was resident, looked at all the time; sends the signals that must not matter meanwhile.
fn watch_memory(server: &Server, span: Duration) -> u64 {
    let start = Instant::now();
    let (mut most, mut turn) = (0, 0);
    while start.elapsed() < span {
        most = most.max(server.resident_bytes());
        turn += 1;
        if turn % 50 == 0 {
            for signal in ["-HUP", "-USR1", "-QUIT"] {
                let pid = server.pid().to_string();
                assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    most
}

fn report(attempts: &[(&str, u64)], quiet: &Histogram<u64>, besieged: &Histogram<u64>) {
    for (name, count) in attempts {
        println!("{count:>9} {name}");
    }
    for (name, latencies) in [("quiet", quiet), ("besieged", besieged)] {
        println!(
            "healthy, {name}: {} operations, p50 {} us, p99 {} us, max {} us",
            latencies.len(),
            latencies.value_at_quantile(0.5),
            latencies.value_at_quantile(0.99),
            latencies.max()
        );
    }
}

type Attack = fn(u16, u64, &AtomicBool) -> Option<u64>;

/// Each runs again and again until the end; a connection that the server ended is not an end.
const ATTACKS: &[(&str, Attack)] = &[
    ("multiReads of a large node", many_reads_in_one),
    ("lists that nobody reads", lists_unread),
    ("large reads behind a write", reads_behind_a_write),
    ("watchers that do not read", watchers_unread),
    ("identities", identities),
    ("watches", watches),
    ("frames of noise", noise),
    ("requests with a flipped byte", flipped_requests),
    ("other protocols", other_protocols),
    ("connections that say nothing", silent_connections),
    ("sessions opened and left", sessions),
    ("four-letter words", words),
    ("changes that tell many", changes),
    ("large writes", large_writes),
];

fn start_attackers(port: u16, stop: &Arc<AtomicBool>) -> Vec<(&'static str, JoinHandle<u64>)> {
    let start = |(index, (name, attack)): (usize, &(&'static str, Attack))| {
        let (stop, attack) = (Arc::clone(stop), *attack);
        let run = move || {
            let (mut seed, mut count) = (index as u64 + 1, 0);
            while !stop.load(Ordering::SeqCst) {
                seed += ATTACKS.len() as u64;
                count += attack(port, seed, &stop).unwrap_or(0);
                std::thread::sleep(Duration::from_millis(20));
            }
            count
        };
        (*name, std::thread::spawn(run))
    };
    ATTACKS.iter().enumerate().map(start).collect()
}

fn client(port: u16) -> Option<Client> {
    let client = Client::handshake(port, &connect_body(0, 10_000, 0, Some(&[0; 16]), Some(false)))?;
    client.stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).ok()?;
    Some(client)
}

fn get_body(path: &str, watch: bool) -> Vec<u8> {
    [string(path), vec![watch as u8]].concat()
}

fn frame(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    buffer(&[&xid.to_be_bytes()[..], &op.to_be_bytes(), body].concat())
}

fn many_reads_in_one(port: u16, _: u64, _: &AtomicBool) -> Option<u64> {
    let mut client = client(port)?;
    let read =
        [&4i32.to_be_bytes()[..], &[0], &(-1i32).to_be_bytes(), &get_body("/siege/large", false)].concat();
    let end = [&(-1i32).to_be_bytes()[..], &[1], &(-1i32).to_be_bytes()].concat();
    client.stream.write_all(&frame(1, 22, &[read.repeat(3000), end].concat())).ok()?;
    let mut length = [0; 4];
    client.stream.read_exact(&mut length).ok()?;
    Some(1)
}

fn lists_unread(port: u16, _: u64, _: &AtomicBool) -> Option<u64> {
    let mut clients: Vec<Client> = (0..4).filter_map(|_| client(port)).collect();
    let request = frame(1, 8, &get_body("/siege/wide", false));
    clients.iter_mut().filter_map(|client| client.stream.write_all(&request.repeat(200)).ok()).count();
    std::thread::sleep(Duration::from_millis(500));
    Some(clients.len() as u64)
}

fn reads_behind_a_write(port: u16, _: u64, _: &AtomicBool) -> Option<u64> {
    let mut client = client(port)?;
    let mut bytes = frame(1, 5, &set_body("/siege/told", b"x", -1));
    bytes.extend(frame(2, 4, &get_body("/siege/large", false)).repeat(80));
    client.stream.write_all(&bytes).ok()?;
    let answers = (0..81).filter_map(|_| client.receive()).count();
    assert_eq!(answers, 81, "a client that reads gets every answer");
    Some(1)
}

fn watchers_unread(port: u16, _: u64, stop: &AtomicBool) -> Option<u64> {
    let mut clients: Vec<Client> = (0..20).filter_map(|_| client(port)).collect();
    let persistent = [string("/siege/told"), 0i32.to_be_bytes().to_vec()].concat();
    let count = clients.iter_mut().filter_map(|client| client.send(1, 106, &persistent).ok()).count();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) && !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(count as u64)
}

fn identities(port: u16, seed: u64, _: &AtomicBool) -> Option<u64> {
    let mut client = client(port)?;
    for index in 0..300u32 {
        let auth = format!("user{seed}-{index}:{}", "p".repeat(3000));
        let body = [0i32.to_be_bytes().to_vec(), string("digest"), buffer(auth.as_bytes())].concat();
        if client.send(-4, 100, &body).is_err() || client.receive().is_none() {
            return Some(u64::from(index));
        }
    }
    Some(300)
}

fn watches(port: u16, seed: u64, _: &AtomicBool) -> Option<u64> {
    let mut client = client(port)?;
    for round in 0..20 {
        for index in 0..500 {
            let path = format!("/siege/watched-{seed}-{round}-{index}");
            client.send(index, 3, &get_body(&path, true)).ok()?;
        }
        for _ in 0..500 {
            client.receive()?;
        }
    }
    Some(10_000)
}

fn noise(port: u16, seed: u64, _: &AtomicBool) -> Option<u64> {
    let mut prng = Prng(seed);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let bytes: Vec<u8> = (0..1 + prng.below(300)).map(|_| prng.next() as u8).collect();
    stream.write_all(&bytes).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    stream.read_to_end(&mut Vec::new()).ok()?;
    Some(1)
}

fn flipped_requests(port: u16, seed: u64, _: &AtomicBool) -> Option<u64> {
    let mut prng = Prng(seed);
    let mut client = client(port)?;
    let mut count = 0;
    for _ in 0..200 {
        let path = "/siege/fuzzed";
        let mut request = match prng.below(6) {
            0 => [1i32.to_be_bytes().to_vec(), create_body(path, b"data", 0)].concat(),
            1 => [5i32.to_be_bytes().to_vec(), set_body(path, b"data", -1)].concat(),
            2 => [2i32.to_be_bytes().to_vec(), string(path), (-1i32).to_be_bytes().to_vec()].concat(),
            3 => [12i32.to_be_bytes().to_vec(), get_body("/siege", true)].concat(),
            4 => [106i32.to_be_bytes().to_vec(), string(path), 1i32.to_be_bytes().to_vec()].concat(),
            _ => [100i32.to_be_bytes().to_vec(), vec![0; 4], string("digest"), buffer(b"a:b")].concat(),
        };
        let at = prng.below(request.len() as u64) as usize;
        request[at] = prng.next() as u8;
        count += 1;
        let frame = buffer(&[&7i32.to_be_bytes()[..], &request].concat());
        if client.stream.write_all(&frame).is_err() || client.ping().is_none() {
            break;
        }
    }
    Some(count)
}

fn other_protocols(port: u16, seed: u64, _: &AtomicBool) -> Option<u64> {
    let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc][..], &[0x55; 512]].concat();
    let all =
        [b"GET / HTTP/1.0\r\n\r\n".to_vec(), hello, b"SSH-2.0-x\r\n".to_vec(), vec![0x7f, 0xff, 0xff, 0xff]];
    for _ in 0..50 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let _ = stream.write_all(&all[seed as usize % all.len()]);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    Some(50)
}

fn silent_connections(port: u16, _: u64, stop: &AtomicBool) -> Option<u64> {
    let held: Vec<TcpStream> =
        (0..200).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) && !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(held.len() as u64)
}

fn sessions(port: u16, _: u64, _: &AtomicBool) -> Option<u64> {
    Some((0..50).filter_map(|_| client(port)).count() as u64)
}

fn words(port: u16, _: u64, _: &AtomicBool) -> Option<u64> {
    let mut count = 0;
    for word in ["dump", "cons", "wchc", "wchp", "wchs", "mntr", "stat", "envi", "crst"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok()?;
        assert!(!text.is_empty(), "{word} is answered");
        count += 1;
    }
    Some(count)
}

fn changes(port: u16, seed: u64, _: &AtomicBool) -> Option<u64> {
    let mut client = client(port)?;
    for index in 0..500 {
        client.send(index, 5, &set_body("/siege/told", &seed.to_be_bytes(), -1)).ok()?;
    }
    (0..500).filter_map(|_| client.receive()).count();
    Some(500)
}

fn large_writes(port: u16, _: u64, _: &AtomicBool) -> Option<u64> {
    let mut client = client(port)?;
    for index in 0..10 {
        client.send(index, 5, &set_body("/siege/large", &vec![index as u8; 900_000], -1)).ok()?;
    }
    (0..10).filter_map(|_| client.receive()).count();
    Some(10)
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
