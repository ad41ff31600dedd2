//! The operator's settings: zoo.cfg, the dynamic configuration file, `-D` on the command line and in `SERVER_JVMFLAGS`
//! and `JVMFLAGS`, and what is assumed where nothing is said. `keys` holds every known key in one table; `load` reads,
//! decides which of two settings counts, and checks what belongs together.
//!
//! Precedence follows ZooKeeper 3.9, where each key of zoo.cfg that the server has no field for becomes the system
//! property `zookeeper.<key>` and thereby overrides a `-D` of that name. So: the file counts over the command line, the
//! command line over `JVMFLAGS`, that over `SERVER_JVMFLAGS`. The exception are the properties without the prefix
//! (`jute.maxbuffer`, `readonlymode.enabled`, `znode.container.*`): ZooKeeper cannot read them from a file at all; here the
//! file is read, but `-D` counts over it.
//!
//! Deliberately absent: no global state, no default that is made up elsewhere. The core gets plain numbers.

// Reads files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod error;
mod flags;
mod keys;
mod load;
mod properties;
mod servers;
#[cfg(test)]
mod tests;
mod value;

pub use error::{ConfigError, Place, Warning};
pub use servers::{PeerAddress, ServerLine};

use crate::ids::ServerId;
use crate::io::{Durability, IoChoice};
use crate::limits;
use crate::tree::image::Compression;
use crate::tree::permission::DigestAlgorithm;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What a start does when the digests in snapshots and log are not those of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigestMismatch {
    /// It ends.
    Refuse,
    /// It says so and goes on.
    Warn,
}

/// The default of `snapCount`.
pub const SNAP_COUNT: u64 = 100_000;

/// Everything the operator decides.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// `dataDir`: snapshots and `myid`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: the transaction log; `dataDir` unless set.
    pub data_log_dir: PathBuf,
    /// Where clients connect. `[::]` means every address of both families, only IPv4 on a
    /// machine without IPv6; port 0 lets the system choose one.
    pub client_address: SocketAddr,
    /// `clientPortListenBacklog`; -1: the system's maximum.
    pub listen_backlog: i32,
    /// `autopurge.snapRetainCount`: snapshots that stay, at least 3.
    pub snapshots_kept: usize,
    /// `autopurge.purgeInterval`, hours; 0 never removes anything. Ours is 1 unless set, ZooKeeper's is 0.
    pub purge_interval_hours: u32,
    /// `ringkeeper.shards`.
    pub shards: Shards,
    /// `ringkeeper.io`.
    pub io: IoChoice,
    /// `ringkeeper.pin`.
    pub pin: Pin,
    /// `ringkeeper.durability`; None: what a probe at start finds best.
    pub durability: Option<Durability>,
    /// `ringkeeper.digest.mismatch`.
    pub digest_mismatch: DigestMismatch,
    /// `standaloneEnabled`; false is refused.
    pub standalone_enabled: bool,
    /// `dynamicConfigFile`, which was read too.
    pub dynamic_file: Option<PathBuf>,
    /// `server.N` lines; at most one, which is then this server.
    pub servers: Vec<ServerLine>,
    /// What the member and the shards need.
    pub server: ServerSettings,
}

