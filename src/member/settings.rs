//! What the operator decides about the member. The defaults are those of ZooKeeper 3.9, where a field does not say otherwise.

use crate::ids::ServerId;
use crate::limits::{DESCRIPTORS_RESERVED, DESCRIPTORS_RESERVED_PER_CORE, LISTEN_BACKLOG};
use crate::mesh::Common;
use crate::tree::OwnerRules;
use std::sync::Arc;

/// Settings of the member, filled by the rows of `config/keys.rs`.
#[derive(Clone, PartialEq, Debug)]
pub struct MemberSettings {
    /// `myid`; 1 when standalone. Marks session ids.
    pub server_id: ServerId,
    /// Shards of this process.
    pub shards: u16,
    /// What the shards know too.
    pub common: Common,
    /// Seed of the chance in snapshot intervals; the driver draws it.
    pub seed: u64,
    /// How stored owners are read.
    pub owner_rules: OwnerRules,
    /// `digest.enabled`: transactions carry the tree's digest.
    pub digest_enabled: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `closeSessionTxn.enabled`: closeSession transactions carry the paths they delete.
    pub close_session_paths: bool,
    /// `maxClientCnxns`; 0 is without a limit.
    pub connections_per_address_max: u32,
    /// `maxCnxns`; 0 is without a limit.
    pub connections_max: u32,
    /// What the process may open, found by the driver.
    pub descriptors: Descriptors,
    /// `snapCount`, at least 2; None for [`SNAPSHOT_TXNS`]: see `Snapshots::on_txn`.
    pub snapshot_txns: Option<u64>,
    /// `snapSizeLimitInKb` in bytes; 0 is without a limit.
    pub snapshot_bytes: u64,
    /// `autopurge.snapRetainCount`: snapshots that stay.
    pub snapshots_kept: usize,
    /// `autopurge.purgeInterval`; 0 never removes anything, any other number does after each snapshot. ZooKeeper's is 0.
    pub purge_interval_hours: u32,
    /// `znode.container.checkIntervalMs`.
    pub container_check_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub containers_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 never collects unused containers.
    pub container_never_used_ms: i64,
    /// `fsync.warningthresholdms`: a write of the log that takes longer is told of.
    pub sync_warning_ms: u64,
    /// Words that the slowest shard may have before it.
    pub words_max: usize,
    /// Proposed and not yet told before no further requests are taken.
    pub outstanding_txns_max: usize,
    /// Bytes of it.
    pub outstanding_bytes_max: usize,
    /// First line of srvr, stat and the value of `zk_version`.
    pub version: Arc<str>,
    /// The lines of `conf`, with `{data}` and `{log}` where the sizes go.
    pub configuration: Arc<str>,
}

/// How many descriptors the process may have open, and how many of them connections leave to others.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Descriptors {
    /// `RLIMIT_NOFILE`; 0 is without a limit.
    pub open_max: u64,
    /// Not for connections.
    pub reserved: u64,
}

impl Descriptors {
    /// Of so many, half at most are kept back on this many cores.
    pub fn of(open_max: u64, cores: usize) -> Descriptors {
        let wanted =
            u64::from(DESCRIPTORS_RESERVED) + cores as u64 * u64::from(DESCRIPTORS_RESERVED_PER_CORE);
        Descriptors { open_max, reserved: wanted.min(open_max / 2) }
    }

    /// With so many open, half of what is kept for others is used up: by sockets of clients that are gone.
    pub fn is_short(&self, open: u64) -> bool {
        self.open_max > 0 && open + self.reserved / 2 >= self.open_max
    }

    /// So few connections are left that as many as wait in the kernel would be too many.
    pub fn is_near(&self, connections: u32) -> bool {
        self.open_max > 0 && connections.saturating_add(LISTEN_BACKLOG) >= self.connections_max()
    }

    /// How many connections there may be; 0 is without a limit.
    pub fn connections_max(&self) -> u32 {
        u32::try_from(self.open_max - self.reserved).unwrap_or(u32::MAX)
    }
}

/// Transactions between snapshots where nobody has set `snapCount`.
pub const SNAPSHOT_TXNS: u64 = 100_000;

impl Default for MemberSettings {
    fn default() -> MemberSettings {
        MemberSettings {
            server_id: ServerId(1),
            shards: 1,
            common: Common::default(),
            seed: 0,
            owner_rules: OwnerRules::default(),
            digest_enabled: true,
            enforce_quota: false,
            reconfig_enabled: false,
            close_session_paths: true,
            connections_per_address_max: 60,
            connections_max: 0,
            descriptors: Descriptors::default(),
            snapshot_txns: None,
            snapshot_bytes: 4 << 30,
            snapshots_kept: 3,
            purge_interval_hours: 1,
            container_check_ms: 60_000,
            containers_per_minute: 10_000,
            container_never_used_ms: 0,
            sync_warning_ms: 1000,
            words_max: crate::limits::WORDS_MAX,
            outstanding_txns_max: crate::limits::OUTSTANDING_TXNS_MAX,
            outstanding_bytes_max: crate::limits::OUTSTANDING_BYTES_MAX,
            version: Arc::from(concat!(env!("CARGO_PKG_VERSION"), "-ringkeeper")),
            configuration: Arc::from(""),
        }
    }
}
