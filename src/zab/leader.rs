//! The leader's part of the broadcast: numbers proposals, counts acknowledgements, says what is committed. Lives in
//! the member; every acknowledgement, that of the leader's own log included, arrives through [`Leader::on_ack`].
//!
//! Invariant: `committed <= proposed`, and a voter never acknowledges what was not proposed.

use crate::ids::{Epoch, ServerId, Zxid};

/// The leader of one epoch.
#[derive(Debug)]
pub struct Leader {
    /// One per voter, in no order: who, and the end of the prefix it has made durable.
    voters: Vec<(ServerId, Zxid)>,
    /// The last zxid given out.
    proposed: Zxid,
    /// The last zxid a quorum has.
    committed: Zxid,
}

impl Leader {
    /// A leader whose voters all have everything up to `last`. A standalone server continues at `last + 1`, in the
    /// epoch of `last`, exactly as a standalone ZooKeeper does.
    pub fn new(voters: &[ServerId], last: Zxid) -> Leader {
        assert!(!voters.is_empty(), "an ensemble has at least one voter");
        Leader {
            voters: voters.iter().map(|voter| (*voter, last)).collect(),
            proposed: last,
            committed: last,
        }
    }

    /// The term.
    pub fn epoch(&self) -> Epoch {
        self.proposed.epoch()
    }

    /// The last zxid given out.
    pub fn proposed(&self) -> Zxid {
        self.proposed
    }

    /// The last zxid that a quorum has made durable.
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// The zxid of the next proposal. When the counter of the epoch is used up the epoch moves on by itself: only an
    /// ensemble of one may do that, a larger one elects a leader again.
    pub fn propose(&mut self) -> Zxid {
        self.proposed = if self.proposed.counter() == u32::MAX {
            assert_eq!(self.voters.len(), 1, "an ensemble elects anew before its zxid counter is used up");
            let epoch =
                Epoch(self.proposed.epoch().0.checked_add(1).expect("2^32 epochs of 2^32 transactions"));
            Zxid::first_of(epoch)
        } else {
            self.proposed.next()
        };
        self.check();
        self.proposed
    }

    /// `server` has everything up to `zxid` on its disk. Returns what is committed now.
    pub fn on_ack(&mut self, server: ServerId, zxid: Zxid) -> Zxid {
        assert!(zxid <= self.proposed, "{server:?} acknowledges {zxid}, which was not proposed yet");
        let Some(voter) = self.voters.iter_mut().find(|voter| voter.0 == server) else {
            return self.committed;
        };
        voter.1 = voter.1.max(zxid);
        self.committed = self.committed.max(self.quorum_has());
        self.check();
        self.committed
    }

    /// The highest zxid that more than half of the voters have.
    fn quorum_has(&self) -> Zxid {
        if let [only] = self.voters[..] {
            return only.1;
        }
        let mut acked: Vec<Zxid> = self.voters.iter().map(|voter| voter.1).collect();
        acked.sort_unstable_by(|a, b| b.cmp(a));
        acked[self.voters.len() / 2]
    }

    pub fn check(&self) {
        assert!(self.committed <= self.proposed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerId = ServerId(1);
    const B: ServerId = ServerId(2);
    const C: ServerId = ServerId(3);

    #[test]
    fn one_voter_commits_with_its_own_log() {
        let mut leader = Leader::new(&[A], Zxid(7));
        assert_eq!(leader.propose(), Zxid(8));
        assert_eq!(leader.propose(), Zxid(9));
        assert_eq!(leader.committed(), Zxid(7));
        assert_eq!(leader.on_ack(A, Zxid(8)), Zxid(8));
        assert_eq!(leader.on_ack(A, Zxid(9)), Zxid(9));
    }

    #[test]
    fn three_voters_need_two_and_strangers_do_not_count() {
        let mut leader = Leader::new(&[A, B, C], Zxid::ZERO);
        leader.propose();
        leader.propose();
        assert_eq!(leader.on_ack(A, Zxid(2)), Zxid(0));
        assert_eq!(leader.on_ack(ServerId(9), Zxid(2)), Zxid(0));
        assert_eq!(leader.on_ack(C, Zxid(1)), Zxid(1));
        assert_eq!(leader.on_ack(B, Zxid(2)), Zxid(2));
        assert_eq!(leader.on_ack(C, Zxid(2)), Zxid(2), "an acknowledgement never takes anything back");
    }

    #[test]
    fn a_used_up_counter_moves_the_epoch_on() {
        let mut leader = Leader::new(&[A], Zxid(0x3_ffff_fffe));
        assert_eq!(leader.propose(), Zxid(0x3_ffff_ffff));
        assert_eq!(leader.propose(), Zxid(0x4_0000_0000));
        assert_eq!(leader.propose(), Zxid(0x4_0000_0001));
        assert_eq!(leader.epoch(), Epoch(4));
    }

    #[test]
    #[should_panic(expected = "not proposed yet")]
    fn an_acknowledgement_of_the_future_is_a_bug() {
        Leader::new(&[A], Zxid::ZERO).on_ack(A, Zxid(1));
    }
}
