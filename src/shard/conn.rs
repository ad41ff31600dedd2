//! One client connection as its shard sees it: what has arrived but is not answered, in order, and what is to be sent.

use super::listing::Listing;
use super::out::Out;
use super::stats::ConnStats;
use crate::ids::{ConnId, Now, SessionId};
use crate::limits;
use crate::wire::address::host_text;
use crate::wire::{Identity, Op};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnState {
    /// Nothing or part of the first frame has arrived: a connect request or a four-letter word.
    Handshake,
    /// The mask of `stmk` is still to come.
    TraceMask,
    /// The member decides about the session, or another answer ends the connection; requests wait unread.
    Asked,
    /// Requests are served.
    Established,
    /// Everything queued is sent, then the connection is closed. Input is ignored.
    Closing,
}

/// A request that could not be answered at once.
pub struct Pending {
    /// Echoed in the reply.
    pub xid: i32,
    /// Raw, since an unknown opcode is answered in order, too.
    pub op: i32,
    /// When it arrived.
    pub at_ms: u64,
    /// None: at the member. Some: a read that waits behind one of those.
    pub body: Option<Box<[u8]>>,
    /// Of the record, wherever it is.
    pub bytes: usize,
    /// A read whose answer may have to be put together in slices.
    pub is_long: bool,
    /// Of the path that the record begins with, for the operator.
    pub path_bytes: u32,
}

/// What one connection may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnBounds {
    /// Requests waiting for a reply before its socket is no longer read.
    pub pending_max: usize,
    /// Bytes of them before its socket is no longer read.
    pub pending_bytes_max: usize,
    /// Bytes to be sent before its requests are no longer read.
    pub out_bytes_soft_max: usize,
    /// Bytes of events that wait before it is closed.
    pub event_bytes_max: usize,
}

impl Default for ConnBounds {
    fn default() -> ConnBounds {
        ConnBounds {
            pending_max: limits::CONN_PENDING_MAX,
            pending_bytes_max: limits::CONN_PENDING_BYTES_MAX,
            out_bytes_soft_max: limits::CONN_OUT_BYTES_SOFT_MAX,
            event_bytes_max: limits::CONN_EVENT_BYTES_MAX,
        }
    }
}

/// One connection.
pub struct Conn {
    /// Its id on this core.
    pub id: ConnId,
    /// What it may hold.
    pub bounds: ConnBounds,
    /// The client's address.
    pub peer: SocketAddr,
    /// Where it is in its life.
    pub state: ConnState,
    /// `SessionId::NONE` until the member has agreed.
    pub session: SessionId,
    /// When a byte of its handshake came last, or it itself.
    pub heard_ms: u64,
    /// Negotiated.
    pub timeout_ms: i32,
    /// Whether the connect request had the readOnly byte; the response mirrors it.
    pub sends_read_only: bool,
    /// What the client has proved to be; starts with its address.
    pub identities: Arc<[Identity]>,
    /// Bytes of the names in `identities`.
    pub identity_bytes: usize,
    /// Bytes of a frame not yet whole, or of frames held back.
    pub inbox: Vec<u8>,
    /// Unanswered requests, oldest first. Starts with a read only while answers before it are being sent.
    pub pending: VecDeque<Pending>,
    /// Bytes of the records in `pending`.
    pub pending_bytes: usize,
    /// Writes among `pending`.
    pub writes_pending: usize,
    /// Reads among `pending` that may be long.
    pub long_reads: usize,
    /// The answer that is being put together in slices. Nothing overtakes it.
    pub listing: Option<Box<Listing>>,
    /// The oldest of `pending` waits until a listing of another connection is done.
    pub awaits_listing: bool,
    /// Replies and events not yet handed to the driver.
    pub out: Out,
    /// Of `out`, at most so many bytes are events.
    pub event_bytes: usize,
    /// Bytes of the send in flight; None: there is none.
    pub sending: Option<usize>,
    /// What the shard's sum counts of this connection: `bytes_to_send`.
    pub held_bytes: usize,
    /// Among the shard's connections that wait for writes of others.
    pub is_throttled: bool,
    /// In one of the shard's queues of connections with something to send.
    pub is_dirty: bool,
    /// Among the sessions of the next touch message.
    pub is_touched: bool,
    /// A four-letter word's text is on its way.
    pub asked_for_text: bool,
    /// What the shard's sum counts of this connection: `inbox` and `pending_bytes`.
    pub input_bytes: usize,
    /// What the shard's sum of unanswered requests counts of this connection.
    pub unanswered: usize,
    /// Among the shard's connections that are not read because of the sum of `input_bytes`.
    pub is_starved: bool,
    /// Whether the driver reads from the socket.
    pub is_receiving: bool,
    /// Counters for `cons` and `stat`.
    pub stats: ConnStats,
}

