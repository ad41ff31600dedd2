//! Recorded learners replayed; leaders that say what they must not.

use super::*;
use crate::wire::traces;
use proptest::prelude::*;

const E: i64 = 1 << 32;

pub(crate) fn settings(me: i64) -> QuorumSettings {
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
    config("server.1=h1:1:2\nserver.2=h2:1:2|h2b:1:2\nserver.3=h3:1:2\nserver.9=h9:1:2:observer")
}

fn history(committed: i64, entries: &[i64]) -> History {
    let mut history = History::new(500, 1 << 20, Zxid(committed));
    for zxid in entries {
        history.push(Entry { zxid: Zxid(*zxid), bytes: vec![1].into() });
    }
    history
}

fn epochs(accepted: u32, current: u32) -> Epochs {
    Epochs { accepted: Epoch(accepted), current: Epoch(current) }
}

/// A learner whose disk is instantly done, and what it said.
struct Server {
    learning: Learning,
    said: Vec<Vec<u8>>,
    other: Vec<LearningOutput>,
}

impl Server {
    fn new(me: i64, quorums: Quorums, history: History, epochs: Epochs, leader: i64) -> Server {
        let mut out = Vec::new();
        let learning = Learning::new(settings(me), quorums, history, epochs, ServerId(leader), 0, &mut out);
        assert!(matches!(out[..], [LearningOutput::Dial(..)]), "{out:?}");
        let mut server = Server { learning, said: Vec::new(), other: Vec::new() };
        server.learning.on_connected(0);
        server.turn(Vec::new());
        server
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut out = Vec::new();
        self.learning.on_bytes(0, bytes, &mut out);
        self.turn(out);
    }

    fn hear_all(&mut self, packets: &[ToLearner<'_>]) {
        for packet in packets {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            self.hear(&bytes);
        }
    }

    fn turn(&mut self, mut out: Vec<LearningOutput>) {
        self.learning.flush(&mut out);
        for output in out {
            let mut more = Vec::new();
            match output {
                LearningOutput::Send(bytes) => self.said.extend(packets(&bytes)),
                LearningOutput::SaveAccepted(epoch) => self.learning.on_accepted_saved(0, epoch),
                LearningOutput::SaveCurrent(epoch) => self.learning.on_current_saved(0, epoch),
                LearningOutput::Append(entry) => self.learning.on_durable(entry.zxid),
                LearningOutput::ReceiveSnapshot(zxid, rest) => {
                    self.learning.on_snapshot_received(0, &rest, &mut more);
                    self.other.push(LearningOutput::ReceiveSnapshot(zxid, Vec::new()));
                }
                other => self.other.push(other),
            }
            self.learning.flush(&mut more);
            if !more.is_empty() {
                self.turn(more);
            }
        }
    }

    /// Why it gave up.
    fn end(&self) -> Option<LearningEnd> {
        self.other.iter().find_map(|output| match output {
            LearningOutput::GiveUp(why) => Some(why.clone()),
            _ => None,
        })
    }

    fn says(&mut self) -> Vec<ToLeader<'static>> {
        let said = std::mem::take(&mut self.said);
        let read = |bytes: &Vec<u8>| {
            let bytes: &'static [u8] = bytes.clone().leak();
            ToLeader::decode(cut(bytes, 1 << 20).expect("well-formed").expect("whole").0)
                .expect("well-formed")
        };
        said.iter().map(read).collect()
    }
}

/// Each of the packets in `bytes` by itself.
fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut all) = (bytes, Vec::new());
    while let Some((_, length)) = cut(rest, 2 << 20).expect("well-formed") {
        all.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    all
}

