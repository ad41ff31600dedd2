//! From the sources to one [`Config`]: which setting counts, what belongs together, what is refused.

use super::error::{ConfigError, Place, Warning};
use super::keys::{self, Meaning, Unmet};
use super::servers;
use super::{Config, advice, flags, value};
use crate::wire::properties;
use crate::wire::servers::ServerLine;
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

/// One setting that somebody made.
pub(super) struct Made {
    pub(super) place: Place,
    /// As written, for messages.
    pub(super) written: String,
    pub(super) value: String,
}

/// By the key as in zoo.cfg.
pub(super) type Settings = BTreeMap<String, Made>;

pub(super) fn load(
    path: Option<&Path>,
    defines: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
    warnings: &mut Vec<Warning>,
) -> Result<Config, ConfigError> {
    let mut settings = from_flags(defines, env, warnings);
    if let Some(path) = path {
        for (key, made) in from_file(path, warnings)? {
            add_from_file(&mut settings, key, made, warnings);
        }
    }
    let mut config = Config { file: path.map(Path::to_path_buf), ..Config::default() };
    let mut lines = take_server_lines(&mut settings)?;
    apply(&mut config, &settings, warnings)?;
    advice::give(&settings, warnings);
    if let Some(file) = &config.dynamic_file {
        if let Some((_, made)) = lines.first() {
            return Err(refused(made, format!("{} beside dynamicConfigFile", made.written), MOVE_LINES));
        }
        lines = from_dynamic_file(file, warnings)?;
    }
    finish(&mut config, &settings, lines, warnings)?;
    Ok(config)
}

const MOVE_LINES: &str = "Put it into the dynamic configuration file, or remove dynamicConfigFile";

/// `-D` of both variables and of the command line; of two equal names the later one counts.
fn from_flags(
    defines: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
    warnings: &mut Vec<Warning>,
) -> Settings {
    let mut settings = Settings::new();
    for variable in flags::VARIABLES {
        let flags = flags::parse(&env(variable).unwrap_or_default());
        let place = Place::Environment(variable);
        let (known, foreign): (Vec<_>, Vec<_>) =
            flags.defines.into_iter().partition(|(name, _)| is_ours(name));
        let ignored = flags.others.len() + foreign.len();
        if ignored > 0 {
            let flags = if ignored == 1 { "1 flag" } else { &format!("{ignored} flags") };
            let are = if ignored == 1 { "is" } else { "are" };
            let text = format!("{place}: {flags} for the Java virtual machine {are} ignored");
            warnings.push(Warning(text));
        }
        for (name, value) in known {
            add_define(&mut settings, place.clone(), &name, &value);
        }
    }
    for (name, value) in defines {
        add_define(&mut settings, Place::CommandLine, name, value);
    }
    settings
}

/// In the environment anything may be set for other Java programs; only what could be meant for us is looked at.
fn is_ours(name: &str) -> bool {
    name.starts_with("zookeeper.") || name.starts_with("ringkeeper.") || keys::find(name).is_some()
}

fn add_define(settings: &mut Settings, place: Place, name: &str, value: &str) {
    let key = name.trim().strip_prefix("zookeeper.").unwrap_or(name.trim());
    let made = Made { place, written: name.trim().to_string(), value: value.trim().to_string() };
    settings.insert(key.to_string(), made);
}

fn from_file(path: &Path, warnings: &mut Vec<Warning>) -> Result<Settings, ConfigError> {
    let mut settings = Settings::new();
    for entry in read_properties(path, warnings)? {
        let place = Place::File { path: path.to_path_buf(), line: entry.line };
        // A full property name in the file would become zookeeper.zookeeper.x and do nothing; what is meant is clear.
        let key = entry.key.strip_prefix("zookeeper.").unwrap_or(&entry.key).to_string();
        let made = Made { place, written: entry.key, value: entry.value };
        if let Some(earlier) = settings.insert(key, made) {
            let Place::File { line, .. } = earlier.place else { unreachable!("all are from the file") };
            let place = Place::File { path: path.to_path_buf(), line: entry.line };
            let text =
                format!("{place}: {} is also set in line {line}; the last one counts", earlier.written);
            warnings.push(Warning(text));
        }
    }
    Ok(settings)
}

fn read_properties(path: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<properties::Entry>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    properties::parse(advice::without_mark(path, &bytes, warnings)?).map_err(|bad| ConfigError::Malformed {
        place: Place::File { path: path.to_path_buf(), line: bad.line },
        key: "escape".into(),
        expected: "\\u and four hexadecimal digits".into(),
        found: bad.found,
    })
}

