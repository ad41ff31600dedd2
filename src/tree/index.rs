//! One copy of the znodes: path to record, parent to children, session to ephemerals, ACL ids to lists. Every core
//! that reads has one; records are shared, so a copy costs pointers only. Installing an effect follows no rules: all
//! numbers in it are absolute.
//!
//! Invariant: every node but the root is among its parent's children; the ACL table holds exactly what nodes refer to.

use super::effect::Effect;
use super::node::{Node, NodeHead, Owner, OwnerRules, split_path};
use crate::ids::{AclId, SessionId, Zxid};
use crate::wire::{Acl, Stat};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// One core's copy of the data.
#[derive(Clone)]
pub struct Tree {
    hasher: FixedState,
    rules: OwnerRules,
    nodes: HashTable<Node>,
    /// Only nodes that have or had children, or whose pzxid moved, are here.
    parents: HashTable<Parent>,
    ephemerals: HashMap<SessionId, HashTable<Node>, FixedState>,
    acls: HashMap<AclId, (Arc<[Acl]>, u32), FixedState>,
    open: Arc<[Acl]>,
    data_bytes: u64,
    ephemeral_count: u64,
    applied: Zxid,
}

/// What changes in a node when children come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChildStat {
    /// Creates below this node so far (the stored cversion).
    pub cversion: i32,
    /// zxid of the last change of the child list.
    pub pzxid: Zxid,
    /// Children it has.
    pub count: usize,
}

/// The numbers and children of `node`, which is the same record as in `Tree::nodes`.
#[derive(Clone)]
struct Parent {
    node: Node,
    cversion: i32,
    pzxid: Zxid,
    children: Children,
}

/// Most parents have few children; a table for each would cost more than the nodes' own entries. Records are found by
/// their address, so no child is touched.
#[derive(Clone)]
enum Children {
    Few(SmallVec<[Node; 2]>),
    Many(HashTable<Node>),
}

const FEW_MAX: usize = 8;

