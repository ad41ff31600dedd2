//! One learner as its leader sees it: how far it is, and what goes to it next. A cursor into the leader's history takes
//! the place of a queue: a slow learner costs no memory, and who falls behind what is in memory reads on from disk.
//!
//! Invariant: a COMMIT follows its PROPOSAL, NEWLEADER what was to be had when the synchronisation was planned, and no
//! zxid is sent twice.

use super::super::history::{Entry, History};
use super::LeadingOutput;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::limits::{LEARNER_BYTES_IN_FLIGHT_MAX, LEARNER_SYNCS_MAX};
use crate::wire::quorum::ToLearner;
use std::collections::VecDeque;

/// The connection of a learner, counted from 1 as they come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LearnerId(pub u64);

/// How far a learner is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It has not said who it is.
    Connected,
    /// It waits for the epoch.
    WaitsForEpoch,
    /// LEADERINFO was sent.
    Informed,
    /// It has accepted the epoch; `counts`: by this connection.
    WaitsForElection { counts: bool },
    /// The disk is asked how to synchronise it.
    Planned,
    /// It is sent a snapshot.
    Snapshot,
    /// It is sent what it lacks.
    Synchronizing,
    /// It has all that was to be had when that began.
    Synchronized,
    /// UPTODATE was sent.
    Serving,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) id: LearnerId,
    /// Known once it is no longer only connected.
    pub(super) server: Option<ServerId>,
    pub(super) observes: bool,
    pub(super) stage: Stage,
    /// Of a packet that is not whole.
    pub(super) input: Vec<u8>,
    /// Packets of this turn.
    pub(super) output: Vec<u8>,
    /// Bytes handed to the driver and not sent yet.
    in_flight: usize,
    /// The last transaction in its log when it came.
    pub(super) last: Zxid,
    /// The last transaction that was sent.
    sent: Zxid,
    /// NEWLEADER goes out behind this one, and behind the commits up to `settled`.
    target: Zxid,
    /// What was settled when the synchronisation was planned: its NEWLEADER's ACK covers that.
    settled: Zxid,
    is_new_leader_sent: bool,
    /// Sent as PROPOSAL, not yet as COMMIT.
    uncommitted: VecDeque<Zxid>,
    /// Read from disk, not sent yet.
    from_disk: VecDeque<Entry>,
    is_reading: bool,
    /// Up to here everything is on its disk.
    pub(super) acked: Zxid,
    /// Something has to come in until then.
    pub(super) read_by_ms: Option<u64>,
    /// It counts as alive up to this tick.
    pub(super) alive_until_tick: u64,
    /// The first proposal sent since its last ACK, and when.
    unacked: Option<(Zxid, u64)>,
    pings_sent: u64,
    pings_answered: u64,
    /// The ping that asks for confirmation, and of what.
    probe: Option<(u64, u64)>,
    /// The last confirmation that it gave.
    pub(super) confirmed: u64,
    /// Its syncs that are not answered yet.
    syncs_open: usize,
    /// Of those: SYNC goes out as soon as it has been sent everything up to this.
    syncs_due: VecDeque<Zxid>,
}

impl Learner {
    pub(super) fn new(id: LearnerId, read_by_ms: u64, alive_until_tick: u64) -> Learner {
        Learner {
            id,
            server: None,
            observes: false,
            stage: Stage::Connected,
            input: Vec::new(),
            output: Vec::new(),
            in_flight: 0,
            last: Zxid::ZERO,
            sent: Zxid::ZERO,
            target: Zxid::ZERO,
            settled: Zxid::ZERO,
            is_new_leader_sent: false,
            uncommitted: VecDeque::new(),
            from_disk: VecDeque::new(),
            is_reading: false,
            acked: Zxid::ZERO,
            read_by_ms: Some(read_by_ms),
            alive_until_tick,
            unacked: None,
            pings_sent: 0,
            pings_answered: 0,
            probe: None,
            confirmed: 0,
            syncs_open: 0,
            syncs_due: VecDeque::new(),
        }
    }

    pub(super) fn say(&mut self, packet: &ToLearner<'_>) {
        packet.encode(&mut self.output);
    }

    /// What it lacks is what stands behind `after`.
    pub(super) fn synchronize(&mut self, after: Zxid, history: &History, settled: Zxid) {
        self.stage = Stage::Synchronizing;
        self.sent = after;
        self.settled = settled.max(after);
        self.target = if self.observes { self.settled } else { history.last().max(after) };
    }

    /// It has said that it has everything up to NEWLEADER.
    pub(super) fn on_synchronized(&mut self) {
        assert!(self.is_new_leader_sent && self.stage == Stage::Synchronizing);
        self.stage = Stage::Synchronized;
        self.acked = self.acked.max(self.settled);
    }

    pub(super) fn is_new_leader_sent(&self) -> bool {
        self.is_new_leader_sent
    }

    /// Whether its acknowledgements count.
    pub(super) fn is_synchronized(&self) -> bool {
        matches!(self.stage, Stage::Synchronized | Stage::Serving)
    }

    /// The last transaction that was sent to it.
    pub(super) fn sent(&self) -> Zxid {
        self.sent
    }

    /// Asks it to answer and so to confirm `probe`. Before UPTODATE a learner answers no pings.
    pub(super) fn ping(&mut self, last_proposed: Zxid, probe: u64) {
        self.say(&ToLearner::Ping { zxid: last_proposed });
        if self.stage == Stage::Serving {
            self.pings_sent += 1;
            if self.confirmed < probe && self.probe.is_none_or(|(_, asked)| asked < probe) {
                self.probe = Some((self.pings_sent, probe));
            }
        }
    }

