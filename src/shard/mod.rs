//! One core's clients: connection order, reads from the shard's own tree, watches, sessions' liveness, four-letter
//! words. Lives on one core and is never shared.
//!
//! Contract: the driver feeds [`Shard::step`] with what happened and carries out the outputs in order; after the inputs
//! of a turn it calls [`Shard::flush`], which emits at most one send per connection and a bounded number in all; while
//! [`Shard::has_work`] it must not sleep. Replies keep the order of requests; the events of a transaction are queued
//! before any reply that reflects it.
//!
//! Deliberately absent: it decides nothing about sessions or writes (the member does), knows no log and no peers.

mod apply;
mod asked;
#[cfg(test)]
mod asked_tests;
#[cfg(test)]
mod bounds_tests;
mod complaints;
mod conn;
mod handshake;
mod listing;
#[cfg(test)]
mod listing_tests;
mod lists;
mod out;
mod reads;
mod requests;
mod sends;
mod stats;
#[cfg(test)]
mod tests;
pub mod watches;

pub use handshake::WORDS as FOUR_LETTER_WORDS;

use crate::ids::{ConnId, Now, SessionId, ShardId};
use crate::limits;
use crate::mesh::{Common, ShardPart, ToMember, ToShard};
use crate::metrics::ServerStats;
use crate::send_buffer::SendBuffer;
use crate::tree::Tree;
use crate::wire::Identity;
use complaints::{Complaints, Kind};
pub use conn::ConnBounds;
use conn::{Conn, ConnState};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use listing::Listings;
use lists::ChildLists;
use sends::Sends;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use watches::Watches;

/// Settings a shard needs, filled by the rows of `config/keys.rs`. The defaults are those of ZooKeeper 3.9.
#[derive(Clone, PartialEq, Debug)]
pub struct ShardSettings {
    /// This shard.
    pub shard: ShardId,
    /// Seed of all hashing; the driver draws it.
    pub hash_seed: u64,
    /// What the member knows too; the driver takes the member's.
    pub common: Common,
    /// Smallest negotiated session timeout (`minSessionTimeout`), ms; 2 ticks unless set.
    pub min_session_timeout_ms: i32,
    /// Largest negotiated session timeout (`maxSessionTimeout`), ms; 20 ticks unless set.
    pub max_session_timeout_ms: i32,
    /// `jute.maxbuffer`: a longer request closes the connection.
    pub frame_bytes_max: usize,
    /// Enabled four-letter words; None enables all.
    pub four_letter_words: Option<Vec<String>>,
    /// Connections without a session are closed after this time (`nio.sessionlessCnxnTimeout`), ms.
    pub sessionless_timeout_ms: u64,
    /// `enforce.auth.enabled`: a connection without an identity of one of the schemes below is not served.
    pub enforce_auth: bool,
    /// `enforce.auth.schemes`.
    pub enforced_schemes: Vec<String>,
    /// Writes in flight before connections that have one are no longer read (`globalOutstandingLimit`).
    pub outstanding_max: usize,
    /// Bytes of requests not yet whole or not yet answered before large ones are no longer read (`ringkeeper.inputBytesMax`).
    pub input_bytes_max: usize,
    /// Entries that an answer lists at once; a longer one is put together in slices of so many.
    pub listing_entries_at_once: usize,
    /// Bytes of one reply (`ringkeeper.replyBytesMax`).
    pub reply_bytes_max: usize,
    /// Bytes of replies and events that wait or are being sent before the shard closes who holds most of them
    /// (`ringkeeper.outputBytesMax`).
    pub output_bytes_max: usize,
    /// What the watches may take (`ringkeeper.watchBytesPerConnectionMax`, `ringkeeper.watchBytesMax`).
    pub watch_bounds: watches::Bounds,
    /// What one connection may hold.
    pub conn_bounds: ConnBounds,
    /// A request that waits for so long is told of (`ringkeeper.slowRequestMs`), ms; 0: none is.
    pub slow_request_ms: u64,
    /// The answer to `envi`.
    pub environment: String,
}

