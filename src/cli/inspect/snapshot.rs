//! `inspect snapshot`: the summary of a tree, or its nodes. A file is read as a stream: the memory does not grow with
//! the number of nodes, because snapshots are written depth first.

use super::files::{Kind, folders_of, kind_of, unpacked};
use super::log::parse_zxid;
use super::output::Out;
use super::render;
use super::state::{self, SETTINGS, State};
use crate::ids::{AclId, SessionId, Zxid};
use crate::tree::digest::node_digest;
use crate::tree::image::{self, ImageOptions};
use crate::tree::{ChildStat, Node, Owner, Tree};
use clap::Args;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};

/// The summary of a snapshot, or of the state of a folder; or its nodes.
#[derive(Args)]
pub(super) struct SnapshotArgs {
    /// A snapshot of Apache ZooKeeper or Ringkeeper, or a folder with snapshots and logs, or its zoo.cfg.
    path: PathBuf,
    /// Of a folder: where its logs are, if not in it (dataLogDir); a zoo.cfg says that itself.
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
    /// Of a folder: the state at this zxid instead of the end of its log.
    #[arg(long, value_name = "ZXID", value_parser = parse_zxid)]
    at: Option<Zxid>,
    /// Show the nodes, one per line.
    #[arg(long)]
    tree: bool,
    /// How many of the largest nodes and subtrees the summary names.
    #[arg(long, default_value_t = 10)]
    largest: usize,
}

impl SnapshotArgs {
    /// A plain summary.
    pub fn of(path: &Path) -> SnapshotArgs {
        SnapshotArgs { path: path.into(), log_dir: None, at: None, tree: false, largest: 10 }
    }
}

pub(super) fn run(arguments: &SnapshotArgs, out: &mut Out) -> Result<(), String> {
    let mut visitor = Visitor { out, is_tree: arguments.tree, summary: Summary::new(arguments.largest) };
    let about = if arguments.at.is_some() || folders_of(&arguments.path)?.is_some() {
        let state = state::at(&arguments.path, arguments.log_dir.as_deref(), arguments.at)?;
        of_folder(&arguments.path, &state, &mut visitor)?
    } else {
        of_file(&arguments.path, &mut visitor)?
    };
    visitor.summary.leave_to("");
    if arguments.tree { Ok(()) } else { visitor.summary.print(&about, visitor.out) }
}

/// What is known beside the nodes.
struct About {
    path: PathBuf,
    kind: String,
    sessions: Vec<(SessionId, i32)>,
    digest: Option<(Zxid, u64)>,
    last_zxid: Option<Zxid>,
    acls: BTreeMap<AclId, String>,
}

fn of_file(path: &Path, visitor: &mut Visitor<'_>) -> Result<About, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let kind = kind_of(path).map_err(|error| named(&error))?;
    let Kind::Snapshot(packing) = kind else {
        return Err(format!("{} is no snapshot ({})", path.display(), kind.name()));
    };
    let mut source = unpacked(path, packing).map_err(|error| named(&error))?;
    let empty = Tree::empty(SETTINGS.hash_seed, SETTINGS.rules);
    let visit = &mut |tree: &Tree, node: &Node, children| visitor.node(tree, node, children);
    let image = image::scan(&mut source, empty, &ImageOptions::default(), visit);
    let image = image.map_err(|error| named(&error))?;
    Ok(About {
        path: path.into(),
        kind: kind.name().into(),
        sessions: image.sessions,
        digest: image.digest,
        last_zxid: image.last_zxid,
        acls: acls(&image.tree),
    })
}

fn of_folder(path: &Path, state: &State, visitor: &mut Visitor<'_>) -> Result<About, String> {
    let tree = state.store.tree();
    let mut stack: Vec<_> = tree.root().into_iter().collect();
    while let Some(slot) = stack.pop() {
        visitor.node(tree, tree.at(slot), tree.child_stat(slot))?;
        let first = stack.len();
        stack.extend(tree.children(slot).map(|(child, _)| child));
        // The summary is the same in any order, and sorting a million children takes longer than reading them.
        if visitor.is_tree {
            stack[first..]
                .sort_by(|left, right| tree.at(*right).path_bytes().cmp(tree.at(*left).path_bytes()));
        }
    }
    let zxid = state.zxid.expect("a folder's state has a zxid");
    Ok(About {
        path: path.into(),
        kind: "restored from snapshot and log".into(),
        sessions: state.sessions.iter().map(|(session, timeout)| (*session, *timeout)).collect(),
        digest: state.store.digest().map(|digest| (zxid, digest)),
        last_zxid: state.zxid,
        acls: acls(tree),
    })
}

fn acls(tree: &Tree) -> BTreeMap<AclId, String> {
    tree.acls().map(|(id, acl)| (id, render::acl_text(acl))).collect()
}

