//! How a leader brings a learner to its own history (`LearnerHandler.syncFollower`): entries that it lacks, a log that
//! goes back, or everything. Only decides; `zab/leading.rs` sends.
//!
//! Invariant: what a learner has is, after that, a prefix of the leader's log. A log never goes back over an epoch's
//! beginning: Apache's learners cannot.

use super::history::History;
use crate::ids::Zxid;

/// What a learner is told first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// DIFF with `says`, then every entry behind `after`.
    Diff {
        /// The leader's last one.
        says: Zxid,
        /// The learner's last one.
        after: Zxid,
    },
    /// TRUNC, then every entry behind `to`.
    Trunc {
        /// The last one that both have.
        to: Zxid,
    },
    /// A snapshot, then every entry behind it.
    Snap,
    /// The history does not reach back so far, the log on disk may: decide again with that.
    AskDisk,
}

/// What is known of the log on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// `snapshotSizeFactor` is negative: it is not used.
    Off,
    /// Not asked yet.
    Unknown,
    /// Around the learner's last transaction.
    Known(OnDisk),
}

/// The part of the log on disk that would be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnDisk {
    /// The last transaction at or before the learner's last one.
    pub at_or_before: Option<Zxid>,
    /// The first one behind it.
    pub behind: Option<Zxid>,
    /// From there on the log has no hole up to this.
    pub until: Zxid,
    /// What would have to be read.
    pub bytes: u64,
    /// `snapshotSizeFactor` of the newest snapshot: with more than that a snapshot is cheaper. 0: no bound.
    pub bytes_max: u64,
}

/// How to bring a learner whose last transaction is `peer` up to `last`, the leader's.
pub fn plan(peer: Zxid, history: &History, last: Zxid, disk: Disk) -> Plan {
    // Nothing kept: as if the last one was all.
    let first = history.first().unwrap_or(last);
    let newest = history.at_or_before(last).unwrap_or(last);
    // The first zxid of an epoch is in no log: who has it has nothing of that epoch.
    let is_epoch_begin = peer.counter() == 0;
    if peer == last {
        Plan::Diff { says: peer, after: peer }
    } else if peer == history.before() && (history.first().is_none() || !is_epoch_begin) {
        // Right before what is kept: the original asks the disk for the same answer.
        Plan::Diff { says: history.at_or_before(last).unwrap_or(peer), after: peer }
    } else if peer > newest && !is_epoch_begin {
        Plan::Trunc { to: newest }
    } else if first <= peer && peer <= newest {
        let before = history.at_or_before(peer).unwrap_or(first);
        let behind = history.after(peer).next().map(|entry| entry.zxid);
        walk(peer, newest, before, behind)
    } else if peer < first {
        match disk {
            Disk::Off => Plan::Snap,
            Disk::Unknown => Plan::AskDisk,
            Disk::Known(disk) => from_disk(peer, history.before(), newest, disk),
        }
    } else {
        Plan::Snap
    }
}

fn from_disk(peer: Zxid, history_begins: Zxid, newest: Zxid, disk: OnDisk) -> Plan {
    let Some(before) = disk.at_or_before else { return Plan::Snap };
    let is_too_long = disk.bytes_max > 0 && disk.bytes > disk.bytes_max;
    if is_too_long || disk.until < history_begins {
        return Plan::Snap;
    }
    walk(peer, newest, before, disk.behind)
}

