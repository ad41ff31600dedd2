//! The sessions this member decides about (`SessionTrackerImpl`): ids, owners, expiry. Lives in the member. Knows
//! connections only as [`Origin`]s, and never expires a session early: shards report who was heard from within a
//! quarter of a tick, so every deadline has that much slack on top.
//!
//! A session's place in the buckets is lazy: a touch only moves its deadline; when the bucket it stands in is due, a
//! session with a later deadline moves on to the bucket of that.

use crate::ids::{Origin, ServerId, SessionId};
use crate::wire::ErrorCode;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// All sessions, those whose transactions are still under way included.
pub struct Sessions {
    table: HashMap<SessionId, Session, FixedState>,
    /// Deadline to sessions filed under it. Invariant: a live session is in the bucket `Session::filed_ms`.
    buckets: BTreeMap<u64, Vec<SessionId>>,
    next_id: SessionId,
    tick_ms: u64,
}

/// One session.
struct Session {
    timeout_ms: i32,
    /// When it expires unless it is touched.
    deadline_ms: u64,
    /// The bucket it stands in.
    filed_ms: u64,
    /// The connection it is used through; None until one turns up.
    owner: Option<Origin>,
    /// Its closeSession is proposed or due.
    closing: bool,
    /// Its closeSession is proposed. Invariant: only of those that are closing.
    has_ended: bool,
    /// Its client has been told of it, or will be at once. Before, its time does not run.
    announced: bool,
}

impl Sessions {
    /// No session yet. Ids start at `((wall_ms << 24) >>> 8) | (server << 56)`, so those of an earlier run of this
    /// server, which gave out fewer than 65536 a millisecond, are not given out again.
    pub fn new(server: ServerId, tick_ms: u64, wall_ms: i64) -> Sessions {
        assert!(tick_ms > 0, "tickTime is positive");
        let start = (((wall_ms as u64) << 24) >> 8) as i64 | (server.0 << 56);
        Sessions {
            table: HashMap::with_hasher(FixedState::default()),
            buckets: BTreeMap::new(),
            next_id: SessionId(start),
            tick_ms,
        }
    }