impl Tree {
    /// The tree of a server that never saw a transaction.
    pub fn new(hash_seed: u64, rules: OwnerRules) -> Tree {
        let mut tree = Tree::empty(hash_seed, rules);
        let config_acl: Arc<[Acl]> =
            Arc::new([Acl { perms: 1, scheme: "world".into(), id: "anyone".into() }]);
        tree.install(&Effect::AddAcl { id: CONFIG_ACL, acl: config_acl });
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            tree.insert(Node::new(NodeHead::zero(), path, Some(b"")));
        }
        // Apache sets this ACL with version -1 at every start, which shows in the Stat.
        let head = NodeHead { acl: CONFIG_ACL, aversion: -1, ..NodeHead::zero() };
        tree.insert(Node::new(head, "/zookeeper/config", Some(b"")));
        tree
    }

    /// A tree without any node, to be filled from a snapshot, parents first.
    pub fn empty(hash_seed: u64, rules: OwnerRules) -> Tree {
        let hasher = FixedState::with_seed(hash_seed);
        Tree {
            hasher: hasher.clone(),
            rules,
            nodes: HashTable::new(),
            parents: HashTable::new(),
            ephemerals: HashMap::with_hasher(hasher.clone()),
            acls: HashMap::with_hasher(hasher.clone()),
            open: Acl::open().into(),
            data_bytes: 0,
            ephemeral_count: 0,
            applied: Zxid::ZERO,
        }
    }

    /// How stored owners are read.
    pub fn rules(&self) -> OwnerRules {
        self.rules
    }

    /// The node at a path; the empty path is an alias of the root.
    pub fn node(&self, path: &str) -> Option<&Node> {
        let path = canonical(path);
        self.find(path.as_bytes())
    }

    fn find(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.find(hash(&self.hasher, path), |node| node.path_bytes() == path)
    }

    /// The node's Stat as clients see it.
    pub fn stat(&self, node: &Node) -> Stat {
        let head = node.head();
        let children = self.child_stat_of(node);
        let owner = match self.rules.owner(head.owner) {
            Owner::Session(session) => session.0,
            Owner::None | Owner::Container | Owner::Ttl(_) => 0,
        };
        Stat {
            czxid: head.czxid.0,
            mzxid: head.mzxid.0,
            ctime: head.ctime,
            mtime: head.mtime,
            version: head.version,
            cversion: children.cversion.wrapping_mul(2).wrapping_sub(children.count as i32),
            aversion: head.aversion,
            ephemeral_owner: owner,
            data_length: node.data_length() as i32,
            num_children: children.count as i32,
            pzxid: children.pzxid.0,
        }
    }

    /// The stored child numbers of the node at a path; of a missing node all zero.
    pub fn child_stat(&self, path: &str) -> ChildStat {
        match self.node(path) {
            Some(node) => self.child_stat_of(node),
            None => ChildStat { cversion: 0, pzxid: Zxid::ZERO, count: 0 },
        }
    }

    /// The same for a node of this tree.
    pub fn child_stat_of(&self, node: &Node) -> ChildStat {
        match self.parent(node.path_bytes()) {
            Some(parent) => {
                ChildStat { cversion: parent.cversion, pzxid: parent.pzxid, count: parent.children.len() }
            }
            None => ChildStat { cversion: 0, pzxid: node.head().czxid, count: 0 },
        }
    }

    /// The children of the node at a path, in no particular order.
    pub fn children<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
        self.parent(canonical(path).as_bytes()).into_iter().flat_map(|parent| parent.children.iter())
    }

    /// An access control list in use.
    pub fn acl(&self, id: AclId) -> &Arc<[Acl]> {
        if id == AclId::OPEN { &self.open } else { &self.acls[&id].0 }
    }

    /// True if the table has this list.
    pub fn has_acl(&self, id: AclId) -> bool {
        id == AclId::OPEN || self.acls.contains_key(&id)
    }

    /// The lists in use, in no particular order.
    pub fn acls(&self) -> impl Iterator<Item = (AclId, &Arc<[Acl]>)> {
        self.acls.iter().map(|(id, (acl, _))| (*id, acl))
    }

    /// Nodes of a session.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &Node> {
        self.ephemerals.get(&session).into_iter().flat_map(|nodes| nodes.iter())
    }

    /// Sessions that own nodes, ascending.
    pub fn ephemeral_sessions(&self) -> Vec<SessionId> {
        let mut sessions: Vec<_> = self.ephemerals.keys().copied().collect();
        sessions.sort_unstable();
        sessions
    }

    /// All nodes below a path, at any depth. Walks them.
    pub fn descendant_count(&self, path: &str) -> u64 {
        if canonical(path) == "/" {
            return self.nodes.len() as u64 - 1;
        }
        let mut count = 0;
        let mut stack: Vec<&Parent> = self.parent(path.as_bytes()).into_iter().collect();
        while let Some(parent) = stack.pop() {
            count += parent.children.len() as u64;
            stack.extend(parent.children.iter().filter_map(|child| self.parent(child.path_bytes())));
        }
        count
    }

    /// Calls `visit` for the node at `path` and everything below, parents before children.
    pub fn walk(&self, path: &str, mut visit: impl FnMut(&Node)) {
        let mut stack: Vec<&Node> = self.node(path).into_iter().collect();
        while let Some(node) = stack.pop() {
            visit(node);
            stack.extend(self.children(node.path()));
        }
    }

    /// Every node, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// As `srvr` counts: Apache stores the root twice.
    pub fn node_count(&self) -> u64 {
        self.nodes.len() as u64 + 1
    }

    /// Bytes of all paths and data, as `approximate_data_size` counts them.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Nodes that belong to sessions.
    pub fn ephemeral_count(&self) -> u64 {
        self.ephemeral_count
    }

    /// The newest transaction in this tree.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// Everything up to this transaction is installed.
    pub fn set_applied(&mut self, zxid: Zxid) {
        self.applied = zxid;
    }

    /// Makes room for so many nodes.
    pub fn reserve(&mut self, nodes: usize) {
        let hasher = self.hasher.clone();
        self.nodes.reserve(nodes, |node| hash(&hasher, node.path_bytes()));
    }

    /// Carries out an effect.
    pub fn install(&mut self, effect: &Effect) {
        match effect {
            Effect::AddAcl { id, acl } => {
                assert!(*id != AclId::OPEN, "the open list needs no entry");
                self.acls.entry(*id).or_insert_with(|| (Arc::clone(acl), 0));
            }
            Effect::Create { node, parent_cversion, parent_pzxid } => {
                let parent = self.insert_below(node.clone());
                (parent.cversion, parent.pzxid) = (*parent_cversion, *parent_pzxid);
            }
            Effect::Delete { node, parent_pzxid } => {
                let node = self.remove(node.path());
                self.parent_mut(node.parent_bytes()).pzxid = *parent_pzxid;
            }
            Effect::SetData { node } | Effect::Replace { node } => self.replace(node.clone()),
            Effect::Parent { path, cversion, pzxid } => self.set_parent(path, *cversion, *pzxid),
        }
    }

    /// Adds a node below its parent, which keeps its numbers.
    pub fn insert(&mut self, node: Node) {
        if node.path_bytes() == b"/" {
            let hash = hash(&self.hasher, b"/");
            self.account(&node, hash);
            self.insert_record(node, hash);
        } else {
            self.insert_below(node);
        }
    }

    /// Adds a node from a snapshot, where parents come first.
    pub fn load(&mut self, node: Node) -> Result<(), LoadError> {
        if node.path_bytes() != b"/"
            && self.parent(node.parent_bytes()).is_none()
            && self.find(node.parent_bytes()).is_none()
        {
            return Err(LoadError::NoParent);
        }
        if self.find(node.path_bytes()).is_some() {
            return Err(LoadError::Twice);
        }
        self.insert(node);
        Ok(())
    }

    fn insert_below(&mut self, node: Node) -> &mut Parent {
        let hash = hash(&self.hasher, node.path_bytes());
        self.account(&node, hash);
        self.insert_record(node.clone(), hash);
        let hasher = self.hasher.clone();
        let parent = self.parent_mut(node.parent_bytes());
        parent.children.insert(node, hash, &hasher);
        parent
    }

    fn insert_record(&mut self, node: Node, hash: u64) {
        let hasher = &self.hasher;
        self.nodes.insert_unique(hash, node, |node| self::hash(hasher, node.path_bytes()));
    }

    /// Everything a node counts in but the tables of nodes and parents.
    fn account(&mut self, node: &Node, hash: u64) {
        self.data_bytes += accounted_bytes(node);
        self.refer(node.head().acl);
        if let Owner::Session(session) = self.rules.owner(node.head().owner) {
            self.ephemeral_count += 1;
            let hasher = &self.hasher;
            let nodes = self.ephemerals.entry(session).or_default();
            nodes.insert_unique(hash, node.clone(), |node| self::hash(hasher, node.path_bytes()));
        }
    }

    /// Takes a node out; its parent keeps its numbers. The node must exist.
    pub fn remove(&mut self, path: &str) -> Node {
        let hash = hash(&self.hasher, path.as_bytes());
        let entry = self.nodes.find_entry(hash, |node| node.path_bytes() == path.as_bytes());
        let (node, _) = entry.expect("an effect only deletes what is there").remove();
        self.data_bytes -= accounted_bytes(&node);
        self.parent_mut(node.parent_bytes()).children.remove(&node, hash);
        if let Ok(entry) = self.parents.find_entry(hash, |parent| parent.node.is_same(&node)) {
            entry.remove();
        }
        if let Owner::Session(session) = self.rules.owner(node.head().owner) {
            self.ephemeral_count -= 1;
            let nodes = self.ephemerals.get_mut(&session).expect("an ephemeral is in its session's table");
            if let Ok(entry) = nodes.find_entry(hash, |other| other.is_same(&node)) {
                entry.remove();
            }
            if nodes.is_empty() {
                self.ephemerals.remove(&session);
            }
        }
        self.unrefer(node.head().acl);
        node
    }

    fn replace(&mut self, node: Node) {
        let hash = hash(&self.hasher, node.path_bytes());
        self.refer(node.head().acl);
        let slot = self.nodes.find_mut(hash, |other| other.path_bytes() == node.path_bytes());
        let old = std::mem::replace(slot.expect("an effect only replaces what is there"), node.clone());
        self.data_bytes = self.data_bytes + accounted_bytes(&node) - accounted_bytes(&old);
        self.unrefer(old.head().acl);
        // An old record left behind anywhere would keep its data in memory.
        if let Some(parent) = self.parents.find_mut(hash, |parent| parent.node.is_same(&old)) {
            parent.node = node.clone();
        }
        if node.path_bytes() != b"/" {
            *self.parent_mut(node.parent_bytes()).children.slot(&old, hash) = node.clone();
        }
        if let Owner::Session(session) = self.rules.owner(node.head().owner)
            && let Some(nodes) = self.ephemerals.get_mut(&session)
            && let Some(slot) = nodes.find_mut(hash, |other| other.is_same(&old))
        {
            *slot = node;
        }
    }

    /// Sets the stored child numbers of a node.
    pub fn set_parent(&mut self, path: &str, cversion: i32, pzxid: Zxid) {
        let parent = self.parent_mut(canonical(path).as_bytes());
        parent.cversion = cversion;
        parent.pzxid = pzxid;
    }

    fn parent(&self, path: &[u8]) -> Option<&Parent> {
        self.parents.find(hash(&self.hasher, path), |parent| parent.node.path_bytes() == path)
    }

    fn parent_mut(&mut self, path: &[u8]) -> &mut Parent {
        let hash = hash(&self.hasher, path);
        let hasher = &self.hasher;
        let entry = self.parents.entry(
            hash,
            |parent| parent.node.path_bytes() == path,
            |parent| self::hash(hasher, parent.node.path_bytes()),
        );
        let nodes = &self.nodes;
        let new = || {
            let node =
                nodes.find(hash, |node| node.path_bytes() == path).expect("a parent is in the tree").clone();
            let pzxid = node.head().czxid;
            Parent { node, cversion: 0, pzxid, children: Children::Few(SmallVec::new()) }
        };
        entry.or_insert_with(new).into_mut()
    }

    /// Takes a list out of the table that no node refers to (any more, or after all).
    pub fn drop_unused_acl(&mut self, id: AclId) {
        if self.acls.get(&id).is_some_and(|(_, references)| *references == 0) {
            self.acls.remove(&id);
        }
    }

    fn refer(&mut self, id: AclId) {
        if id != AclId::OPEN {
            self.acls.get_mut(&id).expect("AddAcl comes before the first use").1 += 1;
        }
    }

    fn unrefer(&mut self, id: AclId) {
        if id == AclId::OPEN {
            return;
        }
        let entry = self.acls.get_mut(&id).expect("a node's list is in the table");
        entry.1 -= 1;
        if entry.1 == 0 {
            self.acls.remove(&id);
        }
    }
}

