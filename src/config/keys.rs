//! Every key that ZooKeeper 3.9 knows, and our own, in one table: a key is honoured, refused when it asks for something
//! whose absence would be dangerous, or without effect for a stated reason. Anything else is a typing mistake.
//! Keys are named as in zoo.cfg, that is, without the prefix `zookeeper.` of the system property.

use super::Config;
use super::load::Draft;
use super::value::{self, Parsed, Show};

/// What a key does.
pub(super) enum Meaning {
    /// It is stored in the configuration.
    Honoured(&'static Setting),
    /// Nothing, for this reason.
    NoEffect(&'static str),
    /// This must not be asked for.
    Refused(&'static Refusal),
}

/// An honoured key.
pub(super) struct Setting {
    /// As in zoo.cfg.
    pub name: &'static str,
    set: fn(&mut Draft, &str) -> Parsed<()>,
    show: fn(&Config) -> String,
    /// Why the value that is stored does nothing yet.
    not_yet: Option<&'static str>,
}

/// A key that protects something this version cannot protect.
pub(super) struct Refusal {
    /// As in zoo.cfg.
    pub name: &'static str,
    /// True if the value asks for the protection.
    pub asks: fn(&str) -> Parsed<bool>,
    /// What it is about.
    pub what: &'static str,
}

impl Setting {
    /// Stores the value, or says what was expected.
    pub fn set(&self, draft: &mut Draft, value: &str) -> Parsed<()> {
        (self.set)(draft, value)
    }

    /// The value that counts.
    #[cfg(test)]
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Why the stored value does nothing yet.
    pub fn not_yet(&self) -> Option<&'static str> {
        self.not_yet
    }
}

/// What the key means; None: nobody knows it.
pub(super) fn find(name: &str) -> Option<Meaning> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
        return Some(Meaning::Honoured(setting));
    }
    if let Some(refusal) = REFUSED.iter().find(|refusal| refusal.name == name) {
        return Some(Meaning::Refused(refusal));
    }
    let all =
        || NO_EFFECT.iter().flat_map(|(names, reason)| names.iter().map(move |known| (*known, *reason)));
    let exact = all().find(|(known, _)| *known == name);
    let family =
        || all().find(|(known, _)| known.strip_suffix('*').is_some_and(|stem| name.starts_with(stem)));
    exact.or_else(family).map(|(_, reason)| Meaning::NoEffect(reason))
}

/// The known key that is spelt most alike, if it is alike enough to be meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let honoured = SETTINGS.iter().map(|setting| setting.name);
    let refused = REFUSED.iter().map(|refusal| refusal.name);
    let others = NO_EFFECT.iter().flat_map(|(names, _)| names.iter().copied());
    let known = honoured.chain(refused).chain(others).filter(|known| !known.ends_with('*'));
    let wanted = name.to_ascii_lowercase();
    let rated = known.map(|known| (distance(&wanted, &known.to_ascii_lowercase()), known));
    rated.min().filter(|(distance, known)| *distance <= 1 + known.len() / 5).map(|(_, known)| known)
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

