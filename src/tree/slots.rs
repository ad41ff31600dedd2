//! Where the records of one tree are: every node has a slot, and a hash index finds the slot of a path.
//!
//! All trees of a process give the same node the same slot, because they carry out the same creates and deletes in the
//! same order: so an effect names slots, and installing it looks nothing up. The index grows by one bucket per node
//! (linear hashing): there is no moment in which everything is rehashed while clients wait.
//!
//! Invariant: a slot is on the free list or has a node; each node of an indexed tree is in exactly one bucket's chain.

use super::chunked::{Chunked, Keep, Own, Shared};
use super::node::Node;
use foldhash::fast::FixedState;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};

/// Paths looked up ahead of their use at a time.
pub const LOOK_AHEAD: usize = 32;

/// The place of a node in the trees of this process, for as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// No slot.
    pub const NONE: Slot = Slot(SLOT_MASK);

    /// The one of this number.
    pub fn at(index: u32) -> Slot {
        assert!(index < SLOT_MASK, "a tree has fewer slots");
        Slot(index)
    }

    /// Its number; they begin at 0.
    pub fn index(self) -> u32 {
        self.0
    }

    /// Itself, unless it is none.
    pub fn some(self) -> Option<Slot> {
        (self != Slot::NONE).then_some(self)
    }
}

/// A step of a bucket's chain: a slot and some bits of its path's hash, which tell most other paths apart without
/// touching their records.
#[derive(Clone, Copy)]
struct Link(u32);

const SLOT_BITS: u32 = 27;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

impl Link {
    const END: Link = Link(SLOT_MASK);

    fn new(slot: Slot, tag: u32) -> Link {
        Link(tag << SLOT_BITS | slot.0)
    }

    fn slot(self) -> Slot {
        Slot(self.0 & SLOT_MASK)
    }

    fn tag(self) -> u32 {
        self.0 >> SLOT_BITS
    }

    fn is_end(self) -> bool {
        self.slot() == Slot::NONE
    }
}

/// One slot.
#[derive(Clone)]
pub struct Entry {
    node: Option<Node>,
    chain: Link,
    /// Index of what the node knows of its children; `NO_FAMILY` for most.
    pub family: u32,
    /// Its neighbours among its parent's children, with bits of its path's hash in front.
    next: u32,
    prev: u32,
}

impl Entry {
    fn new(node: Node, hash: u32) -> Entry {
        let kept = hash >> KEPT_FROM;
        let beside = |bits: u32, slot: Slot| bits << SLOT_BITS | slot.0;
        Entry {
            node: Some(node),
            chain: Link::END,
            family: NO_FAMILY,
            next: beside(kept, Slot::NONE),
            prev: beside(kept >> BITS_BESIDE, Slot::NONE),
        }
    }

    /// The next among its parent's children.
    pub fn next(&self) -> Slot {
        Slot(self.next & SLOT_MASK)
    }

    /// The one before.
    pub fn prev(&self) -> Slot {
        Slot(self.prev & SLOT_MASK)
    }

    /// Another one comes next.
    pub fn set_next(&mut self, slot: Slot) {
        self.next = self.next & !SLOT_MASK | slot.0;
    }

    /// Another one comes before.
    pub fn set_prev(&mut self, slot: Slot) {
        self.prev = self.prev & !SLOT_MASK | slot.0;
    }

    /// A bit of the path's hash, one of those that are kept.
    fn hash_bit(&self, bit: u32) -> bool {
        let kept = self.next >> SLOT_BITS | self.prev >> SLOT_BITS << BITS_BESIDE;
        kept >> (bit - KEPT_FROM) & 1 != 0
    }
}

/// Room beside a slot in 32 bits.
const BITS_BESIDE: u32 = 32 - SLOT_BITS;
/// The bits of a path's hash that its entry keeps: those by which buckets are told apart in trees that do not stay in the
/// cache. Moving a node to another bucket does not look at its record there.
const KEPT_FROM: u32 = 12;
const KEPT: std::ops::Range<u32> = KEPT_FROM..KEPT_FROM + 2 * BITS_BESIDE;

/// The node has no numbers of its own about children.
pub const NO_FAMILY: u32 = u32::MAX;

/// The slots of one tree.
#[derive(Clone)]
pub struct Slots<K: Keep = Own> {
    hasher: FixedState,
    entries: Chunked<Entry, K>,
    /// Empty in a tree that finds nothing by path.
    buckets: Chunked<Link, K>,
    /// Slots without a node, the next to be used last.
    free: Vec<Slot>,
    nodes: u32,
}

const BUCKETS_MIN: u32 = 64;

impl Slots {
    /// No nodes yet.
    pub fn new(hash_seed: u64) -> Slots {
        let mut buckets = Chunked::empty();
        (0..BUCKETS_MIN).for_each(|_| _ = buckets.push(Link::END));
        let hasher = FixedState::with_seed(hash_seed);
        Slots { hasher, entries: Chunked::empty(), buckets, free: Vec::new(), nodes: 0 }
    }

