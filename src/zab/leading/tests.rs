//! Recorded leaders replayed; learners that say what they must not; commits, syncs, timers.

use super::super::quorum::QuorumVerifier;
use super::super::sync::OnDisk;
use super::*;
use crate::wire::quorum::Touched;
use crate::wire::traces;
use proptest::prelude::*;
use std::collections::BTreeMap;

const E: i64 = 1 << 32;

fn settings(me: i64) -> QuorumSettings {
    QuorumSettings {
        me: ServerId(me),
        tick_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        connect_limit: 0,
        data_bytes_max: 2 << 20,
        is_reconfig_enabled: true,
        is_disk_used: true,
        epoch_wait_max_ms: None,
        is_sync_confirmed: false,
    }
}

fn config(text: &str) -> Quorums {
    Quorums::new(QuorumVerifier::parse(text).expect("well-formed"))
}

fn three() -> Quorums {
    config("server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:1:2\nserver.9=h9:1:2:observer\nversion=5")
}

fn entry(zxid: i64) -> Entry {
    Entry { zxid: Zxid(zxid), bytes: format!("entry {zxid:x}").into_bytes().into() }
}

fn history(committed: i64, entries: &[i64]) -> History {
    let mut history = History::new(500, 1 << 20, Zxid(committed));
    entries.iter().for_each(|zxid| history.push(entry(*zxid)));
    history
}

fn epochs(accepted: u32, current: u32) -> Epochs {
    Epochs { accepted: Epoch(accepted), current: Epoch(current) }
}

/// A leader whose epochs are saved at once, and what it said to each learner.
struct Server {
    leading: Leading,
    said: BTreeMap<LearnerId, Vec<Vec<u8>>>,
    other: Vec<LeadingOutput>,
    now: u64,
}

impl Server {
    fn new(settings: QuorumSettings, quorums: Quorums, history: History, epochs: Epochs) -> Server {
        let mut out = Vec::new();
        let leading = Leading::new(settings, quorums, history, epochs, 0, &mut out);
        let mut server = Server { leading, said: BTreeMap::new(), other: Vec::new(), now: 0 };
        server.turn(out);
        server
    }

    /// Leader 3 of three in epoch 2, whose history ends at 5; nobody has come yet.
    fn three(settings: QuorumSettings) -> Server {
        Server::new(settings, three(), history(E + 3, &[E + 4, E + 5]), epochs(1, 1))
    }

    fn accept(&mut self) -> LearnerId {
        self.leading.on_accepted(self.now).expect("room")
    }

    fn hear(&mut self, from: LearnerId, bytes: &[u8]) {
        let mut out = Vec::new();
        self.leading.on_bytes(self.now, from, bytes, &mut out);
        self.turn(out);
    }

    fn hear_all(&mut self, from: LearnerId, packets: &[ToLeader<'_>]) {
        for packet in packets {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            self.hear(from, &bytes);
        }
    }

    fn turn(&mut self, mut out: Vec<LeadingOutput>) {
        self.leading.flush(self.now, &mut out);
        while !out.is_empty() {
            for output in std::mem::take(&mut out) {
                match output {
                    LeadingOutput::Send { to, bytes } => {
                        self.leading.on_sent(to, bytes.len());
                        self.said.entry(to).or_default().extend(packets(&bytes));
                    }
                    LeadingOutput::SaveAccepted(epoch) => {
                        self.leading.on_accepted_saved(self.now, epoch, &mut out);
                    }
                    LeadingOutput::SaveCurrent(epoch) => {
                        self.leading.on_current_saved(self.now, epoch, &mut out);
                    }
                    other => self.other.push(other),
                }
            }
            self.leading.flush(self.now, &mut out);
        }
    }

    fn says(&mut self, to: LearnerId) -> Vec<ToLearner<'static>> {
        let said = self.said.remove(&to).unwrap_or_default();
        let read = |bytes: &Vec<u8>| {
            let bytes: &'static [u8] = bytes.clone().leak();
            ToLearner::decode(cut(bytes, 2 << 20).expect("well-formed").expect("whole").0)
                .expect("well-formed")
        };
        said.iter().map(read).collect()
    }