/// Settings of the member and the shards, plain numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerSettings {
    /// 1: the id of a standalone server. (`myid` counts in an ensemble only.)
    pub server_id: ServerId,
    /// `tickTime`, ms.
    pub tick_ms: u32,
    /// `minSessionTimeout`, ms; 2 ticks unless set.
    pub min_session_timeout_ms: i32,
    /// `maxSessionTimeout`, ms; 20 ticks unless set.
    pub max_session_timeout_ms: i32,
    /// `initLimit`, ticks; read by ensembles only.
    pub init_limit: u32,
    /// `syncLimit`, ticks; read by ensembles only.
    pub sync_limit: u32,
    /// `maxClientCnxns`, connections per address; 0 is without a limit.
    pub max_client_cnxns: u32,
    /// `maxCnxns`, connections; 0 is without a limit.
    pub max_cnxns: u32,
    /// `jute.maxbuffer`, bytes of the largest request.
    pub jute_max_buffer: u32,
    /// `extendedTypesEnabled`: TTL nodes.
    pub extended_types: Option<bool>,
    /// `emulate353TTLNodes`: owners of TTL nodes as in 3.5.3.
    pub emulate_353: bool,
    /// `digest.enabled`: the tree's digest in every transaction and snapshot.
    pub digest_enabled: bool,
    /// `enforceQuota`: a write over a hard quota fails.
    pub enforce_quota: bool,
    /// `skipACL`: everybody may do anything.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_auth_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`, `user:hash`; never printed.
    pub super_digest: Option<String>,
    /// `4lw.commands.whitelist`; None enables all.
    pub four_letter_words: Option<Vec<String>>,
    /// `znode.container.checkIntervalMs`, ms.
    pub container_check_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub containers_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`, ms; 0 keeps containers that never had a child.
    pub container_never_used_ms: i64,
    /// `globalOutstandingLimit`, requests in work.
    pub global_outstanding_limit: u32,
    /// `snapCount`, transactions between snapshots, at least 2.
    pub snap_count: u64,
    /// `snapSizeLimitInKb`, KiB of log between snapshots; 0 is without a limit.
    pub snap_size_limit_kb: u64,
    /// `txnLogSizeLimitInKb`, KiB of one log file; -1 is without a limit.
    pub txn_log_size_limit_kb: i64,
    /// `preAllocSize`, KiB by which log files grow.
    pub pre_alloc_kb: u64,
    /// `forceSync`: a write is answered once it is durable.
    pub force_sync: bool,
    /// `nio.sessionlessCnxnTimeout`, ms until a connection without a session is closed.
    pub sessionless_timeout_ms: u64,
    /// `enforce.auth.enabled`: sessions need an identity of one of the schemes below.
    pub enforce_auth: bool,
    /// `enforce.auth.schemes`.
    pub enforce_auth_schemes: Vec<String>,
    /// `snapshot.compression.method`.
    pub snapshot_compression: Compression,
    /// `closeSessionTxn.enabled`: the paths to delete are in the closeSession transaction.
    pub close_session_txn: bool,
    /// `serializeLastProcessedZxid.enabled`: snapshots end with their zxid.
    pub serialize_last_zxid: bool,
    /// `snapshot.trust.empty`: logs of Apache without the snapshot or log before them are fine.
    pub trust_empty_snapshot: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `fsync.warningthresholdms`, ms of a log write worth a warning.
    pub sync_warning_ms: u64,
    /// `readonlymode.enabled`; a standalone server never is read-only, but `isro` is then an enabled word.
    pub read_only_mode: bool,
    /// `throttled_op_wait_time`, ms; 0 is off.
    pub throttled_op_wait_ms: u32,
    /// `largeRequestThreshold`, bytes; -1 is off.
    pub large_request_threshold: i64,
    /// `largeRequestMaxBytes`, bytes of large requests in work.
    pub large_request_max_bytes: u64,
    /// `audit.enable`.
    pub audit_enabled: bool,
    /// `ringkeeper.inputBytesMax`, bytes of all requests not yet whole or not yet answered.
    pub input_bytes_max: u64,
    /// `ringkeeper.replyBytesMax`, bytes of one reply.
    pub reply_bytes_max: u64,
    /// `ringkeeper.outputBytesMax`, bytes of all replies and events that wait or are being sent.
    pub output_bytes_max: u64,
    /// `ringkeeper.watchBytesPerConnectionMax`.
    pub conn_watch_bytes_max: u64,
    /// `ringkeeper.watchBytesMax`.
    pub watch_bytes_max: u64,
}

/// How many shards to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shards {
    /// By the CPUs this process may use.
    Auto,
    /// So many.
    Count(u16),
}

/// Which CPUs the cores are bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pin {
    /// To those this process may use.
    Auto,
    /// To none.
    Off,
    /// To these, ascending.
    Cpus(Vec<usize>),
}

impl Config {
    /// Reads `path` (None: embedded defaults, loopback only), the `-D` settings of the command line, and those in the
    /// environment.
    pub fn load(
        path: Option<&Path>,
        defines: &[(String, String)],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        load::load(path, defines, env)
    }

    /// Every honoured key with the value that counts, in the form of a configuration file.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        keys::effective(self)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            data_dir: "./data".into(),
            data_log_dir: "./data".into(),
            client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 2181)),
            listen_backlog: -1,
            snapshots_kept: 3,
            purge_interval_hours: 1,
            shards: Shards::Auto,
            io: IoChoice::Auto,
            pin: Pin::Auto,
            durability: None,
            digest_mismatch: DigestMismatch::Refuse,
            standalone_enabled: true,
            dynamic_file: None,
            servers: Vec::new(),
            server: ServerSettings::default(),
        }
    }
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            server_id: ServerId(1),
            tick_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60_000,
            init_limit: 0,
            sync_limit: 0,
            max_client_cnxns: 60,
            max_cnxns: 0,
            jute_max_buffer: limits::JUTE_MAX_BUFFER as u32,
            extended_types: None,
            emulate_353: false,
            digest_enabled: true,
            enforce_quota: false,
            skip_acl: false,
            digest_auth_enabled: true,
            digest_algorithm: DigestAlgorithm::Sha1,
            super_digest: None,
            four_letter_words: Some(vec!["srvr".into()]),
            container_check_ms: 60_000,
            containers_per_minute: 10_000,
            container_never_used_ms: 0,
            global_outstanding_limit: 1000,
            snap_count: SNAP_COUNT,
            snap_size_limit_kb: 4 << 20,
            txn_log_size_limit_kb: -1,
            pre_alloc_kb: 64 << 10,
            force_sync: true,
            sessionless_timeout_ms: 10_000,
            enforce_auth: false,
            enforce_auth_schemes: Vec::new(),
            snapshot_compression: Compression::None,
            close_session_txn: true,
            serialize_last_zxid: true,
            trust_empty_snapshot: false,
            reconfig_enabled: false,
            sync_warning_ms: 1000,
            read_only_mode: false,
            throttled_op_wait_ms: 0,
            large_request_threshold: -1,
            large_request_max_bytes: 100 << 20,
            audit_enabled: false,
            input_bytes_max: limits::INPUT_BYTES_MAX as u64,
            reply_bytes_max: limits::REPLY_BYTES_MAX as u64,
            output_bytes_max: limits::OUTPUT_BYTES_MAX as u64,
            conn_watch_bytes_max: limits::CONN_WATCH_BYTES_MAX as u64,
            watch_bytes_max: limits::WATCH_BYTES_MAX as u64,
        }
    }
}
