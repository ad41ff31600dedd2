//! The member's invariants. The cheap ones are asserted at the end of every turn, in production too; those that look at
//! everything after every step of the simulator.

use super::commit::Proposed;
use super::{Member, RunState};

impl Member {
    /// The cursors and the edges between the parts.
    pub fn check(&self) {
        let (committed, proposed) = (self.leader.committed(), self.leader.proposed());
        assert!(committed <= self.log.durable() && self.log.durable() <= proposed);
        assert!(committed <= proposed, "committed <= proposed");
        assert_eq!(self.store.tree().applied(), proposed, "this tree is at the proposed state");
        self.snapshots.check(proposed);
        self.room.check();
        self.asks.check();
        // A snapshot that is begun is asked for by its own transaction when that is told.
        if let Some(zxid) = self.snapshots.begun() {
            let is_pending = |pending: &Proposed| matches!(pending, Proposed::Txn { committed, .. } if committed.zxid == zxid);
            assert!(
                self.phase == RunState::Ended || self.pending.iter().rev().any(is_pending),
                "the transaction of a snapshot is still to be told"
            );
        }
    }

    /// The sums and the order of all that is pending; the sessions.
    pub fn check_sums(&self) {
        self.check();
        let (mut bytes, mut last) = (0, None);
        let mut of_clients = Vec::new();
        for pending in &self.pending {
            match pending {
                Proposed::Txn { committed, bytes: more } => {
                    assert!(last.is_none_or(|last| last < committed.zxid), "zxids ascend");
                    last = Some(committed.zxid);
                    bytes += more;
                    of_clients.extend(committed.answer.as_ref().map(|_| *more));
                }
                Proposed::Answer { .. } => of_clients.push(0),
            }
        }
        assert_eq!(self.pending_bytes, bytes);
        assert!(last.is_none_or(|last| last == self.leader.proposed()), "the last one proposed is pending");
        // The last one, and one that waited for room in the log, may come on top.
        let settled = of_clients.len().saturating_sub(2);
        assert!(settled < self.settings.outstanding_txns_max, "{} are pending", of_clients.len());
        let settled_bytes: usize = of_clients[..settled].iter().sum();
        assert!(
            settled == 0 || settled_bytes < self.settings.outstanding_bytes_max,
            "{settled_bytes} bytes are pending"
        );
        assert!(self.stalled.len() <= 1, "who waits for room in the log keeps the others out");
        self.log.check();
        self.leader.check();
        self.sessions.check_all();
        self.admission.check();
        self.store.check();
    }
}