/// Of the path that most records begin with.
pub fn path_bytes(body: &[u8]) -> u32 {
    super::requests::frame_at(body, 0).map_or(0, |path| path.len() as u32)
}

impl Conn {
    /// A fresh connection.
    pub fn new(id: ConnId, peer: SocketAddr, now: Now, bounds: ConnBounds) -> Conn {
        let address = Identity { scheme: "ip".into(), id: host_text(peer) };
        Conn {
            id,
            bounds,
            peer,
            state: ConnState::Handshake,
            session: SessionId::NONE,
            heard_ms: now.mono_ms,
            timeout_ms: 0,
            sends_read_only: false,
            identity_bytes: address.scheme.len() + address.id.len(),
            identities: Arc::new([address]),
            inbox: Vec::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            writes_pending: 0,
            long_reads: 0,
            listing: None,
            awaits_listing: false,
            out: Out::default(),
            event_bytes: 0,
            sending: None,
            held_bytes: 0,
            is_throttled: false,
            is_dirty: false,
            is_touched: false,
            asked_for_text: false,
            input_bytes: 0,
            unanswered: 0,
            is_starved: false,
            is_receiving: true,
            stats: ConnStats::new(now),
        }
    }

    /// Queues a request that the member answers.
    #[inline]
    pub fn push_write(&mut self, xid: i32, op: Op, body: &[u8], now: Now) {
        let bytes = body.len();
        self.writes_pending += 1;
        self.pending_bytes += bytes;
        self.pending.push_back(Pending {
            xid,
            op: op as i32,
            at_ms: now.mono_ms,
            body: None,
            bytes,
            is_long: false,
            path_bytes: path_bytes(body),
        });
    }

    /// Queues a read behind this connection's own unanswered write, or behind an answer that is being put together.
    pub fn push_read(&mut self, xid: i32, op: i32, body: &[u8], is_long: bool, now: Now) {
        assert!(!self.pending.is_empty() || self.listing.is_some(), "a read only waits behind something");
        let bytes = body.len();
        self.pending_bytes += bytes;
        self.long_reads += usize::from(is_long);
        let (path_bytes, body) = (path_bytes(body), Some(body.into()));
        self.pending.push_back(Pending { xid, op, at_ms: now.mono_ms, body, bytes, is_long, path_bytes });
    }

    /// A read that cannot be answered yet is the next one to answer.
    pub fn put_back(&mut self, xid: i32, op: i32, body: &[u8], at_ms: u64) {
        let bytes = body.len();
        self.pending_bytes += bytes;
        self.long_reads += 1;
        let (path_bytes, body) = (path_bytes(body), Some(body.into()));
        self.pending.push_front(Pending { xid, op, at_ms, body, bytes, is_long: true, path_bytes });
        self.awaits_listing = true;
    }

    /// The oldest unanswered request is a read, which no write precedes.
    #[inline]
    pub fn has_waiting_read(&self) -> bool {
        self.pending.front().is_some_and(|pending| pending.body.is_some())
    }

    /// The next request to answer.
    #[inline]
    pub fn pop_pending(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        self.pending_bytes -= pending.bytes;
        if pending.body.is_none() {
            self.writes_pending -= 1;
        }
        self.long_reads -= usize::from(pending.is_long);
        Some(pending)
    }

    /// An answer that may take many turns is next, or under way.
    pub fn is_listing(&self) -> bool {
        self.listing.is_some() || self.awaits_listing
    }

