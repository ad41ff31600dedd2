//! Requests as clients send them, decoded without copying. The body of each opcode is the record `zookeeper.jute`
//! names for it; trailing bytes are ignored, as in ZooKeeper.

use super::codes::{Op, flags};
use super::jute::{DecodeError, Reader, Writer};
use super::records::{Acl, RawAcl, Stat, decode_raw_acls};
use std::borrow::Cow;

/// A request's body. Paths may be null on the wire; decoding such a body fails with [`DecodeError::NullPath`] if nothing
/// else is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Request<'a> {
    /// create, create2, createContainer, createTTL (`op` tells which; `ttl_ms` only for createTTL).
    Create(CreateRequest<'a>),
    Delete {
        path: Cow<'a, str>,
        version: i32,
    },
    Exists {
        path: Cow<'a, str>,
        watch: bool,
    },
    GetData {
        path: Cow<'a, str>,
        watch: bool,
    },
    SetData {
        path: Cow<'a, str>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    GetAcl {
        path: Cow<'a, str>,
    },
    SetAcl {
        path: Cow<'a, str>,
        acl: Option<Cow<'a, [RawAcl<'a>]>>,
        version: i32,
    },
    /// getChildren and getChildren2 (`with_stat`).
    GetChildren {
        path: Cow<'a, str>,
        watch: bool,
        with_stat: bool,
    },
    /// The path is echoed, null included.
    Sync {
        path: Option<Cow<'a, str>>,
    },
    Ping,
    /// Only inside a multi.
    Check {
        path: Cow<'a, str>,
        version: i32,
    },
    /// multi: create*, delete, setData, check.
    Multi(Vec<Request<'a>>),
    /// multiRead: getData and getChildren; their watch flags are ignored. `is_cut`: behind them stands something that
    /// can be decoded but not answered.
    MultiRead {
        reads: Vec<Request<'a>>,
        is_cut: bool,
    },
    Reconfig {
        joining: Option<Cow<'a, str>>,
        leaving: Option<Cow<'a, str>>,
        new_members: Option<Cow<'a, str>>,
        config_id: i64,
    },
    /// `kind`: 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive.
    CheckWatches {
        path: Option<Cow<'a, str>>,
        kind: i32,
    },
    RemoveWatches {
        path: Option<Cow<'a, str>>,
        kind: i32,
    },
    DeleteContainer {
        path: Cow<'a, str>,
    },
    Auth {
        scheme: Option<Cow<'a, str>>,
        auth: Option<&'a [u8]>,
    },
    /// Apart, because a request is moved about and this one is large.
    SetWatches(Box<SetWatches<'a>>),
    Sasl {
        token: Option<&'a [u8]>,
    },
    /// None is jute's null and means all.
    GetEphemerals {
        prefix: Option<Cow<'a, str>>,
    },
    GetAllChildrenNumber {
        path: Cow<'a, str>,
    },
    /// `mode`: 0 persistent, 1 persistent recursive. On a null path nothing is watched.
    AddWatch {
        path: Option<Cow<'a, str>>,
        mode: i32,
    },
    WhoAmI,
    CloseSession,
}

// It is moved from the decoder to who carries it out.
const _: () = assert!(size_of::<Request<'_>>() <= 112);

/// The four kinds of create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateRequest<'a> {
    /// Create, Create2, CreateContainer or CreateTtl.
    pub op: Op,
    /// Of the new node; a sequence number may be appended.
    pub path: Cow<'a, str>,
    /// None is null, which is not empty.
    pub data: Option<&'a [u8]>,
    /// None is null.
    pub acl: Option<Cow<'a, [RawAcl<'a>]>>,
    /// `CreateMode`, not yet checked.
    pub flags: i32,
    /// Only with `Op::CreateTtl`.
    pub ttl_ms: Option<i64>,
}

/// setWatches and setWatches2 (the last two lists are empty in the former).
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct SetWatches<'a> {
    pub relative_zxid: i64,
    pub data: WatchedPaths<'a>,
    pub exist: WatchedPaths<'a>,
    pub child: WatchedPaths<'a>,
    pub persistent: WatchedPaths<'a>,
    pub recursive: WatchedPaths<'a>,
}

/// One list of setWatches as far as it can be followed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WatchedPaths<'a> {
    /// The paths up to a null, where that ends the list.
    pub paths: Vec<Cow<'a, str>>,
    /// The list itself is null, or a path in it that ends it.
    pub has_null: bool,
}

