//! The quorum port: what a learner and its leader say to each other (`QuorumPacket`, constants of `Leader`). Packets
//! follow each other without lengths; only the bytes of a snapshot stand between them, behind SNAP.
//!
//! [`cut`] takes one packet off a stream; [`ToLeader`] and [`ToLearner`] say what it means, since that depends on the
//! direction. Proposals stay bytes (`wire/txn.rs` reads them): what a leader received, it passes on.

use super::jute::{DecodeError, Reader, Writer};
use super::records::Identity;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::limits::{IDENTITIES_BYTES_MAX, IDENTITIES_MAX};

/// What a packet is for (`Leader.REQUEST` and so on).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum PacketKind {
    Request = 1,
    Proposal = 2,
    Ack = 3,
    Commit = 4,
    Ping = 5,
    Revalidate = 6,
    Sync = 7,
    Inform = 8,
    CommitAndActivate = 9,
    NewLeader = 10,
    FollowerInfo = 11,
    UpToDate = 12,
    Diff = 13,
    Trunc = 14,
    Snap = 15,
    ObserverInfo = 16,
    LeaderInfo = 17,
    AckEpoch = 18,
    InformAndActivate = 19,
}

/// The record that everything on a quorum port is (`QuorumPacket`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// A [`PacketKind`], or a number that ZooKeeper warns of and skips.
    pub kind: i32,
    /// What it is depends on the kind; -1 where there is none.
    pub zxid: Zxid,
    /// None is jute's null.
    pub data: Option<&'a [u8]>,
    /// Who asks, in requests; None is jute's null.
    pub identities: Option<Vec<Identity>>,
}