    /// An id that no session has. A clock that went back could lead into ids in use: those are skipped.
    pub fn new_id(&mut self) -> SessionId {
        loop {
            let id = self.next_id;
            self.next_id = SessionId(id.0.wrapping_add(1));
            if id.0 != i64::MIN && id != SessionId::NONE && !self.table.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds a session with a full timeout: new, or known from before a restart. Ids go on above it.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, owner: Option<Origin>, now_ms: u64) {
        let deadline_ms = self.deadline(timeout_ms, now_ms);
        let session = Session {
            timeout_ms,
            deadline_ms,
            filed_ms: deadline_ms,
            owner,
            closing: false,
            has_ended: false,
            announced: true,
        };
        self.table.insert(id, session);
        self.buckets.entry(deadline_ms).or_default().push(id);
        if id.0 >> 56 == self.next_id.0 >> 56 && id.0 >= self.next_id.0 {
            self.next_id = SessionId(id.0.wrapping_add(1));
        }
    }

    /// Adds a session whose transaction is still to be committed. Crash story: the disk stalls for longer than a
    /// timeout; every session that was opened meanwhile would be over before its client hears of it.
    pub fn track_new(&mut self, id: SessionId, timeout_ms: i32, owner: Origin, now_ms: u64) {
        self.track(id, timeout_ms, Some(owner), now_ms);
        if let Some(session) = self.table.get_mut(&id) {
            session.announced = false;
        }
    }

    /// Its transaction is committed: its time runs from now on.
    pub fn announce(&mut self, id: SessionId, now_ms: u64) {
        self.touch(id, now_ms);
        if let Some(session) = self.table.get_mut(&id) {
            session.announced = true;
        }
    }

    /// Heard from. False if there is no such session or it is closing.
    pub fn touch(&mut self, id: SessionId, now_ms: u64) -> bool {
        let tick_ms = self.tick_ms;
        match self.table.get_mut(&id) {
            Some(session) if !session.closing => {
                session.deadline_ms = deadline(tick_ms, session.timeout_ms, now_ms);
                true
            }
            _ => false,
        }
    }

    /// A new connection takes the session over, with a timeout of its own. Returns the connection that had it, or
    /// None if there is no such session or it is closing.
    pub fn resume(
        &mut self,
        id: SessionId,
        timeout_ms: i32,
        origin: Origin,
        now_ms: u64,
    ) -> Option<Option<Origin>> {
        let deadline_ms = self.deadline(timeout_ms, now_ms);
        let session = self.table.get_mut(&id).filter(|session| !session.closing)?;
        session.timeout_ms = timeout_ms;
        session.deadline_ms = deadline_ms;
        if deadline_ms < session.filed_ms {
            // The entry in the later bucket stays behind and is ignored when that is due.
            session.filed_ms = deadline_ms;
            self.buckets.entry(deadline_ms).or_default().push(id);
        }
        Some(session.owner.replace(origin).filter(|old| *old != origin))
    }

    /// May this connection write for the session? The first connection that asks becomes its owner
    /// (`SessionTrackerImpl.checkSession`).
    pub fn check(&mut self, id: SessionId, origin: Origin) -> Result<(), ErrorCode> {
        let session = self.table.get_mut(&id).ok_or(ErrorCode::UnknownSession)?;
        if session.closing {
            return Err(ErrorCode::SessionExpired);
        }
        if *session.owner.get_or_insert(origin) == origin { Ok(()) } else { Err(ErrorCode::SessionMoved) }
    }

    /// The connection it is used through.
    pub fn owner(&self, id: SessionId) -> Option<Origin> {
        self.table.get(&id)?.owner
    }

    /// Its connection is gone; the session lives on.
    pub fn disown(&mut self, id: SessionId, origin: Origin) {
        if let Some(session) = self.table.get_mut(&id)
            && session.owner == Some(origin)
        {
            session.owner = None;
        }
    }

    /// Its end is proposed: nothing may use or touch it any more.
    pub fn set_closing(&mut self, id: SessionId) {
        if let Some(session) = self.table.get_mut(&id) {
            session.closing = true;
            session.has_ended = true;
        }
    }

    /// Its end is committed.
    pub fn remove(&mut self, id: SessionId) {
        self.table.remove(&id);
    }

    /// Takes the sessions whose time is over into `expired` and marks them closing.
    pub fn expire(&mut self, now_ms: u64, expired: &mut impl Extend<SessionId>) {
        while let Some(bucket) = self.buckets.first_entry()
            && *bucket.key() <= now_ms
        {
            let (due_ms, filed) = bucket.remove_entry();
            for id in filed {
                let Some(session) = self.table.get_mut(&id).filter(|session| session.filed_ms == due_ms)
                else {
                    continue;
                };
                if session.closing {
                    continue;
                }
                if !session.announced {
                    session.deadline_ms = deadline(self.tick_ms, session.timeout_ms, now_ms);
                }
                if session.deadline_ms > due_ms {
                    session.filed_ms = session.deadline_ms;
                    self.buckets.entry(session.deadline_ms).or_default().push(id);
                } else {
                    session.closing = true;
                    expired.extend([id]);
                }
            }
        }
    }

    /// When [`Sessions::expire`] has something to do.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.buckets.first_key_value().map(|(due_ms, _)| *due_ms)
    }

    /// True if the session is known, closing or not.
    pub fn contains(&self, id: SessionId) -> bool {
        self.table.contains_key(&id)
    }

    /// Sessions, closing ones included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Ids and timeouts of all sessions whose end is not proposed, sorted: what a snapshot holds. Crash story: the end of a
    /// session is due and waits for room in the log; a snapshot without the session is all that a later start reads.
    pub fn open(&self) -> Vec<(SessionId, i32)> {
        let open = self.table.iter().filter(|(_, session)| !session.has_ended);
        let mut open: Vec<_> = open.map(|(id, session)| (*id, session.timeout_ms)).collect();
        open.sort_unstable();
        open
    }

    /// Deadline to sessions, both sorted, for `dump`.
    pub fn by_deadline(&self) -> BTreeMap<u64, Vec<SessionId>> {
        let mut buckets: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (id, session) in &self.table {
            buckets.entry(session.deadline_ms).or_default().push(*id);
        }
        buckets.values_mut().for_each(|ids| ids.sort_unstable());
        buckets
    }

