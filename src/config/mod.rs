//! What the operator decides: an unmodified zoo.cfg, system properties (`-Dname=value`, SERVER_JVMFLAGS, JVMFLAGS), or
//! embedded defaults. Every setting of ZooKeeper 3.9 is either used, or named with the reason why it has no effect;
//! a value that makes no sense stops the start with file, line, key and what was expected.
//!
//! As in ZooKeeper, a key in zoo.cfg wins over the system property of the same name.

mod keys;
mod properties;

use crate::ids::{ServerId, ShardId};
use crate::io::{Durability, IoChoice};
use crate::member::MemberSettings;
use crate::server::ServerOptions;
use crate::shard::ShardSettings;
use crate::tree::OwnerRules;
use crate::tree::image::{Compression, ImageOptions};
use crate::tree::permission::{DigestAlgorithm, DigestSettings};
use keys::Meaning;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// A setting that stops the start.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {key}: {problem}")]
pub struct ConfigError {
    /// File and line, or the property's source.
    pub place: String,
    /// Which setting.
    pub key: String,
    /// What was expected and found.
    pub problem: String,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    File(PathBuf, usize),
    Property,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Source::Property => write!(f, "system property"),
        }
    }
}

/// What was asked for, and what has to be said about it.
pub struct Loaded {
    /// For the server.
    pub options: ServerOptions,
    /// One per line in the log.
    pub warnings: Vec<String>,
    /// Every setting that differs from its default, for `--check`.
    pub settings: Vec<(String, String)>,
}

/// How the server was called.
pub enum Invocation {
    /// Embedded defaults: loopback only, data below the current folder.
    Defaults,
    /// A zoo.cfg.
    File(PathBuf),
    /// Apache's positional form: port and dataDir.
    PortAndDir(u16, PathBuf),
}

/// Reads everything there is. `flags` are the contents of SERVER_JVMFLAGS and JVMFLAGS.
pub fn load(invocation: &Invocation, defines: &[String], flags: &[String]) -> Result<Loaded, ConfigError> {
    let mut values = Values::default();
    for flag in flags.iter().flat_map(|flags| flags.split_whitespace()) {
        if let Some(define) = flag.trim_matches(['"', '\'']).strip_prefix("-D") {
            values.define(define);
        }
    }
    defines.iter().for_each(|define| values.define(define));
    match invocation {
        Invocation::Defaults => {
            values.set("dataDir", "data", Source::Property);
            values.set_default("clientPort", "2181");
            values.set_default("clientPortAddress", "127.0.0.1");
        }
        Invocation::PortAndDir(port, folder) => {
            values.set("clientPort", &port.to_string(), Source::Property);
            values.set("dataDir", &folder.to_string_lossy(), Source::Property);
        }
        Invocation::File(path) => values.read_file(path)?,
    }
    values.judge()?;
    let options = build(&mut values)?;
    let settings = values.found.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect();
    Ok(Loaded { options, warnings: values.warnings, settings })
}

/// Keys without `zookeeper.`, their values and sources.
#[derive(Default)]
struct Values {
    found: BTreeMap<String, (String, Source)>,
    warnings: Vec<String>,
}

impl Values {
    fn set(&mut self, key: &str, value: &str, source: Source) {
        self.found.insert(key.into(), (value.trim().into(), source));
    }

    fn set_default(&mut self, key: &str, value: &str) {
        if !self.found.contains_key(key) {
            self.set(key, value, Source::Property);
        }
    }

