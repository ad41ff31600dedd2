//! A learner, follower or observer, from the election of its leader to the end of that (`Learner`, `Follower`,
//! `Observer`): it dials, accepts the leader's epoch, takes over its history, then logs proposals and acknowledges them.
//! Lives in the member: bytes and completed writes in, packets and orders to the disk out; [`Learning::flush`] ends a
//! turn.
//!
//! Invariants: ACKEPOCH leaves only when the accepted epoch is on disk, the ACK of NEWLEADER only when the current epoch
//! and all of the log before it are, the ACK of a proposal only when that is; the log takes only what stands behind its
//! end, of this epoch or before it; what a leader sends as committed is committed only with UPTODATE, since until then it
//! has no quorum.
//!
//! Deliberately absent: what a transaction is, clients, sockets, the bytes of snapshots.

use super::history::{CannotTruncate, Entry, History};
use super::quorum::{QuorumVerifier, Quorums};
use super::settings::{Epochs, QuorumSettings};
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::wire::jute::DecodeError;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, ToLeader, ToLearner, Touched, cut};
use crate::wire::records::Identity;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a learner wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LearningOutput {
    /// Connect to the leader; `on_connected` or `on_not_connected` follows.
    Dial(String, u16),
    /// Whole packets.
    Send(Vec<u8>),
    /// Make the accepted epoch durable; `on_accepted_saved` follows.
    SaveAccepted(Epoch),
    /// Make the current epoch durable, behind everything that was ordered before; `on_current_saved` follows.
    SaveCurrent(Epoch),
    /// Append to the log; `on_durable` follows.
    Append(Entry),
    /// Everything behind this leaves the log.
    Truncate(Zxid),
    /// The bytes of a snapshot follow on the connection, these first; `on_snapshot_received` follows once it is durable,
    /// with what came in behind its signature. It and what is appended behind it stand aside: they take the place of
    /// everything with `SaveCurrent`, a crash before that leaves what was there.
    ReceiveSnapshot(Zxid, Vec<u8>),
    /// The snapshot that stands aside and everything behind it are void.
    DropSnapshot,
    /// A configuration is on its way.
    Proposed(Arc<QuorumVerifier>),
    /// This configuration holds.
    Committed(Arc<QuorumVerifier>),
    /// A reconfiguration is committed; this server leads from there on.
    Activate(Zxid, ServerId),
    /// Clients are served: what was committed has been said.
    Serve(Epoch),
    /// A quorum has everything up to this.
    Commit(Zxid),
    /// The oldest sync that was sent is done.
    Synced,
    /// Whether a session is alive.
    Revalidated(SessionId, bool),
    /// It has no leader any more. The driver closes the connection.
    GiveUp(LearningEnd),
}

