//! Watch fan-out: one change to a node, one event to each of its watchers. Every round changes one node, waits until
//! every watcher has its event and, with one-shot watches, sets them again. CPU time is counted apart for delivery and
//! for setting watches. An event of the wrong type or path, a second one, or a missing one fails the run.

use super::hosts::Hosts;
use super::keys;
use super::load::new_histogram;
use super::net::{CLOSED, Conn, REPLY_WAIT_MAX, Session, encode_request, say};
use super::outcome::{CpuMeter, Latency, Outcome};
use super::process::ServerProcess;
use super::progress::Progress;
use super::workload::Shape;
use crate::io::poller::Poller;
use crate::wire::codes::XID_NOTIFICATION;
use crate::wire::{EventType, Op, Reader, ReplyHeader, Writer};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Who watches what, how often it changes.
#[derive(Clone, Copy, Debug)]
pub struct FanOutPlan {
    /// Connections that watch.
    pub connections: usize,
    /// Nodes that each of them watches: connection c watches nodes c, c + 1, ... modulo the number of nodes.
    pub watches_each: u64,
    /// addWatch (persistent) in place of getData (one-shot).
    pub is_persistent: bool,
    /// Changes that are measured.
    pub rounds: u64,
    /// Changes before those.
    pub warm_up_rounds: u64,
    /// Another client reads all the time, and its latency is reported.
    pub is_probed: bool,
    /// Asked for at connect.
    pub timeout_ms: i32,
}

struct Watcher {
    conn: Conn,
    has_event: bool,
    replies_due: u32,
}

struct FanOut<'a> {
    plan: FanOutPlan,
    shape: &'a Shape,
    poller: Poller,
    watchers: Vec<Watcher>,
    writer: Watcher,
    prober: Watcher,
    probed_at: Instant,
    events: Histogram<u64>,
    last_events: Histogram<u64>,
    probes: Histogram<u64>,
    ready: Vec<crate::io::poller::Ready>,
}

/// Runs all rounds; nodes must exist.
pub fn run(
    hosts: &Hosts,
    plan: FanOutPlan,
    shape: &Shape,
    server: Option<ServerProcess>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut fan_out = FanOut::open(hosts, plan, shape)?;
    let all: Vec<(usize, u64)> = (0..plan.connections)
        .flat_map(|index| {
            (0..plan.watches_each).map(move |step| (index, (index as u64 + step) % shape.nodes))
        })
        .collect();
    fan_out.set_watches(&all)?;
    let (mut deliver_ns, mut arm_ns, mut events, mut elapsed) = (0, 0, 0u64, Duration::ZERO);
    let whole = CpuMeter::start(server);
    let mut progress = Progress::of("changes");
    for round in 0..plan.warm_up_rounds + plan.rounds {
        progress.at(round, plan.warm_up_rounds + plan.rounds);
        let is_measured = round >= plan.warm_up_rounds;
        let key = round % shape.nodes;
        let of_key: Vec<(usize, u64)> = all.iter().filter(|(_, watched)| *watched == key).copied().collect();
        let (meter, started) = (CpuMeter::start(server), Instant::now());
        fan_out.change(key, &of_key, is_measured)?;
        let took = started.elapsed();
        let delivered_ns = meter.server_ns().unwrap_or(0);
        let meter = CpuMeter::start(server);
        if !plan.is_persistent {
            fan_out.set_watches(&of_key)?;
        }
        if is_measured {
            events += of_key.len() as u64;
            elapsed += took;
            deliver_ns += delivered_ns;
            arm_ns += meter.server_ns().unwrap_or(0);
        }
    }
    whole.finish(outcome, events, elapsed, 1);
    fan_out.report(outcome);
    if server.is_some() {
        let per_event = |ns: u64| ns as f64 / 1e3 / events.max(1) as f64;
        outcome.server_cpu_us_per_operation = Some(per_event(deliver_ns));
        outcome.server_cpu_percent = Some(deliver_ns as f64 / 1e7 / elapsed.as_secs_f64().max(1e-9));
        if !plan.is_persistent {
            outcome.extra.insert("set_watch_cpu_us".into(), per_event(arm_ns));
            outcome.extra.insert("event_and_set_watch_cpu_us".into(), per_event(deliver_ns + arm_ns));
        }
    }
    // One thread sends and receives all; while it does, the server is what it waits for.
    outcome.is_generator_limited = false;
    Ok(())
}

