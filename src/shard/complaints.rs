//! Warnings about clients. Anybody who reaches the port can cause them, so of each kind only some are written in a while;
//! the next one says how many were not.

use crate::ids::Now;
use crate::limits::{COMPLAINTS_AT_ONCE, COMPLAINTS_EVERY_MS};

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A frame longer than allowed, or another protocol.
    Frame,
    /// Events pile up.
    Unread,
    /// More identities than allowed.
    Identities,
    /// The shard holds more than it may.
    Shed,
    /// A request waited for long.
    Slow,
}

const KINDS: usize = 5;

/// How much was written of each kind.
#[derive(Default)]
pub struct Complaints {
    kinds: [Window; KINDS],
}

#[derive(Clone, Copy, Default)]
struct Window {
    /// So far, written or not.
    total: u64,
    until_ms: u64,
    written: u32,
    silent: u64,
}

impl Complaints {
    /// Writes what `text` says, with the number of those of its kind that were kept silent before it; or counts it.
    pub fn warn(&mut self, now: Now, kind: Kind, text: impl FnOnce() -> String) {
        let window = &mut self.kinds[kind as usize];
        window.total += 1;
        if now.mono_ms >= window.until_ms {
            (window.until_ms, window.written) = (now.mono_ms + COMPLAINTS_EVERY_MS, 0);
        }
        if window.written >= COMPLAINTS_AT_ONCE {
            window.silent += 1;
            return;
        }
        window.written += 1;
        let text = text();
        match std::mem::take(&mut window.silent) {
            0 => tracing::warn!("{text}"),
            silent => tracing::warn!("{text} ({silent} more of this kind before it)"),
        }
    }
}

impl Complaints {
    /// How many of a kind there were.
    #[cfg(test)]
    pub fn total(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize].total
    }
}

/// What the first bytes of a connection look like that are no connect request.
pub fn protocol(start: [u8; 4]) -> Option<&'static str> {
    match &start {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" | b"DELE" | b"CONN" | b"PRI " => {
            Some("an HTTP request")
        }
        [0x16, 3, ..] => Some("a TLS handshake, which this port does not speak"),
        b"SSH-" => Some("an SSH client"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_some_are_written_and_the_rest_counted() {
        let mut complaints = Complaints::default();
        let at = |mono_ms| Now { mono_ms, wall_ms: 0 };
        let mut written = 0;
        for index in 0..100 {
            complaints.warn(at(index), Kind::Frame, || {
                written += 1;
                String::new()
            });
        }
        assert_eq!(written, COMPLAINTS_AT_ONCE);
        assert_eq!(complaints.kinds[Kind::Frame as usize].silent, 100 - u64::from(COMPLAINTS_AT_ONCE));
        let mut is_written = false;
        complaints.warn(at(50), Kind::Unread, || {
            is_written = true;
            String::new()
        });
        assert!(is_written, "another kind");
        complaints.warn(at(COMPLAINTS_EVERY_MS), Kind::Frame, String::new);
        assert_eq!(complaints.kinds[Kind::Frame as usize].silent, 0);
    }

    #[test]
    fn other_protocols_are_named() {
        assert_eq!(protocol(*b"GET "), Some("an HTTP request"));
        assert!(protocol([0x16, 3, 1, 2]).is_some() && protocol([0, 0, 0, 45]).is_none());
    }
}
