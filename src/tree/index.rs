//! One copy of the znodes: path to record, parent to children, session to ephemerals, ACL ids to lists. Every core
//! that reads has one; records are shared, so a copy costs slots only. Installing an effect follows no rules and looks
//! no path up: all numbers in it are absolute, and it names slots, which are the same in every tree of the process.
//!
//! Invariant: every node but the root is among its parent's children; the ACL table holds exactly what nodes refer to.

use super::chunked::{Chunked, Keep, Own, Shared};
use super::effect::Effect;
use super::node::{Node, NodeHead, Owner, OwnerRules};
use super::slots::{NO_FAMILY, Slot, Slots};
use crate::ids::{AclId, SessionId, Zxid};
use crate::wire::{Acl, Stat};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use std::sync::Arc;

/// One core's copy of the data.
#[derive(Clone)]
pub struct Tree<K: Keep = Own> {
    rules: OwnerRules,
    slots: Slots<K>,
    root: Slot,
    /// Of nodes that have or had children, or whose pzxid moved.
    families: Chunked<Family, K>,
    free_families: Vec<u32>,
    /// None in a tree that finds nothing: nobody asks it for a session's nodes either.
    ephemerals: Option<HashMap<SessionId, Owned, FixedState>>,
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

/// The numbers of a node about its children, and the first of them; the others follow by `Entry::next`.
#[derive(Clone, Copy)]
struct Family {
    first: Slot,
    count: u32,
    cversion: i32,
    pzxid: Zxid,
}

/// The ephemerals of a session: few as a row, many as a set, so that the end of one is never a walk over thousands.
#[derive(Clone)]
enum Owned {
    Few(SmallVec<[Slot; 4]>),
    Many(HashSet<Slot, FixedState>),
}

const FEW_MAX: usize = 16;

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
            rules,
            slots: Slots::new(hash_seed),
            root: Slot::NONE,
            families: Chunked::empty(),
            free_families: Vec::new(),
            ephemerals: Some(HashMap::with_hasher(hasher.clone())),
            acls: HashMap::with_hasher(hasher),
            open: Acl::open().into(),
            data_bytes: 0,
            ephemeral_count: 0,
            applied: Zxid::ZERO,
        }
    }

    /// A copy that follows by effects but finds nothing, neither a path nor what a session owns: for who only walks it.
    /// Its own copies share their chunks.
    pub fn without_index(&self) -> Tree<Shared> {
        Tree {
            rules: self.rules,
            slots: self.slots.without_index(),
            root: self.root,
            families: self.families.to_shared(),
            free_families: self.free_families.clone(),
            ephemerals: None,
            acls: self.acls.clone(),
            open: Arc::clone(&self.open),
            data_bytes: self.data_bytes,
            ephemeral_count: self.ephemeral_count,
            applied: self.applied,
        }
    }
}

impl Tree<Shared> {
    /// The tree as it is now, to be walked while this one goes on: it shares the chunks, and this one copies each when it is
    /// first changed. What it holds beyond that are records that are replaced meanwhile, so at most the data once more.
    pub fn freeze(&self) -> Tree<Shared> {
        Tree {
            rules: self.rules,
            slots: self.slots.freeze(),
            root: self.root,
            families: self.families.clone(),
            free_families: Vec::new(),
            ephemerals: None,
            acls: self.acls.clone(),
            open: Arc::clone(&self.open),
            data_bytes: self.data_bytes,
            ephemeral_count: self.ephemeral_count,
            applied: self.applied,
        }
    }
}

impl<K: Keep> Tree<K> {
    /// How stored owners are read.
    pub fn rules(&self) -> OwnerRules {
        self.rules
    }

