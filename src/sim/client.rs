//! A simulated client: asks for anything, keeps its session as client libraries do, and checks every byte it gets
//! against the model: order, errors, data, Stats, events, sessions.

use super::access::{ADMIN, Proven, READ, allows, on_wire};
use super::actions::Action;
use super::model::{Expected, Item, Kind, Model, NO_AUTH, NO_NODE, Nodes, stat, without_times};
use super::watcher::{Event, Watcher};
use super::wishes::Wishes;
use crate::ids::{SessionId, Zxid};
use crate::prng::Prng;
use crate::wire::codes::Op;
use crate::wire::records::{ConnectRequest, ConnectResponse};
use crate::wire::request::MultiHeader;
use crate::wire::{Acl, Reader, ReplyHeader, Stat};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

pub const SYSTEM_ERROR: i32 = -1;
pub const UNKNOWN_SESSION: i32 = -12;
pub const SESSION_EXPIRED: i32 = -112;
pub const SESSION_MOVED: i32 = -118;
const MARSHALLING_ERROR: i32 = -5;
const AUTH_FAILED: i32 = -115;
const NO_WATCHER: i32 = -121;
const THROTTLED: i32 = -127;

/// What the log made of a write: its transaction and the reply it must get.
pub type Results = BTreeMap<(SessionId, i32), (i64, Expected)>;

/// A write as it was sent, and what its connection had proved before.
#[derive(Clone, Debug)]
pub struct Sent {
    pub action: Action,
    pub users: Rc<Vec<usize>>,
}

/// What the server's bounds allow.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub reply_bytes: usize,
    pub conn_watch_bytes: usize,
    /// Other connections may use up what all watches may take.
    pub is_watch_room_shared: bool,
    /// The longest request that the log is sure to have room for.
    pub sure_bytes: usize,
}

/// A session as its client knows it.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    pub password: [u8; 16],
}

struct Asked {
    xid: i32,
    action: Action,
    /// What the reply must reflect at least.
    floor: i64,
    /// The log may have no room for it.
    is_too_large: bool,
}

/// One client.
pub struct Client {
    pub id: usize,
    pub session: Option<Session>,
    /// Its connection, by the world's number.
    pub conn: Option<usize>,
    established: bool,
    next_xid: i32,
    asked: VecDeque<Asked>,
    pub seen: i64,
    pub watcher: Watcher,
    /// To be set again on the next connection.
    again: Option<Action>,
    inbox: Vec<u8>,
    /// What this connection has asked to prove, and what it knows to have proved.
    asks_to_prove: Proven,
    proven: Proven,
    /// Proofs that are not answered, oldest first: each with whether it is one too many.
    proofs: VecDeque<(Proven, bool)>,
    /// The server has said that it will close the connection.
    ends: bool,
    pub replies: u64,
    pub events: u64,
    /// Takes nothing from its socket before this time.
    pub deaf_until_ms: u64,
    /// Does nothing before this time.
    pub silent_until_ms: u64,
}

/// What the checks of a reply need to know.
pub struct Facts<'a> {
    pub model: &'a Model,
    pub results: &'a Results,
    pub sent: &'a mut BTreeMap<(SessionId, i32), Sent>,
    /// The newest zxid any client has been told of.
    pub acknowledged: i64,
    /// The disk was full or the log late at some time, so writes may have been refused.
    pub may_refuse: bool,
    pub bounds: Bounds,
}

impl Client {
    pub fn new(id: usize) -> Client {
        Client {
            id,
            session: None,
            conn: None,
            established: false,
            next_xid: 1,
            asked: VecDeque::new(),
            seen: 0,
            watcher: Watcher::default(),
            again: None,
            inbox: Vec::new(),
            asks_to_prove: Proven::default(),
            proven: Proven::default(),
            proofs: VecDeque::new(),
            ends: false,
            replies: 0,
            events: 0,
            deaf_until_ms: 0,
            silent_until_ms: 0,
        }
    }

