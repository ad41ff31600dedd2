//! What the configuration says of the quorum port, the same for who leads and who learns; and what both keep on disk.

use crate::ids::{Epoch, ServerId};

/// Timers in ticks and bounds.
#[derive(Clone, Debug)]
pub struct QuorumSettings {
    /// `myid`.
    pub me: ServerId,
    /// `tickTime`.
    pub tick_ms: u64,
    /// `initLimit`: ticks for each wait until a learner is synchronised.
    pub init_limit: u64,
    /// `syncLimit`: ticks without a word afterwards.
    pub sync_limit: u64,
    /// `connectToLearnerMasterLimit`: ticks to connect; 0: `initLimit`.
    pub connect_limit: u64,
    /// Bytes of a packet's data: `jute.maxbuffer` and what a transaction has beyond its request.
    pub data_bytes_max: usize,
    /// `reconfigEnabled`.
    pub is_reconfig_enabled: bool,
    /// `snapshotSizeFactor` is not negative: learners are brought up to date from the log on disk, too.
    pub is_disk_used: bool,
    /// `leader.maxTimeToWaitForEpoch`: an elected leader that a voter leaves after this waits no longer for a quorum.
    pub epoch_wait_max_ms: Option<u64>,
    /// A sync is answered only after a quorum has said, later than it came, that it still follows.
    pub is_sync_confirmed: bool,
}

impl QuorumSettings {
    /// `initLimit` in ms.
    pub fn init_ms(&self) -> u64 {
        self.tick_ms * self.init_limit
    }

    /// `syncLimit` in ms.
    pub fn sync_ms(&self) -> u64 {
        self.tick_ms * self.sync_limit
    }

    /// How long a learner tries to connect.
    pub fn connect_ms(&self) -> u64 {
        self.tick_ms * if self.connect_limit > 0 { self.connect_limit } else { self.init_limit }
    }
}

/// The two epochs on disk. Invariant: `current <= accepted`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epochs {
    /// No leader of an earlier one is followed any more.
    pub accepted: Epoch,
    /// The leader of this one has brought the log to where its own was.
    pub current: Epoch,
}

impl Epochs {
    /// Asserts what always holds.
    pub fn check(&self) {
        assert!(self.current <= self.accepted, "{self:?}");
    }
}
