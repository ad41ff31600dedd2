//! A server of an ensemble under test: its process, what is on its way to its disk, what a crash leaves of that.

use crate::ids::{Epoch, Zxid};
use crate::zab::election::{Election, ElectionOutput};
use crate::zab::history::{Entry, History};
use crate::zab::leading::{Leading, LeadingOutput, LearnerId};
use crate::zab::learning::{Learning, LearningOutput};
use crate::zab::quorum::Quorums;
use crate::zab::settings::Epochs;
use std::collections::{BTreeMap, VecDeque};

/// What a crash leaves.
pub(super) struct Durable {
    pub(super) epochs: Epochs,
    pub(super) log: Vec<Entry>,
    pub(super) snapshot: Zxid,
    /// So many entries are no longer in the log.
    pub(super) purged: usize,
    /// A snapshot and what was appended behind it, until an epoch makes it hold.
    pub(super) aside: Option<(Zxid, Vec<Entry>)>,
}

pub(super) enum Write {
    Accepted(Epoch),
    Current(Epoch),
    /// False: what it appended was truncated while it was on its way.
    Append(Entry, bool),
    Truncate(Zxid),
    /// Until the current epoch is saved it stands aside.
    Snapshot(Zxid, Vec<Entry>),
    DropSnapshot,
}

pub(super) struct Process {
    pub(super) election: Election,
    pub(super) role: Role,
    /// Tells the roles of all processes apart.
    pub(super) generation: u64,
    /// In their order, each with the time at which it ends.
    pub(super) writes: VecDeque<(u64, Write)>,
    /// The log as it was ordered.
    pub(super) logged: Vec<Entry>,
    pub(super) committed: Zxid,
    /// Of the snapshot that is received.
    pub(super) receiving: Zxid,
    /// What the log was before it.
    pub(super) former: Option<Vec<Entry>>,
}

pub(super) enum Role {
    Looking(Parts),
    Leading(Leading, BTreeMap<LearnerId, usize>),
    Learning(Learning, Option<usize>),
}

pub(super) type Parts = (Quorums, History, Epochs);

pub(super) enum Chunk {
    Bytes(Vec<u8>),
    Snapshot(Vec<Entry>),
    End,
}

#[derive(Default)]
pub(super) struct Outs {
    pub(super) election: Vec<ElectionOutput>,
    pub(super) leading: Vec<LeadingOutput>,
    pub(super) learning: Vec<LearningOutput>,
}

impl Durable {
    pub(super) fn apply(&mut self, write: Write) {
        match write {
            Write::Accepted(epoch) => self.epochs.accepted = epoch,
            Write::Current(epoch) => {
                self.epochs.current = epoch;
                if let Some((snapshot, log)) = self.aside.take() {
                    self.purged = log.partition_point(|entry| entry.zxid <= snapshot);
                    (self.log, self.snapshot) = (log, snapshot);
                }
            }
            Write::Append(entry, _) => match &mut self.aside {
                Some((_, log)) => log.push(entry),
                None => self.log.push(entry),
            },
            Write::Truncate(zxid) => self.log.retain(|entry| entry.zxid <= zxid),
            Write::Snapshot(zxid, entries) => self.aside = Some((zxid, entries)),
            Write::DropSnapshot => self.aside = None,
        }
        assert!(self.log.is_sorted_by(|a, b| a.zxid < b.zxid));
        self.purged = self.purged.min(self.log.len());
        self.epochs.check();
    }
}

/// What the process is told of a write that has ended.
pub(super) enum Told {
    Accepted(Epoch),
    Current(Epoch),
    Durable(Zxid),
    Received,
    Nothing,
}

impl Write {
    pub(super) fn told(&self) -> Told {
        match self {
            Write::Accepted(epoch) => Told::Accepted(*epoch),
            Write::Current(epoch) => Told::Current(*epoch),
            Write::Append(entry, true) => Told::Durable(entry.zxid),
            Write::Append(_, false) | Write::Truncate(_) | Write::DropSnapshot => Told::Nothing,
            Write::Snapshot(..) => Told::Received,
        }
    }
}

impl Process {
    pub(super) fn write(&mut self, write: Write) {
        self.writes.push_back((u64::MAX, write));
    }

    /// What is on its way does not count any more when it arrives.
    pub(super) fn forget_writes(&mut self) {
        for (_, write) in &mut self.writes {
            if let Write::Append(_, counts) = write {
                *counts = false;
            }
        }
    }

    pub(super) fn on_timeout(&mut self, now: u64, outs: &mut Outs) {
        if self.election.next_timeout().is_some_and(|at| at <= now) {
            self.election.on_timeout(now, &mut outs.election);
        }
        match &mut self.role {
            Role::Leading(leading, _) if leading.next_timeout().is_some_and(|at| at <= now) => {
                leading.on_timeout(now, &mut outs.leading);
            }
            Role::Learning(learning, _) if learning.next_timeout().is_some_and(|at| at <= now) => {
                learning.on_timeout(now, &mut outs.learning);
            }
            _ => {}
        }
    }

    pub(super) fn on_written(&mut self, told: Told, now: u64, outs: &mut Outs) {
        match (told, &mut self.role) {
            (Told::Accepted(epoch), Role::Leading(leading, _)) => {
                leading.on_accepted_saved(now, epoch, &mut outs.leading);
            }
            (Told::Current(epoch), Role::Leading(leading, _)) => {
                leading.on_current_saved(now, epoch, &mut outs.leading);
            }
            (Told::Durable(zxid), Role::Leading(leading, _)) => leading.on_durable(zxid, &mut outs.leading),
            (Told::Accepted(epoch), Role::Learning(learning, _)) => learning.on_accepted_saved(now, epoch),
            (Told::Current(epoch), Role::Learning(learning, _)) => learning.on_current_saved(now, epoch),
            (Told::Durable(zxid), Role::Learning(learning, _)) => learning.on_durable(zxid),
            (Told::Received, Role::Learning(learning, _)) if learning.receives_snapshot() => {
                learning.on_snapshot_received(now, &[], &mut outs.learning);
            }
            _ => {}
        }
    }

    pub(super) fn on_chunk(&mut self, now: u64, id: LearnerId, chunk: Chunk, outs: &mut Outs) {
        match (&mut self.role, chunk) {
            (Role::Leading(leading, _), Chunk::Bytes(bytes)) => {
                leading.on_bytes(now, id, &bytes, &mut outs.leading);
            }
            (Role::Leading(leading, _), Chunk::End) => leading.on_closed(id, &mut outs.leading),
            (Role::Learning(learning, _), Chunk::Bytes(bytes)) => {
                learning.on_bytes(now, &bytes, &mut outs.learning);
            }
            (Role::Learning(learning, _), Chunk::Snapshot(entries)) => {
                learning.on_snapshot_progress(now);
                self.write(Write::Snapshot(self.receiving, entries));
            }
            (Role::Learning(learning, _), Chunk::End) => learning.on_closed(&mut outs.learning),
            _ => panic!("only a learner receives snapshots"),
        }
    }

    pub(super) fn check(&self) {
        self.election.check();
        match &self.role {
            Role::Leading(leading, _) => leading.check(),
            Role::Learning(learning, _) => learning.check(),
            Role::Looking((quorums, history, epochs)) => {
                quorums.check();
                history.check();
                epochs.check();
            }
        }
    }
}