/// Takes the first packet off what came in, and says how many bytes it has; None while it is not all there. An `Err`
/// comes as soon as a length is above its bound, before the bytes are there; after it nothing on the connection can be
/// trusted.
pub fn cut(bytes: &[u8], data_bytes_max: usize) -> Result<Option<(Packet<'_>, usize)>, DecodeError> {
    let mut reader = Reader::new(bytes);
    match Packet::decode(&mut reader, data_bytes_max) {
        Ok(packet) => Ok(Some((packet, reader.position()))),
        Err(DecodeError::Short { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl<'a> Packet<'a> {
    fn decode(reader: &mut Reader<'a>, data_bytes_max: usize) -> Result<Packet<'a>, DecodeError> {
        let kind = reader.int()?;
        let zxid = Zxid(reader.long()?);
        bounded(reader, data_bytes_max)?;
        let data = reader.buffer()?;
        let identities = decode_identities(reader)?;
        Ok(Packet { kind, zxid, data, identities })
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.int(self.kind);
        writer.long(self.zxid.0);
        writer.buffer(self.data);
        encode_identities(out, self.identities.as_deref());
    }

    fn data(&self) -> Result<&'a [u8], DecodeError> {
        self.data.ok_or(DecodeError::Null { what: "data of a packet" })
    }
}

/// Refuses the buffer or string that the reader is at if it is longer than `bytes_max`.
fn bounded(reader: &Reader<'_>, bytes_max: usize) -> Result<(), DecodeError> {
    let length = reader.clone().int()?;
    if length > 0 && length as usize > bytes_max {
        return Err(DecodeError::BadLength { at: reader.position(), length: length as i64 });
    }
    Ok(())
}

fn decode_identities(reader: &mut Reader<'_>) -> Result<Option<Vec<Identity>>, DecodeError> {
    let at = reader.position();
    let Some(count) = reader.count()? else { return Ok(None) };
    if count > IDENTITIES_MAX {
        return Err(DecodeError::BadLength { at, length: count as i64 });
    }
    let start = reader.position();
    let mut identities = Vec::with_capacity(count.min(reader.remaining() / 8));
    for _ in 0..count {
        let mut text = || {
            // Each string has 4 bytes in front of it.
            bounded(
                reader,
                (IDENTITIES_BYTES_MAX + 8 * IDENTITIES_MAX).saturating_sub(reader.position() - start),
            )?;
            Ok(reader.ustring()?.unwrap_or_default().into_owned())
        };
        identities.push(Identity { scheme: text()?, id: text()? });
    }
    Ok(Some(identities))
}

fn encode_identities(out: &mut Vec<u8>, identities: Option<&[Identity]>) {
    let mut writer = Writer::new(out);
    let Some(identities) = identities else { return writer.int(-1) };
    writer.int(identities.len() as i32);
    for identity in identities {
        writer.string(&identity.scheme);
        writer.string(&identity.id);
    }
}

/// Who a learner is (`LearnerInfo`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerInfo {
    /// None: so old that the leader gives it a number.
    pub server: Option<ServerId>,
    /// `PROTOCOL_VERSION` of today's.
    pub protocol: i32,
    /// Of the configuration that it has committed; None from before there was one.
    pub config_version: Option<i64>,
}

/// What both sides speak since 3.4: LEADERINFO and ACKEPOCH before the synchronisation.
pub const PROTOCOL_VERSION: i32 = 0x10000;
/// What stands behind the bytes of a snapshot, as a string of jute.
pub const SNAP_SIGNATURE: &str = "BenWasHere";

impl LearnerInfo {
    /// Reads what a learner says of itself; what is missing at the end comes from an old one.
    pub fn decode(data: Option<&[u8]>) -> Result<LearnerInfo, DecodeError> {
        let Some(data) = data else {
            return Ok(LearnerInfo { server: None, protocol: 1, config_version: None });
        };
        let mut reader = Reader::new(data);
        Ok(LearnerInfo {
            server: Some(ServerId(reader.long()?)),
            protocol: if data.len() >= 12 { reader.int()? } else { 1 },
            config_version: if data.len() >= 20 { Some(reader.long()?) } else { None },
        })
    }

    /// Appends what a learner of today says.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.long(self.server.expect("a learner of today knows its number").0);
        writer.int(self.protocol);
        writer.long(self.config_version.expect("a learner of today knows its configuration"));
    }
}

/// The sessions that a learner heard of since its last answer, each with its timeout in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touched<'a>(&'a [u8]);

impl<'a> Touched<'a> {
    /// Appends one of them to the data of a PING.
    pub fn push(data: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
        let mut writer = Writer::new(data);
        writer.long(session.0);
        writer.int(timeout_ms);
    }

    /// Of the data of a PING.
    pub fn new(data: &'a [u8]) -> Result<Touched<'a>, DecodeError> {
        match data.len() % TOUCHED_BYTES {
            0 => Ok(Touched(data)),
            over => Err(DecodeError::Short { at: data.len() - over, need: TOUCHED_BYTES, have: data.len() }),
        }
    }

    /// Each session.
    pub fn iter(self) -> impl Iterator<Item = (SessionId, i32)> + 'a {
        self.0.chunks_exact(TOUCHED_BYTES).map(|entry| {
            let (session, timeout_ms) = entry.split_at(8);
            let session = i64::from_be_bytes(session.try_into().expect("eight bytes"));
            (SessionId(session), i32::from_be_bytes(timeout_ms.try_into().expect("four bytes")))
        })
    }
}

const TOUCHED_BYTES: usize = 12;

/// What a learner says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ToLeader<'a> {
    /// The first packet. `accepted`: the epoch that the learner has accepted. `observes`: OBSERVERINFO.
    Info { observes: bool, accepted: Zxid, learner: LearnerInfo },
    /// `last`: the last transaction in its log. `current`: the epoch of its data, -1 if it had accepted this one before,
    /// so that it must not count twice.
    AckEpoch { last: Zxid, current: i32 },
    /// All up to this is on its disk.
    Ack { zxid: Zxid },
    /// The answer to a PING, with its zxid.
    Ping { zxid: Zxid, touched: Touched<'a> },
    /// A client came back with this session.
    Revalidate { session: SessionId, timeout_ms: i32 },
    /// A client's write, or a sync. `op` is not checked.
    Request { session: SessionId, cxid: i32, op: i32, body: &'a [u8], identities: Option<Vec<Identity>> },
}

impl<'a> ToLeader<'a> {
    /// What a packet of a learner means.
    pub fn decode(packet: Packet<'a>) -> Result<ToLeader<'a>, DecodeError> {
        use PacketKind::*;
        let zxid = packet.zxid;
        Ok(match PacketKind::from_i32(packet.kind) {
            Some(kind @ (FollowerInfo | ObserverInfo)) => ToLeader::Info {
                observes: kind == ObserverInfo,
                accepted: zxid,
                learner: LearnerInfo::decode(packet.data)?,
            },
            Some(AckEpoch) => ToLeader::AckEpoch { last: zxid, current: Reader::new(packet.data()?).int()? },
            Some(Ack) => ToLeader::Ack { zxid },
            Some(Ping) => ToLeader::Ping { zxid, touched: Touched::new(packet.data()?)? },
            Some(Revalidate) => {
                let mut reader = Reader::new(packet.data()?);
                ToLeader::Revalidate { session: SessionId(reader.long()?), timeout_ms: reader.int()? }
            }
            Some(Request) => {
                let mut reader = Reader::new(packet.data()?);
                ToLeader::Request {
                    session: SessionId(reader.long()?),
                    cxid: reader.int()?,
                    op: reader.int()?,
                    body: reader.rest(),
                    identities: packet.identities,
                }
            }
            _ => return Err(unexpected(packet.kind)),
        })
    }

    /// Appends the packet that says it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        use PacketKind::*;
        match self {
            ToLeader::Info { observes, accepted, learner } => {
                let kind = if *observes { ObserverInfo } else { FollowerInfo };
                put(out, kind, *accepted, |data| learner.encode(data));
            }
            ToLeader::AckEpoch { last, current } => {
                put(out, AckEpoch, *last, |data| Writer::new(data).int(*current));
            }
            ToLeader::Ack { zxid } => put_bare(out, Ack, *zxid),
            ToLeader::Ping { zxid, touched } => {
                put(out, Ping, *zxid, |data| data.extend_from_slice(touched.0))
            }
            ToLeader::Revalidate { session, timeout_ms } => put(out, Revalidate, NO_ZXID, |data| {
                let mut writer = Writer::new(data);
                writer.long(session.0);
                writer.int(*timeout_ms);
            }),
            ToLeader::Request { session, cxid, op, body, identities } => {
                put(out, Request, NO_ZXID, |data| {
                    let mut writer = Writer::new(data);
                    writer.long(session.0);
                    writer.int(*cxid);
                    writer.int(*op);
                    writer.raw(body);
                });
                // Over the null that stands there.
                out.truncate(out.len() - 4);
                encode_identities(out, identities.as_deref());
            }
        }
    }
}

/// What a leader says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ToLearner<'a> {
    /// The epoch that a quorum made.
    LeaderInfo { epoch: Epoch, protocol: i32 },
    /// What follows begins where the learner's log ends. `zxid`: the leader's last committed one.
    Diff { zxid: Zxid },
    /// The learner forgets what is behind `zxid`.
    Trunc { zxid: Zxid },
    /// The bytes of a snapshot follow, then `SNAP_SIGNATURE`.
    Snap { zxid: Zxid },
    /// The learner has all it needs; `config` is the leader's newest, as text, none from before 3.5.
    NewLeader { epoch: Epoch, config: Option<&'a [u8]> },
    /// The learner serves.
    UpToDate,
    /// `entry`: header, transaction, digest.
    Proposal { zxid: Zxid, entry: &'a [u8] },
    /// As a proposal and its commit.
    Inform { zxid: Zxid, entry: &'a [u8] },
    /// A quorum has it.
    Commit { zxid: Zxid },
    /// The same of a reconfiguration; who leads from here on.
    CommitAndActivate { zxid: Zxid, leader: ServerId },
    /// The same to an observer.
    InformAndActivate { zxid: Zxid, leader: ServerId, entry: &'a [u8] },
    /// `zxid`: the last one proposed.
    Ping { zxid: Zxid },
    /// Whether a session that a client came back with is alive.
    Revalidate { session: SessionId, valid: bool },
    /// All that was committed when the oldest unanswered sync arrived has been sent.
    Sync { zxid: Zxid },
}

impl<'a> ToLearner<'a> {
    /// What a packet of a leader means.
    pub fn decode(packet: Packet<'a>) -> Result<ToLearner<'a>, DecodeError> {
        use PacketKind::*;
        let zxid = packet.zxid;
        Ok(match PacketKind::from_i32(packet.kind) {
            Some(LeaderInfo) => {
                ToLearner::LeaderInfo { epoch: zxid.epoch(), protocol: Reader::new(packet.data()?).int()? }
            }
            Some(Diff) => ToLearner::Diff { zxid },
            Some(Trunc) => ToLearner::Trunc { zxid },
            Some(Snap) => ToLearner::Snap { zxid },
            Some(NewLeader) => ToLearner::NewLeader { epoch: zxid.epoch(), config: packet.data },
            Some(UpToDate) => ToLearner::UpToDate,
            Some(Proposal) => ToLearner::Proposal { zxid, entry: packet.data()? },
            Some(Inform) => ToLearner::Inform { zxid, entry: packet.data()? },
            Some(Commit) => ToLearner::Commit { zxid },
            Some(CommitAndActivate) => {
                ToLearner::CommitAndActivate { zxid, leader: ServerId(Reader::new(packet.data()?).long()?) }
            }
            Some(InformAndActivate) => {
                let mut reader = Reader::new(packet.data()?);
                let leader = ServerId(reader.long()?);
                ToLearner::InformAndActivate { zxid, leader, entry: reader.rest() }
            }
            Some(Ping) => ToLearner::Ping { zxid },
            Some(Revalidate) => {
                let mut reader = Reader::new(packet.data()?);
                ToLearner::Revalidate { session: SessionId(reader.long()?), valid: reader.boolean()? }
            }
            Some(Sync) => ToLearner::Sync { zxid },
            _ => return Err(unexpected(packet.kind)),
        })
    }

    /// Appends the packet that says it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        use PacketKind::*;
        let raw = |out: &mut Vec<u8>, kind, zxid, bytes: &[u8]| {
            put(out, kind, zxid, |data| data.extend_from_slice(bytes));
        };
        match self {
            ToLearner::LeaderInfo { epoch, protocol } => {
                put(out, LeaderInfo, Zxid::first_of(*epoch), |data| Writer::new(data).int(*protocol));
            }
            ToLearner::Diff { zxid } => put_bare(out, Diff, *zxid),
            ToLearner::Trunc { zxid } => put_bare(out, Trunc, *zxid),
            ToLearner::Snap { zxid } => put_bare(out, Snap, *zxid),
            ToLearner::NewLeader { epoch, config: Some(config) } => {
                raw(out, NewLeader, Zxid::first_of(*epoch), config);
            }
            ToLearner::NewLeader { epoch, config: None } => put_bare(out, NewLeader, Zxid::first_of(*epoch)),
            ToLearner::UpToDate => put_bare(out, UpToDate, NO_ZXID),
            ToLearner::Proposal { zxid, entry } => raw(out, Proposal, *zxid, entry),
            ToLearner::Inform { zxid, entry } => raw(out, Inform, *zxid, entry),
            ToLearner::Commit { zxid } => put_bare(out, Commit, *zxid),
            ToLearner::CommitAndActivate { zxid, leader } => {
                raw(out, CommitAndActivate, *zxid, &leader.0.to_be_bytes());
            }
            ToLearner::InformAndActivate { zxid, leader, entry } => {
                put(out, InformAndActivate, *zxid, |data| {
                    data.extend_from_slice(&leader.0.to_be_bytes());
                    data.extend_from_slice(entry);
                })
            }
            ToLearner::Ping { zxid } => put_bare(out, Ping, *zxid),
            ToLearner::Revalidate { session, valid } => put(out, Revalidate, NO_ZXID, |data| {
                let mut writer = Writer::new(data);
                writer.long(session.0);
                writer.boolean(*valid);
            }),
            ToLearner::Sync { zxid } => put_bare(out, Sync, *zxid),
        }
    }
}

/// A packet with data and without identities.
fn put(out: &mut Vec<u8>, kind: PacketKind, zxid: Zxid, data: impl FnOnce(&mut Vec<u8>)) {
    let mut writer = Writer::new(out);
    writer.int(kind as i32);
    writer.long(zxid.0);
    writer.int(0);
    let start = out.len();
    data(out);
    let length = (out.len() - start) as i32;
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
    Writer::new(out).int(-1);
}

/// A packet without data, 20 bytes.
fn put_bare(out: &mut Vec<u8>, kind: PacketKind, zxid: Zxid) {
    let mut writer = Writer::new(out);
    writer.int(kind as i32);
    writer.long(zxid.0);
    writer.int(-1);
    writer.int(-1);
}

/// Where a packet has no zxid to say.
const NO_ZXID: Zxid = Zxid(-1);

fn unexpected(kind: i32) -> DecodeError {
    DecodeError::BadValue { at: 0, what: "packet type", value: kind as i64 }
}

impl PacketKind {
    /// The kind of a number.
    pub fn from_i32(kind: i32) -> Option<PacketKind> {
        use PacketKind::*;
        const ALL: [PacketKind; 19] = [
            Request,
            Proposal,
            Ack,
            Commit,
            Ping,
            Revalidate,
            Sync,
            Inform,
            CommitAndActivate,
            NewLeader,
            FollowerInfo,
            UpToDate,
            Diff,
            Trunc,
            Snap,
            ObserverInfo,
            LeaderInfo,
            AckEpoch,
            InformAndActivate,
        ];
        let known = ALL.get(usize::try_from(kind.checked_sub(1)?).ok()?)?;
        assert_eq!(*known as i32, kind, "the table is in order");
        Some(*known)
    }
}

/// What two servers say before anything else if `quorum.auth.enableSasl` is set (`QuorumAuthPacket`); a server tells by
/// the first 8 bytes whether its peer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthPacket<'a> {
    /// 0: goes on, 1: success, -1: refused.
    pub status: i32,
    /// Of SASL.
    pub token: Option<&'a [u8]>,
}

/// The first 8 bytes of an [`AuthPacket`]: `QuorumAuth.QUORUM_AUTH_MAGIC_NUMBER`, which is written there as a number
/// too large for its type, and negated.
pub const AUTH_MAGIC: i64 = 0x5f24_3501_3501_edcc;

impl<'a> AuthPacket<'a> {
    /// Takes the packet off what came in, as [`cut`].
    pub fn cut(
        bytes: &'a [u8],
        token_bytes_max: usize,
    ) -> Result<Option<(AuthPacket<'a>, usize)>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let Ok(magic) = reader.long() else { return Ok(None) };
        if magic != AUTH_MAGIC {
            return Err(DecodeError::BadValue { at: 0, what: "magic number", value: magic });
        }
        let Ok(status) = reader.int() else { return Ok(None) };
        match bounded(&reader, token_bytes_max).and_then(|()| reader.buffer()) {
            Ok(token) => Ok(Some((AuthPacket { status, token }, reader.position()))),
            Err(DecodeError::Short { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.long(AUTH_MAGIC);
        writer.int(self.status);
        writer.buffer(self.token);
    }
}

#[cfg(test)]
mod tests;