/// `before` and `behind`: the entries at or before the learner's last one and behind it.
fn walk(peer: Zxid, newest: Zxid, before: Zxid, behind: Option<Zxid>) -> Plan {
    if before == peer || peer.counter() == 0 {
        Plan::Diff { says: newest, after: peer }
    } else if behind.is_none_or(|behind| behind.epoch() != peer.epoch()) {
        Plan::Snap
    } else {
        Plan::Trunc { to: before }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Entry;
    use super::*;
    use crate::ids::Epoch;

    const E: i64 = 1 << 32;

    fn history(before: i64, zxids: &[i64]) -> History {
        let mut history = History::new(500, 1 << 20, Zxid(before));
        for zxid in zxids {
            history.push(Entry { zxid: Zxid(*zxid), bytes: vec![0].into() });
        }
        history
    }

    fn diff(says: i64, after: i64) -> Plan {
        Plan::Diff { says: Zxid(says), after: Zxid(after) }
    }

    fn trunc(to: i64) -> Plan {
        Plan::Trunc { to: Zxid(to) }
    }

    /// A history of three epochs in memory, the second one without a transaction: who comes with what, and gets what.
    #[test]
    fn from_memory() {
        let entries = [E + 5, E + 6, E + 7, 3 * E + 1, 3 * E + 2];
        let last = 3 * E + 2;
        let history = history(E + 4, &entries);
        let table = [
            (last, diff(last, last)),
            (3 * E + 1, diff(last, 3 * E + 1)),
            (E + 5, diff(last, E + 5)),
            (E + 7, diff(last, E + 7)),
            // It has proposals of an old leader that nobody else has.
            (E + 8, Plan::Snap),
            (2 * E + 1, Plan::Snap),
            (3 * E + 3, trunc(last)),
            (4 * E + 1, trunc(last)),
            // It has nothing of its epoch.
            (3 * E, diff(last, 3 * E)),
            (2 * E, diff(last, 2 * E)),
            (4 * E, Plan::Snap),
            (E + 4, diff(last, E + 4)),
            (E + 3, Plan::AskDisk),
            (E, Plan::AskDisk),
            (0, Plan::AskDisk),
            (-1, Plan::AskDisk),
        ];
        for (peer, expected) in table {
            assert_eq!(plan(Zxid(peer), &history, Zxid(last), Disk::Unknown), expected, "{peer:x}");
        }
        assert_eq!(plan(Zxid(E), &history, Zxid(last), Disk::Off), Plan::Snap);
    }

    /// Entries of one epoch with a hole that only another leader's proposals fill.
    #[test]
    fn back_within_an_epoch() {
        // As after an import: 6 and 7 were skipped.
        let mut entries = history(E + 4, &[E + 5]);
        entries.begin_epoch(Epoch(2));
        entries.push(Entry { zxid: Zxid(2 * E + 1), bytes: vec![0].into() });
        let last = Zxid(2 * E + 1);
        assert_eq!(plan(Zxid(E + 6), &entries, last, Disk::Unknown), Plan::Snap, "over an epoch's beginning");
        assert_eq!(walk(Zxid(E + 6), last, Zxid(E + 5), Some(Zxid(E + 8))), trunc(E + 5));
        assert_eq!(walk(Zxid(E + 6), last, Zxid(E + 5), None), Plan::Snap);
    }

    /// An established leader without a transaction in its epoch, as in the recording where 3 comes back with two more.
    #[test]
    fn as_recorded() {
        let mut elected = history(0, &[E + 1, E + 2, E + 3, E + 4, E + 5, E + 6]);
        assert_eq!(plan(Zxid(E + 6), &elected, Zxid(E + 6), Disk::Unknown), diff(E + 6, E + 6));
        elected.begin_epoch(Epoch(2));
        assert_eq!(plan(Zxid(E + 8), &elected, Zxid(2 * E), Disk::Unknown), trunc(E + 6));
        assert_eq!(plan(Zxid(E + 6), &elected, Zxid(2 * E), Disk::Unknown), diff(E + 6, E + 6));
        assert_eq!(plan(Zxid(0), &history(0, &[]), Zxid(0), Disk::Unknown), diff(0, 0));
        // Empty, and the log of the leader begins behind that: everything.
        let mut forty = history(0, &[]);
        forty.begin_epoch(Epoch(1));
        (1..68).for_each(|n| forty.push(Entry { zxid: Zxid(E + n), bytes: vec![0].into() }));
        assert_eq!(plan(Zxid(0), &forty, Zxid(E + 67), Disk::Unknown), Plan::AskDisk);
        let disk = OnDisk {
            at_or_before: None,
            behind: Some(Zxid(E + 1)),
            until: Zxid(E + 67),
            bytes: 9,
            bytes_max: 0,
        };
        assert_eq!(plan(Zxid(0), &forty, Zxid(E + 67), Disk::Known(disk)), Plan::Snap);
    }

    /// Nothing was ever proposed, or nothing since the snapshot: whoever has the same needs nothing.
    #[test]
    fn an_epoch_without_anything_before_it() {
        for begin in [0, E + 5] {
            let mut elected = history(begin, &[]);
            elected.begin_epoch(Epoch(3));
            assert_eq!(plan(Zxid(begin), &elected, Zxid(3 * E), Disk::Unknown), diff(begin, begin));
        }
    }

    #[test]
    fn from_disk() {
        let last = 3 * E + 9;
        let history = history(3 * E + 7, &[3 * E + 8, last]);
        let disk = |before: i64, behind: i64| OnDisk {
            at_or_before: (before > 0).then_some(Zxid(before)),
            behind: (behind > 0).then_some(Zxid(behind)),
            until: Zxid(3 * E + 7),
            bytes: 100,
            bytes_max: 100,
        };
        let table = [
            (3 * E + 2, disk(3 * E + 2, 3 * E + 3), diff(last, 3 * E + 2)),
            (E + 2, disk(E + 2, 3 * E + 1), diff(last, E + 2)),
            (2 * E, disk(E + 2, 3 * E + 1), diff(last, 2 * E)),
            (E + 3, disk(E + 2, E + 4), trunc(E + 2)),
            (E + 3, disk(E + 2, 3 * E + 1), Plan::Snap),
            (E + 2, disk(0, E + 3), Plan::Snap),
            (0, disk(0, E + 3), Plan::Snap),
            (3 * E + 2, OnDisk { until: Zxid(3 * E + 6), ..disk(3 * E + 2, 3 * E + 3) }, Plan::Snap),
            (3 * E + 2, OnDisk { bytes: 101, ..disk(3 * E + 2, 3 * E + 3) }, Plan::Snap),
            (3 * E + 2, OnDisk { bytes_max: 0, ..disk(3 * E + 2, 3 * E + 3) }, diff(last, 3 * E + 2)),
        ];
        for (peer, disk, expected) in table {
            assert_eq!(
                plan(Zxid(peer), &history, Zxid(last), Disk::Known(disk)),
                expected,
                "{peer:x} {disk:?}"
            );
        }
    }

    /// A leader that has only a snapshot: three ways to stand to it.
    #[test]
    fn without_entries() {
        let history = history(E + 5, &[]);
        let last = Zxid(E + 5);
        let table =
            [(E + 5, diff(E + 5, E + 5)), (E + 6, trunc(E + 5)), (E + 4, Plan::AskDisk), (2 * E, Plan::Snap)];
        for (peer, expected) in table {
            assert_eq!(plan(Zxid(peer), &history, last, Disk::Unknown), expected, "{peer:x}");
        }
    }
}