    fn propose(&mut self) -> Zxid {
        let zxid = self.leading.next_zxid(&mut self.other).expect("enough are left");
        self.leading.propose(entry(zxid.0));
        self.turn(Vec::new());
        zxid
    }

    fn durable(&mut self, zxid: Zxid) {
        let mut out = Vec::new();
        self.leading.on_durable(zxid, &mut out);
        self.turn(out);
    }

    fn at(&mut self, now: u64) {
        self.now = now;
        let mut out = Vec::new();
        self.leading.on_timeout(now, &mut out);
        self.turn(out);
    }

    /// A learner that has been synchronised.
    fn follower(&mut self, id: i64, last: i64) -> LearnerId {
        let learner = self.accept();
        let ack = ToLeader::AckEpoch { last: Zxid(last), current: 1 };
        self.hear_all(learner, &[info(id, 1), ack]);
        self.hear_all(learner, &[ToLeader::Ack { zxid: Zxid(2 * E) }]);
        learner
    }

    fn end_of(&self, id: LearnerId) -> Option<LearnerEnd> {
        self.other.iter().find_map(|output| match output {
            LeadingOutput::Close { learner, why, .. } if *learner == id => Some(why.clone()),
            _ => None,
        })
    }

    fn end(&self) -> Option<LeadingEnd> {
        self.other.iter().find_map(|output| match output {
            LeadingOutput::GiveUp(why) => Some(*why),
            _ => None,
        })
    }

    fn commits(&mut self) -> Vec<i64> {
        let commits = self.other.iter().filter_map(|output| match output {
            LeadingOutput::Commit(zxid) => Some(zxid.0),
            _ => None,
        });
        commits.collect()
    }
}

fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut all) = (bytes, Vec::new());
    while let Some((_, length)) = cut(rest, 2 << 20).expect("well-formed") {
        all.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    all
}

fn info(id: i64, accepted: u32) -> ToLeader<'static> {
    let learner =
        LearnerInfo { server: Some(ServerId(id)), protocol: PROTOCOL_VERSION, config_version: Some(5) };
    ToLeader::Info { observes: id == 9, accepted: Zxid::first_of(Epoch(accepted)), learner }
}

fn ack(zxid: i64) -> ToLeader<'static> {
    ToLeader::Ack { zxid: Zxid(zxid) }
}

fn pong(touched: &[u8]) -> ToLeader<'_> {
    ToLeader::Ping { zxid: Zxid(0), touched: Touched::new(touched).expect("whole entries") }
}

/// Everything that a recorded leader says to learners that connect while it leads, this one says, too, having heard the
/// same; to the byte, and in the same order on each connection.
fn replay(trace: &str, connections: &[usize], mut server: Server) -> Server {
    let mut learners = BTreeMap::new();
    let mut messages = Vec::new();
    for number in connections {
        let connection = traces::all().filter(|c| c.trace == trace).nth(*number).expect("recorded");
        learners.insert(*number, server.accept());
        for (at_ms, message) in connection.timed_messages() {
            messages.push((at_ms, *number, message.from == "connector", message.bytes));
        }
    }
    messages.sort_by(|a, b| a.0.total_cmp(&b.0));
    // What was said to whom and not by this one yet: of the same instant one was seen before the other by chance.
    let mut expected: BTreeMap<LearnerId, Vec<Vec<u8>>> = BTreeMap::new();
    let mut matched = 0;
    for (_, connection, is_up, bytes) in messages.into_iter().filter(|message| !message.3.is_empty()) {
        let learner = learners[&connection];
        if is_up {
            server.hear(learner, &bytes);
            assert_eq!(server.end_of(learner), None);
            answer(&mut server, learner, 0);
        } else if let Ok(Some((packet, _))) = cut(&bytes, 2 << 20)
            && let Ok(said) = ToLearner::decode(packet)
        {
            expected.entry(learner).or_default().push(bytes.clone());
            act(&mut server, learner, &said, &bytes);
        }
        for (learner, expected) in &mut expected {
            let said = server.said.entry(*learner).or_default();
            while !said.is_empty() && said.first() == expected.first() {
                said.remove(0);
                expected.remove(0);
                matched += 1;
            }
            assert!(said.len() < 4 && expected.len() < 4, "{trace}: {said:02x?} instead of {expected:02x?}");
        }
    }
    assert!(matched > 10);
    for (learner, expected) in expected {
        assert!(expected.is_empty(), "{trace}: {learner:?} was not told {expected:02x?}");
    }
    server
}

