//! The process: the production state machines and what lies between them. Drives them as the real driver does: a batch
//! is there for every shard at one instant, and a shard takes what is there before it looks at bytes.

use super::bounds::Bounds;
use super::client;
use super::disk::Write;
use super::files::Files;
use super::slow_disk::SlowDisk;
use super::wishes::Wishes;
use super::words::Words;
use super::world::{Frame, World};
use crate::ids::{ConnId, Origin, SessionId, ShardId};
use crate::limits::{
    LOG_SPARES_MAX, LOG_WRITES_IN_FLIGHT_MAX, OUTSTANDING_BYTES_MAX, WORDS_AT_ONCE, WORDS_BYTES_MAX,
};
use crate::log::LogOutput;
use crate::member::{Member, MemberInput, MemberOutput, MemberSettings, RecoveredState};
use crate::mesh::{Common, ToMember, ToShard, Word};
use crate::prng::Prng;
use crate::scribe::{Found, Scribe, ScribeInput, ScribeSettings};
use crate::shard::{Shard, ShardInput, ShardOutput, ShardSettings, watches};
use crate::tree::image::{Compression, ImageOptions};
use crate::tree::{OwnerRules, StoreSettings};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What differs from world to world.
#[derive(Clone, Debug)]
pub struct Settings {
    seed: u64,
    shards: u16,
    pub segment_bytes: u64,
    snapshot_txns: u64,
    snapshots_kept: Option<usize>,
    pub session_ms: u64,
    outstanding_max: usize,
    words_max: usize,
    /// Broken on purpose: see `Words`.
    pub has_torn_words: bool,
    pub log_id: u128,
    pub loses_snapshots: bool,
    /// Images are written in pieces of so many bytes.
    chunk_bytes: usize,
    sync_warning_ms: u64,
    pub enforces_quotas: bool,
    pub wishes: Wishes,
    pub bounds: Bounds,
    /// Of a socket, so that what is sent waits for clients that do not read.
    socket_bytes: usize,
}

/// What one read of a socket brings at most, as in the backends.
pub const RECEIVE_BYTES: usize = 16 << 10;

const BLOCK: u64 = 4096;
const RULES: OwnerRules = OwnerRules { extended_types: true, emulate_353: false };

impl Settings {
    /// Anything that is allowed.
    pub fn draw(prng: &mut Prng, seed: u64) -> Settings {
        let bounds = Bounds::draw(prng);
        // Three times a request's bytes and as much again for the reserve must find room in a segment.
        let segment_bytes = match prng.below(3) {
            0 if bounds.frame_bytes > 40 << 10 => (5 * bounds.frame_bytes as u64).next_multiple_of(BLOCK),
            _ => BLOCK * (24 + prng.below(60)),
        };
        Settings {
            seed,
            shards: 1 + prng.below(4) as u16,
            segment_bytes,
            snapshot_txns: [10, 40, 150, 100_000][prng.below(4) as usize],
            snapshots_kept: [None, Some(1), Some(3)][prng.below(3) as usize],
            session_ms: 400 + prng.below(3000),
            outstanding_max: [2, 1000][prng.below(2) as usize],
            words_max: [WORDS_AT_ONCE, 10, 4096][prng.below(3) as usize],
            has_torn_words: false,
            log_id: u128::from(prng.next_u64()) << 64 | u128::from(seed),
            loses_snapshots: prng.chance(50),
            chunk_bytes: [1, 100, 1000, 1 << 18][prng.below(4) as usize],
            sync_warning_ms: [0, 20, 300, 1000][prng.below(4) as usize],
            enforces_quotas: prng.chance(70),
            wishes: Wishes::draw_world(prng, bounds.value_bytes()),
            bounds,
            socket_bytes: [1 << 10, 64 << 10, 4 << 20][prng.below(3) as usize],
        }
    }

    /// What clients must know of bounds.
    pub fn client_bounds(&self) -> client::Bounds {
        client::Bounds {
            reply_bytes: self.bounds.reply_bytes,
            conn_watch_bytes: self.bounds.conn_watch_bytes,
            is_watch_room_shared: true,
            sure_bytes: (self.segment_bytes as usize * 7 / 8).saturating_sub(24 << 10) / 3,
        }
    }

