//! Quotas (`SetQuotaCommand`, `DelQuotaCommand`, `ListQuotaCommand`): the limits and the usage of a path are text in nodes
//! below /zookeeper/quota, which the client makes and the server reads. One path may have a quota, or one of its
//! ancestors, or nodes below it, but no two of them.

use super::{argument, usage_of};
use crate::cli::client::{Client, ClientError, Create, Kind, path};
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::session::Shell;
use crate::tree::quota::QUOTA_ROOT;
use crate::wire::{Acl, ErrorCode};
use serde_json::json;
use std::collections::BTreeMap;

const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Option, key, whether it must be above zero.
const LIMIT_OPTIONS: [(&str, &str, bool); 4] = [
    ("n", "count", true),
    ("b", "bytes", false),
    ("N", "countHardLimit", true),
    ("B", "byteHardLimit", false),
];

/// `StatsTrack` as Java's client keeps it: a limit that was set and taken back stays as -1 in the text.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn parse(data: Option<&[u8]>) -> Track {
        let text = String::from_utf8_lossy(data.unwrap_or_default()).into_owned();
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut sides = pair.split('=');
            let (key, value) = (sides.next()?, sides.next()?);
            Some((key.to_string(), value.parse().unwrap_or(-1)))
        });
        Track(pairs.collect())
    }

    fn value(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    fn set(&mut self, key: &str, value: i64) {
        self.0.insert(key.into(), value);
    }

    fn text(&self) -> String {
        let hard = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes"));
        let hard: Vec<String> = hard.map(|(key, value)| format!(";{key}={value}")).collect();
        let sign = if hard.is_empty() { "" } else { "=" };
        format!("count={},bytes={}{sign}{}", self.value("count"), self.value("bytes"), hard.concat())
    }
}

pub(super) fn set(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    if path.starts_with(QUOTA_ROOT) {
        shell.out.complain_as("BadArguments", &format!("cannot set a quota under the path: {QUOTA_ROOT}"));
        return Ok(());
    }
    let mut quota = Track::default();
    LIMIT_OPTIONS.iter().for_each(|(_, key, _)| quota.set(key, -1));
    for (option, key, is_above_zero) in LIMIT_OPTIONS {
        let Some(text) = given.value(option) else { continue };
        let fits = |value: &i64| !is_above_zero || i32::try_from(*value).is_ok();
        let Some(value) = text.parse::<i64>().ok().filter(fits) else {
            shell.out.complain_as("Usage", "NumberFormatException happens when parsing the option value");
            return Ok(());
        };
        if value < i64::from(is_above_zero) {
            let what = if is_above_zero {
                "num quota must be greater than zero"
            } else {
                "bytes quota must be greater than or equal to zero"
            };
            shell.out.complain_as("Usage", &format!("the {what}"));
            return Ok(());
        }
        quota.set(key, value);
    }
    limit(shell, &shell.zk(), path, &quota)
}

fn limit(shell: &Shell, zk: &Client, path: &str, quota: &Track) -> Result<(), Failure> {
    if zk.exists(path, false)?.is_none() {
        return Err(Failure::new(format!("{path} does not exist.")).named("NoNode"));
    }
    refuse_below(zk, path)?;
    refuse_above(zk, path)?;
    let mut at = QUOTA_ROOT.to_string();
    for name in path.split('/').skip(1) {
        at = path::join(&at, name);
        // Asked first, because a create that fails is a transaction all the same.
        if zk.exists(&at, false)?.is_none() {
            make(zk, &at, None)?;
        }
    }
    let (limits_path, stats_path) = (path::join(&at, LIMITS), path::join(&at, STATS));
    if zk.exists(&limits_path, false)?.is_none() {
        make(zk, &limits_path, Some(quota.text().as_bytes()))?;
        let mut usage = Track::default();
        usage.set("count", 0);
        usage.set("bytes", 0);
        make(zk, &stats_path, Some(usage.text().as_bytes()))?;
        let limits = Track::parse(zk.data(&limits_path, false)?.0.as_deref());
        let usage = Track::parse(zk.data(&stats_path, false)?.0.as_deref());
        warn(shell, &limits, &usage);
        return Ok(());
    }
    let mut limits = Track::parse(zk.data(&limits_path, false)?.0.as_deref());
    for (_, key, _) in LIMIT_OPTIONS {
        if quota.value(key) > -1 {
            limits.set(key, quota.value(key));
        }
    }
    let usage = Track::parse(zk.data(&stats_path, false)?.0.as_deref());
    warn(shell, &limits, &usage);
    zk.set_data(&limits_path, Some(limits.text().as_bytes()), -1)?;
    Ok(())
}

fn make(zk: &Client, path: &str, data: Option<&[u8]>) -> Result<(), ClientError> {
    let create = Create { path, data, acl: &Acl::open(), kind: Kind::Persistent, is_sequential: false };
    match zk.create(&create) {
        Err(error) if !error.is(ErrorCode::NodeExists) => Err(error),
        _ => Ok(()),
    }
}

