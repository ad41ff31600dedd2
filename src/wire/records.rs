//! The records of the client protocol that are not requests: connect, headers, Stat, ACL, events.

use super::codes::EventType;
use super::jute::{DecodeError, Reader, Writer};
use crate::ids::{SessionId, Zxid};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A client's first frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRequest<'a> {
    /// Always 0; not checked.
    pub protocol_version: i32,
    /// The highest zxid the client saw.
    pub last_zxid_seen: Zxid,
    /// Asked for, in ms.
    pub timeout_ms: i32,
    /// `SessionId::NONE` asks for a new session.
    pub session: SessionId,
    /// 16 bytes; anything for a new session.
    pub password: Option<&'a [u8]>,
    /// None if the client is so old that it does not send the byte; the response then lacks it, too.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Decodes the body of the first frame.
    pub fn decode(body: &'a [u8]) -> Result<ConnectRequest<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(ConnectRequest {
            protocol_version: reader.int()?,
            last_zxid_seen: Zxid(reader.long()?),
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: reader.buffer()?,
            read_only: if reader.remaining() == 0 { None } else { Some(reader.boolean()?) },
        })
    }

    /// Appends the record (without the frame's length).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.int(self.protocol_version);
        writer.long(self.last_zxid_seen.0);
        writer.int(self.timeout_ms);
        writer.long(self.session.0);
        writer.buffer(self.password);
        if let Some(read_only) = self.read_only {
            writer.boolean(read_only);
        }
    }
}

/// The server's first frame. A refused session is all zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectResponse {
    /// Negotiated, in ms; 0 refuses.
    pub timeout_ms: i32,
    /// The session.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; 16],
    /// Present iff the request had it.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// Decodes the record.
    pub fn decode(body: &[u8]) -> Result<ConnectResponse, DecodeError> {
        let mut reader = Reader::new(body);
        reader.int()?;
        Ok(ConnectResponse {
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: {
                let at = reader.position();
                let password = reader.buffer()?.unwrap_or_default();
                password
                    .try_into()
                    .map_err(|_| DecodeError::BadLength { at, length: password.len() as i64 })?
            },
            read_only: if reader.remaining() == 0 { None } else { Some(reader.boolean()?) },
        })
    }

    /// Appends the record (without the frame's length).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.int(0);
        writer.int(self.timeout_ms);
        writer.long(self.session.0);
        writer.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            writer.boolean(read_only);
        }
    }
}

/// In front of every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// Echoed in the reply.
    pub xid: i32,
    /// The opcode, not yet checked.
    pub op: i32,
}

impl RequestHeader {
    /// Reads the header; the request's body is what the reader has left.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: reader.int()?, op: reader.int()? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.int(self.xid);
        writer.int(self.op);
    }
}

/// In front of every reply, 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// Of the request, or one of the special ones.
    pub xid: i32,
    /// The newest zxid this server has applied.
    pub zxid: Zxid,
    /// 0 or an error code.
    pub err: i32,
}

impl ReplyHeader {
    /// Reads the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: reader.int()?, zxid: Zxid(reader.long()?), err: reader.int()? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    #[inline]
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.xid.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.zxid.0.to_be_bytes());
        bytes[12..].copy_from_slice(&self.err.to_be_bytes());
        bytes
    }
}