/// Everything that a recorded learner says, this one says, too, having heard the same; to the byte.
fn replay(trace: &str, connection: usize, mut server: Server) -> Server {
    let connection = traces::all().filter(|c| c.trace == trace).nth(connection).expect("recorded");
    let is_kind = |bytes: &[u8], kind: PacketKind| bytes.starts_with(&(kind as i32).to_be_bytes());
    let messages: Vec<(bool, Vec<u8>)> =
        connection.messages().map(|message| (message.from == "connector", message.bytes)).collect();
    let mut pongs = messages.iter().filter(|(up, bytes)| *up && is_kind(bytes, PacketKind::Ping));
    let (mut expected, mut is_snapshot) = (0, false);
    for (up, bytes) in messages.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        if !up {
            if is_kind(bytes, PacketKind::Ping)
                && server.learning.is_serving()
                && let Some((_, pong)) = pongs.next()
            {
                let touched = Touched::new(&pong[16..pong.len() - 4]).expect("whole entries");
                touched.iter().for_each(|(session, timeout)| server.learning.touch(session, timeout));
            }
            // The bytes of a snapshot are not the learner's.
            if !std::mem::replace(&mut is_snapshot, is_kind(bytes, PacketKind::Snap)) {
                server.hear(bytes);
            }
            assert_eq!(server.end(), None);
            continue;
        }
        let (packet, _) = cut(bytes, 2 << 20).expect("well-formed").expect("whole");
        match ToLeader::decode(packet).expect("well-formed") {
            ToLeader::Request { session, cxid, op, body, identities } => {
                server.learning.request(session, cxid, op, body, identities);
            }
            ToLeader::Revalidate { session, timeout_ms } => server.learning.revalidate(session, timeout_ms),
            _ => {}
        }
        server.turn(Vec::new());
        let bytes = sorted(bytes);
        let at = server.said.iter().position(|said| *said == bytes);
        let at = at.unwrap_or_else(|| panic!("{trace} did not say {bytes:02x?}, but {:02x?}", server.said));
        server.said.remove(at);
        expected += 1;
    }
    assert!(server.said.is_empty(), "more than was recorded: {:02x?}", server.said);
    assert!(expected > 5);
    server
}

/// The sessions of a PING ascending: the original has them in the order of Java's HashMap.
fn sorted(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet.starts_with(&(PacketKind::Ping as i32).to_be_bytes()) {
        let end = packet.len() - 4;
        let mut sessions: Vec<Vec<u8>> = packet[16..end].chunks(12).map(<[u8]>::to_vec).collect();
        sessions.sort();
        packet[16..end].copy_from_slice(&sessions.concat());
    }
    packet
}

fn recorded_config(trace: &str, connection: usize) -> String {
    let connection = traces::all().filter(|c| c.trace == trace).nth(connection).expect("recorded");
    let new_leader =
        connection.messages().find(|m| m.bytes.starts_with(&[0, 0, 0, 10])).expect("NEWLEADER").bytes;
    String::from_utf8(new_leader[16..new_leader.len() - 4].to_vec()).expect("text")
}

#[test]
fn recorded_learners() {
    let joined = recorded_config("join", 3);
    let initial = joined.replace("version=100000000", "version=0");
    for (connection, me) in [(3, 2), (4, 1)] {
        let server = Server::new(me, config(&initial), history(0, &[]), epochs(0, 0), 3);
        let server = replay("join", connection, server);
        let mut server = server;
        server.learning.on_closed(&mut server.other);
        let (quorums, history, epochs) = server.learning.into_parts();
        assert_eq!(epochs, self::epochs(1, 1));
        assert_eq!(quorums.committed().to_string(), joined);
        assert_eq!(history.committed(), history.last());
    }
    let server = Server::new(4, config(&joined), history(0, &[]), epochs(0, 0), 3);
    let server = replay("join", 11, server);
    assert!(server.other.contains(&LearningOutput::ReceiveSnapshot(Zxid(E + 0x43), Vec::new())));
    assert_eq!(server.learning.history().before(), Zxid(E + 0x43));

    let entries: Vec<i64> = (1..9).map(|n| E + n).collect();
    let text = recorded_config("trunc", 7);
    let server = Server::new(1, config(&text), history(0, &entries[..6]), epochs(1, 1), 2);
    let server = replay("trunc", 7, server);
    assert!(server.other.contains(&LearningOutput::Commit(Zxid(E + 6))));
    let server = Server::new(3, config(&text), history(0, &entries), epochs(1, 1), 2);
    let server = replay("trunc", 10, server);
    assert_eq!(server.other[0], LearningOutput::Truncate(Zxid(E + 6)));

    let text = recorded_config("reconfig", 9);
    let server = Server::new(4, config(&text), history(E + 0x46, &[]), epochs(1, 1), 2);
    let server = replay("reconfig", 9, server);
    assert!(server.learning.observes);
    assert!(server.other.contains(&LearningOutput::Commit(Zxid(E + 0x47))));
}

