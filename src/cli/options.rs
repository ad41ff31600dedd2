//! From the configuration to what the driver, the member and the shards take.

use crate::config::{Config, DigestMismatch, Pin, SNAP_COUNT, Shards};
use crate::ids::ShardId;
use crate::limits;
use crate::member::{MemberSettings, OnMismatch};
use crate::server::ServerOptions;
use crate::shard::ShardSettings;
use crate::shard::watches::Bounds;
use crate::tree::OwnerRules;
use crate::tree::image::ImageOptions;
use crate::tree::permission::DigestSettings;
use std::path::Path;

/// What scripts that ask for ZooKeeper's version are told: the version we stand in for comes first.
pub(super) const VERSION: &str = concat!(
    "3.9.5-ringkeeper-",
    env!("CARGO_PKG_VERSION"),
    "-",
    env!("RINGKEEPER_COMMIT"),
    ", built on ",
    env!("RINGKEEPER_DATE"),
    " UTC"
);

/// What `ringkeeper version` says.
pub(super) const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("RINGKEEPER_COMMIT"),
    ", ",
    env!("RINGKEEPER_DATE"),
    " UTC)"
);

/// Connections the kernel may hold before they are accepted; fan-in after a restart is large.
const LISTEN_BACKLOG: i32 = 4096;

pub(super) fn of(config: &Config) -> ServerOptions {
    let server = &config.server;
    let backlog = if config.listen_backlog <= 0 { LISTEN_BACKLOG } else { config.listen_backlog };
    // A transaction as large as a request may be must fit into one segment.
    let segment_bytes = (server.pre_alloc_kb << 10).max(4 * u64::from(server.jute_max_buffer));
    let (pin, cpus) = match &config.pin {
        Pin::Auto => (true, None),
        Pin::Off => (false, None),
        Pin::Cpus(cpus) => (true, Some(cpus.clone())),
    };
    ServerOptions {
        listen: vec![config.client_address],
        backlog,
        data_dir: config.data_dir.clone(),
        log_dir: config.data_log_dir.clone(),
        segment_bytes: segment_bytes.next_multiple_of(limits::LOG_BLOCK as u64),
        force_sync: server.force_sync,
        durability: config.durability,
        io: config.io,
        shards: match config.shards {
            Shards::Auto => None,
            Shards::Count(count) => Some(count),
        },
        pin,
        cpus,
        on_digest_mismatch: match config.digest_mismatch {
            DigestMismatch::Refuse => OnMismatch::Refuse,
            DigestMismatch::Warn => OnMismatch::Warn,
        },
        trust_empty_snapshot: server.trust_empty_snapshot,
        extended_types_given: server.extended_types.is_some(),
        image: ImageOptions { last_zxid_section: server.serialize_last_zxid, ..ImageOptions::default() },
        compression: server.snapshot_compression,
        member: member(config),
        shard: shard(config),
    }
}

fn member(config: &Config) -> MemberSettings {
    let server = &config.server;
    MemberSettings {
        server_id: server.server_id,
        tick_ms: u64::from(server.tick_ms),
        owner_rules: rules(config),
        digest_enabled: server.digest_enabled,
        enforce_quota: server.enforce_quota,
        skip_acl: server.skip_acl,
        digest: digest(config),
        reconfig_enabled: server.reconfig_enabled,
        close_session_paths: server.close_session_txn,
        connections_per_address_max: server.max_client_cnxns,
        connections_max: server.max_cnxns,
        snapshot_txns: (server.snap_count != SNAP_COUNT).then_some(server.snap_count),
        snapshot_bytes: server.snap_size_limit_kb << 10,
        snapshots_kept: (config.purge_interval_hours > 0).then_some(config.snapshots_kept),
        container_check_ms: server.container_check_ms,
        containers_per_minute: server.containers_per_minute,
        container_never_used_ms: server.container_never_used_ms,
        version: VERSION.into(),
        configuration: conf_text(config).into(),
        ..MemberSettings::default()
    }
}

fn shard(config: &Config) -> ShardSettings {
    let server = &config.server;
    ShardSettings {
        shard: ShardId(0),
        // The server draws its own.
        hash_seed: 0,
        rules: rules(config),
        tick_ms: u64::from(server.tick_ms),
        min_session_timeout_ms: server.min_session_timeout_ms,
        max_session_timeout_ms: server.max_session_timeout_ms,
        frame_bytes_max: server.jute_max_buffer as usize,
        skip_acl: server.skip_acl,
        digest: digest(config),
        four_letter_words: server.four_letter_words.clone(),
        sessionless_timeout_ms: server.sessionless_timeout_ms,
        enforced_schemes: server.enforce_auth.then(|| server.enforce_auth_schemes.clone()),
        outstanding_max: server.global_outstanding_limit as usize,
        input_bytes_max: server.input_bytes_max as usize,
        reply_bytes_max: server.reply_bytes_max as usize,
        output_bytes_max: server.output_bytes_max as usize,
        watch_bounds: Bounds {
            conn_bytes_max: server.conn_watch_bytes_max as usize,
            bytes_max: server.watch_bytes_max as usize,
        },
        environment: environment(),
    }
}

fn rules(config: &Config) -> OwnerRules {
    OwnerRules {
        extended_types: config.server.extended_types.unwrap_or(false),
        emulate_353: config.server.emulate_353,
    }
}

fn digest(config: &Config) -> DigestSettings {
    DigestSettings {
        enabled: config.server.digest_auth_enabled,
        algorithm: config.server.digest_algorithm,
        super_digest: config.server.super_digest.as_deref().map(Into::into),
    }
}

/// The answer to `conf`; `{data}` and `{log}` stand for the sizes.
fn conf_text(config: &Config) -> String {
    let absolute =
        |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string();
    format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}/version-2\ndataDirSize={{data}}\ndataLogDir={}/version-2\n\
         dataLogSize={{log}}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
         clientPortListenBacklog={}\nserverId=0\n",
        config.client_address.port(),
        absolute(&config.data_dir),
        absolute(&config.data_log_dir),
        config.server.tick_ms,
        config.server.max_client_cnxns,
        config.server.min_session_timeout_ms,
        config.server.max_session_timeout_ms,
        config.listen_backlog,
    )
}

/// The answer to `envi`. What a Java virtual machine would say has no value here, but the keys are there.
fn environment() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let unknown = || "<NA>".to_string();
    let lines = [
        ("zookeeper.version", VERSION.to_string()),
        ("host.name", host.trim().to_string()),
        ("java.version", unknown()),
        ("java.vendor", unknown()),
        ("java.home", unknown()),
        ("java.class.path", unknown()),
        ("java.library.path", unknown()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", unknown()),
        ("os.name", "Linux".into()),
        ("os.arch", std::env::consts::ARCH.into()),
        ("os.version", crate::io::process::kernel_release()),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", folder),
        ("os.memory.free", "0MB".into()),
        ("os.memory.max", "0MB".into()),
        ("os.memory.total", "0MB".into()),
    ];
    let lines = lines.map(|(key, value)| format!("{key}={value}\n"));
    format!("Environment:\n{}", lines.concat())
}