/// The file counts over `-D`, except for the properties that ZooKeeper reads from `-D` only.
fn add_from_file(settings: &mut Settings, key: String, made: Made, warnings: &mut Vec<Warning>) {
    let is_bare = keys::is_bare_property(&key);
    match settings.get(&key) {
        Some(define) if define.value != made.value => {
            let (winner, loser) = if is_bare { (define, &made) } else { (&made, define) };
            warnings.push(Warning(format!(
                "{key} is set to \"{}\" ({}) and to \"{}\" ({}); the first counts",
                winner.value, winner.place, loser.value, loser.place
            )));
        }
        None if is_bare => warnings.push(Warning(format!(
            "{}: {key} counts here; Apache ZooKeeper reads it from -D{key} only",
            made.place
        ))),
        _ => {}
    }
    if !is_bare || !settings.contains_key(&key) {
        settings.insert(key, made);
    }
}

/// Takes the `server.N` lines out, `server.realm` and the like not.
fn take_server_lines(settings: &mut Settings) -> Result<Vec<(ServerLine, Made)>, ConfigError> {
    let is_line = |key: &str| key.starts_with("server.") && keys::find(key).is_none();
    let names: Vec<String> = settings.keys().filter(|key| is_line(key)).cloned().collect();
    let mut lines = Vec::new();
    for name in names {
        let made = settings.remove(&name).expect("the name was just read from the map");
        lines.push((server_line(&name, &made)?, made));
    }
    Ok(lines)
}

fn server_line(name: &str, made: &Made) -> Result<ServerLine, ConfigError> {
    let number = name.strip_prefix("server.").unwrap_or_default();
    ServerLine::parse(number, &made.value).map_err(|expected| malformed(made, expected))
}

