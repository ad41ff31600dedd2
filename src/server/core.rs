//! One core's loop: gather what happened, step the state machines with all of it, flush once, carry out what they want.

use super::words::Words;
use super::{CorePlan, boot, layout::Layout, scribe};
use crate::ids::{ConnId, Now, Origin, SegmentId, SessionId, ShardId};
use crate::io::clock::Clock;
use crate::io::queue::{Receiver, Sender};
use crate::io::ring::Reader;
use crate::io::{Backend, Durability, Event, open_backend, process};
use crate::limits::{WORDS_BYTES_MAX, WORDS_MAX};
use crate::log::LogOutput;
use crate::member::{Descriptors, Member, MemberInput, MemberOutput, RefuseReason, Usage};
use crate::mesh::{Lag, ToMember, ToShard, Word};
use crate::scribe::Report;
use crate::shard::{Shard, ShardInput, ShardOutput};
use crate::tree::slots::LOOK_AHEAD;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What other threads tell a core.
pub enum CoreMessage {
    /// To core 0, from a shard.
    ToMember(ToMember),
    /// A connection for this core's shard.
    Adopt { socket: OwnedFd, peer: SocketAddr },
    /// To core 0, from the scribe.
    Scribe(scribe::Message),
    /// To core 0: finish what is proposed and end. To others: end.
    Stop,
}

/// The member and what it needs of the outside world.
pub struct MemberSeat {
    member: Member,
    scribe: scribe::Handle,
    /// To the shards of other cores; None if there are none.
    words: Option<Words>,
    durability: Durability,
    /// Backend's file numbers of the segments that are ready or being written.
    files: BTreeMap<SegmentId, usize>,
    /// Segments to release once nothing is in flight to them.
    closing: Vec<(SegmentId, usize)>,
    writes: HashMap<u64, usize>,
    accepted: HashMap<u64, (OwnedFd, SocketAddr)>,
    next_token: u64,
    refused: u64,
    /// Messages of shards not yet taken because too much is proposed.
    waiting: VecDeque<ToMember>,
    is_stopped: bool,
    snapshot_bytes: u64,
    open_files: process::OpenFiles,
    descriptors: Descriptors,
    usage_due_ms: u64,
}

impl MemberSeat {
    pub fn new(
        member: Member,
        scribe: scribe::Handle,
        words: Option<Words>,
        folders: &boot::Folders,
        durability: Durability,
    ) -> MemberSeat {
        let descriptors = member.descriptors();
        MemberSeat {
            member,
            scribe,
            words,
            durability,
            files: BTreeMap::new(),
            closing: Vec::new(),
            writes: HashMap::new(),
            accepted: HashMap::new(),
            next_token: 0,
            refused: 0,
            waiting: VecDeque::new(),
            is_stopped: false,
            snapshot_bytes: scribe::folder_bytes(&folders.data),
            open_files: process::OpenFiles::new(),
            descriptors,
            usage_due_ms: 0,
        }
    }

    /// The member may be given further messages.
    fn is_accepting(&self) -> bool {
        self.member.is_accepting() && !self.scribe.is_behind()
    }

    fn tell_refused(&mut self, peer: SocketAddr, reason: RefuseReason) {
        self.refused += 1;
        if self.refused.is_power_of_two() {
            let why = self.member.why_refused(reason);
            tracing::warn!("refused a connection of {peer}: {why} ({} refused so far)", self.refused);
        }
    }

    fn usage(&self) -> MemberInput {
        MemberInput::Usage(Usage {
            snapshot_bytes: self.snapshot_bytes,
            open_files: self.open_files.count(),
            open_files_max: self.open_files.max(),
        })
    }
}

/// How often the process's own numbers are looked up, while there is something to do.
const USAGE_EVERY_MS: u64 = 5000;

