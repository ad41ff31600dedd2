//! A leader, from its election to its end (`Leader`, `LearnerHandler`): it finds an epoch that nobody has accepted yet,
//! brings learners to its own history, then proposes, counts acknowledgements and says what is committed. Lives in the
//! member: packets and completed writes in, packets and orders to the disk out; [`Leading::flush`] ends a turn.
//!
//! Invariants: LEADERINFO leaves only when the accepted epoch is on the own disk, the own acknowledgement of NEWLEADER
//! counts only when the current epoch is; nothing is committed before a quorum has all of the history that the leader
//! began with; the log of the own member is one acknowledgement among others.
//!
//! What is saved and appended becomes durable in the order in which it was ordered: one log carries all of it.
//!
//! Deliberately absent: what a transaction is, sessions, sockets, the bytes of snapshots.

mod learner;
mod output;
mod syncs;

use super::history::{Entry, History};
use super::quorum::{Oracle, Quorums};
use super::settings::{Epochs, QuorumSettings};
use super::sync::{Disk, Plan, plan};
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::limits::{LINKS_UNKNOWN_MAX, SERVERS_MAX};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, ToLeader, ToLearner, cut};
pub use learner::LearnerId;
use learner::{Learner, Round, Stage};
pub use output::{LeadingEnd, LeadingOutput, LearnerEnd, LearnerRequest};
use std::collections::VecDeque;
use std::sync::Arc;
use syncs::{PendingSync, Syncer};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// A quorum has to say which epochs it has accepted.
    Discovery,
    /// The accepted epoch is on its way to the disk.
    SavesAccepted,
    /// A quorum has to accept the epoch.
    Election,
    /// The current epoch is on its way to the disk.
    SavesCurrent,
    /// A quorum has to have what this leader has.
    Synchronization,
    Broadcast,
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Leading {
    settings: QuorumSettings,
    quorums: Quorums,
    /// Its text goes into NEWLEADER.
    config: String,
    history: History,
    epochs: Epochs,
    phase: Phase,
    /// The highest that anybody has accepted, and one.
    epoch: Epoch,
    /// What it began with: the epoch of its data, the last transaction in its log.
    began_with: (Epoch, Zxid),
    /// Ascending.
    learners: Vec<Learner>,
    last_id: u64,
    /// When the present phase has failed.
    until_ms: u64,
    /// From when on it need not wait for a quorum that a voter has left.
    patient_until_ms: Option<u64>,
    tick: u64,
    half_tick_at_ms: u64,
    is_half: bool,
    /// The own log is durable up to here.
    durable: Zxid,
    /// In the order in which they came.
    syncs: VecDeque<PendingSync>,
    /// Counts what quorums were asked to confirm.
    probe: u64,
}

impl Leading {
    /// A server that was elected. `history` ends where its log ends; its bytes may still be on their way to the disk.
    pub fn new(
        settings: QuorumSettings,
        quorums: Quorums,
        history: History,
        epochs: Epochs,
        now_ms: u64,
        out: &mut Vec<LeadingOutput>,
    ) -> Leading {
        let epoch = Epoch(epochs.accepted.0.checked_add(1).expect("2^32 epochs"));
        let mut leading = Leading {
            until_ms: now_ms + settings.init_ms(),
            patient_until_ms: settings.epoch_wait_max_ms.map(|wait| now_ms + wait),
            half_tick_at_ms: now_ms + settings.tick_ms / 2,
            settings,
            quorums,
            config: String::new(),
            began_with: (epochs.current, history.logged()),
            durable: history.committed(),
            history,
            epochs,
            phase: Phase::Discovery,
            epoch,
            learners: Vec::new(),
            last_id: 0,
            tick: 0,
            is_half: false,
            syncs: VecDeque::new(),
            probe: 0,
        };
        leading.check_discovery(out);
        leading.check();
        leading
    }

    /// What goes on to the next role.
    pub fn into_parts(mut self) -> (Quorums, History, Epochs) {
        self.history.end_epoch();
        (self.quorums, self.history, self.epochs)
    }

