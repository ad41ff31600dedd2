//! Everything that crosses cores: two enums of messages and the immutable batch of committed transactions. Who sends
//! and how it travels (a bounded lock-free queue, or a plain one on the same core) is the driver's business.

use crate::ids::{ConnId, Origin, SessionId, ShardId, Zxid};
use crate::metrics::ServerStats;
use crate::tree::permission::DigestSettings;
use crate::tree::{Effect, Effects};
use crate::wire::records::STAT_BYTES;
use crate::wire::{Identity, Op};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Settings that the member and every shard must have alike.
#[derive(Clone, PartialEq, Debug)]
pub struct Common {
    /// `tickTime`: the width of a session expiry bucket.
    pub tick_ms: u64,
    /// `skipACL`: everybody may do anything.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.*`.
    pub digest: DigestSettings,
}

impl Default for Common {
    fn default() -> Common {
        Common { tick_ms: 3000, skip_acl: false, digest: DigestSettings::default() }
    }
}

/// From a shard to the member.
#[derive(Debug)]
pub enum ToMember {
    /// A request that only the member can answer (see `Op::is_for_member`).
    Request(ClientRequest),
    /// A connect request. Answered by a `Committed` entry with `SessionChange::Opened` (new session) or by
    /// `ToShard::Resumed`.
    Connect(Connect),
    /// Sessions heard from since the last touch message of this shard.
    Touch(Vec<SessionId>),
    /// A connection is gone; `session` is `SessionId::NONE` if it never had one. Frees the address's share.
    Disconnected { origin: Origin, session: SessionId, address: IpAddr },
    /// A four-letter word needs numbers of all shards and the member.
    Ask { origin: Origin, question: Question },
    /// A slice of a shard's part of an answer.
    Part { ask: u64, part: Box<ShardPart> },
}

impl ToMember {
    /// The path that most requests begin with.
    pub fn path(&self) -> Option<&[u8]> {
        let ToMember::Request(request) = self else { return None };
        let (length, rest) = request.body.split_first_chunk::<4>()?;
        rest.get(..u32::from_be_bytes(*length) as usize)
    }
}

/// A write or sync, not yet decoded.
#[derive(Debug)]
pub struct ClientRequest {
    pub origin: Origin,
    pub session: SessionId,
    pub xid: i32,
    pub op: Op,
    /// The record after the request header.
    pub body: Box<[u8]>,
    /// What the connection has proved to be.
    pub identities: Arc<[Identity]>,
}

/// A client wants a session. The shard has already compared the password and negotiated the timeout.
#[derive(Debug)]
pub struct Connect {
    pub origin: Origin,
    /// `SessionId::NONE` for a new one.
    pub session: SessionId,
    /// True if the password is that of the session.
    pub password_ok: bool,
    /// Negotiated.
    pub timeout_ms: i32,
    /// The newest zxid the client has seen; a member that is behind it closes the connection without a word.
    pub last_zxid_seen: Zxid,
}

/// From the member to a shard.
#[derive(Clone, Debug)]
pub enum ToShard {
    /// The next committed transactions, in zxid order. Every shard gets every batch.
    Committed(Arc<Batch>),
    /// The answer to a `Connect` of an existing session; `valid: false` refuses it.
    Resumed { conn: ConnId, session: SessionId, timeout_ms: i32, valid: bool, seen: Zxid },
    /// An answer that belongs to no transaction (sync, undecodable or refused write). Comes after all batches that
    /// precede it in order.
    Answer { conn: ConnId, answer: Answer },
    /// Close this connection without a word: its session moved to another connection, or was refused.
    Close { conn: ConnId, session: SessionId },
    /// Give your part of an answer, slice by slice. `lister` also lists what the trees of all shards have; where there is
    /// one shard only, it need not say how to tell its paths from those of others.
    Ask { ask: u64, question: Question, lister: ShardId, is_alone: bool },
    /// The next piece of the answer to a four-letter word; the connection is closed behind the last.
    Text { conn: ConnId, text: Arc<str>, is_last: bool },
    /// Forget the counters.
    ResetStats { connections: bool, server: bool },
}