    /// `name=value` of a -D. Properties that are not ZooKeeper's (log4j, java.*) are none of our business.
    fn define(&mut self, define: &str) {
        let (name, value) = define.split_once('=').unwrap_or((define, ""));
        let key = name.strip_prefix("zookeeper.").unwrap_or(name);
        if name.starts_with("zookeeper.") || keys::meaning(key).is_some() {
            self.set(key, value, Source::Property);
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let fail =
            |problem: String| ConfigError { place: path.display().to_string(), key: "file".into(), problem };
        let text = std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        for property in properties::parse(&String::from_utf8_lossy(&text)) {
            let key = property.key.strip_prefix("zookeeper.").unwrap_or(&property.key).to_string();
            self.set(&key, &property.value, Source::File(path.into(), property.line));
        }
        let dynamic = self.found.get("dynamicConfigFile").map(|(value, _)| PathBuf::from(value));
        if let Some(dynamic) = dynamic {
            let text = std::fs::read(&dynamic);
            let text = text.map_err(|error| {
                fail(format!("its dynamicConfigFile {} cannot be read: {error}", dynamic.display()))
            })?;
            for property in properties::parse(&String::from_utf8_lossy(&text)) {
                self.set(&property.key, &property.value, Source::File(dynamic.clone(), property.line));
            }
        }
        Ok(())
    }

    /// Says what is unknown or without effect; refuses what must not be left out.
    fn judge(&mut self) -> Result<(), ConfigError> {
        let mut idle: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, (value, source)) in &self.found {
            match keys::meaning(key) {
                Some(Meaning::Honoured) => {}
                Some(Meaning::NoEffect(reason)) => idle.entry(reason).or_default().push(key),
                Some(Meaning::Refused(reason)) if value != "false" => {
                    let problem = format!("{reason}; remove it to start without");
                    return Err(ConfigError { place: source.to_string(), key: key.clone(), problem });
                }
                Some(Meaning::Refused(_)) => {}
                None => unknown.push(format!(
                    "{source}: {key} is no setting of ZooKeeper 3.9 and has no effect; the nearest is {}",
                    keys::nearest(key)
                )),
            }
        }
        if !idle.is_empty() {
            let groups: Vec<String> =
                idle.iter().map(|(reason, keys)| format!("{} ({reason})", keys.join(", "))).collect();
            self.warnings.push(format!("settings without effect: {}", groups.join("; ")));
        }
        self.warnings.append(&mut unknown);
        Ok(())
    }

    fn error(&self, key: &str, expected: &str) -> ConfigError {
        let (value, source) = &self.found[key];
        ConfigError {
            place: source.to_string(),
            key: key.into(),
            problem: format!("expected {expected}, found {value:?}"),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.found.get(key).map(|(value, _)| value.as_str())
    }

    fn number(&self, key: &str, default: i64, low: i64, high: i64) -> Result<i64, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| self.error(key, &format!("a whole number from {low} to {high}")))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.error(key, "true or false")),
        }
    }

    /// ZooKeeper spells some flags yes and no.
    fn yes(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("yes" | "true") => Ok(true),
            Some("no" | "false") => Ok(false),
            Some(_) => Err(self.error(key, "yes or no")),
        }
    }

    fn choice<T: Copy>(&self, key: &str, default: T, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| self.error(key, &format!("one of {names:?}")))
    }
}

const INT_MAX: i64 = i32::MAX as i64;

fn build(values: &mut Values) -> Result<ServerOptions, ConfigError> {
    let missing = |key: &str| ConfigError {
        place: "configuration".into(),
        key: key.into(),
        problem: "it is required and missing".into(),
    };
    let data_dir = PathBuf::from(values.text("dataDir").ok_or_else(|| missing("dataDir"))?);
    let log_dir = values.text("dataLogDir").map_or_else(|| data_dir.clone(), PathBuf::from);
    let listen = listen_addresses(values)?;
    let member = member_settings(values)?;
    let shard = shard_settings(values, &member)?;
    let segment_kb = values.number("preAllocSize", 65536, 1, 4 << 20)?;
    let compression = values.choice(
        "snapshot.compression.method",
        Compression::None,
        &[("", Compression::None), ("gz", Compression::Gzip), ("snappy", Compression::Snappy)],
    )?;
    let durability = values.choice(
        "ringkeeper.durability",
        None,
        &[("auto", None), ("dsync", Some(Durability::Dsync)), ("fdatasync", Some(Durability::Fdatasync))],
    )?;
    let io = [("auto", IoChoice::Auto), ("io_uring", IoChoice::IoUring), ("epoll", IoChoice::Epoll)];
    let shards = match values.text("ringkeeper.shards") {
        None | Some("auto") => None,
        Some(_) => Some(values.number("ringkeeper.shards", 1, 1, crate::limits::SHARDS_MAX as i64)? as u16),
    };
    let backlog = values.number("clientPortListenBacklog", -1, -1, INT_MAX)? as i32;
    let configuration = conf_text(&shard, &data_dir, &log_dir, &listen, (backlog, &member));
    Ok(ServerOptions {
        listen,
        backlog: if backlog <= 0 { LISTEN_BACKLOG } else { backlog },
        // A transaction as large as a request may be must fit into one segment.
        segment_bytes: ((segment_kb as u64) << 10)
            .max(4 * shard.frame_bytes_max as u64)
            .next_multiple_of(crate::limits::LOG_BLOCK as u64),
        force_sync: values.yes("forceSync", true)?,
        durability,
        io: values.choice("ringkeeper.io", IoChoice::Auto, &io)?,
        shards,
        pin: values.flag("ringkeeper.pin", true)?,
        image: ImageOptions {
            last_zxid_section: values.flag("serializeLastProcessedZxid.enabled", true)?,
            ..ImageOptions::default()
        },
        compression,
        member: MemberSettings { configuration: configuration.into(), ..member },
        shard,
        data_dir,
        log_dir,
    })
}

