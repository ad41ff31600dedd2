//! Transactions, times and nodes as text for people and as JSON for programs.

use crate::tree::{ChildStat, Node};
use crate::wire::codes::Op;
use crate::wire::txn::{CreateKind, TxnDigest};
use crate::wire::{Acl, Txn, TxnHeader};
use base64::Engine;
use serde_json::{Value, json};

/// `2026-01-31 23:59:59.001`, UTC.
pub fn time(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (seconds, ms) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
}

/// Reads what [`time`] writes, or a part of it from the left, `T` for the space, `Z` at its end; or ms since 1970.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>()
        && text.len() > 4
    {
        return Ok(ms);
    }
    let wrong =
        || format!("{text:?} is no time; write 2026-01-31T23:59:59.001 (UTC) or milliseconds since 1970");
    let text_part = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text_part.split_once(['T', ' ']).unwrap_or((text_part, ""));
    let numbers = |text: &str, by: char| -> Result<Vec<i64>, String> {
        text.split(by).filter(|part| !part.is_empty()).map(|part| part.parse().map_err(|_| wrong())).collect()
    };
    let [year, month, day] = numbers(date, '-')?[..] else { return Err(wrong()) };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = numbers(clock, ':')?;
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().map_err(|_| wrong())?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || clock.len() > 3 || fraction.len() > 3 {
        return Err(wrong());
    }
    let part = |at: usize| clock.get(at).copied().unwrap_or(0);
    Ok(days(year, month, day) * DAY_MS + (part(0) * 3600 + part(1) * 60 + part(2)) * 1000 + ms)
}

const DAY_MS: i64 = 86_400_000;

/// Days since 1970 to year, month, day; years begin in March here, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// ZooKeeper's name of a transaction type.
pub fn op_name(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Create2 => "create2",
        Op::CreateContainer => "createContainer",
        Op::CreateTtl => "createTTL",
        Op::Delete => "delete",
        Op::DeleteContainer => "deleteContainer",
        Op::SetData => "setData",
        Op::Reconfig => "reconfig",
        Op::SetAcl => "setACL",
        Op::Check => "check",
        Op::Multi => "multi",
        Op::CreateSession => "createSession",
        Op::CloseSession => "closeSession",
        Op::Error => "error",
        _ => "unknown",
    }
}

/// Every name of [`op_name`].
pub const OP_NAMES: [&str; 14] = [
    "create",
    "create2",
    "createContainer",
    "createTTL",
    "delete",
    "deleteContainer",
    "setData",
    "reconfig",
    "setACL",
    "check",
    "multi",
    "createSession",
    "closeSession",
    "error",
];

/// The paths a transaction touches.
pub fn paths<'a>(txn: &'a Txn<'_>, found: &mut Vec<&'a str>) {
    match txn {
        Txn::Create { path, .. }
        | Txn::Delete { path, .. }
        | Txn::SetData { path, .. }
        | Txn::SetAcl { path, .. }
        | Txn::Check { path, .. } => found.push(path),
        Txn::Multi(txns) => txns.iter().for_each(|txn| paths(txn, found)),
        Txn::CloseSession { paths } => found.extend(paths.iter().flatten().map(|path| &**path)),
        Txn::CreateSession { .. } | Txn::Error { .. } => {}
    }
}

/// One line.
pub fn txn_text(header: &TxnHeader, txn: &Txn<'_>) -> String {
    format!(
        "{} {} session {} cxid 0x{:x} {}",
        time(header.time_ms),
        header.zxid,
        header.session,
        header.cxid,
        body_text(txn)
    )
}

fn body_text(txn: &Txn<'_>) -> String {
    let name = op_name(txn.op());
    match txn {
        Txn::Create { kind, path, data, acl, ephemeral, .. } => {
            let ttl = match kind {
                CreateKind::Ttl { ttl_ms } => format!(" ttl {ttl_ms} ms"),
                _ => String::new(),
            };
            let ephemeral = if *ephemeral { " ephemeral" } else { "" };
            format!("{name} {path:?} {}{ephemeral}{ttl} acl {}", data_text(*data), acl_text(acl))
        }
        Txn::Delete { path, .. } => format!("{name} {path:?}"),
        Txn::SetData { path, data, version, .. } => {
            format!("{name} {path:?} {} version {version}", data_text(*data))
        }
        Txn::SetAcl { path, acl, version } => {
            format!("{name} {path:?} acl {} version {version}", acl_text(acl))
        }
        Txn::Check { path, version } => format!("{name} {path:?} version {version}"),
        Txn::Multi(txns) => {
            let parts: Vec<String> = txns.iter().map(body_text).collect();
            format!("{name} [{}]", parts.join("; "))
        }
        Txn::CreateSession { timeout_ms } => format!("{name} timeout {timeout_ms} ms"),
        Txn::CloseSession { paths } => match paths {
            Some(paths) => format!("{name} deletes {paths:?}"),
            None => name.into(),
        },
        Txn::Error { err } => format!("{name} {err}"),
    }
}