impl Default for ShardSettings {
    fn default() -> ShardSettings {
        ShardSettings {
            shard: ShardId(0),
            hash_seed: 1,
            common: Common::default(),
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60_000,
            frame_bytes_max: limits::JUTE_MAX_BUFFER,
            four_letter_words: Some(vec!["srvr".into()]),
            sessionless_timeout_ms: 10_000,
            enforce_auth: false,
            enforced_schemes: Vec::new(),
            outstanding_max: 1000,
            input_bytes_max: limits::INPUT_BYTES_MAX,
            listing_entries_at_once: limits::LISTING_ENTRIES_AT_ONCE,
            reply_bytes_max: limits::REPLY_BYTES_MAX,
            output_bytes_max: limits::OUTPUT_BYTES_MAX,
            watch_bounds: watches::Bounds {
                conn_bytes_max: limits::CONN_WATCH_BYTES_MAX,
                bytes_max: limits::WATCH_BYTES_MAX,
            },
            conn_bounds: ConnBounds::default(),
            slow_request_ms: limits::SLOW_REQUEST_MS,
            environment: String::new(),
        }
    }
}

impl ShardSettings {
    /// One of so many shards has its share of what is bounded over all of them.
    pub fn share_of(mut self, shards: u16) -> ShardSettings {
        let shards = usize::from(shards.max(1));
        // What may be written can be read.
        self.reply_bytes_max = self.reply_bytes_max.max(self.frame_bytes_max + limits::STAT_AND_LENGTH_BYTES);
        let least = limits::LARGEST_REPLIES_AT_ONCE * self.reply_bytes_max;
        self.output_bytes_max = (self.output_bytes_max / shards).max(least);
        self.watch_bounds.bytes_max /= shards;
        let least = limits::LARGEST_REQUESTS_AT_ONCE * self.frame_bytes_max;
        self.input_bytes_max = (self.input_bytes_max / shards).max(least);
        self
    }

    /// Bytes that one shard may hold for so many connections beside the data, whatever they do.
    pub fn bytes_max(&self, connections: usize) -> usize {
        // A buffer grows by doubling. What is read at once may come on top of what is held already.
        let input = 2 * (self.input_bytes_max + self.frame_bytes_max)
            + connections * (limits::CONN_INPUT_BYTES_SMALL + limits::CONN_BYTES);
        2 * self.output_bytes_max + self.watch_bounds.bytes_max + input
    }
}

/// What happened.
pub enum ShardInput<'a> {
    /// A connection was assigned to this shard.
    Accepted { conn: ConnId, peer: SocketAddr },
    /// Bytes arrived.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// The send in flight is done; `spare` is its memory, empty.
    Sent { conn: ConnId, spare: Vec<u8> },
    /// The peer sends nothing more.
    Ended { conn: ConnId },
    /// The peer is gone; the connection's id is dead.
    Closed { conn: ConnId },
    /// The member says something.
    FromMember(ToShard),
    /// A due timer.
    Tick,
}

/// What the shard wants.
pub enum ShardOutput {
    /// Send these bytes; no send of this connection is in flight.
    Send { conn: ConnId, buffer: SendBuffer },
    /// Stop or resume reading from the connection.
    Receive { conn: ConnId, on: bool },
    /// Close the connection; nothing of it is in flight.
    Close { conn: ConnId },
    /// Tell the member.
    ToMember(ToMember),
}

/// One core's clients.
pub struct Shard {
    settings: ShardSettings,
    tree: Tree,
    watches: Watches,
    lists: ChildLists,
    conns: Vec<Option<Box<Conn>>>,
    by_session: HashMap<SessionId, ConnId, FixedState>,
    sends: Sends,
    listings: Listings,
    asked: asked::AskedQueue,
    /// Connections not parsed further because too many writes are in flight.
    throttled: VecDeque<ConnId>,
    writes_in_flight: usize,
    /// Connections closed because more was held for sending than this shard may hold.
    shed: u64,
    /// Bytes of requests not yet whole or not yet answered, over all connections.
    input_bytes: usize,
    /// Requests not yet answered, over all connections.
    unanswered: usize,
    /// Connections not read because of `input_bytes`.
    starved: Vec<ConnId>,
    touched: Vec<SessionId>,
    touch_due_ms: u64,
    /// When to look again at a connection that had no session yet.
    sessionless: BTreeSet<(u64, ConnId)>,
    /// Connections whose end was decided in this turn.
    closing_new: Vec<ConnId>,
    /// Connections that are closed once everything is sent, in the order in which patience with them ends.
    closing: VecDeque<(u64, ConnId)>,
    /// Resumed sessions whose client has seen more than this shard's tree.
    behind: Vec<Behind>,
    stats: ServerStats,
    complaints: Complaints,
    /// The time of the last step.
    now: Now,
    told: Vec<u32>,
    scratch: Vec<u8>,
}

/// What a shard holds for its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Held {
    pub conns: usize,
    pub output_bytes: usize,
    pub input_bytes: usize,
    pub watch_bytes: usize,
}

