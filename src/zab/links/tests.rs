//! Two and more servers' links on a network that closes, refuses and delays; bytes of strangers.

use super::*;
use crate::prng::Prng;
use crate::wire::traces;
use crate::zab::quorum::QuorumVerifier;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn quorums(text: &str) -> Quorums {
    Quorums::new(QuorumVerifier::parse(text).expect("well-formed"))
}

fn three() -> Quorums {
    quorums("server.1=h1:1:2\nserver.2=h2:1:2|h2b:1:2\nserver.3=h3:1:2")
}

fn links(me: i64, quorums: &Quorums) -> Links {
    let settings = LinkSettings {
        me: ServerId(me),
        own_addresses: vec![(format!("h{me}"), 2)],
        is_multi_address: false,
        connect_timeout_ms: 5000,
        initial_timeout_ms: 1000,
    };
    Links::new(settings, quorums)
}

/// As a notification: only its length matters to links.
fn frame(body: &[u8]) -> Arc<[u8]> {
    [&(body.len() as i32).to_be_bytes()[..], body].concat().into()
}

fn initial(server: i64, addresses: &[(&str, u16)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let addresses = addresses.iter().map(|(host, port)| (host.to_string(), *port)).collect();
    InitialMessage { server: ServerId(server), addresses, is_multi: true }.encode(&mut bytes);
    bytes
}

fn dialled(out: &mut Vec<LinkOutput>) -> (LinkId, String) {
    match &std::mem::take(out)[..] {
        [LinkOutput::Dial { link, address }] => (*link, address.0.clone()),
        other => panic!("no single dial: {other:?}"),
    }
}

#[test]
fn the_smaller_only_knocks() {
    let mut out = Vec::new();
    let mut two = links(2, &three());
    two.send(0, ServerId(3), frame(b"vote"), &mut out);
    let (link, host) = dialled(&mut out);
    assert_eq!(host, "h3");
    two.on_connected(1, link, &mut out);
    let Some(LinkOutput::Write { bytes, .. }) = out.first() else { panic!("{out:?}") };
    assert_eq!(InitialMessage::cut(bytes).expect("well-formed").expect("whole").0.server, ServerId(2));
    assert_eq!(out[1..], [LinkOutput::Close(link)]);

    // The larger dials in turn, where the smaller said it can be dialled.
    let mut three = links(3, &three());
    out.clear();
    let accepted = three.on_accepted(2).expect("room");
    three.on_bytes(3, accepted, &initial(2, &[("other", 9)]), &mut out);
    assert_eq!(out.remove(0), LinkOutput::Close(accepted));
    let (link, host) = dialled(&mut out);
    assert_eq!(host, "other");
    three.on_connected(4, link, &mut out);
    assert_eq!(out.len(), 1, "it has nothing to say yet: {out:?}");
    three.send(5, ServerId(2), frame(b"older"), &mut out);
    three.send(5, ServerId(2), frame(b"newer"), &mut out);
    assert_eq!(out.len(), 1, "one write at a time");
    three.on_written(link, &mut out);
    assert_eq!(out[1..], [LinkOutput::Write { link, bytes: frame(b"newer") }]);
    out.clear();
    three.on_written(link, &mut out);
    assert!(out.is_empty());

    // And the smaller keeps it.
    let accepted = two.on_accepted(6).expect("room");
    let mut bytes = initial(3, &[("h3", 2)]);
    bytes.extend_from_slice(&frame(b"newer"));
    for byte in bytes {
        two.on_bytes(7, accepted, &[byte], &mut out);
    }
    let said = LinkOutput::Write { link: accepted, bytes: frame(b"vote") };
    assert_eq!(out, [said.clone(), LinkOutput::Heard { from: ServerId(3), body: b"newer".to_vec() }]);
    // What was said last is said again on the next connection, which takes the place of this one.
    out.clear();
    two.on_written(accepted, &mut out);
    let next = two.on_accepted(8).expect("room");
    two.on_bytes(8, next, &initial(3, &[("h3", 2)]), &mut out);
    let again = LinkOutput::Write { link: next, bytes: frame(b"vote") };
    assert_eq!(out, [LinkOutput::Close(accepted), again]);
}

/// The first bytes of each recorded election connection are what a link would say.
#[test]
fn recorded_first_bytes() {
    let mut seen = 0;
    for connection in traces::all().filter(|c| c.is_election() && c.is_from_the_start()) {
        let first = connection.messages().next().expect("its beginning").bytes;
        let (message, _) = InitialMessage::cut(&first).expect("well-formed").expect("whole");
        let settings = LinkSettings {
            me: message.server,
            own_addresses: message.addresses,
            is_multi_address: false,
            connect_timeout_ms: 1,
            initial_timeout_ms: 1,
        };
        let mut links = Links::new(settings, &quorums("server.99=h99:1:2"));
        let mut out = Vec::new();
        links.send(0, ServerId(99), frame(b"vote"), &mut out);
        let (link, _) = dialled(&mut out);
        links.on_connected(0, link, &mut out);
        assert_eq!(out[0], LinkOutput::Write { link, bytes: first.into() });
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn all_addresses_then_a_pause_and_gone_if_all_refuse() {
    let mut out = Vec::new();
    let mut three = links(3, &three());
    three.send(0, ServerId(2), frame(b"vote"), &mut out);
    let mut now = 0;
    for pause in [100, 200, 400, 800, 1600] {
        let (link, host) = dialled(&mut out);
        assert_eq!(host, "h2");
        three.on_closed(now, link, true, &mut out);
        let (link, host) = dialled(&mut out);
        assert_eq!(host, "h2b", "the other address at once");
        three.on_closed(now, link, true, &mut out);
        assert_eq!(out, [LinkOutput::Gone(ServerId(2))]);
        out.clear();
        if pause < 1600 {
            assert_eq!(three.next_timeout(), Some(now + pause));
            three.on_timeout(now + pause - 1, &mut out);
            assert!(out.is_empty());
            now += pause;
            three.on_timeout(now, &mut out);
        }
    }
    assert_eq!(three.next_timeout(), None, "enough, until there is something new to say");
    three.send(now + 10_000, ServerId(2), frame(b"vote"), &mut out);
    let (link, _) = dialled(&mut out);
    // One that does not answer is not gone.
    assert_eq!(three.next_timeout(), Some(now + 15_000));
    three.on_timeout(now + 15_000, &mut out);
    assert_eq!(out.remove(0), LinkOutput::Close(link));
    let (link, _) = dialled(&mut out);
    three.on_closed(now + 15_000, link, true, &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_link_that_ends_is_made_again() {
    let mut out = Vec::new();
    let mut three = links(3, &three());
    three.send(0, ServerId(1), frame(b"vote"), &mut out);
    let (link, _) = dialled(&mut out);
    three.on_connected(1, link, &mut out);
    three.on_written(link, &mut out);
    three.on_written(link, &mut out);
    out.clear();
    three.on_closed(500, link, false, &mut out);
    let (link, _) = dialled(&mut out);
    three.on_closed(500, link, true, &mut out);
    assert_eq!(out, [LinkOutput::Gone(ServerId(1))]);
}

#[test]
fn strangers() {
    let mut out = Vec::new();
    let mut two = links(2, &three());
    let mut say = |bytes: &[u8]| {
        let link = two.on_accepted(0).expect("room");
        out.clear();
        two.on_bytes(0, link, bytes, &mut out);
        (link, out.clone())
    };
    let refused = |peer: Option<i64>, why, link| {
        vec![LinkOutput::Refused { peer: peer.map(ServerId), why }, LinkOutput::Close(link)]
    };
    let (link, out) = say(&[0xff; 8]);
    assert_eq!(out, refused(None, Refusal::Initial(BadInitialMessage::Protocol(-1)), link));
    let (link, out) = say(&initial(2, &[("h2", 2)]));
    assert_eq!(out, refused(Some(2), Refusal::OwnNumber, link));
    let mut bytes = initial(3, &[("h3", 2)]);
    bytes.extend_from_slice(&(-5_i32).to_be_bytes());
    let (link, out) = say(&bytes);
    let why = Refusal::Frame(DecodeError::BadLength { at: 0, length: -5 });
    assert_eq!(out, refused(Some(3), why, link));
    // An observer without a number; one of old that says nothing but its number, where the configuration knows it.
    let (link, out) = say(&initial(i64::MAX, &[("o", 2)]));
    let [LinkOutput::Close(closed), LinkOutput::Dial { address, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((closed, &*address.0), (&link, "o"));
    let (link, out) = say(&1_i64.to_be_bytes());
    let [LinkOutput::Close(closed), LinkOutput::Dial { address, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((closed, &*address.0), (&link, "h1"));
    let (link, out) = say(&initial(0, &[("0.0.0.0", 2)]));
    assert_eq!(out, [LinkOutput::Close(link)], "nobody can dial that");
}

#[test]
fn strangers_are_few_and_forgotten() {
    let mut out = Vec::new();
    let mut two = links(2, &three());
    let waiting: Vec<LinkId> = (0..LINKS_UNKNOWN_MAX).map(|_| two.on_accepted(0).expect("room")).collect();
    assert_eq!(two.on_accepted(0), None);
    for (at, link) in waiting.iter().enumerate() {
        two.on_bytes(0, *link, &initial(1000 + at as i64, &[("x", 2)]), &mut out);
    }
    assert!(out.is_empty(), "larger ones are kept");
    let more = two.on_accepted(0).expect("those have said who they are");
    two.on_bytes(0, more, &initial(7, &[("x", 2)]), &mut out);
    assert_eq!(
        out,
        [LinkOutput::Refused { peer: Some(ServerId(7)), why: Refusal::Unknown }, LinkOutput::Close(more)]
    );
    out.clear();
    two.on_closed(1, waiting[0], false, &mut out);
    let more = two.on_accepted(1).expect("room");
    two.on_bytes(1, more, &initial(7, &[("x", 2)]), &mut out);
    assert!(out.is_empty());
    // A stranger is answered; one that says nothing is closed.
    two.send(2, ServerId(7), frame(b"leader"), &mut out);
    assert_eq!(out, [LinkOutput::Write { link: more, bytes: frame(b"leader") }]);
    out.clear();
    let silent = two.on_accepted(3).expect("room");
    assert_eq!(two.next_timeout(), Some(1003));
    two.on_timeout(1003, &mut out);
    assert_eq!(out, [LinkOutput::Close(silent)]);
}

#[test]
fn members_come_and_go() {
    let mut out = Vec::new();
    let mut three_links = links(3, &three());
    three_links.send(0, ServerId(1), frame(b"vote"), &mut out);
    let (link, _) = dialled(&mut out);
    three_links.on_connected(0, link, &mut out);
    out.clear();
    let next = quorums("server.2=new:1:2\nserver.3=h3:1:2\nserver.4=h4:1:2\nversion=5");
    three_links.on_quorums(&next);
    three_links.on_written(link, &mut out);
    assert_eq!(out, [LinkOutput::Write { link, bytes: frame(b"vote") }], "it is connected, so it is kept");
    three_links.on_closed(1, link, false, &mut out);
    out.clear();
    three_links.send(2, ServerId(1), frame(b"vote"), &mut out);
    assert!(out.is_empty(), "nobody knows where it is");
    three_links.send(2, ServerId(2), frame(b"vote"), &mut out);
    assert_eq!(dialled(&mut out).1, "new");
    three_links.send(2, ServerId(4), frame(b"vote"), &mut out);
    assert_eq!(dialled(&mut out).1, "h4");
}

/// Servers whose connections are made, cut and refused at random; each end of a connection hears of that later.
struct Network {
    servers: BTreeMap<i64, Links>,
    /// Ends by server and link: the other one, and bytes on their way to this one.
    ends: BTreeMap<(i64, LinkId), (i64, LinkId)>,
    events: Vec<(i64, Event)>,
    heard: BTreeMap<(i64, i64), Vec<u8>>,
    prng: Prng,
    now: u64,
    is_bad: bool,
}

enum Event {
    Connected(LinkId),
    Closed(LinkId, bool),
    Bytes(LinkId, Vec<u8>),
    Written(LinkId),
}

impl Network {
    fn carry(&mut self, server: i64, out: Vec<LinkOutput>) {
        for output in out {
            match output {
                LinkOutput::Dial { link, address } => self.dial(server, link, &address.0),
                LinkOutput::Write { link, bytes } => {
                    self.events.push((server, Event::Written(link)));
                    if let Some((peer, other)) = self.ends.get(&(server, link)) {
                        self.events.push((*peer, Event::Bytes(*other, bytes.to_vec())));
                    }
                }
                LinkOutput::Close(link) => {
                    if let Some((peer, other)) = self.ends.remove(&(server, link)) {
                        self.ends.remove(&(peer, other));
                        self.events.push((peer, Event::Closed(other, false)));
                    }
                }
                LinkOutput::Heard { from, body } => {
                    self.heard.insert((server, from.0), body);
                }
                // Nobody acts on it here.
                LinkOutput::Gone(_) => {}
                LinkOutput::Refused { why, .. } => panic!("{why}"),
            }
        }
    }

    fn dial(&mut self, server: i64, link: LinkId, host: &str) {
        let peer = host[1..].parse().expect("the number of a server");
        if self.is_bad && self.prng.chance(30) {
            return self.events.push((server, Event::Closed(link, self.prng.chance(50))));
        }
        match self.servers.get_mut(&peer).expect("it is there").on_accepted(self.now) {
            Some(other) => {
                self.ends.insert((server, link), (peer, other));
                self.ends.insert((peer, other), (server, link));
                self.events.push((server, Event::Connected(link)));
            }
            None => self.events.push((server, Event::Closed(link, false))),
        }
    }

    fn step(&mut self) {
        let mut out = Vec::new();
        if self.events.is_empty() || self.prng.chance(10) {
            self.now += 50;
            for id in self.servers.keys().copied().collect::<Vec<_>>() {
                self.servers.get_mut(&id).expect("it is there").on_timeout(self.now, &mut out);
                self.carry(id, std::mem::take(&mut out));
            }
            return;
        }
        if self.is_bad && self.prng.chance(3) && !self.ends.is_empty() {
            let at = self.prng.below(self.ends.len() as u64) as usize;
            let (end, other) = self.ends.iter().nth(at).map(|(a, b)| (*a, *b)).expect("counted");
            self.ends.remove(&end);
            self.ends.remove(&other);
            self.events.push((end.0, Event::Closed(end.1, false)));
            self.events.push((other.0, Event::Closed(other.1, false)));
        }
        // In order between two servers, otherwise as it comes.
        let at = self.prng.below(self.events.len() as u64) as usize;
        let id = self.events[at].0;
        let at = self.events.iter().position(|(server, _)| *server == id).expect("found above");
        let (id, event) = self.events.remove(at);
        let server = self.servers.get_mut(&id).expect("it is there");
        match event {
            Event::Connected(link) => server.on_connected(self.now, link, &mut out),
            Event::Closed(link, refused) => server.on_closed(self.now, link, refused, &mut out),
            Event::Bytes(link, bytes) => server.on_bytes(self.now, link, &bytes, &mut out),
            Event::Written(link) => server.on_written(link, &mut out),
        }
        self.carry(id, out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// In the end every pair has one connection, and each end has heard what the other said last.
    #[test]
    fn the_newest_arrives(seed: u64) {
        let quorums = quorums("server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:1:2");
        let servers = (1..4).map(|id| (id, links(id, &quorums))).collect();
        let prng = Prng::new(seed);
        let mut net = Network { servers, ends: BTreeMap::new(), events: Vec::new(), heard: BTreeMap::new(), prng, now: 0, is_bad: true };
        for round in 0..6_u8 {
            net.is_bad = round < 5;
            for id in 1..4 {
                let mut out = Vec::new();
                for to in (1..4).filter(|to| *to != id) {
                    net.servers.get_mut(&id).expect("it is there").send(net.now, ServerId(to), frame(&[round]), &mut out);
                }
                net.carry(id, out);
            }
            (0..300).for_each(|_| net.step());
        }
        let end = net.now + 60_000;
        while net.now < end {
            net.step();
        }
        for id in 1..4_i64 {
            for peer in (1..4).filter(|peer| *peer != id) {
                prop_assert_eq!(net.heard.get(&(id, peer)), Some(&vec![5]), "what {} said to {}", peer, id);
            }
        }
        prop_assert_eq!(net.ends.len(), 6, "one connection for each pair");
        for links in net.servers.values() {
            let all_open = links.links.iter().all(|link| matches!(link.stage, Stage::Open { .. }));
            prop_assert!(all_open);
        }
    }

    #[test]
    fn any_bytes_are_taken(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6), good: bool) {
        let mut two = links(2, &three());
        let link = two.on_accepted(0).expect("room");
        let mut out = Vec::new();
        if good {
            two.on_bytes(0, link, &initial(3, &[("h3", 2)]), &mut out);
        }
        for chunk in chunks {
            two.on_bytes(0, link, &chunk, &mut out);
            two.check();
        }
    }
}