    /// Of the member's data.
    pub fn store(&self) -> StoreSettings {
        StoreSettings {
            hash_seed: self.seed,
            rules: RULES,
            digest_enabled: true,
            enforce_quota: self.enforces_quotas,
        }
    }

    fn member(&self) -> MemberSettings {
        MemberSettings {
            shards: self.shards,
            common: common(),
            seed: self.seed,
            owner_rules: RULES,
            snapshot_txns: Some(self.snapshot_txns),
            snapshots_kept: self.snapshots_kept.unwrap_or_default(),
            purge_interval_hours: u32::from(self.snapshots_kept.is_some()),
            connections_per_address_max: 0,
            container_check_ms: 300,
            words_max: self.words_max,
            sync_warning_ms: self.sync_warning_ms,
            enforce_quota: self.enforces_quotas,
            outstanding_txns_max: self.bounds.outstanding_txns,
            outstanding_bytes_max: self.bounds.outstanding_bytes,
            ..MemberSettings::default()
        }
    }

    fn scribe(&self) -> ScribeSettings {
        let (image, compression) = (ImageOptions::default(), Compression::None);
        ScribeSettings { image, compression, chunk_bytes: self.chunk_bytes }
    }

    fn shard(&self, shard: u16) -> ShardSettings {
        ShardSettings {
            shard: ShardId(shard),
            hash_seed: self.seed,
            common: common(),
            four_letter_words: None,
            min_session_timeout_ms: 200,
            max_session_timeout_ms: 10_000,
            sessionless_timeout_ms: 2000,
            outstanding_max: self.outstanding_max,
            // Lists of a few children already take several turns.
            listing_entries_at_once: 1 + self.seed as usize % 5,
            frame_bytes_max: self.bounds.frame_bytes,
            input_bytes_max: self.bounds.input_bytes,
            reply_bytes_max: self.bounds.reply_bytes,
            output_bytes_max: self.bounds.output_bytes,
            watch_bounds: watches::Bounds {
                conn_bytes_max: self.bounds.conn_watch_bytes,
                bytes_max: self.bounds.watch_bytes,
            },
            conn_bounds: self.bounds.conn(),
            ..ShardSettings::default()
        }
    }
}

fn common() -> Common {
    Common { tick_ms: 100, ..Common::default() }
}

/// One shard and what is on its way to and from it.
pub struct Seat {
    pub shard: Shard,
    pub to_member: VecDeque<ToMember>,
    /// Of each connection slot, its generation and whether it is in use.
    slots: Vec<(u32, bool)>,
}

/// A running process.
pub struct Process {
    pub member: Member,
    pub seats: Vec<Seat>,
    words: Words,
    pub scribe: Scribe,
    /// What the scribe was told and has not taken.
    pub orders: VecDeque<ScribeInput>,
    /// What it wants of the disk.
    pub files: Files,
    pub writes: Vec<Write>,
    slow_disk: SlowDisk,
    /// Who asked what: the session of each request on its way.
    asked: BTreeMap<(Origin, i32), SessionId>,
    accepted: BTreeMap<u64, usize>,
    by_origin: BTreeMap<Origin, usize>,
    pub is_stopped: bool,
}

impl Process {
    pub fn new(settings: &Settings, state: RecoveredState, found: Found) -> Process {
        let tree = state.store.tree();
        let seats = (0..settings.shards)
            .map(|shard| Seat {
                shard: Shard::new(settings.shard(shard), tree.clone()),
                to_member: VecDeque::new(),
                slots: Vec::new(),
            })
            .collect();
        let scribe = Scribe::new(settings.scribe(), tree.without_index(), found);
        Process {
            member: Member::new(settings.member(), state),
            seats,
            words: Words::new(settings.shards, settings.words_max, settings.has_torn_words),
            scribe,
            orders: VecDeque::new(),
            files: Files::default(),
            writes: Vec::new(),
            slow_disk: SlowDisk::new(settings.sync_warning_ms),
            asked: BTreeMap::new(),
            accepted: BTreeMap::new(),
            by_origin: BTreeMap::new(),
            is_stopped: false,
        }
    }

