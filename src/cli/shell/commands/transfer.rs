//! Subtrees as files: `export` writes a node and all below it as JSON with data and ACLs, `import` creates them again,
//! there or elsewhere. Ephemeral nodes are written but not created again: they belong to a session. Of a container or a
//! TTL node a client cannot see that it is one; it comes back as a plain node.
//!
//! Neither is a transaction: what changes meanwhile may be old or new.

use super::{argument, walk};
use crate::cli::client::{Client, ClientError, Create, Kind, path};
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::{acl_text, data_json};
use crate::cli::shell::session::Shell;
use crate::wire::codes::perms;
use crate::wire::{Acl, ErrorCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;

const FORMAT: &str = "ringkeeper-subtree";
const VERSION: u64 = 1;

pub(super) fn export(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = argument(given, 1)?;
    let is_skipping = given.has("-skip");
    let zk = shell.zk();
    let mut nodes = Vec::new();
    // Told of by each request for it that is refused.
    let skipped = RefCell::new(BTreeSet::new());
    let mut skip = |path: &str| skipped.borrow_mut().extend([path.to_string()]);
    let denied: Option<&mut dyn FnMut(&str)> = if is_skipping { Some(&mut skip) } else { None };
    let visited =
        walk::visit_readable(shell, root, false, denied, &mut |_, path| match read(&zk, root, path) {
            Ok(node) => {
                nodes.extend(node);
                Ok(())
            }
            Err(error) if is_skipping && error.is(ErrorCode::NoAuth) => {
                skipped.borrow_mut().insert(path.to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        });
    visited.map_err(|failure| match &failure.cause {
        Some(error) if error.is(ErrorCode::NoAuth) && !is_skipping => {
            failure.and("nothing was written; --skip leaves out what may not be read")
        }
        _ => failure,
    })?;
    let skipped: Vec<String> = skipped.into_inner().into_iter().collect();
    let count = nodes.len();
    warn_of_hidden(shell, root, &nodes);
    let mut whole = json!({ "format": FORMAT, "version": VERSION, "path": root, "nodes": nodes });
    if !skipped.is_empty() {
        whole["skipped"] = json!(skipped);
    }
    let Some(file) = given.words.get(2) else {
        shell.out.line(&if shell.out.is_json() { whole.to_string() } else { format!("{whole:#}") });
        return Ok(());
    };
    std::fs::write(file, format!("{whole:#}\n")).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    let text = || match skipped.as_slice() {
        [] => format!("{} of {root} {} in {file}", nodes_text(count), are(count)),
        left_out => format!(
            "{} of {root} {} in {file}; what may not be read is left out with all below it: {}",
            nodes_text(count),
            are(count),
            left_out.join(", ")
        ),
    };
    shell.out.answer(text, || json!({ "exported": count, "file": file, "skipped": skipped }));
    Ok(())
}

/// Who may read a node but not administer it is shown digests as `user:x`, with which nobody could get in after an import.
fn warn_of_hidden(shell: &Shell, root: &str, nodes: &[Value]) {
    let is_hidden = |acl: &Value| {
        let id = acl.as_str().and_then(|acl| acl.strip_prefix("digest:")?.rsplit_once(':'));
        id.is_some_and(|(id, _)| id.ends_with(":x"))
    };
    let hidden =
        nodes.iter().filter(|node| node["acl"].as_array().is_some_and(|acl| acl.iter().any(is_hidden)));
    let hidden: Vec<String> =
        hidden.map(|node| format!("{root}{}", node["path"].as_str().unwrap_or_default())).collect();
    if let Some(first) = hidden.first() {
        shell.out.warn(&format!(
            "The server hides the digests in the ACL of {} ({first} is the first) from who may not administer it: they are \
             not in the file, and its import would let in nobody by them",
            nodes_text(hidden.len())
        ));
    }
}

/// A node as the file has it; None: it has gone.
fn read(zk: &Client, root: &str, path: &str) -> Result<Option<Value>, ClientError> {
    let both = || Ok((zk.data(path, false)?, zk.acl(path)?.0));
    let ((data, stat), acl) = match both() {
        Err(error) if ClientError::is(&error, ErrorCode::NoNode) => return Ok(None),
        both => both?,
    };
    let acl: Vec<String> = acl.iter().map(acl_text).collect();
    let mut node = json!({ "path": below(root, path), "data": data_json(data.as_deref()), "acl": acl });
    if stat.ephemeral_owner != 0 {
        node["ephemeral"] = json!(true);
    }
    Ok(Some(node))
}

fn nodes_text(count: usize) -> String {
    if count == 1 { "1 node".into() } else { format!("{count} nodes") }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// The path below the root: empty for the root itself.
fn below<'a>(root: &str, path: &'a str) -> &'a str {
    if root == "/" { path.strip_suffix('/').unwrap_or(path) } else { &path[root.len()..] }
}

/// A node to create, as the file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Node {
    below: String,
    data: Option<Vec<u8>>,
    acl: Vec<Acl>,
    is_ephemeral: bool,
}

/// What an import has done so far.
#[derive(Default)]
struct Report {
    created: usize,
    existing: usize,
    overwritten: usize,
    ephemeral: usize,
    /// Paths that have more than their ACL for as long as children are created below them, parents first.
    open: Vec<(String, Vec<Acl>)>,
}

pub(super) fn import(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let file = argument(given, 1)?;
    let text = std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    let (from, nodes) = parse(&text).map_err(|why| Failure::new(format!("{file}: {why}")))?;
    let root = given.words.get(2).cloned().unwrap_or(from);
    path::validate(&root).map_err(Failure::usage)?;
    let zk = shell.zk();
    let mut report = Report::default();
    let imported = bring_in_all(&zk, &root, &nodes, given.has("-overwrite"), &mut report);
    // Ctrl-C ends the import, not what must be done after it.
    zk.forget_interrupt();
    let closed = close_up(&zk, &mut report);
    let Report { created, existing, overwritten, ephemeral, open } = report;
    if let Err(error) = imported.and(closed) {
        let mut done = format!("{} created below {root} before that", nodes_text(created));
        if let Some((path, _)) = open.first() {
            let count = nodes_text(open.len());
            done.push_str(&format!(
                "; of {count} ({path} and on) the ACL lets create and change ACLs more than the file says"
            ));
        }
        return Err(Failure::from(error).and(&done));
    }
    let text = || {
        let mut text = format!("{} created below {root}", nodes_text(created));
        let others = [
            (existing, "that existed already left as before (--overwrite sets those)"),
            (overwritten, "that existed already set"),
            (ephemeral, "left out, because ephemeral"),
        ];
        for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("; {} {what}", nodes_text(*count)));
        }
        text
    };
    let json = || json!({ "created": created, "existing": existing, "overwritten": overwritten, "ephemeral": ephemeral });
    shell.out.answer(text, json);
    Ok(())
}

