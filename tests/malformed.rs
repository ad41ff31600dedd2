//! Malformed requests and handshakes, each opcode in each way of being malformed: the reply and the fate of the
//! connection are those that `tests/differential/malformed.py` has recorded from a standalone Apache ZooKeeper, and our
//! own where nobody should answer as it does.

// Real programs over real sockets.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use serde::Deserialize;
use std::io::Write;
use std::net::TcpStream;
use support::{Client, DEADLINE, Reply, Server, open_acl, string};

#[derive(Deserialize)]
struct Case {
    name: String,
    /// None: it begins a connection.
    op: Option<i32>,
    /// The node is there.
    #[serde(default)]
    node: bool,
    send: String,
    /// A line for each reply, the last is the fate of the connection.
    right: Vec<String>,
}

#[test]
fn malformed_input_is_answered_as_by_zookeeper() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("vectors/malformed.json")).expect("cases that are well-formed");
    assert!(cases.len() > 2500, "{} cases", cases.len());
    let settings = "ringkeeper.shards=2\nminSessionTimeout=12000\nmaxSessionTimeout=120000";
    // Nodes that end by themselves would take zxids of their own.
    let defines = ["zookeeper.extendedTypesEnabled=true", "znode.container.checkIntervalMs=3600000"];
    let server = Server::start(settings, &defines);
    let mut helper = server.connect();
    for path in ["/m", "/m/parent", "/m/parent/child"] {
        assert_eq!(helper.create(path, b"data", 0).err, 0);
    }
    let mut wrong = Vec::new();
    for case in &cases {
        let ours = match case.op {
            None => handshake(&server, &unhex(&case.send)),
            Some(op) => play(&server, &mut helper, op, case),
        };
        if ours != case.right {
            wrong.push(format!("{}: {}\n  right: {:?}\n  ours:  {ours:?}", case.name, case.send, case.right));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

const NODE: &str = "/m/node";
const PROBE_XID: i32 = 30_000;

fn play(server: &Server, helper: &mut Client, op: i32, case: &Case) -> Vec<String> {
    if case.node {
        // What asks for the end of a container finds one.
        let (op, flags) = if op == 20 { (19, 4i32) } else { (1, 0) };
        let body =
            [string(NODE), support::buffer(b"data"), open_acl(), flags.to_be_bytes().to_vec()].concat();
        assert_eq!(helper.call(op, &body).err, 0, "{}", case.name);
    }
    let mut client = server.connect();
    let base = probe(&mut client).expect("an open connection").zxid;
    client.stream.write_all(&unhex(&case.send)).expect("room for a request");
    let found = replies(&mut client, op, base);
    client.stream.shutdown(std::net::Shutdown::Both).ok();
    let mut again = Client::resume(server.port, client.session, &client.password, 0).expect("an answer");
    if again.session != 0 {
        again.call(-11, &[]);
    }
    for path in [NODE, "/m/\u{1f600}"] {
        helper.delete(path);
    }
    found
}

/// What comes up to the answer to a probe.
fn replies(client: &mut Client, op: i32, base: i64) -> Vec<String> {
    let mut found = Vec::new();
    // The connection may be closed already.
    let _ = client.send(PROBE_XID, 3, &[string("/"), vec![0]].concat());
    while let Some(frame) = client.read_frame() {
        let reply = Reply {
            xid: i32::from_be_bytes(frame[..4].try_into().expect("four bytes")),
            zxid: i64::from_be_bytes(frame[4..12].try_into().expect("eight bytes")),
            err: i32::from_be_bytes(frame[12..16].try_into().expect("four bytes")),
            body: frame[16..].to_vec(),
        };
        if reply.xid == PROBE_XID {
            found.push(format!("open zxid +{}", reply.zxid - base));
            return found;
        }
        let zxid = if reply.zxid > 0 { format!("+{}", reply.zxid - base) } else { reply.zxid.to_string() };
        let body = normal(op, reply.body);
        found.push(format!("xid {} zxid {zxid} err {} {body}", reply.xid, reply.err).trim().to_string());
    }
    found.push("closed".into());
    found
}

fn probe(client: &mut Client) -> Option<Reply> {
    client.send(PROBE_XID, 3, &[string("/"), vec![0]].concat()).ok()?;
    client.receive()
}

/// A body without times, ids and zxids, lists in one order; of a multi's results only their length.
fn normal(op: i32, mut body: Vec<u8>) -> String {
    if matches!(op, 14 | 22) {
        return format!("{} bytes", body.len());
    }
    let mut node = Vec::new();
    if matches!(op, 3..=7 | 12 | 15 | 19 | 21) && body.len() >= 68 {
        let stat = body.split_off(body.len() - 68);
        node = [&stat[32..44], &stat[52..60]].concat();
    }
    if matches!(op, 8 | 12 | 103) && !body.is_empty() {
        let (mut names, mut rest) = (Vec::new(), &body[4..]);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (name, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            names.push([&length[..], name].concat());
            rest = after;
        }
        names.sort();
        body = names.concat();
    }
    [body, node].concat().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The length of the answer, what it grants, and whether a request is answered then.
fn handshake(server: &Server, bytes: &[u8]) -> Vec<String> {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut client = Client {
        stream,
        session: 0,
        password: Vec::new(),
        timeout_ms: 0,
        response: Vec::new(),
        events: Vec::new(),
        next_xid: 1,
    };
    client.stream.write_all(bytes).expect("room for a handshake");
    let Some(answer) = client.read_frame() else { return vec!["closed".into()] };
    let timeout = i32::from_be_bytes(answer[4..8].try_into().expect("four bytes"));
    let has_session = answer[8..16] != [0; 8];
    let granted = if has_session { "a session" } else { "none" };
    let fate = if probe(&mut client).is_some() { "open" } else { "closed" };
    if has_session {
        client.call(-11, &[]);
    }
    vec![format!("{} bytes, {timeout} ms, {granted}", answer.len()), fate.into()]
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
