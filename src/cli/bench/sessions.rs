//! Workloads whose subject is the session: a storm of short ones, and a crowd that only pings.

use super::hosts::Hosts;
use super::load::new_histogram;
use super::net::{
    CLOSED, Conn, REPLY_WAIT_MAX, Session, check_connect, encode_connect, encode_request, failed, say,
    turned_away,
};
use super::outcome::{CpuMeter, Latency, Outcome};
use super::process::ServerProcess;
use super::progress::Progress;
use crate::io::poller::Poller;
use crate::wire::codes::XID_PING;
use crate::wire::{Op, Reader, ReplyHeader};
use hdrhistogram::Histogram;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How many sessions, and how.
#[derive(Clone, Copy, Debug)]
pub struct StormPlan {
    /// Sessions opened and closed in all.
    pub sessions: u64,
    /// At the same time.
    pub concurrency: usize,
    /// Asked for at connect.
    pub timeout_ms: i32,
}

struct Slot {
    conn: Conn,
    is_open: bool,
    started: Instant,
}

/// Opens and closes sessions, a new TCP connection each.
pub fn storm(
    hosts: &Hosts,
    plan: StormPlan,
    server: Option<ServerProcess>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut poller = Poller::new().map_err(say("create a poller"))?;
    let (mut opened, mut closed) = (new_histogram(), new_histogram());
    let started = Instant::now();
    let meter = CpuMeter::start(server);
    let mut left = plan.sessions;
    let mut slots = Vec::new();
    for token in 0..(plan.concurrency as u64).min(left) {
        left -= 1;
        slots.push(Some(start_session(hosts.next(), plan.timeout_ms, &poller, token)?));
    }
    let mut ready = Vec::new();
    let mut last_progress = Instant::now();
    let mut progress = Progress::of("sessions opened and closed");
    while closed.len() < plan.sessions {
        progress.at(closed.len(), plan.sessions);
        poller.wait(Some(REPLY_WAIT_MAX), &mut ready).map_err(say("wait for the server"))?;
        if last_progress.elapsed() > REPLY_WAIT_MAX {
            return Err("the server stopped answering".into());
        }
        for ready in &ready {
            let Some(slot) = &mut slots[ready.token as usize] else { continue };
            if !on_storm_ready(slot, &poller, &mut opened)? {
                continue;
            }
            last_progress = Instant::now();
            closed.saturating_record(slot.started.elapsed().as_nanos() as u64);
            slots[ready.token as usize] = match left {
                0 => None,
                _ => Some(start_session(hosts.next(), plan.timeout_ms, &poller, ready.token)?),
            };
            left = left.saturating_sub(1);
        }
    }
    outcome.latency_us.insert("open".into(), Latency::of(&opened));
    outcome.latency_us.insert("open, close".into(), Latency::of(&closed));
    meter.finish(outcome, plan.sessions, started.elapsed(), 1);
    Ok(())
}

/// True when the session of this slot has ended as it should.
fn on_storm_ready(slot: &mut Slot, poller: &Poller, opened: &mut Histogram<u64>) -> Result<bool, String> {
    let received = slot.conn.flush(poller).and_then(|()| slot.conn.receive());
    match received {
        Ok(true) => {}
        Err(error) if error != CLOSED => return Err(error),
        _ if slot.is_open => return Err(CLOSED.into()),
        _ => return Err(turned_away("a connection", !opened.is_empty())),
    }
    let Some(frame) = slot.conn.next_frame()? else { return Ok(false) };
    if slot.is_open {
        let header =
            ReplyHeader::decode(&mut Reader::new(frame)).map_err(|error| format!("a bad reply: {error}"))?;
        if header.err != 0 || header.xid != 1 {
            return Err(match header.err {
                0 => format!("closing a session was answered with a reply to request {}", header.xid),
                code => failed("closing a session", code),
            });
        }
        return Ok(true);
    }
    check_connect(frame)?;
    slot.is_open = true;
    opened.saturating_record(slot.started.elapsed().as_nanos() as u64);
    let xid = slot.conn.take_xid();
    encode_request(&mut slot.conn.output, xid, Op::CloseSession, |_| {});
    slot.conn.flush(poller)?;
    Ok(false)
}