    /// The same slots without the index.
    pub fn without_index(&self) -> Slots<Shared> {
        Slots {
            hasher: self.hasher.clone(),
            entries: self.entries.to_shared(),
            buckets: Chunked::empty(),
            free: self.free.clone(),
            nodes: self.nodes,
        }
    }
}

impl Slots<Shared> {
    /// The slots as they are now, to be looked at.
    pub fn freeze(&self) -> Slots<Shared> {
        Slots {
            hasher: self.hasher.clone(),
            entries: self.entries.clone(),
            buckets: Chunked::empty(),
            free: Vec::new(),
            nodes: self.nodes,
        }
    }
}

impl<K: Keep> Slots<K> {
    /// Nodes there are.
    pub fn count(&self) -> u32 {
        self.nodes
    }

    /// All slots in use are before it.
    pub fn end(&self) -> u32 {
        self.entries.count()
    }

    /// The slot that the next new node gets.
    pub fn vacant(&self) -> Slot {
        self.free.last().copied().unwrap_or(Slot(self.entries.count()))
    }

    /// The node in a slot in use.
    pub fn node(&self, slot: Slot) -> &Node {
        self.entries[slot.0].node.as_ref().expect("the slot has a node")
    }

    /// The node in a slot, if there is such a slot and it is in use.
    pub fn get(&self, slot: Slot) -> Option<&Node> {
        if slot.0 < self.entries.count() { self.entries[slot.0].node.as_ref() } else { None }
    }

    /// Everything else about a slot in use.
    pub fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.0]
    }

    /// The same, to be changed.
    pub fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.0]
    }

    /// All nodes, in the order of their slots.
    pub fn nodes(&self) -> impl Iterator<Item = (Slot, &Node)> {
        (0..)
            .map(Slot)
            .zip(self.entries.iter())
            .filter_map(|(slot, entry)| Some((slot, entry.node.as_ref()?)))
    }

    /// The slot of a path.
    pub fn find(&self, path: &[u8]) -> Option<Slot> {
        let hash = self.hash(path);
        let tag = tag(hash);
        let mut link = self.buckets[self.bucket(hash)];
        while !link.is_end() {
            let slot = link.slot();
            if link.tag() == tag && self.node(slot).path_bytes() == path {
                return Some(slot);
            }
            link = self.entries[slot.0].chain;
        }
        None
    }

    /// Fetches into the cache what finding and reading the nodes of these paths needs. The loads for one path do not wait
    /// for those of another, as they do in lookups one after the other.
    pub fn look_ahead<'a>(&self, paths: impl Iterator<Item = &'a [u8]>) {
        let mut links: SmallVec<[(Link, u32); LOOK_AHEAD]> = SmallVec::new();
        links.extend(paths.map(|path| {
            let hash = self.hash(path);
            (self.buckets[self.bucket(hash)], tag(hash))
        }));
        let mut touched = 0;
        for (mut link, tag) in links {
            if !link.is_end() && link.tag() != tag {
                link = self.entries[link.slot().0].chain;
            }
            if !link.is_end() && link.tag() == tag {
                touched ^= self.node(link.slot()).touch();
            }
        }
        std::hint::black_box(touched);
    }

    /// The same for places; some may not be in use yet.
    pub fn look_ahead_of(&self, slots: impl Iterator<Item = Slot>) {
        let records = slots.filter_map(|slot| self.get(slot));
        std::hint::black_box(records.fold(0, |touched, node| touched ^ node.touch()));
    }

    /// Adds a node whose path is not there yet.
    pub fn insert(&mut self, node: Node) -> Slot {
        let is_indexed = self.buckets.count() > 0;
        let hash = if is_indexed { self.hash(node.path_bytes()) } else { 0 };
        let entry = Entry::new(node, hash);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot.0] = entry;
                slot
            }
            None => Slot(self.entries.push(entry)),
        };
        assert!(slot < Slot::NONE, "a tree holds fewer than {SLOT_MASK} nodes");
        self.nodes += 1;
        if is_indexed {
            self.link(slot, hash);
            if self.nodes > self.buckets.count() {
                self.split();
            }
        }
        slot
    }

    /// Takes a node out; its slot is the next to be used.
    pub fn remove(&mut self, slot: Slot) -> Node {
        if self.buckets.count() > 0 {
            self.unlink(slot);
        }
        self.nodes -= 1;
        self.free.push(slot);
        self.entries[slot.0].node.take().expect("the slot has a node")
    }

    /// Puts a newer record of the same node in its place.
    pub fn replace(&mut self, slot: Slot, node: Node) -> Node {
        self.entries[slot.0].node.replace(node).expect("the slot has a node")
    }

    /// Makes room for so many nodes; cheap only while there are few.
    pub fn reserve(&mut self, nodes: u32) {
        if self.buckets.count() == 0 || nodes <= self.buckets.count() {
            return;
        }
        let present: Vec<Slot> = self.nodes().map(|(slot, _)| slot).collect();
        let more = nodes - self.buckets.count();
        (0..self.buckets.count()).for_each(|bucket| self.buckets[bucket] = Link::END);
        (0..more).for_each(|_| _ = self.buckets.push(Link::END));
        for slot in present {
            let hash = self.hash(self.node(slot).path_bytes());
            self.link(slot, hash);
        }
    }

    fn hash(&self, path: &[u8]) -> u32 {
        let mut state = self.hasher.build_hasher();
        state.write(path);
        let hash = state.finish();
        (hash ^ hash >> 32) as u32
    }

    /// Buckets are numbered by as many low bits of the hash as there are buckets for; those that a bucket would need
    /// one bit more for are still in the one without that bit.
    fn bucket(&self, hash: u32) -> u32 {
        let count = self.buckets.count();
        let mask = count.next_power_of_two() - 1;
        let bucket = hash & mask;
        if bucket < count { bucket } else { bucket & (mask >> 1) }
    }

    fn link(&mut self, slot: Slot, hash: u32) {
        self.prepend(self.bucket(hash), Link::new(slot, tag(hash)));
    }

    fn prepend(&mut self, bucket: u32, link: Link) {
        self.entries[link.slot().0].chain = std::mem::replace(&mut self.buckets[bucket], link);
    }

    fn unlink(&mut self, slot: Slot) {
        let bucket = self.bucket(self.hash(self.node(slot).path_bytes()));
        let chain = self.entries[slot.0].chain;
        let mut link = self.buckets[bucket];
        if link.slot() == slot {
            self.buckets[bucket] = chain;
            return;
        }
        while !link.is_end() {
            let entry = &mut self.entries[link.slot().0];
            if entry.chain.slot() == slot {
                entry.chain = chain;
                return;
            }
            link = entry.chain;
        }
        unreachable!("every node is in the chain of its bucket");
    }

    /// One bucket more: it gets its share of the bucket that had them so far.
    fn split(&mut self) {
        let new = self.buckets.count();
        let bit = new.ilog2();
        let old = new & !(1 << bit);
        let mut link = std::mem::replace(&mut self.buckets[old], Link::END);
        self.buckets.push(Link::END);
        while !link.is_end() {
            let entry = &self.entries[link.slot().0];
            let rest = entry.chain;
            let is_new = match KEPT.contains(&bit) {
                true => entry.hash_bit(bit),
                false => self.hash(self.node(link.slot()).path_bytes()) >> bit & 1 != 0,
            };
            self.prepend(if is_new { new } else { old }, link);
            link = rest;
        }
    }
}