fn data_text(data: Option<&[u8]>) -> String {
    data.map_or("no data".into(), |data| format!("{} bytes", data.len()))
}

/// `cdrwa` of each entry, as zkCli writes them.
pub fn acl_text(acl: &[Acl]) -> String {
    let entry = |acl: &Acl| {
        let perms: String = ['r', 'w', 'c', 'd', 'a']
            .iter()
            .enumerate()
            .filter(|(bit, _)| acl.perms >> bit & 1 == 1)
            .map(|(_, c)| *c)
            .collect();
        format!("{}:{}:{perms}", acl.scheme, acl.id)
    };
    acl.iter().map(entry).collect::<Vec<_>>().join(",")
}

/// One object.
pub fn txn_json(header: &TxnHeader, txn: &Txn<'_>, digest: Option<TxnDigest>, offset: u64) -> Value {
    let mut value = body_json(txn);
    value["offset"] = json!(offset);
    value["zxid"] = json!(header.zxid.to_string());
    value["session"] = json!(header.session.to_string());
    value["cxid"] = json!(header.cxid);
    value["timeMs"] = json!(header.time_ms);
    value["time"] = json!(time(header.time_ms));
    if let Some(digest) = digest {
        value["digest"] = json!(format!("{:x}", digest.tree));
    }
    value
}

fn body_json(txn: &Txn<'_>) -> Value {
    let mut value = match txn {
        Txn::Create { kind, path, data, acl, ephemeral, parent_cversion } => {
            let mut value = json!({"path": path, "data": data_json(*data), "acl": acl_json(acl),
                "ephemeral": ephemeral, "parentCversion": parent_cversion});
            if let CreateKind::Ttl { ttl_ms } = kind {
                value["ttlMs"] = json!(ttl_ms);
            }
            value
        }
        Txn::Delete { path, .. } => json!({"path": path}),
        Txn::SetData { path, data, version, .. } => {
            json!({"path": path, "data": data_json(*data), "version": version})
        }
        Txn::SetAcl { path, acl, version } => {
            json!({"path": path, "acl": acl_json(acl), "version": version})
        }
        Txn::Check { path, version } => json!({"path": path, "version": version}),
        Txn::Multi(txns) => json!({"txns": txns.iter().map(body_json).collect::<Vec<_>>()}),
        Txn::CreateSession { timeout_ms } => json!({"timeoutMs": timeout_ms}),
        Txn::CloseSession { paths } => json!({"paths": paths}),
        Txn::Error { err } => json!({"error": err}),
    };
    value["type"] = json!(op_name(txn.op()));
    value
}

fn data_json(data: Option<&[u8]>) -> Value {
    json!(data.map(|data| base64::engine::general_purpose::STANDARD.encode(data)))
}

/// A list of objects.
pub fn acl_json(acl: &[Acl]) -> Value {
    acl.iter().map(|acl| json!({"perms": acl.perms, "scheme": acl.scheme, "id": acl.id})).collect()
}

/// A node with all that is stored of it.
pub fn node_json(node: &Node, children: ChildStat, acl: &[Acl]) -> Value {
    let head = node.head();
    json!({
        "path": node.path(), "data": data_json(node.data()), "acl": acl_json(acl),
        "czxid": head.czxid.0, "mzxid": head.mzxid.0, "ctime": head.ctime, "mtime": head.mtime,
        "version": head.version, "cversion": children.cversion, "aversion": head.aversion,
        "ephemeralOwner": head.owner, "pzxid": children.pzxid.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_are_written() {
        for ms in [0, 951_782_399_999, 951_782_400_000, 1_795_173_512_958, 4_107_542_400_000, -1] {
            assert_eq!(parse_time(&time(ms)), Ok(ms), "{}", time(ms));
        }
        assert_eq!(time(1_795_173_512_958), "2026-11-20 11:18:32.958");
        assert_eq!(parse_time("2000-02-29T00:00Z"), Ok(951_782_400_000));
        assert_eq!(parse_time("1795173512958"), Ok(1_795_173_512_958));
        for wrong in ["", "yesterday", "2026-13-01", "2026-01-01T1:2:3:4", "2026-01"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_written_as_zkcli_writes_them() {
        assert_eq!(acl_text(&Acl::open()), "world:anyone:rwcda");
    }
}
