//! What a member gives up where there is no space for a log segment: older snapshots and the segments before the newest
//! one first; then it takes a snapshot that lets the segments before it go.

use super::commit::Proposed;
use super::{Member, MemberOutput};
use crate::ids::Now;

/// After a snapshot that failed. It writes as much as the data is large, and the disk is full.
pub(super) const SNAPSHOT_AGAIN_MS: u64 = 30_000;

impl Member {
    /// True if space was made, so that the segment may be asked for again at once.
    pub(super) fn relieve(&mut self, now: Now, out: &mut Vec<MemberOutput>) -> bool {
        if self.give_up_older(now, out) {
            return true;
        }
        self.snapshot_for_space(now, out);
        false
    }

    /// Crash story: the newest snapshot is durable and was read or written by this process, and every segment with
    /// something after it stays.
    fn give_up_older(&mut self, now: Now, out: &mut Vec<MemberOutput>) -> bool {
        let Some(newest) = self.snapshots.newest() else { return false };
        let segments = self.log_segments().count();
        let snapshots = self.snapshots.forget_older();
        if snapshots > 0 {
            out.push(MemberOutput::RemoveSnapshots { before: newest });
        }
        self.log.on_snapshot(newest, &mut self.log_out);
        self.emit_log_outputs(now, out);
        let segments = segments - self.log_segments().count();
        if snapshots + segments > 0 {
            let text = format!(
                "no space for the transaction log: given up are {snapshots} snapshots and {segments} log segments that the \
                 snapshot at zxid {newest} makes unnecessary"
            );
            out.push(MemberOutput::Notice { text });
        }
        snapshots + segments > 0
    }

    /// Worth it only where segments before the current one go with it.
    fn snapshot_for_space(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        let zxid = self.leader.proposed();
        let is_useless =
            self.log_segments().count() < 2 || self.snapshots.newest().is_some_and(|at| at >= zxid);
        if is_useless || self.snapshots.is_busy() || now.mono_ms < self.room.no_relief_before_ms {
            return;
        }
        self.snapshots.begin_early(zxid, self.store.digest(), self.sessions.open());
        // With no transaction on its way, none will ask for it.
        if !self.pending.iter().any(Proposed::is_txn) {
            assert_eq!(self.leader.committed(), zxid, "what is told is committed");
            out.extend(self.snapshots.due(zxid));
        }
    }
}
