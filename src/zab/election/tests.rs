//! Recorded elections replayed; elections over a network that loses, repeats and reorders.

use super::*;
use crate::prng::Prng;
use crate::wire::traces;
use crate::wire::vote::cut_frame;
use proptest::prelude::*;
use std::collections::BTreeMap;

const WAIT: u64 = 200;

fn config(voters: &[i64], rest: &str) -> QuorumVerifier {
    let lines: String = voters.iter().map(|id| format!("server.{id}=h{id}:1:2\n")).collect();
    QuorumVerifier::parse(&(lines + rest)).expect("well-formed")
}

fn settings(me: i64) -> ElectionSettings {
    ElectionSettings {
        me: ServerId(me),
        finalize_wait_ms: WAIT,
        notification_min_ms: 200,
        notification_max_ms: 60_000,
        is_reconfig_enabled: true,
    }
}

fn last(zxid: i64, epoch: i64) -> (Zxid, PeerEpoch) {
    (Zxid(zxid), PeerEpoch(epoch))
}

/// A server and what it has said since it was last asked.
struct Server {
    election: Election,
    out: Vec<ElectionOutput>,
}

impl Server {
    fn new(me: i64, config: QuorumVerifier, now: u64, last: (Zxid, PeerEpoch)) -> Server {
        let mut out = Vec::new();
        let election = Election::new(settings(me), Quorums::new(config), now, last, &mut out);
        Server { election, out }
    }

    fn hear(&mut self, now: u64, from: i64, frame: &[u8]) {
        let (body, _) = cut_frame(frame).expect("well-formed").expect("whole");
        let said = Notification::decode(body).expect("well-formed");
        self.election.on_notification(now, ServerId(from), &said, &mut self.out);
    }

    /// What it says to one peer, oldest first; what it says to others is forgotten.
    fn said_to(&mut self, peer: i64) -> Vec<Vec<u8>> {
        let said = self.out.drain(..).filter_map(|output| match output {
            ElectionOutput::Send { to, frame } if to == ServerId(peer) => Some(frame.to_vec()),
            _ => None,
        });
        said.collect()
    }

    fn decided(&mut self) -> Option<(ServerState, i64)> {
        let at = self.out.iter().position(|output| matches!(output, ElectionOutput::Decided { .. }))?;
        let ElectionOutput::Decided { state, vote } = self.out.remove(at) else { unreachable!() };
        Some((state, vote.leader.0))
    }
}

/// A vote as a peer would say it.
fn frame(state: ServerState, vote: (i64, i64, i64, i64), config: &str) -> Vec<u8> {
    let (leader, zxid, round, epoch) = vote;
    let mut frame = Vec::new();
    Notification {
        state: Some(state),
        leader: ServerId(leader),
        zxid: Zxid(zxid),
        round: Round(round),
        peer_epoch: PeerEpoch(epoch),
        version: NOTIFICATION_VERSION,
        config: Some(config.as_bytes()),
    }
    .encode_frame(&mut frame);
    frame
}

/// The notifications of one end of a recorded connection.
fn recorded(trace: &str, connection: usize, from: &str) -> Vec<Vec<u8>> {
    let connection = traces::all().filter(|connection| connection.trace == trace).nth(connection);
    let connection = connection.expect("recorded");
    let messages = connection.messages().filter(|message| message.from == from);
    let is_notification = |bytes: &Vec<u8>| matches!(cut_frame(bytes), Ok(Some(_)));
    messages.map(|message| message.bytes).filter(is_notification).collect()
}

fn recorded_config(frame: &[u8]) -> QuorumVerifier {
    let (body, _) = cut_frame(frame).expect("well-formed").expect("whole");
    let config = Notification::decode(body).expect("well-formed").config.expect("of today's version");
    QuorumVerifier::parse(std::str::from_utf8(config).expect("text")).expect("well-formed")
}