    /// The last entries of its log.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What counts as a quorum.
    pub fn quorums(&self) -> &Quorums {
        &self.quorums
    }

    /// Its epoch; None before a quorum has agreed on it.
    pub fn epoch(&self) -> Option<Epoch> {
        (self.phase != Phase::Discovery).then_some(self.epoch)
    }

    /// Everything up to this is on the own disk.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// Whether it proposes.
    pub fn is_established(&self) -> bool {
        self.phase == Phase::Broadcast
    }

    /// A learner connects. None: there are too many; the driver closes it.
    pub fn on_accepted(&mut self, now_ms: u64) -> Option<LearnerId> {
        let unknown = self.at_stage(Stage::Connected).count();
        let is_full = self.learners.len() >= SERVERS_MAX || unknown >= LINKS_UNKNOWN_MAX;
        if is_full || self.phase == Phase::Ended {
            return None;
        }
        self.last_id += 1;
        let id = LearnerId(self.last_id);
        let alive_until = self.tick + self.settings.init_limit + self.settings.sync_limit;
        self.learners.push(Learner::new(id, now_ms + self.settings.init_ms(), alive_until));
        Some(id)
    }

    /// Bytes of a learner.
    pub fn on_bytes(&mut self, now_ms: u64, id: LearnerId, bytes: &[u8], out: &mut Vec<LeadingOutput>) {
        let Some(learner) = self.learner(id) else { return };
        let mut input = std::mem::take(&mut learner.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while self.learner(id).is_some() {
            // Who has not said who it is has little to say.
            let is_unknown = self.learner(id).is_some_and(|learner| learner.stage == Stage::Connected);
            let data_max = if is_unknown { INFO_BYTES_MAX } else { self.settings.data_bytes_max };
            match cut(&input[at..], data_max) {
                Ok(Some((packet, length))) => {
                    at += length;
                    let is_known = PacketKind::from_i32(packet.kind).is_some();
                    match ToLeader::decode(packet) {
                        Ok(said) => self.on_packet(now_ms, id, said, out),
                        // As the original: a number from the future is no reason to part.
                        Err(_) if !is_known && self.learner(id).is_some_and(|l| l.is_synchronized()) => {}
                        Err(bad) => self.close(id, bad.into(), out),
                    }
                }
                Ok(None) => break,
                Err(bad) => self.close(id, bad.into(), out),
            }
        }
        if let Some(learner) = self.learner(id) {
            input.drain(..at);
            learner.input = input;
        }
        self.check();
    }

    /// So much of what was to be sent is sent.
    pub fn on_sent(&mut self, id: LearnerId, bytes: usize) {
        if let Some(learner) = self.learner(id) {
            learner.on_sent(bytes);
        }
    }

    /// The connection ended.
    pub fn on_closed(&mut self, id: LearnerId, out: &mut Vec<LeadingOutput>) {
        self.close(id, LearnerEnd::Closed, out);
        self.check();
    }

    /// A server says in an election that it is looking. One that has voted for this leader has left it, then.
    pub fn on_looking(&mut self, now_ms: u64, server: ServerId, out: &mut Vec<LeadingOutput>) {
        let is_over = self.patient_until_ms.is_some_and(|until| until < now_ms);
        if self.phase == Phase::Discovery && is_over && self.quorums.is_voter(server) {
            self.give_up(LeadingEnd::VoterLeft, out);
        }
    }

    /// The accepted epoch is on disk: now it may be promised to others.
    pub fn on_accepted_saved(&mut self, now_ms: u64, epoch: Epoch, out: &mut Vec<LeadingOutput>) {
        // One of an earlier role may still have been on its way.
        if self.phase != Phase::SavesAccepted || epoch != self.epoch {
            return;
        }
        self.enter(Phase::Election, now_ms);
        let first = self.quorums.last_seen().version() == 0 && self.settings.is_reconfig_enabled;
        if first {
            // A configuration that was never agreed on gets the version of the epoch that agrees on it.
            let version = Zxid::first_of(self.epoch).0;
            self.quorums.on_proposed(Arc::new(self.quorums.committed().with_version(version)));
        }
        self.config = self.quorums.last_seen().to_string();
        let waiting: Vec<LearnerId> = self.at_stage(Stage::WaitsForEpoch).collect();
        waiting.into_iter().for_each(|id| self.inform(now_ms, id));
        self.check_election(now_ms, out);
        self.check();
    }

    /// The current epoch is on disk, and so is all of the log before it: the own acknowledgement of NEWLEADER.
    pub fn on_current_saved(&mut self, now_ms: u64, epoch: Epoch, out: &mut Vec<LeadingOutput>) {
        if self.phase != Phase::SavesCurrent || epoch != self.epoch {
            return;
        }
        self.durable = self.durable.max(self.history.logged());
        self.enter(Phase::Synchronization, now_ms);
        self.check_synchronization(now_ms, out);
        self.check();
    }

    /// The own log is durable up to this.
    pub fn on_durable(&mut self, zxid: Zxid, out: &mut Vec<LeadingOutput>) {
        assert!(zxid <= self.history.last(), "{zxid} is durable but was not appended");
        self.durable = self.durable.max(zxid);
        self.advance(out);
        self.check();
    }

    /// The zxid of the next proposal. None: the last one of the epoch was used, and this leader gives up.
    pub fn next_zxid(&mut self, out: &mut Vec<LeadingOutput>) -> Option<Zxid> {
        assert_eq!(self.phase, Phase::Broadcast, "only an established leader proposes");
        if self.history.last().counter() >= u32::MAX - 1 {
            self.give_up(LeadingEnd::ZxidsUsedUp, out);
            return None;
        }
        Some(self.history.last().next())
    }

    /// Proposes what was appended to the own log under [`Leading::next_zxid`].
    pub fn propose(&mut self, entry: Entry) {
        assert_eq!(self.phase, Phase::Broadcast, "only an established leader proposes");
        assert_eq!(entry.zxid, self.history.last().next());
        self.history.push(entry);
        self.check_cursors();
    }

    /// The answer to [`LeadingOutput::Revalidate`].
    pub fn revalidated(&mut self, id: LearnerId, session: SessionId, valid: bool) {
        if let Some(learner) = self.learner(id) {
            learner.say(&ToLearner::Revalidate { session, valid });
        }
    }

    /// The answer to [`LeadingOutput::AskDisk`].
    pub fn on_disk(&mut self, now_ms: u64, id: LearnerId, disk: Disk, out: &mut Vec<LeadingOutput>) {
        assert_ne!(disk, Disk::Unknown);
        if self.learner(id).is_some_and(|learner| learner.stage == Stage::Planned) {
            self.synchronize(now_ms, id, disk, out);
        }
        self.check();
    }

    /// The answer to [`LeadingOutput::ReadDisk`]. Empty: they are not there any more.
    pub fn on_disk_entries(&mut self, id: LearnerId, entries: Vec<Entry>, out: &mut Vec<LeadingOutput>) {
        match self.learner(id) {
            Some(_) if entries.is_empty() => self.close(id, LearnerEnd::Closed, out),
            Some(learner) => learner.on_disk_entries(entries),
            None => {}
        }
        self.check();
    }

    /// The snapshot for a learner ends at `zxid`; its bytes follow behind this packet.
    pub fn on_snapshot_begins(&mut self, id: LearnerId, zxid: Zxid, out: &mut Vec<LeadingOutput>) {
        assert!(zxid <= self.history.committed(), "what is in a snapshot is not taken back any more");
        if let Some(learner) = self.learner(id) {
            assert_eq!(learner.stage, Stage::Snapshot);
            learner.say(&ToLearner::Snap { zxid });
            learner.flush(out);
        }
    }

    /// The last byte of it was handed over.
    pub fn on_snapshot_sent(&mut self, now_ms: u64, id: LearnerId, zxid: Zxid) {
        let (settled, read_by) = (self.settled(), now_ms + self.settings.init_ms());
        if let Some(at) = self.position(id) {
            self.learners[at].synchronize(zxid, &self.history, settled);
            self.learners[at].read_by_ms = Some(read_by);
        }
        self.check();
    }

    /// What the oracle says now.
    pub fn on_oracle(&mut self, grants: Option<bool>, out: &mut Vec<LeadingOutput>) {
        let is_needed = !self.learners.iter().any(|learner| !learner.observes && learner.is_synchronized());
        self.quorums.set_oracle(grants.map(|grants| Oracle { is_needed, grants }));
        self.advance(out);
    }

    /// When to call [`Leading::on_timeout`].
    pub fn next_timeout(&self) -> Option<u64> {
        let reads = self.learners.iter().filter_map(|learner| learner.read_by_ms);
        let phase = match self.phase {
            Phase::Discovery | Phase::Election | Phase::Synchronization => Some(self.until_ms),
            Phase::Broadcast => Some(self.half_tick_at_ms),
            Phase::SavesAccepted | Phase::SavesCurrent => None,
            Phase::Ended => return None,
        };
        reads.chain(phase).min()
    }

    /// Gives up, lets silent learners go, pings the others, and counts who is left.
    pub fn on_timeout(&mut self, now_ms: u64, out: &mut Vec<LeadingOutput>) {
        let is_silent = |l: &&Learner| l.read_by_ms.is_some_and(|by| by <= now_ms);
        let silent: Vec<LearnerId> = self.learners.iter().filter(is_silent).map(|l| l.id).collect();
        silent.into_iter().for_each(|id| self.close(id, LearnerEnd::Silent, out));
        let why = match self.phase {
            Phase::Discovery => LeadingEnd::NoEpoch,
            Phase::Election => LeadingEnd::NoElection,
            Phase::Synchronization => LeadingEnd::NotSynchronized,
            Phase::Broadcast => return self.on_half_tick(now_ms, out),
            Phase::SavesAccepted | Phase::SavesCurrent | Phase::Ended => return,
        };
        if self.until_ms <= now_ms {
            self.give_up(why, out);
        }
        self.check();
    }

    /// Ends a turn: what each learner can take goes out, in one piece each.
    pub fn flush(&mut self, now_ms: u64, out: &mut Vec<LeadingOutput>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.answer_syncs(out);
        self.ask_for_confirmation();
        let settled = self.settled();
        let round =
            Round { now_ms, history: &self.history, settled, epoch: self.epoch, config: &self.config };
        for learner in &mut self.learners {
            learner.pump(&round, out);
            learner.flush(out);
        }
        self.check();
    }

    fn on_packet(&mut self, now_ms: u64, id: LearnerId, said: ToLeader<'_>, out: &mut Vec<LeadingOutput>) {
        let (alive_until, sync_ms) = (self.tick + self.settings.sync_limit, self.settings.sync_ms());
        let learner = self.learner(id).expect("it is there");
        let stage = learner.stage;
        if learner.is_synchronized() {
            learner.alive_until_tick = alive_until;
            learner.read_by_ms = learner.read_by_ms.map(|_| now_ms + sync_ms);
        }
        match (stage, said) {
            (Stage::Connected, ToLeader::Info { observes, accepted, learner }) => {
                self.on_info(now_ms, id, observes, accepted, learner, out);
            }
            (Stage::Informed, ToLeader::AckEpoch { last, current }) => {
                self.on_ack_epoch(now_ms, id, last, current, out);
            }
            (Stage::Synchronizing, ToLeader::Ack { zxid }) => self.on_new_leader_ack(now_ms, id, zxid, out),
            (Stage::Synchronized | Stage::Serving, ToLeader::Ack { zxid }) => {
                self.on_ack(now_ms, id, zxid, out)
            }
            (Stage::Serving, ToLeader::Ping { touched, .. }) => {
                if !self.learner(id).expect("it is there").on_pong() {
                    return self.close(id, LearnerEnd::Unexpected(PacketKind::Ping as i32), out);
                }
                out.extend(
                    touched
                        .iter()
                        .map(|(session, timeout_ms)| LeadingOutput::Touched { session, timeout_ms }),
                );
            }
            (Stage::Serving, ToLeader::Revalidate { session, timeout_ms }) => {
                out.push(LeadingOutput::Revalidate { from: id, session, timeout_ms });
            }
            (Stage::Serving, ToLeader::Request { session, cxid, op, body, identities }) => {
                let server = self.learner(id).expect("it is there").server.expect("it has said that");
                let body = body.to_vec();
                let request = LearnerRequest { from: id, server, session, cxid, op, body, identities };
                self.on_request(request, out);
            }
            (_, said) => self.close(id, LearnerEnd::Unexpected(kind_of(&said) as i32), out),
        }
    }

    fn on_info(
        &mut self,
        now_ms: u64,
        id: LearnerId,
        observes: bool,
        accepted: Zxid,
        info: LearnerInfo,
        out: &mut Vec<LeadingOutput>,
    ) {
        let Some(server) = info.server.filter(|_| info.protocol >= PROTOCOL_VERSION) else {
            return self.close(id, LearnerEnd::OldProtocol, out);
        };
        if server == self.settings.me {
            return self.close(id, LearnerEnd::OwnNumber, out);
        }
        if info.config_version.is_some_and(|version| version > self.quorums.committed().version()) {
            return self.close(id, LearnerEnd::ConfigurationAhead, out);
        }
        let accepted = accepted.epoch();
        if accepted.0 >= i32::MAX as u32 {
            return self.close(id, LearnerEnd::EpochsUsedUp(accepted.0), out);
        }
        let older =
            self.learners.iter().find(|learner| learner.server == Some(server)).map(|learner| learner.id);
        if let Some(older) = older {
            self.close(older, LearnerEnd::Replaced, out);
        }
        let learner = self.learner(id).expect("it is there");
        learner.server = Some(server);
        learner.observes = observes;
        learner.stage = Stage::WaitsForEpoch;
        learner.read_by_ms = None;
        match self.phase {
            Phase::Discovery => {
                self.epoch = self.epoch.max(Epoch(accepted.0 + 1));
                self.check_discovery(out);
            }
            Phase::SavesAccepted => {}
            _ => self.inform(now_ms, id),
        }
    }

    /// Once a quorum has said what it has accepted, the epoch is fixed.
    fn check_discovery(&mut self, out: &mut Vec<LeadingOutput>) {
        let said = |id| self.has_voter(id, |learner| learner.stage != Stage::Connected && !learner.observes);
        if self.quorums.is_committed_quorum(|id| id == self.settings.me || said(id)) {
            self.phase = Phase::SavesAccepted;
            self.epochs.accepted = self.epoch;
            out.push(LeadingOutput::SaveAccepted(self.epoch));
        }
    }

    fn inform(&mut self, now_ms: u64, id: LearnerId) {
        let (epoch, read_by) = (self.epoch, now_ms + self.settings.init_ms());
        let learner = self.learner(id).expect("it is there");
        learner.say(&ToLearner::LeaderInfo { epoch, protocol: PROTOCOL_VERSION });
        learner.stage = Stage::Informed;
        learner.read_by_ms = Some(read_by);
    }

    fn on_ack_epoch(
        &mut self,
        now_ms: u64,
        id: LearnerId,
        last: Zxid,
        current: i32,
        out: &mut Vec<LeadingOutput>,
    ) {
        let (own_epoch, own_last) = self.began_with;
        let is_ahead = (i64::from(current), last) > (i64::from(own_epoch.0), own_last);
        if self.phase == Phase::Election && current != ACCEPTED_BEFORE && is_ahead {
            return self.close(id, LearnerEnd::Ahead { current, last }, out);
        }
        let learner = self.learner(id).expect("it is there");
        learner.last = last;
        learner.read_by_ms = None;
        learner.stage = Stage::WaitsForElection {
            counts: current != ACCEPTED_BEFORE && last != NO_ZXID && !learner.observes,
        };
        if self.phase == Phase::Election {
            self.check_election(now_ms, out);
        } else {
            self.synchronize(now_ms, id, Disk::Unknown, out);
        }
    }

    /// Once a quorum has accepted the epoch, no earlier leader can commit anything any more.
    fn check_election(&mut self, now_ms: u64, out: &mut Vec<LeadingOutput>) {
        let accepts = |learner: &Learner| learner.stage == Stage::WaitsForElection { counts: true };
        if !self.quorums.is_committed_quorum(|id| id == self.settings.me || self.has_voter(id, accepts)) {
            return;
        }
        self.phase = Phase::SavesCurrent;
        self.epochs.current = self.epoch;
        out.push(LeadingOutput::SaveCurrent(self.epoch));
        let is_waiting = |l: &&Learner| matches!(l.stage, Stage::WaitsForElection { .. });
        let waiting: Vec<LearnerId> = self.learners.iter().filter(is_waiting).map(|l| l.id).collect();
        waiting.into_iter().for_each(|id| self.synchronize(now_ms, id, Disk::Unknown, out));
    }

    /// Begins to bring a learner to this leader's history.
    fn synchronize(&mut self, now_ms: u64, id: LearnerId, disk: Disk, out: &mut Vec<LeadingOutput>) {
        let (settled, read_by) = (self.settled(), now_ms + self.settings.init_ms());
        let disk = if self.settings.is_disk_used { disk } else { Disk::Off };
        // An established leader stands where its epoch begins, as the original does.
        let begin = Zxid::first_of(self.epoch);
        let own_last = if self.phase == Phase::Broadcast { settled.max(begin) } else { settled };
        let at = self.position(id).expect("it is there");
        let learner = &mut self.learners[at];
        let last = learner.last;
        match plan(last, &self.history, own_last, disk) {
            Plan::Diff { says, after } => {
                learner.say(&ToLearner::Diff { zxid: says });
                learner.synchronize(after, &self.history, settled);
            }
            Plan::Trunc { to } => {
                learner.say(&ToLearner::Trunc { zxid: to });
                learner.synchronize(to, &self.history, settled);
            }
            Plan::Snap => {
                learner.stage = Stage::Snapshot;
                out.push(LeadingOutput::SendSnapshot(id));
                return;
            }
            Plan::AskDisk => {
                learner.stage = Stage::Planned;
                out.push(LeadingOutput::AskDisk { learner: id, last });
                return;
            }
        }
        learner.read_by_ms = Some(read_by);
    }

    fn on_new_leader_ack(&mut self, now_ms: u64, id: LearnerId, zxid: Zxid, out: &mut Vec<LeadingOutput>) {
        let expected = Zxid::first_of(self.epoch);
        let learner = self.learner(id).expect("it is there");
        if zxid != expected || !learner.is_new_leader_sent() {
            return self.close(id, LearnerEnd::WrongAck(zxid), out);
        }
        learner.on_synchronized();
        learner.read_by_ms = None;
        if self.phase == Phase::Broadcast {
            self.serve(now_ms, id);
            self.advance(out);
        } else {
            self.check_synchronization(now_ms, out);
        }
    }

    /// Once a quorum has all that this leader began with, that is committed, whoever proposed it.
    fn check_synchronization(&mut self, now_ms: u64, out: &mut Vec<LeadingOutput>) {
        let has = |id| id == self.settings.me || self.has_voter(id, |l| !l.observes && l.is_synchronized());
        if self.phase != Phase::Synchronization || !self.quorums.is_quorum(has) {
            return;
        }
        if self.settings.is_reconfig_enabled {
            self.quorums.on_committed(self.quorums.last_seen().clone());
        }
        let last = self.history.logged();
        self.history.begin_epoch(self.epoch);
        self.phase = Phase::Broadcast;
        self.half_tick_at_ms = now_ms + self.settings.tick_ms / 2;
        out.push(LeadingOutput::Commit(last));
        out.push(LeadingOutput::Established(self.epoch));
        let waiting: Vec<LearnerId> = self.at_stage(Stage::Synchronized).collect();
        waiting.into_iter().for_each(|id| self.serve(now_ms, id));
    }

    fn serve(&mut self, now_ms: u64, id: LearnerId) {
        let (read_by, alive_until) = (now_ms + self.settings.sync_ms(), self.tick + self.settings.sync_limit);
        let learner = self.learner(id).expect("it is there");
        learner.stage = Stage::Serving;
        learner.read_by_ms = Some(read_by);
        learner.alive_until_tick = learner.alive_until_tick.max(alive_until);
        learner.say(&ToLearner::UpToDate);
    }

    fn on_ack(&mut self, now_ms: u64, id: LearnerId, zxid: Zxid, out: &mut Vec<LeadingOutput>) {
        // The second one that follows UPTODATE.
        if zxid.counter() == 0 {
            return;
        }
        let learner = self.learner(id).expect("it is there");
        if zxid > learner.sent() {
            return self.close(id, LearnerEnd::WrongAck(zxid), out);
        }
        learner.on_ack(zxid, now_ms);
        self.advance(out);
    }

    /// Commits what a quorum has.
    fn advance(&mut self, out: &mut Vec<LeadingOutput>) {
        if self.phase != Phase::Broadcast {
            return;
        }
        let mut acked: Vec<Zxid> = vec![self.durable];
        acked.extend(self.learners.iter().filter(|l| l.is_synchronized()).map(|l| l.acked));
        acked.sort_unstable();
        let has = |id, zxid| {
            let has_acked = |learner: &Learner| !learner.observes && learner.acked >= zxid;
            if id == self.settings.me { self.durable >= zxid } else { self.has_voter(id, has_acked) }
        };
        let mut highest_first = acked.into_iter().rev();
        let committed = highest_first.find(|zxid| self.quorums.is_quorum(|id| has(id, *zxid)));
        if let Some(zxid) = committed.filter(|zxid| *zxid > self.history.committed()) {
            self.history.commit(zxid);
            out.push(LeadingOutput::Commit(zxid));
        }
    }

    fn on_half_tick(&mut self, now_ms: u64, out: &mut Vec<LeadingOutput>) {
        if self.half_tick_at_ms > now_ms {
            return;
        }
        // After a pause of this process the ticks that it slept are not counted against anybody.
        self.half_tick_at_ms = now_ms + self.settings.tick_ms / 2;
        if let Some(oracle) = self.quorums.oracle() {
            self.on_oracle(Some(oracle.grants), out);
        }
        if self.is_half {
            self.tick += 1;
            if !self.has_live_quorum() {
                return self.give_up(LeadingEnd::NoQuorum, out);
            }
        }
        self.is_half = !self.is_half;
        let late = now_ms.saturating_sub(self.settings.sync_ms());
        let is_slow =
            |l: &&Learner| l.is_synchronized() && l.owes_since_ms().is_some_and(|since| since < late);
        let slow: Vec<LearnerId> = self.learners.iter().filter(is_slow).map(|l| l.id).collect();
        slow.into_iter().for_each(|id| self.close(id, LearnerEnd::SlowAck, out));
        self.ping_all();
        self.check();
    }

    fn has_live_quorum(&self) -> bool {
        let is_alive = |learner: &Learner| !learner.observes && self.tick <= learner.alive_until_tick;
        self.quorums.is_quorum(|id| id == self.settings.me || self.has_voter(id, is_alive))
    }

    fn give_up(&mut self, why: LeadingEnd, out: &mut Vec<LeadingOutput>) {
        self.phase = Phase::Ended;
        self.syncs.clear();
        for learner in self.learners.drain(..) {
            out.push(LeadingOutput::Close {
                learner: learner.id,
                server: learner.server,
                why: LearnerEnd::Closed,
            });
        }
        out.push(LeadingOutput::GiveUp(why));
        self.check();
    }

    fn close(&mut self, id: LearnerId, why: LearnerEnd, out: &mut Vec<LeadingOutput>) {
        let Some(at) = self.position(id) else { return };
        let mut learner = self.learners.remove(at);
        self.syncs.retain(|sync| sync.by != Syncer::Learner(id));
        if why != LearnerEnd::Closed {
            learner.flush(out);
        }
        out.push(LeadingOutput::Close { learner: id, server: learner.server, why });
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.phase = phase;
        self.until_ms = now_ms + self.settings.init_ms();
    }

    /// What learners are sent as committed: until it is established, all that it began with.
    fn settled(&self) -> Zxid {
        if self.phase == Phase::Broadcast { self.history.committed() } else { self.began_with.1 }
    }

    fn has_voter(&self, id: ServerId, is_so: impl Fn(&Learner) -> bool) -> bool {
        self.learners.iter().any(|learner| learner.server == Some(id) && is_so(learner))
    }

    fn at_stage(&self, stage: Stage) -> impl Iterator<Item = LearnerId> {
        self.learners.iter().filter(move |learner| learner.stage == stage).map(|learner| learner.id)
    }

    fn position(&self, id: LearnerId) -> Option<usize> {
        self.learners.binary_search_by_key(&id, |learner| learner.id).ok()
    }

    fn learner(&mut self, id: LearnerId) -> Option<&mut Learner> {
        self.position(id).map(|at| &mut self.learners[at])
    }

    fn check_cursors(&self) {
        assert!(self.history.committed() <= self.history.last() && self.durable <= self.history.last());
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        self.check_cursors();
        self.epochs.check();
        self.quorums.check();
        let is_known = |phases: &[Phase]| phases.contains(&self.phase);
        let before_accepted = is_known(&[Phase::Discovery]);
        let before_current = is_known(&[Phase::Discovery, Phase::SavesAccepted, Phase::Election]);
        if self.phase != Phase::Ended {
            assert_eq!(self.epochs.accepted < self.epoch, before_accepted, "{:?}", self.phase);
            assert_eq!(self.epochs.current < self.epoch, before_current, "{:?}", self.phase);
        }
        assert_eq!(
            is_known(&[Phase::Broadcast]),
            self.phase != Phase::Ended && self.history.last().epoch() == self.epoch
        );
        assert!(self.learners.is_sorted_by(|a, b| a.id < b.id) && self.learners.len() <= SERVERS_MAX);
        for (at, learner) in self.learners.iter().enumerate() {
            learner.check(&self.history);
            let is_twin = |other: &Learner| learner.server.is_some() && other.server == learner.server;
            assert!(!self.learners[at + 1..].iter().any(is_twin), "a server counts once");
            let is_informed = !matches!(learner.stage, Stage::Connected | Stage::WaitsForEpoch);
            let is_promised = matches!(self.phase, Phase::Discovery | Phase::SavesAccepted);
            assert!(!is_informed || !is_promised, "the accepted epoch is durable before it is promised");
        }
    }
}

fn kind_of(said: &ToLeader<'_>) -> PacketKind {
    match said {
        ToLeader::Info { observes: false, .. } => PacketKind::FollowerInfo,
        ToLeader::Info { observes: true, .. } => PacketKind::ObserverInfo,
        ToLeader::AckEpoch { .. } => PacketKind::AckEpoch,
        ToLeader::Ack { .. } => PacketKind::Ack,
        ToLeader::Ping { .. } => PacketKind::Ping,
        ToLeader::Revalidate { .. } => PacketKind::Revalidate,
        ToLeader::Request { .. } => PacketKind::Request,
    }
}

/// The current epoch of a learner that had accepted this one before: its acknowledgement must not count twice.
const ACCEPTED_BEFORE: i32 = -1;
/// Bytes of what a learner says of itself, and some.
const INFO_BYTES_MAX: usize = 64;
/// Of a learner that does not know what it has.
const NO_ZXID: Zxid = Zxid(-1);

#[cfg(test)]
mod tests;