impl<'a> Request<'a> {
    /// Decodes the body of a request of type `op`.
    pub fn decode(op: Op, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        let reader = &mut Reader::new(body);
        let has_null = &mut false;
        let request = match op {
            Op::Multi => Request::Multi(decode_multi(reader, has_null)?),
            Op::MultiRead => return decode_multi_read(reader),
            Op::SetWatches | Op::SetWatches2 => decode_set_watches(op, reader)?,
            Op::Exists => Request::Exists { path: path(reader, has_null)?, watch: reader.boolean()? },
            Op::Sync => Request::Sync { path: reader.ustring()? },
            Op::Ping => Request::Ping,
            Op::GetAcl => Request::GetAcl { path: path(reader, has_null)? },
            Op::SetAcl => Request::SetAcl {
                path: path(reader, has_null)?,
                acl: decode_raw_acls(reader)?,
                version: reader.int()?,
            },
            Op::GetChildren2 => Request::GetChildren {
                path: path(reader, has_null)?,
                watch: reader.boolean()?,
                with_stat: true,
            },
            Op::Reconfig => Request::Reconfig {
                joining: reader.ustring()?,
                leaving: reader.ustring()?,
                new_members: reader.ustring()?,
                config_id: reader.long()?,
            },
            Op::CheckWatches => Request::CheckWatches { path: reader.ustring()?, kind: reader.int()? },
            Op::RemoveWatches => Request::RemoveWatches { path: reader.ustring()?, kind: reader.int()? },
            Op::DeleteContainer => Request::DeleteContainer { path: path(reader, has_null)? },
            Op::Auth => {
                reader.int()?;
                Request::Auth { scheme: reader.ustring()?, auth: reader.buffer()? }
            }
            Op::Sasl => Request::Sasl { token: reader.buffer()? },
            Op::GetEphemerals => Request::GetEphemerals { prefix: reader.ustring()? },
            Op::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: path(reader, has_null)? },
            Op::AddWatch => Request::AddWatch { path: reader.ustring()?, mode: reader.int()? },
            Op::WhoAmI => Request::WhoAmI,
            Op::CloseSession => Request::CloseSession,
            _ => decode_in_multi(op, reader, has_null)?,
        };
        if *has_null { Err(DecodeError::NullPath) } else { Ok(request) }
    }
}

/// A path; a null one counts only if the rest can be decoded.
fn path<'a>(reader: &mut Reader<'a>, has_null: &mut bool) -> Result<Cow<'a, str>, DecodeError> {
    let path = reader.ustring()?;
    *has_null |= path.is_none();
    Ok(path.unwrap_or_default())
}

/// The requests that may also stand inside a multi.
fn decode_in_multi<'a>(
    op: Op,
    reader: &mut Reader<'a>,
    has_null: &mut bool,
) -> Result<Request<'a>, DecodeError> {
    Ok(match op {
        Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl => Request::Create(CreateRequest {
            op,
            path: path(reader, has_null)?,
            data: reader.buffer()?,
            acl: decode_raw_acls(reader)?,
            flags: reader.int()?,
            ttl_ms: if op == Op::CreateTtl { Some(reader.long()?) } else { None },
        }),
        Op::Delete => Request::Delete { path: path(reader, has_null)?, version: reader.int()? },
        Op::SetData => {
            Request::SetData { path: path(reader, has_null)?, data: reader.buffer()?, version: reader.int()? }
        }
        Op::Check => Request::Check { path: path(reader, has_null)?, version: reader.int()? },
        Op::GetData => Request::GetData { path: path(reader, has_null)?, watch: reader.boolean()? },
        Op::GetChildren => {
            Request::GetChildren { path: path(reader, has_null)?, watch: reader.boolean()?, with_stat: false }
        }
        other => return Err(not_in_a_multi(reader.position(), other as i32)),
    })
}

fn not_in_a_multi(at: usize, op: i32) -> DecodeError {
    DecodeError::BadValue { at, what: "operation in a multi", value: op.into() }
}

/// The next operation of a multi or multiRead; None at the end. `before`: one that stands before it.
fn decode_operation<'a>(
    reader: &mut Reader<'a>,
    before: Option<&Request<'a>>,
    has_null: &mut bool,
) -> Result<Option<Request<'a>>, DecodeError> {
    let at = reader.position();
    let header = MultiHeader::decode(reader)?;
    if header.done {
        return Ok(None);
    }
    let op = Op::from_i32(header.op).ok_or_else(|| not_in_a_multi(at, header.op))?;
    let request = decode_in_multi(op, reader, has_null)?;
    if before.is_some_and(|before| is_read(before) != is_read(&request)) {
        return Err(not_in_a_multi(at, header.op));
    }
    // A createTTL says by its flags what it creates; they are looked at when it is its turn.
    if let Request::Create(create) = &request
        && op != Op::CreateTtl
    {
        let bad_flags = DecodeError::BadValue { at, what: "flags of a create", value: create.flags.into() };
        if !flags::are_known(create.flags) {
            return Err(bad_flags);
        }
        if create.acl.is_none() {
            return Err(DecodeError::Null { what: "list of ACLs" });
        }
        if flags::have_ttl(create.flags) {
            return Err(bad_flags);
        }
    }
    Ok(Some(request))
}

fn is_read(request: &Request<'_>) -> bool {
    matches!(request, Request::GetData { .. } | Request::GetChildren { .. })
}

fn decode_multi<'a>(reader: &mut Reader<'a>, has_null: &mut bool) -> Result<Vec<Request<'a>>, DecodeError> {
    let at = reader.position();
    let mut requests = Vec::new();
    while let Some(request) = decode_operation(reader, requests.last(), has_null)? {
        requests.push(request);
    }
    match requests.first() {
        Some(Request::GetData { .. }) => Err(not_in_a_multi(at, Op::GetData as i32)),
        Some(Request::GetChildren { .. }) => Err(not_in_a_multi(at, Op::GetChildren as i32)),
        _ => Ok(requests),
    }
}