    /// A connect request, as a frame.
    pub fn connect(&mut self, conn: usize, timeout_ms: i32) -> Vec<u8> {
        self.conn = Some(conn);
        let session = self.session.as_ref().map_or(SessionId::NONE, |session| session.id);
        let password = self.session.as_ref().map_or([0; 16], |session| session.password);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(self.seen),
            timeout_ms,
            session,
            password: Some(&password),
            read_only: Some(false),
        };
        let mut body = Vec::new();
        request.encode(&mut body);
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend(body);
        frame
    }

    /// The connection is gone, whoever ended it.
    pub fn disconnect(&mut self) {
        if self.established {
            let lists = self.watcher.lists(self.seen);
            self.again = Some(Action::SetWatches(lists));
        }
        self.events += self.watcher.received;
        self.watcher = Watcher::default();
        self.conn = None;
        self.established = false;
        self.asked.clear();
        self.inbox.clear();
        self.asks_to_prove = Proven::default();
        self.proven = Proven::default();
        self.proofs.clear();
        self.ends = false;
    }

    pub fn is_ready(&self) -> bool {
        self.established && self.conn.is_some()
    }

    pub fn waits_for(&self) -> usize {
        self.asked.len() + self.proofs.len()
    }

    /// The next request, as a frame.
    pub fn ask(&mut self, action: Action, facts: &mut Facts<'_>) -> Vec<u8> {
        let session = self.session.as_ref().expect("only with a session").id;
        if let Action::Auth { user } = &action {
            let is_taken = self.asks_to_prove.add(*user);
            self.proofs.push_back((self.asks_to_prove.clone(), is_taken));
            return action.frame(-4);
        }
        let xid = match action {
            Action::Ping => -2,
            Action::SetWatches(_) => -8,
            _ => {
                self.next_xid += 1;
                self.next_xid - 1
            }
        };
        // The reply must bring everything that anybody has been told of before.
        let floor = facts.acknowledged;
        let frame = action.frame(xid);
        if action.is_write() {
            let users = Rc::clone(&self.asks_to_prove.users);
            facts.sent.insert((session, xid), Sent { action: action.clone(), users });
        }
        let lists = action.auth_entries() * self.asks_to_prove.bytes();
        let is_too_large = frame.len() + lists > facts.bounds.sure_bytes;
        self.asked.push_back(Asked { xid, action, floor, is_too_large });
        frame
    }

    /// What it wants next: to watch again what it watched, or anything.
    pub fn choose(&mut self, prng: &mut Prng, wishes: &Wishes) -> Action {
        match self.again.take() {
            Some(again) => again,
            None => wishes.draw(prng),
        }
    }

    /// Bytes from the server.
    pub fn receive(&mut self, bytes: &[u8], facts: &mut Facts<'_>) -> Result<(), String> {
        self.inbox.extend_from_slice(bytes);
        while let Some(length) = self.inbox.first_chunk::<4>().map(|word| u32::from_be_bytes(*word) as usize)
        {
            if self.inbox.len() < 4 + length {
                break;
            }
            let frame: Vec<u8> = self.inbox.drain(..4 + length).skip(4).collect();
            let result =
                if self.established { self.on_frame(&frame, facts) } else { self.on_connected(&frame) };
            result.map_err(|error| format!("client {}: {error}", self.id))?;
        }
        Ok(())
    }

    fn on_connected(&mut self, frame: &[u8]) -> Result<(), String> {
        let response = ConnectResponse::decode(frame).map_err(|error| error.to_string())?;
        if response.session == SessionId::NONE {
            // Ended: its watches are of no use to a new one.
            self.session = None;
            self.again = None;
            self.seen = 0;
            return Ok(());
        }
        if let Some(session) = &self.session
            && (session.id != response.session || session.password != response.password)
        {
            return Err(format!("asked for {} and got {}", session.id, response.session));
        }
        self.session = Some(Session { id: response.session, password: response.password });
        self.established = true;
        Ok(())
    }

    fn on_frame(&mut self, frame: &[u8], facts: &mut Facts<'_>) -> Result<(), String> {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader).map_err(|error| error.to_string())?;
        if self.ends {
            return Err(format!("{header:?} follows what ends the connection"));
        }
        if header.xid == -1 {
            return self.on_event(header.zxid.0, &mut reader, facts.model);
        }
        if header.xid == -4 {
            return self.on_proof(header.err);
        }
        self.replies += 1;
        let asked = self.asked.pop_front().ok_or_else(|| format!("{header:?} answers nothing"))?;
        let say = |what: String| format!("{:?} (xid {}), {header:?}: {what}", asked.action, asked.xid);
        if header.xid != asked.xid {
            return Err(say("answers come in the order of requests".into()));
        }
        let zxid = header.zxid.0;
        if zxid < self.seen || zxid < asked.floor {
            return Err(say(format!("{:#x} was seen before, {:#x} is due at least", self.seen, asked.floor)));
        }
        self.seen = zxid;
        let Some(state) = facts.model.at(zxid) else {
            return Err(say(format!("only {:#x} is committed", facts.model.zxid)));
        };
        self.watcher.on_reply(facts.model, zxid).map_err(say)?;
        if asked.action.is_write() {
            self.check_write(&asked, header, &mut reader, facts).map_err(say)
        } else {
            let is_throttled = self.is_throttled(&asked.action, state, facts.bounds);
            let session = self.session.as_ref().expect("it has asked").id;
            let seen = Seen { state, session, users: &self.proven.users, bounds: facts.bounds };
            match (is_throttled, header.err) {
                (Throttled::Certainly | Throttled::Perhaps, THROTTLED) => {
                    // A client that cannot watch again must not go on as if it did.
                    self.ends = matches!(asked.action, Action::SetWatches(_));
                    return Ok(());
                }
                (Throttled::Certainly, _) | (_, THROTTLED) => {
                    return Err(say("its watch is throttled, or is not".into()));
                }
                _ => {}
            }
            if matches!(asked.action, Action::RemoveWatches { ref path } if !self.watcher.watches(path)) {
                return if header.err == NO_WATCHER { Ok(()) } else { Err(say("nothing is watched".into())) };
            }
            check_read(&asked.action, header.err, &mut reader, &seen).map_err(say)?;
            // Also one whose list is too long for a reply.
            let is_set = matches!(header.err, 0 | NO_NODE | MARSHALLING_ERROR);
            if is_set {
                self.watcher.set(&asked.action, state, header.err != NO_NODE).map_err(say)
            } else {
                Ok(())
            }
        }
    }

    /// The answer to a proof; what follows on this connection is judged by it.
    fn on_proof(&mut self, err: i32) -> Result<(), String> {
        let (proven, is_taken) = self.proofs.pop_front().ok_or("an auth answer to nothing")?;
        let due = if is_taken { 0 } else { AUTH_FAILED };
        if err != due {
            return Err(format!("a proof is answered with {err}, due is {due}"));
        }
        self.ends = !is_taken;
        if is_taken {
            self.watcher.prove(&proven.users);
            self.proven = proven;
        }
        Ok(())
    }

    /// Whether a watch is one more than its connection may have.
    fn is_throttled(&self, action: &Action, state: &Nodes, bounds: Bounds) -> Throttled {
        let readable =
            |path: &String| state.get(path).map(|item| allows(&item.acl, READ, &self.proven.users));
        let path = match action {
            Action::Get { path, watch: true } | Action::Children { path, watch: true, .. } => {
                (readable(path) == Some(true)).then_some(path)
            }
            Action::Exists { path, watch: true } => (readable(path) != Some(false)).then_some(path),
            Action::AddWatch { path, .. } => Some(path),
            // Those of them that fit may be set before one does not.
            Action::SetWatches(_) => return Throttled::Perhaps,
            _ => None,
        };
        let Some(path) = path else { return Throttled::No };
        if self.watcher.bytes_with(path) > bounds.conn_watch_bytes {
            Throttled::Certainly
        } else if bounds.is_watch_room_shared {
            Throttled::Perhaps
        } else {
            Throttled::No
        }
    }

    fn on_event(&mut self, zxid: i64, reader: &mut Reader<'_>, model: &Model) -> Result<(), String> {
        let read = |reader: &mut Reader<'_>| {
            let (kind, state) = (reader.int()?, reader.int()?);
            Ok::<_, crate::wire::DecodeError>((kind, state, reader.string("path")?.into_owned()))
        };
        let (kind, _, path) = read(reader).map_err(|error| error.to_string())?;
        self.watcher.on_event(model, Event { zxid, kind, path })?;
        self.seen = self.seen.max(zxid);
        Ok(())
    }

    fn check_write(
        &mut self,
        asked: &Asked,
        header: ReplyHeader,
        reader: &mut Reader<'_>,
        facts: &Facts<'_>,
    ) -> Result<(), String> {
        let session = self.session.as_ref().expect("it has asked").id;
        let Some((zxid, expected)) = facts.results.get(&(session, asked.xid)) else {
            let is_refused = (facts.may_refuse || asked.is_too_large) && header.err == SYSTEM_ERROR;
            return if is_refused { Ok(()) } else { Err("no transaction belongs to it".into()) };
        };
        if *zxid != header.zxid.0 {
            return Err(format!("its transaction is {zxid:#x}"));
        }
        if matches!(asked.action, Action::Close) {
            // The connection ends with it, and nothing more is answered.
            self.established = false;
            self.asked.clear();
            self.session = None;
            self.again = None;
            self.seen = 0;
            return Ok(());
        }
        check_result(expected, header.err, reader)
    }
}

