//! What is to be sent to one connection, in order: its own bytes, and references to events that others get, too.
//!
//! Invariant: `queued_bytes` is the sum of the lengths in `queue`; nothing in `queue` is empty; `tail` follows `queue`.

use crate::limits::{EVENT_SHARED_BYTES_MIN, SEND_GATHER_BYTES_MAX};
use crate::send_buffer::SendBuffer;
use std::collections::VecDeque;
use std::sync::Arc;

/// Replies and events not yet handed to the driver.
#[derive(Default)]
pub struct Out {
    queue: VecDeque<SendBuffer>,
    queued_bytes: usize,
    tail: Vec<u8>,
}

impl Out {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.queued_bytes + self.tail.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tail.is_empty()
    }

    /// To append bytes of this connection to.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends an event that others get, too. A short one behind something else is copied: a reference to it would take as
    /// much, and the send would be one of its own.
    pub fn push_event(&mut self, event: &Arc<[u8]>) {
        if event.len() < EVENT_SHARED_BYTES_MIN && !self.is_empty() {
            return self.tail.extend_from_slice(event);
        }
        if !self.tail.is_empty() {
            let before = std::mem::take(&mut self.tail);
            self.push(SendBuffer::Own(before));
        }
        self.push(SendBuffer::Shared(Arc::clone(event)));
    }

    /// What is to be sent next; the spare is asked for where it takes the place of a buffer that goes. Short pieces leave
    /// together.
    pub fn take(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Option<SendBuffer> {
        if self.is_empty() {
            return None;
        }
        if self.queue.is_empty() {
            return Some(SendBuffer::Own(std::mem::replace(&mut self.tail, spare())));
        }
        let first = self.queue.pop_front()?;
        self.queued_bytes -= first.len();
        if first.len() >= SEND_GATHER_BYTES_MAX || self.is_empty() {
            return Some(first);
        }
        let mut gathered = spare();
        gathered.extend_from_slice(&first);
        while let Some(next) = self.queue.front()
            && gathered.len() + next.len() <= SEND_GATHER_BYTES_MAX
        {
            gathered.extend_from_slice(next);
            self.queued_bytes -= next.len();
            self.queue.pop_front();
        }
        if self.queue.is_empty() && gathered.len() + self.tail.len() <= SEND_GATHER_BYTES_MAX {
            gathered.append(&mut self.tail);
        }
        Some(SendBuffer::Own(gathered))
    }

    /// Appends text; what waits is kept in pieces that one send takes.
    pub fn push_text(&mut self, text: &[u8]) {
        if !self.tail.is_empty() && self.tail.len() + text.len() > SEND_GATHER_BYTES_MAX {
            let before = std::mem::take(&mut self.tail);
            self.push(SendBuffer::Own(before));
        }
        self.tail.extend_from_slice(text);
    }

    /// Appends a piece of a long reply.
    pub fn push_piece(&mut self, piece: Vec<u8>) {
        if !self.tail.is_empty() {
            let before = std::mem::take(&mut self.tail);
            self.push(SendBuffer::Own(before));
        }
        self.push(SendBuffer::Own(piece));
    }

    fn push(&mut self, buffer: SendBuffer) {
        assert!(!buffer.is_empty(), "only bytes are queued");
        self.queued_bytes += buffer.len();
        self.queue.push_back(buffer);
    }

    /// The sum is that of the parts.
    pub fn check(&self) {
        assert_eq!(self.queued_bytes, self.queue.iter().map(|buffer| buffer.len()).sum::<usize>());
        assert!(self.queue.iter().all(|buffer| !buffer.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(out: &mut Out) -> (Vec<u8>, usize) {
        let (mut bytes, mut sends) = (Vec::new(), 0);
        while let Some(buffer) = out.take(Vec::new) {
            out.check();
            bytes.extend_from_slice(&buffer);
            sends += 1;
        }
        (bytes, sends)
    }

    #[test]
    fn an_event_alone_is_sent_from_where_it_lies() {
        let event: Arc<[u8]> = Arc::from(&b"event"[..]);
        let mut out = Out::default();
        out.push_event(&event);
        assert!(matches!(out.take(Vec::new), Some(SendBuffer::Shared(sent)) if Arc::ptr_eq(&sent, &event)));
        assert!(out.is_empty() && out.take(Vec::new).is_none());
    }

    #[test]
    fn order_is_kept_whatever_is_shared() {
        let short: Arc<[u8]> = Arc::from(&b"short"[..]);
        let long: Arc<[u8]> = Arc::from(vec![b'l'; EVENT_SHARED_BYTES_MIN]);
        let huge: Arc<[u8]> = Arc::from(vec![b'h'; SEND_GATHER_BYTES_MAX]);
        let mut prng = crate::prng::Prng::new(1);
        for _ in 0..200 {
            let (mut out, mut due) = (Out::default(), Vec::new());
            for _ in 0..prng.below(12) {
                match prng.below(4) {
                    0 => {
                        out.tail().extend_from_slice(b"reply");
                        due.extend_from_slice(b"reply");
                    }
                    kind => {
                        let event = [&short, &long, &huge][kind as usize - 1];
                        out.push_event(event);
                        due.extend_from_slice(event);
                    }
                }
                out.check();
                assert_eq!(out.len(), due.len());
            }
            assert_eq!(drain(&mut out).0, due);
        }
    }

    #[test]
    fn what_is_short_leaves_together_and_what_is_long_alone() {
        let long: Arc<[u8]> = Arc::from(vec![b'l'; EVENT_SHARED_BYTES_MIN]);
        let mut out = Out::default();
        (0..100).for_each(|_| out.push_event(&long));
        out.tail().extend_from_slice(b"reply");
        let sends = (100 * EVENT_SHARED_BYTES_MIN + 5).div_ceil(SEND_GATHER_BYTES_MAX);
        assert!(drain(&mut out).1 <= sends + 1);
    }
}