fn from_dynamic_file(
    path: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<(ServerLine, Made)>, ConfigError> {
    let mut lines = Vec::new();
    for entry in read_properties(path, warnings)? {
        let place = Place::File { path: path.to_path_buf(), line: entry.line };
        let made = Made { place, written: entry.key, value: entry.value };
        if made.written.starts_with("server.") {
            lines.push((server_line(&made.written, &made)?, made));
        } else if !made.written.starts_with("group") && !made.written.starts_with("weight") {
            let what = format!("{} in a dynamic configuration file", made.written);
            return Err(refused(&made, what, "Only server.N, group.N and weight.N belong there"));
        }
    }
    Ok(lines)
}

/// Stores every setting and collects what has no effect.
fn apply(config: &mut Config, settings: &Settings, warnings: &mut Vec<Warning>) -> Result<(), ConfigError> {
    let mut idle: Vec<(&'static str, String)> = Vec::new();
    for (key, made) in settings {
        let told = format!("{} ({})", made.written, made.place);
        match keys::find(key) {
            Some(Meaning::Honoured(setting)) => {
                setting.set(config, &made.value).map_err(|expected| malformed(made, expected))?;
            }
            Some(Meaning::Refused(unmet)) => {
                if asks(unmet, made)? {
                    return Err(refused(made, unmet.reason.into(), UNPROTECTED));
                }
            }
            Some(Meaning::Idle(unmet)) => {
                if asks(unmet, made)? && !is_switched_off(key, settings) {
                    idle.push((unmet.reason, told));
                }
            }
            Some(Meaning::NoEffect(reason)) if !is_switched_off(key, settings) => idle.push((reason, told)),
            Some(Meaning::NoEffect(_)) => {}
            None => warnings.push(unknown(key, made)),
        }
    }
    if !idle.is_empty() {
        idle.sort();
        let mut text = match idle.len() {
            1 => "1 setting has no effect here:".to_string(),
            several => format!("{several} settings have no effect here:"),
        };
        for group in idle.chunk_by(|a, b| a.0 == b.0) {
            let names: Vec<&str> = group.iter().map(|(_, told)| told.as_str()).collect();
            text.push_str(&format!("\n  {}: {}", names.join(", "), group[0].0));
        }
        warnings.push(Warning(text));
    }
    Ok(())
}

/// The settings of what is switched off ask for nothing.
fn is_switched_off(key: &str, settings: &Settings) -> bool {
    let switch = keys::SWITCHES.iter().find(|(family, _)| key.starts_with(family));
    let made = switch.filter(|(_, switch)| *switch != key).and_then(|(_, switch)| settings.get(*switch));
    made.is_some_and(|made| made.value.eq_ignore_ascii_case("false"))
}

fn asks(unmet: &Unmet, made: &Made) -> Result<bool, ConfigError> {
    unmet.asks(&made.value).map_err(|expected| malformed(made, expected))
}

const UNPROTECTED: &str = "Starting without it would leave open what you want protected. Remove the setting if that is \
     intended, or stay with Apache ZooKeeper for this server";

fn unknown(key: &str, made: &Made) -> Warning {
    let hint = keys::nearest(key).map_or(String::new(), |near| format!("; did you mean {near}?"));
    Warning(format!("{}: unknown setting {}{hint}", made.place, made.written))
}

/// What needs more than one setting.
fn finish(
    config: &mut Config,
    settings: &Settings,
    lines: Vec<(ServerLine, Made)>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    check_folders(config, settings)?;
    if !settings.contains_key("dataLogDir") {
        config.server.log_dir.clone_from(&config.server.data_dir);
    }
    let static_address = static_client_address(config, settings)?;
    set_session_timeouts(config, settings)?;
    check_ensemble(config, settings, &lines)?;
    config.server.client_address = client_address(config, settings, static_address, &lines, warnings)?;
    check_auth(config, settings)?;
    let kept = &mut config.server.member.snapshots_kept;
    if *kept < SNAPSHOTS_KEPT_MIN {
        let text =
            format!("autopurge.snapRetainCount is {kept}; {SNAPSHOTS_KEPT_MIN} is used, the least allowed");
        warnings.push(Warning(text));
        *kept = SNAPSHOTS_KEPT_MIN;
    }
    if config.read_only_mode && !settings.contains_key(WHITELIST) {
        config.server.shard.four_letter_words.get_or_insert_default().push("isro".into());
    }
    config.servers = lines.into_iter().map(|(line, _)| line).collect();
    Ok(())
}

const SNAPSHOTS_KEPT_MIN: usize = 3;
pub(super) const WHITELIST: &str = "4lw.commands.whitelist";

fn check_folders(config: &Config, settings: &Settings) -> Result<(), ConfigError> {
    match &config.file {
        Some(path) if !settings.contains_key("dataDir") => Err(ConfigError::Missing {
            path: path.clone(),
            key: "dataDir",
            way_out: "Name the folder for snapshots and logs, for example dataDir=/var/lib/zookeeper".into(),
        }),
        _ => Ok(()),
    }
}

/// From clientPort and clientPortAddress; None: not said. Port 0 in a file means, as in ZooKeeper, not said.
fn static_client_address(config: &Config, settings: &Settings) -> Result<Option<SocketAddr>, ConfigError> {
    let mut address = config.server.client_address;
    if config.file.is_none() {
        return Ok(Some(address));
    }
    let host = settings.get("clientPortAddress");
    if !settings.contains_key("clientPort") || address.port() == 0 {
        return match host {
            Some(made) => {
                Err(refused(made, "clientPortAddress without clientPort".into(), "Set clientPort too"))
            }
            None => Ok(None),
        };
    }
    if host.is_none() {
        address.set_ip(Ipv6Addr::UNSPECIFIED.into());
    }
    Ok(Some(address))
}

/// Unset, or -1, they are multiples of tickTime.
fn set_session_timeouts(config: &mut Config, settings: &Settings) -> Result<(), ConfigError> {
    let tick_ms = config.server.member.common.tick_ms as i32;
    let shard = &mut config.server.shard;
    let fill = |key: &str, timeout_ms: &mut i32, ticks: i32| {
        if *timeout_ms == -1 || !settings.contains_key(key) {
            *timeout_ms = tick_ms * ticks;
        }
    };
    fill("minSessionTimeout", &mut shard.min_session_timeout_ms, 2);
    fill("maxSessionTimeout", &mut shard.max_session_timeout_ms, 20);
    let (least, most) = (shard.min_session_timeout_ms, shard.max_session_timeout_ms);
    if least > most {
        let made = settings.get("minSessionTimeout").unwrap_or_else(|| &settings["maxSessionTimeout"]);
        let what = format!("minSessionTimeout ({least} ms) is larger than maxSessionTimeout ({most} ms)");
        return Err(refused(made, what, "Unset, they are 2 and 20 times tickTime"));
    }
    Ok(())
}

fn check_ensemble(
    config: &Config,
    settings: &Settings,
    lines: &[(ServerLine, Made)],
) -> Result<(), ConfigError> {
    let voters = lines.iter().filter(|(line, _)| line.votes).count();
    if !config.standalone_enabled {
        let made = &settings["standaloneEnabled"];
        return Err(refused(made, format!("standaloneEnabled=false: {NO_ENSEMBLES}"), RUN_ALONE));
    }
    let Some((_, last)) = lines.last() else { return Ok(()) };
    if voters > 1 {
        return Err(refused(last, format!("{voters} voting servers: {NO_ENSEMBLES}"), RUN_ALONE));
    }
    let observer = lines.iter().find(|(line, _)| !line.votes);
    if let Some((_, made)) = observer {
        return Err(refused(made, format!("an observer: {NO_ENSEMBLES}"), RUN_ALONE));
    }
    Ok(())
}

const NO_ENSEMBLES: &str = "ensembles are not supported yet by this version";
const RUN_ALONE: &str =
    "To run one server alone, remove the server.N lines (or keep exactly one) and standaloneEnabled";

/// The address of the single server line counts if that line is meant for this server.
fn client_address(
    config: &Config,
    settings: &Settings,
    fixed: Option<SocketAddr>,
    lines: &[(ServerLine, Made)],
    warnings: &mut Vec<Warning>,
) -> Result<SocketAddr, ConfigError> {
    let mine = lines.first().filter(|(line, _)| is_mine(config, line, warnings));
    if let Some((ServerLine { client: Some((host, port)), .. }, made)) = mine {
        let address = servers::resolve(host, *port).map_err(|expected| malformed(made, expected))?;
        let agrees = |fixed: SocketAddr| {
            fixed == address || (fixed.ip().is_unspecified() && fixed.port() == address.port())
        };
        return match fixed {
            Some(fixed) if config.file.is_some() && !agrees(fixed) => {
                let what = format!("the client address {address} differs from clientPort's ({fixed})");
                Err(refused(made, what, "Remove one of the two"))
            }
            _ => Ok(address),
        };
    }
    match (fixed, &config.file) {
        (Some(fixed), _) => Ok(fixed),
        (None, Some(path)) => Err(no_client_port(path, settings, lines)),
        (None, None) => unreachable!("without a file there is always an address"),
    }
}

/// Why nobody could connect. Who wants TLS only is not told to open a plain port.
fn no_client_port(path: &Path, settings: &Settings, lines: &[(ServerLine, Made)]) -> ConfigError {
    if let Some(secure) = settings.get("secureClientPort") {
        let what =
            "only a port for TLS is set, and this version has no TLS: nobody could connect".to_string();
        return refused(secure, what, "Stay with Apache ZooKeeper for this server until there is TLS here");
    }
    let of_another = lines.iter().find(|(line, _)| line.client.is_some());
    let way_out = match of_another {
        Some((line, made)) => format!(
            "The line server.{} ({}) names one, but for another server than this one's file myid says. Mend myid, or name \
             the port, for example clientPort=2181",
            line.id.0, made.place
        ),
        None => "Clients could not connect. Name the port, for example clientPort=2181".into(),
    };
    ConfigError::Missing { path: path.to_path_buf(), key: "clientPort", way_out }
}

/// False if `myid` says that this server is another one.
fn is_mine(config: &Config, line: &ServerLine, warnings: &mut Vec<Warning>) -> bool {
    let path = config.server.data_dir.join("myid");
    let Ok(text) = std::fs::read_to_string(&path) else { return true };
    let id = text.lines().next().unwrap_or_default();
    if id.parse() == Ok(line.id.0) {
        return true;
    }
    let text =
        format!("{} says \"{id}\", so the line server.{} is for another server", path.display(), line.id.0);
    warnings.push(Warning(text));
    false
}

/// Sessions must not be let in more easily than asked for, nor all be locked out by a scheme nobody can have.
fn check_auth(config: &Config, settings: &Settings) -> Result<(), ConfigError> {
    let server = &config.server;
    if !server.shard.enforce_auth {
        return Ok(());
    }
    let schemes = &server.shard.enforced_schemes;
    let made = settings.get("enforce.auth.schemes").unwrap_or(&settings["enforce.auth.enabled"]);
    if schemes.is_empty() {
        let what = "enforce.auth.enabled without enforce.auth.schemes".to_string();
        return Err(refused(made, what, "Name the schemes, for example enforce.auth.schemes=digest"));
    }
    let has_digest = server.member.common.digest.enabled;
    let is_known = |scheme: &str| scheme == "ip" || (scheme == "digest" && has_digest);
    match schemes.iter().find(|scheme| !is_known(scheme)) {
        Some(scheme) => {
            let what =
                format!("enforced authentication by {scheme}, which this version does not support yet");
            Err(refused(made, what, "Supported are digest and ip"))
        }
        None => Ok(()),
    }
}

fn malformed(made: &Made, expected: String) -> ConfigError {
    let hidden = value::is_secret(&made.written);
    ConfigError::Malformed {
        place: made.place.clone(),
        key: made.written.clone(),
        expected,
        found: if hidden { "(not shown)".into() } else { made.value.clone() },
    }
}

fn refused(made: &Made, what: String, way_out: &str) -> ConfigError {
    ConfigError::Refused { place: made.place.clone(), what, way_out: way_out.into() }
}
