//! The loops that send a workload: generator threads, each with its own connections, poller and histograms.
//!
//! Closed loop: every connection keeps its window of requests full. Open loop: request i is due at `start + i / rate`
//! whatever the server does; its latency counts from when it was due, so a stall of the server is charged to every
//! request that it delayed (no coordinated omission). Replies must come in the order of the requests.

use super::hosts::Hosts;
use super::net::{CLOSED, Conn, REPLY_WAIT_MAX, Session, encode_request, say};
use super::workload::{Kind, Requests, Shape};
use crate::io::poller::{self, Poller, Ready};
use crate::wire::{Op, Reader, ReplyHeader};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much to send, and when.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Generator threads.
    pub threads: usize,
    /// Connections of all threads together.
    pub connections: usize,
    /// Requests that one connection may have in flight.
    pub in_flight: usize,
    /// Seconds that are not measured, before `duration`. Zero with `operations`.
    pub warm_up: Duration,
    /// Measured time; ignored with `operations`.
    pub duration: Duration,
    /// Send exactly so many requests, and measure them all.
    pub operations: Option<u64>,
    /// Open loop: requests per second, all threads together.
    pub rate: Option<f64>,
    /// Asked for at connect.
    pub session_timeout_ms: i32,
}

/// What the main thread looks at while the others work.
pub struct Watch {
    /// Passed by the threads and the main thread once all connections are open.
    pub connected: Barrier,
    /// Passed once the main thread has looked at the server; the time of a run starts here.
    pub go: Barrier,
    /// Replies so far.
    pub replies: AtomicU64,
    /// Set by the first thread that fails, so that the others end early.
    pub is_failed: AtomicBool,
}

/// What one thread, or all together, measured.
pub struct Measured {
    /// By `Kind`, in ns; None for a kind that never came.
    pub latency: Vec<Option<Histogram<u64>>>,
    /// Replies within the measured time.
    pub operations: u64,
    /// From the start of the measured time to its end (or to the end of all sessions, with a number of operations).
    pub elapsed: Duration,
}

impl Measured {
    /// Nothing yet.
    pub fn new() -> Measured {
        Measured { latency: vec![None; Kind::NAMES.len()], operations: 0, elapsed: Duration::ZERO }
    }

    /// Adds another thread's figures.
    pub fn merge(&mut self, other: Measured) {
        self.operations += other.operations;
        self.elapsed = self.elapsed.max(other.elapsed);
        for (mine, theirs) in self.latency.iter_mut().zip(other.latency) {
            match (mine.as_mut(), theirs) {
                (Some(mine), Some(theirs)) => mine.add(&theirs).expect("both have the same bounds"),
                (None, theirs) => *mine = theirs,
                (Some(_), None) => {}
            }
        }
    }

    fn record(&mut self, kind: Kind, latency_ns: u64) {
        self.operations += 1;
        self.latency[kind as usize].get_or_insert_with(new_histogram).saturating_record(latency_ns);
    }
}

/// Three digits, up to a minute, in ns.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("bounds that the library takes")
}

/// One thread's whole work: connects, waits for the others, sends, drains, closes its sessions.
pub fn run_thread(
    hosts: &Hosts,
    pace: &Pace,
    shape: &Shape,
    thread: usize,
    watch: &Watch,
) -> Result<Measured, String> {
    let opened = Worker::open(hosts, pace, shape, thread);
    if opened.is_err() {
        watch.is_failed.store(true, Ordering::Relaxed);
    }
    watch.connected.wait();
    watch.go.wait();
    let mut worker = opened?;
    let result = worker.run(watch).and_then(|()| worker.close_sessions());
    if worker.is_counted {
        // The end of the sessions belongs to the work: with ephemeral nodes it is half of it.
        worker.measured.elapsed = worker.start.elapsed();
    }
    if result.is_err() {
        watch.is_failed.store(true, Ordering::Relaxed);
    }
    result.map(|()| worker.measured)
}

/// A request without its reply.
struct InFlight {
    xid: i32,
    kind: Kind,
    key: u64,
    due_ns: u64,
}

struct Client {
    conn: Conn,
    pending: VecDeque<InFlight>,
    last_zxid: i64,
}

struct Worker {
    clients: Vec<Client>,
    poller: Poller,
    requests: Requests,
    measured: Measured,
    in_flight: usize,
    warm_ns: u64,
    end_ns: u64,
    /// Requests still to send.
    left: u64,
    is_counted: bool,
    /// ns between two requests of this thread in open loop.
    interval_ns: Option<f64>,
    issued: u64,
    /// Where the search for a free connection starts, in open loop.
    turn: usize,
    /// Connections with requests not yet flushed, while an open loop issues.
    touched: Vec<usize>,
    start: Instant,
}

