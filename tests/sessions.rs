//! The life of sessions: what is negotiated, when they end and what goes with them, how they move between connections
//! and live through a restart; and ten thousand of them at once.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::time::{Duration, Instant};
use support::{Client, DEADLINE, Server, connect_body, create_body, eventually, string};

const EPHEMERAL: i32 = 1;
const CONTAINER: i32 = 4;
const TTL: i32 = 5;
const NO_NODE: i32 = -101;
const SESSION_EXPIRED: i32 = -112;

/// Short ticks, so that sessions of half a second are possible.
const SHORT: &str = "tickTime=200\nminSessionTimeout=500\nringkeeper.shards=2";

/// Waits until a node is gone, seen by a client that keeps its own session alive by asking.
fn until_gone(client: &mut Client, path: &str) {
    eventually(&format!("{path} goes"), || client.exists(path, false).err == NO_NODE);
}

/// Type and path of an event.
fn event(body: &[u8]) -> (i32, String) {
    let length = i32::from_be_bytes(body[8..12].try_into().unwrap()) as usize;
    (
        i32::from_be_bytes(body[..4].try_into().unwrap()),
        String::from_utf8(body[12..12 + length].to_vec()).unwrap(),
    )
}

#[test]
fn timeouts_are_negotiated_between_two_and_twenty_ticks() {
    let server = Server::start("tickTime=1500", &[]);
    let negotiated = |wanted| Client::connect(server.port, wanted).timeout_ms;
    assert_eq!(
        [i32::MIN, 0, 2999, 3000, 12_345, 30_000, i32::MAX].map(negotiated),
        [3000, 3000, 3000, 3000, 12_345, 30_000, 30_000]
    );
    let server = Server::start("tickTime=1500\nminSessionTimeout=2000\nmaxSessionTimeout=5000", &[]);
    let negotiated = |wanted| Client::connect(server.port, wanted).timeout_ms;
    assert_eq!([1, 4000, 6000].map(negotiated), [2000, 4000, 5000]);
}

#[test]
fn a_silent_session_ends_and_its_nodes_go_with_events() {
    let server = Server::start(SHORT, &[]);
    let mut watcher = Client::connect(server.port, 4000);
    let mut silent = Client::connect(server.port, 500);
    assert_eq!(silent.create("/gone", b"", EPHEMERAL).err, 0);
    assert_eq!(watcher.exists("/gone", true).err, 0);
    let start = Instant::now();
    until_gone(&mut watcher, "/gone");
    assert!(start.elapsed() >= Duration::from_millis(400), "a session lives as long as it was promised");
    let told: Vec<_> = watcher.events.iter().map(|reply| event(&reply.body)).collect();
    assert_eq!(told, [(2, "/gone".to_string())]);
    assert_eq!(silent.receive(), None, "its connection is closed");
    let late = Client::resume(server.port, silent.session, &silent.password, 0).expect("an answer");
    assert_eq!((late.session, late.timeout_ms), (0, 0), "an ended session does not come back");
}

#[test]
fn pings_and_requests_keep_a_session() {
    let server = Server::start(SHORT, &[]);
    let mut client = Client::connect(server.port, 2000);
    assert_eq!(client.create("/kept", b"", EPHEMERAL).err, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        assert!(client.ping().is_some_and(|reply| reply.err == 0));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.exists("/kept", false).err, 0);
}

#[test]
fn a_session_moves_with_its_nodes_and_the_old_connection_ends() {
    let server = Server::start("ringkeeper.shards=4", &[]);
    let mut first = server.connect();
    assert_eq!(first.create("/own", b"1", EPHEMERAL).err, 0);
    let mut old = first;
    for round in 0..8 {
        let mut new = Client::resume(server.port, old.session, &old.password, 0).expect("an answer");
        assert_eq!((new.session, &new.password), (old.session, &old.password));
        assert_eq!(old.receive(), None, "the old connection is closed without a word");
        assert_eq!(new.set("/own", round.to_string().as_bytes()).err, 0);
        assert_eq!(new.get("/own"), Ok(round.to_string().into_bytes()));
        old = new;
    }
    let mut other = server.connect();
    assert_eq!(old.call(-11, &[]).err, 0);
    assert_eq!(other.exists("/own", false).err, NO_NODE, "its end takes its nodes at once");
    let late = Client::resume(server.port, old.session, &old.password, 0).expect("an answer");
    assert_eq!(late.session, 0);
}

#[test]
fn a_wrong_password_gets_nothing() {
    let server = Server::start("ringkeeper.shards=2", &[]);
    let mut owner = server.connect();
    assert_eq!(owner.create("/mine", b"", EPHEMERAL).err, 0);
    let mut wrong = owner.password.clone();
    wrong[3] ^= 1;
    for password in [Some(&wrong[..]), Some(&owner.password[..15]), Some(&[]), None] {
        let body = connect_body(0, 30_000, owner.session, password, Some(false));
        let thief = Client::handshake(server.port, &body).expect("an answer");
        assert_eq!((thief.session, thief.timeout_ms), (0, 0));
    }
    let unknown = Client::resume(server.port, 0x7777, &owner.password, 0).expect("an answer");
    assert_eq!(unknown.session, 0);
    // As in ZooKeeper, even a wrong try ends the live connection; the owner just connects again.
    let mut owner = Client::resume(server.port, owner.session, &owner.password, 0).expect("an answer");
    assert_eq!(owner.exists("/mine", false).err, 0, "the owner keeps its session and its nodes");
}

