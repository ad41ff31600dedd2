//! What is a quorum, and texts of configurations.

use super::*;
use crate::wire::traces;
use crate::wire::vote::{Notification, cut_frame};
use proptest::prelude::*;

fn config(text: &str) -> QuorumVerifier {
    QuorumVerifier::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"))
}

fn lines(voters: &[i64], observers: &[i64]) -> String {
    let voters = voters.iter().map(|id| format!("server.{id}=h{id}:1:2\n"));
    let observers = observers.iter().map(|id| format!("server.{id}=h{id}:1:2:observer\n"));
    voters.chain(observers).collect()
}

fn among(ids: &[i64]) -> impl Fn(ServerId) -> bool {
    move |id| ids.contains(&id.0)
}

#[test]
fn majorities() {
    let table: [(&[i64], &[i64], bool); 9] = [
        (&[1], &[1], true),
        (&[1], &[], false),
        (&[1, 2], &[2], false),
        (&[1, 2], &[1, 2], true),
        (&[1, 2, 3], &[1, 3], true),
        (&[1, 2, 3], &[2], false),
        (&[1, 2, 3], &[2, 7, 8], false),
        (&[1, 2, 3, 4], &[1, 2], false),
        (&[1, 2, 3, 4], &[1, 2, 4], true),
    ];
    for (voters, acks, expected) in table {
        let verifier = config(&lines(voters, &[7]));
        assert_eq!(verifier.is_quorum(among(acks)), expected, "{acks:?} of {voters:?}");
        assert!(!verifier.is_voter(ServerId(7)) && verifier.member(ServerId(7)).is_some());
    }
}

/// Three groups of three, one server without weight, then a group without weight.
#[test]
fn hierarchies() {
    let servers = lines(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[]);
    let groups = "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n";
    let plain = config(&format!("{servers}{groups}"));
    let light = config(&format!("{servers}{groups}weight.1=0\nweight.4=3\n"));
    let two = config(&format!("{servers}{groups}weight.7=0\nweight.8=0\nweight.9=0\n"));
    let table: [(&QuorumVerifier, &[i64], bool); 10] = [
        (&plain, &[1, 2, 4, 5], true),
        (&plain, &[1, 2, 4, 7], false),
        (&plain, &[1, 4, 7, 8], false),
        (&plain, &[], false),
        (&light, &[1, 2, 4], false),
        (&light, &[2, 3, 4], true),
        (&light, &[2, 3, 5, 6], false),
        (&two, &[1, 2, 7, 8, 9], false),
        (&two, &[1, 2, 4, 5], true),
        (&two, &[4, 5, 6], false),
    ];
    for (verifier, acks, expected) in table {
        assert_eq!(verifier.is_quorum(among(acks)), expected, "{acks:?} of {verifier}");
    }
    assert_eq!((light.weight(ServerId(1)), light.weight(ServerId(2)), light.weight(ServerId(77))), (0, 1, 0));
    assert_eq!(config(&servers).weight(ServerId(77)), 1);
}

#[test]
fn texts_as_zookeeper_writes_them() {
    let text =
        "server.1=a:1:2:participant;0.0.0.0:5\nserver.2=[0:0:0:0:0:0:0:1]:1:2:observer\nversion=10000002c";
    assert_eq!(config(text).to_string(), text);
    assert_eq!(config("server.1=a:1:2").to_string(), "server.1=a:1:2:participant\nversion=0");
    // 16 and 33 go into the first two buckets of sixteen, 2 into the third.
    let ids = |text: String| {
        let numbers = text.lines().filter_map(|line| line.strip_prefix("server.")?.split('=').next());
        numbers.map(|number| number.parse().expect("a number")).collect::<Vec<i64>>()
    };
    assert_eq!(ids(config(&lines(&[2, 16, 33], &[])).to_string()), [16, 33, 2]);
    let thirteen = config(&lines(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 33], &[]));
    assert_eq!(ids(thirteen.to_string()), [33, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16]);
    let groups = "group.2=3:1\ngroup.1=2\nweight.3=4\n";
    let text = config(&format!("version=ff\n{groups}{}", lines(&[1, 2, 3], &[4]))).to_string();
    let servers: String =
        [1, 2, 3].iter().map(|id| format!("server.{id}=h{id}:1:2:participant\n")).collect::<String>()
            + "server.4=h4:1:2:observer\n";
    let expected = "group.1=2\ngroup.2=1:3\nweight.1=1\nweight.2=1\nweight.3=4\nversion=ff";
    assert_eq!(text, format!("{servers}{expected}"));
    assert_eq!(config(&text).to_string(), text, "again");
}

/// Every configuration that was recorded, read and written again.
#[test]
fn recorded_texts() {
    let mut seen = 0;
    for connection in traces::all().filter(traces::Connection::is_election) {
        for message in connection.messages() {
            let Ok(Some((body, _))) = cut_frame(&message.bytes) else { continue };
            let said = Notification::decode(body).expect("well-formed").config.expect("of today's version");
            let text = std::str::from_utf8(said).expect("text");
            assert_eq!(config(text).to_string(), text);
            seen += 1;
        }
    }
    assert_eq!(seen, 35);
}