/// Holds a write's reply against what it must be.
fn check_result(expected: &Expected, err: i32, reader: &mut Reader<'_>) -> Result<(), String> {
    let wanted = if let Expected::Error(error) = expected { *error } else { 0 };
    if err != wanted {
        return Err(format!("due is {expected:?}"));
    }
    if err != 0 {
        return Ok(());
    }
    let got = match expected {
        Expected::Multi(results) => return check_multi(results, reader),
        expected => read_result(expected, reader)?,
    };
    if got == *expected { Ok(()) } else { Err(format!("got {got:?}, due is {expected:?}")) }
}

fn read_result(like: &Expected, reader: &mut Reader<'_>) -> Result<Expected, String> {
    let mut read = || -> Result<Expected, crate::wire::DecodeError> {
        Ok(match like {
            Expected::Path(_) => Expected::Path(reader.string("path")?.into_owned()),
            Expected::PathStat(..) => {
                Expected::PathStat(reader.string("path")?.into_owned(), without_times(Stat::decode(reader)?))
            }
            Expected::Stat(_) => Expected::Stat(without_times(Stat::decode(reader)?)),
            other => other.clone(),
        })
    };
    read().map_err(|error| error.to_string())
}

fn check_multi(results: &Result<Vec<Expected>, (usize, i32)>, reader: &mut Reader<'_>) -> Result<(), String> {
    for index in 0.. {
        let header = MultiHeader::decode(reader).map_err(|error| error.to_string())?;
        if header.done {
            let count = results.as_ref().map_or(index, Vec::len);
            return if index == count {
                Ok(())
            } else {
                Err(format!("{index} results, due are {results:?}"))
            };
        }
        match results {
            Ok(results) => {
                let expected = results.get(index).ok_or("more results than operations")?;
                let got = read_result(expected, reader)?;
                if got != *expected {
                    return Err(format!("result {index} is {got:?}, due is {expected:?}"));
                }
            }
            Err((failed, error)) => {
                let code = reader.int().map_err(|error| error.to_string())?;
                // Operations before the failed one say "rolled back" as 0, those after it -2.
                let due = match index.cmp(failed) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => *error,
                    std::cmp::Ordering::Greater => -2,
                };
                if header.op != Op::Error as i32 || code != due {
                    return Err(format!("result {index} is {code}, due is {due}"));
                }
            }
        }
    }
    Ok(())
}