/// How often core 0 looks whether the scribe or the shards have room again.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One core.
pub struct Core {
    index: usize,
    backend: Box<dyn Backend>,
    receiver: Receiver<CoreMessage>,
    senders: Vec<Sender<CoreMessage>>,
    layout: Layout,
    clock: Clock,
    seat: Option<MemberSeat>,
    shard: Option<Shard>,
    /// The member's words for the shard, if the member is on another core.
    words: Option<Reader<Word>>,
    member_out: Vec<MemberOutput>,
    shard_out: Vec<ShardOutput>,
    /// Per core: messages its queue had no room for.
    overflow: Vec<VecDeque<CoreMessage>>,
    accepted: Vec<(OwnedFd, SocketAddr)>,
    /// The last turn brought nothing to do.
    is_idle: bool,
    failure: Option<String>,
    is_stopping: bool,
}

/// Messages taken from the mailbox per turn, so that sockets and the disk get their turn, too.
const MESSAGES_PER_TURN: usize = 1024;

impl Core {
    pub fn new(plan: CorePlan, seat: Option<MemberSeat>, shard: Option<Shard>) -> Result<Core, String> {
        if let Some(cpu) = plan.cpu
            && let Err(error) = process::pin_current_thread(cpu)
        {
            tracing::warn!("core {} cannot be pinned to CPU {cpu}: {error}", plan.index);
        }
        let mut backend = open_backend(plan.io, plan.event_fd, plan.index == 0)
            .map_err(|error| format!("no way to do IO on core {}: {error}", plan.index))?;
        let is_near = seat.as_ref().is_some_and(|seat| seat.descriptors.is_near(0));
        backend.accept_one_by_one(is_near);
        for listener in plan.listeners {
            backend.listen(listener).map_err(|error| format!("cannot accept connections: {error}"))?;
        }
        Ok(Core {
            index: plan.index,
            backend,
            receiver: plan.receiver,
            overflow: plan.senders.iter().map(|_| VecDeque::new()).collect(),
            senders: plan.senders,
            layout: plan.layout,
            clock: plan.clock,
            seat,
            shard,
            words: plan.words,
            member_out: Vec::new(),
            shard_out: Vec::new(),
            accepted: Vec::new(),
            is_idle: true,
            failure: None,
            is_stopping: false,
        })
    }

    /// Runs until the member has stopped or failed.
    pub fn run(mut self) -> Result<(), String> {
        if let Some(seat) = &mut self.seat {
            seat.member.step(self.clock.now(), MemberInput::Start, &mut self.member_out);
        }
        loop {
            self.settle();
            if let Some(failure) = self.failure.take() {
                self.stop_others();
                return Err(failure);
            }
            if self.seat.as_ref().is_some_and(|seat| seat.is_stopped)
                || (self.is_stopping && self.seat.is_none())
            {
                self.stop_others();
                return Ok(());
            }
            let wait = self.wait_time();
            self.gather(wait).map_err(|error| format!("IO on core {} failed: {error}", self.index))?;
            self.take_messages();
        }
    }

    /// How long nothing needs to happen. None: until something arrives.
    fn wait_time(&mut self) -> Option<Duration> {
        let is_busy = self.shard.as_ref().is_some_and(Shard::has_work)
            || self.overflow.iter().any(|queue| !queue.is_empty())
            || self.seat.as_ref().is_some_and(|seat| {
                // What an idle turn did not send has no room to go to; the scribe or a completed write will wake this core.
                let comes_back = seat.member.holds_back() && !self.is_idle;
                comes_back || !seat.waiting.is_empty() && seat.is_accepting()
            });
        if is_busy || !self.may_sleep() {
            return Some(Duration::ZERO);
        }
        let member = self.seat.as_ref().and_then(|seat| seat.member.next_timeout());
        let shard = self.shard.as_ref().and_then(Shard::next_timeout);
        let due = member.into_iter().chain(shard).min();
        let wait = due.map(|due| Duration::from_millis(due.saturating_sub(self.clock.now().mono_ms)));
        // The scribe and the shards take what waits for them without a word.
        let is_looking =
            self.seat.as_mut().is_some_and(|seat| seat.scribe.catch_up() || seat.member.waits_for_shards());
        match is_looking {
            true => Some(wait.map_or(LOOK_EVERY, |wait| wait.min(LOOK_EVERY))),
            false => wait,
        }
    }