    /// Pings are answered in their order. Says whether there was one to answer.
    pub(super) fn on_pong(&mut self) -> bool {
        if self.pings_answered == self.pings_sent {
            return false;
        }
        self.pings_answered += 1;
        if let Some((ping, probe)) = self.probe
            && ping <= self.pings_answered
        {
            self.confirmed = probe;
            self.probe = None;
        }
        true
    }

    /// One of its clients wants to sync; false: too many do.
    pub(super) fn may_sync(&mut self) -> bool {
        self.syncs_open += 1;
        self.syncs_open <= LEARNER_SYNCS_MAX
    }

    /// The oldest of its syncs is answered behind this.
    pub(super) fn sync_behind(&mut self, zxid: Zxid) {
        self.syncs_due.push_back(zxid);
    }

    pub(super) fn on_ack(&mut self, zxid: Zxid, now_ms: u64) {
        self.acked = self.acked.max(zxid);
        if self.unacked.is_some_and(|(oldest, _)| oldest <= zxid) {
            self.unacked = (self.sent > zxid).then_some((self.sent, now_ms));
        }
    }

    /// Since when it owes an acknowledgement.
    pub(super) fn owes_since_ms(&self) -> Option<u64> {
        self.unacked.map(|(_, since)| since)
    }

    pub(super) fn on_sent(&mut self, bytes: usize) {
        assert!(bytes <= self.in_flight, "more is sent than was handed over");
        self.in_flight -= bytes;
    }

    pub(super) fn on_disk_entries(&mut self, entries: Vec<Entry>) {
        assert!(self.is_reading && self.from_disk.is_empty());
        self.is_reading = false;
        self.from_disk.extend(entries.into_iter().filter(|entry| entry.zxid > self.sent));
    }

    /// Puts into this turn's packets what it can take now.
    pub(super) fn pump(&mut self, round: &Round<'_>, out: &mut Vec<LeadingOutput>) {
        if !matches!(self.stage, Stage::Synchronizing | Stage::Synchronized | Stage::Serving) {
            return;
        }
        while self.in_flight + self.output.len() < LEARNER_BYTES_IN_FLIGHT_MAX && self.say_next(round, out) {}
    }

    /// Hands this turn's packets over.
    pub(super) fn flush(&mut self, out: &mut Vec<LeadingOutput>) {
        if !self.output.is_empty() {
            self.in_flight += self.output.len();
            out.push(LeadingOutput::Send { to: self.id, bytes: std::mem::take(&mut self.output) });
        }
    }

    fn say_next(&mut self, round: &Round<'_>, out: &mut Vec<LeadingOutput>) -> bool {
        if let Some(zxid) = self.uncommitted.front().copied().filter(|zxid| *zxid <= round.settled) {
            self.uncommitted.pop_front();
            self.say(&ToLearner::Commit { zxid });
            return true;
        }
        if self.from_disk.is_empty() && self.sent < round.history.before() {
            if !self.is_reading {
                self.is_reading = true;
                let until = round.history.before();
                out.push(LeadingOutput::ReadDisk { learner: self.id, behind: self.sent, until });
            }
            return false;
        }
        let in_memory = || round.history.after(self.sent).next();
        let next = self.from_disk.front().or_else(in_memory).cloned();
        let has_all = |to: Zxid| {
            let is_sent = next.as_ref().is_none_or(|next| next.zxid > to);
            is_sent && self.uncommitted.front().is_none_or(|zxid| *zxid > to)
        };
        if !self.is_new_leader_sent
            && has_all(self.settled)
            && next.as_ref().is_none_or(|n| n.zxid > self.target)
        {
            self.is_new_leader_sent = true;
            self.say(&ToLearner::NewLeader { epoch: round.epoch, config: Some(round.config.as_bytes()) });
            return true;
        }
        if self.syncs_due.front().is_some_and(|behind| has_all(*behind)) {
            self.syncs_due.pop_front();
            self.syncs_open -= 1;
            self.say(&ToLearner::Sync { zxid: Zxid::ZERO });
            return true;
        }
        let end = match (self.observes, self.is_new_leader_sent) {
            (true, true) => round.settled,
            (true, false) => self.target,
            (false, _) => round.history.last(),
        };
        let Some(Entry { zxid, bytes }) = next.filter(|entry| entry.zxid <= end) else { return false };
        self.from_disk.pop_front();
        assert!(zxid > self.sent, "{zxid} behind {}", self.sent);
        self.sent = zxid;
        if self.observes && self.is_new_leader_sent {
            self.say(&ToLearner::Inform { zxid, entry: &bytes });
        } else {
            self.uncommitted.push_back(zxid);
            self.unacked = self.unacked.or((!self.observes).then_some((zxid, round.now_ms)));
            self.say(&ToLearner::Proposal { zxid, entry: &bytes });
        }
        true
    }

    pub(super) fn check(&self, history: &History) {
        assert!(self.pings_answered <= self.pings_sent && self.syncs_due.len() <= self.syncs_open);
        assert!(self.syncs_open <= LEARNER_SYNCS_MAX);
        assert!(
            self.uncommitted.iter().is_sorted()
                && self.uncommitted.back().is_none_or(|last| *last <= self.sent)
        );
        assert!(!self.is_synchronized() || (self.is_new_leader_sent && self.server.is_some()));
        assert!(
            !self.is_synchronized() || self.sent <= history.last(),
            "it was sent what is not in the history"
        );
        assert!(self.stage == Stage::Connected || self.server.is_some());
    }
}

/// What learners are sent from.
pub(super) struct Round<'a> {
    pub(super) now_ms: u64,
    pub(super) history: &'a History,
    /// Everything up to this is sent as committed.
    pub(super) settled: Zxid,
    pub(super) epoch: Epoch,
    pub(super) config: &'a str,
}