/// What makes the leader say this, if it is not an answer.
fn act(server: &mut Server, learner: LearnerId, said: &ToLearner<'_>, bytes: &Vec<u8>) {
    match said {
        ToLearner::Proposal { zxid, entry } if *zxid > server.leading.history().last() => {
            server.leading.propose(Entry { zxid: *zxid, bytes: (*entry).into() });
            server.durable(*zxid);
        }
        ToLearner::Snap { zxid } => answer(server, learner, zxid.0),
        ToLearner::Revalidate { session, valid } => {
            server.leading.revalidated(learner, *session, *valid);
            server.turn(Vec::new());
        }
        ToLearner::Ping { .. } if !server.said.get(&learner).is_some_and(|said| said.contains(bytes)) => {
            let at = server.leading.next_timeout().expect("it pings");
            server.at(at);
        }
        _ => {}
    }
}

/// What the disk and the snapshots of the leader say.
fn answer(server: &mut Server, learner: LearnerId, snapshot: i64) {
    let mut out = Vec::new();
    for output in std::mem::take(&mut server.other) {
        match output {
            LeadingOutput::AskDisk { learner, .. } => {
                let disk =
                    OnDisk { at_or_before: None, behind: None, until: Zxid(0), bytes: 0, bytes_max: 0 };
                server.leading.on_disk(0, learner, Disk::Known(disk), &mut out);
            }
            LeadingOutput::SendSnapshot(to) if snapshot > 0 => {
                assert_eq!(to, learner);
                server.leading.on_snapshot_begins(learner, Zxid(snapshot), &mut out);
                server.leading.on_snapshot_sent(0, learner, Zxid(snapshot));
            }
            other => server.other.push(other),
        }
    }
    server.turn(out);
}

fn recorded_config(trace: &str, connection: usize) -> String {
    let connection = traces::all().filter(|c| c.trace == trace).nth(connection).expect("recorded");
    let new_leader =
        connection.messages().find(|m| m.bytes.starts_with(&[0, 0, 0, 10])).expect("NEWLEADER").bytes;
    String::from_utf8(new_leader[16..new_leader.len() - 4].to_vec()).expect("text")
}

#[test]
fn recorded_leaders() {
    let initial = recorded_config("join", 3).replace("version=100000000", "version=0");
    let server = Server::new(settings(3), config(&initial), history(0, &[]), epochs(0, 0));
    let server = replay("join", &[3, 4, 11], server);
    assert_eq!(server.leading.history().committed(), Zxid(E + 0x86));
    assert_eq!(server.leading.epochs, epochs(1, 1));
    assert_eq!(server.leading.quorums().committed().version(), E);

    let entries: Vec<i64> = (1..7).map(|n| E + n).collect();
    let text = recorded_config("trunc", 7);
    let server = Server::new(settings(2), config(&text), history(0, &entries), epochs(1, 1));
    replay("trunc", &[7, 10], server);
}

