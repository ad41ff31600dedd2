//! From a snapshot and the log after it to what a member starts with. The driver reads the bytes; what they mean is
//! decided here, for production and the simulator alike.

use super::RecoveredState;
use crate::ids::{SessionId, Zxid};
use crate::log::{LogStart, Recovered};
use crate::tree::{Effects, Store, Undo};
use crate::wire::txn::decode_entry;
use crate::wire::{Txn, TxnHeader};
use std::collections::BTreeMap;

/// A state on its way from a snapshot to the end of the log.
pub struct Restorer {
    store: Store,
    sessions: BTreeMap<SessionId, i32>,
    mismatches: u64,
}

impl Restorer {
    /// Begins at a snapshot, or at an empty server's state.
    pub fn new(store: Store, sessions: BTreeMap<SessionId, i32>) -> Restorer {
        Restorer { store, sessions, mismatches: 0 }
    }

    /// The next entry of the log. Our snapshots are a point in time, so what follows in the log must fit exactly.
    pub fn replay(&mut self, entry: &[u8]) -> Result<(), String> {
        let (header, txn, digest) = decode_entry(entry).map_err(|error| error.to_string())?;
        follow_session(&header, &txn, &mut self.sessions);
        let applied = self.store.apply(&header, &txn, &mut Effects::new(), &mut Undo::none());
        applied.map_err(|error| format!("it does not fit the data before it ({error:?})"))?;
        self.store.set_applied(header.zxid);
        if let (Some(digest), Some(ours)) = (digest, self.store.digest())
            && digest.tree as u64 != ours
        {
            self.mismatches += 1;
        }
        Ok(())
    }

    /// Entries that carry another digest than the tree had after them.
    pub fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// All entries are replayed. `snapshots`: what is on disk, ascending.
    pub fn finish(mut self, recovered: Recovered, log: LogStart, snapshots: Vec<Zxid>) -> RecoveredState {
        self.store.set_applied(recovered.last_zxid);
        RecoveredState {
            log,
            segments: recovered.segments,
            last_zxid: recovered.last_zxid,
            sessions: self.sessions.into_iter().collect(),
            snapshots,
            txns_since_snapshot: recovered.txns,
            store: self.store,
        }
    }
}

/// Sessions come and go with their transactions.
pub fn follow_session(header: &TxnHeader, txn: &Txn<'_>, sessions: &mut BTreeMap<SessionId, i32>) {
    match txn {
        Txn::CreateSession { timeout_ms } => {
            sessions.insert(header.session, *timeout_ms);
        }
        Txn::CloseSession { .. } => {
            sessions.remove(&header.session);
        }
        _ => {}
    }
}
