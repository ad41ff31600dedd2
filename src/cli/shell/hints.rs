//! What to do about a failure: found by looking at the server once more, never instead of zkCli's own line.

use super::Shell;
use super::commands;
use super::failure::Failure;
use super::output::acl_text;
use crate::cli::client::{Client, ClientError, NO_SESSION, path};
use crate::wire::ErrorCode;

/// The failure with a hint, if there is something to say.
pub(super) fn advise(shell: &Shell, words: &[String], failure: Failure) -> Failure {
    if failure.hint.is_some() {
        return failure;
    }
    let hint = match &failure.cause {
        Some(error) => shell.session().and_then(|client| about_error(&client, &shell.host, words, error)),
        None => about_words(words, &failure),
    };
    Failure { hint, ..failure }
}

/// None of these answered.
pub(super) fn unreachable(server: &str) -> String {
    format!(
        "is a server running at {server}? -server HOST:PORT names another; echo srvr | nc HOST PORT asks it"
    )
}

fn about_words(words: &[String], failure: &Failure) -> Option<String> {
    let name = words.first()?;
    if failure.exit_code == 127 {
        let renamed = match name.as_str() {
            "rmr" => Some("deleteall"),
            "ls2" => Some("ls -s"),
            _ => commands::closest(name),
        };
        let meant = renamed.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
        return Some(format!("{meant}help lists the commands"));
    }
    let command = commands::find(name)?;
    let is_about_options = failure.message.starts_with("org.apache.commons.cli.");
    is_about_options.then(|| format!("{} {}", command.name, command.form))
}

fn about_error(client: &Client, host: &str, words: &[String], error: &ClientError) -> Option<String> {
    if error.is_connection_loss() {
        let why = client.last_failure();
        return Some(match why.as_str() {
            "" => unreachable(host),
            why if why.contains(NO_SESSION) => format!(
                "{why}: a server is there, but opens no session. Its log says why, for example a full disk, or as many \
                 connections of this address as maxClientCnxns allows"
            ),
            why => format!("{why}; {}", unreachable(host)),
        });
    }
    let ClientError::Code { path, .. } = error else { return None };
    if path.is_empty() || !client.state().is_connected() {
        return None;
    }
    if error.is(ErrorCode::NoNode) {
        no_node(client, path)
    } else if error.is(ErrorCode::NodeExists) {
        Some("set changes its data".into())
    } else if error.is(ErrorCode::NotEmpty) {
        let count = client.all_children_number(path).ok()?;
        let below = if count == 1 { "1 node is".into() } else { format!("{count} nodes are") };
        Some(format!("{below} below it; deleteall {path} deletes all"))
    } else if error.is(ErrorCode::BadVersion) {
        let stat = client.exists(path, false).ok()??;
        let (name, version) = match words.first().map(String::as_str) {
            Some("setAcl") => ("aclVersion", stat.aversion),
            _ => ("dataVersion", stat.version),
        };
        Some(format!("its {name} is {version}"))
    } else if error.is(ErrorCode::NoAuth) {
        let acl: Vec<String> = client.acl(path).ok()?.0.iter().map(acl_text).collect();
        Some(format!(
            "its ACL is {}; addauth SCHEME AUTH proves an identity, whoami lists yours",
            acl.join(",")
        ))
    } else if error.is(ErrorCode::NoChildrenForEphemerals) {
        path::parent(path).map(|parent| format!("{parent} is ephemeral"))
    } else {
        None
    }
}

/// Which ancestor exists.
fn no_node(client: &Client, missing: &str) -> Option<String> {
    let mut at = path::parent(missing)?;
    let mut below = missing;
    loop {
        match client.exists(at, false) {
            Ok(Some(_)) if at == "/" && below == missing => return Some("ls / lists what there is".into()),
            Ok(Some(_)) => return Some(format!("{at} exists, {below} does not")),
            Ok(None) => (below, at) = (at, path::parent(at)?),
            Err(_) => return None,
        }
    }
}