/// Servers 1 and 2 elect 2, the former leader 3 comes back with a longer log and follows.
#[test]
fn recorded_change_of_leader() {
    let (one_two, two_one) = (recorded("trunc", 6, "acceptor"), recorded("trunc", 6, "connector"));
    let (one_three, three_one) = (recorded("trunc", 8, "acceptor"), recorded("trunc", 8, "connector"));
    let (two_three, three_two) = (recorded("trunc", 9, "acceptor"), recorded("trunc", 9, "connector"));
    let config = recorded_config(&one_two[0]);
    let had = last(0x1_0000_0006, 1);
    let mut one = Server::new(1, config.clone(), 0, had);
    let mut two = Server::new(2, config.clone(), 0, had);
    assert_eq!(two.said_to(1), two_one);
    one.hear(1, 2, &two_one[0]);
    assert_eq!(one.said_to(2), one_two);
    one_two.iter().for_each(|frame| two.hear(2, 1, frame));
    assert_eq!((one.election.next_timeout(), two.election.next_timeout()), (Some(201), Some(200)));
    two.election.on_timeout(202, &mut two.out);
    one.election.on_timeout(201, &mut one.out);
    assert_eq!(two.decided(), Some((ServerState::Leading, 2)));
    assert_eq!(one.decided(), Some((ServerState::Following, 2)));
    one.election.on_epoch(PeerEpoch(2));
    two.election.on_epoch(PeerEpoch(2));
    // What both said last to 3 goes out as soon as there is a connection.
    let mut three = Server::new(3, config, 2000, last(0x1_0000_0008, 1));
    let said = three.out.clone();
    assert_eq!(three.said_to(1), three_one);
    three.out = said;
    assert_eq!(three.said_to(2), three_two);
    assert_eq!((&one_three[0], &two_three[0]), (&one_two[1], &two_one[0]));
    three.hear(2001, 1, &one_three[0]);
    three.hear(2001, 2, &two_three[0]);
    assert!(three.out.is_empty(), "it has more than both");
    one.out.clear();
    two.out.clear();
    one.hear(2002, 3, &three_one[0]);
    two.hear(2002, 3, &three_two[0]);
    assert_eq!((one.said_to(3), two.said_to(3)), (one_three[1..].to_vec(), two_three[1..].to_vec()));
    three.hear(2003, 1, &one_three[1]);
    assert_eq!(three.decided(), None, "the leader has not said that it leads");
    three.hear(2003, 2, &two_three[1]);
    assert_eq!(three.decided(), Some((ServerState::Following, 2)));
    assert_eq!(three.election.vote().epoch, PeerEpoch(2));
}