/// Why a learner gives up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LearningEnd {
    #[error("server {} is not in the configuration", .0.0)]
    UnknownLeader(ServerId),
    #[error("the leader cannot be reached")]
    NotConnected,
    #[error("the leader has not said anything for too long")]
    Silent,
    #[error("the connection to the leader ended")]
    Closed,
    #[error("the leader says what cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the leader sends a packet of type {0} where another belongs")]
    Unexpected(i32),
    #[error("the leader has epoch {}, this server has accepted {}", .leader.0, .accepted.0)]
    OldEpoch { leader: Epoch, accepted: Epoch },
    #[error("the leader sends {zxid} behind {last}")]
    Gap { zxid: Zxid, last: Zxid },
    #[error("the leader commits {zxid}, {expected:?} is next")]
    CommitOutOfOrder { zxid: Zxid, expected: Option<Zxid> },
    #[error("the leader wants the log to end at {to}, but {committed} is committed here")]
    CannotTruncate { to: Zxid, committed: Zxid },
    #[error(
        "the leader wants the log to end at {0}, the oldest snapshot here has more: a snapshot has to come"
    )]
    NeedsSnapshot(Zxid),
    #[error("the leader's history ends at {last}, but {committed} is committed here")]
    Behind { last: Zxid, committed: Zxid },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Dials,
    /// Until it dials again.
    Pauses {
        until_ms: u64,
    },
    /// LEADERINFO has to come.
    Discovery,
    SavesAccepted,
    /// DIFF, TRUNC or SNAP has to come.
    Informed,
    ReceivesSnapshot {
        zxid: Zxid,
    },
    /// What it lacks has to come, and NEWLEADER.
    Synchronizing,
    SavesCurrent,
    /// UPTODATE has to come.
    Synchronized,
    Serving,
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Learning {
    settings: QuorumSettings,
    quorums: Quorums,
    history: History,
    /// What holds until a snapshot takes its place.
    former: Option<History>,
    epochs: Epochs,
    observes: bool,
    phase: Phase,
    /// Of the leader; 0 before LEADERINFO.
    epoch: Epoch,
    addresses: Vec<(String, u16)>,
    /// Connections tried.
    tries: usize,
    dials_until_ms: u64,
    /// Something has to come in until then.
    read_by_ms: Option<u64>,
    /// Of a packet that is not whole.
    input: Vec<u8>,
    /// Packets of this turn.
    output: Vec<u8>,
    /// A snapshot holds everything up to this; what comes again is skipped.
    snapshot: Option<Zxid>,
    /// What is committed as soon as the leader is established.
    settled: Zxid,
    /// Proposals without their COMMIT.
    uncommitted: VecDeque<Zxid>,
    /// Proposals that this server has to acknowledge.
    unacknowledged: VecDeque<Zxid>,
    /// The log is durable up to here.
    durable: Zxid,
    /// Sessions heard of since the last ping, with their timeouts.
    touched: BTreeMap<SessionId, i32>,
}

impl Learning {
    /// A server that knows whom to follow. `history` ends where its log ends; its bytes may be on their way to the disk.
    pub fn new(
        settings: QuorumSettings,
        quorums: Quorums,
        history: History,
        epochs: Epochs,
        leader: ServerId,
        now_ms: u64,
        out: &mut Vec<LearningOutput>,
    ) -> Learning {
        let lines = quorums.lines(leader).flat_map(|line| &line.addresses);
        let addresses: Vec<_> = lines.map(|at| (at.host.clone(), at.quorum_port)).collect();
        let observes = quorums.committed().member(settings.me).is_some_and(|line| !line.votes);
        let mut learning = Learning {
            dials_until_ms: now_ms + settings.connect_ms(),
            settings,
            quorums,
            durable: history.committed(),
            settled: history.committed(),
            history,
            former: None,
            epochs,
            observes,
            phase: Phase::Dials,
            epoch: Epoch(0),
            addresses,
            tries: 0,
            read_by_ms: None,
            input: Vec::new(),
            output: Vec::new(),
            snapshot: None,
            uncommitted: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            touched: BTreeMap::new(),
        };
        if learning.addresses.is_empty() {
            learning.give_up(LearningEnd::UnknownLeader(leader), out);
        } else {
            learning.dial(out);
        }
        learning.check();
        learning
    }

    /// What goes on to the next role.
    pub fn into_parts(self) -> (Quorums, History, Epochs) {
        assert_eq!(self.phase, Phase::Ended, "until then a snapshot may stand aside");
        (self.quorums, self.history, self.epochs)
    }

    /// The last entries of its log.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Whether snapshot bytes are awaited instead of packets.
    pub fn receives_snapshot(&self) -> bool {
        matches!(self.phase, Phase::ReceivesSnapshot { .. })
    }

    /// The connection is there.
    pub fn on_connected(&mut self, now_ms: u64) {
        assert_eq!(self.phase, Phase::Dials);
        let config_version = Some(self.quorums.committed().version());
        let learner =
            LearnerInfo { server: Some(self.settings.me), protocol: PROTOCOL_VERSION, config_version };
        let accepted = Zxid::first_of(self.epochs.accepted);
        self.say(&ToLeader::Info { observes: self.observes, accepted, learner });
        self.phase = Phase::Discovery;
        self.listen(now_ms);
        self.check();
    }