fn tag(hash: u32) -> u32 {
    hash >> SLOT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NodeHead;

    fn node(index: usize) -> Node {
        Node::new(NodeHead::zero(), &format!("/n{index}"), None)
    }

    fn find(slots: &Slots, index: usize) -> Option<Slot> {
        slots.find(format!("/n{index}").as_bytes())
    }

    #[test]
    fn every_path_is_found_while_buckets_split_and_nodes_go() {
        let mut slots = Slots::new(7);
        let mut places = Vec::new();
        let count = 3 << (KEPT_FROM + BITS_BESIDE); // so many that bits of both halves were asked for
        for index in 0..count {
            places.push(slots.insert(node(index)));
        }
        for index in (0..count).step_by(3) {
            assert_eq!(slots.remove(places[index]).path(), format!("/n{index}"));
        }
        for (index, place) in places.iter().enumerate() {
            assert_eq!(find(&slots, index), (index % 3 != 0).then_some(*place), "{index}");
        }
        assert_eq!(slots.count() as usize, slots.nodes().count());
        assert_eq!(find(&slots, count), None);
    }

    #[test]
    fn the_slot_freed_last_is_used_first() {
        let mut slots = Slots::new(7);
        let places: Vec<Slot> = (0..4).map(|index| slots.insert(node(index))).collect();
        slots.remove(places[1]);
        slots.remove(places[2]);
        assert_eq!(slots.vacant(), places[2]);
        assert_eq!(slots.insert(node(9)), places[2]);
        assert_eq!(slots.insert(node(10)), places[1]);
        assert_eq!(slots.vacant(), Slot(4));
    }

    #[test]
    fn reserving_keeps_what_is_there() {
        let mut slots = Slots::new(7);
        (0..100).for_each(|index| _ = slots.insert(node(index)));
        slots.reserve(5_000);
        (100..6_000).for_each(|index| _ = slots.insert(node(index)));
        assert!((0..6_000).all(|index| find(&slots, index).is_some()));
    }

    #[test]
    fn without_an_index_slots_are_the_same() {
        let mut slots = Slots::new(7);
        (0..100).for_each(|index| _ = slots.insert(node(index)));
        let mut bare = slots.without_index();
        for slot in [Slot(5), Slot(50)] {
            assert!(slots.remove(slot).is_same(&bare.remove(slot)));
        }
        assert_eq!(slots.insert(node(200)), bare.insert(node(200)));
    }
}
