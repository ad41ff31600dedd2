//! From a prepared transaction to the log, and from the durable log to the shards: the two ends of the pending queue.

use super::prepare::Stamp;
use super::{Member, MemberOutput, RunState};
use crate::ids::{Now, Origin, ShardId, Zxid};
use crate::mesh::{Answer, Batch, Committed, Lag, SessionChange, ToShard};
use crate::tree::Effects;
use crate::wire::txn::encode_entry;
use crate::wire::{Txn, TxnDigest};
use std::sync::Arc;

/// Proposed and not yet broadcast.
pub(super) enum Proposed {
    /// A transaction; its length in the log counts towards the bound.
    Txn { committed: Committed, bytes: usize },
    /// An answer that belongs to no transaction and must not overtake those before it.
    Answer { shard: ShardId, message: ToShard },
}

impl Proposed {
    pub(super) fn is_txn(&self) -> bool {
        matches!(self, Proposed::Txn { .. })
    }
}

/// What a transaction means to the shards.
#[derive(Default)]
pub(super) struct Change {
    pub effects: Effects,
    pub answer: Option<(Origin, Answer)>,
    pub session: Option<SessionChange>,
}

/// Version of the digest (`DigestCalculator.DIGEST_VERSION`).
const DIGEST_VERSION: i32 = 2;
/// Every so many transactions the digest is remembered (`DataTree.DIGEST_LOG_INTERVAL`).
const DIGEST_EVERY: i64 = 128;
/// So many are remembered (`DataTree.DIGEST_LOG_LIMIT`).
const DIGESTS_KEPT: usize = 1024;

impl Member {
    /// Appends a transaction, already applied to the tree, to the log, and queues what the shards get when it is
    /// durable there. The digest is that of the tree after it; a failed write carries none, as in ZooKeeper.
    pub(super) fn append(&mut self, stamp: Stamp, txn: &Txn<'_>, change: Change) {
        assert_eq!(
            stamp.zxid,
            self.leader.proposed(),
            "transactions are appended in the order of their zxids"
        );
        self.store.set_applied(stamp.zxid);
        let digest = self.store.digest();
        let entry_digest = match txn {
            Txn::Error { .. } => None,
            _ => digest.map(|digest| TxnDigest { version: DIGEST_VERSION, tree: digest as i64 }),
        };
        self.entry.clear();
        encode_entry(&mut self.entry, &stamp.header(txn.op()), txn, entry_digest);
        self.log.append(stamp.zxid, &self.entry);
        if self.log.is_frame_full() {
            self.log.flush(false, &mut self.log_out);
        }
        let bytes = self.entry.len();
        self.pending_bytes += bytes;
        let Change { effects, answer, session } = change;
        let committed = Committed { zxid: stamp.zxid, effects, answer, session };
        self.pending.push_back(Proposed::Txn { committed, bytes });
        if let Some(digest) = digest
            && stamp.zxid.0 % DIGEST_EVERY == 0
        {
            self.digests.push_back((stamp.zxid, digest));
            if self.digests.len() > DIGESTS_KEPT {
                self.digests.pop_front();
            }
        }
        if self.snapshots.on_txn(bytes, self.store.tree().data_bytes()) {
            // The tree and the sessions as they are now are what the snapshot at this zxid holds; the scribe's tree
            // gets there later. The next transaction starts a new segment, so old segments can be let go whole.
            self.log.roll();
            self.snapshots.begin(stamp.zxid, digest, self.sessions.open());
        }
    }

    /// An answer without a transaction, behind everything proposed before it.
    pub(super) fn answer_in_order(&mut self, origin: Origin, answer: Answer) {
        let message = ToShard::Answer { conn: origin.conn, answer };
        self.pending.push_back(Proposed::Answer { shard: origin.shard, message });
    }