fn entry(zxid: i64) -> ToLearner<'static> {
    ToLearner::Proposal { zxid: Zxid(zxid), entry: b"entry" }
}

fn commit(zxid: i64) -> ToLearner<'static> {
    ToLearner::Commit { zxid: Zxid(zxid) }
}

fn leader_info(epoch: u32) -> ToLearner<'static> {
    ToLearner::LeaderInfo { epoch: Epoch(epoch), protocol: PROTOCOL_VERSION }
}

fn new_leader(epoch: u32) -> ToLearner<'static> {
    ToLearner::NewLeader { epoch: Epoch(epoch), config: None }
}

fn diff() -> ToLearner<'static> {
    ToLearner::Diff { zxid: Zxid(0) }
}

fn ack(zxid: i64) -> ToLeader<'static> {
    ToLeader::Ack { zxid: Zxid(zxid) }
}

/// A follower with a tail of two that is not known to be committed.
fn follower() -> Server {
    let mut server = Server::new(1, three(), history(E + 3, &[E + 4, E + 5]), epochs(1, 1), 3);
    server.says();
    server
}

#[test]
fn what_is_sent_before_the_leader_is_established_is_committed_with_it() {
    let mut server = follower();
    server.hear_all(&[leader_info(2)]);
    assert_eq!(server.says(), [ToLeader::AckEpoch { last: Zxid(E + 5), current: 1 }]);
    server.hear_all(&[diff(), entry(E + 6), commit(E + 6), entry(2 * E + 1)]);
    assert!(server.says().is_empty() && server.other.is_empty());
    server.hear_all(&[new_leader(2)]);
    assert_eq!(server.says(), [ack(2 * E)]);
    server.hear_all(&[entry(2 * E + 2), commit(2 * E + 1), ToLearner::Ping { zxid: Zxid(0) }]);
    assert!(server.says().is_empty() && server.other.is_empty());
    server.hear_all(&[ToLearner::UpToDate]);
    assert_eq!(server.says(), [ack(2 * E), ack(2 * E + 1), ack(2 * E + 2)]);
    assert_eq!(server.other[1..], [LearningOutput::Commit(Zxid(2 * E + 1)), LearningOutput::Serve(Epoch(2))]);
    server.hear_all(&[commit(2 * E + 2)]);
    assert_eq!(server.other[3..], [LearningOutput::Commit(Zxid(2 * E + 2))]);
}

#[test]
fn nothing_is_promised_before_it_is_durable() {
    let mut out = Vec::new();
    let mut learning =
        Learning::new(settings(1), three(), history(E + 3, &[]), epochs(1, 1), ServerId(3), 0, &mut out);
    learning.on_connected(0);
    out.clear();
    learning.flush(&mut out);
    out.clear();
    let say = |packet: ToLearner<'_>| {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        bytes
    };
    let outputs = |learning: &mut Learning, bytes: &[u8]| {
        let mut out = Vec::new();
        learning.on_bytes(0, bytes, &mut out);
        learning.flush(&mut out);
        out
    };
    assert_eq!(outputs(&mut learning, &say(leader_info(4))), [LearningOutput::SaveAccepted(Epoch(4))]);
    learning.on_accepted_saved(0, Epoch(3));
    assert!(outputs(&mut learning, &[]).is_empty(), "that was another epoch");
    learning.on_accepted_saved(0, Epoch(4));
    assert!(matches!(outputs(&mut learning, &[])[..], [LearningOutput::Send(_)]));
    let bytes = [say(diff()), say(entry(E + 4)), say(commit(E + 4)), say(new_leader(4))].concat();
    let out = outputs(&mut learning, &bytes);
    assert!(
        matches!(&out[..], [LearningOutput::Append(_), LearningOutput::SaveCurrent(Epoch(4))]),
        "{out:?}"
    );
    assert_eq!(learning.next_timeout(), None, "it does not wait for its leader now");
    learning.on_durable(Zxid(E + 4));
    assert!(outputs(&mut learning, &[]).is_empty());
    learning.on_current_saved(7, Epoch(4));
    assert!(matches!(outputs(&mut learning, &[])[..], [LearningOutput::Send(_)]));
    assert_eq!(learning.next_timeout(), Some(5007));
    let bytes = [say(ToLearner::UpToDate), say(entry(4 * E + 1))].concat();
    let out = outputs(&mut learning, &bytes);
    let Some(LearningOutput::Send(said)) = out.last() else { panic!("{out:?}") };
    assert_eq!(packets(said).len(), 1, "the second ACK of NEWLEADER alone");
    learning.on_durable(Zxid(4 * E + 1));
    assert!(matches!(outputs(&mut learning, &[])[..], [LearningOutput::Send(_)]));
}