#[test]
fn who_has_seen_more_than_the_server_is_sent_away() {
    let server = Server::start("", &[]);
    let client = server.connect();
    assert!(Client::resume(server.port, client.session, &client.password, 1 << 20).is_none());
    let body = connect_body(1 << 20, 30_000, 0, Some(&[0; 16]), Some(false));
    assert!(Client::handshake(server.port, &body).is_none());
}

#[test]
fn sessions_live_through_kill_9_and_end_if_nobody_comes_back() {
    let mut server = Server::start(SHORT, &[]);
    let mut back = Client::connect(server.port, 4000);
    let mut lost = Client::connect(server.port, 1000);
    assert_eq!(back.create("/back", b"", EPHEMERAL).err, 0);
    assert_eq!(lost.create("/lost", b"", EPHEMERAL).err, 0);
    server.kill();
    server.launch();
    let mut again = Client::resume(server.port, back.session, &back.password, 0).expect("an answer");
    assert_eq!((again.session, again.timeout_ms), (back.session, 4000));
    assert_eq!(again.exists("/back", false).err, 0);
    until_gone(&mut again, "/lost");
    assert_eq!(again.exists("/back", false).err, 0);
}

#[test]
fn an_ended_session_can_do_nothing_more() {
    let server = Server::start("ringkeeper.shards=2", &[]);
    let mut client = server.connect();
    // All in one piece: what follows the end of a session on its connection is not carried out.
    client.send(1, -11, &[]).unwrap();
    let _ = client.send(2, 3, &[string("/"), vec![0]].concat());
    let _ = client.send(3, 1, &create_body("/after", b"", 0));
    assert_eq!(client.receive().map(|reply| (reply.xid, reply.err)), Some((1, 0)));
    match client.receive() {
        None => {}
        Some(reply) => assert_eq!(reply.err, SESSION_EXPIRED),
    }
    assert_eq!(server.connect().exists("/after", false).err, NO_NODE);
}

#[test]
fn containers_and_ttl_nodes_are_collected() {
    let server = Server::start("extendedTypesEnabled=true", &["znode.container.checkIntervalMs=100"]);
    let mut client = server.connect();
    assert_eq!(client.call(19, &create_body("/container", b"", CONTAINER)).err, 0);
    let ttl = [create_body("/ttl", b"", TTL), 300i64.to_be_bytes().to_vec()].concat();
    assert_eq!(client.call(21, &ttl).err, 0);
    let ttl = [create_body("/parent", b"", TTL), 300i64.to_be_bytes().to_vec()].concat();
    assert_eq!(client.call(21, &ttl).err, 0);
    assert_eq!(client.create("/parent/child", b"", 0).err, 0);
    assert_eq!(client.create("/container/child", b"", 0).err, 0);
    until_gone(&mut client, "/ttl");
    assert_eq!(client.exists("/container", false).err, 0, "it still has a child");
    assert_eq!(client.exists("/parent", false).err, 0, "it still has a child");
    assert_eq!(client.delete("/container/child").err, 0);
    until_gone(&mut client, "/container");
    assert_eq!(client.delete("/parent/child").err, 0);
    until_gone(&mut client, "/parent");
}

/// Over a minute, so that every session would have ended several times without its pings.
#[test]
fn ten_thousand_sessions_stay_connected_for_a_minute() {
    const SESSIONS: usize = 10_000;
    const THREADS: usize = 4;
    let files = ringkeeper::io::process::raise_open_files();
    assert!(files > SESSIONS as u64 + 100, "{files} open files are too few for {SESSIONS} connections");
    let server = Server::start("", &[]);
    let before = server.resident_bytes();
    let port = server.port;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut clients: Vec<Client> = (0..SESSIONS / THREADS)
                    .map(|_| {
                        let client = Client::connect(port, 20_000);
                        assert_ne!(client.session, 0);
                        client
                    })
                    .collect();
                clients[0].create(&format!("/t{thread}"), b"", EPHEMERAL);
                let start = Instant::now();
                let mut rounds = 0;
                while start.elapsed() < Duration::from_secs(60) {
                    for client in &mut clients {
                        client.send(-2, 11, &[]).expect("connected");
                    }
                    for client in &mut clients {
                        let reply = client.receive().expect("connected");
                        assert_eq!((reply.xid, reply.err), (-2, 0));
                    }
                    rounds += 1;
                    // Clients ping after a third of the timeout at the latest.
                    std::thread::sleep(Duration::from_secs(4));
                }
                assert!(rounds >= 5, "only {rounds} rounds of pings");
                clients
            })
        })
        .collect();
    let clients: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("nobody was closed")).collect();
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{} bytes of resident memory per session", grown / SESSIONS as u64);
    let mut asker = server.connect();
    for thread in 0..THREADS {
        assert_eq!(asker.exists(&format!("/t{thread}"), false).err, 0, "the session of /t{thread} has ended");
    }
    let srvr = server.four_letters("srvr").expect("an answer");
    assert!(srvr.contains(&format!("Connections: {}\n", SESSIONS + 2)), "{srvr}");
    let reply = asker.call(12, &[string("/"), vec![0]].concat());
    assert_eq!(reply.err, 0);
    drop(clients);
    let start = Instant::now();
    while !server.four_letters("srvr").is_some_and(|srvr| srvr.contains("Connections: 2\n")) {
        assert!(start.elapsed() < DEADLINE, "ended connections are still counted");
        std::thread::yield_now();
    }
}