/// Three empty servers start one after the other; then one that is in nobody's configuration but its own.
#[test]
fn recorded_first_election() {
    let (one_two, two_one) = (recorded("join", 0, "acceptor"), recorded("join", 0, "connector"));
    let (one_three, three_one) = (recorded("join", 1, "acceptor"), recorded("join", 1, "connector"));
    let config = recorded_config(&one_two[0]);
    let mut one = Server::new(1, config.clone(), 0, last(0, 0));
    let mut two = Server::new(2, config.clone(), 0, last(0, 0));
    one.hear(1, 2, &two_one[0]);
    one_two[..2].iter().for_each(|frame| two.hear(2, 1, frame));
    let mut three = Server::new(3, config.clone(), 100, last(0, 0));
    one.hear(101, 3, &three_one[0]);
    assert_eq!(one.said_to(2), one_two);
    two.hear(101, 3, &three_one[0]);
    assert_eq!(two.said_to(1), two_one);
    three.hear(102, 1, &one_three[0]);
    assert_eq!(three.said_to(1), three_one);
    three.hear(102, 1, &one_three[1]);
    three.hear(102, 2, &two_one[1]);
    two.hear(102, 1, &one_two[2]);
    one.hear(102, 2, &two_one[1]);
    // All are for 3, so nobody waits.
    assert_eq!(one.decided(), Some((ServerState::Following, 3)));
    assert_eq!(two.decided(), Some((ServerState::Following, 3)));
    assert_eq!(three.decided(), Some((ServerState::Leading, 3)));
    let first = Arc::new(config.with_version(0x1_0000_0000));
    for server in [&mut one, &mut two, &mut three] {
        server.election.on_epoch(PeerEpoch(1));
        server.election.on_committed(103, first.clone(), &mut server.out);
        assert!(server.out.is_empty());
    }

    let of_four = recorded_config(&recorded("join", 5, "connector")[0]);
    let mut four = Server::new(4, of_four, 5000, last(0, 0));
    let voters = [&mut one, &mut two, &mut three];
    let said = four.out.clone();
    for (at, connection) in [5, 6, 7].into_iter().enumerate() {
        let peer = at as i64 + 1;
        four.out = said.clone();
        assert_eq!(four.said_to(peer), recorded("join", connection, "connector"));
        voters[at].hear(5001, 4, &recorded("join", connection, "connector")[0]);
        assert_eq!(voters[at].said_to(4), recorded("join", connection, "acceptor"), "from {peer}");
    }
    // It takes over their configuration, is no observer there and looks again.
    four.hear(5002, 1, &recorded("join", 5, "acceptor")[0]);
    assert_eq!(four.out.remove(0), ElectionOutput::Adopted(first));
    let said = four.out.clone();
    for (at, connection) in [8, 9, 10].into_iter().enumerate() {
        let peer = at as i64 + 1;
        four.out = said.clone();
        assert_eq!(four.said_to(peer), recorded("join", connection, "connector"));
        voters[at].hear(5003, 4, &recorded("join", connection, "connector")[0]);
        let answer = recorded("join", connection, "acceptor");
        let answers = voters[at].said_to(4);
        assert_eq!([&answers[..], &answers[..]].concat(), answer, "as said last, and as answered");
        four.hear(5004, peer, &answers[0]);
    }
    assert_eq!(four.decided(), Some((ServerState::Following, 3)));
}

/// A server without a leader that hears votes: whom it is for after each, and in which round.
#[test]
fn votes_are_ordered_by_epoch_then_zxid_then_number() {
    use ServerState::*;
    type Said = (ServerState, (i64, i64, i64, i64));
    let table: [(Said, (i64, i64)); 12] = [
        ((Looking, (1, 9, 1, 2)), (2, 1)),
        ((Looking, (3, 10, 1, 1)), (2, 1)),
        ((Looking, (1, 10, 1, 2)), (2, 1)),
        ((Looking, (3, 10, 1, 2)), (3, 1)),
        ((Looking, (1, 11, 1, 2)), (1, 1)),
        ((Looking, (1, 3, 1, 3)), (1, 1)),
        ((Looking, (3, 99, 0, 9)), (2, 1)),
        ((Looking, (3, -1, 1, 9)), (2, 1)),
        ((Looking, (1, 9, 7, 2)), (2, 7)),
        ((Looking, (3, 10, 7, 2)), (3, 7)),
        ((Looking, (9, 99, 7, 9)), (2, 1)),
        ((Observing, (3, 99, 7, 9)), (2, 1)),
    ];
    for ((state, vote), expected) in table {
        let mut server = Server::new(2, config(&[1, 2, 3, 4, 5], ""), 0, last(10, 2));
        server.hear(1, 4, &frame(state, vote, ""));
        let proposal = server.election.proposal;
        assert_eq!((proposal.leader.0, proposal.round.0), expected, "{state} {vote:?}");
    }
}