/// What a leader says after LEADERINFO of epoch 2 (unless it is another), and why the follower leaves it.
#[test]
fn leaders_that_are_not_followed() {
    use LearningEnd::*;
    let gap = |zxid, last| Gap { zxid: Zxid(zxid), last: Zxid(last) };
    let order =
        |zxid, expected: Option<i64>| CommitOutOfOrder { zxid: Zxid(zxid), expected: expected.map(Zxid) };
    let synced = [leader_info(2), diff(), new_leader(2), ToLearner::UpToDate];
    let after = |more: &[ToLearner<'static>]| [&synced[..], more].concat();
    let snap = |zxid| ToLearner::Snap { zxid: Zxid(zxid) };
    let trunc = |zxid| ToLearner::Trunc { zxid: Zxid(zxid) };
    let table = [
        (vec![leader_info(0)], OldEpoch { leader: Epoch(0), accepted: Epoch(1) }),
        (vec![leader_info(u32::MAX)], OldEpoch { leader: Epoch(u32::MAX), accepted: Epoch(1) }),
        (vec![diff()], Unexpected(13)),
        (vec![new_leader(2)], Unexpected(10)),
        (vec![leader_info(2), leader_info(2)], Unexpected(17)),
        (vec![leader_info(2), entry(E + 6)], Unexpected(2)),
        (vec![leader_info(2), trunc(E + 2)], CannotTruncate { to: Zxid(E + 2), committed: Zxid(E + 3) }),
        (vec![leader_info(2), trunc(E + 6)], CannotTruncate { to: Zxid(E + 6), committed: Zxid(E + 3) }),
        (
            vec![leader_info(2), snap(E + 2), new_leader(2)],
            Behind { last: Zxid(E + 2), committed: Zxid(E + 3) },
        ),
        (vec![leader_info(2), diff(), entry(E + 7)], gap(E + 7, E + 5)),
        (vec![leader_info(2), diff(), entry(E + 5)], gap(E + 5, E + 5)),
        (vec![leader_info(2), diff(), entry(3 * E + 1)], gap(3 * E + 1, E + 5)),
        (vec![leader_info(2), trunc(E + 4), entry(E + 6)], gap(E + 6, E + 4)),
        (vec![leader_info(2), diff(), commit(E + 6)], order(E + 6, None)),
        (vec![leader_info(2), diff(), entry(E + 6), commit(E + 5)], order(E + 5, Some(E + 6))),
        (vec![leader_info(2), diff(), new_leader(3)], OldEpoch { leader: Epoch(3), accepted: Epoch(2) }),
        (vec![leader_info(2), diff(), ToLearner::UpToDate], Unexpected(12)),
        (vec![leader_info(2), diff(), new_leader(2), new_leader(2)], Unexpected(10)),
        (after(&[entry(E + 6)]), gap(E + 6, E + 5)),
        (after(&[entry(2 * E + 1), entry(2 * E + 3)]), gap(2 * E + 3, 2 * E + 1)),
        (after(&[commit(2 * E + 1)]), order(2 * E + 1, None)),
        (after(&[entry(2 * E + 1), entry(2 * E + 2), commit(2 * E + 2)]), order(2 * E + 2, Some(2 * E + 1))),
        (after(&[leader_info(3)]), Unexpected(17)),
    ];
    for (said, expected) in table {
        let mut server = follower();
        for packet in &said {
            assert_eq!(server.end(), None, "{said:?}");
            server.hear_all(std::slice::from_ref(packet));
        }
        assert_eq!(server.end(), Some(expected), "{said:?}");
        assert_eq!(server.learning.next_timeout(), None);
    }
}

#[test]
fn an_epoch_that_was_accepted_before_does_not_count_twice() {
    let mut server = follower();
    server.hear_all(&[leader_info(1)]);
    assert_eq!(server.says(), [ToLeader::AckEpoch { last: Zxid(E + 5), current: -1 }]);
}

/// Apache's leaders send again behind a snapshot what is in it already.
#[test]
fn what_a_snapshot_holds_is_not_appended_again() {
    let mut server = follower();
    let snap = ToLearner::Snap { zxid: Zxid(2 * E + 7) };
    server.hear_all(&[leader_info(2), snap, entry(2 * E + 6), commit(2 * E + 6), commit(2 * E + 7)]);
    server.hear_all(&[entry(2 * E + 8), new_leader(2), ToLearner::UpToDate]);
    assert_eq!(server.end(), None);
    assert_eq!(server.learning.history().committed(), Zxid(2 * E + 7));
    assert_eq!(server.says().last(), Some(&ack(2 * E + 8)));
}

/// A snapshot takes the place of what was there only with the epoch; one that ends earlier is made up for by what follows.
#[test]
fn a_snapshot_stands_aside_until_the_epoch_is_saved() {
    let snap = ToLearner::Snap { zxid: Zxid(E + 1) };
    let mut server = follower();
    server.hear_all(&[leader_info(2), snap.clone(), entry(E + 2), commit(E + 2), entry(E + 3)]);
    let mut out = Vec::new();
    server.learning.on_closed(&mut out);
    let ends = [LearningOutput::DropSnapshot, LearningOutput::GiveUp(LearningEnd::Closed)];
    assert_eq!(out, ends);
    let (_, history, epochs) = server.learning.into_parts();
    assert_eq!((history.logged(), epochs), (Zxid(E + 5), self::epochs(2, 1)));

    let mut server = follower();
    server.hear_all(&[leader_info(2), snap, entry(E + 2), entry(E + 3), entry(E + 4), commit(E + 2)]);
    server.hear_all(&[commit(E + 3), new_leader(2), ToLearner::UpToDate, commit(E + 4)]);
    server.learning.on_closed(&mut out);
    assert_eq!(out[2..], [LearningOutput::GiveUp(LearningEnd::Closed)]);
    let (_, history, _) = server.learning.into_parts();
    assert_eq!((history.logged(), history.committed()), (Zxid(E + 4), Zxid(E + 4)));
}

/// A snapshot of a leader that never had a quorum has more than the next one: only another snapshot helps.
#[test]
fn who_cannot_go_back_says_that_it_has_nothing() {
    let mut server = Server::new(1, three(), history(E + 3, &[]).of_snapshot(Zxid(E + 9)), epochs(1, 1), 3);
    server.hear_all(&[leader_info(2), ToLearner::Trunc { zxid: Zxid(E + 5) }]);
    assert_eq!(server.end(), Some(LearningEnd::NeedsSnapshot(Zxid(E + 5))));
    let (quorums, history, epochs) = server.learning.into_parts();
    let mut server = Server::new(1, quorums, history, epochs, 3);
    server.says();
    server.hear_all(&[leader_info(3)]);
    assert_eq!(server.says(), [ToLeader::AckEpoch { last: Zxid(-1), current: -1 }]);
    let snap = ToLearner::Snap { zxid: Zxid(E + 5) };
    server.hear_all(&[snap, new_leader(3), ToLearner::UpToDate]);
    assert!(server.learning.is_serving() && !server.learning.history().is_lost());
}

#[test]
fn an_observer_is_informed() {
    let mut server = Server::new(9, three(), history(E + 3, &[]), epochs(1, 1), 3);
    assert!(matches!(server.says()[..], [ToLeader::Info { observes: true, .. }]));
    server.hear_all(&[
        leader_info(2),
        diff(),
        entry(E + 4),
        commit(E + 4),
        new_leader(2),
        ToLearner::UpToDate,
    ]);
    server.hear_all(&[ToLearner::Inform { zxid: Zxid(2 * E + 1), entry: b"entry" }, entry(2 * E + 9)]);
    assert_eq!(server.says()[1..], [ack(2 * E), ack(2 * E)]);
    assert_eq!(server.other.last(), Some(&LearningOutput::Commit(Zxid(2 * E + 1))));
    assert_eq!(server.end(), None);
}

#[test]
fn clients_through_a_follower() {
    let mut server = follower();
    server.hear_all(&[leader_info(2), diff(), new_leader(2), ToLearner::UpToDate]);
    server.says();
    let (one, two) = (SessionId(1), SessionId(2));
    server.learning.request(one, 7, 9, b"body", None);
    server.learning.revalidate(two, 4000);
    server.learning.touch(two, 4000);
    server.learning.touch(one, 3000);
    server.learning.touch(two, 4000);
    server.hear_all(&[ToLearner::Ping { zxid: Zxid(5) }, ToLearner::Sync { zxid: Zxid(0) }]);
    server
        .hear_all(&[ToLearner::Revalidate { session: two, valid: true }, ToLearner::Ping { zxid: Zxid(5) }]);
    let said = server.says();
    let [
        ToLeader::Request { cxid: 7, .. },
        ToLeader::Revalidate { .. },
        ToLeader::Ping { touched, .. },
        second,
    ] = &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(touched.iter().collect::<Vec<_>>(), [(one, 3000), (two, 4000)]);
    assert!(matches!(second, ToLeader::Ping { touched, .. } if touched.iter().next().is_none()));
    let ends = &server.other[server.other.len() - 2..];
    assert_eq!(ends, [LearningOutput::Synced, LearningOutput::Revalidated(two, true)]);
}

#[test]
fn a_leader_is_dialled_five_times_at_each_address() {
    let mut out = Vec::new();
    let mut learning =
        Learning::new(settings(1), three(), history(0, &[]), epochs(0, 0), ServerId(2), 0, &mut out);
    let mut now = 0;
    for round in 0..5 {
        assert_eq!(out, [LearningOutput::Dial("h2".into(), 1)]);
        out.clear();
        learning.on_not_connected(now, &mut out);
        assert_eq!(out, [LearningOutput::Dial("h2b".into(), 1)]);
        out.clear();
        learning.on_not_connected(now, &mut out);
        if round < 4 {
            assert_eq!((learning.next_timeout(), out.is_empty()), (Some(now + 100), true));
            now += 100;
            learning.on_timeout(now, &mut out);
        }
    }
    assert_eq!(out, [LearningOutput::GiveUp(LearningEnd::NotConnected)]);
    out.clear();
    Learning::new(settings(1), three(), history(0, &[]), epochs(0, 0), ServerId(7), 0, &mut out);
    assert_eq!(out, [LearningOutput::GiveUp(LearningEnd::UnknownLeader(ServerId(7)))]);
    // A leader that says nothing, first for initLimit, once it is followed for syncLimit.
    let mut server = follower();
    assert_eq!(server.learning.next_timeout(), Some(10_000));
    server.hear_all(&[leader_info(2), diff(), new_leader(2), ToLearner::UpToDate]);
    assert_eq!(server.learning.next_timeout(), Some(5000));
    server.learning.on_timeout(4999, &mut server.other);
    assert_eq!(server.end(), None);
    server.learning.on_timeout(5000, &mut server.other);
    assert_eq!(server.end(), Some(LearningEnd::Silent));
}

proptest! {
    /// Whatever a leader says, in whatever pieces.
    #[test]
    fn no_leader_breaks_an_assertion(said in proptest::collection::vec((0..14_usize, 0..4_u32, 0..4_i64), 0..30), piece in 1..50_usize) {
        let mut bytes = Vec::new();
        for (kind, epoch, counter) in said {
            let zxid = Zxid(i64::from(epoch) * E + counter + 4);
            let inform = ToLearner::InformAndActivate { zxid, leader: ServerId(2), entry: b"x" };
            let all = [leader_info(epoch), diff(), ToLearner::Trunc { zxid }, ToLearner::Snap { zxid }, new_leader(epoch),
                ToLearner::UpToDate, ToLearner::Proposal { zxid, entry: b"x" }, ToLearner::Inform { zxid, entry: b"x" }, commit(zxid.0),
                ToLearner::CommitAndActivate { zxid, leader: ServerId(2) }, inform, ToLearner::Ping { zxid },
                ToLearner::Revalidate { session: SessionId(1), valid: true }, ToLearner::Sync { zxid }];
            all[kind].encode(&mut bytes);
        }
        let mut server = follower();
        for piece in bytes.chunks(piece) {
            if server.end().is_none() {
                server.hear(piece);
            }
        }
    }

    #[test]
    fn any_bytes_of_a_leader(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut server = follower();
        server.hear_all(&[leader_info(2), diff()]);
        server.hear(&bytes);
    }
}