/// Connections the kernel may hold before they are accepted; fan-in after a restart is large.
const LISTEN_BACKLOG: i32 = 4096;

fn listen_addresses(values: &Values) -> Result<Vec<SocketAddr>, ConfigError> {
    let servers: Vec<&String> = values.found.keys().filter(|key| key.starts_with("server.")).collect();
    let mut from_server = None;
    if let [key] = servers.as_slice() {
        from_server = client_address_of(values, key)?;
        if !values.flag("standaloneEnabled", true)? {
            return Err(ensemble(values, "standaloneEnabled"));
        }
    } else if let Some(key) = servers.first() {
        return Err(ensemble(values, key));
    }
    let host = values.text("clientPortAddress");
    if values.text("clientPort").is_none() {
        let problem = "it is required and missing (or a client port behind ';' of the server line)".into();
        let missing = ConfigError { place: "configuration".into(), key: "clientPort".into(), problem };
        return from_server.map(|address| vec![address]).ok_or(missing);
    }
    let port = values.number("clientPort", 2181, 1, 65535)? as u16;
    let Some(host) = host else {
        return Ok(vec![from_server.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))]);
    };
    resolve(host, port)
        .map(|address| vec![address])
        .ok_or_else(|| values.error("clientPortAddress", "an address or host name of this machine"))
}

fn ensemble(values: &Values, key: &str) -> ConfigError {
    let (_, source) = &values.found[key];
    ConfigError {
        place: source.to_string(),
        key: key.into(),
        problem: "ensembles of several members are not part of this version; for a standalone server, give at most one \
            server line and leave standaloneEnabled out"
            .into(),
    }
}

/// The client address of `host:quorumPort:electionPort[:role];[host:]port`.
fn client_address_of(values: &Values, key: &str) -> Result<Option<SocketAddr>, ConfigError> {
    let expected = "host:quorumPort:electionPort[:participant|observer][;[host:]clientPort]";
    let value = values.text(key).unwrap_or_default();
    let (quorum, client) =
        value.split_once(';').map_or((value, None), |(quorum, client)| (quorum, Some(client)));
    let id = key["server.".len()..].parse::<i64>();
    let ports = quorum.trim_start_matches(|letter| letter != ']').trim_start_matches(']');
    let fields = if ports.is_empty() { quorum.split(':').count() } else { ports.split(':').count() };
    if id.is_err() || !(3..=4).contains(&fields) {
        return Err(values.error(key, expected));
    }
    let Some(client) = client else { return Ok(None) };
    let (host, port) = client.rsplit_once(':').unwrap_or(("0.0.0.0", client));
    let port = port.trim().parse().map_err(|_| values.error(key, expected))?;
    Ok(resolve(host, port))
}

fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, port)),
        Err(_) => (host, port).to_socket_addrs().ok()?.next(),
    }
}

fn member_settings(values: &Values) -> Result<MemberSettings, ConfigError> {
    let tick_ms = values.number("tickTime", 3000, 1, INT_MAX)? as u64;
    let purge_hours = values.number("autopurge.purgeInterval", 1, 0, INT_MAX)?;
    let kept = values.number("autopurge.snapRetainCount", 3, 0, INT_MAX)?.max(3) as usize;
    Ok(MemberSettings {
        server_id: ServerId(1),
        tick_ms,
        owner_rules: rules(values)?,
        digest_enabled: values.flag("digest.enabled", true)?,
        enforce_quota: values.flag("enforceQuota", false)?,
        skip_acl: values.yes("skipACL", false)?,
        digest: digest_settings(values)?,
        reconfig_enabled: values.flag("reconfigEnabled", false)?,
        close_session_paths: values.flag("closeSessionTxn.enabled", true)?,
        connections_per_address_max: values.number("maxClientCnxns", 60, 0, INT_MAX)? as u32,
        connections_max: values.number("maxCnxns", 0, 0, INT_MAX)? as u32,
        snapshot_txns: values.number("snapCount", 100_000, 1, INT_MAX)? as u64,
        snapshot_bytes: (values.number("snapSizeLimitInKb", 4_194_304, i64::MIN, 1 << 40)?.max(0) as u64)
            << 10,
        snapshots_kept: (purge_hours > 0).then_some(kept),
        container_check_ms: values.number("znode.container.checkIntervalMs", 60_000, 1, INT_MAX)? as u64,
        containers_per_minute: values.number("znode.container.maxPerMinute", 10_000, 1, INT_MAX)? as u32,
        container_never_used_ms: values.number("znode.container.maxNeverUsedIntervalMs", 0, 0, i64::MAX)?,
        version: VERSION.into(),
        ..MemberSettings::default()
    })
}