#[test]
fn a_server_behind_is_told_and_strangers_get_the_known_leader() {
    use ServerState::*;
    let mut server = Server::new(2, config(&[1, 2, 3], "server.9=o:1:2:observer\n"), 0, last(10, 2));
    server.hear(1, 1, &frame(Looking, (1, 5, 4, 2), ""));
    assert_eq!(server.election.round(), Round(4));
    server.out.clear();
    let own = server.election.config.clone();
    server.hear(2, 3, &frame(Looking, (3, 5, 3, 2), ""));
    assert_eq!(server.said_to(3), [frame(Looking, (2, 10, 4, 2), &own)]);
    server.hear(2, 9, &frame(Looking, (i64::MIN, i64::MIN, 1, i64::MIN), ""));
    assert_eq!(server.said_to(9), [frame(Looking, (2, 10, 4, 2), &own)], "itself, in the present round");
    server.hear(3, 1, &frame(Looking, (2, 10, 4, 2), ""));
    server.election.on_timeout(3 + WAIT, &mut server.out);
    assert_eq!(server.decided(), Some((Leading, 2)));
    server.hear(500, 9, &frame(Looking, (i64::MIN, i64::MIN, 1, i64::MIN), ""));
    assert_eq!(server.said_to(9), [frame(Leading, (2, 10, 4, 2), &own)]);
    server.hear(500, 3, &frame(Looking, (3, 99, 9, 9), ""));
    assert_eq!(server.said_to(3), [frame(Leading, (2, 10, 4, 2), &own)]);
    server.hear(500, 1, &frame(Following, (2, 10, 4, 2), ""));
    assert!(server.out.is_empty());
}

/// A quorum waits for the rest, unless that is gone; what is better begins anew.
#[test]
fn a_quorum_waits_while_somebody_may_know_better() {
    use ServerState::*;
    let mut server = Server::new(2, config(&[1, 2, 3], ""), 0, last(10, 2));
    server.hear(100, 1, &frame(Looking, (2, 10, 1, 2), ""));
    assert_eq!((server.decided(), server.election.next_timeout()), (None, Some(200)));
    server.hear(150, 3, &frame(Looking, (3, 11, 1, 2), ""));
    assert_eq!(server.election.finalize_at_ms, Some(350), "3 is for itself, this one now, too");
    server.hear(160, 1, &frame(Looking, (3, 11, 1, 2), ""));
    assert_eq!(server.decided(), Some((Following, 3)), "nobody is left");

    let mut server = Server::new(2, config(&[1, 2, 3], ""), 0, last(10, 2));
    server.election.on_gone(50, ServerId(3), &mut server.out);
    assert_eq!(server.decided(), None);
    server.hear(100, 1, &frame(Looking, (2, 10, 1, 2), ""));
    assert_eq!(server.decided(), Some((Leading, 2)));

    let mut server = Server::new(2, config(&[1, 2, 3], ""), 0, last(10, 2));
    server.election.on_gone(50, ServerId(3), &mut server.out);
    server.hear(60, 3, &frame(Looking, (1, 1, 0, 1), ""));
    server.hear(100, 1, &frame(Looking, (2, 10, 1, 2), ""));
    assert_eq!(server.decided(), None, "3 is back");
    server.election.on_gone(120, ServerId(3), &mut server.out);
    assert_eq!(server.decided(), Some((Leading, 2)));
}

