//! The start of a connection: four-letter words, the connect request and its answer (section 3 and 16 of the
//! protocol).

use super::conn::ConnState;
use super::{Behind, Shard, ShardOutput};
use crate::ids::{ConnId, Now, Origin, SessionId};
use crate::mesh::{Connect, Question, ToMember};
use crate::wire::password::password;
use crate::wire::{ConnectRequest, ConnectResponse, Op};

/// What the first bytes of a connection are.
pub(super) enum First {
    /// More bytes are needed.
    Incomplete,
    /// They were taken care of.
    Done,
    /// They make no sense: close.
    Bad,
}

/// Every four-letter word there is.
pub const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr",
    "stat", "stmk", "wchc", "wchp", "wchs",
];
const TRACE_MASK_DEFAULT: i64 = 306;

impl Shard {
    /// The first four bytes are a word or the length of a connect request.
    pub(super) fn on_four_letters(&mut self, id: ConnId, word: [u8; 4], out: &mut Vec<ShardOutput>) -> First {
        if u32::from_be_bytes(word) == TELNET_CLOSE {
            return First::Bad;
        }
        let Some(word) = WORDS.into_iter().find(|known| known.as_bytes() == word) else {
            return First::Incomplete;
        };
        self.count_received(id, 4);
        let enabled = word == "srvr"
            || self
                .settings
                .four_letter_words
                .as_ref()
                .is_none_or(|words| words.iter().any(|other| other == word));
        if !enabled {
            self.send_text(id, &format!("{word} is not executed because it is not in the whitelist.\n"));
            return First::Done;
        }
        match word {
            "ruok" => self.send_text(id, "imok"),
            "isro" => self.send_text(id, "rw"),
            "gtmk" => self.send_text(id, &self.stats.trace_mask.unwrap_or(TRACE_MASK_DEFAULT).to_string()),
            "envi" => self.send_text(id, &self.settings.environment.clone()),
            "stmk" => {
                if let Some(conn) = self.conn_mut(id) {
                    conn.state = ConnState::TraceMask;
                }
            }
            _ => self.ask(id, question(word), out),
        }
        First::Done
    }

    fn ask(&mut self, id: ConnId, question: Question, out: &mut Vec<ShardOutput>) {
        if let Some(conn) = self.conn_mut(id) {
            conn.state = ConnState::Asked;
            conn.asked_for_text = true;
        }
        let origin = Origin { shard: self.settings.shard, conn: id };
        out.push(ShardOutput::ToMember(ToMember::Ask { origin, question }));
    }

    /// The eight bytes after `stmk`.
    pub(super) fn on_trace_mask(&mut self, id: ConnId, mask: i64) {
        self.stats.trace_mask = Some(mask);
        self.send_text(id, &mask.to_string());
    }

    /// Sends text and closes.
    pub(super) fn send_text(&mut self, id: ConnId, text: &str) {
        self.send_piece(id, text, true);
    }