fn bring_in_all(
    zk: &Client,
    root: &str,
    nodes: &[Node],
    overwrite: bool,
    report: &mut Report,
) -> Result<(), ClientError> {
    make_ancestors(zk, root)?;
    let parents: BTreeSet<&str> =
        nodes.iter().filter_map(|node| Some(node.below.rsplit_once('/')?.0)).collect();
    for node in nodes {
        let path = if root == "/" { node.below.clone() } else { format!("{root}{}", node.below) };
        let path = if path.is_empty() { "/".to_string() } else { path };
        let has_children = parents.contains(node.below.as_str());
        bring_in(zk, &path, node, has_children, overwrite, report)?;
    }
    Ok(())
}

fn bring_in(
    zk: &Client,
    path: &str,
    node: &Node,
    has_children: bool,
    overwrite: bool,
    report: &mut Report,
) -> Result<(), ClientError> {
    if node.is_ephemeral {
        report.ephemeral += 1;
        return Ok(());
    }
    let data = node.data.as_deref();
    let meanwhile = if has_children { opened(&node.acl, zk.has_identities()) } else { None };
    let acl = meanwhile.as_ref().unwrap_or(&node.acl);
    let create = Create { path, data, acl, kind: Kind::Persistent, is_sequential: false };
    // The root of all is there, and /zookeeper belongs to the server.
    let is_there = path == "/" || path == "/zookeeper" || path.starts_with("/zookeeper/");
    let exists = is_there
        || match zk.create(&create) {
            Ok(_) => {
                report.created += 1;
                false
            }
            Err(error) if error.is(ErrorCode::NodeExists) => true,
            Err(error) => return Err(error),
        };
    let is_set = exists && overwrite && !is_there;
    if is_set {
        zk.set_data(path, data, -1)?;
        zk.set_acl(path, acl, -1)?;
        report.overwritten += 1;
    } else if exists {
        report.existing += 1;
    }
    if meanwhile.is_some() && (is_set || !exists) {
        report.open.push((path.into(), node.acl.clone()));
    }
    Ok(())
}

/// An ACL under which whoever imports can create children and set the right ACL later; None: everybody can already. Reading and
/// writing are never allowed to more than the file says.
fn opened(acl: &[Acl], has_identities: bool) -> Option<Vec<Acl>> {
    let needed = perms::CREATE | perms::ADMIN;
    let is_open = acl.iter().any(|acl| acl.scheme == "world" && acl.perms & needed == needed);
    if is_open {
        return None;
    }
    let (scheme, id) = if has_identities { ("auth", "") } else { ("world", "anyone") };
    let own = Acl { perms: needed, scheme: scheme.into(), id: id.into() };
    Some(acl.iter().cloned().chain([own]).collect())
}

