//! Recorded conversations with a standalone Apache ZooKeeper 3.9, replayed against a fresh server: the same errors,
//! zxids, bodies, events and connection fates; only times, session ids, passwords and the order of children may differ.

mod support;

use serde_json::Value;
use support::{Client, Server, connect_body};

#[test]
fn the_default_conversation_through_one_shard() {
    replay(include_str!("vectors/behaviour-default.json"), "ringkeeper.shards=1", &[]);
}

#[test]
fn the_default_conversation_through_four_shards() {
    replay(include_str!("vectors/behaviour-default.json"), "ringkeeper.shards=4", &[]);
}

#[test]
fn the_conversation_with_extended_types_through_one_shard() {
    let define = ["zookeeper.extendedTypesEnabled=true"];
    replay(include_str!("vectors/behaviour-extended-types.json"), "ringkeeper.shards=1", &define);
}

#[test]
fn the_conversation_with_extended_types_through_four_shards() {
    let define = ["zookeeper.extendedTypesEnabled=true"];
    replay(include_str!("vectors/behaviour-extended-types.json"), "ringkeeper.shards=4", &define);
}

#[test]
fn the_default_conversation_by_epoll() {
    replay(include_str!("vectors/behaviour-default.json"), "ringkeeper.io=epoll", &[]);
}

#[test]
fn four_letter_words_answer_a_client_that_has_ended_its_direction() {
    for extra in ["ringkeeper.shards=1", "ringkeeper.shards=3", "ringkeeper.io=epoll"] {
        let server = Server::start(extra, &[]);
        for _ in 0..100 {
            let text = server.four_letters("srvr").expect("an answer");
            assert!(text.contains("Mode: standalone\nNode count: 5\n"), "{extra}: {text:?}");
        }
    }
}

/// The connection each recorded step used: A first, B for the steps without authentication, then one each for the steps
/// that end a connection, C for the watches.
fn connection_of(index: usize) -> usize {
    match index {
        0..=118 | 128 => 0,
        119..=134 => 1,
        135..=140 => index,
        141..=166 => 2,
        _ => 1000,
    }
}

fn replay(text: &str, extra: &str, defines: &[&str]) {
    let steps: Vec<Value> = serde_json::from_str(text).expect("valid JSON");
    let server = Server::start(extra, defines);
    let mut clients: std::collections::BTreeMap<usize, Client> = Default::default();
    let mut last = None;
    for (index, step) in steps.iter().enumerate() {
        let name = step["name"].as_str().expect("a name");
        if step.get("op").is_some() {
            let key = connection_of(index);
            let client = match last.take() {
                Some(client) if key == 1000 => clients.entry(key).or_insert(client),
                _ => clients.entry(key).or_insert_with(|| Client::connect(server.port, 20_000)),
            };
            exchange(client, index, name, step);
        } else {
            last = connect_step(&server, name, last);
        }
    }
}

fn exchange(client: &mut Client, index: usize, name: &str, step: &Value) {
    let what = format!("step {index} ({name})");
    let reply = &step["reply"];
    let op = step["op"].as_i64().expect("an opcode") as i32;
    let body = unhex(step["request_body"].as_str().expect("a body"));
    client.events.clear();
    client.send(reply["xid"].as_i64().expect("an xid") as i32, op, &body).expect("sent");
    let ours = client.receive().unwrap_or_else(|| panic!("{what}: no reply"));
    assert_eq!(ours.xid as i64, reply["xid"].as_i64().expect("an xid"), "{what}: xid");
    assert_eq!(ours.err as i64, reply["err"].as_i64().expect("an error"), "{what}: error");
    assert_eq!(ours.zxid, reply["zxid"].as_i64().expect("a zxid"), "{what}: zxid");
    compare(&what, op, &ours.body, &unhex(reply["body"].as_str().expect("a body")));
    let expected: Vec<Vec<u8>> =
        step["events_before_reply"].as_array().into_iter().flatten().map(event_frame).collect();
    let events: Vec<Vec<u8>> =
        client.events.iter().map(|event| [&event.zxid.to_be_bytes()[..], &event.body].concat()).collect();
    assert_eq!(events, expected, "{what}: events");
    if step["connection_after"] == "closed" {
        assert!(client.receive().is_none(), "{what}: the connection stays open");
    }
}

