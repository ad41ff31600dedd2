//! Commands that only look: get, ls, stat, sync, getEphemerals, getAllChildrenNumber.

use super::{argument, usage_of, walk};
use crate::cli::client::ClientError;
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::{Values, data_json, stat_json, stat_text};
use crate::cli::shell::session::Shell;
use crate::wire::{ErrorCode, Stat};
use serde_json::{Value, json};

pub(super) fn get(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    argument(given, 1)?;
    let given = &with_old_watch(
        shell,
        given,
        "'get path [watch]' has been deprecated. Please use 'get [-s] [-w] path' instead.",
    )?;
    let path = argument(given, 1)?;
    let (data, stat) = shell.zk().data(path, given.has("w"))?;
    let values = match (given.has("x"), given.has("b")) {
        (true, _) => Values::Hex,
        (false, true) => Values::Base64,
        (false, false) => shell.options.values,
    };
    let text = || with_stat(values.show(data.as_deref()), given.has("s").then_some(&stat));
    let json = || {
        stat_into(
            json!({ "path": path, "data": data_json(data.as_deref()) }),
            given.has("s").then_some(&stat),
        )
    };
    shell.out.answer(text, json);
    Ok(())
}

/// zkCli still takes `get path watch` for `get -w path`.
fn with_old_watch(shell: &Shell, given: &Given, complaint: &str) -> Result<Given, Failure> {
    if given.words.len() <= 2 {
        return Ok(given.clone());
    }
    shell.out.warn(complaint);
    let mut again = given.clone();
    again.words.truncate(2);
    again.add("w");
    Ok(again)
}

pub(super) fn list(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    if given.has("?") {
        let options = super::find("ls").map(super::Command::options).unwrap_or_default();
        shell.out.text(&format!("usage: ls [options] path\n{}", options.trim_end()));
    }
    let given = &with_old_watch(
        shell,
        given,
        "'ls path [watch]' has been deprecated. Please use 'ls [-w] path' instead.",
    )?;
    let path = argument(given, 1)?;
    if given.has("R") {
        return walk::visit(shell, path, given.has("w"), &mut |shell, path| {
            shell.out.answer(|| path.into(), || json!({ "path": path }));
            Ok(())
        });
    }
    let (mut children, stat) = shell.zk().children(path, given.has("w"))?;
    children.sort_by(|one, other| one.encode_utf16().cmp(other.encode_utf16()));
    let text = || with_stat(format!("[{}]", children.join(", ")), given.has("s").then_some(&stat));
    let json = || stat_into(json!({ "path": path, "children": children }), given.has("s").then_some(&stat));
    shell.out.answer(text, json);
    Ok(())
}

pub(super) fn stat(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    argument(given, 1)?;
    let given = &with_old_watch(
        shell,
        given,
        "'stat path [watch]' has been deprecated. Please use 'stat [-w] path' instead.",
    )?;
    let path = argument(given, 1)?;
    let no_node = || ClientError::code(ErrorCode::NoNode.code()).about(path);
    let stat = shell.zk().exists(path, given.has("w"))?.ok_or_else(no_node)?;
    shell.out.answer(|| stat_text(&stat), || json!({ "path": path, "stat": stat_json(&stat) }));
    Ok(())
}

pub(super) fn sync(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let result = shell.zk().sync(path);
    let code = match result {
        Ok(()) => 0,
        Err(ClientError::Code { code, .. }) => code,
        Err(other) => return Err(other.into()),
    };
    let text = || if code == 0 { "Sync is OK".into() } else { format!("Sync has failed. rc={code}") };
    shell.out.answer(text, || json!({ "sync": path, "rc": code }));
    Ok(())
}

pub(super) fn ephemerals(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let prefix = given.words.get(1).map_or("/", String::as_str);
    let mut paths = shell.zk().ephemerals(prefix)?;
    paths.sort();
    shell.out.answer(|| format!("[{}]", paths.join(", ")), || json!({ "ephemerals": paths }));
    Ok(())
}

pub(super) fn all_children_number(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = given.words.get(1).ok_or_else(|| usage_of(given))?;
    let count = shell.zk().all_children_number(path)?;
    shell.out.answer(|| count.to_string(), || json!({ "path": path, "allChildrenNumber": count }));
    Ok(())
}

/// The text, then the Stat's lines if wanted.
pub(super) fn with_stat(text: String, stat: Option<&Stat>) -> String {
    match stat {
        Some(stat) => format!("{text}\n{}", stat_text(stat)),
        None => text,
    }
}

/// The object with a field `stat` if wanted.
pub(super) fn stat_into(mut object: Value, stat: Option<&Stat>) -> Value {
    if let Some(stat) = stat {
        object["stat"] = stat_json(stat);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_follow_the_answer() {
        let stat = Stat::default();
        assert!(with_stat("x".into(), Some(&stat)).starts_with("x\ncZxid = 0x0\nctime = "));
        assert_eq!(with_stat("x".into(), None), "x");
        assert_eq!(stat_into(json!({}), Some(&stat))["stat"]["dataLength"], 0);
    }
}