    /// An event that others get, too. Behind an answer under way, which shows an earlier state.
    pub fn push_event(&mut self, event: &Arc<[u8]>) {
        match &mut self.listing {
            Some(listing) => listing.push_event(event),
            None => {
                self.out.push_event(event);
                self.event_bytes += event.len();
            }
        }
    }

    /// Bytes of the events that wait, those behind an answer under way included.
    pub fn waiting_event_bytes(&self) -> usize {
        self.event_bytes + self.listing.as_ref().map_or(0, |listing| listing.behind_bytes())
    }

    /// More events wait than may: its client does not read.
    #[inline]
    pub fn has_too_many_events(&self) -> bool {
        self.waiting_event_bytes() > self.bounds.event_bytes_max
    }

    /// Bytes that wait to be sent, or are being sent.
    #[inline]
    pub fn bytes_to_send(&self) -> usize {
        let listing = self.listing.as_ref().map_or(0, |listing| listing.held_bytes());
        self.out.len() + self.sending.unwrap_or(0) + listing
    }

    /// The connection has proved these, too; false, and nothing is added, if that is more than it may have.
    pub fn add_identities(&mut self, found: Vec<Identity>) -> bool {
        let mut new: Vec<Identity> = Vec::new();
        for identity in found {
            if !self.identities.contains(&identity) && !new.contains(&identity) {
                new.push(identity);
            }
        }
        let bytes: usize = new.iter().map(|identity| identity.scheme.len() + identity.id.len()).sum();
        if self.identities.len() + new.len() > limits::IDENTITIES_MAX
            || self.identity_bytes + bytes > limits::IDENTITIES_BYTES_MAX
        {
            return false;
        }
        self.identity_bytes += bytes;
        self.identities = self.identities.iter().cloned().chain(new).collect();
        true
    }

    /// The sums are those of the parts, `held_bytes` is what is there, and nothing is above its bound. `frame_bytes_max` is
    /// the longest request's.
    pub fn check(&self, frame_bytes_max: usize) {
        self.out.check();
        assert_eq!(self.pending_bytes, self.pending.iter().map(|pending| pending.bytes).sum::<usize>());
        assert_eq!(self.writes_pending, self.pending.iter().filter(|pending| pending.body.is_none()).count());
        let waits_for_write = self.pending.front().is_none_or(|pending| pending.body.is_none());
        assert!(
            waits_for_write
                || self.state != ConnState::Established
                || self.sending.is_some()
                || !self.out.is_empty()
                || self.is_listing(),
            "a read waits for nothing"
        );
        assert_eq!(self.long_reads, self.pending.iter().filter(|pending| pending.is_long).count());
        assert!(!self.awaits_listing || (self.long_reads > 0 && self.listing.is_none()));
        if let Some(listing) = &self.listing {
            assert_eq!(self.state, ConnState::Established);
            listing.check();
        }
        assert!(self.pending.len() <= self.bounds.pending_max, "{} requests wait", self.pending.len());
        assert!(
            self.pending_bytes < self.bounds.pending_bytes_max + frame_bytes_max.max(1),
            "{} bytes of requests wait",
            self.pending_bytes
        );
        let last_write = self.pending.iter().rposition(|pending| pending.body.is_none()).unwrap_or(0);
        let reads = self.pending.iter().take(last_write).filter(|pending| pending.body.is_some()).count();
        assert!(reads <= limits::READS_BEFORE_WRITE_MAX, "{reads} reads stand before a write");
        assert!(self.identities.len() <= limits::IDENTITIES_MAX);
        assert!(self.identity_bytes <= limits::IDENTITIES_BYTES_MAX);
        assert_eq!(self.held_bytes, self.bytes_to_send());
        assert!(self.event_bytes <= self.out.len() && !self.has_too_many_events());
    }

    /// No more requests are taken from it for now.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= self.bounds.pending_max
            || self.pending_bytes >= self.bounds.pending_bytes_max
            || self.out.len() >= self.bounds.out_bytes_soft_max
    }
}