    /// Ends a turn: one group commit for what was appended, one batch for what became durable. `is_idle`: the turn had no
    /// request for anybody on this core, so what was held back for company goes now.
    pub fn flush(&mut self, now: Now, is_idle: bool, out: &mut Vec<MemberOutput>) {
        if self.phase == RunState::Ended {
            return;
        }
        if self.phase == RunState::Running && !self.ending.is_empty() {
            self.end_sessions(now);
        }
        self.log.flush(is_idle, &mut self.log_out);
        self.turn_ms = now.mono_ms;
        self.postpone_expiry_unless_accepting(now);
        if !self.stalled.is_empty() {
            // What waited may only have waited for the frame that has just left.
            self.drain_stalled(now, out);
            self.log.flush(is_idle, &mut self.log_out);
        }
        self.emit_log_outputs(now, out);
        // The log's durable prefix is this server's acknowledgement; it moves only by a completed write.
        let committed = self.leader.on_ack(self.settings.server_id, self.log.durable());
        self.broadcast(now, committed, out);
        self.look_for_a_stall(now, out);
        if self.phase == RunState::Stopping && self.pending.is_empty() {
            self.phase = RunState::Ended;
            out.push(MemberOutput::Stopped);
        }
        self.check();
    }

    /// True while a small group commit waits for more: the driver comes back without sleeping.
    pub fn holds_back(&self) -> bool {
        self.log.is_held_back()
    }

    /// Tells the shards what is committed, as far as the slowest of them can take it; the rest stays pending.
    fn broadcast(&mut self, now: Now, committed: Zxid, out: &mut Vec<MemberOutput>) {
        if self.pending.is_empty() {
            return;
        }
        let mut batch = Batch { txns: Vec::with_capacity(self.pending_until(committed)), bytes: 0 };
        // What this turn has said already counts as not taken.
        let mut lag = self.lag.unwrap_or_default();
        lag.words += out.iter().filter(|output| output.is_word()).count();
        while !(self.lag.is_some() && self.is_too_far_behind(lag))
            && let Some(front) = self.pending.front()
        {
            if matches!(front, Proposed::Txn { committed: txn, .. } if txn.zxid > committed) {
                break;
            }
            match self.pending.pop_front().expect("there is a front") {
                Proposed::Answer { shard, message } => {
                    send_batch(&mut batch, &mut lag, out);
                    lag.words += 1;
                    out.push(MemberOutput::ToShard(shard, message));
                }
                Proposed::Txn { committed: txn, bytes } => {
                    self.pending_bytes -= bytes;
                    match &txn.session {
                        Some(SessionChange::Closed { session }) => self.sessions.remove(*session),
                        // Its client hears of it only now: a slow disk must not use up its time.
                        Some(SessionChange::Opened { session, .. }) => {
                            self.sessions.announce(*session, now.mono_ms);
                        }
                        None => {}
                    }
                    let zxid = txn.zxid;
                    batch.txns.push(txn);
                    batch.bytes += bytes;
                    lag.bytes += bytes;
                    if let Some(snapshot) = self.snapshots.due(zxid) {
                        send_batch(&mut batch, &mut lag, out);
                        out.push(snapshot);
                    }
                }
            }
        }
        send_batch(&mut batch, &mut lag, out);
        if let Some(known) = &mut self.lag {
            *known = lag;
        }
    }

    /// About how many transactions are pending up to this one.
    fn pending_until(&self, committed: Zxid) -> usize {
        let Some(Proposed::Txn { committed: first, .. }) = self.pending.front() else { return 0 };
        let count = (committed.0 - first.zxid.0 + 1).max(0);
        // Zxids leap where an epoch begins.
        usize::try_from(count).unwrap_or(usize::MAX).min(self.pending.len())
    }
}

fn send_batch(batch: &mut Batch, lag: &mut Lag, out: &mut Vec<MemberOutput>) {
    if !batch.txns.is_empty() {
        lag.words += 1;
        out.push(MemberOutput::Broadcast(ToShard::Committed(Arc::new(std::mem::take(batch)))));
    }
}
