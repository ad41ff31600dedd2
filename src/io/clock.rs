//! The process's two clocks.

use crate::ids::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks.
#[derive(Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time starts at a minute, so that subtracting small spans never goes below zero.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: 60_000 + self.start.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as i64 }
    }
}
