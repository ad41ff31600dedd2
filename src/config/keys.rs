//! Every setting of ZooKeeper 3.9 and our own, and what becomes of it here.

/// What a key means to this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Used.
    Honoured,
    /// Accepted, named in one warning with the reason.
    NoEffect(&'static str),
    /// Asks for something this version lacks and that must not be left out silently: the start is refused.
    Refused(&'static str),
}

use Meaning::{Honoured, NoEffect, Refused};

const ENSEMBLE: &str = "concerns ensembles, which this version does not have";
const THREADS: &str = "there are no such threads or queues here: one thread per core does all of it";
const JVM: &str = "there is no JVM";
const ADMIN: &str = "this version has no admin server over HTTP";
const THROTTLE: &str = "back-pressure is built in: a socket is not read while its requests cannot be taken";
const TLS: &str = "this version has no TLS";
const SASL: &str = "this version has no SASL";
const SYNCED: &str = "every turn of the loop commits what has arrived; there is nothing to tune";

/// The table: names as in zoo.cfg; system properties without their `zookeeper.` prefix.
pub const KEYS: &[(&str, Meaning)] = &[
    ("dataDir", Honoured),
    ("dataLogDir", Honoured),
    ("clientPort", Honoured),
    ("clientPortAddress", Honoured),
    ("clientPortListenBacklog", Honoured),
    ("tickTime", Honoured),
    ("maxClientCnxns", Honoured),
    ("maxCnxns", Honoured),
    ("minSessionTimeout", Honoured),
    ("maxSessionTimeout", Honoured),
    ("standaloneEnabled", Honoured),
    ("reconfigEnabled", Honoured),
    ("dynamicConfigFile", Honoured),
    ("autopurge.snapRetainCount", Honoured),
    ("autopurge.purgeInterval", Honoured),
    ("4lw.commands.whitelist", Honoured),
    ("jute.maxbuffer", Honoured),
    ("jute.maxbuffer.extrasize", Honoured),
    ("znode.container.checkIntervalMs", Honoured),
    ("znode.container.maxPerMinute", Honoured),
    ("znode.container.maxNeverUsedIntervalMs", Honoured),
    ("globalOutstandingLimit", Honoured),
    ("preAllocSize", Honoured),
    ("snapCount", Honoured),
    ("snapSizeLimitInKb", Honoured),
    ("forceSync", Honoured),
    ("snapshot.compression.method", Honoured),
    ("digest.enabled", Honoured),
    ("serializeLastProcessedZxid.enabled", Honoured),
    ("closeSessionTxn.enabled", Honoured),
    ("nio.sessionlessCnxnTimeout", Honoured),
    ("enforceQuota", Honoured),
    ("skipACL", Honoured),
    ("extendedTypesEnabled", Honoured),
    ("emulate353TTLNodes", Honoured),
    ("DigestAuthenticationProvider.enabled", Honoured),
    ("DigestAuthenticationProvider.superDigest", Honoured),
    ("DigestAuthenticationProvider.digestAlg", Honoured),
    ("enforce.auth.enabled", Honoured),
    ("enforce.auth.schemes", Honoured),
    ("ringkeeper.shards", Honoured),
    ("ringkeeper.io", Honoured),
    ("ringkeeper.pin", Honoured),
    ("ringkeeper.durability", Honoured),
    ("secureClientPort", NoEffect("this version has no TLS: nothing listens there")),
    ("secureClientPortAddress", NoEffect(TLS)),
    ("client.portUnification", NoEffect("this version has no TLS: only plain connections are served")),
    ("sslQuorum", NoEffect(ENSEMBLE)),
    ("sessionRequireClientSASLAuth", Refused(SASL)),
    ("quorum.auth.enableSasl", NoEffect(ENSEMBLE)),
    ("observerMasterPort", NoEffect(ENSEMBLE)),
    ("initLimit", NoEffect(ENSEMBLE)),
    ("syncLimit", NoEffect(ENSEMBLE)),
    ("connectToLearnerMasterLimit", NoEffect(ENSEMBLE)),
    ("electionAlg", NoEffect(ENSEMBLE)),
    ("peerType", NoEffect(ENSEMBLE)),
    ("syncEnabled", NoEffect(ENSEMBLE)),
    ("oraclePath", NoEffect(ENSEMBLE)),
    ("quorumListenOnAllIPs", NoEffect(ENSEMBLE)),
    ("localSessionsEnabled", NoEffect("a standalone server has global sessions only")),
    ("localSessionsUpgradingEnabled", NoEffect("a standalone server has global sessions only")),
    ("portUnification", NoEffect(TLS)),
    ("sslQuorumReloadCertFiles", NoEffect(TLS)),
    ("client.certReload", NoEffect(TLS)),
    ("fips-mode", NoEffect(TLS)),
    ("quorum.auth.serverRequireSasl", NoEffect(SASL)),
    ("quorum.auth.learnerRequireSasl", NoEffect(SASL)),
    ("quorum.auth.learner.saslLoginContext", NoEffect(SASL)),
    ("quorum.auth.server.saslLoginContext", NoEffect(SASL)),
    ("quorum.auth.kerberos.servicePrincipal", NoEffect(SASL)),
    ("quorum.cnxn.threads.size", NoEffect(ENSEMBLE)),
    ("jvm.pause.monitor", NoEffect(JVM)),
    ("jvm.pause.info-threshold.ms", NoEffect(JVM)),
    ("jvm.pause.warn-threshold.ms", NoEffect(JVM)),
    ("jvm.pause.sleep.time.ms", NoEffect(JVM)),
    (
        "metricsProvider.className",
        NoEffect("this version gives its metrics by the four-letter word mntr only"),
    ),
    ("multiAddress.enabled", NoEffect(ENSEMBLE)),
    ("multiAddress.reachabilityCheckTimeoutMs", NoEffect(ENSEMBLE)),
    ("multiAddress.reachabilityCheckEnabled", NoEffect(ENSEMBLE)),
    ("readonlymode.enabled", NoEffect("a standalone server is never without a quorum")),
    ("leader.nodelay", NoEffect(ENSEMBLE)),
    ("follower.nodelay", NoEffect(ENSEMBLE)),
    ("fsync.warningthresholdms", NoEffect("slow writes are not reported by this version")),
    ("txnLogSizeLimitInKb", NoEffect("log segments have a fixed size (preAllocSize)")),
    ("commitLogCount", NoEffect(ENSEMBLE)),
    ("snapshotSizeFactor", NoEffect(ENSEMBLE)),
    ("flushDelay", NoEffect(SYNCED)),
    ("maxWriteQueuePollTime", NoEffect(SYNCED)),
    ("maxBatchSize", NoEffect(SYNCED)),
    ("snapshot.trust.empty", NoEffect("a log without a snapshot is read from its beginning")),
    ("datadir.autocreate", NoEffect("missing folders are always created")),
    ("db.autocreate", NoEffect(ENSEMBLE)),
    ("forceSnapshotSync", NoEffect(ENSEMBLE)),
    ("nio.numSelectorThreads", NoEffect(THREADS)),
    ("nio.numWorkerThreads", NoEffect(THREADS)),
    ("nio.directBufferBytes", NoEffect(THREADS)),
    ("nio.shutdownTimeout", NoEffect(THREADS)),
    ("intBufferStartingSizeBytes", NoEffect(JVM)),
    ("serverCnxnFactory", NoEffect(JVM)),
    ("netty.advancedFlowControl.enabled", NoEffect(JVM)),
    ("netty.server.outstandingHandshake.limit", NoEffect(TLS)),
    ("netty.server.earlyDropSecureConnectionHandshakes", NoEffect(TLS)),
    ("clientTcpKeepAlive", NoEffect("dead clients are found by their session timeout")),
    ("tcpKeepAlive", NoEffect(ENSEMBLE)),
    ("maxResponseCacheSize", NoEffect("replies are built faster than they are looked up")),
    ("maxGetChildrenResponseCacheSize", NoEffect("replies are built faster than they are looked up")),
    ("commitProcessor.numWorkerThreads", NoEffect(THREADS)),
    ("commitProcessor.maxReadBatchSize", NoEffect(THREADS)),
    ("commitProcessor.maxCommitBatchSize", NoEffect(THREADS)),
    ("commitProcessor.shutdownTimeout", NoEffect(THREADS)),
    ("request_throttle_max_requests", NoEffect(THROTTLE)),
    ("request_throttle_stall_time", NoEffect(THROTTLE)),
    ("request_throttle_drop_stale", NoEffect(THROTTLE)),
    ("request_stale_connection_check", NoEffect(THROTTLE)),
    ("request_stale_latency_check", NoEffect(THROTTLE)),
    ("request_throttler.shutdownTimeout", NoEffect(THROTTLE)),
    ("throttled_op_wait_time", NoEffect(THROTTLE)),
    ("largeRequestThreshold", NoEffect(THROTTLE)),
    ("largeRequestMaxBytes", NoEffect(THROTTLE)),
    ("connection_throttle_tokens", NoEffect(THROTTLE)),
    ("connection_throttle_fill_time", NoEffect(THROTTLE)),
    ("connection_throttle_fill_count", NoEffect(THROTTLE)),
    ("connection_throttle_freeze_time", NoEffect(THROTTLE)),
    ("connection_throttle_drop_increase", NoEffect(THROTTLE)),
    ("connection_throttle_drop_decrease", NoEffect(THROTTLE)),
    ("connection_throttle_decrease_ratio", NoEffect(THROTTLE)),
    ("connection_throttle_weight_enabled", NoEffect(THROTTLE)),
    ("connection_throttle_global_session_weight", NoEffect(THROTTLE)),
    ("connection_throttle_local_session_weight", NoEffect(THROTTLE)),
    ("connection_throttle_renew_session_weight", NoEffect(THROTTLE)),
    ("watchManagerName", NoEffect("there is one watch manager, with every kind of watch")),
    ("watcherCleanThreadsNum", NoEffect(THREADS)),
    ("watcherCleanThreshold", NoEffect(THREADS)),
    ("watcherCleanIntervalInSeconds", NoEffect(THREADS)),
    ("maxInProcessingDeadWatchers", NoEffect(THREADS)),
    ("bitHashCacheSize", NoEffect(THREADS)),
    ("leaderServes", NoEffect(ENSEMBLE)),
    ("leader.ackLoggingFrequency", NoEffect(ENSEMBLE)),
    ("leader.maxTimeToWaitForEpoch", NoEffect(ENSEMBLE)),
    ("leader.maxConcurrentSnapSyncs", NoEffect(ENSEMBLE)),
    ("leader.maxConcurrentDiffSyncs", NoEffect(ENSEMBLE)),
    ("leader.closeSocketAsync", NoEffect(ENSEMBLE)),
    ("learner.asyncSending", NoEffect(ENSEMBLE)),
    ("learner.closeSocketAsync", NoEffect(ENSEMBLE)),
    ("leaderConnectDelayDuringRetryMs", NoEffect(ENSEMBLE)),
    ("observer.reconnectDelayMs", NoEffect(ENSEMBLE)),
    ("observer.election.DelayMs", NoEffect(ENSEMBLE)),
    ("observer.syncEnabled", NoEffect(ENSEMBLE)),
    ("observerMaster.sizeLimit", NoEffect(ENSEMBLE)),
    ("follower.skipLearnerRequestToNextProcessor", NoEffect(ENSEMBLE)),
    ("forward_learner_requests_to_commit_processor_disabled", NoEffect(ENSEMBLE)),
    ("cnxTimeout", NoEffect(ENSEMBLE)),
    ("quorumCnxnTimeoutMs", NoEffect(ENSEMBLE)),
    ("electionPortBindRetry", NoEffect(ENSEMBLE)),
    ("fastleader.minNotificationInterval", NoEffect(ENSEMBLE)),
    ("fastleader.maxNotificationInterval", NoEffect(ENSEMBLE)),
    ("enableEagerACLCheck", NoEffect("a standalone server checks every ACL in order anyway")),
    ("IPAuthenticationProvider.usexforwardedfor", NoEffect(ADMIN)),
    ("X509AuthenticationProvider.superUser", NoEffect(TLS)),
    ("superUser", NoEffect(SASL)),
    ("SASLAuthenticationProvider.superPassword", NoEffect(SASL)),
    ("letAnySaslUserDoX", NoEffect(SASL)),
    ("ensembleAuthName", NoEffect("this version has no such authentication provider")),
    ("allowSaslFailedClients", NoEffect(SASL)),
    ("requireKerberosConfig", NoEffect(SASL)),
    ("audit.enable", NoEffect("this version has no audit log")),
    ("audit.impl.class", NoEffect("this version has no audit log")),
    ("pathStats.enabled", NoEffect("this version keeps no statistics per path")),
    ("messageTracker.Enabled", NoEffect(ENSEMBLE)),
    ("messageTracker.BufferSize", NoEffect(ENSEMBLE)),
    ("jmx.log4j.disable", NoEffect(JVM)),
    ("jmx.log4j.mbean", NoEffect(JVM)),
    ("controllerPort", NoEffect("this version has no fault injection over HTTP")),
    ("testingonly.initialZxid", NoEffect("a test hook of ZooKeeper itself")),
    ("test.allowDiscontinuousProposals", NoEffect("a test hook of ZooKeeper itself")),
];

/// Families of keys with a name of their own behind the prefix.
pub const FAMILIES: &[(&str, Meaning)] = &[
    ("server.", Honoured),
    ("group.", Refused(ENSEMBLE)),
    ("weight.", Refused(ENSEMBLE)),
    ("authProvider.", NoEffect("this version has the providers world, auth, digest and ip only")),
    ("metricsProvider.", NoEffect("this version gives its metrics by the four-letter word mntr only")),
    ("admin.", NoEffect(ADMIN)),
    ("ssl.", NoEffect(TLS)),
    ("sasl.", NoEffect(SASL)),
    ("kerberos.", NoEffect(SASL)),
    ("security.", NoEffect(SASL)),
    ("pathStats.", NoEffect("this version keeps no statistics per path")),
    ("superUser.", NoEffect(SASL)),
];

/// The meaning of a key, if it is known.
pub fn meaning(key: &str) -> Option<Meaning> {
    let exact = KEYS.iter().find(|(known, _)| *known == key);
    exact.or_else(|| FAMILIES.iter().find(|(prefix, _)| key.starts_with(prefix))).map(|(_, meaning)| *meaning)
}

/// The known key that looks most like this one.
pub fn nearest(key: &str) -> &'static str {
    let lower = key.to_lowercase();
    let nearest =
        KEYS.iter().map(|(known, _)| *known).min_by_key(|known| distance(&lower, &known.to_lowercase()));
    nearest.expect("the table is not empty")
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_near_what_was_meant() {
        assert_eq!(nearest("maxClientConns"), "maxClientCnxns");
        assert_eq!(nearest("ticktime"), "tickTime");
        assert_eq!(meaning("server.1"), Some(Honoured));
        assert_eq!(meaning("nonsense"), None);
    }
}