/// What a read is judged by.
struct Seen<'a> {
    state: &'a Nodes,
    session: SessionId,
    users: &'a [usize],
    bounds: Bounds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Throttled {
    No,
    Perhaps,
    Certainly,
}

/// Holds a read's reply against the state it claims to reflect.
fn check_read(action: &Action, err: i32, reader: &mut Reader<'_>, seen: &Seen<'_>) -> Result<(), String> {
    match action {
        Action::Get { path, .. }
        | Action::Exists { path, .. }
        | Action::Children { path, .. }
        | Action::GetAcl { path } => {
            let due = error_of(action, path, seen);
            let item = seen.state.get(path);
            if err != due {
                return Err(format!("due is {due}; the node is {item:?}"));
            }
            match item {
                Some(item) if err == 0 => check_node(action, path, item, reader, seen)
                    .map_err(|what| format!("{what}; the node is {item:?}")),
                _ => Ok(()),
            }
        }
        Action::MultiRead(reads) => check_multi_read(reads, err, reader, seen),
        Action::GetEphemerals => {
            let own = |item: &Item| item.kind == Kind::Ephemeral(seen.session);
            let paths = seen.state.iter().filter(|(_, item)| own(item)).map(|(path, _)| path.clone());
            check_names(paths.collect(), err, reader, seen)
        }
        // A sync is refused once the end of its session is decided.
        Action::Sync if matches!(err, SESSION_EXPIRED | UNKNOWN_SESSION) => Ok(()),
        _ if err == 0 => Ok(()),
        _ => Err("it cannot fail".into()),
    }
}