/// A session that is let in once the tree has caught up with what its client has seen.
struct Behind {
    conn: ConnId,
    seen: crate::ids::Zxid,
    session: SessionId,
    timeout_ms: i32,
}

impl Shard {
    /// A shard over an already loaded tree.
    pub fn new(settings: ShardSettings, tree: Tree) -> Shard {
        let hasher = FixedState::with_seed(settings.hash_seed);
        Shard {
            watches: Watches::new(settings.hash_seed, settings.watch_bounds),
            lists: ChildLists::new(settings.hash_seed),
            tree,
            conns: Vec::new(),
            by_session: HashMap::with_hasher(hasher),
            sends: Sends::default(),
            listings: Listings::default(),
            asked: VecDeque::new(),
            throttled: VecDeque::new(),
            writes_in_flight: 0,
            shed: 0,
            input_bytes: 0,
            unanswered: 0,
            starved: Vec::new(),
            touched: Vec::new(),
            touch_due_ms: 0,
            sessionless: BTreeSet::new(),
            closing_new: Vec::new(),
            closing: VecDeque::new(),
            behind: Vec::new(),
            stats: ServerStats::default(),
            complaints: Complaints::default(),
            now: Now::default(),
            told: Vec::new(),
            scratch: Vec::new(),
            settings,
        }
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.settings.shard
    }

    /// The shard's tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Takes one input.
    pub fn step(&mut self, now: Now, input: ShardInput<'_>, out: &mut Vec<ShardOutput>) {
        self.now = now;
        match input {
            ShardInput::Accepted { conn, peer } => self.on_accepted(now, conn, peer),
            ShardInput::Received { conn, bytes } => self.on_received(now, conn, bytes, out),
            ShardInput::Sent { conn, spare } => self.on_sent(now, conn, spare, out),
            ShardInput::Ended { conn } => self.on_ended(conn, out),
            ShardInput::Closed { conn } => self.on_closed(conn, out),
            ShardInput::FromMember(message) => self.on_member(now, message, out),
            ShardInput::Tick => self.on_tick(now, out),
        }
    }

    /// Ends a turn: sends what is queued, one buffer per connection, at most `FAN_OUT_SLICE` connections of each kind.
    pub fn flush(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        // What was held back is taken up here, too; its answer must not be older than its request.
        if now.mono_ms > self.now.mono_ms {
            self.now = now;
        }
        self.advance_listings(now, out);
        self.advance_asked(out);
        self.watches.advance(limits::WATCHES_LEAVING_AT_ONCE);
        if self.sends.held_bytes() > self.settings.output_bytes_max {
            self.shed(out);
        }
        let held = self.sends.held_bytes();
        assert!(held <= self.settings.output_bytes_max, "{held} bytes are held");
        for is_reply in [true, false] {
            let queued = self.sends.queued(is_reply);
            let slice = if is_reply { queued } else { queued.min(limits::FAN_OUT_SLICE) };
            for _ in 0..slice {
                let Some(conn) = self.sends.pop(is_reply) else { break };
                self.flush_conn(conn, out);
            }
        }
        self.feed_starved(now, out);
        let due = now.mono_ms + CLOSING_MS_MAX;
        self.closing.extend(self.closing_new.drain(..).map(|id| (due, id)));
        if now.mono_ms >= self.touch_due_ms && !self.touched.is_empty() {
            self.report_touched(now, out);
        }
    }

    /// True while a further `flush` would emit something.
    pub fn has_work(&self) -> bool {
        !self.sends.is_empty()
            || self.listings.has_work()
            || !self.asked.is_empty()
            || self.watches.is_leaving()
    }

    /// When the next `Tick` is due, in monotonic ms.
    pub fn next_timeout(&self) -> Option<u64> {
        let touch = (!self.touched.is_empty()).then_some(self.touch_due_ms);
        let sessionless = self.sessionless.first().map(|(due, _)| *due);
        let closing = self.closing.front().map(|(due, _)| *due);
        touch.into_iter().chain(sessionless).chain(closing).min()
    }

    fn on_accepted(&mut self, now: Now, id: ConnId, peer: SocketAddr) {
        let slot = id.slot as usize;
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        assert!(self.conns[slot].is_none(), "the driver reuses a slot only after it was released");
        self.conns[slot] = Some(Box::new(Conn::new(id, peer, now, self.settings.conn_bounds)));
        self.sessionless.insert((now.mono_ms + self.settings.sessionless_timeout_ms, id));
        self.stats.connections += 1;
    }