    /// There is none at this address.
    pub fn on_not_connected(&mut self, now_ms: u64, out: &mut Vec<LearningOutput>) {
        assert_eq!(self.phase, Phase::Dials);
        if self.tries == DIAL_TRIES * self.addresses.len() || now_ms >= self.dials_until_ms {
            self.give_up(LearningEnd::NotConnected, out);
        } else if self.tries.is_multiple_of(self.addresses.len()) {
            self.phase = Phase::Pauses { until_ms: now_ms + DIAL_PAUSE_MS };
        } else {
            self.dial(out);
        }
        self.check();
    }

    /// The connection ended.
    pub fn on_closed(&mut self, out: &mut Vec<LearningOutput>) {
        if self.phase != Phase::Ended {
            self.give_up(LearningEnd::Closed, out);
        }
    }

    /// Bytes of the leader.
    pub fn on_bytes(&mut self, now_ms: u64, bytes: &[u8], out: &mut Vec<LearningOutput>) {
        assert!(!self.receives_snapshot(), "these bytes belong to the snapshot");
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while self.phase != Phase::Ended && !self.receives_snapshot() {
            match cut(&input[at..], self.settings.data_bytes_max) {
                Ok(Some((packet, length))) => {
                    at += length;
                    self.listen(now_ms);
                    let is_known = PacketKind::from_i32(packet.kind).is_some();
                    match ToLearner::decode(packet) {
                        Ok(said) => self.on_packet(said, out),
                        Err(_) if !is_known && self.is_serving() => {}
                        Err(bad) => self.give_up(bad.into(), out),
                    }
                }
                Ok(None) => break,
                Err(bad) => self.give_up(bad.into(), out),
            }
        }
        input.drain(..at);
        match self.phase {
            Phase::ReceivesSnapshot { zxid } => out.push(LearningOutput::ReceiveSnapshot(zxid, input)),
            _ => self.input = input,
        }
        self.check();
    }

    /// The accepted epoch is on disk: now no earlier leader is followed any more, and this one is told so.
    pub fn on_accepted_saved(&mut self, now_ms: u64, epoch: Epoch) {
        // One of an earlier role may still have been on its way.
        if self.phase == Phase::SavesAccepted && epoch == self.epoch {
            let current =
                i32::try_from(self.epochs.current.0).expect("epochs are bounded where they are accepted");
            self.acknowledge_epoch(current);
            self.listen(now_ms);
        }
        self.check();
    }

    /// The current epoch is on disk, and so is all of the log before it.
    pub fn on_current_saved(&mut self, now_ms: u64, epoch: Epoch) {
        if self.phase == Phase::SavesCurrent && epoch == self.epoch {
            self.phase = Phase::Synchronized;
            self.say(&ToLeader::Ack { zxid: Zxid::first_of(epoch) });
            self.listen(now_ms);
        }
        self.check();
    }

    /// The log is durable up to this. After a `Truncate` only what was appended behind it counts, although older writes
    /// may end later.
    pub fn on_durable(&mut self, zxid: Zxid) {
        assert!(zxid <= self.history.last(), "{zxid} is durable but was not appended");
        self.durable = self.durable.max(zxid);
        self.acknowledge();
        self.check();
    }

    /// The snapshot is there and durable; `rest` came in behind it.
    pub fn on_snapshot_received(&mut self, now_ms: u64, rest: &[u8], out: &mut Vec<LearningOutput>) {
        let Phase::ReceivesSnapshot { zxid } = self.phase else { panic!("no snapshot was to be received") };
        let history = self.history.of_snapshot(zxid);
        self.former = Some(std::mem::replace(&mut self.history, history));
        self.snapshot = Some(zxid);
        self.durable = zxid;
        self.begin_synchronizing();
        self.listen(now_ms);
        self.on_bytes(now_ms, rest, out);
    }

