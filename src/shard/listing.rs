//! Answers that list so much that whoever is served next would wait for them: they are put together in slices, one per
//! turn, while the tree goes on.
//!
//! A listing shows the state in which it was begun. What was created since is left out: its czxid says so. What is
//! deleted before a slice has reached it is listed at that moment (`on_delete`).
//!
//! Invariant: `bytes` is the sum of the lengths in `pieces`; every entry is listed at most once (`seen`).

use super::conn::Conn;
use super::lists::ListState;
use super::requests::frame_at;
use super::{Shard, ShardOutput, conn_in};
use crate::ids::{ConnId, Now, SessionId, Zxid};
use crate::limits::{CHILD_LISTS_BYTES_MAX, LISTING_PIECE_BYTES, LISTINGS_AT_ONCE};
use crate::tree::{Node, Owner, Slot, Tree};
use crate::wire::records::encode_reply;
use crate::wire::{ErrorCode, Op, ReplyHeader, RequestHeader, Stat, Writer};
use std::collections::VecDeque;
use std::sync::Arc;

/// What is listed.
pub enum Source {
    /// The names of a node's children.
    Children { parent: Slot, next: Slot, path: Box<str>, stat: Stat, with_stat: bool },
    /// The paths of a session's ephemerals that begin so.
    Ephemerals { session: SessionId, prefix: Box<str>, slots: Vec<Slot> },
    /// How many nodes there are below a path; slots up to `next` are counted.
    Descendants { path: Box<str>, next: u32 },
}

/// An answer being put together.
pub struct Listing {
    /// Whose answer it is.
    pub header: RequestHeader,
    /// When the request arrived.
    pub at_ms: u64,
    state: Zxid,
    source: Source,
    /// Slots that are listed.
    seen: Vec<u64>,
    count: u32,
    pieces: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    /// Events that came since; they are of later states, so they are sent behind it.
    pub behind: Vec<Arc<[u8]>>,
    behind_bytes: usize,
}

/// Length, header and count, which the first piece begins with.
const FRONT_BYTES: usize = 24;

impl Listing {
    /// Nothing is listed yet; the state is that of the tree.
    pub fn new(
        header: RequestHeader,
        at_ms: u64,
        source: Source,
        bytes_max: usize,
        tree: &Tree,
    ) -> Box<Listing> {
        let mut first = Vec::with_capacity(LISTING_PIECE_BYTES);
        let zxid = tree.applied();
        encode_reply(&mut first, ReplyHeader { xid: header.xid, zxid, err: 0 }, |out| {
            Writer::new(out).int(0);
        });
        assert_eq!(first.len(), FRONT_BYTES);
        let words = match source {
            Source::Descendants { .. } => 0,
            _ => (tree.slots_end() as usize).div_ceil(64),
        };
        Box::new(Listing {
            header,
            at_ms,
            state: zxid,
            source,
            seen: vec![0; words],
            count: 0,
            bytes: first.len(),
            pieces: vec![first],
            bytes_max,
            behind: Vec::new(),
            behind_bytes: 0,
        })
    }

    /// What it holds.
    pub fn held_bytes(&self) -> usize {
        self.bytes + self.behind_bytes + 8 * self.seen.len()
    }

    /// Of the events that wait behind it.
    pub fn behind_bytes(&self) -> usize {
        self.behind_bytes
    }

    /// An event of a later state.
    pub fn push_event(&mut self, event: &Arc<[u8]>) {
        self.behind_bytes += event.len();
        self.behind.push(Arc::clone(event));
    }

    /// Lists up to so many entries more; true once all are, or too many.
    pub fn advance(&mut self, tree: &Tree, entries: usize) -> bool {
        for _ in 0..entries {
            if self.is_too_long() || !self.step(tree) {
                return true;
            }
        }
        false
    }

    /// As for a list that is put together at once: its count and its names are what counts.
    fn is_too_long(&self) -> bool {
        self.bytes - (FRONT_BYTES - 4) > self.bytes_max
    }

    /// Looks at one slot; false if there is none left.
    fn step(&mut self, tree: &Tree) -> bool {
        match &mut self.source {
            Source::Children { next, .. } => {
                let Some(slot) = next.some() else { return false };
                *next = tree.next_sibling(slot);
                let child = tree.at(slot);
                if child.czxid() <= self.state {
                    self.list(slot, child.name_bytes());
                }
            }
            Source::Ephemerals { session, slots, .. } => {
                let Some(slot) = slots.pop() else { return false };
                let session = *session;
                if let Some(node) = tree.get(slot)
                    && node.czxid() <= self.state
                    && tree.rules().owner(node.owner()) == Owner::Session(session)
                {
                    self.list_path(slot, node);
                }
            }
            Source::Descendants { path, next } => {
                if *next >= tree.slots_end() {
                    return false;
                }
                let node = tree.get(Slot::at(*next));
                *next += 1;
                if node.is_some_and(|node| node.czxid() <= self.state && is_below(node, path)) {
                    self.count += 1;
                }
            }
        }
        true
    }