struct Visitor<'a> {
    out: &'a mut Out,
    is_tree: bool,
    summary: Summary,
}

impl Visitor<'_> {
    fn node(&mut self, tree: &Tree, node: &Node, children: ChildStat) -> Result<(), String> {
        self.summary.add(node, children)?;
        if !self.is_tree {
            return Ok(());
        }
        let acl = tree.acl(node.head().acl);
        if self.out.is_json {
            return self.out.json(&render::node_json(node, children, acl));
        }
        let head = node.head();
        let depth = node.path_bytes().iter().filter(|byte| **byte == b'/').count();
        let (indent, name) = match node.path() {
            "/" => (0, "/"),
            _ => (2 * depth, node.name()),
        };
        let owner = if head.owner == 0 { String::new() } else { format!(", owner 0x{:x}", head.owner) };
        self.out.line(&format!(
            "{:indent$}{name}  {} bytes, version {}, cversion {}, aversion {}, czxid {}, mzxid {}, pzxid {}{owner}, {}",
            "",
            node.data_length(),
            head.version,
            children.cversion,
            head.aversion,
            head.czxid,
            head.mzxid,
            children.pzxid,
            render::acl_text(acl)
        ))
    }
}

/// Grows with the depth of the tree, the sessions and what is asked for.
struct Summary {
    nodes: u64,
    data_bytes: u64,
    path_bytes: u64,
    digest: u64,
    containers: u64,
    ttls: u64,
    ephemerals: BTreeMap<i64, u64>,
    acl_uses: BTreeMap<AclId, u64>,
    /// From the root to the node read last.
    open: Vec<Subtree>,
    largest_nodes: Largest,
    largest_subtrees: Largest,
    most_children: Largest,
}

struct Subtree {
    path: String,
    bytes: u64,
    nodes: u64,
    children: u64,
}

/// The few with the greatest number; among equals the first by path, in whatever order they come.
struct Largest {
    limit: usize,
    heap: BinaryHeap<Reverse<(u64, Reverse<String>)>>,
}

