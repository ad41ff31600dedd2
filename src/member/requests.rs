//! Writes and syncs of clients: from the request's bytes to an entry of the log, or to an answer without one.

use super::commit::Change;
use super::prepare::{Preparer, Stamp};
use super::room::Verdict;
use super::{Member, MemberOutput, RunState};
use crate::ids::{Now, Origin};
use crate::mesh::{Answer, ClientRequest, ReplyBody, SessionChange};
use crate::tree::{Effects, Undo};
use crate::wire::{DecodeError, ErrorCode, Identity, Op, Request, Txn, Writer};
use std::borrow::Cow;

impl Member {
    /// Takes a request; gives it back if it has to wait for room in the log.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        request: ClientRequest,
        out: &mut Vec<MemberOutput>,
    ) -> Option<ClientRequest> {
        if self.phase != RunState::Running {
            return None;
        }
        self.sessions.touch(request.session, now.mono_ms);
        if request.op == Op::Sync {
            self.on_sync(&request);
            return None;
        }
        let is_close = request.op == Op::CloseSession;
        let verdict = if is_close {
            self.room_to_end(request.session)
        } else {
            self.room_for(entry_bytes_max(&request))
        };
        match verdict {
            Verdict::Wait => return Some(request),
            Verdict::No => self.refuse(&request, out),
            Verdict::Yes if is_close => self.on_close_session(now, &request),
            Verdict::Yes => self.on_write(now, &request),
        }
        None
    }

    /// sync needs no transaction: it is answered when everything proposed before it has reached the shard's tree. The
    /// path is echoed, null included.
    fn on_sync(&mut self, request: &ClientRequest) {
        let checked = self.sessions.check(request.session, request.origin);
        let result = checked.and_then(|()| match Request::decode(Op::Sync, &request.body) {
            Ok(Request::Sync { path }) => {
                let mut body = Vec::new();
                Writer::new(&mut body).ustring(path.as_deref());
                Ok(ReplyBody::from(body))
            }
            _ => Err(ErrorCode::MarshallingError),
        });
        self.answer_in_order(request.origin, answer(request, result));
    }

    fn on_write(&mut self, now: Now, request: &ClientRequest) {
        let decoded = match Request::decode(request.op, &request.body) {
            Ok(decoded) => Ok(decoded),
            Err(error) if takes_zxid(request.op, &error) => Err(code_of(request.op, &error)),
            Err(_) => {
                let answer = answer(request, Err(ErrorCode::MarshallingError));
                return self.answer_in_order(request.origin, answer);
            }
        };
        let stamp = self.stamp(now, request);
        let mut effects = Effects::new();
        // Only a multi takes back what it has done; any other operation changes nothing before it is sure to succeed.
        let mut no_undo = Undo::none();
        let undo = if request.op == Op::Multi { &mut self.undo } else { &mut no_undo };
        let mut preparer = Preparer {
            store: &mut self.store,
            sessions: &mut self.sessions,
            settings: &self.settings,
            session: request.session,
            origin: request.origin,
            identities: &request.identities,
            stamp,
            effects: &mut effects,
            undo,
        };
        let prepared = decoded.and_then(|decoded| match decoded {
            Request::Multi(requests) => preparer.multi(requests),
            single => preparer.perform(single).map(|(txn, outcome)| {
                let body = outcome.body(&txn);
                (txn, body)
            }),
        });
        self.undo.clear();
        self.store.settle_usage(&mut effects, &mut no_undo);
        let (txn, result) = match prepared {
            Ok((txn, body)) => (txn, Ok(body)),
            // Its zxid is taken and other members must see it used: a failure is a transaction like any other.
            Err(error) => (Txn::Error { err: error.code() }, Err(error)),
        };
        let answer = Some((request.origin, answer(request, result)));
        self.append(stamp, &txn, Change { effects, answer, session: None });
    }

    fn on_close_session(&mut self, now: Now, request: &ClientRequest) {
        let stamp = self.stamp(now, request);
        // The owner is not asked for, as in ZooKeeper: whoever ends the session, it ends.
        let known = match self.sessions.check(request.session, request.origin) {
            Err(ErrorCode::SessionMoved) => Ok(()),
            checked => checked,
        };
        if let Err(error) = known {
            let mut answer = answer(request, Err(error));
            answer.close = true;
            let change = Change { answer: Some((request.origin, answer)), ..Change::default() };
            return self.append(stamp, &Txn::Error { err: error.code() }, change);
        }
        let mut answer = answer(request, Ok(ReplyBody::new()));
        answer.close = true;
        self.end_session(stamp, Some((request.origin, answer)));
    }

    /// No room in the log: said without a transaction, so nothing is lost and reads go on.
    fn refuse(&mut self, request: &ClientRequest, out: &mut Vec<MemberOutput>) {
        self.on_refused(out);
        self.answer_in_order(request.origin, answer(request, Err(ErrorCode::SystemError)));
    }

    pub(super) fn end_session(&mut self, stamp: Stamp, answer: Option<(Origin, Answer)>) {
        let session = stamp.session;
        let by = if answer.is_some() { "closed by its client" } else { "closed: its time is over" };
        tracing::debug!("session {session} {by}");
        self.sessions.set_closing(session);
        let paths = self.listed_bytes(session).map(|_| {
            let nodes = self.store.tree().ephemerals(session);
            let mut paths: Vec<Cow<'static, str>> = nodes.map(|node| node.path().to_owned().into()).collect();
            paths.sort_unstable();
            paths
        });
        let txn = Txn::CloseSession { paths };
        let mut effects = Effects::new();
        let header = stamp.header(Op::CloseSession);
        let applied = self.store.apply(&header, &txn, &mut effects, &mut Undo::none());
        assert_eq!(applied, Ok(()), "a session can always end");
        let session = Some(SessionChange::Closed { session });
        self.append(stamp, &txn, Change { effects, answer, session });
    }

    fn stamp(&mut self, now: Now, request: &ClientRequest) -> Stamp {
        Stamp {
            session: request.session,
            cxid: request.xid,
            zxid: self.leader.propose(),
            time_ms: now.wall_ms,
        }
    }
}

