//! Requests as clients send them, decoded without copying. The body of each opcode is the record `zookeeper.jute`
//! names for it; trailing bytes are ignored, as in ZooKeeper.

use super::codes::Op;
use super::jute::{DecodeError, Reader, Writer};
use super::records::{Acl, RawAcl, Stat, decode_raw_acls};
use std::borrow::Cow;

/// A request's body. Paths may be null on the wire; decoding such a body fails with [`DecodeError::Null`].
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
    /// multiRead: getData and getChildren; their watch flags are ignored.
    MultiRead(Vec<Request<'a>>),
    Reconfig {
        joining: Option<Cow<'a, str>>,
        leaving: Option<Cow<'a, str>>,
        new_members: Option<Cow<'a, str>>,
        config_id: i64,
    },
    /// `kind`: 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive.
    CheckWatches {
        path: Cow<'a, str>,
        kind: i32,
    },
    RemoveWatches {
        path: Cow<'a, str>,
        kind: i32,
    },
    DeleteContainer {
        path: Cow<'a, str>,
    },
    Auth {
        scheme: Option<Cow<'a, str>>,
        auth: Option<&'a [u8]>,
    },
    SetWatches(SetWatches<'a>),
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
    /// `mode`: 0 persistent, 1 persistent recursive.
    AddWatch {
        path: Cow<'a, str>,
        mode: i32,
    },
    WhoAmI,
    CloseSession,
}

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
    pub data: Vec<Cow<'a, str>>,
    pub exist: Vec<Cow<'a, str>>,
    pub child: Vec<Cow<'a, str>>,
    pub persistent: Vec<Cow<'a, str>>,
    pub recursive: Vec<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Decodes the body of a request of type `op`.
    pub fn decode(op: Op, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        let reader = &mut Reader::new(body);
        Ok(match op {
            Op::Multi => Request::Multi(decode_multi(reader, false)?),
            Op::MultiRead => Request::MultiRead(decode_multi(reader, true)?),
            Op::SetWatches | Op::SetWatches2 => decode_set_watches(op, reader)?,
            Op::Exists => Request::Exists { path: path(reader)?, watch: reader.boolean()? },
            Op::Sync => Request::Sync { path: reader.ustring()? },
            Op::Ping => Request::Ping,
            Op::GetAcl => Request::GetAcl { path: path(reader)? },
            Op::SetAcl => {
                Request::SetAcl { path: path(reader)?, acl: decode_raw_acls(reader)?, version: reader.int()? }
            }
            Op::GetChildren2 => {
                Request::GetChildren { path: path(reader)?, watch: reader.boolean()?, with_stat: true }
            }
            Op::Reconfig => Request::Reconfig {
                joining: reader.ustring()?,
                leaving: reader.ustring()?,
                new_members: reader.ustring()?,
                config_id: reader.long()?,
            },
            Op::CheckWatches => Request::CheckWatches { path: path(reader)?, kind: reader.int()? },
            Op::RemoveWatches => Request::RemoveWatches { path: path(reader)?, kind: reader.int()? },
            Op::DeleteContainer => Request::DeleteContainer { path: path(reader)? },
            Op::Auth => {
                reader.int()?;
                Request::Auth { scheme: reader.ustring()?, auth: reader.buffer()? }
            }
            Op::Sasl => Request::Sasl { token: reader.buffer()? },
            Op::GetEphemerals => Request::GetEphemerals { prefix: reader.ustring()? },
            Op::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: path(reader)? },
            Op::AddWatch => Request::AddWatch { path: path(reader)?, mode: reader.int()? },
            Op::WhoAmI => Request::WhoAmI,
            Op::CloseSession => Request::CloseSession,
            _ => decode_in_multi(op, reader)?,
        })
    }
}

fn path<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, DecodeError> {
    reader.string("path")
}

/// The requests that may also stand inside a multi.
fn decode_in_multi<'a>(op: Op, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    Ok(match op {
        Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl => Request::Create(CreateRequest {
            op,
            path: path(reader)?,
            data: reader.buffer()?,
            acl: decode_raw_acls(reader)?,
            flags: reader.int()?,
            ttl_ms: if op == Op::CreateTtl { Some(reader.long()?) } else { None },
        }),
        Op::Delete => Request::Delete { path: path(reader)?, version: reader.int()? },
        Op::SetData => {
            Request::SetData { path: path(reader)?, data: reader.buffer()?, version: reader.int()? }
        }
        Op::Check => Request::Check { path: path(reader)?, version: reader.int()? },
        Op::GetData => Request::GetData { path: path(reader)?, watch: reader.boolean()? },
        Op::GetChildren => {
            Request::GetChildren { path: path(reader)?, watch: reader.boolean()?, with_stat: false }
        }
        other => {
            return Err(DecodeError::BadValue {
                at: reader.position(),
                what: "request type",
                value: other as i64,
            });
        }
    })
}

fn decode_multi<'a>(reader: &mut Reader<'a>, reads: bool) -> Result<Vec<Request<'a>>, DecodeError> {
    let mut requests = Vec::new();
    loop {
        let at = reader.position();
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(requests);
        }
        let allowed = |op: &Op| {
            use Op::*;
            if reads {
                matches!(op, GetData | GetChildren)
            } else {
                matches!(op, Create | Create2 | CreateContainer | CreateTtl | Delete | SetData | Check)
            }
        };
        let op = Op::from_i32(header.op).filter(allowed);
        let op =
            op.ok_or(DecodeError::BadValue { at, what: "operation in a multi", value: header.op as i64 })?;
        requests.push(decode_in_multi(op, reader)?);
    }
}

fn decode_set_watches<'a>(op: Op, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let relative_zxid = reader.long()?;
    let list = |reader: &mut Reader<'a>| {
        reader.strings("watched path")?.ok_or(DecodeError::Null { what: "list of watches" })
    };
    let (data, exist, child) = (list(reader)?, list(reader)?, list(reader)?);
    let (persistent, recursive) =
        if op == Op::SetWatches2 { (list(reader)?, list(reader)?) } else { Default::default() };
    Ok(Request::SetWatches(SetWatches { relative_zxid, data, exist, child, persistent, recursive }))
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
