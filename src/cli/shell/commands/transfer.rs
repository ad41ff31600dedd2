//! Subtrees as files: `export` writes a node and all below it as JSON with data and ACLs, `import` creates them again,
//! there or elsewhere. Ephemeral nodes are written but not created again: they belong to a session. Of a container or a
//! TTL node a client cannot see that it is one; it comes back as a plain node.
//!
//! Neither is a transaction: what changes meanwhile may be old or new.

use super::{argument, walk};
use crate::cli::client::{Client, Create, Kind, path};
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::{acl_text, data_json};
use crate::cli::shell::session::Shell;
use crate::wire::{Acl, ErrorCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const FORMAT: &str = "ringkeeper-subtree";
const VERSION: u64 = 1;

pub(super) fn export(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = argument(given, 1)?;
    let zk = shell.zk();
    let mut nodes = Vec::new();
    walk::visit(shell, root, false, &mut |_, path| {
        let (data, stat) = match zk.data(path, false) {
            Ok(found) => found,
            Err(error) if error.is(ErrorCode::NoNode) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let acl: Vec<String> = match zk.acl(path) {
            Ok((acl, _)) => acl.iter().map(acl_text).collect(),
            Err(error) if error.is(ErrorCode::NoNode) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut node = json!({ "path": below(root, path), "data": data_json(data.as_deref()), "acl": acl });
        if stat.ephemeral_owner != 0 {
            node["ephemeral"] = json!(true);
        }
        nodes.push(node);
        Ok(())
    })?;
    let count = nodes.len();
    let whole = json!({ "format": FORMAT, "version": VERSION, "path": root, "nodes": nodes });
    let Some(file) = given.words.get(2) else {
        shell.out.line(&if shell.out.is_json() { whole.to_string() } else { format!("{whole:#}") });
        return Ok(());
    };
    std::fs::write(file, format!("{whole:#}\n")).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    shell.out.answer(
        || format!("{count} nodes of {root} are in {file}"),
        || json!({ "exported": count, "file": file }),
    );
    Ok(())
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

#[derive(Default)]
struct Report {
    created: usize,
    existing: usize,
    overwritten: usize,
    ephemeral: usize,
}

pub(super) fn import(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let file = argument(given, 1)?;
    let text = std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    let (from, nodes) = parse(&text).map_err(|why| Failure::new(format!("{file}: {why}")))?;
    let root = given.words.get(2).cloned().unwrap_or(from);
    path::validate(&root).map_err(Failure::new)?;
    let zk = shell.zk();
    make_ancestors(&zk, &root)?;
    let mut report = Report::default();
    for node in &nodes {
        let path = if root == "/" { node.below.clone() } else { format!("{root}{}", node.below) };
        let path = if path.is_empty() { "/".to_string() } else { path };
        bring_in(&zk, &path, node, given.has("-overwrite"), &mut report)?;
    }
    let Report { created, existing, overwritten, ephemeral } = report;
    let text = || {
        let mut text = format!("{created} nodes created below {root}");
        let others = [
            (existing, "existed already and stay as they are (--overwrite sets them)"),
            (overwritten, "existed already and were set"),
            (ephemeral, "were ephemeral and are left out"),
        ];
        for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("; {count} {what}"));
        }
        text
    };
    let json = || json!({ "created": created, "existing": existing, "overwritten": overwritten, "ephemeral": ephemeral });
    shell.out.answer(text, json);
    Ok(())
}

fn bring_in(
    zk: &Client,
    path: &str,
    node: &Node,
    overwrite: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    if node.is_ephemeral {
        report.ephemeral += 1;
        return Ok(());
    }
    let data = node.data.as_deref();
    let create = Create { path, data, acl: &node.acl, kind: Kind::Persistent, is_sequential: false };
    // The root of all is there, and /zookeeper belongs to the server.
    let is_there = path == "/" || path == "/zookeeper" || path.starts_with("/zookeeper/");
    let exists = is_there
        || match zk.create(&create) {
            Ok(_) => {
                report.created += 1;
                false
            }
            Err(error) if error.is(ErrorCode::NodeExists) => true,
            Err(error) => return Err(error.into()),
        };
    if exists && overwrite && !is_there {
        zk.set_data(path, data, -1)?;
        zk.set_acl(path, &node.acl, -1)?;
        report.overwritten += 1;
    } else if exists {
        report.existing += 1;
    }
    Ok(())
}

/// The nodes above the root of an import, without data.
fn make_ancestors(zk: &Client, root: &str) -> Result<(), Failure> {
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
            Err(error) if !error.is(ErrorCode::NodeExists) => return Err(error.into()),
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