/// Votes of servers that have a leader, as they come in, and whether the last one makes this server join.
#[test]
fn an_ensemble_that_has_a_leader_is_joined_only_if_that_says_so() {
    use ServerState::*;
    type Said = (i64, ServerState, (i64, i64, i64, i64));
    let table: [(&[Said], Option<i64>); 8] = [
        (&[(1, Following, (3, 5, 7, 4)), (3, Leading, (3, 5, 7, 4))], Some(3)),
        (&[(3, Leading, (3, 5, 7, 4)), (1, Following, (3, 9, 8, 4))], Some(3)),
        (&[(1, Following, (3, 5, 7, 4)), (4, Following, (3, 5, 7, 4)), (5, Following, (3, 5, 7, 4))], None),
        (&[(3, Leading, (3, 5, 7, 4))], None),
        (&[(1, Following, (3, 5, 7, 3)), (3, Leading, (3, 5, 7, 4))], None),
        (&[(1, Following, (2, 5, 7, 4)), (3, Following, (2, 5, 7, 4)), (4, Following, (2, 5, 7, 4))], None),
        (
            &[(1, Following, (2, 5, 1, 4)), (3, Following, (2, 5, 1, 4)), (4, Following, (2, 5, 1, 4))],
            Some(2),
        ),
        (&[(1, Following, (9, 5, 1, 4)), (3, Following, (9, 5, 1, 4)), (4, Leading, (9, 5, 1, 4))], None),
    ];
    for (said, expected) in table {
        let mut server = Server::new(2, config(&[1, 2, 3, 4], ""), 0, last(10, 2));
        let with_five = config(&[1, 2, 3, 4, 5], "");
        if said.iter().any(|(from, _, _)| *from == 5) {
            server = Server::new(2, with_five, 0, last(10, 2));
        }
        // 2 of 4 are no majority; a third is there that follows, too.
        if expected == Some(3) {
            server.hear(1, 4, &frame(Following, (3, 5, 6, 4), ""));
        }
        for (from, state, vote) in said {
            assert_eq!(server.decided(), None, "{said:?}");
            server.hear(1, *from, &frame(*state, *vote, ""));
        }
        let expected = expected.map(|leader| (if leader == 2 { Leading } else { Following }, leader));
        assert_eq!(server.decided(), expected, "{said:?}");
    }
}

#[test]
fn servers_without_weight_and_observers_are_not_elected() {
    let groups = "group.1=1:2\ngroup.2=3\nweight.3=0\n";
    let mut server = Server::new(1, config(&[1, 2, 3], groups), 0, last(10, 2));
    server.hear(1, 3, &frame(ServerState::Looking, (3, 99, 1, 9), ""));
    assert_eq!(server.election.proposal.leader, ServerId(1));
    server.hear(2, 2, &frame(ServerState::Looking, (2, 10, 1, 2), ""));
    assert_eq!(server.election.proposal.leader, ServerId(2));
    let mut observer = Server::new(9, config(&[1], "server.9=o:1:2:observer\n"), 0, last(10, 2));
    observer.out.clear();
    observer.hear(1, 1, &frame(ServerState::Leading, (1, 5, 3, 4), ""));
    assert_eq!(observer.decided(), Some((ServerState::Observing, 1)));
}

#[test]
fn one_voter_elects_itself_at_once() {
    let mut server = Server::new(1, config(&[1], ""), 0, last(10, 2));
    assert_eq!(server.decided(), Some((ServerState::Leading, 1)));
    server.election.look(5, last(11, 3), &mut server.out);
    assert_eq!(server.decided(), Some((ServerState::Leading, 1)));
    assert_eq!((server.election.round(), server.election.vote().zxid), (Round(2), Zxid(11)));
}

#[test]
fn of_two_the_oracle_names_one() {
    let says = |grants| Some(Oracle { is_needed: true, grants });
    let mut quorums = Quorums::new(config(&[1, 2], ""));
    quorums.set_oracle(says(false));
    let mut out = Vec::new();
    let mut left = Election::new(settings(1), quorums.clone(), 0, last(10, 2), &mut out);
    left.on_timeout(200, &mut out);
    assert_eq!(left.state(), ServerState::Looking);
    left.on_oracle(says(true));
    left.on_timeout(600, &mut out);
    left.on_timeout(800, &mut out);
    assert_eq!(left.state(), ServerState::Leading);
    let mut back = Server { election: Election::new(settings(2), quorums, 0, last(99, 2), &mut out), out };
    back.out.clear();
    back.hear(900, 1, &frame(ServerState::Leading, (1, 10, 1, 3), ""));
    assert_eq!(
        back.decided(),
        Some((ServerState::Following, 1)),
        "it has no word of the oracle, so the other has"
    );
}