impl Worker {
    fn open(hosts: &Hosts, pace: &Pace, shape: &Shape, thread: usize) -> Result<Worker, String> {
        let share = |total: u64| (total + (pace.threads - 1 - thread) as u64) / pace.threads as u64;
        let poller = Poller::new().map_err(say("create a poller"))?;
        let sessions = Session::open_many(hosts, pace.session_timeout_ms, share(pace.connections as u64))?;
        let clients = (0..)
            .zip(sessions)
            .map(|(token, session)| {
                let conn = Conn::new(session.into_socket(), &poller, token)?;
                Ok(Client { conn, pending: VecDeque::with_capacity(pace.in_flight), last_zxid: 0 })
            })
            .collect::<Result<Vec<Client>, String>>()?;
        let warm_ns = pace.warm_up.as_nanos() as u64;
        let end_ns = warm_ns + pace.duration.as_nanos() as u64;
        Ok(Worker {
            requests: Requests::new(shape.clone(), thread as u64, pace.threads as u64, clients.len()),
            clients,
            poller,
            measured: Measured::new(),
            in_flight: pace.in_flight,
            warm_ns: if pace.operations.is_some() { 0 } else { warm_ns },
            end_ns: if pace.operations.is_some() { u64::MAX } else { end_ns },
            left: pace.operations.map_or(u64::MAX, share),
            is_counted: pace.operations.is_some(),
            interval_ns: pace.rate.map(|rate| 1e9 * pace.threads as f64 / rate),
            issued: 0,
            turn: 0,
            touched: Vec::new(),
            start: Instant::now(),
        })
    }

