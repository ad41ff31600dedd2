//! The process gets no time for longer than every session may be silent, as on a host that is suspended or stalls. Whoever
//! is heard from again at once keeps the session; whoever is not loses it as always.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::process::Command;
use std::time::Duration;
use support::{Client, Server, eventually};

const EPHEMERAL: i32 = 1;
const NO_NODE: i32 = -101;
const PING: i32 = 11;
const XID_PING: i32 = -2;

/// Longer than the timeout, the tick in which it ends, and what a server allows on top.
const PAUSE: Duration = Duration::from_secs(14);

fn signal(server: &Server, name: &str) {
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

fn is_stopped(server: &Server) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('T')
}

fn path(index: usize) -> String {
    format!("/alive-{index}")
}

#[test]
fn a_pause_longer_than_every_timeout_ends_no_session_that_is_heard_from_again() {
    let server = Server::start("ringkeeper.shards=2", &[]);
    let mut clients: Vec<Client> = (0..51).map(|_| Client::connect(server.port, 6000)).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.timeout_ms, 6000);
        assert_eq!(client.create(&path(index), b"", EPHEMERAL).err, 0);
    }
    let mut silent = clients.pop().unwrap();
    for round in 0..2 {
        signal(&server, "-STOP");
        eventually("the server is stopped", || is_stopped(&server));
        std::thread::sleep(PAUSE);
        // Some are already in the sockets when the server goes on, others come then.
        let (before, after) = clients.split_at_mut(25);
        let ping = |client: &mut Client| client.send(XID_PING, PING, &[]).unwrap();
        before.iter_mut().for_each(ping);
        signal(&server, "-CONT");
        after.iter_mut().for_each(ping);
        for (index, client) in clients.iter_mut().enumerate() {
            let reply = client.receive().unwrap_or_else(|| panic!("round {round}: {index} is closed"));
            assert_eq!((reply.xid, reply.err), (XID_PING, 0));
            assert_eq!(client.exists(&path(index), false).err, 0, "round {round}, {index}");
        }
    }
    assert!(server.log().contains("this process had no time for"), "{}", server.log());
    // The one that was never heard from again is over in time, and only that one.
    let mut other = server.connect();
    eventually("the silent session ends", || {
        clients.iter_mut().for_each(|client| assert_eq!(client.ping().unwrap().err, 0));
        std::thread::sleep(Duration::from_millis(100));
        other.exists(&path(clients.len()), false).err == NO_NODE
    });
    assert_eq!(silent.receive(), None);
    for index in 0..clients.len() {
        assert_eq!(other.exists(&path(index), false).err, 0);
    }
}
