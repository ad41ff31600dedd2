//! Commands about who may do what: getAcl, setAcl, addauth, whoami.

use super::{argument, usage_of, version, walk};
use crate::cli::client::ClientError;
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::{acl_text, permissions, stat_json, stat_text};
use crate::cli::shell::session::Shell;
use crate::wire::codes::perms;
use crate::wire::{Acl, ErrorCode};
use serde_json::json;

pub(super) fn show(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let (acl, stat) = shell.zk().acl(path)?;
    let text = || {
        let lines =
            acl.iter().map(|acl| format!("'{},'{}\n: {}", acl.scheme, acl.id, permissions(acl.perms)));
        let stat = given.has("s").then(|| stat_text(&stat));
        lines.chain(stat).collect::<Vec<_>>().join("\n")
    };
    let json = || {
        let list: Vec<String> = acl.iter().map(acl_text).collect();
        json!({ "path": path, "acl": list, "stat": stat_json(&stat) })
    };
    shell.out.answer(text, json);
    Ok(())
}

pub(super) fn set(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (path, text) = (argument(given, 1)?, argument(given, 2)?);
    let acl = parse(shell, path, text);
    let version = version(given)?;
    if given.has("R") {
        return walk::visit(shell, path, false, &mut |shell, path| {
            if let Err(error) = shell.zk().set_acl(path, &acl, version) {
                if error == ClientError::Interrupted {
                    return Err(error.into());
                }
                shell.out.text(&error.to_string());
            }
            Ok(())
        });
    }
    let stat = shell.zk().set_acl(path, &acl, version)?;
    if shell.out.is_json() {
        shell.out.line(&json!({ "path": path, "stat": stat_json(&stat) }).to_string());
    } else if given.has("s") {
        shell.out.line(&stat_text(&stat));
    }
    Ok(())
}

pub(super) fn add_auth(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let scheme = given.words.get(1).ok_or_else(|| usage_of(given))?;
    let auth = given.words.get(2).map(String::as_bytes);
    shell.zk().add_auth(scheme, auth).map_err(|error| {
        let hint = "the server refused this identity and ended the session; connect opens a new one";
        let is_refused = error.is(ErrorCode::AuthFailed);
        let failure = Failure::from(error);
        if is_refused { failure.with_hint(hint) } else { failure }
    })
}

pub(super) fn who_am_i(shell: &mut Shell, _given: &Given) -> Result<(), Failure> {
    let identities = shell.zk().who_am_i()?;
    let text = || {
        let lines = identities.iter().map(|identity| format!("{}: {}", identity.scheme, identity.id));
        std::iter::once("Auth scheme: User".to_string()).chain(lines).collect::<Vec<_>>().join("\n")
    };
    let json = || {
        let list =
            identities.iter().map(|identity| json!({ "scheme": identity.scheme, "user": identity.id }));
        json!({ "identities": list.collect::<Vec<_>>() })
    };
    shell.out.answer(text, json);
    Ok(())
}

/// `scheme:id:perms,...`, where the id may have colons; what has not this form is complained about and left out.
pub(super) fn parse(shell: &Shell, path: &str, text: &str) -> Vec<Acl> {
    let (acl, complaints) = parsed(text);
    complaints.iter().for_each(|complaint| shell.out.warn(complaint));
    if !complaints.is_empty() {
        let left: Vec<String> = acl.iter().map(acl_text).collect();
        shell.out.hint(&format!(
            "{FORM}; without what is wrong, the ACL of {path} is \"{}\"{}",
            left.join(","),
            if acl.iter().all(|acl| acl.perms == 0) { ", which lets in nobody but a superuser" } else { "" }
        ));
    }
    acl
}

/// What an ACL looks like, in one line.
pub(super) const FORM: &str = "an ACL is scheme:id:permissions,... with permissions of cdrwa (create, delete, read, write, \
     admin), e.g. world:anyone:r,digest:user:HASH:cdrwa";

fn parsed(text: &str) -> (Vec<Acl>, Vec<String>) {
    let (mut list, mut complaints) = (Vec::new(), Vec::new());
    // As Java splits: empty parts at the end do not count.
    let entries = text.trim_end_matches(',').split(',');
    for entry in entries {
        let (Some(first), Some(last)) = (entry.find(':'), entry.rfind(':')) else {
            complaints.push(format!("{entry} does not have the form scheme:id:perm"));
            continue;
        };
        if first == last {
            complaints.push(format!("{entry} does not have the form scheme:id:perm"));
            continue;
        }
        let mut bits = 0;
        for letter in entry[last + 1..].chars() {
            bits |= match letter {
                'r' => perms::READ,
                'w' => perms::WRITE,
                'c' => perms::CREATE,
                'd' => perms::DELETE,
                'a' => perms::ADMIN,
                _ => {
                    complaints.push(format!("Unknown perm type: {letter}"));
                    0
                }
            };
        }
        list.push(Acl { perms: bits, scheme: entry[..first].into(), id: entry[first + 1..last].into() });
    }
    (list, complaints)
}

/// The same for what `export` wrote, where nothing may be wrong.
pub(super) fn parse_strictly(text: &str) -> Result<Acl, String> {
    match parsed(text) {
        (mut list, complaints) if complaints.is_empty() && list.len() == 1 => Ok(list.remove(0)),
        (_, complaints) => Err(complaints.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_zkcli_reads_them() {
        let (list, complaints) = parsed("world:anyone:rw,digest:u:hash=:cdrwa,nonsense,a:b,ip:::1:x");
        let texts: Vec<String> = list.iter().map(acl_text).collect();
        assert_eq!(texts, ["world:anyone:rw", "digest:u:hash=:cdrwa", "ip:::1:"]);
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert_eq!(complaints[2], "Unknown perm type: x");
        assert!(parse_strictly("world:anyone:r").is_ok() && parse_strictly("x").is_err());
    }
}