impl<'a> FanOut<'a> {
    fn open(hosts: &Hosts, plan: FanOutPlan, shape: &'a Shape) -> Result<FanOut<'a>, String> {
        let poller = Poller::new().map_err(say("create a poller"))?;
        let watcher_of = |(token, session): (u64, Session)| {
            let conn = Conn::new(session.into_socket(), &poller, token)?;
            Ok(Watcher { conn, has_event: false, replies_due: 0 })
        };
        let sessions = Session::open_many(hosts, plan.timeout_ms, plan.connections as u64)?;
        let watchers = (0..).zip(sessions).map(watcher_of).collect::<Result<Vec<_>, String>>()?;
        let open = |token| watcher_of((token, Session::open(hosts, plan.timeout_ms)?));
        let (writer, prober) = (open(WRITER)?, open(PROBER)?);
        Ok(FanOut {
            plan,
            shape,
            watchers,
            writer,
            prober,
            poller,
            probed_at: Instant::now(),
            events: new_histogram(),
            last_events: new_histogram(),
            probes: new_histogram(),
            ready: Vec::new(),
        })
    }

    /// Sets the watches given as (connection, key), and waits for every reply.
    fn set_watches(&mut self, watches: &[(usize, u64)]) -> Result<(), String> {
        for (index, key) in watches {
            let path = keys::path(&self.shape.folder, *key);
            let watcher = &mut self.watchers[*index];
            let xid = watcher.conn.take_xid();
            let op = if self.plan.is_persistent { Op::AddWatch } else { Op::GetData };
            encode_request(&mut watcher.conn.output, xid, op, |out| {
                let mut writer = Writer::new(out);
                writer.string(&path);
                if op == Op::AddWatch { writer.int(0) } else { writer.boolean(true) }
            });
            watcher.replies_due += 1;
            watcher.conn.flush(&self.poller)?;
        }
        let mut due = watches.len() as u64;
        let started = Instant::now();
        while due > 0 {
            check_patience(started)?;
            self.wait()?;
            for at in 0..self.ready.len() {
                let token = self.ready[at].token;
                if let Some(index) = watcher_index(token) {
                    due -= receive_replies(&mut self.watchers[index], &self.poller)?;
                }
            }
        }
        Ok(())
    }

    /// Changes a node and waits for the events of `watching`, which are (connection, key).
    fn change(&mut self, key: u64, watching: &[(usize, u64)], is_measured: bool) -> Result<(), String> {
        let path = keys::path(&self.shape.folder, key);
        let value = keys::value(key, self.shape.value_bytes);
        watching.iter().for_each(|(index, _)| self.watchers[*index].has_event = false);
        let xid = self.writer.conn.take_xid();
        encode_request(&mut self.writer.conn.output, xid, Op::SetData, |out| {
            let mut writer = Writer::new(out);
            writer.string(&path);
            writer.buffer(Some(&value));
            writer.int(-1);
        });
        self.writer.replies_due = 1;
        if self.plan.is_probed && self.prober.replies_due == 0 {
            self.probe()?;
        }
        let started = Instant::now();
        self.writer.conn.flush(&self.poller)?;
        let (mut due, mut last_event_ns) = (watching.len(), 0);
        while due > 0 || self.writer.replies_due > 0 || self.prober.replies_due > 0 {
            check_patience(started)?;
            self.wait()?;
            for at in 0..self.ready.len() {
                match self.ready[at].token {
                    WRITER => {
                        receive_replies(&mut self.writer, &self.poller)?;
                    }
                    PROBER => self.on_probe(due > 0)?,
                    token => {
                        let watcher = &mut self.watchers[token as usize];
                        if receive_event(watcher, &path)? {
                            due = due.checked_sub(1).ok_or("more events came than there are watchers")?;
                            last_event_ns = started.elapsed().as_nanos() as u64;
                            if is_measured {
                                self.events.saturating_record(last_event_ns);
                            }
                        }
                    }
                }
            }
        }
        if is_measured {
            self.last_events.saturating_record(last_event_ns);
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), String> {
        let xid = self.prober.conn.take_xid();
        let folder = &self.shape.folder;
        encode_request(&mut self.prober.conn.output, xid, Op::Exists, |out| {
            let mut writer = Writer::new(out);
            writer.string(folder);
            writer.boolean(false);
        });
        self.prober.replies_due = 1;
        self.probed_at = Instant::now();
        self.prober.conn.flush(&self.poller)
    }

    fn on_probe(&mut self, is_more: bool) -> Result<(), String> {
        if receive_replies(&mut self.prober, &self.poller)? > 0 {
            self.probes.saturating_record(self.probed_at.elapsed().as_nanos() as u64);
            if is_more {
                self.probe()?;
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        self.poller
            .wait(Some(Duration::from_millis(100)), &mut self.ready)
            .map_err(say("wait for the server"))
    }

    fn report(&self, outcome: &mut Outcome) {
        outcome.latency_us.insert("event".into(), Latency::of(&self.events));
        outcome.latency_us.insert("last event".into(), Latency::of(&self.last_events));
        if self.plan.is_probed {
            outcome.latency_us.insert("probe".into(), Latency::of(&self.probes));
        }
    }
}

/// Takes replies of requests that cannot fail; how many came.
fn receive_replies(watcher: &mut Watcher, poller: &Poller) -> Result<u64, String> {
    watcher.conn.flush(poller)?;
    if !watcher.conn.receive()? {
        return Err(CLOSED.into());
    }
    let mut replies = 0;
    while let Some(frame) = watcher.conn.next_frame()? {
        let header =
            ReplyHeader::decode(&mut Reader::new(frame)).map_err(|error| format!("a bad reply: {error}"))?;
        if header.err != 0 || header.xid < 0 || watcher.replies_due == 0 {
            return Err(format!("an unexpected frame came: xid {}, code {}", header.xid, header.err));
        }
        watcher.replies_due -= 1;
        replies += 1;
    }
    Ok(replies)
}

/// True if the one event that is due came.
fn receive_event(watcher: &mut Watcher, path: &str) -> Result<bool, String> {
    if !watcher.conn.receive()? {
        return Err(CLOSED.into());
    }
    let Some(frame) = watcher.conn.next_frame()? else { return Ok(false) };
    let mut reader = Reader::new(frame);
    let mut decode = || {
        let header = ReplyHeader::decode(&mut reader).ok()?;
        let (event, state) = (reader.int().ok()?, reader.int().ok()?);
        let is_change = event == EventType::NodeDataChanged as i32 && state == SYNC_CONNECTED;
        let is_ours = reader.buffer().ok()? == Some(path.as_bytes()) && reader.remaining() == 0;
        Some(header.xid == XID_NOTIFICATION && header.err == 0 && is_change && is_ours)
    };
    if decode() != Some(true) || watcher.has_event {
        return Err(format!("a watcher of {path} received something else, or a second event"));
    }
    watcher.has_event = true;
    Ok(true)
}

fn check_patience(started: Instant) -> Result<(), String> {
    if started.elapsed() > REPLY_WAIT_MAX {
        return Err("an event or a reply is missing".into());
    }
    Ok(())
}

fn watcher_index(token: u64) -> Option<usize> {
    (token < PROBER).then_some(token as usize)
}

const WRITER: u64 = u64::MAX;
const PROBER: u64 = u64::MAX - 1;
/// `KeeperState.SyncConnected`.
const SYNC_CONNECTED: i32 = 3;
