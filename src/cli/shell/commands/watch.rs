//! Commands about watches: addWatch, removewatches, and ours, `watch`, which follows a subtree as it changes.

use super::{argument, usage_of};
use crate::cli::client::{Client, ClientError, Event, WatchKind};
use crate::cli::shell::announcer::Heard;
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::data_json;
use crate::cli::shell::session::Shell;
use crate::wire::ErrorCode;
use serde_json::json;
use std::sync::mpsc::{Receiver, channel};

pub(super) fn add(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let [_, path] = given.words.as_slice() else { return Err(usage_of(given)) };
    let is_recursive = match given.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => true,
        Some("PERSISTENT") => false,
        Some(_) => return Err(usage_of(given)),
    };
    Ok(shell.zk().add_watch(path, is_recursive)?)
}

pub(super) fn remove(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let kinds = [
        ("c", WatchKind::Children),
        ("d", WatchKind::Data),
        ("p", WatchKind::Persistent),
        ("r", WatchKind::Recursive),
    ];
    let kind = kinds.iter().find(|(option, _)| given.has(option)).map_or(WatchKind::Any, |(_, kind)| *kind);
    Ok(shell.zk().remove_watches(path, kind, given.has("l"))?)
}

pub(super) fn follow(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let count = match given.value("-count") {
        Some(text) => text
            .parse()
            .map_err(|_| Failure::usage(format!("--count: expected a number, found \"{text}\"")))?,
        None => u64::MAX,
    };
    let zk = shell.zk();
    let (sender, receiver) = channel();
    shell.announcer.set_follower(Some(sender));
    let was_watched = zk.is_watching_below(path);
    let outcome = zk.add_watch(path, true).map_err(Failure::from).and_then(|()| {
        shell.out.text(&format!("following {path}; Ctrl-C ends it"));
        show(shell, &zk, &receiver, count)
    });
    zk.forget_interrupt();
    // The removal's own event goes to the follower, too, and nobody looks at it.
    if !was_watched && zk.state().is_connected() {
        let _ = zk.remove_watches(path, WatchKind::Recursive, true);
    }
    shell.announcer.set_follower(None);
    outcome
}

fn show(shell: &Shell, zk: &Client, receiver: &Receiver<Heard>, mut count: u64) -> Result<(), Failure> {
    while count > 0 {
        match receiver.recv() {
            Ok(Heard::Event(event)) if event.path.is_some() => {
                show_change(shell, zk, &event)?;
                count -= 1;
            }
            Ok(Heard::Event(event)) => {
                let text = || format!("-- {}", event.state);
                shell.out.answer(text, || json!({ "state": event.state }));
                if !zk.state().is_alive() {
                    return Err(Failure::new("the session is over").with_hint("connect opens a new one"));
                }
            }
            Ok(Heard::Interrupted) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn show_change(shell: &Shell, zk: &Client, event: &Event) -> Result<(), Failure> {
    let path = event.path.as_deref().unwrap_or_default();
    let (verb, has_data) = match event.kind {
        "NodeCreated" => ("created", true),
        "NodeDataChanged" => ("changed", true),
        "NodeDeleted" => ("deleted", false),
        "NodeChildrenChanged" => ("children of", false),
        other => (other, false),
    };
    let data = if has_data { zk.data(path, false) } else { Err(ClientError::code(ErrorCode::NoNode.code())) };
    let data = match data {
        Ok((data, _)) => Some(data),
        // It is gone again, secret, or out of reach, or the user has had enough: the change itself is news enough.
        Err(_) => None,
    };
    let text = || match &data {
        Some(data) => format!("{verb} {path} = {}", shell.options.values.show(data.as_deref())),
        None => format!("{verb} {path}"),
    };
    let json = || {
        let data = data.as_ref().map(|data| data_json(data.as_deref()));
        json!({ "event": event.kind, "path": path, "zxid": event.zxid, "data": data })
    };
    shell.out.answer(text, json);
    Ok(())
}