#[test]
fn pauses_double_up_to_their_bound() {
    let mut server = Server::new(2, config(&[1, 2, 3], ""), 0, last(10, 2));
    let mut at = 0;
    for pause in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000] {
        assert_eq!(server.said_to(1).len(), 1);
        at += pause;
        assert_eq!(server.election.next_timeout(), Some(at));
        server.election.on_timeout(at, &mut server.out);
    }
}

/// Several elections and a network between them that loses, repeats, delays and so reorders.
struct Network {
    servers: BTreeMap<i64, Node>,
    /// When, to, from, what.
    on_their_way: Vec<(u64, i64, i64, Vec<u8>)>,
    prng: Prng,
    loss_percent: u64,
    now: u64,
    /// Who decided for whom, by round.
    decisions: BTreeMap<(i64, i64), Vec<i64>>,
}

struct Node {
    server: Server,
    has: (Zxid, PeerEpoch),
    /// Since when what it decided came to nothing.
    alone_since: Option<u64>,
}

impl Network {
    fn new(seed: u64, voters: usize) -> Network {
        let mut prng = Prng::new(seed);
        let ids: Vec<i64> = (1..=voters as i64).collect();
        let mut servers = BTreeMap::new();
        for id in &ids {
            let has = last(prng.below(4) as i64, prng.below(2) as i64);
            let server = Server::new(*id, config(&ids, ""), 0, has);
            servers.insert(*id, Node { server, has, alone_since: None });
        }
        let mut network = Network {
            servers,
            on_their_way: Vec::new(),
            loss_percent: prng.below(60),
            prng,
            now: 0,
            decisions: BTreeMap::new(),
        };
        network.carry();
        network
    }

    /// Puts what was said on its way and notes what was decided.
    fn carry(&mut self) {
        for (id, node) in &mut self.servers {
            for output in node.server.out.drain(..) {
                match output {
                    ElectionOutput::Send { to, frame } => {
                        for _ in 0..1 + u64::from(self.prng.chance(10)) {
                            if !self.prng.chance(self.loss_percent) {
                                let at = self.now
                                    + 1
                                    + self.prng.below(if self.loss_percent > 0 { 400 } else { 5 });
                                self.on_their_way.push((at, to.0, *id, frame.to_vec()));
                            }
                        }
                    }
                    ElectionOutput::Decided { vote, .. } => {
                        let voters = self.decisions.entry((vote.round.0, vote.leader.0)).or_default();
                        voters.push(*id);
                        node.alone_since = Some(self.now);
                    }
                    ElectionOutput::Adopted(_) => panic!("all have the same configuration"),
                }
            }
        }
    }

    fn step(&mut self) {
        self.now += 10;
        let (now, mut late) = (self.now, Vec::new());
        for (at, to, from, frame) in std::mem::take(&mut self.on_their_way) {
            match self.servers.get_mut(&to) {
                Some(node) if at <= now => node.server.hear(now, from, &frame),
                Some(_) => late.push((at, to, from, frame)),
                None => {}
            }
        }
        self.on_their_way = late;
        for node in self.servers.values_mut() {
            if node.server.election.next_timeout().is_some_and(|at| at <= now) {
                node.server.election.on_timeout(now, &mut node.server.out);
            }
        }
        self.carry();
        self.give_up();
        self.carry();
    }