/// What four-letter words say: programs look for a ZooKeeper version, so the one we stand in for comes first.
const VERSION: &str =
    concat!("3.9.5-ringkeeper-", env!("CARGO_PKG_VERSION"), ", built on 2026-01-01 00:00 UTC");

fn rules(values: &Values) -> Result<OwnerRules, ConfigError> {
    Ok(OwnerRules {
        extended_types: values.flag("extendedTypesEnabled", false)?,
        emulate_353: values.flag("emulate353TTLNodes", false)?,
    })
}

fn digest_settings(values: &Values) -> Result<DigestSettings, ConfigError> {
    let name = values.text("DigestAuthenticationProvider.digestAlg").unwrap_or("SHA1");
    let algorithm = DigestAlgorithm::from_name(name).ok_or_else(|| {
        values.error("DigestAuthenticationProvider.digestAlg", "a digest such as SHA1 or SHA-256")
    })?;
    Ok(DigestSettings {
        enabled: values.flag("DigestAuthenticationProvider.enabled", true)?,
        algorithm,
        super_digest: values.text("DigestAuthenticationProvider.superDigest").map(Into::into),
    })
}

fn shard_settings(values: &Values, member: &MemberSettings) -> Result<ShardSettings, ConfigError> {
    let tick = member.tick_ms as i64;
    let timeout = |key: &str, default: i64| {
        let number = values.number(key, -1, -1, INT_MAX)?;
        Ok(if number == -1 { default.min(INT_MAX) } else { number })
    };
    let min = timeout("minSessionTimeout", 2 * tick)?;
    let max = timeout("maxSessionTimeout", 20 * tick)?;
    if min > max {
        let key = if values.found.contains_key("maxSessionTimeout") {
            "maxSessionTimeout"
        } else {
            "minSessionTimeout"
        };
        return Err(values.error(key, &format!("minSessionTimeout ({min}) <= maxSessionTimeout ({max})")));
    }
    let schemes = |text: &str| text.split(',').map(|scheme| scheme.trim().to_string()).collect::<Vec<_>>();
    let enforced_schemes = if values.flag("enforce.auth.enabled", false)? {
        let found = schemes(values.text("enforce.auth.schemes").unwrap_or_default());
        if found.iter().any(|scheme| !matches!(scheme.as_str(), "digest" | "ip")) {
            let key = if values.found.contains_key("enforce.auth.schemes") {
                "enforce.auth.schemes"
            } else {
                "enforce.auth.enabled"
            };
            return Err(values.error(key, "schemes this version can check: digest, ip"));
        }
        Some(found)
    } else {
        None
    };
    Ok(ShardSettings {
        shard: ShardId(0),
        hash_seed: 0x5eed,
        rules: member.owner_rules,
        tick_ms: member.tick_ms,
        min_session_timeout_ms: min as i32,
        max_session_timeout_ms: max as i32,
        frame_bytes_max: values.number(
            "jute.maxbuffer",
            crate::limits::JUTE_MAX_BUFFER as i64,
            1,
            512 << 20,
        )? as usize,
        skip_acl: member.skip_acl,
        digest: member.digest.clone(),
        four_letter_words: whitelist(values),
        sessionless_timeout_ms: values.number("nio.sessionlessCnxnTimeout", 10_000, 1, INT_MAX)? as u64,
        enforced_schemes,
        outstanding_max: values.number("globalOutstandingLimit", 1000, 1, INT_MAX)? as usize,
        environment: environment(),
    })
}

