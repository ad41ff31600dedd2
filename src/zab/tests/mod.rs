//! Ensembles of these machines under virtual time: messages are lost, late and out of order, connections end, servers
//! crash with any prefix of what was on its way to their disks, and start again; in every second seed elections name
//! anybody. Checked at every step: one leader per epoch, one history, nothing committed that a quorum has not on its disks,
//! nothing committed lost, nothing promised that is not durable; in the end all agree.
//!
//! Does it find anything? Broken on purpose, the machines showed it within so many seeds:
//!
//! | Broken | Seeds |
//! |---|---|
//! | an epoch is accepted towards its leader before that is durable | 1 |
//! | NEWLEADER is acknowledged before the current epoch is durable | 1 |
//! | a proposal is acknowledged before it is durable | 1 |
//! | TRUNC is ignored | 1 |
//! | one acknowledgement commits | 1 |
//! | a leader is established without a quorum of acknowledgements | 1 |
//! | a leader counts itself before its current epoch is durable | 2 |
//! | a leader does not mind followers that have more than it has | 6 |
//! | a follower that had accepted the epoch before counts again | 26 |
//! | a leader of an epoch below the accepted one is followed | 96 |
//! | a leader needs no quorum that accepts its epoch | 178 |

mod node;

use super::election::{Election, ElectionOutput, ElectionSettings};
use super::history::{Entry, History};
use super::leading::{Leading, LeadingOutput, LearnerEnd, LearnerId};
use super::learning::{Learning, LearningOutput};
use super::quorum::{QuorumVerifier, Quorums};
use super::settings::{Epochs, QuorumSettings};
use super::sync::{Disk, OnDisk};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::prng::Prng;
use crate::wire::quorum::{PacketKind, cut};
use crate::wire::vote::{Notification, PeerEpoch, cut_frame};
use node::{Chunk, Durable, Outs, Parts, Process, Role, Write};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

struct Node {
    id: ServerId,
    durable: Durable,
    process: Option<Process>,
    starts_at: u64,
}

/// A connection of a learner: two directions, each with the time at which a chunk arrives.
struct Conn {
    learner: (usize, u64),
    leader: (usize, u64),
    id: LearnerId,
    up: VecDeque<(u64, Chunk)>,
    down: VecDeque<(u64, Chunk)>,
}

struct Ensemble {
    nodes: Vec<Node>,
    quorums: Quorums,
    conns: Vec<Conn>,
    /// When, to, from, what.
    votes: Vec<(u64, usize, usize, Vec<u8>)>,
    /// When, who with which role, to whom.
    dials: Vec<(u64, usize, u64, usize)>,
    /// Pairs that do not hear each other.
    cut: BTreeSet<(usize, usize)>,
    now: u64,
    prng: Prng,
    generations: u64,
    tokens: u64,
    is_calm: bool,
    /// Elections name anybody.
    is_misled: bool,
    /// Who led which epoch.
    leaders: BTreeMap<Epoch, usize>,
    /// The one history.
    committed: Vec<Entry>,
    crashes: u64,
    seen: BTreeMap<&'static str, u64>,
}

fn settings(me: ServerId) -> QuorumSettings {
    QuorumSettings {
        me,
        tick_ms: 100,
        init_limit: 10,
        sync_limit: 5,
        connect_limit: 0,
        data_bytes_max: 1 << 20,
        is_reconfig_enabled: false,
        is_disk_used: true,
        epoch_wait_max_ms: None,
        is_sync_confirmed: true,
    }
}

