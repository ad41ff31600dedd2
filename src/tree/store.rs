//! The member's copy of the data: a [`Tree`] plus what only one place needs: the digest, quotas, the interning of ACLs,
//! the index of containers and TTL nodes, and the power to undo.
//!
//! `apply` is the one function from transactions to changes (`DataTree.processTxn`); it emits [`Effect`]s that other
//! trees install, and undo steps that restore the state before, exactly. It knows no requests and no permissions.

mod usage;

use super::chunked::Chunked;
use super::digest::node_digest;
use super::effect::{Effect, Effects};
use super::index::{ChildStat, Tree};
use super::node::{CONTAINER_OWNER, Node, NodeHead, Owner, OwnerRules, TTL_MS_MAX, split_path, ttl_owner};
use super::quota::{QuotaNode, quota_node};
use super::slots::Slot;
use crate::ids::{AclId, Zxid};
use crate::wire::txn::CreateKind;
use crate::wire::{Acl, ErrorCode, Txn, TxnHeader};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use usage::{QuotaBefore, limited_by};

/// Settings of a [`Store`].
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// Seed of all hashing.
    pub hash_seed: u64,
    /// How stored owners are read.
    pub rules: OwnerRules,
    /// `digest.enabled`.
    pub digest_enabled: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
}

/// The member's copy of the data.
pub struct Store {
    settings: StoreSettings,
    tree: Tree,
    digest: u64,
    /// What each node adds to the digest, by slot: it is not computed again to be taken out. Empty without digests.
    shares: Chunked<u32>,
    interned: HashMap<Arc<[Acl]>, AclId, FixedState>,
    next_acl: u32,
    /// Paths with a limits node.
    limited: BTreeSet<Box<str>>,
    /// Containers and TTL nodes.
    collectable: BTreeSet<Box<str>>,
    /// Usage to add to stats nodes when the transaction is done: (limited path, nodes, bytes).
    usage: Vec<(Box<str>, i64, i64)>,
    /// By limited path what its quota was before the transaction that changes it.
    quotas_before: BTreeMap<Box<str>, QuotaBefore>,
    tolerant: bool,
}

/// How to take a transaction back; steps are undone newest first.
#[derive(Debug)]
pub struct Undo {
    steps: Vec<UndoStep>,
    is_kept: bool,
}

impl Undo {
    /// Remembers everything until it is cleared.
    pub fn kept() -> Undo {
        Undo { steps: Vec::new(), is_kept: true }
    }

    /// Remembers nothing: for what is not taken back.
    pub fn none() -> Undo {
        Undo { steps: Vec::new(), is_kept: false }
    }

    fn push(&mut self, step: impl FnOnce() -> UndoStep) {
        if self.is_kept {
            self.steps.push(step());
        }
    }

    /// A position to come back to.
    pub fn mark(&self) -> usize {
        self.steps.len()
    }

    /// Forgets everything: what was done stays done.
    pub fn clear(&mut self) {
        self.steps.clear();
    }
}

/// What the caller of `apply_one` has just looked up in this tree, so that it is not looked up again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// The node is in this slot.
    Node(Slot),
    /// The node is in this slot, its parent in that one.
    Child {
        /// The node's.
        slot: Slot,
        /// The parent's.
        parent: Slot,
    },
    /// There is no such node, and its parent is in this slot.
    Vacant {
        /// The parent's.
        parent: Slot,
    },
}

#[derive(Debug)]
enum UndoStep {
    /// Take the node out again; its parent's stored numbers were these.
    Created { slot: Slot, parent: Slot, numbers: (i32, Zxid) },
    /// Put the node back with its own stored numbers; its parent's were these.
    Deleted { node: Node, slot: Slot, acl: Arc<[Acl]>, own: (i32, Zxid), parent: Slot, numbers: (i32, Zxid) },
    /// The record was this.
    Replaced { node: Node, slot: Slot, acl: Arc<[Acl]> },
    /// The stored numbers were these.
    Parent { slot: Slot, numbers: (i32, Zxid) },
    /// The list was not in the table.
    AddedAcl { id: AclId },
}

impl Store {
    /// The data of a server that never saw a transaction.
    pub fn new(settings: StoreSettings) -> Store {
        Store::from_tree(settings, Tree::new(settings.hash_seed, settings.rules))
    }

