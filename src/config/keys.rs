//! Every key that ZooKeeper 3.9 knows, and our own, in one table: a key is honoured, refused when it asks for something
//! whose absence would be dangerous, or without effect for a stated reason. Anything else is a typing mistake.
//! Keys are named as in zoo.cfg, that is, without the prefix `zookeeper.` of the system property.

use super::Config;
use super::value::{self, Parsed, Show};

/// What a key does.
pub(super) enum Meaning {
    /// It is stored in the configuration.
    Honoured(&'static Setting),
    /// Nothing, for this reason.
    NoEffect(&'static str),
    /// Nothing, which matters only if its value asks for something.
    Idle(&'static Unmet),
    /// It must not ask for anything.
    Refused(&'static Unmet),
}

/// An honoured key.
pub(super) struct Setting {
    /// As in zoo.cfg.
    pub name: &'static str,
    set: fn(&mut Config, &str) -> Parsed<()>,
    show: fn(&Config) -> String,
}

/// A key that may ask for what this version does not have.
pub(super) struct Unmet {
    /// As in zoo.cfg.
    pub name: &'static str,
    asks: Asks,
    /// What is missing.
    pub reason: &'static str,
}

/// Which values ask for it.
enum Asks {
    /// This says so, or what was expected.
    By(fn(&str) -> Parsed<bool>),
    /// All but these.
    Unless(&'static [&'static str]),
}

impl Unmet {
    /// True if the value asks for it; an `Err` says what was expected.
    pub fn asks(&self, value: &str) -> Parsed<bool> {
        match self.asks {
            Asks::By(judge) => judge(value),
            Asks::Unless(what_is) => Ok(!what_is.iter().any(|known| known.eq_ignore_ascii_case(value))),
        }
    }
}

impl Setting {
    /// Stores the value, or says what was expected.
    pub fn set(&self, config: &mut Config, value: &str) -> Parsed<()> {
        (self.set)(config, value)
    }

    /// The value that counts.
    #[cfg(test)]
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }
}

/// What the key means; None: nobody knows it.
pub(super) fn find(name: &str) -> Option<Meaning> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
        return Some(Meaning::Honoured(setting));
    }
    if let Some(unmet) = REFUSED.iter().find(|unmet| unmet.name == name) {
        return Some(Meaning::Refused(unmet));
    }
    if let Some(unmet) = IDLE.iter().find(|unmet| unmet.name == name) {
        return Some(Meaning::Idle(unmet));
    }
    let all =
        || NO_EFFECT.iter().flat_map(|(names, reason)| names.iter().map(move |known| (*known, *reason)));
    let exact = all().find(|(known, _)| *known == name);
    let family =
        || all().find(|(known, _)| known.strip_suffix('*').is_some_and(|stem| name.starts_with(stem)));
    exact.or_else(family).map(|(_, reason)| Meaning::NoEffect(reason))
}

/// Every known key and, ending in `*`, family of keys.
fn names() -> impl Iterator<Item = &'static str> {
    let honoured = SETTINGS.iter().map(|setting| setting.name);
    let unmet = REFUSED.iter().chain(IDLE).map(|unmet| unmet.name);
    honoured.chain(unmet).chain(NO_EFFECT.iter().flat_map(|(names, _)| names.iter().copied()))
}

/// The known key that is spelt most alike, if it is alike enough to be meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    most_alike(name, names().filter(|known| !known.ends_with('*')), 1)
}

/// Of the known names the one that needs the fewest changes, but not more than `changes` and one for five characters.
pub(super) fn most_alike(
    name: &str,
    known: impl Iterator<Item = &'static str>,
    changes: usize,
) -> Option<&'static str> {
    let wanted = name.to_ascii_lowercase();
    let rated = known.map(|known| (distance(&wanted, &known.to_ascii_lowercase()), known));
    rated.min().filter(|(distance, known)| *distance <= changes + known.len() / 5).map(|(_, known)| known)
}

/// Insertions, removals and exchanges of characters between the two.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(KEY_CHARS_COMPARED).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// No known key is nearly as long; bounds the work that a nonsense file can cause.
const KEY_CHARS_COMPARED: usize = 200;

/// Read by ZooKeeper without the prefix `zookeeper.`, so from `-D` only.
pub(super) fn is_bare_property(name: &str) -> bool {
    matches!(name, "jute.maxbuffer" | "jute.maxbuffer.extrasize" | "readonlymode.enabled")
        || name.starts_with("znode.container.")
}

/// Every honoured key that has a value, with it.
pub(super) fn effective(config: &Config) -> Vec<(&'static str, String)> {
    let shown = SETTINGS.iter().map(|setting| (setting.name, (setting.show)(config)));
    shown.filter(|(_, value)| !value.is_empty()).collect()
}

