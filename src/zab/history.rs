//! The end of a server's log in memory: what learners are brought up to date from, and what is not committed yet.
//! Opaque entries, shared with the log's frame and with whoever they are sent to.
//!
//! Invariant: zxids ascend, within an epoch without holes; `committed <= last`; nothing committed is ever taken back.
//! What is committed is kept up to `commitLogCount` entries and `HISTORY_BYTES_MAX` bytes, what is not is bounded by
//! those who propose.
//!
//! Deliberately absent: the log on disk and the tree, which follow what this says.

use crate::ids::{Epoch, Zxid};
use std::collections::VecDeque;
use std::sync::Arc;

/// A transaction as it is logged and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number.
    pub zxid: Zxid,
    /// Header, transaction, digest.
    pub bytes: Arc<[u8]>,
}

/// Why a log cannot end where it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CannotTruncate {
    /// More is committed, or there is less.
    Committed,
    /// The oldest snapshot already has more.
    Snapshot,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// `commitLogCount`.
    count_max: usize,
    bytes_max: usize,
    /// What stands before the first entry.
    before: Zxid,
    /// Of the last entry; of a leader that has not proposed anything the first zxid of its epoch.
    last: Zxid,
    /// A quorum has all up to this, as far as this server knows.
    committed: Zxid,
    /// Nothing before this can be restored: the oldest snapshot.
    floor: Zxid,
    /// A leader's log ends before `floor`: only a snapshot helps.
    is_lost: bool,
}

impl History {
    /// Of a server whose snapshot ends at `committed`; what its log has behind that is pushed.
    pub fn new(count_max: usize, bytes_max: usize, committed: Zxid) -> History {
        assert!(count_max > 0 && bytes_max > 0);
        History {
            entries: VecDeque::new(),
            bytes: 0,
            count_max,
            bytes_max,
            before: committed,
            last: committed,
            committed,
            floor: committed,
            is_lost: false,
        }
    }

    /// A transaction that was logged. It is the next one, or of a later epoch.
    pub fn push(&mut self, entry: Entry) {
        assert!(self.is_next(entry.zxid), "{} behind {}", entry.zxid, self.last);
        self.last = entry.zxid;
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        self.check_ends();
    }

    /// Whether a transaction can stand behind the last one.
    pub fn is_next(&self, zxid: Zxid) -> bool {
        zxid > self.last && (zxid.epoch() > self.last.epoch() || zxid.0 == self.last.0 + 1)
    }