    /// Every live session stands in the bucket in which it is looked at next, in time for its end.
    pub fn check_all(&self) {
        for (id, session) in &self.table {
            assert!(*id != SessionId::NONE && session.timeout_ms >= 0);
            assert!(session.closing || !session.has_ended);
            if session.closing {
                continue;
            }
            let bucket = self.buckets.get(&session.filed_ms);
            assert!(bucket.is_some_and(|filed| filed.contains(id)), "session {id} is filed");
            assert!(session.filed_ms <= session.deadline_ms, "session {id} is looked at in time");
            assert!(session.filed_ms.is_multiple_of(self.tick_ms), "buckets are ticks");
        }
        assert!(self.buckets.values().all(|filed| !filed.is_empty()));
    }

    fn deadline(&self, timeout_ms: i32, now_ms: u64) -> u64 {
        deadline(self.tick_ms, timeout_ms, now_ms)
    }
}

/// The end of the tick in which the timeout runs out (`ExpiryQueue.roundToNextInterval`), the shards' slack included.
fn deadline(tick_ms: u64, timeout_ms: i32, now_ms: u64) -> u64 {
    let slack_ms = tick_ms / 4;
    ((now_ms + timeout_ms.max(0) as u64 + slack_ms) / tick_ms + 1) * tick_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnId, ShardId};

    fn origin(slot: u32) -> Origin {
        Origin { shard: ShardId(0), conn: ConnId { slot, generation: 1 } }
    }

    fn expired(sessions: &mut Sessions, now_ms: u64) -> Vec<SessionId> {
        let mut expired = Vec::new();
        sessions.expire(now_ms, &mut expired);
        expired
    }

    #[test]
    fn ids_carry_server_and_time_and_are_never_in_use() {
        let mut sessions = Sessions::new(ServerId(1), 2000, 0x19a_1234_5678);
        let first = sessions.new_id();
        assert_eq!(first.0, 0x019a_1234_5678_0000);
        sessions.track(SessionId(first.0 + 1), 4000, None, 0);
        sessions.track(SessionId(first.0 + 5), 4000, None, 0);
        assert_eq!(sessions.new_id(), SessionId(first.0 + 6), "ids go on above what was recovered");
    }

    #[test]
    fn a_session_lives_for_its_timeout_and_up_to_a_tick_and_the_slack_more() {
        let mut sessions = Sessions::new(ServerId(1), 2000, 0);
        let id = sessions.new_id();
        sessions.track(id, 4000, None, 1000);
        assert_eq!(sessions.next_timeout_ms(), Some(6000));
        assert!(sessions.touch(id, 3000));
        assert_eq!(expired(&mut sessions, 6000), vec![], "the touch moved the deadline");
        assert_eq!(sessions.next_timeout_ms(), Some(8000));
        assert_eq!(expired(&mut sessions, 7999), vec![]);
        assert_eq!(expired(&mut sessions, 8000), vec![id]);
        assert!(!sessions.touch(id, 8000), "a closing session cannot be touched");
        assert_eq!(sessions.check(id, origin(1)), Err(ErrorCode::SessionExpired));
        assert_eq!(sessions.open(), [(id, 4000)], "until its end is proposed a snapshot has it");
        sessions.set_closing(id);
        assert!(sessions.open().is_empty());
        sessions.remove(id);
        assert_eq!(sessions.check(id, origin(1)), Err(ErrorCode::UnknownSession));
    }

    #[test]
    fn a_shorter_timeout_counts_from_the_reconnect() {
        let mut sessions = Sessions::new(ServerId(1), 1000, 0);
        let id = sessions.new_id();
        sessions.track(id, 60_000, Some(origin(1)), 0);
        assert_eq!(sessions.resume(id, 2000, origin(2), 0), Some(Some(origin(1))));
        assert_eq!(expired(&mut sessions, 3000), vec![id]);
        sessions.remove(id);
        assert_eq!(expired(&mut sessions, 100_000), vec![], "the entry left behind means nothing");
    }

    #[test]
    fn one_connection_owns_a_session() {
        let mut sessions = Sessions::new(ServerId(1), 1000, 0);
        let id = sessions.new_id();
        sessions.track(id, 4000, None, 0);
        assert_eq!(sessions.check(id, origin(1)), Ok(()));
        assert_eq!(sessions.check(id, origin(2)), Err(ErrorCode::SessionMoved));
        sessions.disown(id, origin(2));
        assert_eq!(sessions.resume(id, 4000, origin(1), 0), Some(None));
        assert_eq!(sessions.resume(id, 4000, origin(2), 0), Some(Some(origin(1))));
        assert_eq!(sessions.check(id, origin(1)), Err(ErrorCode::SessionMoved));
    }
}