    /// Announces that this core is about to sleep, unless something has arrived for it.
    fn may_sleep(&self) -> bool {
        if !self.receiver.announce_sleep() {
            return false;
        }
        let has_words = self.words.as_ref().is_some_and(|words| !words.is_empty());
        if has_words {
            self.receiver.awake();
        }
        !has_words
    }

    /// Waits for the kernel and steps the state machines with what it tells.
    fn gather(&mut self, wait: Option<Duration>) -> std::io::Result<()> {
        let Core { backend, seat, shard, member_out, shard_out, accepted, clock, words, is_idle, .. } = self;
        let mut now: Option<Now> = None;
        *is_idle = true;
        backend.turn(wait, &mut |event| {
            let now = *now.get_or_insert_with(|| clock.now());
            match event {
                Event::Accepted { socket, peer, .. } => accepted.push((socket, peer)),
                Event::Received { conn, bytes } => {
                    *is_idle = false;
                    // A client may ask here what another client has just been told elsewhere. The batch was published
                    // for every shard before any reply left, so whatever is published is taken first.
                    take_words(words, shard, now, shard_out);
                    step_shard(shard, now, ShardInput::Received { conn, bytes }, shard_out);
                }
                Event::Sent { conn, spare } => {
                    step_shard(shard, now, ShardInput::Sent { conn, spare }, shard_out);
                }
                Event::Ended { conn } => step_shard(shard, now, ShardInput::Ended { conn }, shard_out),
                Event::Closed { conn } => step_shard(shard, now, ShardInput::Closed { conn }, shard_out),
                Event::WriteDone { token, buffer, result } => {
                    let Some(seat) = seat else { return };
                    seat.writes.remove(&token);
                    let input = match result {
                        Ok(()) => MemberInput::LogWritten { token, buffer },
                        Err(error) => MemberInput::LogFailed { what: error.to_string() },
                    };
                    seat.member.step(now, input, member_out);
                }
                Event::Woken => {}
            }
        })?;
        self.receiver.awake();
        Ok(())
    }

    fn take_messages(&mut self) {
        let mut now = None;
        if self.words.as_ref().is_some_and(|words| !words.is_empty()) {
            self.is_idle = false;
            let now = *now.get_or_insert_with(|| self.clock.now());
            take_words(&mut self.words, &mut self.shard, now, &mut self.shard_out);
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.receiver.pop() else { break };
            let now = *now.get_or_insert_with(|| self.clock.now());
            self.is_idle = false;
            match message {
                CoreMessage::ToMember(message) => {
                    if let Some(seat) = &mut self.seat {
                        seat.waiting.push_back(message);
                    }
                }
                CoreMessage::Adopt { socket, peer } => self.adopt(now, socket, peer),
                CoreMessage::Scribe(report) => self.on_report(now, report),
                CoreMessage::Stop => self.on_stop(now),
            }
        }
    }

    fn take_timers(&mut self) {
        let now = self.clock.now();
        let is_due = |due: Option<u64>| due.is_some_and(|due| due <= now.mono_ms);
        if let Some(seat) = &mut self.seat
            && is_due(seat.member.next_timeout())
        {
            seat.member.step(now, MemberInput::Tick, &mut self.member_out);
        }
        if let Some(seat) = &mut self.seat
            && now.mono_ms >= seat.usage_due_ms
        {
            seat.usage_due_ms = now.mono_ms + USAGE_EVERY_MS;
            let usage = seat.usage();
            seat.member.step(now, usage, &mut self.member_out);
        }
        if self.shard.as_ref().is_some_and(|shard| is_due(shard.next_timeout())) {
            step_shard(&mut self.shard, now, ShardInput::Tick, &mut self.shard_out);
        }
    }

    fn on_stop(&mut self, now: Now) {
        self.is_stopping = true;
        if let Some(seat) = &mut self.seat {
            self.backend.stop_listening();
            seat.member.step(now, MemberInput::Stop, &mut self.member_out);
        }
    }

