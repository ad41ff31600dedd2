//! What simulated clients ask for, and the bytes they send.

use crate::wire::codes::Op;
use crate::wire::request::{MultiHeader, encode_create};
use crate::wire::{Acl, Writer};

/// A request of a client.
#[derive(Clone, Debug)]
pub enum Action {
    /// `flags` as on the wire; the operation follows from them.
    Create {
        path: String,
        data: Vec<u8>,
        flags: i32,
        with_stat: bool,
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
        matches!(self, Create { .. } | Delete { .. } | Set { .. } | Multi(_) | Close)
    }

    /// For the trace: without the data itself.
    pub fn summary(&self) -> String {
        match self {
            Action::Create { path, data, flags, .. } => {
                format!("create {path} flags {flags}, {} bytes", data.len())
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
            Action::Check { .. } => Op::Check,
            Action::Multi(_) => Op::Multi,
            Action::Get { .. } => Op::GetData,
            Action::Exists { .. } => Op::Exists,
            Action::Children { with_stat: true, .. } => Op::GetChildren2,
            Action::Children { .. } => Op::GetChildren,
            Action::AddWatch { .. } => Op::AddWatch,
            Action::SetWatches(_) => Op::SetWatches2,
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
            Action::Create { path, data, flags, .. } => {
                let ttl_ms = (*flags == TTL).then_some(TTL_MS);
                encode_create(out, path, Some(data), &Acl::open(), *flags, ttl_ms);
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
            Action::Multi(actions) => {
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
            Action::Sync => writer.string("/"),
            Action::Ping | Action::Close => {}
        }
    }
}