fn whitelist(values: &Values) -> Option<Vec<String>> {
    let words = values.text("4lw.commands.whitelist").unwrap_or("srvr");
    if words.trim() == "*" {
        return None;
    }
    Some(words.split(',').map(|word| word.trim().to_string()).collect())
}

/// The answer to `envi`. What a JVM would say has no value here, but the keys are there.
fn environment() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let mut text = String::from("Environment:\n");
    let lines = [
        ("zookeeper.version", VERSION.to_string()),
        ("host.name", host.trim().to_string()),
        ("java.version", "<NA>".into()),
        ("java.vendor", "<NA>".into()),
        ("java.home", "<NA>".into()),
        ("java.class.path", "<NA>".into()),
        ("java.library.path", "<NA>".into()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", "<NA>".into()),
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
    for (key, value) in lines {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

/// The answer to `conf`; `{data}` and `{log}` stand for the sizes.
fn conf_text(
    shard: &ShardSettings,
    data_dir: &Path,
    log_dir: &Path,
    listen: &[SocketAddr],
    (backlog, member): (i32, &MemberSettings),
) -> String {
    let port = listen.first().map_or(0, SocketAddr::port);
    let absolute =
        |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string();
    format!(
        "clientPort={port}\nsecureClientPort=-1\ndataDir={}/version-2\ndataDirSize={{data}}\ndataLogDir={}/version-2\n\
         dataLogSize={{log}}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
         clientPortListenBacklog={backlog}\nserverId=0\n",
        absolute(data_dir),
        absolute(log_dir),
        member.tick_ms,
        member.connections_per_address_max,
        shard.min_session_timeout_ms,
        shard.max_session_timeout_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("zoo.cfg");
        std::fs::write(&path, text).expect("written");
        load(&Invocation::File(path), &[], &[])
    }

    fn problem(text: &str) -> String {
        load_text(text).err().expect("refused").to_string()
    }

    #[test]
    fn a_usual_file_is_taken_as_it_is() {
        let loaded = load_text(
            "tickTime=2000\ndataDir=/d\ndataLogDir=/l\nclientPort=2182\nmaxClientCnxns=0\ninitLimit=5\n\
             4lw.commands.whitelist=*\nserver.1=127.0.0.1:2888:3888;2182\n",
        )
        .expect("valid");
        let options = loaded.options;
        assert_eq!(options.listen, ["0.0.0.0:2182".parse().expect("an address")]);
        assert_eq!(options.log_dir, Path::new("/l"));
        assert_eq!(
            (options.shard.min_session_timeout_ms, options.shard.max_session_timeout_ms),
            (4000, 40_000)
        );
        assert_eq!(options.member.connections_per_address_max, 0);
        assert!(options.shard.four_letter_words.is_none());
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].contains("initLimit"));
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_key() {
        let text = problem("dataDir=/d\nclientPort=x\n");
        assert!(text.contains("zoo.cfg, line 2: clientPort: expected a whole number"), "{text}");
        assert!(problem("clientPort=1\n").contains("dataDir: it is required"));
        assert!(
            problem("dataDir=/d\nclientPort=1\nskipACL=maybe\n")
                .contains("line 3: skipACL: expected yes or no")
        );
        assert!(problem("dataDir=/d\nclientPort=1\nsessionRequireClientSASLAuth=true\n").contains("no SASL"));
        let servers = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
        assert!(problem(&format!("dataDir=/d\nclientPort=1\n{servers}")).contains("ensembles"));
    }

    #[test]
    fn unknown_keys_are_warned_of_with_the_nearest_known() {
        let loaded = load_text("dataDir=/d\nclientPort=1\nmaxClientConns=3\n").expect("valid");
        assert!(loaded.warnings[0].contains("the nearest is maxClientCnxns"), "{:?}", loaded.warnings);
    }

    #[test]
    fn properties_come_from_flags_and_the_file_wins() {
        let flags = ["-Xmx1g -Dzookeeper.snapCount=7 -Djute.maxbuffer=4096 -Dlog4j.x=1".to_string()];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("zoo.cfg");
        std::fs::write(&path, "dataDir=/d\nclientPort=1\nsnapCount=9\n").expect("written");
        let defines = ["zookeeper.extendedTypesEnabled=true".to_string()];
        let loaded = load(&Invocation::File(path), &defines, &flags).expect("valid");
        assert_eq!(loaded.options.member.snapshot_txns, 9);
        assert_eq!(loaded.options.shard.frame_bytes_max, 4096);
        assert!(loaded.options.shard.rules.extended_types);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}