    /// The node at a path; the empty path is an alias of the root.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.find(path).map(|(_, node)| node)
    }

    /// The node at a path with its slot.
    pub fn find(&self, path: &str) -> Option<(Slot, &Node)> {
        let slot = self.slots.find(canonical(path).as_bytes())?;
        Some((slot, self.slots.node(slot)))
    }

    /// The slot of a path as it stands in a record.
    pub fn find_bytes(&self, path: &[u8]) -> Option<Slot> {
        self.slots.find(path)
    }

    /// True if the node of this path is in this slot; any slot may be asked about.
    pub fn is_at(&self, slot: Slot, path: &[u8]) -> bool {
        self.slots.get(slot).is_some_and(|node| node.path_bytes() == path)
    }

    /// The node in a slot in use.
    pub fn at(&self, slot: Slot) -> &Node {
        self.slots.node(slot)
    }

    /// The slot that the next created node gets.
    pub fn vacant(&self) -> Slot {
        self.slots.vacant()
    }

    /// The node's Stat as clients see it.
    pub fn stat(&self, slot: Slot) -> Stat {
        let node = self.at(slot);
        let head = node.head();
        let children = self.child_stat(slot);
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

    /// The stored child numbers of a node.
    pub fn child_stat(&self, slot: Slot) -> ChildStat {
        match self.family(slot) {
            Some(family) => {
                ChildStat { cversion: family.cversion, pzxid: family.pzxid, count: family.count as usize }
            }
            None => ChildStat { cversion: 0, pzxid: self.at(slot).czxid(), count: 0 },
        }
    }

    /// The children of a node, in no particular order.
    pub fn children(&self, slot: Slot) -> impl Iterator<Item = (Slot, &Node)> {
        let first = self.family(slot).map_or(Slot::NONE, |family| family.first);
        std::iter::successors(first.some(), |child| self.slots.entry(*child).next().some())
            .map(|child| (child, self.at(child)))
    }

    /// The one after a child, in the order of `children`.
    pub fn next_sibling(&self, slot: Slot) -> Slot {
        self.slots.entry(slot).next()
    }

    /// The first child of a node.
    pub fn first_child(&self, slot: Slot) -> Slot {
        self.family(slot).map_or(Slot::NONE, |family| family.first)
    }

    /// The node in a slot, if there is such a slot and it is in use.
    pub fn get(&self, slot: Slot) -> Option<&Node> {
        self.slots.get(slot)
    }

    /// All slots in use are before it.
    pub fn slots_end(&self) -> u32 {
        self.slots.end()
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

    /// Places of a session's nodes.
    pub fn ephemeral_slots(&self, session: SessionId) -> impl Iterator<Item = Slot> {
        let owned = self.ephemerals.as_ref().and_then(|owners| owners.get(&session));
        owned.into_iter().flat_map(Owned::iter)
    }

    /// Nodes of a session.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &Node> {
        self.ephemeral_slots(session).map(|slot| self.at(slot))
    }

    /// Sessions that own nodes, ascending.
    pub fn ephemeral_sessions(&self) -> Vec<SessionId> {
        let mut sessions: Vec<_> = self.ephemerals.iter().flat_map(HashMap::keys).copied().collect();
        sessions.sort_unstable();
        sessions
    }

    /// All nodes below one, at any depth. Walks them, but no more than so many: then it is None.
    pub fn descendant_count(&self, slot: Slot, at_most: usize) -> Option<u64> {
        if slot == self.root {
            return Some(u64::from(self.slots.count()) - 1);
        }
        let mut count = 0;
        let mut stack = vec![slot];
        while let Some(slot) = stack.pop() {
            count += self.child_stat(slot).count as u64;
            if count > at_most as u64 {
                return None;
            }
            stack.extend(self.children(slot).map(|(child, _)| child));
        }
        Some(count)
    }

    /// Calls `visit` for a node and everything below, parents before children.
    pub fn walk(&self, slot: Slot, mut visit: impl FnMut(Slot, &Node)) {
        let mut stack = vec![slot];
        while let Some(slot) = stack.pop() {
            visit(slot, self.at(slot));
            stack.extend(self.children(slot).map(|(child, _)| child));
        }
    }

    /// The root, except in a tree still to be filled.
    pub fn root(&self) -> Option<Slot> {
        self.root.some()
    }

    /// Every node, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = (Slot, &Node)> {
        self.slots.nodes()
    }

    /// As `srvr` counts: Apache stores the root twice.
    pub fn node_count(&self) -> u64 {
        u64::from(self.slots.count()) + 1
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
        self.slots.reserve(nodes as u32);
    }

    /// Fetches into the cache what looking up these paths will need.
    pub fn look_ahead<'a>(&self, paths: impl Iterator<Item = &'a [u8]>) {
        self.slots.look_ahead(paths);
    }

    /// The same for the nodes that the effects of a batch change, where it pays.
    pub fn look_ahead_of<'a>(&self, effects: impl Iterator<Item = &'a Effect>) {
        self.look_ahead_at(effects.filter_map(Effect::changed));
    }

    /// The same for the nodes in these slots.
    pub fn look_ahead_at(&self, slots: impl Iterator<Item = Slot>) {
        if self.is_large() {
            self.slots.look_ahead_of(slots);
        }
    }

    /// True if it does not stay in a core's cache by itself, so that looking ahead pays.
    pub fn is_large(&self) -> bool {
        self.node_count() > CACHED_NODES
    }

    /// Carries out an effect.
    pub fn install(&mut self, effect: &Effect) {
        match effect {
            Effect::AddAcl { id, acl } => {
                assert!(*id != AclId::OPEN, "the open list needs no entry");
                self.acls.entry(*id).or_insert_with(|| (Arc::clone(acl), 0));
            }
            Effect::Create { node, slot, parent, parent_cversion, parent_pzxid } => {
                let family = self.insert_below(node.clone(), *slot, *parent);
                (family.cversion, family.pzxid) = (*parent_cversion, *parent_pzxid);
            }
            Effect::Delete { slot, parent, parent_pzxid, .. } => {
                self.remove(*slot, *parent);
                self.family_mut(*parent).pzxid = *parent_pzxid;
            }
            Effect::SetData { node, slot } | Effect::Replace { node, slot } => {
                self.replace(*slot, node.clone());
            }
            Effect::Parent { slot, cversion, pzxid } => self.set_children(*slot, *cversion, *pzxid),
        }
    }

    /// Adds a node below its parent, which keeps its numbers. Its place must be there and free.
    pub fn insert(&mut self, node: Node) -> Slot {
        let parent = (node.path_bytes() != b"/")
            .then(|| self.slots.find(node.parent_bytes()).expect("a parent is in the tree"));
        self.insert_at(node, self.vacant(), parent)
    }

    /// Adds a node from a snapshot, where parents come first. `near` is where the last one's parent was found.
    pub fn load(&mut self, node: Node, near: &mut Slot) -> Result<Slot, LoadError> {
        let is_root = node.path_bytes() == b"/";
        if !is_root && !self.is_at(*near, node.parent_bytes()) {
            *near = self.slots.find(node.parent_bytes()).ok_or(LoadError::NoParent)?;
        }
        if self.slots.find(node.path_bytes()).is_some() {
            return Err(LoadError::Twice);
        }
        Ok(self.insert_at(node, self.vacant(), (!is_root).then_some(*near)))
    }

    /// Adds a node in the slot that is next.
    pub fn insert_at(&mut self, node: Node, slot: Slot, parent: Option<Slot>) -> Slot {
        match parent {
            Some(parent) => _ = self.insert_below(node, slot, parent),
            None => {
                self.account(&node, slot);
                self.root = self.slots.insert(node);
            }
        }
        slot
    }

    fn insert_below(&mut self, node: Node, slot: Slot, parent: Slot) -> &mut Family {
        self.account(&node, slot);
        let inserted = self.slots.insert(node);
        assert!(inserted == slot, "every tree gives a node the same slot");
        let index = self.family_of(parent);
        let first = std::mem::replace(&mut self.families[index].first, slot);
        self.slots.entry_mut(slot).set_next(first);
        if let Some(first) = first.some() {
            self.slots.entry_mut(first).set_prev(slot);
        }
        self.families[index].count += 1;
        &mut self.families[index]
    }

    /// Everything a node counts in beside its place.
    fn account(&mut self, node: &Node, slot: Slot) {
        self.data_bytes += node.accounted_bytes() as u64;
        self.refer(node.acl());
        if let Owner::Session(session) = self.rules.owner(node.owner()) {
            self.ephemeral_count += 1;
            if let Some(owners) = &mut self.ephemerals {
                let owned = owners.entry(session).or_insert_with(|| Owned::Few(SmallVec::new()));
                owned.insert(slot, self.acls.hasher());
            }
        }
    }

    /// Takes a node without children out; its parent keeps its numbers.
    pub fn remove(&mut self, slot: Slot, parent: Slot) -> Node {
        let entry = self.slots.entry(slot);
        let (next, prev, own) = (entry.next(), entry.prev(), entry.family);
        match prev.some() {
            Some(prev) => self.slots.entry_mut(prev).set_next(next),
            None => self.family_mut(parent).first = next,
        }
        if let Some(next) = next.some() {
            self.slots.entry_mut(next).set_prev(prev);
        }
        self.family_mut(parent).count -= 1;
        if own != NO_FAMILY {
            assert!(self.families[own].count == 0, "only a node without children goes");
            self.free_families.push(own);
        }
        let node = self.slots.remove(slot);
        self.data_bytes -= node.accounted_bytes() as u64;
        if let Owner::Session(session) = self.rules.owner(node.owner()) {
            self.ephemeral_count -= 1;
            if let Some(owners) = &mut self.ephemerals {
                let owned = owners.get_mut(&session).expect("an ephemeral is among its session's");
                if owned.remove(slot) {
                    owners.remove(&session);
                }
            }
        }
        self.unrefer(node.acl());
        node
    }

    fn replace(&mut self, slot: Slot, node: Node) {
        let bytes = node.accounted_bytes() as u64;
        self.refer(node.acl());
        let old = self.slots.replace(slot, node);
        self.data_bytes = self.data_bytes + bytes - old.accounted_bytes() as u64;
        self.unrefer(old.acl());
    }

    /// Sets the stored child numbers of a node.
    pub fn set_children(&mut self, slot: Slot, cversion: i32, pzxid: Zxid) {
        let family = self.family_mut(slot);
        (family.cversion, family.pzxid) = (cversion, pzxid);
    }

    fn family(&self, slot: Slot) -> Option<&Family> {
        let index = self.slots.entry(slot).family;
        (index != NO_FAMILY).then(|| &self.families[index])
    }

    fn family_mut(&mut self, slot: Slot) -> &mut Family {
        let index = self.family_of(slot);
        &mut self.families[index]
    }

    fn family_of(&mut self, slot: Slot) -> u32 {
        let index = self.slots.entry(slot).family;
        if index != NO_FAMILY {
            return index;
        }
        let family = Family { first: Slot::NONE, count: 0, cversion: 0, pzxid: self.at(slot).czxid() };
        let index = match self.free_families.pop() {
            Some(index) => {
                self.families[index] = family;
                index
            }
            None => self.families.push(family),
        };
        self.slots.entry_mut(slot).family = index;
        index
    }

    /// Every number is that of the nodes, every node is found and stands among its parent's children. Looks at all of them.
    pub fn check(&self) {
        let (mut bytes, mut ephemerals, mut nodes, mut children) = (0, 0, 0u32, 0);
        let mut lists: HashMap<AclId, u32, FixedState> = HashMap::with_hasher(FixedState::default());
        for (slot, node) in self.nodes() {
            nodes += 1;
            bytes += node.accounted_bytes() as u64;
            let owned = matches!(self.rules.owner(node.owner()), Owner::Session(_));
            ephemerals += u64::from(owned);
            if node.acl() != AclId::OPEN {
                *lists.entry(node.acl()).or_default() += 1;
            }
            let below = self.children(slot).inspect(|(_, child)| assert_eq!(child.parent(), node.path()));
            let count = below.count();
            assert_eq!(count, self.child_stat(slot).count, "children of {}", node.path());
            children += count as u32;
            if let (Some(owners), Owner::Session(session)) =
                (&self.ephemerals, self.rules.owner(node.owner()))
            {
                assert!(
                    owners[&session].iter().any(|owned| owned == slot),
                    "{} is its session's",
                    node.path()
                );
            }
            assert!(self.ephemerals.is_none() || self.find_bytes(node.path_bytes()) == Some(slot));
        }
        assert_eq!((nodes, children), (self.slots.count(), nodes.saturating_sub(1)));
        assert_eq!((self.data_bytes, self.ephemeral_count), (bytes, ephemerals));
        assert_eq!(self.acls.len(), lists.len(), "the table holds what nodes refer to");
        assert!(lists.iter().all(|(id, references)| self.acls[id].1 == *references));
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

impl Owned {
    fn iter(&self) -> impl Iterator<Item = Slot> {
        let (few, many) = match self {
            Owned::Few(slots) => (Some(slots.iter()), None),
            Owned::Many(slots) => (None, Some(slots.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten()).copied()
    }

    fn insert(&mut self, slot: Slot, hasher: &FixedState) {
        match self {
            Owned::Few(slots) if slots.len() < FEW_MAX => slots.push(slot),
            Owned::Few(slots) => {
                let mut many = HashSet::with_hasher(hasher.clone());
                many.extend(slots.drain(..).chain([slot]));
                *self = Owned::Many(many);
            }
            Owned::Many(slots) => _ = slots.insert(slot),
        }
    }

    /// True if it was the last one.
    fn remove(&mut self, slot: Slot) -> bool {
        match self {
            Owned::Few(slots) => {
                slots.retain(|other| *other != slot);
                slots.is_empty()
            }
            Owned::Many(slots) => {
                slots.remove(&slot);
                slots.is_empty()
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

/// The empty path is an alias of the root.
pub fn canonical(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// So many nodes stay in a core's cache with the rest of its work.
const CACHED_NODES: u64 = 10_000;

/// ACL of /zookeeper/config in a fresh tree.
pub const CONFIG_ACL: AclId = AclId(1);