fn start_session(address: SocketAddr, timeout_ms: i32, poller: &Poller, token: u64) -> Result<Slot, String> {
    let started = Instant::now();
    let mut conn = Conn::new(connect_without_waiting(address)?, poller, token)?;
    encode_connect(&mut conn.output, timeout_ms);
    match conn.flush(poller) {
        // Told by whoever reads the answer.
        Err(error) if error != CLOSED => return Err(error),
        _ => {}
    }
    Ok(Slot { conn, is_open: false, started })
}

fn connect_without_waiting(address: SocketAddr) -> Result<TcpStream, String> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(say("create a socket"))?;
    socket.set_nonblocking(true).map_err(say("set up a socket"))?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket.into()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket.into()),
        Err(error) => Err(format!("cannot connect to {address}: {error}")),
    }
}

/// Opens `sessions` sessions, keeps them for `hold` with pings only, and weighs them.
pub fn hold(
    hosts: &Hosts,
    sessions: usize,
    timeout_ms: i32,
    hold: Duration,
    server: Option<ServerProcess>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut poller = Poller::new().map_err(say("create a poller"))?;
    let resident = || server.map(ServerProcess::resident_bytes);
    let before = resident();
    let mut granted_ms = timeout_ms;
    let mut conns = Vec::with_capacity(sessions);
    for (token, session) in (0..).zip(Session::open_many(hosts, timeout_ms, sessions as u64)?) {
        granted_ms = session.timeout_ms;
        conns.push(Conn::new(session.into_socket(), &poller, token)?);
    }
    let interval = Duration::from_millis(granted_ms as u64 / 3) / sessions as u32;
    let mut sent_at = vec![None; sessions];
    let mut pings = new_histogram();
    let (started, meter) = (Instant::now(), CpuMeter::start(server));
    let (mut ready, mut sent) = (Vec::new(), 0u32);
    let mut progress = Progress::of("seconds");
    while started.elapsed() < hold || sent_at.iter().any(Option::is_some) {
        progress.at(started.elapsed().as_secs(), hold.as_secs());
        if started.elapsed() > hold + REPLY_WAIT_MAX {
            return Err("the server did not answer every ping".into());
        }
        while started.elapsed() < hold && started.elapsed() >= interval * sent {
            let index = sent as usize % sessions;
            encode_request(&mut conns[index].output, XID_PING, Op::Ping, |_| {});
            conns[index].flush(&poller)?;
            sent_at[index] = Some(Instant::now());
            sent += 1;
        }
        poller.wait(Some(Duration::from_millis(1)), &mut ready).map_err(say("wait for the server"))?;
        for ready in &ready {
            let index = ready.token as usize;
            if !conns[index].receive()? {
                return Err("the server closed an idle session".into());
            }
            while let Some(frame) = conns[index].next_frame()? {
                let header =
                    ReplyHeader::decode(&mut Reader::new(frame)).map_err(|error| error.to_string())?;
                let Some(at) = sent_at[index].take().filter(|_| header.xid == XID_PING && header.err == 0)
                else {
                    return Err(format!("a reply to {} with code {} came to a ping", header.xid, header.err));
                };
                pings.saturating_record(at.elapsed().as_nanos() as u64);
            }
        }
    }
    outcome.latency_us.insert("ping".into(), Latency::of(&pings));
    meter.finish(outcome, pings.len(), started.elapsed(), 1);
    if let (Some(before), Some(after)) = (before, resident()) {
        let per_session = (after as f64 - before as f64) / sessions as f64;
        outcome.extra.insert("resident_bytes_per_session".into(), per_session);
    }
    Ok(())
}