/// A response record. A Stat, with which most writes are answered, takes no memory of its own.
pub type ReplyBody = SmallVec<[u8; STAT_BYTES]>;

/// The reply to one write or sync: its shard adds the header's zxid.
#[derive(Clone, Debug)]
pub struct Answer {
    pub xid: i32,
    pub op: Op,
    /// 0 or an error code.
    pub err: i32,
    /// The response record; empty with an error.
    pub body: ReplyBody,
    /// Close the connection after this reply (closeSession), or instead of it if `silent`.
    pub close: bool,
    /// No reply at all (the session moved).
    pub silent: bool,
}

/// What the member says to its shards. All its words are in one order for all shards; a shard takes them up to the newest
/// before it serves a client, so that it knows what any client has been told by another shard.
#[derive(Clone, Debug)]
pub struct Word {
    /// None: every shard.
    pub to: Option<ShardId>,
    pub message: ToShard,
}

impl Word {
    /// True if this shard should hear it.
    pub fn concerns(&self, shard: ShardId) -> bool {
        self.to.is_none_or(|to| to == shard)
    }

    /// Bytes that it holds, about.
    pub fn bytes(&self) -> usize {
        match &self.message {
            ToShard::Committed(batch) => batch.bytes,
            ToShard::Text { text, .. } => text.len(),
            ToShard::Answer { answer, .. } => answer.body.len(),
            _ => 0,
        }
    }
}

/// How far the slowest shard is behind the member's words.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Lag {
    pub words: usize,
    pub bytes: usize,
}

/// Committed transactions in zxid order.
#[derive(Debug, Default)]
pub struct Batch {
    pub txns: Vec<Committed>,
    /// Of their entries in the log.
    pub bytes: usize,
}

impl Batch {
    /// What all its transactions change, in order.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.txns.iter().flat_map(|committed| &committed.effects)
    }
}

/// One committed transaction as trees and shards need it.
#[derive(Debug)]
pub struct Committed {
    pub zxid: Zxid,
    pub effects: Effects,
    /// Who waits for it.
    pub answer: Option<(Origin, Answer)>,
    pub session: Option<SessionChange>,
}

/// A session came or went with a transaction.
#[derive(Clone, Debug)]
pub enum SessionChange {
    /// `origin` (if its connection still lives) gets the connect response.
    Opened { session: SessionId, timeout_ms: i32, origin: Option<Origin> },
    /// Any connection of it is closed, after its answer if it has one.
    Closed { session: SessionId },
}

/// What a four-letter word or the admin interface wants to know from everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// stat, srvr, mntr, cons, wchs, wchc, wchp, dump, crst, srst, conf, dirs: one word each.
    Srvr,
    Stat,
    Mntr,
    Cons,
    Wchs,
    Wchc,
    Wchp,
    Dump,
    Dirs,
    Hash,
    Conf,
    Crst,
    Srst,
}

/// A slice of a shard's part of an answer. The first has the numbers, every one some of what the question lists.
#[derive(Debug, Default)]
pub struct ShardPart {
    pub shard: ShardId,
    /// The shard has said everything.
    pub is_last: bool,
    pub stats: ServerStats,
    /// Watches in both tables.
    pub watch_count: u64,
    /// Data watches, their connections, and their paths.
    pub data_watches: u64,
    pub watching_connections: u64,
    pub watched_paths: u64,
    /// Nodes, ephemerals and bytes of paths and data of this shard's tree (all trees agree).
    pub node_count: u64,
    pub ephemeral_count: u64,
    pub data_bytes: u64,
    pub applied: Zxid,
    /// Lines of the text, in any order among the shards: connections, the watches of connections, ephemerals.
    pub text: String,
    /// What stands for a watched path in every shard.
    pub path_hashes: Vec<u64>,
    /// A path and the sessions with a data watch on it.
    pub watched: Vec<(Box<str>, Vec<SessionId>)>,
    /// Connections: when they expire, in monotonic ms, and their line in `dump`.
    pub expiry: Vec<(u64, String)>,
}
