//! Containers without children and TTL nodes past their time are deleted by the server (`ContainerManager`).

use super::Member;
use super::commit::Change;
use super::room::Verdict;
use crate::ids::{Now, SessionId};
use crate::limits::COLLECTABLE_AT_ONCE;
use crate::tree::{Effects, Undo};
use crate::wire::Txn;

/// A round under way: what is before this path was looked at, and so many may still go.
#[derive(Default)]
pub(super) struct Round {
    after: Box<str>,
    left: usize,
}

impl Member {
    /// Every `znode.container.checkIntervalMs`; what is too much for one round waits for the next. A turn looks at some.
    pub(super) fn collect(&mut self, now: Now) {
        let interval_ms = self.settings.container_check_ms.max(1);
        if self.collect_at_ms.is_some_and(|at| at <= now.mono_ms) {
            self.collect_at_ms = Some(now.mono_ms + interval_ms);
            let at_most = self.settings.containers_per_minute as u64 * interval_ms.min(60_000) / 60_000;
            self.collecting = Some(Round { after: "".into(), left: at_most.max(1) as usize });
        }
        let Some(mut round) = self.collecting.take() else { return };
        let never_used_ms = self.settings.container_never_used_ms;
        let (due, next) =
            self.store.collectable(&round.after, now.wall_ms, never_used_ms, COLLECTABLE_AT_ONCE);
        for path in due {
            if round.left == 0 || self.room_for(path.len() + 64) != Verdict::Yes || !self.is_accepting() {
                return;
            }
            round.left -= 1;
            self.collect_one(now, path);
        }
        if let Some(after) = next
            && round.left > 0
        {
            self.collecting = Some(Round { after, ..round });
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