fn error_of(action: &Action, path: &str, seen: &Seen<'_>) -> i32 {
    let Some(item) = seen.state.get(path) else { return NO_NODE };
    let wanted = if matches!(action, Action::GetAcl { .. }) { READ | ADMIN } else { READ };
    if !allows(&item.acl, wanted, seen.users) {
        return NO_AUTH;
    }
    let is_large = matches!(action, Action::Children { .. })
        && list_bytes(&children(seen.state, path)) > seen.bounds.reply_bytes;
    if is_large { MARSHALLING_ERROR } else { 0 }
}

fn check_node(
    action: &Action,
    path: &str,
    item: &Item,
    reader: &mut Reader<'_>,
    seen: &Seen<'_>,
) -> Result<(), String> {
    let mut with_stat = true;
    match action {
        Action::Get { .. } => {
            let data = reader.buffer().map_err(|error| error.to_string())?;
            if data != Some(&item.data) {
                return Err("other data".into());
            }
        }
        Action::Children { with_stat: asked, .. } => {
            with_stat = *asked;
            check_names(children(seen.state, path), 0, reader, seen)?;
        }
        Action::GetAcl { .. } => {
            let due = on_wire(&item.acl, allows(&item.acl, ADMIN, seen.users));
            let got = decode_acls(reader).map_err(|error| error.to_string())?;
            if got != due {
                return Err(format!("{got:?} instead of {due:?}"));
            }
        }
        _ => {}
    }
    if with_stat {
        let got = Stat::decode(reader).map_err(|error| error.to_string())?;
        if without_times(got) != stat(item) {
            return Err(format!("{got:?}"));
        }
    }
    Ok(())
}

