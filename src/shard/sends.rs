//! Who has something to send, in which order, and how much is held for all connections together.

use super::conn::Conn;
use crate::ids::ConnId;
use std::collections::VecDeque;

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Sends {
    /// Connections with replies to send; served before those with events only.
    replies: VecDeque<ConnId>,
    /// Connections with events only to send.
    events: VecDeque<ConnId>,
    /// Bytes that wait to be sent or are being sent, over all connections.
    held_bytes: usize,
    /// Memory of completed sends, empty.
    spare: Vec<Vec<u8>>,
}

impl Sends {
    /// Something was added to what a connection sends: it is counted, and the next flush takes it.
    #[inline]
    pub fn queue(&mut self, conn: &mut Conn, is_reply: bool) {
        self.mark(conn, is_reply);
        self.count(conn);
    }

    /// The next flush looks at the connection.
    #[inline]
    pub fn mark(&mut self, conn: &mut Conn, is_reply: bool) {
        if conn.is_dirty {
            return;
        }
        conn.is_dirty = true;
        if is_reply {
            self.replies.push_back(conn.id);
        } else {
            self.events.push_back(conn.id);
        }
    }

    /// Brings the sum of what is held for connections up to date with one of them.
    #[inline]
    pub fn count(&mut self, conn: &mut Conn) {
        let held = conn.bytes_to_send();
        assert!(self.held_bytes >= conn.held_bytes, "the sum is that of its parts");
        self.held_bytes = self.held_bytes - conn.held_bytes + held;
        conn.held_bytes = held;
    }

    /// The connection is gone.
    pub fn forget(&mut self, conn: &Conn) {
        self.held_bytes -= conn.held_bytes;
    }

    /// Bytes that wait to be sent or are being sent, over all connections.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The next connection to look at.
    pub fn pop(&mut self, is_reply: bool) -> Option<ConnId> {
        if is_reply { self.replies.pop_front() } else { self.events.pop_front() }
    }

    /// How many connections have replies, or events only, to send.
    pub fn queued(&self, is_reply: bool) -> usize {
        if is_reply { self.replies.len() } else { self.events.len() }
    }

    pub fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.events.is_empty()
    }

    /// Keeps a completed send's memory, unless that is large or there is enough of it.
    pub fn keep_spare(&mut self, spare: Vec<u8>) {
        debug_assert!(spare.is_empty());
        if self.spare.len() < SPARE_BUFFERS_MAX && (1..=SPARE_BUFFER_BYTES_MAX).contains(&spare.capacity()) {
            self.spare.push(spare);
        }
    }

    pub fn take_spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }
}

const SPARE_BUFFERS_MAX: usize = 1024;
/// A larger buffer is not kept.
pub(super) const SPARE_BUFFER_BYTES_MAX: usize = 64 << 10;