/// Whether a request that cannot be decoded is a transaction all the same, as in ZooKeeper: what is wrong in a multi, but
/// for a null list of ACLs, and null paths, but for a container's.
fn takes_zxid(op: Op, error: &DecodeError) -> bool {
    match (op, error) {
        (Op::Multi, DecodeError::Null { .. }) | (Op::DeleteContainer, _) => false,
        (Op::Multi, _) | (_, DecodeError::NullPath) => true,
        _ => false,
    }
}

fn code_of(op: Op, error: &DecodeError) -> ErrorCode {
    match (op, error) {
        (Op::SetData | Op::SetAcl, DecodeError::NullPath) => ErrorCode::BadArguments,
        _ => ErrorCode::MarshallingError,
    }
}

/// The answer to a request. A session that moved gets none: its old connection is closed.
fn answer(request: &ClientRequest, result: Result<ReplyBody, ErrorCode>) -> Answer {
    let moved = result == Err(ErrorCode::SessionMoved);
    let (err, body) = match result {
        Ok(body) => (0, body),
        Err(error) => (error.code(), ReplyBody::new()),
    };
    Answer { xid: request.xid, op: request.op, err, body, close: moved, silent: moved }
}

/// An upper bound of the log entry a request can lead to. Text that is not UTF-8 grows threefold when its bytes become
/// U+FFFD, everything else less; an ACL entry "auth" becomes one entry per identity, whose text may grow by half.
/// Crash story: were this too low, a request could meet a log without room and stop the member.
fn entry_bytes_max(request: &ClientRequest) -> usize {
    let body = request.body.len();
    let proven: usize =
        request.identities.iter().filter(|identity| identity.scheme != "ip").map(identity_bytes).sum();
    let expands = proven > 0
        && matches!(
            request.op,
            Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl | Op::SetAcl | Op::Multi
        );
    let lists = if expands { request.body.windows(4).filter(|window| window == b"auth").count() } else { 0 };
    3 * body + lists * 2 * proven + 256
}

fn identity_bytes(identity: &Identity) -> usize {
    12 + identity.scheme.len() + identity.id.len()
}
