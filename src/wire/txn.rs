//! Transactions as ZooKeeper logs and replicates them (`TxnHeader`, the `*Txn` records, `TxnDigest`): the payload of
//! our log frames, byte for byte. Values borrow from the bytes or the request they come from.

use super::codes::Op;
use super::jute::{DecodeError, Reader, Writer};
use super::records::{Acl, decode_acls, encode_acls};
use crate::ids::{SessionId, Zxid};
use std::borrow::Cow;

/// In front of every transaction, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnHeader {
    /// The session that asked; 0 for the server itself.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// Its place in the total order.
    pub zxid: Zxid,
    /// The leader's wall clock, ms since 1970.
    pub time_ms: i64,
    /// The transaction's type, an opcode.
    pub op: Op,
}

/// How a node was created; decides the record and the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum CreateKind {
    Create,
    Create2,
    Container,
    Ttl { ttl_ms: i64 },
}

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Txn<'a> {
    /// CreateTxn, CreateContainerTxn or CreateTTLTxn. `parent_cversion` is the parent's stored cversion after this
    /// create, -1 (old logs) means one more than it has.
    #[allow(missing_docs)]
    Create {
        kind: CreateKind,
        path: Cow<'a, str>,
        data: Option<&'a [u8]>,
        acl: Cow<'a, [Acl]>,
        ephemeral: bool,
        parent_cversion: i32,
    },
    /// DeleteTxn, also of a container (`container`: op 20).
    #[allow(missing_docs)]
    Delete { path: Cow<'a, str>, container: bool },
    /// SetDataTxn, also of a reconfig (`reconfig`: op 16, version -1). `version` is the new one.
    #[allow(missing_docs)]
    SetData { path: Cow<'a, str>, data: Option<&'a [u8]>, version: i32, reconfig: bool },
    /// SetACLTxn; `version` is the new aversion.
    #[allow(missing_docs)]
    SetAcl { path: Cow<'a, str>, acl: Cow<'a, [Acl]>, version: i32 },
    /// CheckVersionTxn, only inside a multi; changes nothing.
    #[allow(missing_docs)]
    Check { path: Cow<'a, str>, version: i32 },
    /// MultiTxn; holds no multi or session transactions.
    Multi(Vec<Txn<'a>>),
    /// CreateSessionTxn.
    #[allow(missing_docs)]
    CreateSession { timeout_ms: i32 },
    /// CloseSessionTxn; None in old logs.
    #[allow(missing_docs)]
    CloseSession { paths: Option<Vec<Cow<'a, str>>> },
    /// ErrorTxn: a write that failed; takes its zxid and changes nothing.
    #[allow(missing_docs)]
    Error { err: i32 },
}

impl<'a> Txn<'a> {
    /// The type that stands in the header.
    pub fn op(&self) -> Op {
        match self {
            Txn::Create { kind: CreateKind::Create, .. } => Op::Create,
            Txn::Create { kind: CreateKind::Create2, .. } => Op::Create2,
            Txn::Create { kind: CreateKind::Container, .. } => Op::CreateContainer,
            Txn::Create { kind: CreateKind::Ttl { .. }, .. } => Op::CreateTtl,
            Txn::Delete { container: false, .. } => Op::Delete,
            Txn::Delete { container: true, .. } => Op::DeleteContainer,
            Txn::SetData { reconfig: false, .. } => Op::SetData,
            Txn::SetData { reconfig: true, .. } => Op::Reconfig,
            Txn::SetAcl { .. } => Op::SetAcl,
            Txn::Check { .. } => Op::Check,
            Txn::Multi(_) => Op::Multi,
            Txn::CreateSession { .. } => Op::CreateSession,
            Txn::CloseSession { .. } => Op::CloseSession,
            Txn::Error { .. } => Op::Error,
        }
    }

    /// Appends the record, without the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match self {
            Txn::Create { kind, path, data, acl, ephemeral, parent_cversion } => {
                writer.string(path);
                writer.buffer(*data);
                encode_acls(out, acl);
                let mut writer = Writer::new(out);
                match kind {
                    CreateKind::Create | CreateKind::Create2 => {
                        writer.boolean(*ephemeral);
                        writer.int(*parent_cversion);
                    }
                    CreateKind::Container => writer.int(*parent_cversion),
                    CreateKind::Ttl { ttl_ms } => {
                        writer.int(*parent_cversion);
                        writer.long(*ttl_ms);
                    }
                }
            }
            Txn::Delete { path, .. } => writer.string(path),
            Txn::SetData { path, data, version, .. } => {
                writer.string(path);
                writer.buffer(*data);
                writer.int(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                writer.string(path);
                encode_acls(out, acl);
                Writer::new(out).int(*version);
            }
            Txn::Check { path, version } => {
                writer.string(path);
                writer.int(*version);
            }
            Txn::Multi(txns) => {
                writer.int(txns.len() as i32);
                for txn in txns {
                    encode_sub_txn(out, txn);
                }
            }
            Txn::CreateSession { timeout_ms } => writer.int(*timeout_ms),
            Txn::CloseSession { paths } => {
                if let Some(paths) = paths {
                    writer.strings(paths);
                }
            }
            Txn::Error { err } => writer.int(*err),
        }
    }

    /// Reads the record of type `op`.
    pub fn decode(op: Op, reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
        Ok(match op {
            Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl => decode_create(op, reader)?,
            Op::Delete | Op::DeleteContainer => {
                Txn::Delete { path: reader.string("path")?, container: op == Op::DeleteContainer }
            }
            Op::SetData | Op::Reconfig => Txn::SetData {
                path: reader.string("path")?,
                data: reader.buffer()?,
                version: reader.int()?,
                reconfig: op == Op::Reconfig,
            },
            Op::SetAcl => Txn::SetAcl {
                path: reader.string("path")?,
                acl: decode_acls(reader)?.into(),
                version: reader.int()?,
            },
            Op::Check => Txn::Check { path: reader.string("path")?, version: reader.int()? },
            Op::Multi => decode_multi(reader)?,
            Op::CreateSession => Txn::CreateSession { timeout_ms: reader.int()? },
            Op::CloseSession => Txn::CloseSession { paths: decode_close_session(reader)? },
            Op::Error => Txn::Error { err: reader.int()? },
            other => return Err(unknown_type(reader, other as i32)),
        })
    }
}

fn decode_create<'a>(op: Op, reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
    let path = reader.string("path")?;
    let data = reader.buffer()?;
    let acl = decode_acls(reader)?.into();
    let (kind, ephemeral, parent_cversion) = match op {
        Op::CreateContainer => (CreateKind::Container, false, reader.int()?),
        Op::CreateTtl => {
            let parent_cversion = reader.int()?;
            (CreateKind::Ttl { ttl_ms: reader.long()? }, false, parent_cversion)
        }
        _ => {
            let ephemeral = reader.boolean()?;
            // CreateTxnV0 of old logs ends here.
            let parent_cversion = if reader.remaining() < 4 { -1 } else { reader.int()? };
            let kind = if op == Op::Create2 { CreateKind::Create2 } else { CreateKind::Create };
            (kind, ephemeral, parent_cversion)
        }
    };
    Ok(Txn::Create { kind, path, data, acl, ephemeral, parent_cversion })
}

fn decode_multi<'a>(reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
    let count = reader.count()?.unwrap_or(0);
    let mut txns = Vec::with_capacity(count.min(reader.remaining() / 8));
    for _ in 0..count {
        let at = reader.position();
        let number = reader.int()?;
        let allowed = |op: &Op| {
            use Op::*;
            matches!(
                op,
                Create
                    | Create2
                    | CreateTtl
                    | CreateContainer
                    | Delete
                    | DeleteContainer
                    | SetData
                    | SetAcl
                    | Check
                    | Error
            )
        };
        let op = Op::from_i32(number).filter(allowed);
        let op = op.ok_or(DecodeError::BadValue { at, what: "transaction type", value: number as i64 })?;
        let record = reader.buffer()?.ok_or(DecodeError::Null { what: "transaction in a multi" })?;
        txns.push(Txn::decode(op, &mut Reader::new(record))?);
    }
    Ok(Txn::Multi(txns))
}

