//! From bytes to requests: framing, the order of a connection, who answers what, back-pressure.

use super::complaints::{Kind, protocol};
use super::conn::{self, Conn, ConnState};
use super::handshake::First;
use super::reads::{self, Answered, ReadContext};
use super::{Shard, ShardOutput, conn_in};
use crate::ids::{ConnId, Now, Origin, Zxid};
use crate::limits;
use crate::mesh::{Answer, ClientRequest, ToMember};
use crate::tree::permission::{self, AuthOutcome};
use crate::tree::slots::LOOK_AHEAD;
use crate::wire::codes::{ErrorCode, Op, XID_PING};
use crate::wire::records::encode_reply;
use crate::wire::{Reader, ReplyHeader, Request, RequestHeader};
use smallvec::SmallVec;
use std::sync::Arc;

/// What became of the front of a connection's input.
enum Parsed {
    /// So many bytes are used up; go on.
    Used(usize),
    /// The next frame is not whole yet, or must wait.
    Wait,
    /// The connection was closed or is about to be.
    Stop,
}

/// What may make an answer wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Enough to send is queued already.
    ByBounds,
    /// Nothing: the state is about to change.
    ByNothing,
}

impl Shard {
    pub(super) fn on_received(&mut self, now: Now, id: ConnId, bytes: &[u8], out: &mut Vec<ShardOutput>) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.state == ConnState::Closing {
            return;
        }
        self.touch(id);
        let Some(conn) = self.conn_mut(id) else { return };
        // Bytes buy time for a slow handshake, but only as many as one has.
        if conn.state == ConnState::Handshake && conn.inbox.len() < limits::HANDSHAKE_BYTES {
            conn.heard_ms = now.mono_ms;
        }
        if conn.inbox.is_empty() {
            let used = self.parse(now, id, bytes, out);
            if let Some(conn) = self.conn_mut(id)
                && conn.state != ConnState::Closing
            {
                conn.inbox.extend_from_slice(&bytes[used..]);
            }
        } else {
            conn.inbox.extend_from_slice(bytes);
            self.parse_inbox(now, id, out);
        }
        self.adjust_receiving(id, out);
    }

    /// Input that was held back is taken up again, if nothing holds it any more.
    pub(super) fn resume(&mut self, now: Now, id: ConnId, out: &mut Vec<ShardOutput>) {
        self.answer_waiting_reads(id, Held::ByBounds, out);
        if self.conn(id).is_some_and(|conn| !conn.inbox.is_empty()) {
            self.parse_inbox(now, id, out);
        }
        self.adjust_receiving(id, out);
    }

    fn parse_inbox(&mut self, now: Now, id: ConnId, out: &mut Vec<ShardOutput>) {
        let Some(conn) = self.conn_mut(id) else { return };
        let mut inbox = std::mem::take(&mut conn.inbox);
        let used = self.parse(now, id, &inbox, out);
        if let Some(conn) = self.conn_mut(id)
            && conn.state != ConnState::Closing
        {
            inbox.drain(..used);
            if inbox.is_empty() && inbox.capacity() > INBOX_KEEP_BYTES {
                inbox = Vec::new();
            }
            conn.inbox = inbox;
        }
    }

    /// Takes whole frames off the front; returns the bytes used.
    fn parse(&mut self, now: Now, id: ConnId, bytes: &[u8], out: &mut Vec<ShardOutput>) -> usize {
        let (mut used, mut ahead) = (0, 0);
        loop {
            if used >= ahead && self.tree.is_large() {
                ahead = used + self.look_ahead(&bytes[used..]);
            }
            match self.parse_one(now, id, &bytes[used..], out) {
                Parsed::Used(more) => used += more,
                Parsed::Wait | Parsed::Stop => return used,
            }
        }
    }

    /// Fetches into the cache what the next requests are about, all at once; returns the bytes they have.
    fn look_ahead(&self, bytes: &[u8]) -> usize {
        let mut paths: SmallVec<[&[u8]; LOOK_AHEAD]> = SmallVec::new();
        let mut at = 0;
        while paths.len() < LOOK_AHEAD
            && let Some(frame) = frame_at(bytes, at)
        {
            at += 4 + frame.len();
            // xid, type, and in nearly all requests the path.
            if let Some((_, body)) = frame.split_at_checked(8)
                && let Some(path) = frame_at(body, 0)
            {
                paths.push(path);
            }
        }
        if paths.len() > 1 {
            self.tree.look_ahead(paths.into_iter());
        }
        at.max(1)
    }

    fn parse_one(&mut self, now: Now, id: ConnId, bytes: &[u8], out: &mut Vec<ShardOutput>) -> Parsed {
        match self.conn(id).map(|conn| conn.state) {
            Some(ConnState::Established) => self.parse_request(now, id, bytes, out),
            Some(ConnState::Handshake) => self.parse_handshake(now, id, bytes, out),
            Some(ConnState::TraceMask) => {
                let Some(mask) = bytes.first_chunk::<8>() else { return Parsed::Wait };
                self.on_trace_mask(id, i64::from_be_bytes(*mask));
                Parsed::Stop
            }
            Some(ConnState::Asked) => Parsed::Wait,
            Some(ConnState::Closing) | None => Parsed::Stop,
        }
    }

    fn parse_handshake(&mut self, now: Now, id: ConnId, bytes: &[u8], out: &mut Vec<ShardOutput>) -> Parsed {
        let Some(word) = bytes.first_chunk::<4>() else { return Parsed::Wait };
        match self.on_four_letters(id, *word, out) {
            First::Incomplete => {}
            First::Done => return Parsed::Used(4),
            First::Bad => return self.refuse(id, out),
        }
        let Some(length) = self.frame_length(*word) else { return self.refuse_frame(now, id, *word, out) };
        let Some(frame) = bytes.get(4..4 + length) else { return Parsed::Wait };
        self.count_received(id, 4 + length);
        match self.on_connect_request(now, id, frame, out) {
            First::Bad => self.refuse(id, out),
            _ => Parsed::Used(4 + length),
        }
    }

    fn parse_request(&mut self, now: Now, id: ConnId, bytes: &[u8], out: &mut Vec<ShardOutput>) -> Parsed {
        let Some(conn) = conn_in(&mut self.conns, id) else { return Parsed::Stop };
        if conn.is_full() {
            return Parsed::Wait;
        }
        // Too many writes are in flight, and this connection has one of them.
        if conn.writes_pending > 0 && self.writes_in_flight >= self.settings.outstanding_max {
            if !conn.is_throttled {
                conn.is_throttled = true;
                self.throttled.push_back(id);
            }
            return Parsed::Wait;
        }
        let Some(word) = bytes.first_chunk::<4>() else { return Parsed::Wait };
        let Some(length) = self.frame_length(*word) else { return self.refuse_frame(now, id, *word, out) };
        let Some(frame) = bytes.get(4..4 + length) else { return Parsed::Wait };
        if self.is_write_after_many_reads(id, frame) {
            return Parsed::Wait;
        }
        self.count_received(id, 4 + length);
        self.on_frame(now, id, frame, out);
        Parsed::Used(4 + length)
    }

    fn frame_length(&self, word: [u8; 4]) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(word))
            .ok()
            .filter(|length| *length <= self.settings.frame_bytes_max)
    }

    #[cold]
    fn refuse_frame(&mut self, now: Now, id: ConnId, word: [u8; 4], out: &mut Vec<ShardOutput>) -> Parsed {
        let Some(conn) = self.conn(id) else { return Parsed::Stop };
        let (peer, length, bytes_max) = (conn.peer, i32::from_be_bytes(word), self.settings.frame_bytes_max);
        let protocol = (conn.state == ConnState::Handshake).then(|| protocol(word)).flatten();
        self.complaints.warn(now, Kind::Frame, || match protocol {
            Some(protocol) => format!("closing {peer}: it sent {protocol}"),
            None => {
                format!("closing {peer}: its frame of {length} bytes exceeds jute.maxbuffer ({bytes_max})")
            }
        });
        self.refuse(id, out)
    }

    pub(super) fn count_received(&mut self, id: ConnId, bytes: usize) {
        self.stats.packets_received += 1;
        self.stats.bytes_received += bytes as u64;
        if let Some(conn) = conn_in(&mut self.conns, id) {
            conn.stats.received += 1;
        }
    }

    fn refuse(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) -> Parsed {
        self.drop_conn(id, out);
        Parsed::Stop
    }

    /// Reads are answered from the state before a later write of their connection, at the latest when that write is
    /// committed, whether the client takes the answers or not. So not many may stand before a write.
    fn is_write_after_many_reads(&self, id: ConnId, frame: &[u8]) -> bool {
        let Some(conn) = self.conn(id) else { return false };
        let reads = conn.pending.len() - conn.writes_pending;
        (reads > limits::READS_BEFORE_WRITE_MAX || conn.long_reads > 0 || conn.listing.is_some())
            && frame
                .get(4..8)
                .and_then(|op| op.try_into().ok())
                .is_some_and(|op| Op::from_i32(i32::from_be_bytes(op)).is_some_and(Op::is_for_member))
    }

    /// Reads from the socket only while what arrives can be taken in.
    fn adjust_receiving(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        let Some(conn) = conn_in(&mut self.conns, id) else { return };
        let input = conn.inbox.len() + conn.pending_bytes;
        self.input_bytes = self.input_bytes - conn.input_bytes + input;
        conn.input_bytes = input;
        let unanswered = conn.pending.len() + usize::from(conn.listing.is_some());
        self.unanswered = self.unanswered - conn.unanswered + unanswered;
        conn.unanswered = unanswered;
        let is_starved =
            input > limits::CONN_INPUT_BYTES_SMALL && self.input_bytes > self.settings.input_bytes_max;
        let is_new = is_starved && !std::mem::replace(&mut conn.is_starved, is_starved);
        let wanted = conn.state != ConnState::Closing
            && !is_starved
            && !conn.is_full()
            && conn.inbox.len() <= self.settings.frame_bytes_max + 4;
        if wanted != conn.is_receiving {
            conn.is_receiving = wanted;
            out.push(ShardOutput::Receive { conn: id, on: wanted });
        }
        if is_new {
            self.starved.push(id);
        }
    }

    /// Reads again from the connections that held too much of what all may hold, once an eighth of it is free.
    pub(super) fn feed_starved(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        if self.starved.is_empty() || self.input_bytes > self.settings.input_bytes_max / 8 * 7 {
            return;
        }
        for id in std::mem::take(&mut self.starved) {
            if let Some(conn) = self.conn_mut(id) {
                conn.is_starved = false;
            }
            self.resume(now, id, out);
        }
    }

    /// Takes up the connections that waited for writes of others.
    pub(super) fn resume_throttled(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        for _ in 0..self.throttled.len() {
            if self.writes_in_flight >= self.settings.outstanding_max {
                return;
            }
            let Some(id) = self.throttled.pop_front() else { return };
            if let Some(conn) = self.conn_mut(id) {
                conn.is_throttled = false;
            }
            self.resume(now, id, out);
        }
    }

    /// The client of this connection is alive.
    fn touch(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.state == ConnState::Established && !conn.is_touched {
            conn.is_touched = true;
            let session = conn.session;
            self.touched.push(session);
        }
    }

    fn on_frame(&mut self, now: Now, id: ConnId, frame: &[u8], out: &mut Vec<ShardOutput>) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            self.drop_conn(id, out);
            return;
        };
        let body = reader.rest();
        let op = Op::from_i32(header.op);
        match op {
            Some(Op::Auth) => return self.on_auth(id, header, body, out),
            Some(Op::Sasl) => return self.on_sasl(id, header, body, out),
            _ => {}
        }
        if !self.is_authorized(id) {
            self.reply_now(id, header, Zxid::ZERO, ErrorCode::SessionClosedRequireSaslAuth.code(), &[]);
            return self.close_after_flush(id);
        }
        match op.filter(|op| op.is_for_member()) {
            Some(op) => self.send_to_member(now, id, header.xid, op, body, out),
            None => self.on_read(now, id, header, body, out),
        }
    }

    fn is_authorized(&self, id: ConnId) -> bool {
        let schemes = &self.settings.enforced_schemes;
        !self.settings.enforce_auth
            || self.conn(id).is_some_and(|conn| Shard::has_scheme(&conn.identities, schemes))
    }

    fn send_to_member(
        &mut self,
        now: Now,
        id: ConnId,
        xid: i32,
        op: Op,
        body: &[u8],
        out: &mut Vec<ShardOutput>,
    ) {
        let shard = self.settings.shard;
        let Some(conn) = self.conn_mut(id) else { return };
        conn.push_write(xid, op, body, now);
        let request = ClientRequest {
            origin: Origin { shard, conn: id },
            session: conn.session,
            xid,
            op,
            body: body.into(),
            identities: Arc::clone(&conn.identities),
        };
        self.writes_in_flight += 1;
        out.push(ShardOutput::ToMember(ToMember::Request(request)));
    }

    fn on_read(
        &mut self,
        now: Now,
        id: ConnId,
        header: RequestHeader,
        body: &[u8],
        out: &mut Vec<ShardOutput>,
    ) {
        let Some(conn) = self.conn(id) else { return };
        if conn.pending.is_empty() && conn.listing.is_none() {
            return self.answer_read(id, header, now.mono_ms, body, Held::ByBounds, out);
        }
        let is_long = self.may_be_long(header.op, body);
        let Some(conn) = conn_in(&mut self.conns, id) else { return };
        conn.push_read(header.xid, header.op, body, is_long, now);
    }

    fn answer_read(
        &mut self,
        id: ConnId,
        header: RequestHeader,
        at_ms: u64,
        body: &[u8],
        held: Held,
        out: &mut Vec<ShardOutput>,
    ) {
        let Some(op) = Op::from_i32(header.op).filter(|op| is_served(*op)) else {
            self.reply_now(id, header, Zxid(-1), ErrorCode::Unimplemented.code(), &[]);
            return self.close_after_flush(id);
        };
        let mut events = std::mem::take(&mut self.scratch);
        events.clear();
        let Some(mut conn) = self.conns[id.slot as usize].take() else { return };
        let zxid = self.tree.applied();
        let mut reply = std::mem::take(conn.out.tail());
        let start = reply.len();
        // A ping's xid is always the same, whatever the client sends.
        let xid = if op == Op::Ping { XID_PING } else { header.xid };
        encode_reply(&mut reply, ReplyHeader { xid, zxid, err: 0 }, |_| {});
        let body_start = reply.len();
        let mut context = ReadContext {
            tree: &self.tree,
            watches: &mut self.watches,
            lists: &mut self.lists,
            settings: &self.settings,
            may_list: self.listings.has_room() || held == Held::ByNothing,
        };
        let result = reads::execute(&mut context, &conn, op, body, &mut reply, &mut events);
        let result = match result {
            Ok(Answered::Whole) => Ok(()),
            Err(err) => Err(err),
            Ok(later) => {
                reply.truncate(start);
                *conn.out.tail() = reply;
                self.scratch = events;
                match later {
                    Answered::InSlices(source) => self.begin_listing(&mut conn, header, at_ms, *source),
                    _ => self.await_listing(&mut conn, header, at_ms, body),
                }
                self.conns[id.slot as usize] = Some(conn);
                return;
            }
        };
        if let Err(err) = result {
            if op != Op::MultiRead {
                reply.truncate(body_start);
            }
            if reply.capacity() > super::sends::SPARE_BUFFER_BYTES_MAX {
                reply.shrink_to_fit();
            }
            reply[body_start - 4..body_start].copy_from_slice(&err.code().to_be_bytes());
        }
        let length = (reply.len() - start - 4) as u32;
        reply[start..start + 4].copy_from_slice(&length.to_be_bytes());
        if !events.is_empty() {
            reply.splice(start..start, events.iter().copied());
        }
        *conn.out.tail() = reply;
        self.scratch = events;
        let is_over = self.queue_reply(&mut conn, Some(op), header.xid, zxid, at_ms);
        if self.is_slow(at_ms) {
            self.tell_slow(&conn, header.op, conn::path_bytes(body), at_ms);
        }
        self.conns[id.slot as usize] = Some(conn);
        if is_over {
            self.bound_output(id, out);
        }
        // Who loses a watch without knowing is worse off than who loses a connection.
        if result == Err(ErrorCode::ThrottledOp) && matches!(op, Op::SetWatches | Op::SetWatches2) {
            self.close_after_flush(id);
        }
    }

    /// The member's answer to the oldest request of this connection; then the reads that waited behind it.
    pub(super) fn on_answer(&mut self, now: Now, id: ConnId, answer: &Answer, out: &mut Vec<ShardOutput>) {
        if answer.silent {
            return self.drop_conn(id, out);
        }
        self.answer_waiting_reads(id, Held::ByNothing, out);
        if self.conn(id).is_some_and(|conn| conn.listing.is_some()) {
            self.complete_listing(id, out);
        }
        let zxid = self.tree.applied();
        // Crash story: a client sends closeSession, a read and a write in one piece. The read is never answered, so
        // the answer to the write would meet it at the front. Nothing follows the end of a connection.
        if self.conn(id).is_none_or(|conn| conn.state == ConnState::Closing) {
            return;
        }
        let Some(mut conn) = self.conns[id.slot as usize].take() else { return };
        let pending = conn.pop_pending().expect("every answer belongs to a request of its connection");
        assert!(
            pending.body.is_none() && pending.xid == answer.xid,
            "answers come in the order of the requests"
        );
        self.writes_in_flight -= 1;
        encode_reply(conn.out.tail(), ReplyHeader { xid: answer.xid, zxid, err: answer.err }, |out| {
            out.extend_from_slice(&answer.body);
        });
        let op = Op::from_i32(pending.op);
        let is_over = self.queue_reply(&mut conn, op, pending.xid, zxid, pending.at_ms);
        if self.is_slow(pending.at_ms) {
            self.tell_slow(&conn, pending.op, pending.path_bytes, pending.at_ms);
        }
        if answer.err != 0 {
            // As in `cons` of ZooKeeper: a write that failed has no name.
            conn.stats.last_op = None;
        }
        self.conns[id.slot as usize] = Some(conn);
        if is_over {
            self.bound_output(id, out);
        }
        if answer.close {
            return self.close_after_flush(id);
        }
        self.resume(now, id, out);
    }

    /// Answers the reads that no write of their connection precedes any more. Behind one large answer the next waits
    /// until that is sent; before the state changes by a later write of the connection none waits.
    #[inline]
    pub(super) fn answer_waiting_reads(&mut self, id: ConnId, held: Held, out: &mut Vec<ShardOutput>) {
        if conn_in(&mut self.conns, id).is_some_and(|conn| conn.has_waiting_read()) {
            self.answer_reads(id, held, out);
        }
    }

    fn answer_reads(&mut self, id: ConnId, held: Held, out: &mut Vec<ShardOutput>) {
        while let Some(conn) = conn_in(&mut self.conns, id)
            && conn.has_waiting_read()
            && conn.state == ConnState::Established
        {
            let is_held = conn.is_listing() || conn.out.len() >= conn.bounds.out_bytes_soft_max;
            if held == Held::ByBounds && is_held {
                return;
            }
            if conn.listing.is_some() {
                self.complete_listing(id, out);
                continue;
            }
            self.listings.stop_waiting(conn);
            let Some(pending) = conn.pop_pending() else { break };
            let header = RequestHeader { xid: pending.xid, op: pending.op };
            self.answer_read(id, header, pending.at_ms, &pending.body.unwrap_or_default(), held, out);
        }
    }

    /// After more was queued for it to send: gives a connection up that does not read, and others if too much is held
    /// for all.
    #[cold]
    pub(super) fn bound_output(&mut self, id: ConnId, out: &mut Vec<ShardOutput>) {
        let Some(conn) = self.conn(id) else { return };
        if conn.has_too_many_events() {
            let (peer, session, bytes) = (conn.peer, conn.session, conn.waiting_event_bytes());
            self.complaints.warn(self.now, Kind::Unread, || {
                format!("closing {peer} (session {session}): it does not read, {bytes} bytes of events are queued for it")
            });
            self.drop_conn(id, out);
        }
        if self.sends.held_bytes() > self.settings.output_bytes_max {
            self.shed(out);
        }
    }

    /// A reply in the order of requests is queued: it is counted, and the next flush takes it. True if more is held now
    /// than this shard may hold.
    pub(super) fn queue_reply(
        &mut self,
        conn: &mut Conn,
        op: Option<Op>,
        xid: i32,
        zxid: Zxid,
        at_ms: u64,
    ) -> bool {
        let now_ms = self.now.mono_ms;
        let latency_ms = now_ms - at_ms;
        conn.stats.on_reply(op, xid, zxid.0, now_ms, latency_ms);
        conn.stats.sent += 1;
        self.stats.packets_sent += 1;
        self.stats.on_latency(latency_ms, op.is_some_and(Op::is_for_member));
        self.sends.queue(conn, true);
        self.sends.held_bytes() > self.settings.output_bytes_max
    }

    /// The request that arrived then has waited for longer than the operator wants.
    #[inline]
    pub(super) fn is_slow(&self, at_ms: u64) -> bool {
        let waited_ms = self.now.mono_ms - at_ms;
        waited_ms >= self.settings.slow_request_ms && self.settings.slow_request_ms > 0
    }

    #[cold]
    pub(super) fn tell_slow(&mut self, conn: &Conn, op: i32, path_bytes: u32, at_ms: u64) {
        let (waited_ms, session, peer) = (self.now.mono_ms - at_ms, conn.session, conn.peer);
        let threshold_ms = self.settings.slow_request_ms;
        // Those of many paths begin with something else.
        let has_path =
            !matches!(Op::from_i32(op), Some(Op::Multi | Op::MultiRead | Op::SetWatches | Op::SetWatches2));
        let path_bytes = if has_path { path_bytes } else { 0 };
        self.complaints.warn(self.now, Kind::Slow, || {
            let op = Op::from_i32(op).map_or_else(|| format!("operation {op}"), |op| format!("{op:?}"));
            format!(
                "a request waited {waited_ms} ms for its answer (ringkeeper.slowRequestMs={threshold_ms}): {op} of session \
                 {session} from {peer}, a path of {path_bytes} bytes"
            )
        });
    }

    /// A reply outside the order of requests.
    fn reply_now(&mut self, id: ConnId, header: RequestHeader, zxid: Zxid, err: i32, body: &[u8]) {
        let Some(conn) = self.conn_mut(id) else { return };
        encode_reply(conn.out.tail(), ReplyHeader { xid: header.xid, zxid, err }, |out| {
            out.extend_from_slice(body)
        });
        conn.stats.sent += 1;
        self.stats.packets_sent += 1;
        self.queue_output(id, true);
    }

    fn on_auth(&mut self, id: ConnId, header: RequestHeader, body: &[u8], out: &mut Vec<ShardOutput>) {
        let Ok(Request::Auth { scheme, auth }) = Request::decode(Op::Auth, body) else {
            return self.drop_conn(id, out);
        };
        let scheme = scheme.as_deref().unwrap_or_default();
        let outcome = match auth {
            // Apache's digest provider throws at null, which counts as a refusal.
            None if scheme == "digest" => AuthOutcome::Failed,
            _ => permission::authenticate(&self.settings.common.digest, scheme, auth.unwrap_or_default()),
        };
        let Some(conn) = self.conn_mut(id) else { return };
        match outcome {
            AuthOutcome::Identities(found) => {
                if !conn.add_identities(found) {
                    let (peer, session, bytes) = (conn.peer, conn.session, conn.identity_bytes);
                    let count = conn.identities.len();
                    self.complaints.warn(self.now, Kind::Identities, || {
                        format!(
                            "closing {peer} (session {session}): it has proved more identities than a connection may \
                             have ({count} of {bytes} bytes)"
                        )
                    });
                    self.reply_now(id, header, Zxid::ZERO, ErrorCode::AuthFailed.code(), &[]);
                    return self.close_after_flush(id);
                }
                self.reply_now(id, header, Zxid::ZERO, 0, &[]);
            }
            AuthOutcome::Failed => {
                self.stats.auth_failed += 1;
                self.reply_now(id, header, Zxid::ZERO, ErrorCode::AuthFailed.code(), &[]);
                self.close_after_flush(id);
            }
        }
    }

    /// Without a login context Apache answers OK with a null token; the client then goes on without an identity.
    fn on_sasl(&mut self, id: ConnId, header: RequestHeader, body: &[u8], out: &mut Vec<ShardOutput>) {
        if !matches!(Request::decode(Op::Sasl, body), Ok(Request::Sasl { token: Some(_) })) {
            return self.drop_conn(id, out);
        }
        self.reply_now(id, header, Zxid::ZERO, 0, &(-1i32).to_be_bytes());
    }
}

/// The length-prefixed bytes that begin there, if they are whole.
pub(super) fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

/// What a shard answers, in the order of the connection. `check` is only known inside a multi.
fn is_served(op: Op) -> bool {
    use Op::*;
    matches!(
        op,
        Ping | Exists
            | GetData
            | GetAcl
            | GetChildren
            | GetChildren2
            | CheckWatches
            | RemoveWatches
            | MultiRead
            | SetWatches
            | SetWatches2
            | GetEphemerals
            | GetAllChildrenNumber
            | AddWatch
            | WhoAmI
    )
}

const INBOX_KEEP_BYTES: usize = 4096;