    /// Builds everything around a loaded tree: digest, quotas with their usage, indexes.
    pub fn from_tree(settings: StoreSettings, tree: Tree) -> Store {
        let mut interned = HashMap::with_hasher(FixedState::with_seed(settings.hash_seed));
        let mut next_acl = super::index::CONFIG_ACL.0 + 1;
        for (id, acl) in tree.acls() {
            interned.insert(Arc::clone(acl), id);
            next_acl = next_acl.max(id.0 + 1);
        }
        let mut store = Store {
            settings,
            tree,
            digest: 0,
            shares: Chunked::empty(),
            interned,
            next_acl,
            limited: BTreeSet::new(),
            collectable: BTreeSet::new(),
            usage: Vec::new(),
            quotas_before: BTreeMap::new(),
            tolerant: false,
        };
        store.rebuild_indexes();
        store
    }

    fn rebuild_indexes(&mut self) {
        let (mut limited, mut collectable) = (BTreeSet::new(), BTreeSet::new());
        let (mut digest, mut shares) = (0u64, Chunked::empty());
        for (slot, node) in self.tree.nodes() {
            if self.settings.digest_enabled {
                let share = node_digest(node, self.tree.child_stat(slot));
                digest = digest.wrapping_add(share.into());
                while shares.count() < slot.0 {
                    shares.push(0);
                }
                shares.push(share);
            }
            if let Some(path) = limited_by(node) {
                limited.insert(path.into());
            }
            if node.owner() != 0 && self.is_collectable_kind(node) {
                collectable.insert(node.path().into());
            }
        }
        self.limited = limited;
        self.collectable = collectable;
        self.digest = digest;
        self.shares = shares;
    }

    /// The nodes.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Marks everything up to this transaction as in the tree.
    pub fn set_applied(&mut self, zxid: Zxid) {
        self.tree.set_applied(zxid);
    }

    /// The digest of the whole tree; None when disabled.
    pub fn digest(&self) -> Option<u64> {
        self.settings.digest_enabled.then_some(self.digest)
    }

    /// Carries out a transaction. On an error nothing but the usual tolerance of replay was done.
    pub fn apply(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        effects: &mut Effects,
        undo: &mut Undo,
    ) -> Result<(), ErrorCode> {
        let result = self.apply_one(header, txn, Known::Nothing, effects, undo);
        self.settle_usage(effects, undo);
        result
    }