/// The list of paths is only there if it parses exactly up to the end or to a digest of 12 bytes; otherwise what
/// follows is a digest alone (a server with `closeSessionTxn.enabled=false` wrote it).
fn decode_close_session<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
    let mut attempt = reader.clone();
    // Without paths a digest follows, whose version reads as a count and whose value may read as that many strings.
    let are_paths =
        |paths: &Option<Vec<Cow<'_, str>>>| paths.iter().flatten().all(|path| path.starts_with('/'));
    match attempt.strings("path") {
        Ok(paths) if matches!(attempt.remaining(), 0 | 12) && are_paths(&paths) => {
            *reader = attempt;
            Ok(Some(paths.unwrap_or_default()))
        }
        _ => Ok(None),
    }
}

fn encode_sub_txn(out: &mut Vec<u8>, txn: &Txn<'_>) {
    Writer::new(out).int(txn.op() as i32);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    txn.encode(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn unknown_type(reader: &Reader<'_>, number: i32) -> DecodeError {
    DecodeError::BadValue { at: reader.position(), what: "transaction type", value: number as i64 }
}

/// The tree's digest after a transaction (`TxnDigest`), 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnDigest {
    /// 2.
    pub version: i32,
    /// Of the whole tree.
    pub tree: i64,
}

impl TxnHeader {
    /// Reads the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<TxnHeader, DecodeError> {
        let session = SessionId(reader.long()?);
        let cxid = reader.int()?;
        let zxid = Zxid(reader.long()?);
        let time_ms = reader.long()?;
        let number = reader.int()?;
        let op = Op::from_i32(number).ok_or_else(|| unknown_type(reader, number))?;
        Ok(TxnHeader { session, cxid, zxid, time_ms, op })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.long(self.session.0);
        writer.int(self.cxid);
        writer.long(self.zxid.0);
        writer.long(self.time_ms);
        writer.int(self.op as i32);
    }
}

/// Appends a whole log entry: header, record, digest if there is one.
pub fn encode_entry(out: &mut Vec<u8>, header: &TxnHeader, txn: &Txn<'_>, digest: Option<TxnDigest>) {
    assert_eq!(header.op, txn.op(), "the header names the transaction's type");
    header.encode(out);
    txn.encode(out);
    if let Some(digest) = digest {
        let mut writer = Writer::new(out);
        writer.int(digest.version);
        writer.long(digest.tree);
    }
}

/// Reads a whole log entry. Trailing bytes that are no digest are ignored, as in ZooKeeper.
pub fn decode_entry(entry: &[u8]) -> Result<(TxnHeader, Txn<'_>, Option<TxnDigest>), DecodeError> {
    let mut reader = Reader::new(entry);
    let header = TxnHeader::decode(&mut reader)?;
    let txn = Txn::decode(header.op, &mut reader)?;
    let digest = if reader.remaining() >= 12 {
        Some(TxnDigest { version: reader.int()?, tree: reader.long()? })
    } else {
        None
    };
    Ok((header, txn, digest))
}