macro_rules! field {
    ($name:literal, $($field:ident).+, $parse:expr) => { field!($name, $($field).+, $parse, None) };
    ($name:literal, $($field:ident).+, $parse:expr, $not_yet:expr) => {
        Setting {
            name: $name,
            set: |draft, text| {
                draft.config.$($field).+ = $parse(text)?;
                Ok(())
            },
            show: |config| config.$($field).+.show(),
            not_yet: $not_yet,
        }
    };
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const OWN_LOG: Option<&str> =
    Some("the log has a format of its own, with segments of the size of preAllocSize");
const NOT_WRITTEN: Option<&str> = Some("not written yet in this version");

static SETTINGS: &[Setting] = &[
    field!("dataDir", data_dir, value::folder),
    Setting {
        name: "dataLogDir",
        set: |draft, text| {
            draft.data_log_dir = Some(value::folder(text)?);
            Ok(())
        },
        show: |config| config.data_log_dir.show(),
        not_yet: None,
    },
    Setting {
        name: "clientPort",
        set: |draft, text| {
            draft.client_port = Some(value::decimal(text, 0, 65535)?);
            Ok(())
        },
        show: |config| config.client_address.port().show(),
        not_yet: None,
    },
    Setting {
        name: "clientPortAddress",
        set: |draft, text| {
            draft.client_host = Some(super::servers::resolve(text, 0)?.ip());
            Ok(())
        },
        show: |config| config.client_address.ip().to_string(),
        not_yet: None,
    },
    field!("clientPortListenBacklog", listen_backlog, |text| value::decimal(text, -INT, INT)),
    field!("tickTime", server.tick_ms, |text| value::decimal(text, 1, INT / 20)),
    Setting {
        name: "minSessionTimeout",
        set: |draft, text| {
            draft.min_session_timeout_ms = value::decimal(text, -1, INT)?;
            Ok(())
        },
        show: |config| config.server.min_session_timeout_ms.show(),
        not_yet: None,
    },
    Setting {
        name: "maxSessionTimeout",
        set: |draft, text| {
            draft.max_session_timeout_ms = value::decimal(text, -1, INT)?;
            Ok(())
        },
        show: |config| config.server.max_session_timeout_ms.show(),
        not_yet: None,
    },
    field!("initLimit", server.init_limit, |text| value::decimal(text, 0, INT)),
    field!("syncLimit", server.sync_limit, |text| value::decimal(text, 0, INT)),
    field!("maxClientCnxns", server.max_client_cnxns, |text| {
        value::decimal(text, -INT, INT).map(|count: i64| count.max(0) as u32)
    }),
    field!("maxCnxns", server.max_cnxns, |text| {
        value::integer(text, -INT, INT).map(|count: i64| count.max(0) as u32)
    }),
    field!("standaloneEnabled", standalone_enabled, value::boolean),
    field!("reconfigEnabled", server.reconfig_enabled, value::boolean),
    Setting {
        name: "dynamicConfigFile",
        set: |draft, text| {
            draft.dynamic_file = Some(value::folder(text).map_err(|_| "a file")?);
            Ok(())
        },
        show: |config| config.dynamic_file.as_ref().map_or(String::new(), Show::show),
        not_yet: None,
    },
    field!("autopurge.snapRetainCount", snapshots_kept, |text| value::decimal(text, -INT, INT)
        .map(|count: i64| count.max(0) as usize)),
    field!("autopurge.purgeInterval", purge_interval_hours, |text| {
        value::decimal(text, -INT, INT).map(|hours: i64| hours.max(0) as u32)
    }),
    field!("jute.maxbuffer", server.jute_max_buffer, |text| value::integer(text, 1024, JUTE_MAX_BUFFER_MAX)),
    Setting {
        name: "extendedTypesEnabled",
        set: |draft, text| {
            draft.config.server.extended_types = Some(value::boolean(text)?);
            Ok(())
        },
        // Not set is not the same as false: then TTL nodes of a folder that is taken over are not deleted unasked.
        show: |config| config.server.extended_types.map(|on| on.to_string()).unwrap_or_default(),
        not_yet: None,
    },
    field!("emulate353TTLNodes", server.emulate_353, value::boolean),
    field!("digest.enabled", server.digest_enabled, value::boolean),
    field!("enforceQuota", server.enforce_quota, value::boolean),
    Setting {
        name: "skipACL",
        set: |draft, text| {
            draft.config.server.skip_acl = value::yes_no(text)?;
            Ok(())
        },
        show: |config| value::show_yes_no(config.server.skip_acl),
        not_yet: None,
    },
    field!("DigestAuthenticationProvider.enabled", server.digest_auth_enabled, value::boolean),
    field!("DigestAuthenticationProvider.digestAlg", server.digest_algorithm, value::digest_algorithm),
    Setting {
        name: "DigestAuthenticationProvider.superDigest",
        set: |draft, text| {
            draft.config.server.super_digest = value::super_digest(text)?;
            Ok(())
        },
        show: |config| {
            if config.server.super_digest.is_some() { "(set, not shown)".into() } else { "".into() }
        },
        not_yet: None,
    },
    field!("4lw.commands.whitelist", server.four_letter_words, value::four_letter_words),
    field!("znode.container.checkIntervalMs", server.container_check_ms, |text| value::integer(text, 1, INT)),
    field!("znode.container.maxPerMinute", server.containers_per_minute, |text| value::integer(text, 1, INT)),
    field!("znode.container.maxNeverUsedIntervalMs", server.container_never_used_ms, |text| {
        value::integer(text, 0, LONG)
    }),
    field!("globalOutstandingLimit", server.global_outstanding_limit, |text| value::integer(text, 1, INT)),
    field!("snapCount", server.snap_count, |text| {
        value::integer(text, -INT, INT).map(|count: i64| count.max(2) as u64)
    }),
    field!("snapSizeLimitInKb", server.snap_size_limit_kb, |text| {
        value::integer(text, -LONG, LONG).map(|size: i64| size.max(0) as u64)
    }),
    field!(
        "txnLogSizeLimitInKb",
        server.txn_log_size_limit_kb,
        |text| { value::integer(text, -LONG, LONG).map(|size: i64| if size > 0 { size } else { -1 }) },
        OWN_LOG
    ),
    field!("preAllocSize", server.pre_alloc_kb, |text| value::integer(text, 1, 1 << 22)),
    Setting {
        name: "forceSync",
        set: |draft, text| {
            draft.config.server.force_sync = value::yes_no(text)?;
            Ok(())
        },
        show: |config| value::show_yes_no(config.server.force_sync),
        not_yet: None,
    },
    field!("nio.sessionlessCnxnTimeout", server.sessionless_timeout_ms, |text| value::integer(text, 1, INT)),
    field!("enforce.auth.enabled", server.enforce_auth, value::boolean),
    field!("enforce.auth.schemes", server.enforce_auth_schemes, |text| Parsed::Ok(value::words(text))),
    field!("snapshot.compression.method", server.snapshot_compression, value::compression),
    field!("closeSessionTxn.enabled", server.close_session_txn, value::boolean),
    field!("serializeLastProcessedZxid.enabled", server.serialize_last_zxid, value::boolean),
    field!("snapshot.trust.empty", server.trust_empty_snapshot, value::boolean),
    field!(
        "fsync.warningthresholdms",
        server.sync_warning_ms,
        |text| value::integer(text, 0, LONG),
        NOT_WRITTEN
    ),
    field!("readonlymode.enabled", server.read_only_mode, value::boolean),
    field!(
        "throttled_op_wait_time",
        server.throttled_op_wait_ms,
        |text| { value::integer(text, -INT, INT).map(|wait: i64| wait.max(0) as u32) },
        NOT_WRITTEN
    ),
    field!(
        "largeRequestThreshold",
        server.large_request_threshold,
        |text| value::integer(text, -1, INT),
        NOT_WRITTEN
    ),
    field!(
        "largeRequestMaxBytes",
        server.large_request_max_bytes,
        |text| value::integer(text, 1, INT),
        NOT_WRITTEN
    ),
    field!("audit.enable", server.audit_enabled, value::boolean, NOT_WRITTEN),
    field!("ringkeeper.inputBytesMax", server.input_bytes_max, |text| value::integer(text, 1 << 20, LONG)),
    field!("ringkeeper.replyBytesMax", server.reply_bytes_max, |text| value::integer(text, 1 << 20, INT)),
    field!("ringkeeper.outputBytesMax", server.output_bytes_max, |text| value::integer(text, 1 << 20, LONG)),
    field!("ringkeeper.watchBytesPerConnectionMax", server.conn_watch_bytes_max, |text| {
        value::integer(text, 1 << 10, LONG)
    }),
    field!("ringkeeper.watchBytesMax", server.watch_bytes_max, |text| value::integer(text, 1 << 20, LONG)),
    field!("ringkeeper.shards", shards, value::shards),
    field!("ringkeeper.io", io, value::io_choice),
    field!("ringkeeper.pin", pin, value::pin),
    field!("ringkeeper.durability", durability, value::durability),
    field!("ringkeeper.digest.mismatch", digest_mismatch, value::digest_mismatch),
];

/// Above this, one request could not be logged with the bounds in `limits`.
const JUTE_MAX_BUFFER_MAX: i64 = 1 << 28;

static REFUSED: &[Refusal] = &[Refusal {
    name: "sessionRequireClientSASLAuth",
    asks: value::boolean,
    what: "SASL, which sessionRequireClientSASLAuth demands of clients, is not supported yet by this version",
}];

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
const CLIENT_SIDE: &str = "is a setting of clients";

static NO_EFFECT: &[(&[&str], &str)] = &[
    (
        &[
            "observerMasterPort",
            "connectToLearnerMasterLimit",
            "electionAlg",
            "peerType",
            "syncEnabled",
            "observer.syncEnabled",
            "oraclePath",
            "quorumListenOnAllIPs",
            "sslQuorum",
            "portUnification",
            "sslQuorumReloadCertFiles",
            "quorum.auth.*",
            "quorum.auth.enableSasl",
            "quorum.cnxn.threads.size",
            "multiAddress.*",
            "group.*",
            "weight.*",
            "commitLogCount",
            "snapshotSizeFactor",
            "forceSnapshotSync",
            "leaderServes",
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
            "tcpKeepAlive",
            "messageTracker.*",
            "test.allowDiscontinuousProposals",
            "testingonly.initialZxid",
        ],
        NO_ENSEMBLE,
    ),
    (&["localSessionsEnabled", "localSessionsUpgradingEnabled"], NO_LOCAL_SESSIONS),
    (
        &[
            "jvm.pause.*",
            "jmx.*",
            "controllerPort",
            "log.*",
            "root.logger",
            "console.threshold",
            "tracelog.*",
            "logback.*",
        ],
        NO_JVM,
    ),
    (&["secureClientPort", "secureClientPortAddress"], NO_TLS_PORT),
    (&["client.portUnification"], NO_TLS_UNIFIED),
    (
        &[
            "ssl.*",
            "client.certReload",
            "netty.server.outstandingHandshake.limit",
            "netty.server.earlyDropSecureConnectionHandshakes",
            "fips-mode",
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
            "allowSaslFailedClients",
            "kerberos.*",
            "security.auth_to_local",
            "requireKerberosConfig",
            "kinit",
            "server.realm",
            "server.principal",
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
            "netty.advancedFlowControl.enabled",
            "maxResponseCacheSize",
            "maxGetChildrenResponseCacheSize",
            "commitProcessor.*",
            "watchManagerName",
            "watcherCleanThreadsNum",
            "watcherCleanThreshold",
            "watcherCleanIntervalInSeconds",
            "maxInProcessingDeadWatchers",
            "bitHashCacheSize",
            "datadir.autocreate",
            "db.autocreate",
        ],
        OTHER_DESIGN,
    ),
    (
        &[
            "request_throttle_max_requests",
            "request_throttle_stall_time",
            "request_throttle_drop_stale",
            "request_stale_connection_check",
            "request_stale_latency_check",
            "request_throttler.shutdownTimeout",
            "connection_throttle_*",
        ],
        ALWAYS_BOUNDED,
    ),
    (
        &[
            "metricsProvider.*",
            "metricsProvider.className",
            "clientTcpKeepAlive",
            "enableEagerACLCheck",
            "IPAuthenticationProvider.usexforwardedfor",
            "audit.impl.class",
            "pathStats.*",
        ],
        NOT_IN_THIS_VERSION,
    ),
    (&["admin.*", "admin.enableServer", "admin.serverPort"], NO_ADMIN),
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
        let honoured = SETTINGS.iter().map(|setting| setting.name);
        let refused = REFUSED.iter().map(|refusal| refusal.name);
        let others = NO_EFFECT.iter().flat_map(|(names, _)| names.iter().copied());
        for name in honoured.chain(refused).chain(others) {
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
