//! A simulated client: asks for anything, keeps its session as client libraries do, and checks every byte it gets
//! against the model: order, errors, data, Stats, events, sessions.

use super::actions::{Action, CONTAINER, TTL};
use super::model::{Expected, Kind, Model, NO_NODE, Nodes, stat, without_times};
use super::watcher::{Event, Watcher};
use crate::ids::{SessionId, Zxid};
use crate::prng::Prng;
use crate::wire::codes::Op;
use crate::wire::records::{ConnectRequest, ConnectResponse};
use crate::wire::request::MultiHeader;
use crate::wire::{Reader, ReplyHeader, Stat};
use std::collections::{BTreeMap, VecDeque};

pub const SYSTEM_ERROR: i32 = -1;
pub const UNKNOWN_SESSION: i32 = -12;
pub const SESSION_EXPIRED: i32 = -112;
pub const SESSION_MOVED: i32 = -118;

/// What the log made of a write: its transaction and the reply it must get.
pub type Results = BTreeMap<(SessionId, i32), (i64, Expected)>;

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
    pub replies: u64,
    pub events: u64,
    /// Does nothing before this time.
    pub silent_until_ms: u64,
}

/// What the checks of a reply need to know.
pub struct Facts<'a> {
    pub model: &'a Model,
    pub results: &'a Results,
    pub sent: &'a mut BTreeMap<(SessionId, i32), Action>,
    /// The newest zxid any client has been told of.
    pub acknowledged: i64,
    /// The disk was full or the log late at some time, so writes may have been refused.
    pub may_refuse: bool,
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
            replies: 0,
            events: 0,
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
    }

    pub fn is_ready(&self) -> bool {
        self.established && self.conn.is_some()
    }

    pub fn waits_for(&self) -> usize {
        self.asked.len()
    }

    /// The next request, as a frame.
    pub fn ask(&mut self, action: Action, facts: &mut Facts<'_>) -> Vec<u8> {
        let session = self.session.as_ref().expect("only with a session").id;
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
            facts.sent.insert((session, xid), action.clone());
        }
        self.asked.push_back(Asked { xid, action, floor });
        frame
    }

    /// What it wants next.
    pub fn choose(&mut self, prng: &mut Prng) -> Action {
        if let Some(again) = self.again.take() {
            return again;
        }
        let watch = prng.chance(30);
        let path = random_path(prng);
        match prng.below(100) {
            0..20 => Action::Get { path, watch },
            20..28 => Action::Exists { path, watch },
            28..36 => Action::Children { path, watch, with_stat: prng.chance(50) },
            36..39 => Action::AddWatch { path, recursive: prng.chance(50) },
            39..43 => Action::Sync,
            43..48 => Action::Ping,
            48..56 => Action::Multi((0..1 + prng.below(4)).map(|_| random_write(prng, true)).collect()),
            56 if prng.chance(30) => Action::Close,
            _ => random_write(prng, false),
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
        if header.xid == -1 {
            return self.on_event(header.zxid.0, &mut reader, facts.model);
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
            check_read(&asked.action, header.err, &mut reader, state).map_err(say)?;
            self.watcher.set(&asked.action, state, header.err == 0).map_err(say)
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
            let is_refused = facts.may_refuse && header.err == SYSTEM_ERROR;
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

/// Holds a read's reply against the state it claims to reflect.
fn check_read(action: &Action, err: i32, reader: &mut Reader<'_>, state: &Nodes) -> Result<(), String> {
    let (Action::Get { path, .. } | Action::Exists { path, .. } | Action::Children { path, .. }) = action
    else {
        // A sync is refused once the end of its session is decided.
        let is_ending = matches!(action, Action::Sync) && matches!(err, SESSION_EXPIRED | UNKNOWN_SESSION);
        return if err == 0 || is_ending { Ok(()) } else { Err("it cannot fail".into()) };
    };
    let Some(item) = state.get(path) else {
        return if err == NO_NODE { Ok(()) } else { Err("the node does not exist".into()) };
    };
    if err != 0 {
        return Err(format!("the node exists: {item:?}"));
    }
    let wrong = |what: &str| Err(format!("{what}; the node is {item:?}"));
    let mut with_stat = true;
    match action {
        Action::Get { .. } => {
            let data = reader.buffer().map_err(|error| error.to_string())?;
            if data != Some(&item.data) {
                return wrong("other data");
            }
        }
        Action::Children { with_stat: asked, .. } => {
            with_stat = *asked;
            let names = reader.strings("children").map_err(|error| error.to_string())?;
            let mut names: Vec<String> =
                names.unwrap_or_default().into_iter().map(|name| name.into_owned()).collect();
            names.sort_unstable();
            let below = format!("{path}/");
            let is_child = |other: &&String| other.starts_with(&below) && !other[below.len()..].contains('/');
            let due: Vec<String> =
                state.keys().filter(is_child).map(|path| path[below.len()..].to_string()).collect();
            if names != due {
                return wrong(&format!("children {names:?} instead of {due:?}"));
            }
        }
        _ => {}
    }
    if with_stat {
        let got = Stat::decode(reader).map_err(|error| error.to_string())?;
        if without_times(got) != stat(item) {
            return wrong(&format!("{got:?}"));
        }
    }
    Ok(())
}

/// Everything happens below one node, so that clients meet.
pub const BASE: &str = "/s";

fn random_path(prng: &mut Prng) -> String {
    let name = |prng: &mut Prng| (b'a' + prng.below(4) as u8) as char;
    match prng.below(10) {
        0 => BASE.to_string(),
        1..6 => format!("{BASE}/{}", name(prng)),
        _ => format!("{BASE}/{}/{}", name(prng), name(prng)),
    }
}

fn random_write(prng: &mut Prng, in_multi: bool) -> Action {
    let path = random_path(prng);
    let version = if prng.chance(70) { -1 } else { prng.below(4) as i32 };
    let bytes_max = if prng.chance(3) { 9000 } else { 60 };
    let data = vec![b'v'; prng.below(bytes_max) as usize];
    match prng.below(10) {
        0..4 => {
            let flags = [0, 0, 0, 1, 1, 2, 3, CONTAINER, TTL][prng.below(9) as usize];
            Action::Create { path, data, flags, with_stat: prng.chance(30) }
        }
        4..6 => Action::Delete { path, version },
        6 if in_multi => Action::Check { path, version },
        _ => Action::Set { path, data, version },
    }
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