    /// What is on its way to the disk and to the shards is bounded.
    pub fn check_queues(&self) -> Result<(), String> {
        let largest = 2 * OUTSTANDING_BYTES_MAX;
        for (what, count, most) in [
            ("writes of the log in flight", self.writes.len(), LOG_WRITES_IN_FLIGHT_MAX),
            ("spare segments", self.scribe.spares().count(), LOG_SPARES_MAX),
            ("bytes of words", self.words.bytes(), WORDS_BYTES_MAX + largest),
        ] {
            if count > most {
                return Err(format!("{count} {what}, {most} at most"));
            }
        }
        Ok(())
    }

    /// Nothing is on its way inside.
    pub fn is_idle(&self) -> bool {
        let quiet = |seat: &Seat| seat.to_member.is_empty() && !seat.shard.has_work();
        self.words.is_empty()
            && self.seats.iter().all(quiet)
            && self.writes.is_empty()
            && self.orders.is_empty()
            && self.scribe.is_idle()
    }
}

impl World {
    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a process runs")
    }

    /// One input for the member and whatever follows from it at once.
    pub fn with_member(&mut self, input: MemberInput) -> Result<(), String> {
        let now = self.now;
        let mut out = Vec::new();
        self.process().member.step(now, input, &mut out);
        self.carry_out_member(out)
    }

    /// The member takes messages, then ends its turn.
    pub fn member_turn(&mut self, at_most: u64) -> Result<(), String> {
        let now = self.now;
        let mut out = Vec::new();
        let process = self.process();
        process.member.set_lag(process.words.catch_up());
        for _ in 0..at_most {
            let World { prng, process, .. } = self;
            let process = process.as_mut().expect("a process runs");
            let waiting: Vec<usize> =
                (0..process.seats.len()).filter(|seat| !process.seats[*seat].to_member.is_empty()).collect();
            if waiting.is_empty() || !process.member.is_accepting() {
                break;
            }
            let seat = waiting[prng.below(waiting.len() as u64) as usize];
            let message = process.seats[seat].to_member.pop_front().expect("it waits");
            process.member.step(now, MemberInput::FromShard(message), &mut out);
        }
        let is_idle = self.prng.chance(50);
        self.process().member.flush(now, is_idle, &mut out);
        self.carry_out_member(out)
    }

    fn carry_out_member(&mut self, out: Vec<MemberOutput>) -> Result<(), String> {
        for output in out {
            let Some(process) = &mut self.process else { return Ok(()) };
            match output {
                MemberOutput::ToShard(shard, message) => {
                    process.words.say(Word { to: Some(shard), message }, &mut self.prng)?;
                }
                MemberOutput::Broadcast(message) => {
                    if let ToShard::Committed(batch) = &message {
                        process.orders.push_back(ScribeInput::Batch(Arc::clone(batch)));
                        let asked = std::mem::take(&mut process.asked);
                        self.on_batch(batch, &asked)?;
                        self.process().asked = asked;
                    }
                    let World { process, prng, .. } = self;
                    let process = process.as_mut().expect("a process runs");
                    process.words.say(Word { to: None, message }, prng)?;
                }
                MemberOutput::Assign { token, shard } => self.assign(token, shard),
                MemberOutput::Refuse { token, .. } => {
                    let index = process.accepted.remove(&token).expect("it was accepted");
                    self.conns[index].closed_by_server = true;
                }
                MemberOutput::Log(LogOutput::Write { segment, offset, buffer, token }) => {
                    process.slow_disk.begin(self.now, token);
                    let bytes = buffer.len();
                    self.frames.push(Frame { segment, offset, bytes, token, is_durable: false });
                    process.writes.push(Write { segment, offset, buffer, token });
                }
                MemberOutput::Log(LogOutput::Prepare { segment, bytes }) => {
                    self.order(ScribeInput::Prepare { segment, bytes })?;
                }
                MemberOutput::Log(LogOutput::Release { segment }) => {
                    self.order(ScribeInput::Release { segment })?;
                }
                MemberOutput::Log(LogOutput::Close { .. }) => {}
                MemberOutput::Snapshot { zxid, digest, sessions, keep } => {
                    process.orders.push_back(ScribeInput::Snapshot { zxid, digest, sessions, keep });
                }
                MemberOutput::RemoveSnapshots { before } => {
                    self.order(ScribeInput::RemoveSnapshots { before })?;
                }
                MemberOutput::Notice { text } => {
                    process.slow_disk.hear(&text);
                    self.trace.line(format_args!("notice: {text}"));
                }
                MemberOutput::Stopped => process.is_stopped = true,
                MemberOutput::Fatal { what } => {
                    self.trace.line(format_args!("fatal: {what}"));
                    // Whoever starts it again has made room before.
                    self.full_until_ms = 0;
                    return self.crash("the member gave up");
                }
            }
        }
        Ok(())
    }

    /// A client's connection reaches the server.
    pub fn accept(&mut self, conn: usize) -> Result<(), String> {
        let process = self.process();
        let token = conn as u64;
        process.accepted.insert(token, conn);
        self.with_member(MemberInput::Accepted { address: [127, 0, 0, 1].into(), token })
    }

    fn assign(&mut self, token: u64, shard: ShardId) {
        let process = self.process.as_mut().expect("a process runs");
        let index = process.accepted.remove(&token).expect("it was accepted");
        let seat = &mut process.seats[shard.0 as usize];
        let slot = seat.slots.iter().position(|(_, used)| !used).unwrap_or(seat.slots.len());
        if slot == seat.slots.len() {
            seat.slots.push((0, false));
        }
        seat.slots[slot].1 = true;
        let id = ConnId { slot: slot as u32, generation: seat.slots[slot].0 };
        let origin = Origin { shard, conn: id };
        process.by_origin.insert(origin, index);
        self.conns[index].origin = Some(origin);
        let peer = ([127, 0, 0, 1], 1000 + index as u16).into();
        self.with_shard(shard.0 as usize, ShardInput::Accepted { conn: id, peer });
    }

    /// One input for a shard and what it wants at once. Before bytes it takes every word that is there.
    pub fn with_shard(&mut self, shard: usize, input: ShardInput<'_>) {
        if matches!(input, ShardInput::Received { .. }) {
            self.take_words(shard, u64::MAX);
        }
        let now = self.now;
        let mut out = Vec::new();
        let seat = &mut self.process().seats[shard].shard;
        seat.step(now, input, &mut out);
        seat.check();
        self.carry_out_shard(shard, out);
    }

    /// A shard takes words of the member, whatever is left of them.
    pub fn hear(&mut self, shard: usize, at_most: u64) {
        if self.is_asleep(shard) {
            return;
        }
        if at_most == u64::MAX || self.prng.chance(10) {
            self.process().words.publish_to(shard);
        }
        self.take_words(shard, at_most);
    }

    fn take_words(&mut self, shard: usize, at_most: u64) {
        let now = self.now;
        let mut out = Vec::new();
        let Process { words, seats, .. } = self.process();
        for _ in 0..at_most.min(words.count(shard)) {
            if let Some(message) = words.take(shard) {
                seats[shard].shard.step(now, ShardInput::FromMember(message), &mut out);
            }
        }
        self.carry_out_shard(shard, out);
    }

    /// A shard ends its turn.
    pub fn flush_shard(&mut self, shard: usize) {
        if self.is_asleep(shard) {
            return;
        }
        let now = self.now;
        let mut out = Vec::new();
        let seat = &mut self.process().seats[shard].shard;
        seat.flush(now, &mut out);
        seat.check();
        self.carry_out_shard(shard, out);
    }

    fn carry_out_shard(&mut self, shard: usize, out: Vec<ShardOutput>) {
        let shard_id = ShardId(shard as u16);
        for output in out {
            let process = self.process.as_mut().expect("a process runs");
            // As in the backends, a connection that has just gone takes no orders any more.
            let find =
                |process: &Process, conn| process.by_origin.get(&Origin { shard: shard_id, conn }).copied();
            match output {
                ShardOutput::Send { conn, buffer } => {
                    let Some(index) = find(process, conn) else { continue };
                    assert!(self.conns[index].sending.is_none(), "one send per connection");
                    self.conns[index].sending = Some(buffer);
                }
                ShardOutput::Receive { conn, on } => {
                    let Some(index) = find(process, conn) else { continue };
                    self.conns[index].is_read = on;
                }
                ShardOutput::Close { conn } => {
                    let origin = Origin { shard: shard_id, conn };
                    let Some(index) = process.by_origin.remove(&origin) else { continue };
                    process.seats[shard].slots[conn.slot as usize] = (conn.generation + 1, false);
                    let conn = &mut self.conns[index];
                    if let Some(buffer) = conn.sending.take() {
                        conn.to_client.extend(buffer.iter());
                    }
                    conn.origin = None;
                    conn.closed_by_server = true;
                }
                ShardOutput::ToMember(message) => {
                    if let ToMember::Request(request) = &message {
                        process.asked.insert((request.origin, request.xid), request.session);
                    }
                    process.seats[shard].to_member.push_back(message);
                }
            }
        }
    }

    /// The server takes in bytes of a client, or its end.
    pub fn deliver_to_server(&mut self, index: usize, at_most: usize) {
        let conn = &mut self.conns[index];
        let Some(origin) = conn.origin else { return };
        if self.is_asleep(origin.shard.0 as usize) {
            return;
        }
        let conn = &mut self.conns[index];
        if conn.to_server.is_empty() || conn.closed_by_client {
            if conn.closed_by_client {
                self.end_of_client(index, origin);
            }
            return;
        }
        let mut left = at_most;
        while left > 0 && self.receive_some(index, origin, &mut left) {}
    }

    /// One read of a socket; false if there is nothing more to read.
    fn receive_some(&mut self, index: usize, origin: Origin, left: &mut usize) -> bool {
        let now = self.now;
        let conn = &mut self.conns[index];
        if !conn.is_read || conn.origin != Some(origin) || conn.to_server.is_empty() {
            return false;
        }
        let count = conn.to_server.len().min(*left).min(RECEIVE_BYTES);
        *left -= count;
        let bytes: Vec<u8> = conn.to_server.drain(..count).collect();
        let client = &self.clients[conn.client];
        if let Some(session) =
            client.session.as_ref().filter(|_| client.is_ready() && client.conn == Some(index))
        {
            self.heard.entry(session.id).or_default().push(now.mono_ms);
        }
        self.with_shard(origin.shard.0 as usize, ShardInput::Received { conn: origin.conn, bytes: &bytes });
        true
    }

    fn end_of_client(&mut self, index: usize, origin: Origin) {
        let is_reset = self.prng.chance(50);
        let shard = origin.shard.0 as usize;
        if !is_reset {
            return self.with_shard(shard, ShardInput::Ended { conn: origin.conn });
        }
        let process = self.process();
        process.by_origin.remove(&origin);
        process.seats[shard].slots[origin.conn.slot as usize] = (origin.conn.generation + 1, false);
        self.conns[index].origin = None;
        self.conns[index].closed_by_server = true;
        self.with_shard(shard, ShardInput::Closed { conn: origin.conn });
    }

    /// The send in flight has gone into the socket, if that has room.
    pub fn finish_send(&mut self, index: usize) {
        let socket_bytes = self.settings.socket_bytes;
        let conn = &self.conns[index];
        let is_asleep = conn.origin.is_some_and(|origin| self.is_asleep(origin.shard.0 as usize));
        if is_asleep || conn.to_client.len() >= socket_bytes {
            return;
        }
        let conn = &mut self.conns[index];
        let (Some(origin), Some(buffer)) = (conn.origin, conn.sending.take()) else { return };
        conn.to_client.extend(buffer.iter());
        self.with_shard(
            origin.shard.0 as usize,
            ShardInput::Sent { conn: origin.conn, spare: buffer.into_spare() },
        );
    }

    /// One of the log writes in flight is durable.
    pub fn finish_write(&mut self) -> Result<(), String> {
        let World { process, prng, disk, .. } = self;
        let process = process.as_mut().expect("a process runs");
        if process.writes.is_empty() {
            return Ok(());
        }
        let write = process.writes.swap_remove(prng.below(process.writes.len() as u64) as usize);
        disk.complete(&write);
        process.slow_disk.end(self.now, write.token);
        let written = |frame: &&mut Frame| frame.token == write.token && !frame.is_durable;
        self.frames.iter_mut().rev().find(written).expect("it was begun").is_durable = true;
        self.with_member(MemberInput::LogWritten { token: write.token, buffer: write.buffer })
    }

    /// Time passes; whoever waits for it is told, in time.
    pub fn pass(&mut self, ms: u64) -> Result<(), String> {
        let until = self.now.mono_ms + ms;
        while self.now.mono_ms < until {
            let now = self.now.mono_ms;
            let process = self.process();
            let shards = process.seats.iter().map(|seat| seat.shard.next_timeout());
            let due = shards.chain([process.member.next_timeout()]).flatten().min();
            // What is due already was not done for a reason; it is looked at again a little later.
            let next = due.map_or(until, |due| if due > now { due } else { now + 30 }).min(until);
            self.jump(next - now);
            self.tell_time()?;
        }
        if ms > 30 {
            self.trace.line(format_args!("{ms} ms pass: {until}"));
        }
        Ok(())
    }

    fn jump(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms as i64;
    }

    /// The process gets no time while its clients go on: afterwards it looks at its timers before anything else.
    pub fn pause(&mut self) -> Result<(), String> {
        for client in 0..self.clients.len() {
            if self.clients[client].is_ready() && self.clients[client].waits_for() < 10 {
                self.ask(client, None);
            }
        }
        // Who was silent for too long once may be given up already.
        let allowed_ms = self.settings.session_ms / 2;
        let is_recent = |heard: &[u64]| heard.windows(2).all(|pair| pair[1] - pair[0] < allowed_ms);
        let ends = [self.now.mono_ms];
        let recent: Vec<SessionId> = self
            .heard
            .iter()
            .filter(|(_, heard)| is_recent(&[&heard[..], &ends].concat()))
            .map(|(session, _)| *session)
            .collect();
        let ms = 1 + self.prng.below(3 * self.settings.session_ms);
        self.jump(ms);
        self.trace.line(format_args!("a pause of {ms} ms: {}", self.now.mono_ms));
        self.tell_time()?;
        for index in 0..self.conns.len() {
            let before = self.conns[index].to_server.len();
            self.deliver_to_server(index, usize::MAX);
            let session = self.clients[self.conns[index].client].session.as_ref().map(|session| session.id);
            let session = session.filter(|session| recent.contains(session));
            if let Some(heard) = session.and_then(|session| self.heard.get_mut(&session))
                && heard.last() == Some(&self.now.mono_ms)
                && self.conns[index].to_server.len() < before
            {
                // It was silent for no longer than the process was.
                *heard = vec![self.now.mono_ms];
            }
        }
        for shard in 0..self.process().seats.len() {
            self.flush_shard(shard);
        }
        self.member_turn(1000)
    }

    fn tell_time(&mut self) -> Result<(), String> {
        let now = self.now.mono_ms;
        let is_due = |due: Option<u64>| due.is_some_and(|due| due <= now);
        if is_due(self.process().member.next_timeout()) {
            self.with_member(MemberInput::Tick)?;
        }
        let Some(process) = &self.process else { return Ok(()) };
        process.slow_disk.check(self.now, process.member.slow_log_writes())?;
        for shard in 0..self.process().seats.len() {
            if !self.is_asleep(shard) && is_due(self.process().seats[shard].shard.next_timeout()) {
                self.with_shard(shard, ShardInput::Tick);
            }
        }
        Ok(())
    }
}