    fn on_sent(&mut self, now: Now, id: ConnId, spare: Vec<u8>, out: &mut Vec<ShardOutput>) {
        self.sends.keep_spare(spare);
        let Some(conn) = conn_in(&mut self.conns, id) else { return };
        conn.sending = None;
        self.sends.count(conn);
        if !conn.out.is_empty() || conn.state == ConnState::Closing {
            self.sends.mark(conn, true);
        }
        self.resume(now, id, out);
    }

    /// Who has asked for a text may already have closed its own direction; the text still goes out. A client of the
    /// protocol that ends its stream is gone.
    fn on_ended(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        let awaits_text = |conn: &Conn| conn.asked_for_text || conn.state == ConnState::Closing;
        if !self.conn(id).is_some_and(awaits_text) {
            self.drop_conn(id, out);
        }
    }

    fn on_closed(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        if let Some(conn) = self.release(id) {
            out.push(ShardOutput::ToMember(disconnected(&self.settings, &conn)));
        }
    }

    fn on_tick(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        while let Some((_, id)) = self.sessionless.first().copied().filter(|(due, _)| *due <= now.mono_ms) {
            self.sessionless.pop_first();
            self.on_sessionless_due(now, id, out);
        }
        while let Some((_, id)) = self.closing.front().copied().filter(|(due, _)| *due <= now.mono_ms) {
            self.closing.pop_front();
            self.drop_conn(id, out);
        }
        if now.mono_ms >= self.touch_due_ms && !self.touched.is_empty() {
            self.report_touched(now, out);
        }
    }

    /// Who has no session yet is closed after a time of silence, not in the middle of a slow handshake.
    fn on_sessionless_due(&mut self, now: Now, id: ConnId, out: &mut Vec<ShardOutput>) {
        let Some(conn) = self.conn(id) else { return };
        if conn.session != SessionId::NONE || conn.state == ConnState::Closing {
            return;
        }
        let due = conn.heard_ms + self.settings.sessionless_timeout_ms;
        if due > now.mono_ms {
            self.sessionless.insert((due, id));
            return;
        }
        self.stats.sessionless_connections_expired += 1;
        self.drop_conn(id, out);
    }

    /// Tells the member who is alive, at most every quarter of a tick; the member allows for that delay.
    fn report_touched(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        for index in 0..self.touched.len() {
            let session = self.touched[index];
            let id = self.by_session.get(&session).copied();
            if let Some(conn) = id.and_then(|id| self.conn_mut(id)) {
                conn.is_touched = false;
            }
        }
        self.touch_due_ms = now.mono_ms + self.settings.common.tick_ms / 4;
        out.push(ShardOutput::ToMember(ToMember::Touch(std::mem::take(&mut self.touched))));
    }

    fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id.slot as usize)?.as_deref().filter(|conn| conn.id == id)
    }

    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        conn_in(&mut self.conns, id)
    }

    /// Something was added to what this connection sends.
    fn queue_output(&mut self, id: ConnId, is_reply: bool) {
        if let Some(conn) = conn_in(&mut self.conns, id) {
            self.sends.queue(conn, is_reply);
        }
    }

    fn flush_conn(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        let Some(conn) = conn_in(&mut self.conns, id) else { return };
        conn.is_dirty = false;
        if conn.sending.is_some() {
            return;
        }
        if let Some(buffer) = conn.out.take(|| self.sends.take_spare()) {
            conn.sending = Some(buffer.len());
            conn.event_bytes = conn.event_bytes.min(conn.out.len());
            self.sends.count(conn);
            out.push(ShardOutput::Send { conn: id, buffer });
        } else if conn.state == ConnState::Closing {
            self.drop_conn(id, out);
        }
    }

    /// Closes once everything queued is sent.
    fn close_after_flush(&mut self, id: ConnId) {
        let Some(conn) = conn_in(&mut self.conns, id) else { return };
        if conn.state == ConnState::Closing {
            return;
        }
        conn.state = ConnState::Closing;
        conn.inbox = Vec::new();
        self.listings.end(conn);
        self.closing_new.push(id);
        self.sends.queue(conn, true);
    }

    /// Closes without sending what is queued.
    fn drop_conn(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        if let Some(conn) = self.release(id) {
            out.push(ShardOutput::Close { conn: id });
            out.push(ShardOutput::ToMember(disconnected(&self.settings, &conn)));
        }
    }

    fn release(&mut self, id: ConnId) -> Option<Box<Conn>> {
        self.conn(id)?;
        let mut conn = self.conns[id.slot as usize].take()?;
        self.listings.end(&mut conn);
        self.watches.remove_conn(id.slot);
        if self.by_session.get(&conn.session) == Some(&id) {
            self.by_session.remove(&conn.session);
        }
        self.writes_in_flight -= conn.writes_pending;
        self.sends.forget(&conn);
        self.input_bytes -= conn.input_bytes;
        self.unanswered -= conn.unanswered;
        self.stats.connections -= 1;
        Some(conn)
    }

    /// More is held than this shard may hold: connections are closed until an eighth of it is free, those with most
    /// unread events first, then those with most of anything.
    fn shed(&mut self, out: &mut Vec<ShardOutput>) {
        let mut held: Vec<(usize, usize, ConnId)> =
            self.conns.iter().flatten().map(|conn| (conn.event_bytes, conn.held_bytes, conn.id)).collect();
        held.sort_unstable();
        let (before, target) = (self.sends.held_bytes(), self.settings.output_bytes_max / 8 * 7);
        let mut closed = 0;
        while self.sends.held_bytes() > target
            && let Some((_, _, id)) = held.pop()
        {
            self.drop_conn(id, out);
            closed += 1;
        }
        self.shed += closed;
        let (bytes_max, shed) = (self.settings.output_bytes_max, self.shed);
        self.complaints.warn(self.now, Kind::Shed, || {
            format!(
                "closed {closed} connection(s) that read too slowly: {before} bytes of replies and events were queued, of \
                 {bytes_max} (ringkeeper.outputBytesMax, divided among the shards); {shed} closed so far"
            )
        });
    }

    /// All sums are those of their parts, and nothing is held above its bound. Looks at every connection.
    pub fn check(&self) {
        let (mut held, mut input, mut writes, mut unanswered) = (0, 0, 0, 0);
        for conn in self.conns.iter().flatten() {
            conn.check(self.settings.frame_bytes_max);
            held += conn.held_bytes;
            input += conn.input_bytes;
            writes += conn.writes_pending;
            unanswered += conn.unanswered;
        }
        self.watches.check();
        let listing = |id: &ConnId| self.conn(*id).is_some_and(|conn| conn.listing.is_some());
        assert!(self.listings.active.iter().all(listing));
        let listing = self.conns.iter().flatten().filter(|conn| conn.listing.is_some()).count();
        assert_eq!(listing, self.listings.active.len());
        self.lists.check();
        assert_eq!((self.sends.held_bytes(), self.input_bytes), (held, input));
        assert_eq!((self.writes_in_flight, self.unanswered), (writes, unanswered));
        assert_eq!(self.stats.connections, self.conns.iter().flatten().count() as u64);
    }

    /// What it holds for its connections beside the data.
    pub fn held(&self) -> Held {
        Held {
            conns: self.conns.iter().flatten().count(),
            output_bytes: self.sends.held_bytes(),
            input_bytes: self.input_bytes,
            watch_bytes: self.watches.bytes(),
        }
    }

    fn reset_stats(&mut self, connections: bool, server: bool) {
        if server {
            self.stats.reset();
        }
        if connections {
            self.conns.iter_mut().flatten().for_each(|conn| conn.stats.reset());
        }
    }

    fn has_scheme(identities: &[Identity], schemes: &[String]) -> bool {
        identities.iter().any(|identity| schemes.contains(&identity.scheme))
    }

    /// Numbers that cost nothing to give.
    fn basic_part(&self) -> ShardPart {
        let mut stats = self.stats.clone();
        stats.outstanding = self.unanswered as u64;
        let data = self.watches.data();
        ShardPart {
            shard: self.settings.shard,
            stats,
            watch_count: self.watches.total(),
            data_watches: data.total,
            watching_connections: data.conns,
            watched_paths: data.paths,
            node_count: self.tree.node_count(),
            ephemeral_count: self.tree.ephemeral_count(),
            data_bytes: self.tree.data_bytes(),
            applied: self.tree.applied(),
            ..ShardPart::default()
        }
    }
}

/// The connection of an id, unless another one has its slot by now. Apart from the shard's other parts, which it is used
/// together with.
fn conn_in(conns: &mut [Option<Box<Conn>>], id: ConnId) -> Option<&mut Conn> {
    conns.get_mut(id.slot as usize)?.as_deref_mut().filter(|conn| conn.id == id)
}

fn disconnected(settings: &ShardSettings, conn: &Conn) -> ToMember {
    ToMember::Disconnected {
        origin: crate::ids::Origin { shard: settings.shard, conn: conn.id },
        session: conn.session,
        address: conn.peer.ip(),
    }
}

/// How long a client may take to read its last answers before its connection is closed all the same.
const CLOSING_MS_MAX: u64 = 10_000;