    /// A node is about to go, and it is still in the tree.
    pub fn on_delete(&mut self, tree: &Tree, slot: Slot, node: &Node, below: Slot) {
        let is_new = node.czxid() > self.state;
        match &mut self.source {
            Source::Children { parent, next, .. } => {
                if *next == slot {
                    *next = tree.next_sibling(slot);
                }
                assert!(slot != *parent || *next == Slot::NONE, "only a node without children goes");
                if below == *parent && !is_new {
                    self.list(slot, node.name_bytes());
                }
            }
            Source::Ephemerals { session, .. } => {
                if !is_new && tree.rules().owner(node.owner()) == Owner::Session(*session) {
                    self.list_path(slot, node);
                }
            }
            Source::Descendants { path, next } => {
                if !is_new && slot.index() >= *next && is_below(node, path) {
                    self.count += 1;
                }
            }
        }
    }

    fn list_path(&mut self, slot: Slot, node: &Node) {
        let Source::Ephemerals { prefix, .. } = &self.source else { unreachable!("only these are paths") };
        if node.path_bytes().starts_with(prefix.as_bytes()) {
            self.list(slot, node.path_bytes());
        }
    }

    fn list(&mut self, slot: Slot, name: &[u8]) {
        let (word, bit) = (slot.index() as usize / 64, 1 << (slot.index() % 64));
        // A slot of a later state is not among those that there were.
        let Some(word) = self.seen.get_mut(word) else { return };
        if *word & bit != 0 {
            return;
        }
        *word |= bit;
        self.count += 1;
        let need = 4 + name.len();
        if self.pieces.last().is_none_or(|piece| piece.capacity() - piece.len() < need) {
            self.pieces.push(Vec::with_capacity(LISTING_PIECE_BYTES.max(need)));
        }
        let piece = self.pieces.last_mut().expect("there is a piece");
        Writer::new(piece).buffer(Some(name));
        self.bytes += need;
    }

    /// The whole reply in pieces, and the list of children for those who ask next; an error where it is too long.
    pub fn finish(mut self: Box<Self>) -> Result<Finished, ErrorCode> {
        let mut children = None;
        let is_too_long = self.is_too_long();
        if let Source::Children { path, stat, with_stat, .. } = &self.source {
            assert!(
                is_too_long || self.count == stat.num_children as u32,
                "{} of {} children are listed",
                self.count,
                stat.num_children
            );
            let state = ListState { czxid: Zxid(stat.czxid), pzxid: Zxid(stat.pzxid) };
            children = Some((path.clone(), state, self.bytes + 4 - FRONT_BYTES));
            if *with_stat {
                let piece = self.pieces.last_mut().expect("there is a piece");
                let before = piece.len();
                stat.encode(piece);
                self.bytes += piece.len() - before;
            }
        }
        if is_too_long {
            return Err(ErrorCode::MarshallingError);
        }
        let front = &mut self.pieces[0];
        front[..4].copy_from_slice(&(self.bytes as u32 - 4).to_be_bytes());
        front[FRONT_BYTES - 4..FRONT_BYTES].copy_from_slice(&self.count.to_be_bytes());
        Ok(Finished { pieces: self.pieces, children })
    }

    /// Sums are those of their parts.
    pub fn check(&self) {
        assert_eq!(self.bytes, self.pieces.iter().map(Vec::len).sum::<usize>());
        assert_eq!(self.behind_bytes, self.behind.iter().map(|event| event.len()).sum::<usize>());
        let seen: u32 = self.seen.iter().map(|word| word.count_ones()).sum();
        assert!(matches!(self.source, Source::Descendants { .. }) || seen == self.count);
    }
}

/// A reply in pieces.
pub struct Finished {
    pub pieces: Vec<Vec<u8>>,
    /// Of children: the parent's path and state, and the bytes of the list, count included, that begin behind the header.
    pub children: Option<(Box<str>, ListState, usize)>,
}

impl Finished {
    /// The first bytes of the reply's body.
    pub fn body(&self, bytes: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(bytes);
        let mut skip = FRONT_BYTES - 4;
        for piece in &self.pieces {
            let piece = &piece[skip..];
            skip = 0;
            body.extend_from_slice(&piece[..piece.len().min(bytes - body.len())]);
        }
        body
    }
}

