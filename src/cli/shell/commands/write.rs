//! Commands that change nodes: create, set, delete, deleteall.

use super::{argument, version};
use crate::cli::client::{Client, ClientError, Create, Kind, path};
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::{stat_json, stat_text};
use crate::cli::shell::session::Shell;
use crate::wire::{Acl, ErrorCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

pub(super) fn create(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let kind = kind(given)?;
    let data = given.words.get(2).map(String::as_bytes);
    let acl = given.words.get(3).map_or_else(Acl::open, |text| super::acl::parse(shell, path, text));
    let is_sequential = given.has("s");
    let created = shell.zk().create(&Create { path, data, acl: &acl, kind, is_sequential });
    let created = match created {
        Ok(created) => created,
        Err(error) => {
            if error.is(ErrorCode::InvalidAcl) && !shell.out.is_json() {
                shell.out.complain(&error.to_string());
            }
            return Err(error.into());
        }
    };
    shell.has_ephemerals |= kind == Kind::Ephemeral;
    if shell.out.is_json() {
        shell.out.line(&json!({ "created": created }).to_string());
    } else {
        // To standard error, as in zkCli.
        shell.out.complain(&format!("Created {created}"));
    }
    Ok(())
}

fn kind(given: &Given) -> Result<Kind, Failure> {
    let (is_ephemeral, is_sequential, is_container) = (given.has("e"), given.has("s"), given.has("c"));
    if is_container && (is_ephemeral || is_sequential) {
        let why = "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.";
        return Err(Failure::usage(why));
    }
    let Some(ttl) = given.value("t") else {
        return Ok(match (is_ephemeral, is_container) {
            (true, _) => Kind::Ephemeral,
            (_, true) => Kind::Container,
            _ => Kind::Persistent,
        });
    };
    let ttl_ms: i64 = ttl.parse().map_err(|_| Failure::usage("-t argument must be a long value"))?;
    if is_ephemeral {
        return Err(Failure::usage("TTLs cannot be used with Ephemeral znodes"));
    }
    if is_container {
        return Err(Failure::usage("TTLs cannot be used with Container znodes"));
    }
    if !(1..=TTL_MS_MAX).contains(&ttl_ms) {
        return Err(Failure::usage(format!("ttl must be positive and cannot be larger than: {TTL_MS_MAX}")));
    }
    Ok(Kind::Ttl(ttl_ms))
}

/// Five bytes of the owner field.
const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

pub(super) fn set(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (path, text) = (argument(given, 1)?, argument(given, 2)?);
    let data = if given.has("b") {
        STANDARD.decode(text).map_err(|error| Failure::usage(format!("-b: this is not base64: {error}")))?
    } else {
        text.as_bytes().to_vec()
    };
    let stat = shell.zk().set_data(path, Some(&data), version(given)?)?;
    if shell.out.is_json() {
        shell.out.line(&json!({ "path": path, "stat": stat_json(&stat) }).to_string());
    } else if given.has("s") {
        shell.out.line(&stat_text(&stat));
    }
    Ok(())
}

pub(super) fn delete(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    if given.words.len() > 2 {
        shell.out.warn(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.",
        );
    }
    shell.zk().delete(path, version(given)?)?;
    Ok(())
}

pub(super) fn delete_all(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = argument(given, 1)?;
    let batch: i32 = match given.value("b") {
        Some(text) => text.parse().map_err(|_| Failure::usage("-b argument must be an int value"))?,
        None => 1000,
    };
    let zk = shell.zk();
    let paths = subtree(&zk, root)?;
    if batch <= 0 {
        for path in paths.iter().rev() {
            zk.delete(path, -1)?;
        }
        return Ok(());
    }
    let leaves_first: Vec<String> = paths.into_iter().rev().collect();
    for group in leaves_first.chunks(batch as usize) {
        if let Err(error) = zk.delete_together(group) {
            if error == ClientError::Interrupted {
                return Err(error.into());
            }
            let name = Failure::from(error.clone()).name();
            shell.out.complain_as(name, "Failed to delete some node(s) in the subtree!");
            shell.out.hint(&format!("{error}; ls -R {root} shows what is left"));
            return Ok(());
        }
    }
    Ok(())
}

/// All paths from here on, parents before children.
fn subtree(zk: &Client, root: &str) -> Result<Vec<String>, ClientError> {
    let mut paths = vec![root.to_string()];
    let mut next = 0;
    while let Some(parent) = paths.get(next).cloned() {
        let (children, _) = zk.children(&parent, false)?;
        paths.extend(children.iter().map(|child| path::join(&parent, child)));
        next += 1;
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shell::{commands, flags, words};

    fn kind_of(line: &str) -> Result<Kind, String> {
        let command = commands::find("create").expect("known");
        let given = flags::parse(&words::split(line), command.flags, command.rule).expect("good options");
        kind(&given).map_err(|failure| failure.message)
    }

    #[test]
    fn kinds_of_nodes() {
        assert_eq!(kind_of("create /a"), Ok(Kind::Persistent));
        assert_eq!(kind_of("create -s -e /a"), Ok(Kind::Ephemeral));
        assert_eq!(kind_of("create -c /a"), Ok(Kind::Container));
        assert_eq!(kind_of("create -st 5 /a"), Ok(Kind::Ttl(5)));
        for line in [
            "create -c -s /a",
            "create -t 5 -e /a",
            "create -t 0 /a",
            "create -t x /a",
            "create -t 1099511627776 /a",
        ] {
            assert!(kind_of(line).is_err(), "{line}");
        }
    }
}