impl Children {
    fn len(&self) -> usize {
        match self {
            Children::Few(nodes) => nodes.len(),
            Children::Many(nodes) => nodes.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Node> {
        let (few, many) = match self {
            Children::Few(nodes) => (Some(nodes.iter()), None),
            Children::Many(nodes) => (None, Some(nodes.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    fn insert(&mut self, node: Node, hash: u64, hasher: &FixedState) {
        let rehash = |node: &Node| self::hash(hasher, node.path_bytes());
        match self {
            Children::Few(nodes) if nodes.len() < FEW_MAX => nodes.push(node),
            Children::Few(nodes) => {
                let mut many = HashTable::with_capacity(2 * FEW_MAX);
                for node in nodes.drain(..).chain([node]) {
                    many.insert_unique(rehash(&node), node, rehash);
                }
                *self = Children::Many(many);
            }
            Children::Many(nodes) => {
                nodes.insert_unique(hash, node, rehash);
            }
        }
    }

    /// The entry of this very record.
    fn slot(&mut self, node: &Node, hash: u64) -> &mut Node {
        let found = match self {
            Children::Few(nodes) => nodes.iter_mut().find(|other| other.is_same(node)),
            Children::Many(nodes) => nodes.find_mut(hash, |other| other.is_same(node)),
        };
        found.expect("a node is among its parent's children")
    }

    fn remove(&mut self, node: &Node, hash: u64) {
        match self {
            Children::Few(nodes) => nodes.retain(|other| !other.is_same(node)),
            Children::Many(nodes) => {
                let entry = nodes.find_entry(hash, |other| other.is_same(node));
                entry.expect("a node is among its parent's children").remove();
                if nodes.is_empty() {
                    *self = Children::Few(SmallVec::new());
                }
            }
        }
    }
}

/// Why a snapshot's node has no place in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Its parent did not come before.
    NoParent,
    /// It is there already.
    Twice,
}

fn hash(hasher: &FixedState, path: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(path);
    state.finish()
}

/// The empty path is an alias of the root.
pub fn canonical(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Splits off the parent of a path that may not be valid: everything before the last '/', where nothing is the root.
pub fn lenient_parent(path: &str) -> &str {
    split_path(path).0
}

fn accounted_bytes(node: &Node) -> u64 {
    let path = if node.path() == "/" { 0 } else { node.path().len() };
    (path + node.data_length()) as u64
}

/// ACL of /zookeeper/config in a fresh tree.
pub const CONFIG_ACL: AclId = AclId(1);