    fn stop_others(&mut self) {
        if self.seat.is_none() {
            return;
        }
        for core in 1..self.senders.len() {
            self.overflow[core].push_back(CoreMessage::Stop);
        }
        while self.overflow.iter().any(|queue| !queue.is_empty()) {
            self.drain_overflow();
            std::thread::yield_now();
        }
    }

    /// Ends a turn: everything in memory is stepped until nothing is left to say, then flushed once.
    fn settle(&mut self) {
        let now = self.clock.now();
        self.drain_overflow();
        for (socket, peer) in std::mem::take(&mut self.accepted) {
            self.on_accepted(now, socket, peer);
        }
        self.carry_out_shard(now);
        if self.seat.is_some() {
            self.feed_member(now);
        }
        // After the messages: who was heard from does not expire.
        self.take_timers();
        if self.seat.is_some() {
            self.flush_member(now);
        }
        if let Some(shard) = &mut self.shard {
            shard.flush(now, &mut self.shard_out);
        }
        self.carry_out_shard(now);
        // What the flush told the member (touches, closed connections) waits for the next turn.
    }

    fn feed_member(&mut self, now: Now) {
        let Some(seat) = &mut self.seat else { return };
        if seat.scribe.is_behind() {
            seat.member.postpone_expiry(now);
        }
        if let Some(words) = &mut seat.words {
            seat.member.set_lag(words.catch_up());
        }
        let mut ahead = 0;
        while seat.is_accepting() && !seat.waiting.is_empty() {
            if ahead == 0 {
                ahead = LOOK_AHEAD;
                seat.member.look_ahead(seat.waiting.iter().take(LOOK_AHEAD));
            }
            ahead -= 1;
            let Some(message) = seat.waiting.pop_front() else { break };
            seat.member.step(now, MemberInput::FromShard(message), &mut self.member_out);
        }
    }

    fn flush_member(&mut self, now: Now) {
        let Some(seat) = &mut self.seat else { return };
        seat.member.flush(now, self.is_idle, &mut self.member_out);
        // An output that cannot be carried out may be answered with further ones.
        while !self.member_out.is_empty() {
            for output in std::mem::take(&mut self.member_out) {
                self.on_member_output(now, output);
            }
        }
        self.wake_the_slow();
    }

    /// A shard that nobody spoke to may sleep over words for others; it takes them before the ring is full of them.
    fn wake_the_slow(&mut self) {
        let lag = self.seat.as_mut().and_then(|seat| seat.words.as_mut()).map(Words::catch_up);
        let Some(Lag { words, bytes }) = lag else { return };
        if words > WORDS_MAX / 4 || bytes > WORDS_BYTES_MAX / 4 {
            self.wake_shards();
        }
    }

    fn wake_shards(&self) {
        self.senders.iter().enumerate().filter(|(core, _)| *core != self.index).for_each(|(_, to)| to.wake());
    }

    fn on_member_output(&mut self, now: Now, output: MemberOutput) {
        match output {
            MemberOutput::ToShard(shard, message) => self.send_to_shard(now, shard, message),
            MemberOutput::Broadcast(message) => {
                if let (ToShard::Committed(batch), Some(seat)) = (&message, &mut self.seat) {
                    seat.scribe.commit(batch);
                }
                self.broadcast(now, message);
            }
            MemberOutput::Assign { token, shard } => self.on_assign(now, token, shard),
            MemberOutput::Refuse { token, reason } => self.on_refuse(token, reason),
            MemberOutput::Log(output) => self.on_log_output(output),
            MemberOutput::RemoveSnapshots { before } => {
                if let Some(seat) = &mut self.seat {
                    seat.scribe.remove_snapshots(before);
                }
            }
            MemberOutput::Snapshot { zxid, digest, sessions, keep } => {
                if let Some(seat) = &mut self.seat {
                    seat.scribe.snapshot(zxid, digest, sessions, keep);
                }
            }
            MemberOutput::Notice { text } => tracing::warn!("{text}"),
            MemberOutput::Stopped => {
                if let Some(seat) = &mut self.seat {
                    seat.is_stopped = true;
                }
            }
            MemberOutput::Fatal { what } => self.failure = Some(what),
        }
    }