    /// Carries out one operation of a multi; `settle_usage` follows after the last one.
    pub fn apply_one(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        known: Known,
        effects: &mut Effects,
        undo: &mut Undo,
    ) -> Result<(), ErrorCode> {
        match txn {
            Txn::Create { .. } => self.create(header, txn, known, effects, undo),
            Txn::Delete { path, .. } => self.delete(header.zxid, path, known, effects, undo),
            Txn::SetData { path, data, version, .. } => {
                let slot = self.look_up(path, known).ok_or(ErrorCode::NoNode)?;
                let old = self.tree.at(slot);
                let head =
                    NodeHead { mzxid: header.zxid, mtime: header.time_ms, version: *version, ..old.head() };
                let bytes = data.map_or(0, <[u8]>::len) as i64 - old.data_length() as i64;
                let node = old.changed(head, *data);
                self.note_quota(path);
                self.forget_usage_of(path);
                self.use_quota(path, 0, bytes);
                self.change(Effect::SetData { node, slot }, effects, undo);
                Ok(())
            }
            Txn::SetAcl { path, acl, version } => {
                let slot = self.look_up(path, known).ok_or(ErrorCode::NoNode)?;
                let old = self.tree.at(slot).clone();
                let acl = self.intern(acl, effects, undo);
                let head = NodeHead { acl, aversion: *version, ..old.head() };
                let node = old.changed(head, old.data());
                self.change(Effect::Replace { node, slot }, effects, undo);
                Ok(())
            }
            Txn::Multi(txns) => self.apply_multi(header, txns, effects, undo),
            Txn::CloseSession { paths } => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), effects, undo);
                Ok(())
            }
            Txn::Check { .. } | Txn::CreateSession { .. } | Txn::Error { .. } => Ok(()),
        }
    }

    /// A multi with a failed operation changes nothing; otherwise its operations follow each other.
    fn apply_multi(
        &mut self,
        header: &TxnHeader,
        txns: &[Txn<'_>],
        effects: &mut Effects,
        undo: &mut Undo,
    ) -> Result<(), ErrorCode> {
        if txns.iter().any(|txn| matches!(txn, Txn::Error { .. })) {
            return Ok(());
        }
        let mut result = Ok(());
        for txn in txns {
            let one = self.apply_one(header, txn, Known::Nothing, effects, undo);
            result = result.and(one);
        }
        result
    }

    /// The slot of a path, unless the caller knows it.
    fn look_up(&self, path: &str, known: Known) -> Option<Slot> {
        let find = || self.tree.find(path).map(|(slot, _)| slot);
        let slot = match known {
            Known::Nothing => return find(),
            Known::Node(slot) | Known::Child { slot, .. } => Some(slot),
            Known::Vacant { .. } => None,
        };
        debug_assert_eq!(slot, find(), "the caller looked {path} up before anything changed");
        slot
    }

    /// The slot of a path's parent, unless the caller knows it.
    fn look_up_parent(&self, path: &str, known: Known) -> Option<Slot> {
        let find = || self.tree.find(split_path(path).0).map(|(slot, _)| slot);
        match known {
            Known::Nothing | Known::Node(_) => find(),
            Known::Child { parent, .. } | Known::Vacant { parent } => {
                debug_assert_eq!(Some(parent), find(), "the caller looked the parent of {path} up");
                Some(parent)
            }
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        known: Known,
        effects: &mut Effects,
        undo: &mut Undo,
    ) -> Result<(), ErrorCode> {
        let Txn::Create { kind, path, data, acl, ephemeral, parent_cversion } = txn else {
            unreachable!("only creates come here")
        };
        let parent = self.look_up_parent(path, known).ok_or(ErrorCode::NoNode)?;
        if let Some(slot) = self.look_up(path, known) {
            self.create_again(header, (kind, slot, parent, acl, *parent_cversion), effects, undo);
            return Err(ErrorCode::NodeExists);
        }
        let owner = match kind {
            CreateKind::Container => CONTAINER_OWNER,
            // The member has checked it; a log of Apache may hold anything.
            CreateKind::Ttl { ttl_ms } if !(1..=TTL_MS_MAX).contains(ttl_ms) => {
                return Err(ErrorCode::BadArguments);
            }
            CreateKind::Ttl { ttl_ms } => ttl_owner(*ttl_ms),
            _ if *ephemeral => header.session.0,
            _ => 0,
        };
        let acl = self.intern(acl, effects, undo);
        let (zxid, time) = (header.zxid, header.time_ms);
        let head =
            NodeHead { czxid: zxid, mzxid: zxid, ctime: time, mtime: time, owner, acl, ..NodeHead::zero() };
        let node = Node::new(head, path, *data);
        let (parent_cversion, parent_pzxid) = self.raised(parent, *parent_cversion, zxid);
        let slot = self.tree.vacant();
        self.note_quota(path);
        self.change(Effect::Create { node, slot, parent, parent_cversion, parent_pzxid }, effects, undo);
        if let Some(QuotaNode::Stats(limited)) = quota_node(path) {
            self.forget_usage_of(path);
            self.write_usage(limited, None, effects, undo);
        }
        self.use_quota(path, 1, data.map_or(0, <[u8]>::len) as i64);
        Ok(())
    }

    /// Replay over a fuzzy snapshot meets nodes that are there already: the ACL is taken from the transaction, and for
    /// a plain create the parent's numbers still move up.
    fn create_again(
        &mut self,
        header: &TxnHeader,
        (kind, slot, parent, acl, parent_cversion): (&CreateKind, Slot, Slot, &[Acl], i32),
        effects: &mut Effects,
        undo: &mut Undo,
    ) {
        if !self.tolerant {
            return;
        }
        let acl = self.intern(acl, effects, undo);
        let old = self.tree.at(slot);
        let node = old.changed(NodeHead { acl, ..old.head() }, old.data());
        self.change(Effect::Replace { node, slot }, effects, undo);
        if *kind == CreateKind::Create {
            let (cversion, pzxid) = self.raised(parent, parent_cversion, header.zxid);
            self.change(Effect::Parent { slot: parent, cversion, pzxid }, effects, undo);
        }
    }

    /// The parent's stored numbers after a create: both move up, or none.
    fn raised(&self, parent: Slot, parent_cversion: i32, zxid: Zxid) -> (i32, Zxid) {
        let before = self.tree.child_stat(parent);
        let wanted = if parent_cversion == -1 { before.cversion.wrapping_add(1) } else { parent_cversion };
        // The count wraps around after 2^31 creates; then it is still one step further.
        if wanted.wrapping_sub(before.cversion) > 0 {
            (wanted, zxid)
        } else {
            (before.cversion, before.pzxid)
        }
    }

    /// A node with children is never deleted by a sound transaction; over a fuzzy snapshot its children are newer than
    /// this delete and come back when their own creates are replayed.
    fn delete(
        &mut self,
        zxid: Zxid,
        path: &str,
        known: Known,
        effects: &mut Effects,
        undo: &mut Undo,
    ) -> Result<(), ErrorCode> {
        let Some(slot) = self.look_up(path, known) else {
            if self.tolerant {
                self.delete_missing(zxid, path, effects, undo);
            }
            return Err(ErrorCode::NoNode);
        };
        if Some(slot) == self.tree.root() {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.look_up_parent(path, known).expect("a parent is in the tree");
        if self.tree.child_stat(slot).count > 0 {
            if !self.tolerant {
                return Err(ErrorCode::NotEmpty);
            }
            self.delete_below(zxid, slot, effects, undo);
        }
        self.delete_leaf(zxid, slot, parent, effects, undo);
        Ok(())
    }

    fn delete_below(&mut self, zxid: Zxid, slot: Slot, effects: &mut Effects, undo: &mut Undo) {
        let mut below = Vec::new();
        self.tree.walk(slot, |slot, _| below.push(slot));
        // Parents come before children, the node itself first.
        let mut near = Slot::NONE;
        for slot in below.drain(1..).rev() {
            let parent = self.parent_of(slot, &mut near);
            self.delete_leaf(zxid, slot, parent, effects, undo);
        }
    }

    /// The slot of a node's parent; `near` is where one was found last, and is told where this one was.
    fn parent_of(&self, slot: Slot, near: &mut Slot) -> Slot {
        let path = self.tree.at(slot).parent_bytes();
        if !self.tree.is_at(*near, path) {
            *near = self.tree.find_bytes(path).expect("a parent is in the tree");
        }
        *near
    }

    fn delete_leaf(&mut self, zxid: Zxid, slot: Slot, parent: Slot, effects: &mut Effects, undo: &mut Undo) {
        let node = self.tree.at(slot).clone();
        let parent_pzxid = self.tree.child_stat(parent).pzxid.max(zxid);
        if self.limited.is_empty() {
            return self.change(Effect::Delete { node, slot, parent, parent_pzxid }, effects, undo);
        }
        let gone = node.clone();
        self.note_quota(gone.path());
        self.change(Effect::Delete { node, slot, parent, parent_pzxid }, effects, undo);
        self.use_quota(gone.path(), -1, -(gone.data_length() as i64));
    }

    fn delete_missing(&mut self, zxid: Zxid, path: &str, effects: &mut Effects, undo: &mut Undo) {
        let Some((slot, _)) = self.tree.find(split_path(path).0) else { return };
        let ChildStat { cversion, pzxid, .. } = self.tree.child_stat(slot);
        if pzxid < zxid {
            self.change(Effect::Parent { slot, cversion, pzxid: zxid }, effects, undo);
        }
    }

    /// First the listed nodes in their order, then whatever else the session owns.
    fn close_session<P: AsRef<str>>(
        &mut self,
        header: &TxnHeader,
        paths: &[P],
        effects: &mut Effects,
        undo: &mut Undo,
    ) {
        let mut near = Slot::NONE;
        for path in paths {
            self.delete_owned(header.zxid, path.as_ref(), &mut near, effects, undo);
        }
        let left: Vec<String> =
            self.tree.ephemerals(header.session).map(|node| node.path().to_string()).collect();
        for path in left {
            self.delete_owned(header.zxid, &path, &mut near, effects, undo);
        }
    }

    /// A listed node may be gone already. One with children only exists where TTL nodes are taken for ephemerals
    /// because extended types are switched off; what is below it could not be reached any more and goes, too.
    fn delete_owned(
        &mut self,
        zxid: Zxid,
        path: &str,
        near: &mut Slot,
        effects: &mut Effects,
        undo: &mut Undo,
    ) {
        match self.tree.find(path) {
            Some((slot, node)) if node.path_bytes() != b"/" => {
                if self.tree.child_stat(slot).count > 0 {
                    self.delete_below(zxid, slot, effects, undo);
                }
                self.delete_leaf(zxid, slot, self.parent_of(slot, near), effects, undo);
            }
            Some(_) => {}
            None => self.delete_missing(zxid, path, effects, undo),
        }
    }

    /// Carries out a transaction while restoring: failures stem from a fuzzy snapshot and are expected.
    pub fn replay(&mut self, header: &TxnHeader, txn: &Txn<'_>) {
        self.tolerant = true;
        let _ = self.apply(header, txn, &mut Effects::new(), &mut Undo::none());
        self.tolerant = false;
        self.tree.set_applied(self.tree.applied().max(header.zxid));
    }

    /// Takes back everything since `mark`, newest first. The caller drops the effects that were emitted since.
    pub fn undo(&mut self, undo: &mut Undo, mark: usize) {
        self.usage.clear();
        self.quotas_before.clear();
        for step in undo.steps.drain(mark..).rev().collect::<Vec<_>>() {
            match step {
                UndoStep::Created { slot, parent, numbers } => {
                    self.subtract(&[slot, parent]);
                    let node = self.tree.remove(slot, parent);
                    self.unindex(&node);
                    self.tree.set_children(parent, numbers.0, numbers.1);
                    self.add(&[parent]);
                }
                UndoStep::Deleted { node, slot, acl, own, parent, numbers } => {
                    self.subtract(&[parent]);
                    self.ensure_acl(&node, acl);
                    self.index(&node);
                    self.tree.insert_at(node, slot, Some(parent));
                    self.tree.set_children(slot, own.0, own.1);
                    self.tree.set_children(parent, numbers.0, numbers.1);
                    self.add(&[slot, parent]);
                }
                UndoStep::Replaced { node, slot, acl } => {
                    self.subtract(&[slot]);
                    self.ensure_acl(&node, acl);
                    self.tree.install(&Effect::Replace { node, slot });
                    self.add(&[slot]);
                }
                UndoStep::Parent { slot, numbers } => {
                    self.subtract(&[slot]);
                    self.tree.set_children(slot, numbers.0, numbers.1);
                    self.add(&[slot]);
                }
                UndoStep::AddedAcl { id } => self.tree.drop_unused_acl(id),
            }
        }
    }

    /// A list that only the node to restore referred to has left the table; it comes back under its old id.
    fn ensure_acl(&mut self, node: &Node, acl: Arc<[Acl]>) {
        let id = node.acl();
        if !self.tree.has_acl(id) {
            self.tree.install(&Effect::AddAcl { id, acl });
        }
    }

    /// Of the containers and TTL nodes whose paths come after this one, so many, those that are to go now: without
    /// children, and used or old enough. The path to go on behind, unless that was all.
    pub fn collectable(
        &self,
        after: &str,
        wall_ms: i64,
        never_used_ms: i64,
        at_once: usize,
    ) -> (Vec<String>, Option<Box<str>>) {
        let is_due = |path: &str| {
            let Some((slot, node)) = self.tree.find(path) else { return false };
            let children = self.tree.child_stat(slot);
            let age_ms = wall_ms - node.head().mtime;
            match self.tree.rules().owner(node.owner()) {
                _ if children.count > 0 => false,
                Owner::Container if children.cversion == 0 => never_used_ms > 0 && age_ms > never_used_ms,
                Owner::Container => true,
                Owner::Ttl(ttl_ms) => age_ms > ttl_ms as i64,
                _ => false,
            }
        };
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let (mut due, mut last, mut seen) = (Vec::new(), None, 0);
        for path in self.collectable.range::<str, _>(range).take(at_once) {
            seen += 1;
            last = Some(path);
            if is_due(path) {
                due.push(path.to_string());
            }
        }
        (due, last.filter(|_| seen == at_once).cloned())
    }

    /// True for a container or TTL node.
    pub fn is_collectable_kind(&self, node: &Node) -> bool {
        matches!(self.tree.rules().owner(node.owner()), Owner::Container | Owner::Ttl(_))
    }

    fn intern(&mut self, acl: &[Acl], effects: &mut Effects, undo: &mut Undo) -> AclId {
        if Acl::is_open(acl) {
            return AclId::OPEN;
        }
        if let Some(id) = self.interned.get(acl)
            && self.tree.has_acl(*id)
        {
            return *id;
        }
        if self.interned.len() > 2 * self.tree.acls().count() + INTERNED_SLACK {
            let tree = &self.tree;
            self.interned.retain(|_, id| tree.has_acl(*id));
        }
        let id = AclId(self.next_acl);
        self.next_acl += 1;
        let acl: Arc<[Acl]> = acl.into();
        self.interned.insert(Arc::clone(&acl), id);
        let effect = Effect::AddAcl { id, acl };
        self.tree.install(&effect);
        undo.push(|| UndoStep::AddedAcl { id });
        effects.push(effect);
        id
    }

    /// The one place where the tree changes: keeps digest, indexes and undo in step.
    fn change(&mut self, effect: Effect, effects: &mut Effects, undo: &mut Undo) {
        let tree = &self.tree;
        let numbers = |slot: Slot| {
            let stat = tree.child_stat(slot);
            (stat.cversion, stat.pzxid)
        };
        let acl_of = |node: &Node| Arc::clone(tree.acl(node.acl()));
        match &effect {
            Effect::Create { node, slot, parent, .. } => {
                let (slot, parent) = (*slot, *parent);
                undo.push(|| UndoStep::Created { slot, parent, numbers: numbers(parent) });
                self.subtract(&[parent]);
                self.tree.install(&effect);
                self.index(node);
                self.add(&[slot, parent]);
            }
            Effect::Delete { node, slot, parent, .. } => {
                let (slot, parent) = (*slot, *parent);
                undo.push(|| {
                    let (own, numbers) = (numbers(slot), numbers(parent));
                    UndoStep::Deleted { node: node.clone(), slot, acl: acl_of(node), own, parent, numbers }
                });
                self.subtract(&[slot, parent]);
                self.tree.install(&effect);
                self.unindex(node);
                self.add(&[parent]);
            }
            Effect::SetData { slot, .. } | Effect::Replace { slot, .. } => {
                let slot = *slot;
                undo.push(|| {
                    let node = tree.at(slot).clone();
                    UndoStep::Replaced { acl: acl_of(&node), node, slot }
                });
                self.subtract(&[slot]);
                self.tree.install(&effect);
                self.add(&[slot]);
            }
            Effect::Parent { slot, .. } => {
                let slot = *slot;
                undo.push(|| UndoStep::Parent { slot, numbers: numbers(slot) });
                self.subtract(&[slot]);
                self.tree.install(&effect);
                self.add(&[slot]);
            }
            Effect::AddAcl { .. } => self.tree.install(&effect),
        }
        effects.push(effect);
    }

    /// The digest is the sum of its shares, and nothing waits to be settled.
    pub fn check(&self) {
        let shares = self.tree.nodes().map(|(slot, _)| u64::from(self.shares[slot.0]));
        let sum = || shares.fold(0u64, u64::wrapping_add);
        assert!(!self.settings.digest_enabled || self.digest == sum(), "the digest is the sum of its shares");
        assert!(self.usage.is_empty(), "usage is settled with its transaction");
    }

    fn index(&mut self, node: &Node) {
        if let Some(path) = limited_by(node) {
            self.limited.insert(path.into());
        }
        if node.owner() != 0 && self.is_collectable_kind(node) {
            self.collectable.insert(node.path().into());
        }
    }

    fn unindex(&mut self, node: &Node) {
        if let Some(path) = limited_by(node) {
            self.limited.remove(path);
        }
        if node.owner() != 0 && self.is_collectable_kind(node) {
            self.collectable.remove(node.path());
        }
    }

    /// Takes the shares of nodes that are about to change out of the digest.
    fn subtract(&mut self, slots: &[Slot]) {
        if self.settings.digest_enabled {
            slots.iter().for_each(|slot| self.digest = self.digest.wrapping_sub(self.shares[slot.0].into()));
        }
    }

    /// Puts the shares of new or changed nodes in.
    fn add(&mut self, slots: &[Slot]) {
        if !self.settings.digest_enabled {
            return;
        }
        for slot in slots {
            let share = node_digest(self.tree.at(*slot), self.tree.child_stat(*slot));
            self.digest = self.digest.wrapping_add(share.into());
            if slot.0 < self.shares.count() {
                self.shares[slot.0] = share;
            } else {
                self.shares.push(share);
            }
        }
    }
}

const INTERNED_SLACK: usize = 1024;