/// The way of a transaction, with everything that leaves to whom.
#[test]
fn a_proposal_is_committed_by_a_quorum() {
    let mut server = Server::three(settings(3));
    assert!(server.other.is_empty() && server.leading.epoch().is_none());
    let one = server.accept();
    server.hear_all(one, &[info(1, 1)]);
    let leader_info = ToLearner::LeaderInfo { epoch: Epoch(2), protocol: PROTOCOL_VERSION };
    assert_eq!(server.says(one), std::slice::from_ref(&leader_info));
    server.hear_all(one, &[ToLeader::AckEpoch { last: Zxid(E + 4), current: 1 }]);
    let text = server.leading.config.clone();
    let new_leader = ToLearner::NewLeader { epoch: Epoch(2), config: Some(text.as_bytes()) };
    let sent = |zxid: i64| ToLearner::Proposal { zxid: Zxid(zxid), entry: entry(zxid).bytes.to_vec().leak() };
    let commit = |zxid: i64| ToLearner::Commit { zxid: Zxid(zxid) };
    let diff = ToLearner::Diff { zxid: Zxid(E + 5) };
    assert_eq!(server.says(one), [diff.clone(), sent(E + 5), commit(E + 5), new_leader.clone()]);
    assert!(server.commits().is_empty());
    server.hear_all(one, &[ack(2 * E)]);
    assert_eq!(server.says(one), [ToLearner::UpToDate]);
    assert_eq!(server.other, [LeadingOutput::Commit(Zxid(E + 5)), LeadingOutput::Established(Epoch(2))]);
    server.hear_all(one, &[ack(2 * E)]);

    let observer = server.follower(9, E + 5);
    assert_eq!(
        server.says(observer),
        [leader_info.clone(), diff.clone(), new_leader.clone(), ToLearner::UpToDate]
    );
    assert_eq!(server.propose(), Zxid(2 * E + 1));
    assert_eq!(server.propose(), Zxid(2 * E + 2));
    assert_eq!(server.says(one), [sent(2 * E + 1), sent(2 * E + 2)]);
    assert!(server.says(observer).is_empty());
    server.durable(Zxid(2 * E + 2));
    assert_eq!(server.commits(), [E + 5], "one of three");
    server.hear_all(observer, &[ack(2 * E + 2)]);
    assert_eq!(server.end_of(observer), Some(LearnerEnd::WrongAck(Zxid(2 * E + 2))), "it was not sent that");
    server.hear_all(one, &[ack(2 * E + 1)]);
    assert_eq!(server.commits(), [E + 5, 2 * E + 1]);
    assert_eq!(server.says(one), [commit(2 * E + 1)]);
    // A third one that comes gets what is committed and what is not.
    let two = server.follower(2, E + 5);
    let expected = [
        leader_info,
        ToLearner::Diff { zxid: Zxid(2 * E + 1) },
        sent(2 * E + 1),
        commit(2 * E + 1),
        sent(2 * E + 2),
        new_leader,
        ToLearner::UpToDate,
    ];
    assert_eq!(server.says(two), expected);
    server.hear_all(two, &[ack(2 * E), ack(2 * E + 2)]);
    assert_eq!(server.commits().last(), Some(&(2 * E + 2)));
    assert_eq!((server.says(one), server.says(two)), (vec![commit(2 * E + 2)], vec![commit(2 * E + 2)]));
}

#[test]
fn the_epoch_is_above_all_that_a_quorum_accepted() {
    let mut server = Server::three(settings(3));
    let (observer, one) = (server.accept(), server.accept());
    server.hear_all(observer, &[info(9, 1)]);
    assert_eq!(server.leading.epoch(), None, "an observer is no quorum");
    server.hear_all(one, &[info(1, 6)]);
    assert_eq!(server.leading.epoch(), Some(Epoch(7)));
    let expected = ToLearner::LeaderInfo { epoch: Epoch(7), protocol: PROTOCOL_VERSION };
    assert_eq!((server.says(one), server.says(observer)), (vec![expected.clone()], vec![expected.clone()]));
    let two = server.accept();
    server.hear_all(two, &[info(2, 9)]);
    assert_eq!(server.says(two), [expected], "it is too late for another one");
    // One that had accepted it before does not count.
    server.hear_all(one, &[ToLeader::AckEpoch { last: Zxid(E + 5), current: -1 }]);
    server.hear_all(observer, &[ToLeader::AckEpoch { last: Zxid(E + 5), current: 1 }]);
    assert!(server.says(one).is_empty());
    server.hear_all(two, &[ToLeader::AckEpoch { last: Zxid(E + 5), current: 1 }]);
    assert_eq!(server.says(one).len(), 2);
    server.hear_all(observer, &[ack(7 * E)]);
    assert!(!server.leading.is_established());
    server.hear_all(one, &[ack(7 * E)]);
    assert!(server.leading.is_established());
}