    /// What discovery does: who follows one that does not lead, or leads without a quorum, looks again after a while.
    fn give_up(&mut self) {
        let supporters = |leader: i64| {
            let of = |node: &&Node| {
                let election = &node.server.election;
                election.state() != ServerState::Looking && election.vote().leader.0 == leader
            };
            self.servers.values().filter(of).count()
        };
        let size = self.servers.values().next().expect("some").server.election.quorums().voters().count();
        let holds: Vec<(i64, bool)> = self
            .servers
            .iter()
            .map(|(id, node)| {
                let leader = node.server.election.vote().leader.0;
                let leads = |n: &Node| n.server.election.state() == ServerState::Leading;
                (*id, self.servers.get(&leader).is_some_and(leads) && supporters(leader) > size / 2)
            })
            .collect();
        for (id, holds) in holds {
            let node = self.servers.get_mut(&id).expect("it is there");
            if holds || node.server.election.state() == ServerState::Looking {
                node.alone_since = None;
            } else if self.now > *node.alone_since.get_or_insert(self.now) + 1000 {
                node.alone_since = None;
                node.server.election.look(self.now, node.has, &mut node.server.out);
            }
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.step();
        }
    }

    fn leader(&self) -> Option<i64> {
        let mut votes = self.servers.values().map(|node| &node.server.election);
        let first = votes.next()?.vote().leader;
        let all = self.servers.values().map(|node| &node.server.election);
        let agree = all.into_iter().all(|e| e.state() != ServerState::Looking && e.vote().leader == first);
        agree.then_some(first.0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn all_agree_on_one_leader_and_no_round_has_two(seed: u64, voters in 1..6_usize) {
        let mut network = Network::new(seed, voters);
        network.run(5_000);
        network.loss_percent = 0;
        network.run(70_000);
        let leader = network.leader();
        prop_assert!(leader.is_some(), "nobody leads after a minute without losses");
        let quorums = Quorums::new(config(&(1..=voters as i64).collect::<Vec<_>>(), ""));
        let mut rounds = BTreeMap::new();
        for ((round, leader), by) in &network.decisions {
            if quorums.is_quorum(|id| by.contains(&id.0)) {
                let other = rounds.insert(*round, *leader);
                prop_assert!(other.is_none(), "{other:?} and {leader} in round {round}");
            }
        }
    }

    /// Without losses the best is elected in the first round, by those that are there.
    #[test]
    fn the_best_is_elected(seed: u64, voters in 1..6_usize) {
        let mut network = Network::new(seed, voters);
        network.loss_percent = 0;
        let down = (voters - 1) / 2;
        for id in 1..=down as i64 {
            network.servers.remove(&id);
        }
        network.run(10_000);
        let best = network.servers.iter().max_by_key(|(id, node)| (node.has.1, node.has.0, **id));
        prop_assert_eq!(network.leader(), best.map(|(id, _)| *id));
    }

    #[test]
    fn whatever_is_said_no_assertion_breaks(
        said in proptest::collection::vec((0..5_i64, 0..4_usize, -1..6_i64, -1..4_i64, -1..4_i64, -1..3_i64, 0..7_usize), 0..40),
        version in 0..3_i32,
    ) {
        use ServerState::*;
        let texts = ["", "version=0", "server.1=a:1:2\nversion=1", "server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:1:2\nversion=2",
            "server.1=a:1:2\nserver.2=b:1:2:observer\nversion=3", "x=", "server.1=a:1:2\nserver.3=c:1:2\nversion=ffff"];
        let mut server = Server::new(2, config(&[1, 2, 3], ""), 0, last(1, 1));
        let mut now = 0;
        for (from, state, leader, zxid, round, epoch, text) in said {
            now += 40;
            let said = Notification {
                state: Some([Looking, Following, Leading, Observing][state]),
                leader: ServerId(leader), zxid: Zxid(zxid), round: Round(round), peer_epoch: PeerEpoch(epoch),
                version, config: Some(texts[text].as_bytes()),
            };
            server.election.on_notification(now, ServerId(from), &said, &mut server.out);
            server.election.on_timeout(now, &mut server.out);
            if from == 4 && server.election.state() != Looking {
                server.election.look(now, last(zxid, epoch), &mut server.out);
            }
            server.election.check();
        }
    }
}
