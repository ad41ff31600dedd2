//! When a snapshot is taken (`SyncRequestProcessor`), and which log segments snapshots make superfluous.

use super::relief::SNAPSHOT_AGAIN_MS;
use super::settings::{MemberSettings, SNAPSHOT_TXNS};
use super::{Member, MemberOutput};
use crate::ids::{Now, SessionId, Zxid};
use crate::prng::Prng;
use std::collections::VecDeque;

/// The member's view of snapshots; the scribe writes them.
pub(super) struct Snapshots {
    prng: Prng,
    txns: u64,
    bytes: u64,
    txns_limit: u64,
    bytes_limit: u64,
    txns_max: u64,
    /// A snapshot is worth its while only after as much log as it will hold. Off where `snapCount` is set.
    is_proportional: bool,
    /// 0 is without a limit.
    bytes_max: u64,
    /// Begun, not yet sent to the scribe: its transaction is not committed yet.
    wanted: Option<Wanted>,
    /// Sent to the scribe.
    running: bool,
    /// On disk, ascending.
    done: VecDeque<Zxid>,
    kept: Option<usize>,
    /// How many were completed by this process.
    count: u64,
}

struct Wanted {
    zxid: Zxid,
    digest: Option<(Zxid, u64)>,
    sessions: Vec<(SessionId, i32)>,
}

impl Snapshots {
    pub fn new(settings: &MemberSettings, done: Vec<Zxid>, txns: u64) -> Snapshots {
        let mut snapshots = Snapshots {
            prng: Prng::new(settings.seed),
            txns,
            bytes: 0,
            txns_limit: 0,
            bytes_limit: 0,
            txns_max: settings.snapshot_txns.unwrap_or(SNAPSHOT_TXNS).max(2),
            is_proportional: settings.snapshot_txns.is_none(),
            bytes_max: settings.snapshot_bytes,
            wanted: None,
            running: false,
            done: done.into(),
            kept: (settings.purge_interval_hours > 0).then_some(settings.snapshots_kept),
            count: 0,
        };
        snapshots.draw();
        snapshots
    }

    /// Members of an ensemble draw different limits, so that they do not all write snapshots at once.
    fn draw(&mut self) {
        self.txns_limit = self.txns_max / 2 + self.prng.below((self.txns_max / 2).max(1));
        self.bytes_limit = match self.bytes_max {
            0 => u64::MAX,
            max => max / 2 + self.prng.below((max / 2).max(1)),
        };
    }

    /// A transaction was appended; the data now has so many bytes. True: it is the last one before a snapshot.
    ///
    /// Writing a snapshot costs what the data is large, whatever has changed. Without a limit that somebody has set, the
    /// log may therefore grow to as much as the data: the next start reads twice as much at most, and a server with much data
    /// and many writes does not spend its disk on snapshots.
    pub fn on_txn(&mut self, bytes: usize, data_bytes: u64) -> bool {
        self.txns += 1;
        self.bytes += bytes as u64;
        let enough = self.txns > self.txns_limit && (!self.is_proportional || self.bytes >= data_bytes);
        if !enough && self.bytes <= self.bytes_limit {
            return false;
        }
        self.txns = 0;
        self.bytes = 0;
        self.draw();
        self.wanted.is_none() && !self.running
    }

    pub fn begin(&mut self, zxid: Zxid, digest: Option<u64>, sessions: Vec<(SessionId, i32)>) {
        assert!(self.wanted.is_none(), "one snapshot at a time");
        self.wanted = Some(Wanted { zxid, digest: digest.map(|digest| (zxid, digest)), sessions });
    }

    /// Before its time, for the sake of space.
    pub fn begin_early(&mut self, zxid: Zxid, digest: Option<u64>, sessions: Vec<(SessionId, i32)>) {
        self.txns = 0;
        self.bytes = 0;
        self.begin(zxid, digest, sessions);
    }

    /// One is on its way.
    pub fn is_busy(&self) -> bool {
        self.wanted.is_some() || self.running
    }

    /// The newest on disk.
    pub fn newest(&self) -> Option<Zxid> {
        self.done.back().copied()
    }

    /// All of them, ascending.
    pub fn on_disk(&self) -> impl Iterator<Item = Zxid> + '_ {
        self.done.iter().copied()
    }

    /// All but the newest are given up; says how many.
    pub fn forget_older(&mut self) -> usize {
        let older = self.done.len().saturating_sub(1);
        self.done.drain(..older);
        older
    }

    /// The order to the scribe, once its transaction is committed.
    pub fn due(&mut self, committed: Zxid) -> Option<MemberOutput> {
        let Wanted { zxid, digest, sessions } = self.wanted.take_if(|wanted| wanted.zxid <= committed)?;
        assert_eq!(zxid, committed, "every transaction is asked about");
        self.running = true;
        Some(MemberOutput::Snapshot { zxid, digest, sessions, keep: self.kept })
    }

    /// The transaction after which one is begun and not yet handed over.
    pub fn begun(&self) -> Option<Zxid> {
        self.wanted.as_ref().map(|wanted| wanted.zxid)
    }

    /// Those on disk ascend, and none is of the future.
    pub fn check(&self, proposed: Zxid) {
        assert!(self.done.iter().zip(self.done.iter().skip(1)).all(|(older, newer)| older < newer));
        assert!(self.done.back().is_none_or(|newest| *newest <= proposed));
        assert!(self.wanted.as_ref().is_none_or(|wanted| wanted.zxid <= proposed && !self.running));
    }

    /// How many were completed by this process.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Member {
    /// Crash story: segments are let go only when a snapshot that replaces them is durable, and only those below the
    /// oldest snapshot that is kept, so that every kept snapshot can still be restored from.
    pub(super) fn on_snapshot_done(&mut self, now: Now, zxid: Zxid, out: &mut Vec<MemberOutput>) {
        tracing::debug!("snapshot at zxid {zxid} is durable");
        let snapshots = &mut self.snapshots;
        snapshots.running = false;
        snapshots.count += 1;
        assert!(
            snapshots.done.back().is_none_or(|last| *last <= zxid),
            "snapshots are completed in zxid order"
        );
        if snapshots.done.back() != Some(&zxid) {
            snapshots.done.push_back(zxid);
        }
        if self.room.is_full() {
            return self.on_space(now, out);
        }
        let Some(kept) = snapshots.kept else { return };
        while snapshots.done.len() > kept.max(1) {
            snapshots.done.pop_front();
        }
        if let Some(oldest) = snapshots.done.front().copied() {
            self.log.on_snapshot(oldest, &mut self.log_out);
            self.emit_log_outputs(now, out);
        }
    }

    /// The log still holds everything, so nothing is lost; the next one comes after as many transactions as usual.
    pub(super) fn on_snapshot_failed(&mut self, now: Now, what: String, out: &mut Vec<MemberOutput>) {
        self.room.no_relief_before_ms = now.mono_ms + SNAPSHOT_AGAIN_MS;
        self.snapshots.running = false;
        out.push(MemberOutput::Notice {
            text: format!("no snapshot: {what}; the log is kept until the next one"),
        });
    }
}