    fn on_log_output(&mut self, output: LogOutput) {
        let Some(seat) = &mut self.seat else { return };
        match output {
            LogOutput::Write { segment, offset, buffer, token } => {
                let file = *seat.files.get(&segment).expect("a segment is written to when it is ready");
                seat.writes.insert(token, file);
                self.backend.write_durable(file, offset, buffer, token);
            }
            LogOutput::Prepare { segment, bytes } => seat.scribe.prepare(segment, bytes),
            LogOutput::Close { segment } => {
                if let Some(file) = seat.files.remove(&segment) {
                    seat.closing.push((segment, file));
                }
            }
            LogOutput::Release { segment } => seat.scribe.release(segment),
        }
        let MemberSeat { closing, writes, .. } = seat;
        closing.retain(|(_, file)| {
            let is_busy = writes.values().any(|busy| busy == file);
            if !is_busy {
                self.backend.release_file(*file);
            }
            is_busy
        });
    }

    fn on_report(&mut self, now: Now, message: scribe::Message) {
        let Some(seat) = &mut self.seat else { return };
        let input = match message.report {
            Report::SegmentReady { segment, bytes } => {
                let file = message.file.expect("the scribe has opened what it has prepared");
                match self.backend.register_file(file, seat.durability) {
                    Ok(file) => {
                        let before = seat.files.insert(segment, file);
                        assert!(before.is_none(), "a segment is prepared once");
                        MemberInput::SegmentReady { segment, bytes }
                    }
                    // It is asked for again.
                    Err(error) => {
                        let what = format!("{}: {error}", boot::segment_name(segment));
                        MemberInput::SegmentFailed { segment, no_space: false, what }
                    }
                }
            }
            Report::SegmentFailed { segment, no_space, what } => {
                MemberInput::SegmentFailed { segment, no_space, what }
            }
            Report::SnapshotDone { zxid, bytes, folder_bytes } => {
                seat.snapshot_bytes = folder_bytes.unwrap_or(seat.snapshot_bytes);
                seat.usage_due_ms = 0;
                MemberInput::SnapshotDone { zxid, bytes }
            }
            Report::SnapshotFailed { what } => MemberInput::SnapshotFailed { what },
        };
        seat.member.step(now, input, &mut self.member_out);
    }

    fn on_accepted(&mut self, now: Now, socket: OwnedFd, peer: SocketAddr) {
        let Some(seat) = &mut self.seat else { return };
        let is_near = seat.descriptors.is_near(seat.member.connections());
        self.backend.accept_one_by_one(is_near);
        if is_near && seat.descriptors.is_short(seat.open_files.count()) {
            return seat.tell_refused(peer, RefuseReason::Descriptors);
        }
        let token = seat.next_token;
        seat.next_token += 1;
        // A listener for both families names IPv4 clients ::ffff:a.b.c.d; ACLs and limits know them as a.b.c.d.
        let address = peer.ip().to_canonical();
        let peer = if address.is_ipv4() { SocketAddr::new(address, peer.port()) } else { peer };
        seat.accepted.insert(token, (socket, peer));
        seat.member.step(now, MemberInput::Accepted { address, token }, &mut self.member_out);
    }

    fn on_assign(&mut self, now: Now, token: u64, shard: ShardId) {
        let accepted = self.seat.as_mut().and_then(|seat| seat.accepted.remove(&token));
        let Some((socket, peer)) = accepted else { return };
        let core = self.layout.core_of(shard);
        if core == self.index {
            self.adopt(now, socket, peer);
        } else {
            self.send(core, CoreMessage::Adopt { socket, peer });
        }
    }

    fn on_refuse(&mut self, token: u64, reason: RefuseReason) {
        let Some(seat) = &mut self.seat else { return };
        let Some((_, peer)) = seat.accepted.remove(&token) else { return };
        seat.tell_refused(peer, reason);
    }

