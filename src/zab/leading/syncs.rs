//! Syncs: answered behind what was proposed when they came, and, if that is asked for, only once a quorum has said later
//! than that that it still follows. So nobody reads from a leader that others have replaced without its knowing.
//!
//! A quorum is asked once for all that came in a turn; while its answers are awaited, those that come wait for the next
//! time.

use super::learner::{Learner, LearnerId};
use super::output::{LeadingOutput, LearnerEnd, LearnerRequest};
use super::{Leading, Phase};
use crate::ids::Zxid;

#[derive(Debug)]
pub(super) struct PendingSync {
    pub(super) by: Syncer,
    /// Committed before it is answered.
    behind: Zxid,
    /// A quorum has confirmed this before it is answered; 0: nothing.
    probe: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Syncer {
    Own(u64),
    Learner(LearnerId),
}

impl Leading {
    /// A client of this server wants to read what is committed now: [`LeadingOutput::Synced`] answers, at the end of a
    /// turn.
    pub fn sync(&mut self, token: u64) {
        self.await_sync(Syncer::Own(token));
    }

    pub(super) fn on_request(&mut self, request: LearnerRequest, out: &mut Vec<LeadingOutput>) {
        if request.op != SYNC {
            return out.push(LeadingOutput::Request(request));
        }
        if !self.learner(request.from).expect("it is there").may_sync() {
            return self.close(request.from, LearnerEnd::Syncs, out);
        }
        self.await_sync(Syncer::Learner(request.from));
    }

    fn await_sync(&mut self, by: Syncer) {
        assert_eq!(self.phase, Phase::Broadcast, "only an established leader knows what is committed");
        let probe = if self.settings.is_sync_confirmed { self.probe + 1 } else { 0 };
        self.syncs.push_back(PendingSync { by, behind: self.history.logged(), probe });
    }

    /// Asks all followers at once for whoever waits, unless those that were asked for before still wait.
    pub(super) fn ask_for_confirmation(&mut self) {
        let waits = |sync: &PendingSync| sync.probe > self.probe;
        if self.syncs.back().is_none_or(|sync| !waits(sync)) || !self.syncs.front().is_some_and(waits) {
            return;
        }
        self.probe += 1;
        self.ping_all();
    }

    /// Each answer confirms what was asked for before, too.
    pub(super) fn ping_all(&mut self) {
        let (last, probe) = (self.history.last(), self.probe);
        for learner in self.learners.iter_mut().filter(|learner| learner.is_new_leader_sent()) {
            learner.ping(last, probe);
        }
    }

    pub(super) fn answer_syncs(&mut self, out: &mut Vec<LeadingOutput>) {
        while let Some(sync) = self.syncs.front() {
            if sync.behind > self.history.committed() || !self.is_confirmed(sync.probe) {
                return;
            }
            let sync = self.syncs.pop_front().expect("there is a front");
            match sync.by {
                Syncer::Own(token) => out.push(LeadingOutput::Synced(token)),
                Syncer::Learner(id) => {
                    self.learner(id).expect("its syncs left with it").sync_behind(sync.behind)
                }
            }
        }
    }

    /// Whether a quorum has answered what was asked of it for `probe`.
    fn is_confirmed(&self, probe: u64) -> bool {
        let confirms = |learner: &Learner| !learner.observes && learner.confirmed >= probe;
        probe == 0
            || self.quorums.is_quorum(|id| id == self.settings.me)
            || (probe <= self.probe
                && self.quorums.is_quorum(|id| id == self.settings.me || self.has_voter(id, confirms)))
    }
}

/// `OpCode.sync`.
const SYNC: i32 = 9;