/// What a learner says, and why it is let go.
#[test]
fn learners_that_are_not_led() {
    use LearnerEnd::*;
    let info_of = |server, protocol, config_version| {
        let learner = LearnerInfo { server, protocol, config_version };
        ToLeader::Info { observes: false, accepted: Zxid(E), learner }
    };
    let one = Some(ServerId(1));
    let ack_epoch = |last, current| ToLeader::AckEpoch { last: Zxid(last), current };
    let synced = [info(1, 1), ack_epoch(E + 5, 1), ack(2 * E)];
    let after = |said: ToLeader<'static>| [&synced[..], &[said]].concat();
    let request = ToLeader::Request { session: SessionId(1), cxid: 1, op: 1, body: &[], identities: None };
    let table = [
        (vec![ack(E)], Unexpected(3)),
        (vec![info_of(one, 1, Some(5))], OldProtocol),
        (vec![info_of(Some(ServerId(3)), PROTOCOL_VERSION, Some(5))], OwnNumber),
        (vec![info_of(one, PROTOCOL_VERSION, Some(6))], ConfigurationAhead),
        (vec![info(1, i32::MAX as u32)], EpochsUsedUp(i32::MAX as u32)),
        (vec![info(1, 1), info(1, 1)], Unexpected(11)),
        (vec![info(1, 1), ack(E)], Unexpected(3)),
        (vec![info(1, 1), ack_epoch(E + 6, 1)], Ahead { current: 1, last: Zxid(E + 6) }),
        (vec![info(1, 1), ack_epoch(E + 1, 2)], Ahead { current: 2, last: Zxid(E + 1) }),
        (vec![info(1, 1), ack_epoch(E + 5, 1), ack_epoch(E + 5, 1)], Unexpected(18)),
        (vec![info(1, 1), ack_epoch(E + 5, 1), ack(E + 5)], WrongAck(Zxid(E + 5))),
        (vec![info(1, 1), ack_epoch(E + 5, 1), pong(&[])], Unexpected(5)),
        (vec![info(1, 1), ack_epoch(E + 5, 1), request.clone()], Unexpected(1)),
        (after(ack(2 * E + 1)), WrongAck(Zxid(2 * E + 1))),
        (after(pong(&[])), Unexpected(5)),
        (after(info(1, 1)), Unexpected(11)),
    ];
    for (said, expected) in table {
        let mut server = Server::three(settings(3));
        let learner = server.accept();
        for packet in &said {
            assert_eq!(server.end_of(learner), None, "{said:?}");
            server.hear_all(learner, std::slice::from_ref(packet));
        }
        assert_eq!(server.end_of(learner), Some(expected), "{said:?}");
    }
    // After the election one that is ahead is brought back.
    let mut server = Server::three(settings(3));
    server.follower(1, E + 5);
    let two = server.follower(2, E + 7);
    assert_eq!(server.says(two)[1], ToLearner::Trunc { zxid: Zxid(E + 5) });
}

#[test]
fn strangers_take_little() {
    let mut server = Server::three(settings(3));
    let first = server.accept();
    for _ in 1..LINKS_UNKNOWN_MAX {
        server.accept();
    }
    assert_eq!(server.leading.on_accepted(0), None);
    let mut head = vec![0; 12];
    head.extend_from_slice(&65_i32.to_be_bytes());
    server.hear(first, &head);
    assert!(matches!(server.end_of(first), Some(LearnerEnd::Malformed(_))), "before so many bytes are there");
    let learner = server.accept();
    server.hear_all(learner, &[info(1, 1)]);
    assert!(server.leading.on_accepted(0).is_some(), "it has said who it is");
}

#[test]
fn a_server_counts_once() {
    let mut server = Server::three(settings(3));
    let one = server.follower(1, E + 5);
    server.propose();
    let again = server.accept();
    server.hear_all(again, &[info(1, 2)]);
    assert_eq!(server.end_of(one), Some(LearnerEnd::Replaced));
    server.hear_all(one, &[ack(2 * E + 1)]);
    server.durable(Zxid(2 * E + 1));
    assert_eq!(server.commits(), [E + 5], "the old connection does not count any more");
}

