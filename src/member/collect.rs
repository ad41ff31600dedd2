//! Containers without children and TTL nodes past their time are deleted by the server (`ContainerManager`).

use super::Member;
use super::commit::Change;
use super::room::Verdict;
use crate::ids::{Now, SessionId};
use crate::tree::{Effects, Undo};
use crate::wire::Txn;

impl Member {
    /// Every `znode.container.checkIntervalMs`; what is too much for one round waits for the next.
    pub(super) fn collect(&mut self, now: Now) {
        if self.collect_at_ms.is_none_or(|at| at > now.mono_ms) {
            return;
        }
        self.collect_at_ms = Some(now.mono_ms + self.settings.container_check_ms.max(1));
        let interval_ms = self.settings.container_check_ms.max(1);
        let at_most = self.settings.containers_per_minute as u64 * interval_ms.min(60_000) / 60_000;
        let never_used_ms = self.settings.container_never_used_ms;
        for path in self.store.collectable(now.wall_ms, never_used_ms, at_most.max(1) as usize) {
            if self.room_for(path.len() + 64) != Verdict::Yes || !self.is_accepting() {
                return;
            }
            self.collect_one(now, path);
        }
    }

    fn collect_one(&mut self, now: Now, path: String) {
        let stamp = self.own_stamp(now, SessionId::NONE);
        let txn = Txn::Delete { path: path.into(), container: true };
        let mut effects = Effects::new();
        let applied = self.store.apply(&stamp.header(txn.op()), &txn, &mut effects, &mut Undo::none());
        assert_eq!(applied, Ok(()), "the store itself named the node");
        self.append(stamp, &txn, Change { effects, ..Change::default() });
    }
}
