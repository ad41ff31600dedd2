//! `inspect diff`: what is different between two trees. Both are in memory.

use super::output::Out;
use super::render;
use super::state::{self, State};
use crate::tree::{Node, Slot};
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What changed between two snapshots, or two places in the log of a folder.
#[derive(Args)]
pub(super) struct DiffArgs {
    /// A snapshot, a folder or its zoo.cfg, or FOLDER@ZXID for its state at that zxid (0x1f or 31).
    before: PathBuf,
    /// The same, of what to compare with.
    after: PathBuf,
    /// Of a folder: where its logs are, if not in it (dataLogDir); a zoo.cfg says that itself.
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &DiffArgs, out: &mut Out) -> Result<(), String> {
    let state = |place| state::of(place, arguments.log_dir.as_deref());
    let (before, after) = (state(&arguments.before)?, state(&arguments.after)?);
    let mut counts = Counts::default();
    let (old, new) = (nodes(&before), nodes(&after));
    let paths: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    for path in paths {
        match (old.get(path), new.get(path)) {
            (None, Some(place)) => {
                counts.created += 1;
                tell(out, "created", path, &after, place)?;
            }
            (Some(place), None) => {
                counts.deleted += 1;
                tell(out, "deleted", path, &before, place)?;
            }
            (Some(old), Some(new)) => changed(out, path, (&before, old), (&after, new), &mut counts)?,
            (None, None) => unreachable!("the path is from one of them"),
        }
    }
    sessions(out, &before, &after)?;
    if out.is_json {
        return out
            .json(&json!({"created": counts.created, "deleted": counts.deleted, "changed": counts.changed}));
    }
    out.line(&format!("{} created, {} deleted, {} changed", counts.created, counts.deleted, counts.changed))
}

#[derive(Default)]
struct Counts {
    created: u64,
    deleted: u64,
    changed: u64,
}

type Place<'a> = (Slot, &'a Node);

fn nodes(state: &State) -> BTreeMap<&str, Place<'_>> {
    state.store.tree().nodes().map(|(slot, node)| (node.path(), (slot, node))).collect()
}

fn full(state: &State, (slot, node): &Place<'_>) -> Value {
    let tree = state.store.tree();
    render::node_json(node, tree.child_stat(*slot), tree.acl(node.head().acl))
}

fn tell(out: &mut Out, change: &str, path: &str, state: &State, place: &Place<'_>) -> Result<(), String> {
    if out.is_json {
        return out.json(&json!({"change": change, "path": path, "node": full(state, place)}));
    }
    let sign = if change == "created" { '+' } else { '-' };
    out.line(&format!("{sign} {path}  {} bytes", place.1.data_length()))
}

fn changed(
    out: &mut Out,
    path: &str,
    (before, old): (&State, &Place<'_>),
    (after, new): (&State, &Place<'_>),
    counts: &mut Counts,
) -> Result<(), String> {
    let (old_value, new_value) = (full(before, old), full(after, new));
    if old_value == new_value {
        return Ok(());
    }
    counts.changed += 1;
    let fields = new_value.as_object().expect("an object");
    let fields: Vec<&String> = fields.keys().filter(|key| old_value[*key] != new_value[*key]).collect();
    if out.is_json {
        return out.json(&json!({"change": "changed", "path": path, "fields": fields, "before": old_value,
            "after": new_value}));
    }
    let text = |key: &str| match key {
        "data" => format!("data {} -> {} bytes", old.1.data_length(), new.1.data_length()),
        "acl" => {
            let acl = |state: &State, place: &Place<'_>| {
                render::acl_text(state.store.tree().acl(place.1.head().acl))
            };
            format!("acl {} -> {}", acl(before, old), acl(after, new))
        }
        _ => format!("{key} {} -> {}", old_value[key], new_value[key]),
    };
    let fields: Vec<String> = fields.iter().map(|key| text(key)).collect();
    out.line(&format!("~ {path}  {}", fields.join(", ")))
}

fn sessions(out: &mut Out, before: &State, after: &State) -> Result<(), String> {
    let mut tell = |sign: &str, change: &str, session: &crate::ids::SessionId, timeout_ms: i32| {
        if out.is_json {
            return out
                .json(&json!({"change": change, "session": session.to_string(), "timeoutMs": timeout_ms}));
        }
        out.line(&format!("{sign} session {session}  timeout {timeout_ms} ms"))
    };
    for (session, timeout_ms) in before.sessions.iter().filter(|(id, _)| !after.sessions.contains_key(id)) {
        tell("-", "session ended", session, *timeout_ms)?;
    }
    for (session, timeout_ms) in after.sessions.iter().filter(|(id, _)| !before.sessions.contains_key(id)) {
        tell("+", "session began", session, *timeout_ms)?;
    }
    Ok(())
}