/// Such limits are set, but they are exceeded already.
fn warn(shell: &Shell, limits: &Track, usage: &Track) {
    for (what, soft, hard) in [("count", "count", "countHardLimit"), ("bytes", "bytes", "byteHardLimit")] {
        let used = usage.value(soft);
        let is_exceeded = |limit: i64| limit > -1 && limit < used;
        if is_exceeded(limits.value(soft)) || is_exceeded(limits.value(hard)) {
            let text =
                format!("[Warning]: the {what} quota you create is less than the existing {what}:{used}");
            shell.out.answer(|| text.clone(), || json!({ "warning": text }));
        }
    }
}

/// No node below may have a quota.
fn refuse_below(zk: &Client, limited: &str) -> Result<(), Failure> {
    let root = format!("{QUOTA_ROOT}{limited}");
    path::validate(&root).map_err(ClientError::BadPath)?;
    let mut left = vec![root.clone()];
    while let Some(at) = left.pop() {
        let children = match zk.children(&at, false) {
            Ok((children, _)) => children,
            Err(error) if error.is(ErrorCode::NoNode) => continue,
            Err(error) => return Err(error.into()),
        };
        if at != root && children.iter().any(|child| child == LIMITS) {
            let below = &at[QUOTA_ROOT.len()..];
            return Err(Failure::new(format!("{limited} has a child {below} which has a quota")));
        }
        left.extend(children.iter().map(|child| path::join(&at, child)));
    }
    Ok(())
}

/// No ancestor may have one.
fn refuse_above(zk: &Client, limited: &str) -> Result<(), Failure> {
    let names: Vec<&str> = limited.split('/').skip(1).collect();
    let mut at = QUOTA_ROOT.to_string();
    for name in &names[..names.len().saturating_sub(1)] {
        at = path::join(&at, name);
        let children = match zk.children(&at, false) {
            Ok((children, _)) => children,
            Err(error) if error.is(ErrorCode::NoNode) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if children.iter().any(|child| child == LIMITS) {
            let above = &at[QUOTA_ROOT.len()..];
            return Err(Failure::new(format!("{limited} has a parent {above} which has a quota")));
        }
    }
    Ok(())
}

pub(super) fn list(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let (limits_path, stats_path) = paths(path);
    if !shell.out.is_json() {
        shell.out.complain(&format!("absolute path is {limits_path}"));
    }
    let zk = shell.zk();
    let read = || Ok((zk.data(&limits_path, false)?.0, zk.data(&stats_path, false)?.0));
    let (limits, usage) = match read() {
        Ok((limits, usage)) => (Track::parse(limits.as_deref()), Track::parse(usage.as_deref())),
        Err(error) if ClientError::is(&error, ErrorCode::NoNode) => {
            shell.out.complain_as("NoNode", &format!("quota for {path} does not exist."));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let text =
        || format!("Output quota for {path} {}\nOutput stat for {path} {}", limits.text(), usage.text());
    shell.out.answer(text, || json!({ "path": path, "quota": limits.0, "usage": usage.0 }));
    Ok(())
}

pub(super) fn delete(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = given.words.get(1).ok_or_else(|| usage_of(given))?;
    let (limits_path, _) = paths(path);
    let zk = shell.zk();
    let outcome = (|| {
        if zk.exists(&limits_path, false)?.is_none() {
            return Ok(false);
        }
        let mut limits = Track::parse(zk.data(&limits_path, false)?.0.as_deref());
        let chosen: Vec<&str> =
            LIMIT_OPTIONS.iter().filter(|(option, ..)| given.has(option)).map(|(_, key, _)| *key).collect();
        if chosen.is_empty() {
            remove_all(&zk, path)?;
        } else {
            chosen.iter().for_each(|key| limits.set(key, -1));
            zk.set_data(&limits_path, Some(limits.text().as_bytes()), -1)?;
        }
        Ok(true)
    })();
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => {
            let text = format!("Quota does not exist for {path}");
            shell.out.answer(|| text.clone(), || json!({ "error": "NoNode", "message": text }));
            Ok(())
        }
        Err(error) if ClientError::is(&error, ErrorCode::NoNode) => {
            shell.out.complain_as("NoNode", &format!("quota for {path} does not exist."));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The quota's nodes, and the empty nodes above them.
fn remove_all(zk: &Client, limited: &str) -> Result<(), ClientError> {
    let mut at = format!("{QUOTA_ROOT}{limited}");
    for child in zk.children(&at, false)?.0 {
        zk.delete(&path::join(&at, &child), -1)?;
    }
    while at != QUOTA_ROOT && zk.children(&at, false)?.0.is_empty() {
        zk.delete(&at, -1)?;
        at = path::parent(&at).unwrap_or(QUOTA_ROOT).to_string();
    }
    Ok(())
}

fn paths(limited: &str) -> (String, String) {
    (format!("{QUOTA_ROOT}{limited}/{LIMITS}"), format!("{QUOTA_ROOT}{limited}/{STATS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_written_as_java_does() {
        let mut track = Track::parse(Some(b"count=5,bytes=100=;byteHardLimit=200;countHardLimit=7"));
        assert_eq!(track.text(), "count=5,bytes=100=;byteHardLimit=200;countHardLimit=7");
        track.set("byteHardLimit", -1);
        track.set("bytes", -1);
        assert_eq!(track.text(), "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=7");
        assert_eq!(Track::parse(Some(b"count=4,bytes=6")).text(), "count=4,bytes=6");
        assert_eq!(Track::parse(None).text(), "count=-1,bytes=-1");
    }
}