/// A list of names, in any order, or the error of one that is too long.
fn check_names(
    mut due: Vec<String>,
    err: i32,
    reader: &mut Reader<'_>,
    seen: &Seen<'_>,
) -> Result<(), String> {
    if list_bytes(&due) > seen.bounds.reply_bytes {
        return if err == MARSHALLING_ERROR { Ok(()) } else { Err("the reply is too long".into()) };
    }
    if err != 0 {
        return Err("it cannot fail".into());
    }
    let names = reader.strings("names").map_err(|error| error.to_string())?;
    let mut names: Vec<String> =
        names.unwrap_or_default().into_iter().map(|name| name.into_owned()).collect();
    names.sort_unstable();
    due.sort_unstable();
    if names == due { Ok(()) } else { Err(format!("{names:?} instead of {due:?}")) }
}

fn check_multi_read(
    reads: &[Action],
    err: i32,
    reader: &mut Reader<'_>,
    seen: &Seen<'_>,
) -> Result<(), String> {
    let mut bytes = 0;
    for read in reads {
        let (Action::Get { path, .. } | Action::Children { path, .. }) = read else {
            unreachable!("{read:?} is not in a multiRead")
        };
        bytes += RESULT_HEADER_BYTES
            + match (error_of(read, path, seen), read, seen.state.get(path)) {
                (0, Action::Get { .. }, Some(item)) => 4 + item.data.len() + STAT_BYTES,
                (0, Action::Children { .. }, _) => list_bytes(&children(seen.state, path)),
                (MARSHALLING_ERROR, ..) => seen.bounds.reply_bytes + 1,
                _ => 4,
            };
    }
    if bytes + RESULT_HEADER_BYTES > seen.bounds.reply_bytes {
        return if err == MARSHALLING_ERROR { Ok(()) } else { Err(format!("{bytes} bytes are too many")) };
    }
    if err != 0 {
        return Err("it cannot fail".into());
    }
    for read in reads {
        let header = MultiHeader::decode(reader).map_err(|error| error.to_string())?;
        let (Action::Get { path, .. } | Action::Children { path, .. }) = read else { continue };
        let due = error_of(read, path, seen);
        if due != 0 {
            let code = reader.int().map_err(|error| error.to_string())?;
            if header.op != Op::Error as i32 || code != due {
                return Err(format!("{read:?} gave {code}, due is {due}"));
            }
            continue;
        }
        if header.op != read.op() as i32 {
            return Err(format!("{read:?} gave {header:?}"));
        }
        check_node(read, path, &seen.state[path], reader, seen)
            .map_err(|what| format!("{read:?}: {what}"))?;
    }
    let end = MultiHeader::decode(reader).map_err(|error| error.to_string())?;
    if end.done { Ok(()) } else { Err("more results than reads".into()) }
}

/// Of each result in a multiRead, and of the end behind them.
const RESULT_HEADER_BYTES: usize = 9;
const STAT_BYTES: usize = 68;

fn decode_acls(reader: &mut Reader<'_>) -> Result<Vec<Acl>, crate::wire::DecodeError> {
    (0..reader.int()?)
        .map(|_| {
            Ok(Acl {
                perms: reader.int()?,
                scheme: reader.string("scheme")?.into_owned(),
                id: reader.string("id")?.into_owned(),
            })
        })
        .collect()
}

fn children(state: &Nodes, path: &str) -> Vec<String> {
    let below = format!("{path}/");
    let is_child = |other: &&String| other.starts_with(&below) && !other[below.len()..].contains('/');
    state.keys().filter(is_child).map(|path| path[below.len()..].to_string()).collect()
}

/// A list of names as it is on the wire.
fn list_bytes(names: &[String]) -> usize {
    4 + names.iter().map(|name| 4 + name.len()).sum::<usize>()
}

/// What `Kind` a stored owner must have, for comparing trees.
pub fn owner_matches(kind: Kind, owner: i64) -> bool {
    match kind {
        Kind::Plain => owner == 0,
        Kind::Ephemeral(session) => owner == session.0,
        Kind::Container => owner == crate::tree::node::CONTAINER_OWNER,
        Kind::Ttl => owner == crate::tree::node::ttl_owner(super::actions::TTL_MS),
    }
}
