//! What the operator decides about the member. The defaults are those of ZooKeeper 3.9.

use crate::ids::ServerId;
use crate::tree::OwnerRules;
use crate::tree::permission::DigestSettings;
use std::sync::Arc;

/// Settings of the member; the driver fills them from the configuration.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// `myid`; 1 when standalone. Marks session ids.
    pub server_id: ServerId,
    /// Shards of this process.
    pub shards: u16,
    /// `tickTime`: the width of a session expiry bucket.
    pub tick_ms: u64,
    /// Seed of the chance in snapshot intervals.
    pub seed: u64,
    /// How stored owners are read.
    pub owner_rules: OwnerRules,
    /// `digest.enabled`: transactions carry the tree's digest.
    pub digest_enabled: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `skipACL`: everybody may do anything.
    pub skip_acl: bool,
    /// Digest identities.
    pub digest: DigestSettings,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `closeSessionTxn.enabled`: closeSession transactions carry the paths they delete.
    pub close_session_paths: bool,
    /// `maxClientCnxns`; 0 is without a limit.
    pub connections_per_address_max: u32,
    /// `maxCnxns`; 0 is without a limit.
    pub connections_max: u32,
    /// `snapCount`; None for the default: see `Snapshots::on_txn`.
    pub snapshot_txns: Option<u64>,
    /// `snapSizeLimitInKb` in bytes; 0 is without a limit.
    pub snapshot_bytes: u64,
    /// `autopurge.snapRetainCount` if `autopurge.purgeInterval` is above 0; None never removes anything.
    pub snapshots_kept: Option<usize>,
    /// `znode.container.checkIntervalMs`.
    pub container_check_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub containers_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 never collects unused containers.
    pub container_never_used_ms: i64,
    /// Words that the slowest shard may have before it.
    pub words_max: usize,
    /// First line of srvr, stat and the value of `zk_version`.
    pub version: Arc<str>,
    /// The lines of `conf`, with `{data}` and `{log}` where the sizes go.
    pub configuration: Arc<str>,
}

impl Default for MemberSettings {
    fn default() -> MemberSettings {
        MemberSettings {
            server_id: ServerId(1),
            shards: 1,
            tick_ms: 3000,
            seed: 0,
            owner_rules: OwnerRules::default(),
            digest_enabled: true,
            enforce_quota: false,
            skip_acl: false,
            digest: DigestSettings::default(),
            reconfig_enabled: false,
            close_session_paths: true,
            connections_per_address_max: 60,
            connections_max: 0,
            snapshot_txns: None,
            snapshot_bytes: 4 << 30,
            snapshots_kept: None,
            container_check_ms: 60_000,
            containers_per_minute: 10_000,
            container_never_used_ms: 0,
            words_max: crate::limits::WORDS_MAX,
            version: Arc::from(concat!(env!("CARGO_PKG_VERSION"), "-ringkeeper")),
            configuration: Arc::from(""),
        }
    }
}