#[test]
fn timers() {
    // Nobody comes.
    let mut server = Server::three(settings(3));
    assert_eq!(server.leading.next_timeout(), Some(10_000));
    server.at(9_999);
    assert_eq!(server.end(), None);
    server.at(10_000);
    assert_eq!(server.end(), Some(LeadingEnd::NoEpoch));
    // One comes, and says nothing any more.
    let mut server = Server::three(settings(3));
    let one = server.accept();
    server.hear_all(one, &[info(1, 1)]);
    server.at(10_000);
    assert_eq!((server.end_of(one), server.end()), (Some(LearnerEnd::Silent), Some(LeadingEnd::NoElection)));
    let mut server = Server::three(settings(3));
    let one = server.accept();
    server.hear_all(one, &[info(1, 1), ToLeader::AckEpoch { last: Zxid(E + 5), current: 1 }]);
    server.at(10_000);
    assert_eq!(server.end(), Some(LeadingEnd::NotSynchronized));
    // Pings twice a tick; without answers there is no quorum after syncLimit.
    let mut server = Server::three(settings(3));
    let one = server.follower(1, E + 5);
    server.says(one);
    for at in [500, 1000, 1500, 2000] {
        assert_eq!(server.leading.next_timeout(), Some(at));
        server.at(at);
        assert_eq!(server.says(one), [ToLearner::Ping { zxid: Zxid(2 * E) }]);
        server.hear_all(one, &[pong(&[])]);
    }
    while server.end().is_none() {
        let at = server.leading.next_timeout().expect("it pings");
        server.at(at);
    }
    assert_eq!((server.end_of(one), server.end()), (Some(LearnerEnd::Silent), Some(LeadingEnd::NoQuorum)));
    assert_eq!(server.now, 7000, "the first pass that counts, syncLimit after the last answer");
}

#[test]
fn a_leader_whose_voters_look_again_need_not_wait() {
    let patient = |wait| Server::three(QuorumSettings { epoch_wait_max_ms: wait, ..settings(3) });
    let left = |server: &mut Server, at, who| {
        let mut out = Vec::new();
        server.leading.on_looking(at, ServerId(who), &mut out);
        server.turn(out);
        server.end()
    };
    assert_eq!(left(&mut patient(None), 9000, 1), None);
    let mut server = patient(Some(300));
    assert_eq!((left(&mut server, 300, 1), left(&mut server, 301, 9)), (None, None));
    assert_eq!(left(&mut server, 301, 1), Some(LeadingEnd::VoterLeft));
    let mut server = patient(Some(300));
    server.follower(1, E + 5);
    assert_eq!(left(&mut server, 301, 2), None, "it has its quorum");
}

/// One that answers pings but acknowledges nothing holds everything up.
#[test]
fn a_follower_whose_disk_hangs_is_let_go() {
    let mut server = Server::three(settings(3));
    let (one, two) = (server.follower(1, E + 5), server.follower(2, E + 5));
    server.propose();
    server.hear_all(one, &[ack(2 * E + 1)]);
    for at in (500..7000).step_by(500) {
        server.at(at);
        for learner in [one, two] {
            if server.end_of(learner).is_none() {
                server.hear_all(learner, &[pong(&[])]);
            }
        }
    }
    assert_eq!((server.end_of(one), server.end_of(two)), (None, Some(LearnerEnd::SlowAck)));
    assert_eq!(server.end(), None);
}

/// After a pause of the leader nobody is taken for dead that had no chance to answer.
#[test]
fn a_pause_of_the_leader_is_no_tick_of_its_followers() {
    let mut server = Server::three(settings(3));
    let one = server.follower(1, E + 5);
    server.at(500);
    // What came in meanwhile is read before the timers are looked at.
    server.now = 60_000;
    server.hear_all(one, &[pong(&[])]);
    server.at(60_000);
    assert_eq!(server.end(), None);
    assert_eq!(server.leading.next_timeout(), Some(60_500));
}