fn event_frame(event: &Value) -> Vec<u8> {
    let number = |key: &str| event[key].as_i64().expect("a number");
    [
        number("zxid").to_be_bytes().to_vec(),
        (number("type") as i32).to_be_bytes().to_vec(),
        (number("state") as i32).to_be_bytes().to_vec(),
        support::string(event["path"].as_str().expect("a path")),
    ]
    .concat()
}

fn compare(what: &str, op: i32, ours: &[u8], theirs: &[u8]) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length of {} against {}", hex(ours), hex(theirs));
    let (mut ours, mut theirs) = (ours.to_vec(), theirs.to_vec());
    for at in 0..ours.len().saturating_sub(7) {
        let long = |bytes: &[u8]| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (a, b) = (long(&ours), long(&theirs));
        let is_time = |value: i64| (0x1a0_0000_0000..0x1b0_0000_0000).contains(&value);
        let is_session = |value: i64| value >> 56 == 1;
        if (is_time(a) && is_time(b)) || (is_session(a) && is_session(b)) {
            ours[at..at + 8].fill(0);
            theirs[at..at + 8].fill(0);
        }
    }
    // Lists of children and of nodes come in any order.
    if matches!(op, 8 | 12 | 22 | 103) {
        ours.sort_unstable();
        theirs.sort_unstable();
    }
    assert_eq!(hex(&ours), hex(&theirs), "{what}: body");
}

/// The steps about connecting, which the recording describes in words.
fn connect_step(server: &Server, name: &str, last: Option<Client>) -> Option<Client> {
    let port = server.port;
    let fresh =
        |timeout_ms| Client::handshake(port, &connect_body(0, timeout_ms, 0, Some(&[0; 16]), Some(false)));
    match name {
        "connect timeOut 1" => {
            assert_eq!(fresh(1).expect("a session").timeout_ms, 4000);
            None
        }
        "connect timeOut huge" => {
            let client = fresh(i32::MAX).expect("a session");
            assert_eq!(client.timeout_ms, 40_000);
            Some(client)
        }
        "connect lastZxidSeen ahead" => {
            let ahead = connect_body(1 << 40, 20_000, 0, Some(&[0; 16]), Some(false));
            assert!(Client::handshake(port, &ahead).is_none(), "{name}");
            last
        }
        "reconnect wrong password" => {
            let mut client = last.expect("a session");
            let mut refused = Client::resume(port, client.session, &[1; 16], 0).expect("an answer");
            assert_eq!((refused.session, refused.timeout_ms), (0, 0), "{name}");
            assert!(refused.read_frame().is_none(), "{name}: closed");
            assert!(client.ping().is_none(), "{name}: the live connection is dropped, too");
            Some(client)
        }
        "reconnect ok (moves session to new connection)" => {
            let client = last.expect("a session");
            let mut second = Client::resume(port, client.session, &client.password, 0).expect("an answer");
            assert_eq!((second.session, &second.password), (client.session, &client.password), "{name}");
            let third = Client::resume(port, client.session, &client.password, 0).expect("an answer");
            assert!(second.read_frame().is_none(), "{name}: the old connection is closed");
            Some(third)
        }
        "reconnect unknown session" => {
            let refused = Client::resume(port, 0x1234_5678, &[0; 16], 0).expect("an answer");
            assert_eq!((refused.session, refused.timeout_ms), (0, 0), "{name}");
            last
        }
        "connect without readOnly byte" => {
            let old = Client::handshake(port, &connect_body(0, 20_000, 0, Some(&[0; 16]), None))
                .expect("a session");
            assert_eq!(old.response.len(), 36, "{name}");
            last
        }
        "connect readOnly true on r/w server" => {
            let client = Client::handshake(port, &connect_body(0, 20_000, 0, Some(&[0; 16]), Some(true)));
            let response = client.expect("a session").response;
            assert_eq!((response.len(), response[36]), (37, 0), "{name}");
            last
        }
        "new session with empty password buffer" => {
            assert!(Client::handshake(port, &connect_body(0, 20_000, 0, Some(&[]), Some(false))).is_some());
            last
        }
        "new session with null password buffer" => {
            Client::handshake(port, &connect_body(0, 20_000, 0, None, Some(false)))
        }
        other => panic!("unknown step {other}"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