#[test]
fn broken_texts() {
    let table = [
        ("version=0", "server"),
        ("server.1=a:1:2:observer", "server"),
        ("server.1=a:1:2\nserver.01=b:1:2", "server.1"),
        ("server.1=a:1", "server.1"),
        ("server.x=a:1:2", "server.x"),
        ("server.1=a:1:2\nversion=g", "version"),
        ("server.1=a:1:2\ntickTime=5", "tickTime"),
        ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", "server.2"),
        ("server.1=a:1:2\ngroup.1=1:1", "group.1"),
        ("server.1=a:1:2\ngroup.1=1:2", "group.1"),
        ("server.1=a:1:2\ngroup.1=1\ngroup.2=1", "group.2"),
        ("server.1=a:1:2\ngroup=1", "group"),
        ("server.1=a:1:2\ngroup.1=1\nweight.1=-1", "weight.1"),
        ("server.1=a:1:2\ngroup.1=1\nweight.1=1\nweight.01=1", "weight.1"),
        ("server.1=\\u12", "\\u12"),
    ];
    for (text, key) in table {
        let bad = QuorumVerifier::parse(text).expect_err(text);
        assert_eq!(bad.key, key, "{bad}");
    }
    let many: Vec<i64> = (0..=SERVERS_MAX as i64).collect();
    assert!(QuorumVerifier::parse(&lines(&many, &[])).is_err());
    assert!(QuorumVerifier::parse(&lines(&many[1..], &[])).is_ok());
    let long = format!("server.1={}:1:2\n", "h".repeat(CONFIG_BYTES_MAX));
    assert!(QuorumVerifier::parse(&long).is_err(), "no notification could carry it");
}

#[test]
fn the_same_configuration() {
    let (three, four) = (config(&lines(&[1, 2, 3], &[])), config(&lines(&[1, 2, 3], &[4])));
    assert!(three.is_same_as(&four), "of the same version");
    assert!(!three.is_same_as(&four.with_version(5)));
    assert!(three.is_same_as(&three.with_version(5)));
    let grouped = config(&format!("{}group.1=1:2:3\n", lines(&[1, 2, 3], &[])));
    assert!(!three.is_same_as(&grouped));
    assert!(!grouped.is_same_as(&config(&format!("{grouped}\nweight.1=2\nversion=5"))));
}

#[test]
fn two_configurations_have_to_agree_while_one_replaces_the_other() {
    let mut quorums = Quorums::new(config(&lines(&[1, 2, 3], &[])));
    assert!(quorums.is_quorum(among(&[1, 2])));
    let next = Arc::new(config(&format!("{}version=9", lines(&[3, 4, 5], &[1]))));
    quorums.on_proposed(next.clone());
    assert!(quorums.is_joint());
    assert!(!quorums.is_quorum(among(&[1, 2])) && !quorums.is_quorum(among(&[3, 4])));
    assert!(quorums.is_quorum(among(&[2, 3, 4])));
    assert!(quorums.is_voter(ServerId(1)) && quorums.is_voter(ServerId(5)) && !quorums.is_voter(ServerId(6)));
    assert_eq!(quorums.voters().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((quorums.lines(ServerId(1)).count(), quorums.lines(ServerId(3)).count()), (2, 1));
    quorums.on_proposed(Arc::new(config(&format!("{}version=8", lines(&[1], &[])))));
    assert_eq!(quorums.last_seen().version(), 9, "an older one is ignored");
    quorums.on_committed(next);
    assert!(!quorums.is_joint() && quorums.is_quorum(among(&[4, 5])) && !quorums.is_quorum(among(&[1, 3])));
    quorums.on_committed(Arc::new(config(&lines(&[1], &[]))));
    assert_eq!(quorums.committed().version(), 9);
}

#[test]
fn the_oracle_of_two() {
    let mut two = Quorums::new(config(&lines(&[1, 2], &[])));
    let says = |is_needed, grants| Some(Oracle { is_needed, grants });
    for (oracle, alone) in
        [(None, false), (says(false, true), false), (says(true, false), false), (says(true, true), true)]
    {
        two.set_oracle(oracle);
        assert_eq!(two.is_quorum(among(&[2])), alone, "{oracle:?}");
        assert!(two.is_quorum(among(&[1, 2])));
    }
    let mut three = Quorums::new(config(&lines(&[1, 2, 3], &[])));
    three.set_oracle(says(true, true));
    assert!(!three.is_quorum(among(&[2])), "only two servers have an oracle");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(server|group|weight|version|[.=:\n\\\\0-9a-c]){0,40}") {
        if let Ok(read) = QuorumVerifier::parse(&text) {
            prop_assert_eq!(config(&read.to_string()), read);
        }
    }

    /// Whatever the weights, two quorums share a server, and all servers are one.
    #[test]
    fn two_quorums_share_a_server(weights in proptest::collection::vec((1..4_i64, 0..4_u32), 1..9), a: u16, b: u16) {
        let servers = lines(&(0..weights.len() as i64).collect::<Vec<_>>(), &[]);
        let rules = (1..4).map(|group| {
            let servers = weights.iter().enumerate().filter(|(_, (of, _))| *of == group);
            let servers: Vec<String> = servers.map(|(id, _)| id.to_string()).collect();
            if servers.is_empty() { String::new() } else { format!("group.{group}={}\n", servers.join(":")) }
        });
        let rules: String = rules.chain(weights.iter().enumerate().map(|(id, (_, weight))| format!("weight.{id}={weight}\n"))).collect();
        let verifier = config(&format!("{servers}{rules}"));
        let is_in = |set: u16| move |id: ServerId| set >> id.0 & 1 == 1;
        if verifier.is_quorum(is_in(a)) && verifier.is_quorum(is_in(b)) {
            prop_assert!(verifier.voters().any(|id| is_in(a & b)(id)));
        }
        prop_assert_eq!(verifier.is_quorum(|_| true), weights.iter().any(|(_, weight)| *weight > 0));
    }
}