/// Sets the ACLs that were left open, from the leaves up; what is still open stays in the report.
fn close_up(zk: &Client, report: &mut Report) -> Result<(), ClientError> {
    while let Some((path, acl)) = report.open.last() {
        match zk.set_acl(path, acl, -1) {
            // Somebody else has deleted it meanwhile.
            Err(error) if !error.is(ErrorCode::NoNode) => return Err(error),
            _ => report.open.pop(),
        };
    }
    Ok(())
}

/// The nodes above the root of an import, without data.
fn make_ancestors(zk: &Client, root: &str) -> Result<(), ClientError> {
    let ends = root.match_indices('/').map(|(at, _)| at).skip(1);
    for end in ends {
        let create = Create {
            path: &root[..end],
            data: None,
            acl: &Acl::open(),
            kind: Kind::Persistent,
            is_sequential: false,
        };
        match zk.create(&create) {
            Err(error) if !error.is(ErrorCode::NodeExists) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The root that was exported, and the nodes, parents first. An `Err` says what is wrong.
fn parse(text: &str) -> Result<(String, Vec<Node>), String> {
    let whole: Value = serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))?;
    if whole["format"] != FORMAT {
        return Err(format!("this is not what export writes: \"format\" should be \"{FORMAT}\""));
    }
    if whole["version"] != VERSION {
        return Err(format!("version {} is not known, only {VERSION}", whole["version"]));
    }
    let root = whole["path"].as_str().ok_or("\"path\" is missing")?;
    let nodes = whole["nodes"].as_array().ok_or("\"nodes\" is missing")?;
    let nodes = nodes.iter().enumerate().map(|(at, node)| {
        parse_node(node).map_err(|why| format!("node {at} ({}): {why}", node["path"].as_str().unwrap_or("?")))
    });
    Ok((root.into(), nodes.collect::<Result<Vec<_>, String>>()?))
}

fn parse_node(node: &Value) -> Result<Node, String> {
    let below = node["path"].as_str().ok_or("\"path\" is missing")?;
    if !below.is_empty() {
        path::validate(below)?;
    }
    let data = match &node["data"] {
        Value::Null => None,
        data => Some(match (data["text"].as_str(), data["base64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(text)) => STANDARD.decode(text).map_err(|error| format!("\"base64\": {error}"))?,
            (None, None) => {
                return Err("\"data\" should be null, {\"text\": ...} or {\"base64\": ...}".into());
            }
        }),
    };
    let acl = node["acl"].as_array().ok_or("\"acl\" is missing")?;
    let entry = |entry: &Value| super::acl::parse_strictly(entry.as_str().unwrap_or_default());
    let acl = acl.iter().map(entry).collect::<Result<Vec<_>, String>>()?;
    Ok(Node { below: below.into(), data, acl, is_ephemeral: node["ephemeral"] == true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_root() {
        assert_eq!(
            (below("/a", "/a"), below("/a", "/a/b"), below("/", "/"), below("/", "/b")),
            ("", "/b", "", "/b")
        );
    }

    #[test]
    fn an_import_never_lets_read_or_write_more_than_the_file_says() {
        let acl = |text: &str| super::super::acl::parse_strictly(text).expect("an ACL");
        assert_eq!(opened(&[acl("world:anyone:cdrwa")], true), None);
        assert_eq!(opened(&[acl("world:anyone:ca"), acl("digest:u:h=:r")], false), None);
        let read_only = acl("world:anyone:r");
        let own = |has| opened(std::slice::from_ref(&read_only), has).expect("not open");
        assert_eq!(own(true), [read_only.clone(), acl("auth::ca")]);
        assert_eq!(own(false), [read_only.clone(), acl("world:anyone:ca")]);
        // A digest with all permissions may be somebody else's.
        assert!(opened(&[acl("digest:u:h=:cdrwa")], true).is_some());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let good = r#"{"format":"ringkeeper-subtree","version":1,"path":"/a","nodes":[
            {"path":"","data":null,"acl":["world:anyone:cdrwa"]},
            {"path":"/b","data":{"base64":"/w=="},"acl":["digest:u:h=:r"],"ephemeral":true}]}"#;
        let (root, nodes) = parse(good).expect("good");
        assert_eq!((root.as_str(), nodes.len()), ("/a", 2));
        assert_eq!(nodes[1].data.as_deref(), Some(&b"\xff"[..]));
        assert!(nodes[1].is_ephemeral && nodes[1].acl[0].id == "u:h=");
        for (from, to, says) in [
            ("ringkeeper-subtree", "x", "format"),
            ("\"version\":1", "\"version\":2", "version 2"),
            ("\"/b\"", "\"b\"", "must start with /"),
            ("digest:u:h=:r", "digest", "scheme:id:perm"),
            ("\"base64\"", "\"hex\"", "should be null"),
        ] {
            let why = parse(&good.replace(from, to)).expect_err("broken");
            assert!(why.contains(says), "{why}");
        }
    }
}