impl Ensemble {
    fn new(seed: u64, voters: usize, observers: usize) -> Ensemble {
        let line = |n: usize| {
            let role = if n < voters { "participant" } else { "observer" };
            format!("server.{n}=h{n}:1:2:{role}\n")
        };
        let text: String = (0..voters + observers).map(line).collect();
        let quorums = Quorums::new(QuorumVerifier::parse(&text).expect("well-formed"));
        let node = |n: usize| Node {
            id: ServerId(n as i64),
            durable: Durable {
                epochs: Epochs { accepted: Epoch(0), current: Epoch(0) },
                log: Vec::new(),
                snapshot: Zxid::ZERO,
                purged: 0,
                aside: None,
            },
            process: None,
            starts_at: 0,
        };
        Ensemble {
            nodes: (0..voters + observers).map(node).collect(),
            quorums,
            conns: Vec::new(),
            votes: Vec::new(),
            dials: Vec::new(),
            cut: BTreeSet::new(),
            now: 0,
            prng: Prng::new(seed),
            generations: 0,
            tokens: 0,
            is_calm: false,
            is_misled: false,
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            crashes: 0,
            seen: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn delay(&mut self) -> u64 {
        let most = if self.is_calm || self.prng.chance(90) { 5 } else { 300 };
        1 + self.prng.below(most)
    }

    fn step(&mut self) {
        self.now += 1 + self.prng.below(10);
        if !self.is_calm {
            self.do_harm();
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].process.is_none() && self.nodes[at].starts_at <= self.now {
                self.start(at);
            }
            self.end_writes(at);
        }
        self.deliver_votes();
        self.answer_dials();
        for conn in 0..self.conns.len() {
            self.deliver(conn, true);
            self.deliver(conn, false);
        }
        for at in 0..self.nodes.len() {
            self.turn(at, |process, now, outs| process.on_timeout(now, outs));
        }
        if self.prng.chance(20) {
            let at = self.prng.below(self.nodes.len() as u64) as usize;
            self.propose(at);
        }
    }

    fn do_harm(&mut self) {
        let nodes = self.nodes.len() as u64;
        let (a, b) = (self.prng.below(nodes) as usize, self.prng.below(nodes) as usize);
        match self.prng.below(1000) {
            0..3 => self.crash(a),
            3..8 if a != b => {
                self.cut.insert((a.min(b), a.max(b)));
            }
            8..30 => self.cut.clear(),
            30..34 => {
                let now = self.now;
                if let Some(conn) = self.conns.last_mut() {
                    conn.up.push_back((now, Chunk::End));
                    conn.down.push_back((now, Chunk::End));
                }
            }
            34..40 => self.snapshot(a),
            _ => {}
        }
    }

    /// A snapshot of what is committed, and the log before it is gone.
    fn snapshot(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(process) = &node.process else { return };
        let durable = &mut node.durable;
        let logged = durable.log.iter().rev().find(|entry| entry.zxid <= process.committed);
        if let Some(entry) = logged {
            durable.snapshot = durable.snapshot.max(entry.zxid);
            durable.purged = durable.log.partition_point(|e| e.zxid <= entry.zxid) / 2;
        }
    }

    fn start(&mut self, at: usize) {
        let node = &self.nodes[at];
        let durable = &node.durable;
        let mut history = History::new(3, 1 << 20, durable.snapshot);
        for entry in durable.log.iter().filter(|entry| entry.zxid > durable.snapshot) {
            history.push(entry.clone());
            history.forget_replayed();
        }
        let mut outs = Outs::default();
        let vote = (history.logged(), PeerEpoch(i64::from(durable.epochs.current.0)));
        let settings = ElectionSettings {
            me: node.id,
            finalize_wait_ms: 100,
            notification_min_ms: 100,
            notification_max_ms: 1000,
            is_reconfig_enabled: false,
        };
        let election = Election::new(settings, self.quorums.clone(), self.now, vote, &mut outs.election);
        let process = Process {
            election,
            role: Role::Looking((self.quorums.clone(), history, durable.epochs)),
            generation: self.generations,
            writes: VecDeque::new(),
            logged: durable.log.clone(),
            committed: durable.snapshot,
            receiving: Zxid::ZERO,
            former: None,
        };
        self.generations += 1;
        self.nodes[at].process = Some(process);
        self.turn(at, |_, _, into| *into = outs);
    }

    fn crash(&mut self, at: usize) {
        let Some(mut process) = self.nodes[at].process.take() else { return };
        self.crashes += 1;
        // Any prefix of what was on its way is there.
        let kept = self.prng.below(process.writes.len() as u64 + 1) as usize;
        for (_, write) in process.writes.drain(..kept) {
            self.nodes[at].durable.apply(write);
        }
        self.nodes[at].durable.aside = None;
        self.nodes[at].starts_at = self.now + self.prng.below(2000);
        let is_told = self.prng.chance(70);
        for conn in &mut self.conns {
            if is_told && conn.leader == (at, process.generation) {
                conn.down.push_back((self.now + 1, Chunk::End));
            }
            if is_told && conn.learner == (at, process.generation) {
                conn.up.push_back((self.now + 1, Chunk::End));
            }
        }
        if is_told {
            let id = self.nodes[at].id;
            for other in 0..self.nodes.len() {
                self.turn(other, |process, now, outs| process.election.on_gone(now, id, &mut outs.election));
            }
        }
    }

    fn end_writes(&mut self, at: usize) {
        while let Some(process) = &mut self.nodes[at].process
            && process.writes.front().is_some_and(|(end, _)| *end <= self.now)
        {
            let (_, write) = process.writes.pop_front().expect("there is a front");
            if let Write::Snapshot(_, entries) = &write
                && matches!(&process.role, Role::Learning(learning, _) if learning.receives_snapshot())
            {
                process.former = Some(std::mem::replace(&mut process.logged, entries.clone()));
            }
            let told = write.told();
            self.nodes[at].durable.apply(write);
            self.turn(at, |process, now, outs| process.on_written(told, now, outs));
        }
    }

    fn deliver_votes(&mut self) {
        for (due, to, from, frame) in std::mem::take(&mut self.votes) {
            if due > self.now {
                self.votes.push((due, to, from, frame));
            } else if !self.is_cut(to, from) && (self.is_calm || !self.prng.chance(10)) {
                let from = self.nodes[from].id;
                self.turn(to, |process, now, outs| {
                    let (body, _) = cut_frame(&frame).expect("well-formed").expect("whole");
                    let said = Notification::decode(body).expect("well-formed");
                    process.election.on_notification(now, from, &said, &mut outs.election);
                });
            }
        }
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn answer_dials(&mut self) {
        for (due, learner, generation, leader) in std::mem::take(&mut self.dials) {
            if due > self.now {
                self.dials.push((due, learner, generation, leader));
                continue;
            }
            let now = self.now;
            let is_cut = self.is_cut(learner, leader);
            let accepted = self.nodes[leader].process.as_mut().filter(|_| !is_cut).and_then(|process| {
                let Role::Leading(leading, links) = &mut process.role else { return None };
                let id = leading.on_accepted(now)?;
                links.insert(id, self.conns.len());
                Some((id, process.generation))
            });
            let conn = self.conns.len();
            if let Some((id, leads)) = accepted {
                let (learner, leader) = ((learner, generation), (leader, leads));
                self.conns.push(Conn { learner, leader, id, up: VecDeque::new(), down: VecDeque::new() });
            }
            self.turn(learner, |process, now, outs| {
                if process.generation != generation {
                    return;
                }
                let Role::Learning(learning, link) = &mut process.role else { return };
                if accepted.is_some() {
                    *link = Some(conn);
                    learning.on_connected(now);
                } else {
                    learning.on_not_connected(now, &mut outs.learning);
                }
            });
        }
    }

    fn deliver(&mut self, at: usize, is_up: bool) {
        loop {
            let now = self.now;
            let conn = &mut self.conns[at];
            if self.cut.contains(&(conn.learner.0.min(conn.leader.0), conn.learner.0.max(conn.leader.0))) {
                return;
            }
            let (end, id) = (if is_up { conn.leader } else { conn.learner }, conn.id);
            let queue = if is_up { &mut conn.up } else { &mut conn.down };
            let Some((due, chunk)) = queue.front() else { return };
            let waits = |process: &Process| match &process.role {
                Role::Learning(learning, _) => {
                    learning.receives_snapshot() && matches!(chunk, Chunk::Bytes(_))
                }
                _ => false,
            };
            let process = self.nodes[end.0].process.as_ref().filter(|process| process.generation == end.1);
            if *due > now || process.is_some_and(waits) {
                return;
            }
            let (_, chunk) = queue.pop_front().expect("there is a front");
            self.turn(end.0, |process, now, outs| {
                if process.generation == end.1 {
                    process.on_chunk(now, id, chunk, outs);
                }
            });
        }
    }

    fn propose(&mut self, at: usize) {
        self.tokens += 1;
        let token = self.tokens;
        let Some(process) = &mut self.nodes[at].process else { return };
        let Role::Leading(leading, _) = &mut process.role else { return };
        let outstanding = process.logged.iter().rev().take_while(|entry| entry.zxid > process.committed);
        if !leading.is_established() || outstanding.count() > 8 {
            return;
        }
        let zxid = leading.next_zxid(&mut Vec::new()).expect("enough are left");
        let entry = Entry { zxid, bytes: token.to_be_bytes().to_vec().into() };
        leading.propose(entry.clone());
        self.turn(at, |process, _, _| {
            process.logged.push(entry.clone());
            process.write(Write::Append(entry, true));
        });
    }

    /// Gives a process an input and carries out all that it wants because of it.
    fn turn(&mut self, at: usize, act: impl FnOnce(&mut Process, u64, &mut Outs)) {
        let Some(mut process) = self.nodes[at].process.take() else { return };
        let mut outs = Outs::default();
        act(&mut process, self.now, &mut outs);
        loop {
            match &mut process.role {
                Role::Leading(leading, _) => leading.flush(self.now, &mut outs.leading),
                Role::Learning(learning, _) => learning.flush(&mut outs.learning),
                Role::Looking(_) => {}
            }
            let Outs { election, leading, learning } = std::mem::take(&mut outs);
            if election.is_empty() && leading.is_empty() && learning.is_empty() {
                break;
            }
            learning.into_iter().for_each(|output| self.on_learning(at, &mut process, output, &mut outs));
            leading.into_iter().for_each(|output| self.on_leading(at, &mut process, output, &mut outs));
            election.into_iter().for_each(|output| self.on_election(at, &mut process, output, &mut outs));
        }
        process.check();
        // A write ends behind the one before it.
        let mut end =
            process.writes.iter().map(|(end, _)| *end).filter(|end| *end < u64::MAX).max().unwrap_or(0);
        for (at, _) in process.writes.iter_mut().filter(|(at, _)| *at == u64::MAX) {
            end = end.max(self.now) + self.prng.below(if self.is_calm { 3 } else { 40 });
            *at = end;
        }
        self.nodes[at].process = Some(process);
    }

    fn on_election(&mut self, at: usize, process: &mut Process, output: ElectionOutput, outs: &mut Outs) {
        match output {
            ElectionOutput::Send { to, frame } => {
                let due = self.now + self.delay();
                self.votes.push((due, to.0 as usize, at, frame.to_vec()));
            }
            ElectionOutput::Decided { vote, .. } => {
                let leader = self.misled(vote.leader);
                let Role::Looking(parts) = &process.role else { panic!("it decides only while it looks") };
                let ((quorums, history, epochs), me) = (parts.clone(), settings(self.nodes[at].id));
                process.generation = self.generations;
                self.generations += 1;
                process.role = if leader == self.nodes[at].id {
                    let leading = Leading::new(me, quorums, history, epochs, self.now, &mut outs.leading);
                    Role::Leading(leading, BTreeMap::new())
                } else {
                    let out = &mut outs.learning;
                    Role::Learning(Learning::new(me, quorums, history, epochs, leader, self.now, out), None)
                };
            }
            ElectionOutput::Adopted(_) => panic!("there is one configuration"),
        }
    }

    /// An election is a hint: whoever it names, discovery has to keep what is committed.
    fn misled(&mut self, leader: ServerId) -> ServerId {
        if !self.is_misled || !self.prng.chance(60) {
            return leader;
        }
        // For a while it is the same one, so that it finds company.
        let voters: Vec<ServerId> = self.quorums.voters().collect();
        voters[Prng::new(self.now / 1500).below(voters.len() as u64) as usize]
    }

    fn look(&mut self, process: &mut Process, parts: Parts, outs: &mut Outs) {
        let vote = (parts.1.logged(), PeerEpoch(i64::from(parts.2.current.0)));
        process.role = Role::Looking(parts);
        process.generation = self.generations;
        self.generations += 1;
        process.election.look(self.now, vote, &mut outs.election);
    }

    fn on_leading(&mut self, at: usize, process: &mut Process, output: LeadingOutput, outs: &mut Outs) {
        let now = self.now;
        let Role::Leading(leading, links) = &mut process.role else { return };
        match output {
            LeadingOutput::SaveAccepted(epoch) => process.write(Write::Accepted(epoch)),
            LeadingOutput::SaveCurrent(epoch) => process.write(Write::Current(epoch)),
            LeadingOutput::Commit(zxid) => self.on_commit(process, zxid),
            LeadingOutput::Established(epoch) => {
                process.election.on_epoch(PeerEpoch(i64::from(epoch.0)));
                self.on_established(at, process, epoch);
            }
            LeadingOutput::Send { to, bytes } => {
                leading.on_sent(to, bytes.len());
                self.check_promises(at, &process.writes, &bytes);
                self.send(links[&to], false, Chunk::Bytes(bytes));
            }
            LeadingOutput::Close { learner, why, .. } => {
                let conn = links.remove(&learner).expect("it was accepted");
                self.send(conn, false, Chunk::End);
                if matches!(why, LearnerEnd::Ahead { .. }) {
                    self.note("ahead");
                }
            }
            LeadingOutput::SendSnapshot(to) => {
                let zxid = leading.history().committed();
                let conn = links[&to];
                let mut begins = Vec::new();
                leading.on_snapshot_begins(to, zxid, &mut begins);
                for output in begins {
                    let LeadingOutput::Send { bytes, .. } = output else { panic!("{output:?}") };
                    leading.on_sent(to, bytes.len());
                    self.send(conn, false, Chunk::Bytes(bytes));
                }
                leading.on_snapshot_sent(now, to, zxid);
                let held = process.logged.partition_point(|entry| entry.zxid <= zxid);
                self.send(conn, false, Chunk::Snapshot(process.logged[..held].to_vec()));
                self.note("snapshot");
            }
            LeadingOutput::AskDisk { learner, last } => {
                let log = &process.logged[self.nodes[at].durable.purged.min(process.logged.len())..];
                let behind = log.partition_point(|entry| entry.zxid <= last);
                let on_disk = OnDisk {
                    at_or_before: behind.checked_sub(1).map(|at| log[at].zxid),
                    behind: log.get(behind).map(|entry| entry.zxid),
                    until: log.last().map_or(Zxid::ZERO, |entry| entry.zxid),
                    bytes: 0,
                    bytes_max: 0,
                };
                leading.on_disk(now, learner, Disk::Known(on_disk), &mut outs.leading);
            }
            LeadingOutput::ReadDisk { learner, behind, until } => {
                let purged = self.nodes[at].durable.purged.min(process.logged.len());
                let is_there = purged == 0 || process.logged[purged - 1].zxid <= behind;
                let entries =
                    process.logged.iter().filter(|e| is_there && e.zxid > behind && e.zxid <= until);
                let entries = entries.take(2).cloned().collect();
                leading.on_disk_entries(learner, entries, &mut outs.leading);
                self.note("disk");
            }
            LeadingOutput::GiveUp(_) => {
                let role = std::mem::replace(&mut process.role, Role::Looking(self.parts()));
                let Role::Leading(leading, _) = role else { panic!("it led") };
                self.note("leader gave up");
                self.look(process, leading.into_parts(), outs);
            }
            LeadingOutput::Request(_)
            | LeadingOutput::Touched { .. }
            | LeadingOutput::Revalidate { .. }
            | LeadingOutput::Synced(_) => panic!("there are no clients: {output:?}"),
        }
    }

    fn on_learning(&mut self, at: usize, process: &mut Process, output: LearningOutput, outs: &mut Outs) {
        let Role::Learning(_, link) = &process.role else { return };
        match output {
            LearningOutput::Dial(host, _) => {
                let leader = host[1..].parse().expect("the number of a server");
                let due = self.now + self.delay();
                self.dials.push((due, at, process.generation, leader));
            }
            LearningOutput::Send(bytes) => {
                self.check_promises(at, &process.writes, &bytes);
                self.send(link.expect("connected"), true, Chunk::Bytes(bytes));
            }
            LearningOutput::SaveAccepted(epoch) => process.write(Write::Accepted(epoch)),
            LearningOutput::SaveCurrent(epoch) => {
                process.former = None;
                process.write(Write::Current(epoch));
            }
            LearningOutput::DropSnapshot => {
                if let Some(former) = process.former.take() {
                    process.forget_writes();
                    process.logged = former;
                }
                process.write(Write::DropSnapshot);
                self.note("snapshot dropped");
            }
            LearningOutput::Append(entry) => {
                process.logged.push(entry.clone());
                process.write(Write::Append(entry, true));
            }
            LearningOutput::Truncate(zxid) => {
                assert!(zxid >= process.committed);
                process.forget_writes();
                process.logged.retain(|entry| entry.zxid <= zxid);
                process.write(Write::Truncate(zxid));
                self.note("truncated");
            }
            LearningOutput::ReceiveSnapshot(zxid, rest) => {
                assert!(rest.is_empty(), "chunks are sent by themselves");
                process.receiving = zxid;
            }
            LearningOutput::Commit(zxid) => self.on_commit(process, zxid),
            LearningOutput::Serve(epoch) => {
                process.election.on_epoch(PeerEpoch(i64::from(epoch.0)));
                self.note("served");
            }
            LearningOutput::GiveUp(why) => {
                use super::learning::LearningEnd::*;
                assert!(
                    matches!(why, NotConnected | Silent | Closed | OldEpoch { .. } | NeedsSnapshot(_)),
                    "{why}"
                );
                if let Some(conn) = *link {
                    self.send(conn, true, Chunk::End);
                }
                let role = std::mem::replace(&mut process.role, Role::Looking(self.parts()));
                let Role::Learning(learning, _) = role else { panic!("it learned") };
                self.look(process, learning.into_parts(), outs);
            }
            LearningOutput::Proposed(_)
            | LearningOutput::Committed(_)
            | LearningOutput::Activate(..)
            | LearningOutput::Synced
            | LearningOutput::Revalidated(..) => panic!("nobody asked for {output:?}"),
        }
    }

    /// Stands for the parts of a role that is being taken apart.
    fn parts(&self) -> Parts {
        let epochs = Epochs { accepted: Epoch(0), current: Epoch(0) };
        (self.quorums.clone(), History::new(1, 1, Zxid::ZERO), epochs)
    }

    fn send(&mut self, conn: usize, is_up: bool, chunk: Chunk) {
        let due = self.now + self.delay();
        let conn = &mut self.conns[conn];
        let queue = if is_up { &mut conn.up } else { &mut conn.down };
        queue.push_back((due, chunk));
    }

    /// What leaves is on the disk of who says it.
    fn check_promises(&self, at: usize, writes: &VecDeque<(u64, Write)>, bytes: &[u8]) {
        let durable = &self.nodes[at].durable;
        let (mut rest, mut said) = (bytes, Vec::new());
        while let Some((packet, length)) = cut(rest, 1 << 20).expect("well-formed") {
            rest = &rest[length..];
            let is_promise = packet.data != Some(&[0xff; 4]);
            said.push((PacketKind::from_i32(packet.kind).expect("known"), packet.zxid, is_promise));
        }
        let is_there = |zxid| durable.log.iter().any(|entry| entry.zxid == zxid);
        for (kind, zxid, is_promise) in said {
            match kind {
                PacketKind::LeaderInfo => {
                    assert!(durable.epochs.accepted >= zxid.epoch(), "{zxid} is promised")
                }
                PacketKind::AckEpoch if is_promise => {
                    let is_saved = |(_, write): &(u64, Write)| !matches!(write, Write::Accepted(_));
                    assert!(writes.iter().all(is_saved), "an epoch is accepted before that is durable");
                }
                PacketKind::Ack if zxid.counter() == 0 => {
                    assert!(durable.epochs.current >= zxid.epoch(), "{zxid}")
                }
                PacketKind::Ack => assert!(is_there(zxid), "{zxid} is acknowledged before it is durable"),
                _ => {}
            }
        }
    }

    fn on_commit(&mut self, process: &mut Process, zxid: Zxid) {
        let until = process.logged.partition_point(|entry| entry.zxid <= zxid);
        let logged = &process.logged[..until];
        let shared = until.min(self.committed.len());
        assert_eq!(logged[..shared], self.committed[..shared], "two histories");
        for entry in &logged[shared..] {
            let has = |id: ServerId| self.nodes[id.0 as usize].durable.log.contains(entry);
            assert!(self.quorums.is_quorum(has), "{} is committed, but no quorum has it on disk", entry.zxid);
            self.committed.push(entry.clone());
        }
        assert!(zxid >= process.committed);
        process.committed = zxid;
    }

    fn on_established(&mut self, at: usize, process: &Process, epoch: Epoch) {
        assert_eq!(self.leaders.insert(epoch, at), None, "two leaders in {epoch:?}");
        let has_all = process.logged.len() >= self.committed.len()
            && process.logged[..self.committed.len()] == self.committed[..];
        assert!(has_all, "the leader of {epoch:?} lacks what was committed");
        let promised = |id: ServerId| {
            let epochs = self.nodes[id.0 as usize].durable.epochs;
            epochs.accepted >= epoch && epochs.current >= epoch
        };
        assert!(self.quorums.is_quorum(promised), "{epoch:?} is led, but no quorum has it on disk");
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.step();
        }
    }
}

/// Of every run of the tests; more by a higher number here.
const SEEDS: u64 = 40;

fn run(seed: u64) -> Ensemble {
    let (voters, observers) = [(3, 0), (3, 1), (5, 0), (1, 1), (2, 0)][seed as usize % 5];
    let mut ensemble = Ensemble::new(seed, voters, observers);
    ensemble.is_misled = seed % 2 == 1;
    ensemble.run(20_000);
    if std::mem::take(&mut ensemble.is_misled) {
        // What they were told of each other they would tell each other for ever.
        (0..ensemble.nodes.len()).for_each(|node| ensemble.crash(node));
    }
    ensemble.is_calm = true;
    ensemble.cut.clear();
    ensemble.run(10_000);
    let before = ensemble.committed.len();
    ensemble.run(3_000);
    assert!(ensemble.committed.len() > before, "seed {seed}: nothing is committed any more");
    // Whoever serves has what was committed; nobody is left out.
    for node in &ensemble.nodes {
        let process = node.process.as_ref().expect("all are up");
        let is_in = match &process.role {
            Role::Leading(leading, _) => leading.is_established(),
            Role::Learning(learning, _) => learning.is_serving(),
            Role::Looking(_) => false,
        };
        assert!(is_in, "seed {seed}: server {} is left out", node.id.0);
        let until = process.logged.partition_point(|entry| entry.zxid <= process.committed);
        assert_eq!(process.logged[..until], ensemble.committed[..until], "seed {seed}");
        assert!(until + 20 > ensemble.committed.len(), "seed {seed}: server {} is far behind", node.id.0);
    }
    ensemble
}

#[test]
fn one_leader_one_history_nothing_lost() {
    let (mut seen, mut crashes, mut committed, mut epochs) = (BTreeMap::new(), 0, 0, 0);
    for seed in 0..SEEDS {
        // Shown if an assertion fails: it replays alone.
        println!("seed {seed}");
        let ensemble = run(seed);
        for (what, count) in &ensemble.seen {
            *seen.entry(*what).or_insert(0) += count;
        }
        crashes += ensemble.crashes;
        committed += ensemble.committed.len();
        epochs += ensemble.leaders.len();
    }
    // What is rare was there.
    for what in ["served", "snapshot", "disk", "truncated", "leader gave up"] {
        assert!(seen.get(what).is_some_and(|count| *count > 0), "{what} never happened: {seen:?}");
    }
    assert!(crashes > 100 && committed > 1000 && epochs > 100, "{crashes} {committed} {epochs}");
}