    /// Sends a piece of a text, and closes behind the last.
    pub(super) fn send_piece(&mut self, id: ConnId, text: &str, is_last: bool) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.state == ConnState::Closing {
            return;
        }
        if !text.is_empty() {
            conn.out.push_text(text.as_bytes());
        }
        self.queue_output(id, true);
        if is_last {
            self.close_after_flush(id);
        }
    }

    /// The connect request: everything a shard can check; the member decides the rest.
    pub(super) fn on_connect_request(
        &mut self,
        now: Now,
        id: ConnId,
        body: &[u8],
        out: &mut Vec<ShardOutput>,
    ) -> First {
        let Ok(request) = ConnectRequest::decode(body) else { return First::Bad };
        let (low, high) = (self.settings.min_session_timeout_ms, self.settings.max_session_timeout_ms);
        let timeout_ms = request.timeout_ms.max(low).min(high);
        let Some(conn) = self.conn_mut(id) else { return First::Done };
        conn.state = ConnState::Asked;
        conn.timeout_ms = timeout_ms;
        conn.sends_read_only = request.read_only.is_some();
        conn.stats.on_reply(Some(Op::CreateSession), 0, -1, now.mono_ms, 0);
        self.stats.connection_requests += 1;
        let password_ok = request.password == Some(&password(request.session)[..]);
        let connect = Connect {
            origin: Origin { shard: self.settings.shard, conn: id },
            session: request.session,
            password_ok,
            timeout_ms,
            last_zxid_seen: request.last_zxid_seen,
        };
        out.push(ShardOutput::ToMember(ToMember::Connect(connect)));
        First::Done
    }

    /// A new session is committed.
    pub(super) fn on_opened(
        &mut self,
        now: Now,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Vec<ShardOutput>,
    ) {
        if let Some(conn) = self.conn(id) {
            tracing::debug!("session {session} opened by {}, timeout {timeout_ms} ms", conn.peer);
        }
        self.establish(now, id, session, timeout_ms, out);
    }

    /// The member has decided about a session that a client wants back.
    pub(super) fn on_resumed(
        &mut self,
        now: Now,
        resumed: (ConnId, SessionId, i32, crate::ids::Zxid),
        valid: bool,
        out: &mut Vec<ShardOutput>,
    ) {
        let (id, session, timeout_ms, seen) = resumed;
        if let Some(conn) = self.conn(id) {
            let (peer, outcome) = (conn.peer, if valid { "goes on" } else { "is refused" });
            tracing::debug!("session {session} {outcome} on a new connection of {peer}");
        }
        if !valid {
            self.send_connect_response(id, SessionId::NONE, 0);
            self.close_after_flush(id);
        } else if seen > self.tree.applied() {
            // Crash story: 1. A client reads zxid 9 through shard 1 and loses its connection. 2. It comes back on
            // shard 2, whose tree is still at 8. 3. Letting it in would take it back in time; so it waits for the
            // batch, which the member has already sent.
            self.behind.push(Behind { conn: id, seen, session, timeout_ms });
        } else {
            self.establish(now, id, session, timeout_ms, out);
        }
    }

    /// After a batch: lets in who waited for it.
    pub(super) fn admit_caught_up(&mut self, now: Now, out: &mut Vec<ShardOutput>) {
        let applied = self.tree.applied();
        while let Some(at) = self.behind.iter().position(|behind| behind.seen <= applied) {
            let Behind { conn, session, timeout_ms, .. } = self.behind.swap_remove(at);
            self.establish(now, conn, session, timeout_ms, out);
        }
    }

    fn establish(
        &mut self,
        now: Now,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Vec<ShardOutput>,
    ) {
        let Some(conn) = self.conn_mut(id) else { return };
        conn.session = session;
        conn.timeout_ms = timeout_ms;
        conn.state = ConnState::Established;
        self.by_session.insert(session, id);
        self.send_connect_response(id, session, timeout_ms);
        self.resume(now, id, out);
    }

    fn send_connect_response(&mut self, id: ConnId, session: SessionId, timeout_ms: i32) {
        let Some(conn) = self.conn_mut(id) else { return };
        let password = if session == SessionId::NONE { [0; 16] } else { password(session) };
        let read_only = conn.sends_read_only.then_some(false);
        let response = ConnectResponse { timeout_ms, session, password, read_only };
        let out = conn.out.tail();
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        response.encode(out);
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        conn.stats.sent += 1;
        self.stats.packets_sent += 1;
        self.queue_output(id, true);
    }
}

fn question(word: &str) -> Question {
    match word {
        "srvr" => Question::Srvr,
        "stat" => Question::Stat,
        "mntr" => Question::Mntr,
        "cons" => Question::Cons,
        "wchs" => Question::Wchs,
        "wchc" => Question::Wchc,
        "wchp" => Question::Wchp,
        "dump" => Question::Dump,
        "dirs" => Question::Dirs,
        "hash" => Question::Hash,
        "conf" => Question::Conf,
        "crst" => Question::Crst,
        "srst" => Question::Srst,
        other => unreachable!("{other} is answered by the shard itself"),
    }
}

/// What a telnet client sends on Ctrl-C.
const TELNET_CLOSE: u32 = 0xfff4_fffd;