impl Largest {
    fn new(limit: usize) -> Largest {
        Largest { limit, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, number: u64, path: &str) {
        if number == 0 || self.limit == 0 {
            return;
        }
        if self.heap.len() == self.limit {
            let Some(Reverse((least, Reverse(last)))) = self.heap.peek() else { return };
            if number < *least || number == *least && path >= last.as_str() {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse((number, Reverse(path.to_string()))));
    }

    fn descending(&self) -> Vec<(u64, String)> {
        let mut all: Vec<_> =
            self.heap.iter().map(|Reverse((number, Reverse(path)))| (*number, path.clone())).collect();
        all.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        all
    }
}

impl Summary {
    fn new(largest: usize) -> Summary {
        Summary {
            nodes: 0,
            data_bytes: 0,
            path_bytes: 0,
            digest: 0,
            containers: 0,
            ttls: 0,
            ephemerals: BTreeMap::new(),
            acl_uses: BTreeMap::new(),
            open: Vec::new(),
            largest_nodes: Largest::new(largest),
            largest_subtrees: Largest::new(largest),
            most_children: Largest::new(largest),
        }
    }

    fn add(&mut self, node: &Node, children: ChildStat) -> Result<(), String> {
        let path = node.path();
        let parent = if path == "/" { "" } else { node.parent() };
        self.leave_to(parent);
        match self.open.last_mut() {
            Some(open) => open.children += 1,
            None if path == "/" && self.nodes == 0 => {}
            None if path == "/" => return Err("node \"/\" is there twice".into()),
            None => return Err(format!("node {path:?} comes before its parent")),
        }
        let bytes = node.data_length() as u64;
        self.nodes += 1;
        self.data_bytes += bytes;
        self.path_bytes += path.len() as u64;
        self.digest = self.digest.wrapping_add(node_digest(node, children).into());
        match SETTINGS.rules.owner(node.head().owner) {
            Owner::None => {}
            Owner::Session(session) => *self.ephemerals.entry(session.0).or_default() += 1,
            Owner::Container => self.containers += 1,
            Owner::Ttl(_) => self.ttls += 1,
        }
        *self.acl_uses.entry(node.head().acl).or_default() += 1;
        self.largest_nodes.offer(bytes, path);
        self.open.push(Subtree { path: path.into(), bytes, nodes: 1, children: 0 });
        Ok(())
    }

    /// Closes what was read up to the node of this path, which stays open; everything if it is not open.
    fn leave_to(&mut self, path: &str) {
        while self.open.last().is_some_and(|open| open.path != path) {
            let closed = self.open.pop().expect("there is one");
            if closed.nodes > 1 && closed.path != "/" {
                self.largest_subtrees.offer(closed.bytes, &closed.path);
            }
            self.most_children.offer(closed.children, &closed.path);
            if let Some(parent) = self.open.last_mut() {
                parent.bytes += closed.bytes;
                parent.nodes += closed.nodes;
            }
        }
    }

    fn print(&self, about: &About, out: &mut Out) -> Result<(), String> {
        if out.is_json { out.json(&self.json(about)) } else { self.text(about, out) }
    }

    fn acl_table<'a>(&'a self, about: &'a About) -> impl Iterator<Item = (&'a str, u64)> {
        let text = |id: &AclId| about.acls.get(id).map_or("world:anyone:rwcda", String::as_str);
        self.acl_uses.iter().map(move |(id, uses)| (text(id), *uses))
    }

    fn json(&self, about: &About) -> Value {
        let hex = |number: i64| format!("0x{number:x}");
        let sessions: BTreeMap<String, i32> =
            about.sessions.iter().map(|(session, timeout)| (session.to_string(), *timeout)).collect();
        let ephemerals: BTreeMap<String, u64> =
            self.ephemerals.iter().map(|(session, count)| (hex(*session), *count)).collect();
        let list = |largest: &Largest, key: &str| -> Value {
            largest.descending().iter().map(|(number, path)| json!({"path": path, key: number})).collect()
        };
        json!({
            "file": about.path, "kind": about.kind, "nodes": self.nodes, "dataBytes": self.data_bytes,
            "pathBytes": self.path_bytes, "containers": self.containers, "ttlNodes": self.ttls,
            "lastZxid": about.last_zxid.map(|zxid| zxid.to_string()),
            "digestZxid": about.digest.map(|(zxid, _)| zxid.to_string()),
            "digest": about.digest.map(|(_, digest)| format!("{digest:x}")),
            "computedDigest": format!("{:x}", self.digest),
            "sessions": sessions, "ephemerals": ephemerals,
            "acls": self.acl_table(about).map(|(acl, nodes)| json!({"acl": acl, "nodes": nodes})).collect::<Value>(),
            "largestNodes": list(&self.largest_nodes, "dataBytes"),
            "largestSubtrees": list(&self.largest_subtrees, "dataBytes"),
            "mostChildren": list(&self.most_children, "children"),
        })
    }

    fn text(&self, about: &About, out: &mut Out) -> Result<(), String> {
        out.line(&format!("{}: {}", about.path.display(), about.kind))?;
        if let Some(zxid) = about.last_zxid {
            out.line(&format!("last zxid          {zxid}"))?;
        }
        if let Some((zxid, digest)) = about.digest {
            let verdict = match digest == self.digest {
                true => "the nodes have it",
                false => {
                    "the nodes have another: transactions went on while it was written, or it is damaged"
                }
            };
            out.line(&format!("digest             {digest:x} at {zxid} ({verdict})"))?;
        }
        let ephemerals: u64 = self.ephemerals.values().sum();
        out.line(&format!("nodes              {}", self.nodes))?;
        out.line(&format!("data               {} bytes, paths {} bytes", self.data_bytes, self.path_bytes))?;
        out.line(&format!(
            "kinds              {ephemerals} ephemeral, {} container(s), {} with a TTL",
            self.containers, self.ttls
        ))?;
        out.line(&format!("sessions           {}", about.sessions.len()))?;
        for (session, timeout_ms) in &about.sessions {
            let owned = self.ephemerals.get(&session.0).unwrap_or(&0);
            out.line(&format!("  {session}  timeout {timeout_ms} ms, {owned} ephemeral(s)"))?;
        }
        for (owner, count) in &self.ephemerals {
            if !about.sessions.iter().any(|(session, _)| session.0 == *owner) {
                out.line(&format!("  0x{owner:x}  no such session, {count} ephemeral(s)"))?;
            }
        }
        out.line(&format!("ACLs in use        {}", self.acl_uses.len()))?;
        for (acl, nodes) in self.acl_table(about) {
            out.line(&format!("  {acl}  {nodes} node(s)"))?;
        }
        let lists = [
            ("largest nodes", &self.largest_nodes, "bytes"),
            ("largest subtrees", &self.largest_subtrees, "bytes"),
            ("most children", &self.most_children, "children"),
        ];
        for (title, largest, unit) in lists {
            out.line(title)?;
            for (number, path) in largest.descending() {
                out.line(&format!("  {path}  {number} {unit}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_the_same_in_any_order() {
        let numbers = [("/e", 2), ("/b", 1), ("/d", 2), ("/a", 1), ("/c", 1), ("/none", 0)];
        for turn in 0..numbers.len() {
            let mut largest = Largest::new(4);
            let (later, earlier) = numbers.split_at(turn);
            earlier.iter().chain(later).for_each(|(path, number)| largest.offer(*number, path));
            let expected = [(2, "/d"), (2, "/e"), (1, "/a"), (1, "/b")];
            assert_eq!(largest.descending(), expected.map(|(number, path)| (number, path.to_string())));
        }
    }
}