    /// A leader begins its epoch.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        assert!(epoch > self.last.epoch(), "{epoch:?} begins behind {}", self.last);
        self.commit(self.last);
        self.last = Zxid::first_of(epoch);
        self.check_ends();
    }

    /// It leads no more: the next transaction stands behind the last one again.
    pub fn end_epoch(&mut self) {
        self.last = self.logged();
        self.check_ends();
    }

    /// A quorum has all up to this.
    pub fn commit(&mut self, zxid: Zxid) {
        assert!(self.committed <= zxid && zxid <= self.last, "{zxid} is not in {self:?}");
        self.committed = zxid;
        self.evict();
    }

    /// Makes room where nothing that is kept is needed to take something back.
    fn evict(&mut self) {
        while self.entries.len() > self.count_max || (self.bytes > self.bytes_max && self.entries.len() > 1) {
            let Some(first) = self.entries.front().filter(|first| first.zxid <= self.committed) else {
                break;
            };
            self.bytes -= first.bytes.len();
            self.before = first.zxid;
            self.entries.pop_front();
        }
        self.check_ends();
    }

    /// Forgets entries that are only replayed, so that what is not known to be committed does not take memory without
    /// bound: they are in the log.
    pub fn forget_replayed(&mut self) {
        let committed = std::mem::replace(&mut self.committed, self.last);
        self.evict();
        self.committed = committed;
        self.check_ends();
    }

    /// Everything behind `to` is gone from the log.
    pub fn truncate(&mut self, to: Zxid) -> Result<(), CannotTruncate> {
        if to < self.committed || to > self.last {
            return Err(CannotTruncate::Committed);
        }
        if to < self.floor {
            self.is_lost = true;
            return Err(CannotTruncate::Snapshot);
        }
        let kept = self.entries.partition_point(|entry| entry.zxid <= to);
        for entry in self.entries.drain(kept..) {
            self.bytes -= entry.bytes.len();
        }
        self.before = self.before.min(to);
        self.last = to;
        self.check_ends();
        Ok(())
    }

    /// The history of who takes over a snapshot.
    pub fn of_snapshot(&self, snapshot: Zxid) -> History {
        let committed = self.committed.min(snapshot);
        History { committed, ..History::new(self.count_max, self.bytes_max, snapshot) }
    }

    /// Whether the log has to end where it cannot be brought back to.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The last transaction in the log.
    pub fn logged(&self) -> Zxid {
        self.entries.back().map_or(self.before, |entry| entry.zxid)
    }

    /// See the field.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// See the field.
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// What stands before the first entry that is kept.
    pub fn before(&self) -> Zxid {
        self.before
    }

    /// The first one kept.
    pub fn first(&self) -> Option<Zxid> {
        self.entries.front().map(|entry| entry.zxid)
    }

    /// The last one kept at or before `zxid`.
    pub fn at_or_before(&self, zxid: Zxid) -> Option<Zxid> {
        let at = self.entries.partition_point(|entry| entry.zxid <= zxid);
        at.checked_sub(1).map(|at| self.entries[at].zxid)
    }

    /// Everything kept behind `zxid`.
    pub fn after(&self, zxid: Zxid) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.entries.partition_point(|entry| entry.zxid <= zxid)..)
    }

    fn check_ends(&self) {
        assert!(self.committed <= self.last && self.before <= self.last && self.floor <= self.last);
        assert!(self.entries.front().is_none_or(|first| first.zxid > self.before));
        assert!(self.entries.back().is_none_or(|last| last.zxid <= self.last));
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        self.check_ends();
        assert_eq!(self.bytes, self.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>());
        let zxids: Vec<Zxid> = self.entries.iter().map(|entry| entry.zxid).collect();
        let is_next = |a: &Zxid, b: &Zxid| b.epoch() > a.epoch() || b.0 == a.0 + 1;
        assert!(zxids.is_sorted_by(is_next), "holes: {zxids:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(zxid: i64, bytes: usize) -> Entry {
        Entry { zxid: Zxid(zxid), bytes: vec![zxid as u8; bytes].into() }
    }

    fn kept(history: &History) -> Vec<i64> {
        history.check();
        history.after(Zxid(-1)).map(|entry| entry.zxid.0).collect()
    }

    #[test]
    fn committed_entries_are_kept_by_count_and_by_bytes() {
        let mut history = History::new(3, 100, Zxid(10));
        (11..16).for_each(|zxid| history.push(entry(zxid, 1)));
        assert_eq!(kept(&history), [11, 12, 13, 14, 15], "what is not committed stays");
        history.commit(Zxid(11));
        assert_eq!((kept(&history), history.before()), (vec![12, 13, 14, 15], Zxid(11)));
        history.commit(Zxid(15));
        assert_eq!((kept(&history), history.first()), (vec![13, 14, 15], Some(Zxid(13))));
        history.push(entry(16, 99));
        history.commit(Zxid(16));
        assert_eq!(kept(&history), [15, 16]);
        history.push(entry(17, 200));
        history.commit(Zxid(17));
        assert_eq!(kept(&history), [17], "the last one stays, however large");
    }

    #[test]
    fn what_is_replayed_does_not_take_memory_without_bound() {
        let mut history = History::new(2, 100, Zxid(10));
        for zxid in 11..20 {
            history.push(entry(zxid, 1));
            history.forget_replayed();
        }
        assert_eq!(
            (kept(&history), history.committed(), history.before()),
            (vec![18, 19], Zxid(10), Zxid(17))
        );
        assert_eq!(history.truncate(Zxid(15)), Ok(()), "the tree goes back to a snapshot then");
        assert_eq!((kept(&history), history.last(), history.before()), (vec![], Zxid(15), Zxid(15)));
        history.push(entry(16, 1));
        assert_eq!(kept(&history), [16]);
    }

    #[test]
    fn nothing_committed_is_taken_back() {
        let mut history = History::new(9, 100, Zxid(10));
        (11..15).for_each(|zxid| history.push(entry(zxid, 1)));
        history.commit(Zxid(12));
        for to in [9, 11, 15] {
            assert_eq!(history.truncate(Zxid(to)), Err(CannotTruncate::Committed), "{to}");
        }
        assert_eq!(history.truncate(Zxid(13)), Ok(()));
        assert_eq!(kept(&history), [11, 12, 13]);
        let mut taken = history.of_snapshot(Zxid(40));
        assert_eq!((kept(&taken), taken.last(), taken.committed()), (vec![], Zxid(40), Zxid(12)));
        taken.push(entry(41, 1));
        assert_eq!(taken.truncate(Zxid(39)), Err(CannotTruncate::Snapshot), "there is nothing to go back to");
        assert!(taken.is_lost() && !history.is_lost());
        assert_eq!(taken.truncate(Zxid(40)), Ok(()));
        assert_eq!(history.of_snapshot(Zxid(5)).committed(), Zxid(5));
    }

    #[test]
    fn epochs() {
        let mut history = History::new(9, 100, Zxid(10));
        history.push(entry(11, 1));
        history.begin_epoch(Epoch(2));
        let ends =
            |history: &History| (history.last(), history.committed(), history.logged(), history.before());
        assert_eq!(ends(&history), (Zxid(2 << 32), Zxid(11), Zxid(11), Zxid(10)));
        assert!(!history.is_next(Zxid(12)) && !history.is_next(Zxid((2 << 32) + 2)));
        assert!(history.is_next(Zxid((2 << 32) + 1)) && history.is_next(Zxid((3 << 32) + 7)));
        let mut idle = history.clone();
        idle.end_epoch();
        assert_eq!(idle.last(), Zxid(11));
        history.push(entry((2 << 32) + 1, 1));
        history.end_epoch();
        assert_eq!(history.last(), Zxid((2 << 32) + 1));
        assert_eq!(kept(&history), [11, (2 << 32) + 1]);
        assert_eq!(history.at_or_before(Zxid(2 << 32)), Some(Zxid(11)));
        assert_eq!(history.at_or_before(Zxid(10)), None);
        let mut empty = History::new(9, 100, Zxid(10));
        empty.begin_epoch(Epoch(1));
        assert_eq!(ends(&empty), (Zxid(1 << 32), Zxid(10), Zxid(10), Zxid(10)));
    }

    #[test]
    #[should_panic(expected = "behind")]
    fn holes_are_a_bug() {
        let mut history = History::new(9, 100, Zxid(10));
        history.push(entry(12, 1));
    }
}
