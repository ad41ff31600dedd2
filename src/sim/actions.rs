//! What simulated clients ask for, and the bytes they send.

use super::access::{self, ALL, List, Who, on_wire};
use crate::wire::Writer;
use crate::wire::codes::Op;
use crate::wire::records::encode_acls;
use crate::wire::request::{MultiHeader, encode_create};

/// A request of a client.
#[derive(Clone, Debug)]
pub enum Action {
    /// `flags` as on the wire; the operation follows from them.
    Create {
        path: String,
        data: Vec<u8>,
        flags: i32,
        with_stat: bool,
        acl: List,
    },
    Delete {
        path: String,
        version: i32,
    },
    Set {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: List,
        version: i32,
    },
    /// Only inside a multi.
    Check {
        path: String,
        version: i32,
    },
    Multi(Vec<Action>),
    Get {
        path: String,
        watch: bool,
    },
    Exists {
        path: String,
        watch: bool,
    },
    Children {
        path: String,
        watch: bool,
        with_stat: bool,
    },
    AddWatch {
        path: String,
        recursive: bool,
    },
    SetWatches(Lists),
    /// All kinds of watches of a path go.
    RemoveWatches {
        path: String,
    },
    GetAcl {
        path: String,
    },
    /// Of `Get` and `Children`.
    MultiRead(Vec<Action>),
    /// The session's own nodes.
    GetEphemerals,
    /// Proves something; answered out of order.
    Auth {
        user: usize,
    },
    Sync,
    Ping,
    Close,
}

/// What a client wants to go on watching on a new connection.
#[derive(Clone, Default, Debug)]
pub struct Lists {
    pub relative_zxid: i64,
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    pub persistent: Vec<String>,
    pub recursive: Vec<String>,
}

pub const EPHEMERAL: i32 = 1;
pub const SEQUENTIAL: i32 = 2;
pub const CONTAINER: i32 = 4;
pub const TTL: i32 = 5;
/// Of every TTL node here.
pub const TTL_MS: i64 = 700;

impl Action {
    /// True if it goes through the log.
    pub fn is_write(&self) -> bool {
        use Action::*;
        matches!(self, Create { .. } | Delete { .. } | Set { .. } | SetAcl { .. } | Multi(_) | Close)
    }

    /// Entries that stand for all that a connection has proved.
    pub fn auth_entries(&self) -> usize {
        match self {
            Action::Create { acl, .. } | Action::SetAcl { acl, .. } => {
                acl.iter().filter(|entry| entry.who == Who::Auth).count()
            }
            Action::Multi(actions) => actions.iter().map(Action::auth_entries).sum(),
            _ => 0,
        }
    }

    /// For the trace: without the data itself.
    pub fn summary(&self) -> String {
        match self {
            Action::Create { path, data, flags, acl, .. } => {
                let acl =
                    if acl.len() == 1 && acl[0].perms == ALL { String::new() } else { format!(", {acl:?}") };
                format!("create {path} flags {flags}, {} bytes{acl}", data.len())
            }
            Action::Set { path, data, version } => {
                format!("set {path} version {version}, {} bytes", data.len())
            }
            Action::Multi(actions) => {
                let parts: Vec<String> = actions.iter().map(Action::summary).collect();
                format!("multi [{}]", parts.join("; "))
            }
            other => format!("{other:?}"),
        }
    }

    /// The opcode.
    pub fn op(&self) -> Op {
        match self {
            Action::Create { flags: CONTAINER, .. } => Op::CreateContainer,
            Action::Create { flags: TTL, .. } => Op::CreateTtl,
            Action::Create { with_stat: true, .. } => Op::Create2,
            Action::Create { .. } => Op::Create,
            Action::Delete { .. } => Op::Delete,
            Action::Set { .. } => Op::SetData,
            Action::SetAcl { .. } => Op::SetAcl,
            Action::Check { .. } => Op::Check,
            Action::Multi(_) => Op::Multi,
            Action::Get { .. } => Op::GetData,
            Action::Exists { .. } => Op::Exists,
            Action::Children { with_stat: true, .. } => Op::GetChildren2,
            Action::Children { .. } => Op::GetChildren,
            Action::AddWatch { .. } => Op::AddWatch,
            Action::SetWatches(_) => Op::SetWatches2,
            Action::RemoveWatches { .. } => Op::RemoveWatches,
            Action::GetAcl { .. } => Op::GetAcl,
            Action::MultiRead(_) => Op::MultiRead,
            Action::GetEphemerals => Op::GetEphemerals,
            Action::Auth { .. } => Op::Auth,
            Action::Sync => Op::Sync,
            Action::Ping => Op::Ping,
            Action::Close => Op::CloseSession,
        }
    }

    /// A whole frame.
    pub fn frame(&self, xid: i32) -> Vec<u8> {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.int(xid);
        writer.int(self.op() as i32);
        self.encode(&mut body);
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend(body);
        frame
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match self {
            Action::Create { path, data, flags, acl, .. } => {
                let ttl_ms = (*flags == TTL).then_some(TTL_MS);
                encode_create(out, path, Some(data), &on_wire(acl, true), *flags, ttl_ms);
            }
            Action::SetAcl { path, acl, version } => {
                writer.string(path);
                encode_acls(out, &on_wire(acl, true));
                Writer::new(out).int(*version);
            }
            Action::Delete { path, version } | Action::Check { path, version } => {
                writer.string(path);
                writer.int(*version);
            }
            Action::Set { path, data, version } => {
                writer.string(path);
                writer.buffer(Some(data));
                writer.int(*version);
            }
            Action::Multi(actions) | Action::MultiRead(actions) => {
                for action in actions {
                    MultiHeader { op: action.op() as i32, done: false, err: -1 }.encode(out);
                    action.encode(out);
                }
                MultiHeader::END.encode(out);
            }
            Action::Get { path, watch }
            | Action::Exists { path, watch }
            | Action::Children { path, watch, .. } => {
                writer.string(path);
                writer.boolean(*watch);
            }
            Action::AddWatch { path, recursive } => {
                writer.string(path);
                writer.int(i32::from(*recursive));
            }
            Action::SetWatches(lists) => {
                writer.long(lists.relative_zxid);
                for list in [&lists.data, &lists.exist, &lists.child, &lists.persistent, &lists.recursive] {
                    writer.strings(list);
                }
            }
            Action::RemoveWatches { path } => {
                writer.string(path);
                writer.int(3);
            }
            Action::GetAcl { path } => writer.string(path),
            Action::GetEphemerals => writer.string("/"),
            Action::Auth { user } => {
                writer.int(0);
                writer.string("digest");
                writer.buffer(Some(access::proof(*user).as_bytes()));
            }
            Action::Sync => writer.string("/"),
            Action::Ping | Action::Close => {}
        }
    }
}
