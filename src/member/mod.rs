//! This process as part of the ensemble: turns requests into transactions, numbers and logs them, and tells every
//! shard what is committed; owns sessions, admission, snapshots' timing and the log's space. Lives on core 0.
//!
//! The member's tree is at the *proposed* state: a request is checked against it and applied to it at once, so the
//! next request sees it. Shards see a transaction only in a batch broadcast after the log has it and a quorum (here
//! one server) acknowledged it. If the process dies in between, nobody was told, and the tree dies with it.
//!
//! Invariant: `broadcast == committed <= proposed == applied to this tree == appended to the log`.
//!
//! One face for both drivers: [`Member::step`] with every input of a turn, then [`Member::flush`] once. Knows no
//! connections beyond their [`Origin`], no files, no clocks.

mod admission;
mod ask;
mod check;
mod collect;
mod commit;
mod connect;
mod four_letter;
mod io;
mod log_writes;
mod prepare;
mod prepare_create;
mod prepare_multi;
mod relief;
mod requests;
mod restore;
mod room;
mod sessions;
mod settings;
mod snapshots;
mod stall;
#[cfg(test)]
mod tests;

pub use io::{MemberInput, MemberOutput, RefuseReason, Usage};
pub use restore::{OnMismatch, Progress, RestoreSource, Restored, SnapshotFile, follow_session, restore};
pub use settings::{Descriptors, MemberSettings, SNAPSHOT_TXNS};

use crate::ids::{Now, Origin, SegmentId, SessionId, Zxid};
use crate::limits::{EXPIRY_GRACE_MS_MAX, WORDS_AT_ONCE, WORDS_BYTES_MAX};
use crate::log::{LogOutput, LogStart, LogWriter};
use crate::mesh::{Lag, ToMember, ToShard};
use crate::tree::{Store, Undo};
use crate::zab::Leader;
use admission::Admission;
use ask::Asks;
use commit::Proposed;
use log_writes::LogWrites;
use room::Room;
use sessions::Sessions;
use snapshots::Snapshots;
use std::collections::VecDeque;

/// What recovery found.
pub struct RecoveredState {
    /// The data at `last_zxid`.
    pub store: Store,
    /// Sessions and their timeouts.
    pub sessions: Vec<(SessionId, i32)>,
    /// The last transaction.
    pub last_zxid: Zxid,
    /// Where the log goes on.
    pub log: LogStart,
    /// The segments it found, oldest first, each with the newest zxid before it.
    pub segments: Vec<(SegmentId, Zxid)>,
    /// The snapshots on disk, ascending.
    pub snapshots: Vec<Zxid>,
    /// Transactions in the log after the newest of them.
    pub txns_since_snapshot: u64,
}

/// The member. See the module's documentation for the contract.
pub struct Member {
    settings: MemberSettings,
    phase: RunState,
    /// At the proposed state.
    store: Store,
    sessions: Sessions,
    /// What recovery found; tracked at the start.
    recovered_sessions: Vec<(SessionId, i32)>,
    /// Sessions whose end the server itself has to propose, oldest first: expired, or unknown owners of ephemerals.
    ending: VecDeque<SessionId>,
    leader: Leader,
    log: LogWriter,
    room: Room,
    /// Messages that wait for a log segment, in order. Invariant: empty unless the log has no room.
    stalled: VecDeque<ToMember>,
    /// Proposed and not yet broadcast, in zxid order, with the answers that wait behind them.
    pending: VecDeque<Proposed>,
    pending_bytes: usize,
    admission: Admission,
    snapshots: Snapshots,
    asks: Asks,
    /// Crash story: the log waits for a segment for longer than a timeout; who pings meanwhile is not heard, because no
    /// messages are taken. So nobody expires then, nor in the tick after, in which their messages are taken.
    no_expiry_before_ms: u64,
    /// When the last turn ended.
    turn_ms: u64,
    /// When containers and TTL nodes are looked at next.
    collect_at_ms: Option<u64>,
    collecting: Option<collect::Round>,
    /// (zxid, digest) of every 128th transaction, the newest last, for `hash`.
    digests: VecDeque<(Zxid, u64)>,
    started_ms: u64,
    /// As the driver last said.
    usage: Usage,
    /// How far the slowest shard is behind, as the driver last said, with what was committed since. None: all shards
    /// take every word at once.
    lag: Option<Lag>,
    log_writes: LogWrites,
    stall: stall::Stall,
    /// Reused: nothing on the write path allocates for them.
    undo: Undo,
    entry: Vec<u8>,
    log_out: Vec<LogOutput>,
}