/// Appends a whole frame: length, reply header, body.
pub fn encode_reply(out: &mut Vec<u8>, header: ReplyHeader, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let mut front = [0; 20];
    front[4..].copy_from_slice(&header.bytes());
    out.extend_from_slice(&front);
    body(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a whole notification frame (`WatcherEvent`, state SyncConnected).
pub fn encode_event(out: &mut Vec<u8>, zxid: Zxid, event: EventType, path: &str) {
    let header = ReplyHeader { xid: super::codes::XID_NOTIFICATION, zxid, err: 0 };
    encode_reply(out, header, |out| {
        let mut writer = Writer::new(out);
        writer.int(event as i32);
        writer.int(3);
        writer.string(path);
    });
}

/// A znode's Stat as clients see it, 68 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stat {
    /// zxid of the create.
    pub czxid: i64,
    /// zxid of the last setData.
    pub mzxid: i64,
    /// Time of the create, ms since 1970.
    pub ctime: i64,
    /// Time of the last setData, ms since 1970.
    pub mtime: i64,
    /// Counts setData.
    pub version: i32,
    /// Client view: 2 × creates below it − children it has.
    pub cversion: i32,
    /// Counts setACL.
    pub aversion: i32,
    /// The session of an ephemeral node, else 0 (also for containers and TTL nodes).
    pub ephemeral_owner: i64,
    /// 0 for null data.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// zxid of the last change of the child list.
    pub pzxid: i64,
}

impl Stat {
    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            data_length: reader.int()?,
            num_children: reader.int()?,
            pzxid: reader.long()?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    /// The record.
    pub fn bytes(&self) -> [u8; STAT_BYTES] {
        let mut bytes = [0; STAT_BYTES];
        bytes[..8].copy_from_slice(&self.czxid.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.mzxid.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.ctime.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.mtime.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.version.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.cversion.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.aversion.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.ephemeral_owner.to_be_bytes());
        bytes[52..56].copy_from_slice(&self.data_length.to_be_bytes());
        bytes[56..60].copy_from_slice(&self.num_children.to_be_bytes());
        bytes[60..].copy_from_slice(&self.pzxid.to_be_bytes());
        bytes
    }
}

/// Length of a Stat record.
pub const STAT_BYTES: usize = 68;

/// One entry of an access control list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Acl {
    /// Permission bits; not validated, as in ZooKeeper.
    pub perms: i32,
    /// world, digest, ip, ...
    pub scheme: String,
    /// What the scheme makes of it.
    pub id: String,
}

impl Acl {
    /// The list that lets anyone do anything.
    pub fn open() -> Vec<Acl> {
        vec![Acl { perms: super::codes::perms::ALL, scheme: "world".into(), id: "anyone".into() }]
    }

    /// True for that list.
    pub fn is_open(acls: &[Acl]) -> bool {
        matches!(acls, [only] if only.perms == super::codes::perms::ALL && only.scheme == "world" && only.id == "anyone")
    }

    /// The same list, there for good.
    pub fn open_list() -> &'static [Acl] {
        static OPEN: LazyLock<Vec<Acl>> = LazyLock::new(Acl::open);
        &OPEN
    }
}

/// An ACL entry as it came in: scheme and id may be null, which the member refuses with InvalidACL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawAcl<'a> {
    /// Permission bits.
    pub perms: i32,
    /// None is jute's null.
    pub scheme: Option<Cow<'a, str>>,
    /// None is jute's null.
    pub id: Option<Cow<'a, str>>,
}

/// Reads a vector of ACLs; None is jute's null.
pub fn decode_raw_acls<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, [RawAcl<'a>]>>, DecodeError> {
    if reader.rest().starts_with(OPEN_LIST) {
        reader.take(OPEN_LIST.len())?;
        return Ok(Some(Cow::Borrowed(&RAW_OPEN_LIST)));
    }
    let Some(count) = reader.count()? else { return Ok(None) };
    let mut acls = Vec::with_capacity(count.min(reader.remaining() / 12));
    for _ in 0..count {
        acls.push(RawAcl { perms: reader.int()?, scheme: reader.ustring()?, id: reader.ustring()? });
    }
    Ok(Some(Cow::Owned(acls)))
}

/// The list that nearly every create carries, and its record.
static RAW_OPEN_LIST: [RawAcl<'static>; 1] = [RawAcl {
    perms: super::codes::perms::ALL,
    scheme: Some(Cow::Borrowed("world")),
    id: Some(Cow::Borrowed("anyone")),
}];
const OPEN_LIST: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

/// Reads a vector of ACLs as stored in transactions and snapshots; null reads as empty.
pub fn decode_acls(reader: &mut Reader<'_>) -> Result<Vec<Acl>, DecodeError> {
    let raw = decode_raw_acls(reader)?.unwrap_or_default();
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
    Ok(raw
        .into_owned()
        .into_iter()
        .map(|acl| Acl { perms: acl.perms, scheme: owned(acl.scheme), id: owned(acl.id) })
        .collect())
}

/// Appends a vector of ACLs.
pub fn encode_acls(out: &mut Vec<u8>, acls: &[Acl]) {
    if Acl::is_open(acls) {
        return out.extend_from_slice(OPEN_LIST);
    }
    Writer::new(out).int(acls.len() as i32);
    for acl in acls {
        let mut writer = Writer::new(out);
        writer.int(acl.perms);
        writer.string(&acl.scheme);
        writer.string(&acl.id);
    }
}

/// One identity of a connection: what an auth packet or its address proved (jute `Id`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// ip, digest, super, ...
    pub scheme: String,
    /// The address, `user:hash`, ...
    pub id: String,
}