    fn run(&mut self, watch: &Watch) -> Result<(), String> {
        self.start = Instant::now();
        let mut ready = Vec::new();
        if self.interval_ns.is_none() {
            (0..self.clients.len()).try_for_each(|client| self.refill(client))?;
        } else {
            poller::set_precise_timers().map_err(say("ask for precise timers"))?;
        }
        let mut last_reply_ns = 0;
        while !self.is_done() {
            let wait = self.wait_time();
            self.poller.wait(Some(wait), &mut ready).map_err(say("wait for the server"))?;
            let replies = self.on_ready(&ready)?;
            self.issue_due()?;
            let now_ns = self.now_ns();
            if replies > 0 {
                last_reply_ns = now_ns;
                watch.replies.fetch_add(replies, Ordering::Relaxed);
            }
            self.check_silence(now_ns, last_reply_ns)?;
            if watch.is_failed.load(Ordering::Relaxed) {
                break;
            }
        }
        if !self.is_counted {
            self.measured.elapsed = Duration::from_nanos(self.end_ns - self.warm_ns);
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Nothing more is to be sent and nothing is awaited.
    fn is_done(&self) -> bool {
        (self.left == 0 || self.now_ns() >= self.end_ns)
            && self.clients.iter().all(|client| client.pending.is_empty())
    }

    /// Closed loop sleeps until something comes. Open loop sleeps until shortly before the next request is due, then polls: where
    /// the disk's interrupts come to this CPU, kernel threads that finish the server's writes would wait for milliseconds
    /// behind a thread that only polls.
    fn wait_time(&self) -> Duration {
        let Some(due_ns) = self.due_ns() else { return IDLE_WAIT };
        let wait = Duration::from_nanos(due_ns.saturating_sub(self.now_ns())).min(IDLE_WAIT);
        if self.left == 0 { Duration::ZERO } else { wait.saturating_sub(WAKE_UP) }
    }

    /// When the next request of an open loop is due.
    fn due_ns(&self) -> Option<u64> {
        self.interval_ns.map(|interval| (self.issued as f64 * interval) as u64)
    }

    fn check_silence(&self, now_ns: u64, last_reply_ns: u64) -> Result<(), String> {
        let waiting = || self.clients.iter().map(|client| client.pending.len()).sum::<usize>();
        if now_ns.saturating_sub(last_reply_ns) < REPLY_WAIT_MAX.as_nanos() as u64 || waiting() == 0 {
            return Ok(());
        }
        Err(format!("{} replies are missing after {} s of silence", waiting(), REPLY_WAIT_MAX.as_secs()))
    }

    /// Reads from every ready connection; the number of replies.
    fn on_ready(&mut self, ready: &[Ready]) -> Result<u64, String> {
        let mut replies = 0;
        for ready in ready {
            let index = ready.token as usize;
            if ready.readable {
                if !self.clients[index].conn.receive()? {
                    return Err(CLOSED.into());
                }
                replies += self.on_replies(index)?;
            }
            if self.interval_ns.is_none() {
                self.refill(index)?;
            } else if ready.writable {
                self.clients[index].conn.flush(&self.poller)?;
            }
        }
        Ok(replies)
    }

    fn on_replies(&mut self, index: usize) -> Result<u64, String> {
        let now_ns = self.now_ns();
        let is_measured = self.warm_ns <= now_ns && now_ns < self.end_ns;
        let client = &mut self.clients[index];
        let mut replies = 0;
        while let Some(frame) = client.conn.next_frame()? {
            let mut reader = Reader::new(frame);
            let header = ReplyHeader::decode(&mut reader).map_err(|error| format!("a bad reply: {error}"))?;
            let pending = client
                .pending
                .pop_front()
                .ok_or_else(|| format!("a reply to request {} came when no reply was due", header.xid))?;
            if header.xid != pending.xid {
                return Err(format!("a reply to request {} came where {} was due", header.xid, pending.xid));
            }
            if header.zxid.0 < client.last_zxid {
                return Err(format!("zxid {} came after 0x{:x}", header.zxid, client.last_zxid));
            }
            client.last_zxid = header.zxid.0;
            self.requests.check(pending.kind, pending.key, header.err, reader.rest())?;
            if is_measured {
                self.measured.record(pending.kind, now_ns.saturating_sub(pending.due_ns));
            }
            replies += 1;
        }
        Ok(replies)
    }

    /// Closed loop: fills the window of a connection.
    fn refill(&mut self, index: usize) -> Result<(), String> {
        let now_ns = self.now_ns();
        let client = &mut self.clients[index];
        while client.pending.len() < self.in_flight && self.left > 0 && now_ns < self.end_ns {
            send(client, index, &mut self.requests, now_ns);
            self.left -= 1;
        }
        client.conn.flush(&self.poller)
    }

    /// Open loop: sends what is due, as far as connections have room. What finds none stays due.
    fn issue_due(&mut self) -> Result<(), String> {
        let Some(interval_ns) = self.interval_ns else { return Ok(()) };
        let now_ns = self.now_ns();
        while self.left > 0 {
            let due_ns = (self.issued as f64 * interval_ns) as u64;
            if due_ns > now_ns || due_ns >= self.end_ns {
                break;
            }
            let count = self.clients.len();
            let free = (0..count)
                .map(|step| (self.turn + step) % count)
                .find(|index| self.clients[*index].pending.len() < self.in_flight);
            let Some(index) = free else { break };
            self.turn = (index + 1) % count;
            let client = &mut self.clients[index];
            send(client, index, &mut self.requests, due_ns);
            self.touched.push(index);
            self.issued += 1;
            self.left -= 1;
        }
        // What is due at once leaves in one write for each connection; a second flush finds nothing to do.
        for index in self.touched.drain(..) {
            self.clients[index].conn.flush(&self.poller)?;
        }
        Ok(())
    }

    /// Closes every session and waits for the server's word, so that ephemeral nodes are gone when this returns.
    fn close_sessions(&mut self) -> Result<(), String> {
        for client in &mut self.clients {
            let xid = client.conn.take_xid();
            encode_request(&mut client.conn.output, xid, Op::CloseSession, |_| {});
            client.conn.flush(&self.poller)?;
        }
        let started = Instant::now();
        let mut is_closed = vec![false; self.clients.len()];
        let mut ready = Vec::new();
        while is_closed.contains(&false) {
            if started.elapsed() > REPLY_WAIT_MAX {
                return Err("the server did not confirm the end of a session".into());
            }
            self.poller.wait(Some(IDLE_WAIT), &mut ready).map_err(say("wait for the server"))?;
            for ready in &ready {
                let index = ready.token as usize;
                if !is_closed[index] {
                    let conn = &mut self.clients[index].conn;
                    conn.flush(&self.poller)?;
                    let is_open = conn.receive()?;
                    is_closed[index] = conn.next_frame()?.is_some() || !is_open;
                }
            }
        }
        Ok(())
    }
}

/// Appends one request to a connection's output.
fn send(client: &mut Client, index: usize, requests: &mut Requests, due_ns: u64) {
    let xid = client.conn.take_xid();
    let (kind, key) = requests.encode_next(index, xid, &mut client.conn.output);
    client.pending.push_back(InFlight { xid, kind, key, due_ns });
}

/// How often a waiting thread looks at the time.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// About how late a sleeping thread wakes up.
const WAKE_UP: Duration = Duration::from_micros(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let mut all = Measured::new();
        for latency_ns in [1_000, 3_000] {
            let mut one = Measured::new();
            one.record(Kind::Get, latency_ns);
            all.merge(one);
        }
        let get = all.latency[Kind::Get as usize].as_ref().expect("two were recorded");
        assert_eq!((all.operations, get.len()), (2, 2));
        assert!(get.max() >= 3_000 && get.min() <= 1_000);
    }
}