#[test]
fn zxids_end_before_their_counter_does() {
    let mut server = Server::three(settings(3));
    server.follower(1, E + 5);
    // As if so many had been proposed.
    let last = Zxid(2 * E + i64::from(u32::MAX) - 2);
    server.leading.history = server.leading.history.of_snapshot(last);
    assert_eq!(server.leading.next_zxid(&mut server.other), Some(Zxid(last.0 + 1)));
    server.leading.propose(entry(last.0 + 1));
    assert_eq!(server.leading.next_zxid(&mut server.other), None);
    assert_eq!(server.end(), Some(LeadingEnd::ZxidsUsedUp));
}

#[test]
fn syncs_wait_for_what_was_proposed() {
    let mut server = Server::three(settings(3));
    let one = server.follower(1, E + 5);
    let sync = |cxid| ToLeader::Request { session: SessionId(1), cxid, op: 9, body: &[], identities: None };
    let synced = ToLearner::Sync { zxid: Zxid(0) };
    server.says(one);
    server.hear_all(one, &[sync(1)]);
    assert_eq!(server.says(one), std::slice::from_ref(&synced));
    server.propose();
    server.hear_all(one, &[sync(2)]);
    server.leading.sync(7);
    server.propose();
    server.says(one);
    server.durable(Zxid(2 * E + 2));
    server.hear_all(one, &[ack(2 * E + 1)]);
    let commit = ToLearner::Commit { zxid: Zxid(2 * E + 1) };
    assert_eq!(server.says(one), [commit, synced]);
    assert_eq!(server.other.last(), Some(&LeadingOutput::Synced(7)));
}

/// A quorum is asked once for all syncs of a turn, and only what it says later counts.
#[test]
fn syncs_are_confirmed_by_a_quorum() {
    let mut server = Server::three(QuorumSettings { is_sync_confirmed: true, ..settings(3) });
    let (one, two) = (server.follower(1, E + 5), server.follower(2, E + 5));
    let observer = server.follower(9, E + 5);
    [one, two, observer].into_iter().for_each(|id| drop(server.says(id)));
    server.at(500);
    let ping = ToLearner::Ping { zxid: Zxid(2 * E) };
    assert_eq!(server.says(one), std::slice::from_ref(&ping));
    server.leading.sync(1);
    server.leading.sync(2);
    server.turn(Vec::new());
    assert_eq!((server.says(one), server.says(two).len()), (vec![ping.clone()], 2));
    let synced = |server: &Server| {
        server.other.iter().filter(|output| matches!(output, LeadingOutput::Synced(_))).count()
    };
    server.hear_all(one, &[pong(&[])]);
    server.hear_all(observer, &[pong(&[]), pong(&[])]);
    assert_eq!(synced(&server), 0, "that was the answer to the ping before");
    server.leading.sync(3);
    server.turn(Vec::new());
    assert!(server.says(one).is_empty(), "those that come meanwhile are asked for later");
    server.hear_all(one, &[pong(&[])]);
    assert_eq!(synced(&server), 2);
    assert_eq!(server.says(one), std::slice::from_ref(&ping));
    server.hear_all(two, &[pong(&[]), pong(&[])]);
    assert_eq!(synced(&server), 2);
    server.hear_all(two, &[pong(&[])]);
    assert_eq!(synced(&server), 3);
}