fn is_below(node: &Node, path: &str) -> bool {
    node.path_bytes().strip_prefix(path.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Which connections have a listing under way, in turn, and which wait to begin one.
#[derive(Default)]
pub(super) struct Listings {
    pub active: VecDeque<ConnId>,
    waiting: VecDeque<ConnId>,
}

impl Listings {
    /// One more may be begun.
    pub fn has_room(&self) -> bool {
        self.active.len() < LISTINGS_AT_ONCE
    }

    /// A further turn goes on with one.
    pub fn has_work(&self) -> bool {
        !self.active.is_empty() || !self.waiting.is_empty()
    }

    /// The connection gets no further answers.
    pub fn end(&mut self, conn: &mut Conn) {
        if conn.listing.take().is_some() {
            self.active.retain(|id| *id != conn.id);
        }
        self.stop_waiting(conn);
    }

    /// The connection's next answer is due, or never.
    pub fn stop_waiting(&mut self, conn: &mut Conn) {
        if std::mem::take(&mut conn.awaits_listing) {
            self.waiting.retain(|id| *id != conn.id);
        }
    }
}

impl Shard {
    pub(super) fn begin_listing(
        &mut self,
        conn: &mut Conn,
        header: RequestHeader,
        at_ms: u64,
        source: Source,
    ) {
        assert!(conn.listing.is_none(), "one at a time, in the order of the requests");
        let bytes_max = self.settings.reply_bytes_max;
        conn.listing = Some(Listing::new(header, at_ms, source, bytes_max, &self.tree));
        self.sends.count(conn);
        self.listings.active.push_back(conn.id);
    }

    /// It is begun when another one is done.
    pub(super) fn await_listing(&mut self, conn: &mut Conn, header: RequestHeader, at_ms: u64, body: &[u8]) {
        conn.put_back(header.xid, header.op, body, at_ms);
        self.listings.waiting.push_back(conn.id);
    }

    /// One slice per turn, of one listing after the other.
    pub(super) fn advance_listings(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        while self.listings.has_room()
            && let Some(id) = self.listings.waiting.pop_front()
        {
            if let Some(conn) = conn_in(&mut self.conns, id) {
                conn.awaits_listing = false;
            }
            self.resume(now, id, out);
        }
        let Some(id) = self.listings.active.front().copied() else { return };
        self.listings.active.rotate_left(1);
        if self.advance_listing(id, self.settings.listing_entries_at_once) {
            self.finish_listing(id, out);
            self.resume(now, id, out);
        } else if self.sends.held_bytes() > self.settings.output_bytes_max {
            self.bound_output(id, out);
        }
    }

    /// The answer to a later request is there already: what is under way is put together at once. This happens only where
    /// a list has become long while it waited.
    pub(super) fn complete_listing(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        while !self.advance_listing(id, usize::MAX) {}
        self.finish_listing(id, out);
    }

    fn advance_listing(&mut self, id: ConnId, entries: usize) -> bool {
        let conn = conn_in(&mut self.conns, id).expect("a listing ends with its connection");
        let listing = conn.listing.as_mut().expect("a connection is active while it has a listing");
        let is_done = listing.advance(&self.tree, entries);
        self.sends.count(conn);
        is_done
    }

    fn finish_listing(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        let Some(mut conn) = self.conns[id.slot as usize].take() else { return };
        let mut listing = conn.listing.take().expect("it is being put together");
        self.listings.active.retain(|active| *active != id);
        let (header, at_ms, zxid) = (listing.header, listing.at_ms, listing.state);
        let behind = std::mem::take(&mut listing.behind);
        match listing.finish() {
            Ok(finished) => {
                if let Some((path, state, bytes)) = &finished.children
                    && *bytes <= CHILD_LISTS_BYTES_MAX
                {
                    self.lists.keep(path, *state, &finished.body(*bytes));
                }
                finished.pieces.into_iter().for_each(|piece| conn.out.push_piece(piece));
            }
            Err(err) => {
                let header = ReplyHeader { xid: header.xid, zxid, err: err.code() };
                encode_reply(conn.out.tail(), header, |_| {});
            }
        }
        behind.iter().for_each(|event| conn.push_event(event));
        let is_over = self.queue_reply(&mut conn, Op::from_i32(header.op), header.xid, zxid, at_ms);
        self.conns[id.slot as usize] = Some(conn);
        if is_over {
            self.bound_output(id, out);
        }
    }

    /// A node is about to go.
    pub(super) fn tell_listings(&mut self, slot: Slot, node: &Node, parent: Slot) {
        for id in &self.listings.active {
            let conn = conn_in(&mut self.conns, *id).expect("a listing ends with its connection");
            let listing = conn.listing.as_mut().expect("a connection is active while it has a listing");
            listing.on_delete(&self.tree, slot, node, parent);
            self.sends.count(conn);
        }
    }

    /// A read that waits may have a long answer. Nothing that changes the state may be sent to the member behind it: the
    /// answer would have to be complete before the state changes.
    pub(super) fn may_be_long(&self, op: i32, body: &[u8]) -> bool {
        let half = self.settings.listing_entries_at_once / 2;
        match Op::from_i32(op) {
            Some(Op::GetChildren | Op::GetChildren2) => {
                let slot = frame_at(body, 0).and_then(|path| self.tree.find_bytes(path));
                slot.is_some_and(|slot| self.tree.child_stat(slot).count > half)
            }
            Some(Op::GetEphemerals) => self.tree.ephemeral_count() > half as u64,
            Some(Op::GetAllChildrenNumber) => self.tree.node_count() > half as u64,
            _ => false,
        }
    }
}
