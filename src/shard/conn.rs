//! One client connection as its shard sees it: what has arrived but is not answered, in order, and what is to be sent.

use super::stats::ConnStats;
use crate::ids::{ConnId, Now, SessionId};
use crate::wire::{Identity, Op};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
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
}

/// One connection.
pub struct Conn {
    /// Its id on this core.
    pub id: ConnId,
    /// The client's address.
    pub peer: SocketAddr,
    /// Where it is in its life.
    pub phase: Phase,
    /// `SessionId::NONE` until the member has agreed.
    pub session: SessionId,
    /// Negotiated.
    pub timeout_ms: i32,
    /// Whether the connect request had the readOnly byte; the response mirrors it.
    pub sends_read_only: bool,
    /// What the client has proved to be; starts with its address.
    pub identities: Arc<[Identity]>,
    /// Bytes of a frame not yet whole, or of frames held back.
    pub inbox: Vec<u8>,
    /// Unanswered requests, oldest first. Invariant: never starts with a read.
    pub pending: VecDeque<Pending>,
    /// Bodies held in `pending`.
    pub pending_bytes: usize,
    /// Writes among `pending`.
    pub writes_pending: usize,
    /// Replies and events not yet handed to the driver.
    pub out: Vec<u8>,
    /// A send is in flight.
    pub is_sending: bool,
    /// In one of the shard's queues of connections with something to send.
    pub is_dirty: bool,
    /// Among the sessions of the next touch message.
    pub is_touched: bool,
    /// A four-letter word's text is on its way.
    pub asked_for_text: bool,
    /// Whether the driver reads from the socket.
    pub is_receiving: bool,
    /// Counters for `cons` and `stat`.
    pub stats: ConnStats,
}

impl Conn {
    /// A fresh connection.
    pub fn new(id: ConnId, peer: SocketAddr, now: Now) -> Conn {
        let address = Identity { scheme: "ip".into(), id: peer.ip().to_canonical().to_string() };
        Conn {
            id,
            peer,
            phase: Phase::Handshake,
            session: SessionId::NONE,
            timeout_ms: 0,
            sends_read_only: false,
            identities: Arc::new([address]),
            inbox: Vec::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            writes_pending: 0,
            out: Vec::new(),
            is_sending: false,
            is_dirty: false,
            is_touched: false,
            asked_for_text: false,
            is_receiving: true,
            stats: ConnStats::new(now),
        }
    }

    /// Queues a request that the member answers.
    pub fn push_write(&mut self, xid: i32, op: Op, now: Now) {
        self.writes_pending += 1;
        self.pending.push_back(Pending { xid, op: op as i32, at_ms: now.mono_ms, body: None });
    }

    /// Queues a read behind this connection's own unanswered write.
    pub fn push_read(&mut self, xid: i32, op: i32, body: &[u8], now: Now) {
        assert!(!self.pending.is_empty(), "a read only waits behind a write");
        self.pending_bytes += body.len();
        self.pending.push_back(Pending { xid, op, at_ms: now.mono_ms, body: Some(body.into()) });
    }

    /// The next request to answer.
    pub fn pop_pending(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        match &pending.body {
            Some(body) => self.pending_bytes -= body.len(),
            None => self.writes_pending -= 1,
        }
        Some(pending)
    }
}