/// What is in memory no more comes from disk, as much at a time as it is given; a slow learner costs nothing.
#[test]
fn who_is_far_behind_reads_on_from_disk() {
    let mut entries = History::new(2, 1 << 20, Zxid(E));
    (1..9).for_each(|n| entries.push(entry(E + n)));
    entries.forget_replayed();
    let mut server = Server::new(settings(3), three(), entries, epochs(1, 1));
    let one = server.accept();
    server.hear_all(one, &[info(1, 1), ToLeader::AckEpoch { last: Zxid(E + 2), current: 1 }]);
    let asked = LeadingOutput::AskDisk { learner: one, last: Zxid(E + 2) };
    assert_eq!(server.other, std::slice::from_ref(&asked));
    let disk = OnDisk {
        at_or_before: Some(Zxid(E + 2)),
        behind: Some(Zxid(E + 3)),
        until: Zxid(E + 8),
        bytes: 1,
        bytes_max: 1,
    };
    let mut out = Vec::new();
    server.leading.on_disk(0, one, Disk::Known(disk), &mut out);
    server.turn(out);
    let reads = |behind| LeadingOutput::ReadDisk { learner: one, behind: Zxid(behind), until: Zxid(E + 6) };
    assert_eq!(server.other, [asked.clone(), reads(E + 2)]);
    server.leading.on_disk_entries(one, vec![entry(E + 2), entry(E + 3), entry(E + 4)], &mut Vec::new());
    server.turn(Vec::new());
    assert_eq!(server.other, [asked, reads(E + 2), reads(E + 4)]);
    server.leading.on_disk_entries(one, vec![entry(E + 5), entry(E + 6)], &mut Vec::new());
    server.turn(Vec::new());
    let zxids: Vec<i64> = server
        .says(one)
        .iter()
        .filter_map(|said| match said {
            ToLearner::Proposal { zxid, .. } => Some(zxid.0 - E),
            ToLearner::Commit { zxid } => Some(E - zxid.0),
            _ => None,
        })
        .collect();
    assert_eq!(zxids, [3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8]);
}

#[test]
fn a_learner_that_does_not_read_is_sent_no_more() {
    let mut server = Server::three(settings(3));
    let one = server.follower(1, E + 5);
    let mut out = Vec::new();
    for _ in 0..6 {
        let zxid = server.leading.next_zxid(&mut out).expect("enough are left");
        server.leading.propose(Entry { zxid, bytes: vec![0; 1 << 20].into() });
        server.leading.flush(0, &mut out);
    }
    let sent = |out: &[LeadingOutput]| -> usize {
        let bytes = out.iter().map(|output| match output {
            LeadingOutput::Send { bytes, .. } => bytes.len(),
            _ => 0,
        });
        bytes.sum()
    };
    let first = sent(&out);
    assert!((4 << 20..5 << 20).contains(&(first - 80)), "{first}");
    server.leading.on_sent(one, first);
    out.clear();
    server.leading.flush(0, &mut out);
    assert!((2 << 20..3 << 20).contains(&(sent(&out) + 100)), "{}", sent(&out));
}

proptest! {
    /// Whatever learners say, in whatever pieces.
    #[test]
    fn no_learner_breaks_an_assertion(
        said in proptest::collection::vec((0..3_usize, 0..6_usize, 0..4_u32, 0..8_i64, 0..4_i64), 0..60), piece in 1..60_usize, good: bool,
    ) {
        let mut server = Server::three(QuorumSettings { is_sync_confirmed: true, ..settings(3) });
        let mut learners = [server.accept(), server.accept(), server.accept()];
        if good {
            learners[0] = server.follower(1, E + 5);
        }
        for (learner, kind, epoch, counter, server_id) in said {
            let zxid = Zxid(i64::from(epoch) * E + counter);
            let all = [info(server_id, epoch), ToLeader::AckEpoch { last: zxid, current: epoch as i32 - 1 }, ToLeader::Ack { zxid },
                pong(&[0; 24]), ToLeader::Revalidate { session: SessionId(1), timeout_ms: 5 },
                ToLeader::Request { session: SessionId(1), cxid: 1, op: 9, body: b"x", identities: None }];
            let mut bytes = Vec::new();
            all[kind].encode(&mut bytes);
            for piece in bytes.chunks(piece) {
                server.hear(learners[learner], piece);
            }
            answer(&mut server, learners[learner], 0);
            if server.leading.is_established() && counter == 1 {
                let zxid = server.propose();
                server.durable(zxid);
            }
        }
    }

    #[test]
    fn any_bytes_of_a_learner(bytes in proptest::collection::vec(any::<u8>(), 0..80), known: bool) {
        let mut server = Server::three(settings(3));
        let learner = if known { server.follower(1, E + 5) } else { server.accept() };
        server.hear(learner, &bytes);
    }
}