/// The honoured keys.
#[cfg(test)]
pub(super) fn settings() -> &'static [Setting] {
    SETTINGS
}

/// A row: the key, its field, how the value is read, and how it is written unless as `Show` says.
macro_rules! row {
    ($name:literal, $($field:ident).+, $parse:expr) => { row!($name, $($field).+, $parse, Show::show) };
    ($name:literal, $($field:ident).+, $parse:expr, $show:expr) => {
        Setting {
            name: $name,
            set: |config, text| {
                config.$($field).+ = $parse(text)?;
                Ok(())
            },
            show: |config| $show(&config.$($field).+),
        }
    };
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
/// Above this, one request could not be logged with the bounds in `limits`.
const JUTE_MAX_BUFFER_MAX: i64 = 1 << 28;

static SETTINGS: &[Setting] = &[
    row!("dataDir", server.data_dir, value::folder),
    row!("dataLogDir", server.log_dir, value::folder),
    Setting {
        name: "clientPort",
        set: |config, text| {
            config.server.client_address.set_port(value::decimal(text, 0, 65535)?);
            Ok(())
        },
        show: |config| config.server.client_address.port().show(),
    },
    Setting {
        name: "clientPortAddress",
        set: |config, text| {
            let port = config.server.client_address.port();
            config.server.client_address = super::servers::resolve(text, port)?;
            Ok(())
        },
        show: |config| super::servers::host_of(config.server.client_address),
    },
    row!("clientPortListenBacklog", server.listen_backlog, |text| value::decimal(text, -INT, INT)),
    row!("tickTime", server.member.common.tick_ms, |text| value::decimal(text, 1, INT / 20)),
    row!("minSessionTimeout", server.shard.min_session_timeout_ms, |text| value::decimal(text, -1, INT)),
    row!("maxSessionTimeout", server.shard.max_session_timeout_ms, |text| value::decimal(text, -1, INT)),
    row!("initLimit", init_limit, |text| value::decimal(text, 0, INT)),
    row!("syncLimit", sync_limit, |text| value::decimal(text, 0, INT)),
    row!("maxClientCnxns", server.member.connections_per_address_max, |text| {
        value::decimal(text, -INT, INT).map(|count: i64| count.max(0) as u32)
    }),
    row!("maxCnxns", server.member.connections_max, |text| {
        value::integer(text, -INT, INT).map(|count: i64| count.max(0) as u32)
    }),
    row!("standaloneEnabled", standalone_enabled, value::boolean),
    row!("reconfigEnabled", server.member.reconfig_enabled, value::boolean),
    row!("dynamicConfigFile", dynamic_file, value::file),
    row!("autopurge.snapRetainCount", server.member.snapshots_kept, |text| {
        value::decimal(text, -INT, INT).map(|count: i64| count.max(0) as usize)
    }),
    row!("autopurge.purgeInterval", server.member.purge_interval_hours, |text| {
        value::decimal(text, -INT, INT).map(|hours: i64| hours.max(0) as u32)
    }),
    row!("jute.maxbuffer", server.shard.frame_bytes_max, |text| {
        value::integer(text, 1024, JUTE_MAX_BUFFER_MAX)
    }),
    Setting {
        name: "extendedTypesEnabled",
        set: |config, text| {
            config.server.member.owner_rules.extended_types = value::boolean(text)?;
            config.server.extended_types_given = true;
            Ok(())
        },
        // Not set is not the same as false: then TTL nodes of a folder that is taken over are not deleted unasked.
        show: |config| match config.server.extended_types_given {
            true => config.server.member.owner_rules.extended_types.show(),
            false => String::new(),
        },
    },
    row!("emulate353TTLNodes", server.member.owner_rules.emulate_353, value::boolean),
    row!("digest.enabled", server.member.digest_enabled, value::boolean),
    row!("enforceQuota", server.member.enforce_quota, value::boolean),
    row!("skipACL", server.member.common.skip_acl, value::yes_no, value::show_yes_no),
    row!("DigestAuthenticationProvider.enabled", server.member.common.digest.enabled, value::boolean),
    row!(
        "DigestAuthenticationProvider.digestAlg",
        server.member.common.digest.algorithm,
        value::digest_algorithm
    ),
    row!(
        "DigestAuthenticationProvider.superDigest",
        server.member.common.digest.super_digest,
        value::super_digest,
        value::show_secret
    ),
    row!("4lw.commands.whitelist", server.shard.four_letter_words, value::four_letter_words),
    row!("znode.container.checkIntervalMs", server.member.container_check_ms, |text| {
        value::integer(text, 1, INT)
    }),
    row!("znode.container.maxPerMinute", server.member.containers_per_minute, |text| {
        value::integer(text, 1, INT)
    }),
    row!("znode.container.maxNeverUsedIntervalMs", server.member.container_never_used_ms, |text| {
        value::integer(text, 0, LONG)
    }),
    row!("globalOutstandingLimit", server.shard.outstanding_max, |text| value::integer(text, 1, INT)),
    row!("snapCount", server.member.snapshot_txns, value::snap_count, value::show_snap_count),
    row!(
        "snapSizeLimitInKb",
        server.member.snapshot_bytes,
        |text| value::kib(text, -LONG, LONG),
        value::show_kib
    ),
    row!("preAllocSize", server.pre_alloc_bytes, |text| value::kib(text, 1, 1 << 22), value::show_kib),
    row!("forceSync", server.force_sync, value::yes_no, value::show_yes_no),
    row!("nio.sessionlessCnxnTimeout", server.shard.sessionless_timeout_ms, |text| {
        value::integer(text, 1, INT)
    }),
    row!("enforce.auth.enabled", server.shard.enforce_auth, value::boolean),
    row!("enforce.auth.schemes", server.shard.enforced_schemes, |text| Parsed::Ok(value::words(text))),
    row!("snapshot.compression.method", server.compression, value::compression),
    row!("closeSessionTxn.enabled", server.member.close_session_paths, value::boolean),
    row!("serializeLastProcessedZxid.enabled", server.image.last_zxid_section, value::boolean),
    row!("snapshot.trust.empty", server.trust_empty_snapshot, value::boolean),
    row!("fsync.warningthresholdms", server.member.sync_warning_ms, |text| value::integer(text, 0, LONG)),
    row!("readonlymode.enabled", read_only_mode, value::boolean),
    row!("ringkeeper.inputBytesMax", server.shard.input_bytes_max, |text| {
        value::integer(text, 1 << 20, LONG)
    }),
    row!("ringkeeper.replyBytesMax", server.shard.reply_bytes_max, |text| {
        value::integer(text, 1 << 20, INT)
    }),
    row!("ringkeeper.outputBytesMax", server.shard.output_bytes_max, |text| {
        value::integer(text, 1 << 20, LONG)
    }),
    row!("ringkeeper.watchBytesPerConnectionMax", server.shard.watch_bounds.conn_bytes_max, |text| {
        value::integer(text, 1 << 10, LONG)
    }),
    row!("ringkeeper.watchBytesMax", server.shard.watch_bounds.bytes_max, |text| {
        value::integer(text, 1 << 20, LONG)
    }),
    row!("ringkeeper.slowRequestMs", server.shard.slow_request_ms, |text| value::integer(text, 0, LONG)),
    row!("ringkeeper.shards", server.shards, value::shards),
    row!("ringkeeper.io", server.io, value::io_choice),
    row!("ringkeeper.scribe", server.scribe, value::scribe),
    row!("ringkeeper.pin", server.pin, value::pin),
    row!("ringkeeper.durability", server.durability, value::durability),
    row!("ringkeeper.digest.mismatch", server.on_digest_mismatch, value::digest_mismatch),
];

static REFUSED: &[Unmet] = &[Unmet {
    name: "sessionRequireClientSASLAuth",
    asks: Asks::By(value::boolean),
    reason: "SASL, which sessionRequireClientSASLAuth demands of clients, is not supported yet by this version",
}];

static IDLE: &[Unmet] = &[
    Unmet {
        name: "txnLogSizeLimitInKb",
        asks: Asks::By(|text| value::integer(text, -LONG, LONG).map(|size: i64| size > 0)),
        reason: "the log has a format of its own, with segments of the size of preAllocSize",
    },
    Unmet {
        name: "throttled_op_wait_time",
        asks: Asks::By(|text| value::integer(text, -INT, INT).map(|wait_ms: i64| wait_ms > 0)),
        reason: NOT_IN_THIS_VERSION,
    },
    Unmet {
        name: "largeRequestThreshold",
        asks: Asks::By(|text| value::integer(text, -1, INT).map(|bytes: i64| bytes > 0)),
        reason: NOT_IN_THIS_VERSION,
    },
    Unmet {
        name: "largeRequestMaxBytes",
        asks: Asks::By(|text| value::integer(text, 1, INT).map(|_: i64| true)),
        reason: NOT_IN_THIS_VERSION,
    },
    Unmet { name: "audit.enable", asks: Asks::By(value::boolean), reason: NOT_IN_THIS_VERSION },
    unless("admin.enableServer", &["false"], NO_ADMIN),
    unless("quorum.auth.enableSasl", &["false"], NO_ENSEMBLE),
    unless("quorum.auth.learnerRequireSasl", &["false"], NO_ENSEMBLE),
    unless("quorum.auth.serverRequireSasl", &["false"], NO_ENSEMBLE),
    unless("multiAddress.enabled", &["false"], NO_ENSEMBLE),
    unless("sslQuorum", &["false"], NO_ENSEMBLE),
    unless("portUnification", &["false"], NO_ENSEMBLE),
    unless("sslQuorumReloadCertFiles", &["false"], NO_ENSEMBLE),
    unless("quorumListenOnAllIPs", &["false"], NO_ENSEMBLE),
    unless("leaderServes", &["yes"], NO_ENSEMBLE),
    unless("peerType", &["participant"], NO_ENSEMBLE),
    unless("electionAlg", &["3"], NO_ENSEMBLE),
    unless("syncEnabled", &["true"], NO_ENSEMBLE),
    unless("tcpKeepAlive", &["false"], NO_ENSEMBLE),
    unless("localSessionsEnabled", &["false"], NO_LOCAL_SESSIONS),
    unless("localSessionsUpgradingEnabled", &["false"], NO_LOCAL_SESSIONS),
    unless("jvm.pause.monitor", &["false"], NO_JVM),
    unless("client.portUnification", &["false"], NO_TLS_UNIFIED),
    unless("client.certReload", &["false"], NO_TLS),
    unless("fips-mode", &["false"], NO_TLS),
    unless("allowSaslFailedClients", &["false"], NO_SASL),
    unless("netty.advancedFlowControl.enabled", &["false"], OTHER_DESIGN),
    unless("datadir.autocreate", &["true"], OTHER_DESIGN),
    unless("db.autocreate", &["true"], OTHER_DESIGN),
    unless("request_throttle_max_requests", &["0"], ALWAYS_BOUNDED),
    unless("connection_throttle_tokens", &["0"], ALWAYS_BOUNDED),
    unless("clientTcpKeepAlive", &["false"], NOT_IN_THIS_VERSION),
    unless("enableEagerACLCheck", &["false"], NOT_IN_THIS_VERSION),
    unless("IPAuthenticationProvider.usexforwardedfor", &["false"], NOT_IN_THIS_VERSION),
    unless(
        "metricsProvider.className",
        &[
            "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
            "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
        ],
        NOT_IN_THIS_VERSION,
    ),
];

/// Families whose settings ask for nothing where the switch is false.
pub(super) static SWITCHES: &[(&str, &str)] = &[
    ("admin.", "admin.enableServer"),
    ("quorum.auth.", "quorum.auth.enableSasl"),
    ("audit.", "audit.enable"),
    ("multiAddress.", "multiAddress.enabled"),
    ("ssl.quorum.", "sslQuorum"),
    ("jvm.pause.", "jvm.pause.monitor"),
];

/// A key with values that ask for what is here anyway, in any case of letters; any other asks for more.
const fn unless(name: &'static str, what_is: &'static [&'static str], reason: &'static str) -> Unmet {
    Unmet { name, asks: Asks::Unless(what_is), reason }
}

const NO_ENSEMBLE: &str = "concerns ensembles, which this version does not support yet";
const NO_JVM: &str = "concerns the Java virtual machine or its logging";
const NO_TLS: &str = "this version has no TLS";
const NO_TLS_PORT: &str = "this version has no TLS: NOTHING LISTENS ON THE SECURE PORT";
const NO_TLS_UNIFIED: &str = "this version has no TLS: ONLY PLAIN CONNECTIONS ARE SERVED";
const NO_SASL: &str = "there is no SASL; clients that insist on it are not let in, nodes that only a SASL identity may use stay closed";
const OTHER_DESIGN: &str = "tunes a part of ZooKeeper that has no counterpart here";
const NO_LOCAL_SESSIONS: &str = "every session of a standalone server is a global one";
const NO_ADMIN: &str = "there is no HTTP admin server; use the four-letter words";
const NOT_IN_THIS_VERSION: &str = "not written yet in this version";
const ALWAYS_BOUNDED: &str = "overload is bounded by other means: sockets are not read while queues are full";
const NO_AUTH_SCHEME: &str = "ZooKeeper 3.9 does not read it either: IT LETS IN ANYBODY; what demands a scheme of clients is \
     enforce.auth.enabled with enforce.auth.schemes";
const NOT_IN_APACHE: &str = "ZooKeeper 3.9 does not read it either";
const CLIENT_SIDE: &str = "is a setting of clients";

static NO_EFFECT: &[(&[&str], &str)] = &[
    (
        &[
            "observerMasterPort",
            "connectToLearnerMasterLimit",
            "observer.syncEnabled",
            "oraclePath",
            "quorum.auth.*",
            "quorum.cnxn.threads.size",
            "multiAddress.*",
            "group.*",
            "weight.*",
            "commitLogCount",
            "snapshotSizeFactor",
            "forceSnapshotSync",
            "leader.*",
            "follower.*",
            "learner.*",
            "leaderConnectDelayDuringRetryMs",
            "observer.*",
            "observerMaster.*",
            "forward_learner_requests_to_commit_processor_disabled",
            "cnxTimeout",
            "quorumCnxnTimeoutMs",
            "electionPortBindRetry",
            "fastleader.*",
            "messageTracker.*",
            "test.allowDiscontinuousProposals",
            "testingonly.initialZxid",
        ],
        NO_ENSEMBLE,
    ),
    (
        &[
            "jvm.pause.*",
            "jmx.*",
            "controllerPort",
            "log.*",
            "root.logger",
            "console.threshold",
            "tracelog.*",
            "traceFile",
            "requestTraceFile",
            "logback.*",
        ],
        NO_JVM,
    ),
    (&["secureClientPort", "secureClientPortAddress"], NO_TLS_PORT),
    (
        &[
            "ssl.*",
            "netty.server.outstandingHandshake.limit",
            "netty.server.earlyDropSecureConnectionHandshakes",
            "X509AuthenticationProvider.*",
        ],
        NO_TLS,
    ),
    (
        &[
            "sasl.*",
            "SASLAuthenticationProvider.*",
            "authProvider.*",
            "ensembleAuthName",
            "superUser",
            "superUser.*",
            "letAnySaslUserDoX",
            "kerberos.*",
            "security.auth_to_local",
            "requireKerberosConfig",
            "kinit",
            "server.realm",
            "server.principal",
            "jaasLoginRenew",
        ],
        NO_SASL,
    ),
    (
        &[
            "jute.maxbuffer.extrasize",
            "flushDelay",
            "maxWriteQueuePollTime",
            "maxBatchSize",
            "nio.numSelectorThreads",
            "nio.numWorkerThreads",
            "nio.directBufferBytes",
            "nio.shutdownTimeout",
            "intBufferStartingSizeBytes",
            "serverCnxnFactory",
            "maxResponseCacheSize",
            "maxGetChildrenResponseCacheSize",
            "commitProcessor.*",
            "watchManagerName",
            "watcherCleanThreadsNum",
            "watcherCleanThreshold",
            "watcherCleanIntervalInSeconds",
            "maxInProcessingDeadWatchers",
            "bitHashCacheSize",
        ],
        OTHER_DESIGN,
    ),
    (
        &[
            "request_throttle_stall_time",
            "request_throttle_drop_stale",
            "request_stale_connection_check",
            "request_stale_latency_check",
            "request_throttler.shutdownTimeout",
            "connection_throttle_*",
        ],
        ALWAYS_BOUNDED,
    ),
    (&["metricsProvider.*", "audit.impl.class", "pathStats.*"], NOT_IN_THIS_VERSION),
    (&["requireClientAuthScheme"], NO_AUTH_SCHEME),
    (&["serverCnxnSocket"], NOT_IN_APACHE),
    (&["admin.*", "admin.serverPort"], NO_ADMIN),
    (
        &[
            "request.timeout",
            "clientCnxnSocket",
            "client.secure",
            "disableAutoWatchReset",
            "sasl.client",
            "sasl.client.*",
            "sasl.clientconfig",
        ],
        CLIENT_SIDE,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_key_is_in_the_table_twice() {
        let mut seen = BTreeSet::new();
        for name in names() {
            assert!(seen.insert(name), "{name} is there twice");
        }
    }

    #[test]
    fn the_nearest_key() {
        assert_eq!(nearest("snapcount"), Some("snapCount"));
        assert_eq!(nearest("tickTme"), Some("tickTime"));
        assert_eq!(nearest("autopurge.purgeIntervall"), Some("autopurge.purgeInterval"));
        assert_eq!(nearest("4lw.command.whitelist"), Some("4lw.commands.whitelist"));
        assert_eq!(nearest("somethingElse"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn families() {
        assert!(matches!(find("metricsProvider.httpPort"), Some(Meaning::NoEffect(NOT_IN_THIS_VERSION))));
        assert!(matches!(find("sasl.client.username"), Some(Meaning::NoEffect(_))));
        assert!(find("nonsense").is_none());
    }
}
