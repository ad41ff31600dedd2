//! Sessions come and go: connect requests, and the sessions the server itself ends.

use super::commit::Change;
use super::prepare::Stamp;
use super::room::Verdict;
use super::{Member, MemberOutput, RunState};
use crate::ids::{Now, SessionId};
use crate::mesh::{Connect, SessionChange, ToShard};
use crate::wire::Txn;

impl Member {
    /// Takes a connect request; gives it back if it has to wait for room in the log.
    pub(super) fn on_connect(
        &mut self,
        now: Now,
        connect: Connect,
        out: &mut Vec<MemberOutput>,
    ) -> Option<Connect> {
        // A client that has seen more than this server must not be taken back in time: it tries the next server.
        if self.phase != RunState::Running || connect.last_zxid_seen > self.leader.committed() {
            refuse(&connect, out);
            return None;
        }
        if connect.session != SessionId::NONE {
            self.resume(now, &connect, out);
            return None;
        }
        match self.room_to_open(64) {
            Verdict::Wait => return Some(connect),
            Verdict::No => {
                self.on_refused(out);
                refuse(&connect, out);
            }
            Verdict::Yes => self.open(now, &connect),
        }
        None
    }

    /// A new session: known here from now on, to the client when its transaction is committed.
    fn open(&mut self, now: Now, connect: &Connect) {
        let Connect { origin, timeout_ms, .. } = *connect;
        let session = self.sessions.new_id();
        self.sessions.track_new(session, timeout_ms, origin, now.mono_ms);
        let stamp = self.own_stamp(now, session);
        let opened = SessionChange::Opened { session, timeout_ms, origin: Some(origin) };
        let change = Change { session: Some(opened), ..Change::default() };
        self.append(stamp, &Txn::CreateSession { timeout_ms }, change);
    }

    /// A session turns up on a new connection. The old one is closed before the new one is told, so that on one shard
    /// the client never has two.
    fn resume(&mut self, now: Now, connect: &Connect, out: &mut Vec<MemberOutput>) {
        let Connect { origin, session, timeout_ms, password_ok, last_zxid_seen: seen } = *connect;
        let resumed =
            if password_ok { self.sessions.resume(session, timeout_ms, origin, now.mono_ms) } else { None };
        // A wrong password, too, costs the live connection, as in ZooKeeper: its client just connects again.
        let old = if password_ok { resumed.flatten() } else { self.sessions.owner(session) };
        if let Some(old) = old {
            Member::send(old, ToShard::Close { conn: old.conn, session }, out);
        }
        let valid = resumed.is_some();
        Member::send(origin, ToShard::Resumed { conn: origin.conn, session, timeout_ms, valid, seen }, out);
    }

    /// Proposes the end of the sessions that expired or that nobody knows, as far as the log has room. Their
    /// ephemerals go with the same transaction.
    pub(super) fn end_sessions(&mut self, now: Now) {
        while let Some(session) = self.ending.front().copied() {
            if self.room_to_end(session) != Verdict::Yes {
                return;
            }
            self.ending.pop_front();
            let stamp = self.own_stamp(now, session);
            self.end_session(stamp, None);
        }
    }

    /// A closeSession may use the reserve.
    pub(super) fn room_to_end(&self, session: SessionId) -> Verdict {
        self.room_for_ending(CLOSE_BYTES + self.listed_bytes(session).unwrap_or(0))
    }

    /// Bytes that the session's ephemerals take in its closeSession. None if they are not listed: by the settings, or
    /// because no segment could take them. Then they are found by their owner, as in old logs.
    pub(super) fn listed_bytes(&self, session: SessionId) -> Option<usize> {
        let paths = self.store.tree().ephemerals(session).map(|node| node.path_bytes().len() + 4);
        let bytes = paths.sum::<usize>();
        let fits = self.room.could_take(CLOSE_BYTES + bytes);
        (self.settings.close_session_paths && fits).then_some(bytes)
    }

    /// The stamp of a transaction nobody sent a request for.
    pub(super) fn own_stamp(&mut self, now: Now, session: SessionId) -> Stamp {
        Stamp { session, cxid: 0, zxid: self.leader.propose(), time_ms: now.wall_ms }
    }
}

/// A closeSession's entry without paths, and some.
const CLOSE_BYTES: usize = 64;

fn refuse(connect: &Connect, out: &mut Vec<MemberOutput>) {
    let close = ToShard::Close { conn: connect.origin.conn, session: connect.session };
    Member::send(connect.origin, close, out);
}