/// The life of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RunState {
    Created,
    Running,
    /// No further requests; what is proposed is finished.
    Stopping,
    /// `Stopped` or `Fatal` was said.
    Ended,
}

impl Member {
    /// The segments that it knows on the disk.
    pub fn log_segments(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.log.segments()
    }

    /// The snapshots on the disk that it relies on, ascending.
    pub fn snapshots_on_disk(&self) -> impl Iterator<Item = Zxid> + '_ {
        self.snapshots.on_disk()
    }

    /// A member at what recovery found. Nothing happens before [`MemberInput::Start`].
    pub fn new(settings: MemberSettings, recovered: RecoveredState) -> Member {
        let RecoveredState { mut store, sessions, last_zxid, log, segments, snapshots, txns_since_snapshot } =
            recovered;
        let room = Room::new(log.segment_bytes);
        let mut log = LogWriter::new(log);
        log.adopt_history(&segments);
        store.set_applied(last_zxid);
        Member {
            phase: RunState::Created,
            sessions: Sessions::new(settings.server_id, settings.common.tick_ms, 0),
            recovered_sessions: sessions,
            ending: VecDeque::new(),
            leader: Leader::new(&[settings.server_id], last_zxid),
            room,
            log,
            stalled: VecDeque::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            admission: Admission::new(&settings),
            snapshots: Snapshots::new(&settings, snapshots, txns_since_snapshot),
            asks: Asks::new(settings.shards),
            no_expiry_before_ms: 0,
            turn_ms: 0,
            collect_at_ms: None,
            collecting: None,
            digests: VecDeque::new(),
            started_ms: 0,
            usage: Usage::default(),
            lag: None,
            log_writes: LogWrites::new(settings.sync_warning_ms),
            stall: stall::Stall::default(),
            undo: Undo::kept(),
            entry: Vec::new(),
            log_out: Vec::new(),
            store,
            settings,
        }
    }

    /// Takes one input. Outputs are appended to `out`; those of a turn are complete after [`Member::flush`].
    pub fn step(&mut self, now: Now, input: MemberInput, out: &mut Vec<MemberOutput>) {
        if self.phase == RunState::Ended {
            return;
        }
        match input {
            MemberInput::Start => self.on_start(now),
            MemberInput::FromShard(message) => self.on_message(now, message, out),
            MemberInput::Accepted { address, token } => self.on_accepted(address, token, out),
            MemberInput::LogWritten { token, buffer } => self.on_log_written(now, token, buffer, out),
            MemberInput::LogFailed { what } => self.on_log_failed(what, out),
            MemberInput::SegmentReady { segment, bytes } => self.on_segment_ready(now, segment, bytes, out),
            MemberInput::SegmentFailed { segment, no_space, what } => {
                self.on_segment_failed(now, segment, no_space, what, out);
            }
            MemberInput::SnapshotDone { zxid, .. } => self.on_snapshot_done(now, zxid, out),
            MemberInput::SnapshotFailed { what } => self.on_snapshot_failed(now, what, out),
            MemberInput::Usage(usage) => self.usage = usage,
            MemberInput::Tick => self.on_tick(now, out),
            MemberInput::Stop => self.phase = RunState::Stopping,
        }
    }

    /// When a [`MemberInput::Tick`] is due, in monotonic ms.
    pub fn next_timeout(&self) -> Option<u64> {
        if !matches!(self.phase, RunState::Running) {
            return None;
        }
        if self.collecting.is_some() || (self.asks.has_work() && !self.waits_for_shards()) {
            // What goes on in the next turn has been due since the last one: no timer is late because of it.
            return Some(self.turn_ms);
        }
        let expiry = self.sessions.next_timeout_ms().map(|due| due.max(self.no_expiry_before_ms));
        let log = [self.room.retry_at_ms(), self.log_writes.slow_at_ms(), self.stall.told_at_ms()];
        let timers = [expiry, self.collect_at_ms].into_iter().chain(log);
        timers.flatten().min()
    }

    /// False when the driver should leave further messages of the shards queued: too much is proposed and not yet
    /// durable, the log waits for a segment, or a shard is a ring behind.
    pub fn is_accepting(&self) -> bool {
        self.stalled.is_empty()
            && !self.waits_for_shards()
            && self.pending.len() < self.settings.outstanding_txns_max
            && self.pending_bytes < self.settings.outstanding_bytes_max
    }

    /// How far the slowest shard is behind what this member has said; said by the driver before the messages of a turn.
    /// Without it the shards take every word at once.
    pub fn set_lag(&mut self, lag: Lag) {
        self.lag = Some(lag);
    }

    /// Nothing that is committed is told before the slowest shard has taken some of what it was told.
    pub fn waits_for_shards(&self) -> bool {
        self.lag.is_some_and(|lag| self.is_too_far_behind(lag))
    }

    fn is_too_far_behind(&self, lag: Lag) -> bool {
        lag.words + WORDS_AT_ONCE > self.settings.words_max || lag.bytes >= WORDS_BYTES_MAX
    }

    /// The driver leaves messages queued for a reason of its own: nobody expires before they can have been taken.
    pub fn postpone_expiry(&mut self, now: Now) {
        self.no_expiry_before_ms = now.mono_ms + self.settings.common.tick_ms;
    }

    /// Crash story: the process is suspended; what its clients sent meanwhile waits in the sockets, and the word of it
    /// comes a turn after the timers. 1. A timer that is late by more than half a tick tells of a suspension: the clients
    /// get as long to be heard again. 2. The suspension ends just after a session's deadline; no timer is late. So after
    /// half a tick without a turn, asleep or suspended, nobody expires for as long.
    fn postpone_expiry_after_a_pause(&mut self, now: Now) {
        let half_ms = self.settings.common.tick_ms / 2;
        let late_ms = self.next_timeout().map_or(0, |due| now.mono_ms.saturating_sub(due));
        if now.mono_ms.saturating_sub(self.turn_ms) > half_ms {
            self.no_expiry_before_ms = self.no_expiry_before_ms.max(now.mono_ms + half_ms);
        }
        if late_ms > half_ms {
            let grace_ms = late_ms
                .clamp(self.settings.common.tick_ms, EXPIRY_GRACE_MS_MAX.max(self.settings.common.tick_ms));
            self.no_expiry_before_ms = now.mono_ms + grace_ms;
            tracing::warn!(
                "this process had no time for {late_ms} ms: no session expires for the next {grace_ms} ms"
            );
        }
    }

    fn postpone_expiry_unless_accepting(&mut self, now: Now) {
        if !self.is_accepting() {
            self.postpone_expiry(now);
        }
    }

    /// The last transaction given out.
    pub fn proposed(&self) -> Zxid {
        self.leader.proposed()
    }

    /// Why a connection was refused, in words for the operator.
    pub fn why_refused(&self, reason: RefuseReason) -> String {
        self.admission.why_refused(reason)
    }

    /// What the process may open.
    pub fn descriptors(&self) -> Descriptors {
        self.settings.descriptors
    }

    /// Connections that are taken.
    pub fn connections(&self) -> u32 {
        self.admission.total()
    }

    /// The data at the proposed state, for inspection.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn on_start(&mut self, now: Now) {
        assert_eq!(self.phase, RunState::Created, "a member starts once");
        self.phase = RunState::Running;
        self.started_ms = now.mono_ms;
        self.sessions = Sessions::new(self.settings.server_id, self.settings.common.tick_ms, now.wall_ms);
        for (session, timeout_ms) in std::mem::take(&mut self.recovered_sessions) {
            self.sessions.track(session, timeout_ms, None, now.mono_ms);
        }
        // Ephemerals outlive their session's record only if a snapshot or import lacks it; nobody could end it.
        for session in self.store.tree().ephemeral_sessions() {
            if !self.sessions.contains(session) {
                self.ending.push_back(session);
            }
        }
        self.collect_at_ms = Some(now.mono_ms + self.settings.container_check_ms);
    }

    fn on_message(&mut self, now: Now, message: ToMember, out: &mut Vec<MemberOutput>) {
        let Some(message) = self.on_quick_message(now, message, out) else { return };
        let waiting =
            if self.stalled.is_empty() { self.on_ordered_message(now, message, out) } else { Some(message) };
        let Some(message) = waiting else { return };
        // Who waits for the log has been heard from all the same.
        match &message {
            ToMember::Request(request) => _ = self.sessions.touch(request.session, now.mono_ms),
            ToMember::Connect(connect) if connect.password_ok => {
                self.sessions.touch(connect.session, now.mono_ms);
            }
            _ => {}
        }
        self.stalled.push_back(message);
    }

    /// Messages that need no room in the log are taken at once; gives back the others.
    fn on_quick_message(
        &mut self,
        now: Now,
        message: ToMember,
        out: &mut Vec<MemberOutput>,
    ) -> Option<ToMember> {
        match message {
            ToMember::Touch(sessions) => {
                for session in sessions {
                    self.sessions.touch(session, now.mono_ms);
                }
                None
            }
            ToMember::Ask { origin, question } => {
                self.on_ask(now, origin, question, out);
                None
            }
            ToMember::Part { ask, part } => {
                self.on_part(now, ask, *part, out);
                None
            }
            other => Some(other),
        }
    }

    /// Messages whose order among each other counts; gives back one that has to wait for room in the log.
    fn on_ordered_message(
        &mut self,
        now: Now,
        message: ToMember,
        out: &mut Vec<MemberOutput>,
    ) -> Option<ToMember> {
        match message {
            ToMember::Request(request) => self.on_request(now, request, out).map(ToMember::Request),
            ToMember::Connect(connect) => self.on_connect(now, connect, out).map(ToMember::Connect),
            ToMember::Disconnected { origin, session, address } => {
                self.admission.release(address, origin.shard);
                self.sessions.disown(session, origin);
                None
            }
            ToMember::Touch(_) | ToMember::Ask { .. } | ToMember::Part { .. } => {
                unreachable!("these are taken at once")
            }
        }
    }

    /// Fetches into the cache what the next requests are about, all at once.
    pub fn look_ahead<'a>(&self, messages: impl Iterator<Item = &'a ToMember>) {
        let tree = self.store.tree();
        if tree.is_large() {
            tree.look_ahead(messages.filter_map(ToMember::path));
        }
    }

    /// Takes the messages that wait, until one has to wait on.
    fn drain_stalled(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        while let Some(message) = self.stalled.pop_front() {
            if let Some(message) = self.on_ordered_message(now, message, out) {
                return self.stalled.push_front(message);
            }
        }
    }

    fn on_accepted(&mut self, address: std::net::IpAddr, token: u64, out: &mut Vec<MemberOutput>) {
        if self.phase != RunState::Running {
            return out.push(MemberOutput::Refuse { token, reason: RefuseReason::Stopping });
        }
        out.push(match self.admission.admit(address) {
            Ok(shard) => MemberOutput::Assign { token, shard },
            Err(reason) => MemberOutput::Refuse { token, reason },
        });
    }

    fn on_tick(&mut self, now: Now, out: &mut Vec<MemberOutput>) {
        if self.phase != RunState::Running {
            return;
        }
        self.postpone_expiry_unless_accepting(now);
        self.postpone_expiry_after_a_pause(now);
        if now.mono_ms >= self.no_expiry_before_ms {
            self.sessions.expire(now.mono_ms, &mut self.ending);
        }
        self.end_sessions(now);
        self.advance_asks(out);
        self.collect(now);
        self.retry_segments(now, out);
        self.look_for_slow_writes(now, out);
        self.look_for_a_stall(now, out);
    }

    /// Crash story: a write of the log failed. Whether the sectors are on disk is unknown, and a second sync could
    /// succeed without them. So nothing of it is ever acknowledged: the process ends, and recovery reads the disk.
    fn on_log_failed(&mut self, what: String, out: &mut Vec<MemberOutput>) {
        self.phase = RunState::Ended;
        out.push(MemberOutput::Fatal { what: format!("the transaction log cannot be written: {what}") });
    }

    fn send(origin: Origin, message: ToShard, out: &mut Vec<MemberOutput>) {
        out.push(MemberOutput::ToShard(origin.shard, message));
    }
}
