//! How long the disk takes for each write of the log, counted beside the member: of slow ones it must know at once.

use crate::ids::Now;
use std::collections::BTreeMap;

/// Of one process.
pub struct SlowDisk {
    threshold_ms: u64,
    /// When each write under way began.
    started: BTreeMap<u64, u64>,
    /// Writes that took longer than the threshold.
    done: u64,
    is_told: bool,
}

impl SlowDisk {
    pub fn new(threshold_ms: u64) -> SlowDisk {
        SlowDisk { threshold_ms, started: BTreeMap::new(), done: 0, is_told: false }
    }

    pub fn begin(&mut self, now: Now, token: u64) {
        self.started.insert(token, now.mono_ms);
    }

    pub fn end(&mut self, now: Now, token: u64) {
        let started_ms = self.started.remove(&token).expect("it was under way");
        self.done += u64::from(self.is_slow(now, started_ms));
    }

    /// A line for the operator.
    pub fn hear(&mut self, text: &str) {
        self.is_told |= text.contains("fsync.warningthresholdms");
    }

    /// The member has had its tick, if one was due.
    pub fn check(&self, now: Now, counted: u64) -> Result<(), String> {
        let under_way = self.started.values().filter(|started_ms| self.is_slow(now, **started_ms)).count();
        let due = self.done + under_way as u64;
        if counted != due {
            return Err(format!("{counted} slow writes of the log are counted, there were {due}"));
        }
        if self.is_told == (due > 0) {
            Ok(())
        } else {
            Err("a slow disk, and the operator hears nothing".into())
        }
    }

    fn is_slow(&self, now: Now, started_ms: u64) -> bool {
        now.mono_ms - started_ms > self.threshold_ms
    }
}