    /// More of the snapshot came in: the leader is alive.
    pub fn on_snapshot_progress(&mut self, now_ms: u64) {
        assert!(self.receives_snapshot());
        self.listen(now_ms);
    }

    /// A write or a sync of a client of this server.
    pub fn request(
        &mut self,
        session: SessionId,
        cxid: i32,
        op: i32,
        body: &[u8],
        identities: Option<Vec<Identity>>,
    ) {
        assert_eq!(self.phase, Phase::Serving, "requests wait until the leader has been synchronised with");
        self.say(&ToLeader::Request { session, cxid, op, body, identities });
    }

    /// A client came back with this session.
    pub fn revalidate(&mut self, session: SessionId, timeout_ms: i32) {
        assert_eq!(self.phase, Phase::Serving, "requests wait until the leader has been synchronised with");
        self.say(&ToLeader::Revalidate { session, timeout_ms });
    }

    /// A client of this session was heard of.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        self.touched.insert(session, timeout_ms);
    }

    /// When to call [`Learning::on_timeout`].
    pub fn next_timeout(&self) -> Option<u64> {
        match self.phase {
            Phase::Pauses { until_ms } => Some(until_ms),
            Phase::Ended => None,
            _ => self.read_by_ms,
        }
    }

    /// Dials again, or gives up a silent leader.
    pub fn on_timeout(&mut self, now_ms: u64, out: &mut Vec<LearningOutput>) {
        match self.phase {
            Phase::Pauses { until_ms } if until_ms <= now_ms => self.dial(out),
            Phase::Pauses { .. } | Phase::Ended => {}
            _ if self.read_by_ms.is_some_and(|by| by <= now_ms) => self.give_up(LearningEnd::Silent, out),
            _ => {}
        }
        self.check();
    }

    /// Ends a turn: all that is to be said goes out in one piece.
    pub fn flush(&mut self, out: &mut Vec<LearningOutput>) {
        if !self.output.is_empty() {
            out.push(LearningOutput::Send(std::mem::take(&mut self.output)));
        }
    }

    fn on_packet(&mut self, said: ToLearner<'_>, out: &mut Vec<LearningOutput>) {
        match self.phase {
            Phase::Discovery => self.on_leader_info(said, out),
            Phase::Informed => self.on_plan(said, out),
            Phase::Synchronizing | Phase::SavesCurrent | Phase::Synchronized => self.on_history(said, out),
            Phase::Serving => self.on_broadcast(said, out),
            Phase::SavesAccepted => self.unexpected(&said, out),
            Phase::Dials | Phase::Pauses { .. } | Phase::ReceivesSnapshot { .. } | Phase::Ended => {
                panic!("no packet is read: {:?}", self.phase)
            }
        }
    }

    fn on_leader_info(&mut self, said: ToLearner<'_>, out: &mut Vec<LearningOutput>) {
        let ToLearner::LeaderInfo { epoch, .. } = said else { return self.unexpected(&said, out) };
        let accepted = self.epochs.accepted;
        if epoch < accepted || epoch.0 > i32::MAX as u32 {
            return self.give_up(LearningEnd::OldEpoch { leader: epoch, accepted }, out);
        }
        self.epoch = epoch;
        if epoch > accepted {
            self.epochs.accepted = epoch;
            self.phase = Phase::SavesAccepted;
            self.read_by_ms = None;
            out.push(LearningOutput::SaveAccepted(epoch));
        } else {
            // It was acknowledged before: that must not count twice.
            self.acknowledge_epoch(ACCEPTED_BEFORE);
        }
    }

    fn acknowledge_epoch(&mut self, current: i32) {
        self.phase = Phase::Informed;
        // Who does not say what it has gets a snapshot, and does not count.
        let is_lost = self.history.is_lost();
        let (last, current) =
            if is_lost { (NO_ZXID, ACCEPTED_BEFORE) } else { (self.history.logged(), current) };
        self.say(&ToLeader::AckEpoch { last, current });
    }

    fn on_plan(&mut self, said: ToLearner<'_>, out: &mut Vec<LearningOutput>) {
        let committed = self.history.committed();
        match said {
            ToLearner::Diff { .. } => self.begin_synchronizing(),
            ToLearner::Trunc { zxid: to } => match self.history.truncate(to) {
                Ok(()) => {
                    self.durable = self.durable.min(to);
                    out.push(LearningOutput::Truncate(to));
                    self.begin_synchronizing();
                }
                Err(CannotTruncate::Committed) => {
                    self.give_up(LearningEnd::CannotTruncate { to, committed }, out);
                }
                Err(CannotTruncate::Snapshot) => self.give_up(LearningEnd::NeedsSnapshot(to), out),
            },
            ToLearner::Snap { zxid } => self.phase = Phase::ReceivesSnapshot { zxid },
            other => self.unexpected(&other, out),
        }
    }

    /// What the log has now is a prefix of the leader's.
    fn begin_synchronizing(&mut self) {
        self.phase = Phase::Synchronizing;
        self.settled = self.history.last();
    }

    /// Until UPTODATE.
    fn on_history(&mut self, said: ToLearner<'_>, out: &mut Vec<LearningOutput>) {
        match said {
            ToLearner::Proposal { zxid, entry } => self.append(zxid, entry, out),
            ToLearner::Commit { zxid } => self.settle(zxid, out),
            ToLearner::CommitAndActivate { zxid, leader } => {
                self.settle(zxid, out);
                self.activate(zxid, leader, out);
            }
            ToLearner::Inform { zxid, entry } => {
                self.append(zxid, entry, out);
                self.settle(zxid, out);
            }
            ToLearner::InformAndActivate { zxid, leader, entry } => {
                self.append(zxid, entry, out);
                self.settle(zxid, out);
                self.activate(zxid, leader, out);
            }
            ToLearner::NewLeader { epoch, config } if self.phase == Phase::Synchronizing => {
                self.on_new_leader(epoch, config, out);
            }
            ToLearner::UpToDate if self.phase == Phase::Synchronized => self.on_up_to_date(out),
            // Nobody waits for any of these yet; the original does not answer them either.
            ToLearner::Ping { .. } | ToLearner::Sync { .. } | ToLearner::Revalidate { .. } => {}
            other => self.unexpected(&other, out),
        }
    }

    fn on_new_leader(&mut self, epoch: Epoch, config: Option<&[u8]>, out: &mut Vec<LearningOutput>) {
        if epoch != self.epoch {
            return self.give_up(LearningEnd::OldEpoch { leader: epoch, accepted: self.epoch }, out);
        }
        if let Some(former) = self.former.take_if(|former| former.committed() <= self.history.last()) {
            self.history.commit(former.committed());
        } else if let Some(former) = &self.former {
            let (last, committed) = (self.history.last(), former.committed());
            return self.give_up(LearningEnd::Behind { last, committed }, out);
        }
        let text = config.and_then(|config| std::str::from_utf8(config).ok());
        let verifier = text.and_then(|text| QuorumVerifier::parse(text).ok());
        if let Some(verifier) = verifier.filter(|_| self.settings.is_reconfig_enabled) {
            let verifier = Arc::new(verifier);
            self.quorums.on_proposed(verifier.clone());
            out.push(LearningOutput::Proposed(verifier));
        }
        // The acknowledgement of NEWLEADER covers what was sent as committed.
        let settled = self.settled;
        self.unacknowledged.retain(|zxid| *zxid > settled);
        self.epochs.current = epoch;
        self.phase = Phase::SavesCurrent;
        self.read_by_ms = None;
        out.push(LearningOutput::SaveCurrent(epoch));
    }

    fn on_up_to_date(&mut self, out: &mut Vec<LearningOutput>) {
        if self.settings.is_reconfig_enabled {
            self.quorums.on_committed(self.quorums.last_seen().clone());
            out.push(LearningOutput::Committed(self.quorums.committed().clone()));
        }
        self.phase = Phase::Serving;
        self.say(&ToLeader::Ack { zxid: Zxid::first_of(self.epoch) });
        self.commit(self.settled, out);
        out.push(LearningOutput::Serve(self.epoch));
        self.acknowledge();
    }

    fn on_broadcast(&mut self, said: ToLearner<'_>, out: &mut Vec<LearningOutput>) {
        match said {
            ToLearner::Proposal { zxid, entry } if !self.observes => self.append(zxid, entry, out),
            ToLearner::Commit { zxid } if !self.observes => self.settle(zxid, out),
            ToLearner::CommitAndActivate { zxid, leader } if !self.observes => {
                self.settle(zxid, out);
                self.activate(zxid, leader, out);
            }
            ToLearner::Inform { zxid, entry } => {
                self.append(zxid, entry, out);
                self.settle(zxid, out);
            }
            ToLearner::InformAndActivate { zxid, leader, entry } => {
                self.append(zxid, entry, out);
                self.settle(zxid, out);
                self.activate(zxid, leader, out);
            }
            ToLearner::Ping { zxid } => self.answer_ping(zxid),
            ToLearner::Revalidate { session, valid } => out.push(LearningOutput::Revalidated(session, valid)),
            ToLearner::Sync { .. } => out.push(LearningOutput::Synced),
            // Nothing to an observer, which is told again what is committed; UPTODATE again to nobody.
            ToLearner::Proposal { .. } | ToLearner::Commit { .. } | ToLearner::CommitAndActivate { .. } => {}
            ToLearner::UpToDate => {}
            other => self.unexpected(&other, out),
        }
    }

    fn append(&mut self, zxid: Zxid, entry: &[u8], out: &mut Vec<LearningOutput>) {
        if self.phase == Phase::Ended || self.snapshot.is_some_and(|snapshot| zxid <= snapshot) {
            return;
        }
        let last = self.history.last();
        let is_of_epoch =
            if self.is_serving() { zxid.epoch() == self.epoch } else { zxid.epoch() <= self.epoch };
        if !is_of_epoch || !self.history.is_next(zxid) {
            return self.give_up(LearningEnd::Gap { zxid, last }, out);
        }
        let entry = Entry { zxid, bytes: entry.into() };
        self.history.push(entry.clone());
        if !self.is_serving() {
            self.history.forget_replayed();
        }
        self.uncommitted.push_back(zxid);
        if !self.observes {
            self.unacknowledged.push_back(zxid);
        }
        out.push(LearningOutput::Append(entry));
    }

    /// The leader says that a quorum has this; true once it has a quorum itself.
    fn settle(&mut self, zxid: Zxid, out: &mut Vec<LearningOutput>) {
        if self.phase == Phase::Ended || self.snapshot.is_some_and(|snapshot| zxid <= snapshot) {
            return;
        }
        let expected = self.uncommitted.front().copied();
        if expected != Some(zxid) {
            return self.give_up(LearningEnd::CommitOutOfOrder { zxid, expected }, out);
        }
        self.uncommitted.pop_front();
        self.settled = zxid;
        if self.is_serving() {
            self.commit(zxid, out);
        }
    }

    fn activate(&self, zxid: Zxid, leader: ServerId, out: &mut Vec<LearningOutput>) {
        if self.phase != Phase::Ended {
            out.push(LearningOutput::Activate(zxid, leader));
        }
    }

    fn commit(&mut self, zxid: Zxid, out: &mut Vec<LearningOutput>) {
        if zxid > self.history.committed() {
            self.history.commit(zxid);
            out.push(LearningOutput::Commit(zxid));
        }
    }

    /// Says what has become durable, each transaction by itself: the original counts them so.
    fn acknowledge(&mut self) {
        while self.is_serving()
            && let Some(zxid) = self.unacknowledged.front().copied().filter(|zxid| *zxid <= self.durable)
        {
            self.unacknowledged.pop_front();
            self.say(&ToLeader::Ack { zxid });
        }
    }

    fn answer_ping(&mut self, zxid: Zxid) {
        let mut data = Vec::new();
        for (session, timeout_ms) in std::mem::take(&mut self.touched) {
            Touched::push(&mut data, session, timeout_ms);
        }
        let touched = Touched::new(&data).expect("whole entries");
        self.say(&ToLeader::Ping { zxid, touched });
    }

    fn dial(&mut self, out: &mut Vec<LearningOutput>) {
        self.phase = Phase::Dials;
        let (host, port) = self.addresses[self.tries % self.addresses.len()].clone();
        self.tries += 1;
        out.push(LearningOutput::Dial(host, port));
    }

    /// Something came in, or something else was waited for.
    fn listen(&mut self, now_ms: u64) {
        let limit = match self.phase {
            Phase::Synchronized | Phase::Serving => self.settings.sync_ms(),
            Phase::SavesAccepted | Phase::SavesCurrent => return,
            _ => self.settings.init_ms(),
        };
        self.read_by_ms = Some(now_ms + limit);
    }

    fn unexpected(&mut self, said: &ToLearner<'_>, out: &mut Vec<LearningOutput>) {
        let mut packet = Vec::new();
        said.encode(&mut packet);
        let kind = i32::from_be_bytes(packet[..4].try_into().expect("a packet begins with its type"));
        self.give_up(LearningEnd::Unexpected(kind), out);
    }

    fn give_up(&mut self, why: LearningEnd, out: &mut Vec<LearningOutput>) {
        assert_ne!(self.phase, Phase::Ended, "once is enough");
        if self.former.is_some() || self.receives_snapshot() {
            out.push(LearningOutput::DropSnapshot);
        }
        if let Some(former) = self.former.take() {
            (self.durable, self.settled) = (former.committed(), former.committed());
            self.history = former;
        }
        self.uncommitted.clear();
        self.unacknowledged.clear();
        self.phase = Phase::Ended;
        self.output.clear();
        out.push(LearningOutput::GiveUp(why));
    }

    fn say(&mut self, packet: &ToLeader<'_>) {
        packet.encode(&mut self.output);
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        self.epochs.check();
        self.quorums.check();
        assert!(self.durable <= self.history.last() && self.settled <= self.history.last());
        assert!(self.uncommitted.iter().is_sorted() && self.unacknowledged.iter().is_sorted());
        assert!(self.uncommitted.back().is_none_or(|last| *last == self.history.last()));
        assert!(self.uncommitted.front().is_none_or(|first| *first > self.settled));
        let is_promised =
            !matches!(self.phase, Phase::Dials | Phase::Pauses { .. } | Phase::Discovery | Phase::Ended);
        assert!(!is_promised || self.epochs.accepted == self.epoch, "{self:?}");
        let is_current = matches!(self.phase, Phase::SavesCurrent | Phase::Synchronized | Phase::Serving);
        assert!(!is_current || self.epochs.current == self.epoch);
        assert!(!self.is_serving() || self.history.committed() >= self.settled);
    }
}

/// The current epoch of a learner that had accepted this one before.
const ACCEPTED_BEFORE: i32 = -1;
/// Of a server that does not say what it has.
const NO_ZXID: Zxid = Zxid(-1);
/// So often each address is dialled.
const DIAL_TRIES: usize = 5;
/// The pause between two tries (`leaderConnectDelayDuringRetryMs`).
const DIAL_PAUSE_MS: u64 = 100;

#[cfg(test)]
mod tests;