fn decode_multi_read<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let (mut reads, mut is_cut) = (Vec::new(), false);
    let mut last = None;
    loop {
        let has_null = &mut false;
        let Some(request) = decode_operation(reader, reads.last().or(last.as_ref()), has_null)? else {
            return Ok(Request::MultiRead { reads, is_cut });
        };
        is_cut |= *has_null || !is_read(&request);
        if is_cut {
            last = Some(request);
        } else {
            reads.push(request);
        }
    }
}

fn decode_set_watches<'a>(op: Op, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let relative_zxid = reader.long()?;
    let mut looked_at = || watched_paths(reader, true);
    let (data, exist, child) = (looked_at()?, looked_at()?, looked_at()?);
    let mut only_watched = || watched_paths(reader, false);
    let (persistent, recursive) =
        if op == Op::SetWatches2 { (only_watched()?, only_watched()?) } else { Default::default() };
    let lists = SetWatches { relative_zxid, data, exist, child, persistent, recursive };
    Ok(Request::SetWatches(Box::new(lists)))
}

/// A list of paths. Where the nodes are looked at a null path is the end; where they are only watched it is nothing.
fn watched_paths<'a>(reader: &mut Reader<'a>, null_is_end: bool) -> Result<WatchedPaths<'a>, DecodeError> {
    let count = reader.count()?;
    let (mut paths, mut has_null) = (Vec::new(), count.is_none());
    for _ in 0..count.unwrap_or(0) {
        match reader.ustring()? {
            Some(path) if !has_null => paths.push(path),
            Some(_) => {}
            None => has_null |= null_is_end,
        }
    }
    Ok(WatchedPaths { paths, has_null })
}

/// In front of every operation and result of a multi, 9 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MultiHeader {
    /// An opcode, -1 at the end and for a failed operation.
    pub op: i32,
    /// True at the end.
    pub done: bool,
    /// -1 in requests, the operation's code in results.
    pub err: i32,
}

impl MultiHeader {
    /// Ends a multi.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

    /// Reads the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<MultiHeader, DecodeError> {
        Ok(MultiHeader { op: reader.int()?, done: reader.boolean()?, err: reader.int()? })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.int(self.op);
        writer.boolean(self.done);
        writer.int(self.err);
    }
}

/// One result of a multi or multiRead.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MultiResult {
    Create {
        path: String,
    },
    /// create2, createContainer, createTTL.
    Create2 {
        path: String,
        stat: Stat,
    },
    Delete,
    Check,
    SetData {
        stat: Stat,
    },
    GetData {
        data: Option<Vec<u8>>,
        stat: Stat,
    },
    GetChildren {
        children: Vec<String>,
    },
    Error {
        code: i32,
    },
}

impl MultiResult {
    /// Appends header and body of one result.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (op, err) = match self {
            MultiResult::Create { .. } => (Op::Create as i32, 0),
            MultiResult::Create2 { .. } => (Op::Create2 as i32, 0),
            MultiResult::Delete => (Op::Delete as i32, 0),
            MultiResult::Check => (Op::Check as i32, 0),
            MultiResult::SetData { .. } => (Op::SetData as i32, 0),
            MultiResult::GetData { .. } => (Op::GetData as i32, 0),
            MultiResult::GetChildren { .. } => (Op::GetChildren as i32, 0),
            MultiResult::Error { code } => (Op::Error as i32, *code),
        };
        MultiHeader { op, done: false, err }.encode(out);
        match self {
            MultiResult::Create { path } => Writer::new(out).string(path),
            MultiResult::Create2 { path, stat } => {
                Writer::new(out).string(path);
                stat.encode(out);
            }
            MultiResult::Delete | MultiResult::Check => {}
            MultiResult::SetData { stat } => stat.encode(out),
            MultiResult::GetData { data, stat } => {
                Writer::new(out).buffer(data.as_deref());
                stat.encode(out);
            }
            MultiResult::GetChildren { children } => Writer::new(out).strings(children),
            MultiResult::Error { code } => Writer::new(out).int(*code),
        }
    }

    /// Appends a whole MultiResponse.
    pub fn encode_all(results: &[MultiResult], out: &mut Vec<u8>) {
        for result in results {
            result.encode(out);
        }
        MultiHeader::END.encode(out);
    }
}

/// Encodes the body of a create of any kind, for clients.
pub fn encode_create(
    out: &mut Vec<u8>,
    path: &str,
    data: Option<&[u8]>,
    acl: &[Acl],
    flags: i32,
    ttl_ms: Option<i64>,
) {
    let mut writer = Writer::new(out);
    writer.string(path);
    writer.buffer(data);
    super::records::encode_acls(out, acl);
    let mut writer = Writer::new(out);
    writer.int(flags);
    if let Some(ttl_ms) = ttl_ms {
        writer.long(ttl_ms);
    }
}