    fn adopt(&mut self, now: Now, socket: OwnedFd, peer: SocketAddr) {
        match self.backend.adopt(socket) {
            Ok(conn) => {
                step_shard(&mut self.shard, now, ShardInput::Accepted { conn, peer }, &mut self.shard_out);
            }
            Err(error) => {
                tracing::warn!("lost a new connection of {peer}: {error}");
                self.give_back(peer);
            }
        }
    }

    /// The address's share of connections is free again, as if the connection had been there and gone.
    fn give_back(&mut self, peer: SocketAddr) {
        let Some(shard) = self.shard.as_ref().map(Shard::id) else { return };
        let origin = Origin { shard, conn: ConnId { slot: u32::MAX, generation: u32::MAX } };
        let gone = ToMember::Disconnected { origin, session: SessionId::NONE, address: peer.ip() };
        self.shard_out.push(ShardOutput::ToMember(gone));
    }

    fn send_to_shard(&mut self, now: Now, shard: ShardId, message: ToShard) {
        let core = self.layout.core_of(shard);
        if core == self.index {
            return step_shard(&mut self.shard, now, ShardInput::FromMember(message), &mut self.shard_out);
        }
        if let Some(words) = self.seat.as_mut().and_then(|seat| seat.words.as_mut()) {
            words.say(Word { to: Some(shard), message });
            self.senders[core].wake();
        }
    }

    /// Crash story without a crash: 1. Client A's write is committed; its shard is told, wakes and answers at once.
    /// 2. A tells B, whose shard has not been told yet. 3. B reads and misses the write. So the message is there for
    /// every shard at one instant, and a shard takes what is there before it serves B.
    fn broadcast(&mut self, now: Now, message: ToShard) {
        if let Some(words) = self.seat.as_mut().and_then(|seat| seat.words.as_mut()) {
            words.say(Word { to: None, message: message.clone() });
            self.wake_shards();
        }
        step_shard(&mut self.shard, now, ShardInput::FromMember(message), &mut self.shard_out);
    }

    fn send(&mut self, core: usize, message: CoreMessage) {
        if !self.overflow[core].is_empty() {
            self.overflow[core].push_back(message);
        } else if let Err(message) = self.senders[core].send(message) {
            self.overflow[core].push_back(message);
        }
    }

    fn drain_overflow(&mut self) {
        for (core, queue) in self.overflow.iter_mut().enumerate() {
            while let Some(message) = queue.pop_front() {
                if let Err(message) = self.senders[core].send(message) {
                    queue.push_front(message);
                    break;
                }
            }
        }
    }

    fn carry_out_shard(&mut self, _now: Now) {
        let mut outputs = std::mem::take(&mut self.shard_out);
        for output in outputs.drain(..) {
            match output {
                ShardOutput::Send { conn, buffer } => self.backend.send(conn, buffer),
                ShardOutput::Receive { conn, on } => self.backend.receive(conn, on),
                ShardOutput::Close { conn } => self.backend.close(conn),
                ShardOutput::ToMember(message) => match &mut self.seat {
                    Some(seat) => seat.waiting.push_back(message),
                    None => self.send(0, CoreMessage::ToMember(message)),
                },
            }
        }
        self.shard_out = outputs;
    }
}

/// Takes every word of the member that is published.
fn take_words(
    words: &mut Option<Reader<Word>>,
    shard: &mut Option<Shard>,
    now: Now,
    out: &mut Vec<ShardOutput>,
) {
    let (Some(words), Some(shard)) = (words, shard) else { return };
    let (until, id) = (words.published(), shard.id());
    while let Some(message) = words.take(until, |word| word.concerns(id).then(|| word.message.clone())) {
        if let Some(message) = message {
            shard.step(now, ShardInput::FromMember(message), out);
        }
    }
}

fn step_shard(shard: &mut Option<Shard>, now: Now, input: ShardInput<'_>, out: &mut Vec<ShardOutput>) {
    if let Some(shard) = shard {
        shard.step(now, input, out);
    }
}
