//! Connections of the load generator: framing, buffers, handshake. `Conn` never blocks and belongs to one poller;
//! `Session` blocks and serves the work around a run (creating nodes, deleting them). Reuses its buffers, so that a
//! request costs the generator no allocation.

use super::hosts::Hosts;
use crate::cli::client::code_name;
use crate::ids::{SessionId, Zxid};
use crate::io::poller::Poller;
use crate::wire::codes::XID_AUTH;
use crate::wire::{ConnectRequest, ConnectResponse, Op, Reader, ReplyHeader, RequestHeader, Writer};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection that never blocks.
pub struct Conn {
    socket: TcpStream,
    input: Vec<u8>,
    /// Invariant: `start <= end <= input.len()`; the bytes between them are received and not yet consumed.
    start: usize,
    end: usize,
    /// Frames to send; `sent` of its bytes are gone already.
    pub output: Vec<u8>,
    sent: usize,
    is_write_watched: bool,
    next_xid: i32,
    token: u64,
}

impl Conn {
    /// Takes a socket over and registers it.
    pub fn new(socket: TcpStream, poller: &Poller, token: u64) -> Result<Conn, String> {
        socket
            .set_nonblocking(true)
            .and_then(|()| socket.set_nodelay(true))
            .map_err(say("set up a socket"))?;
        poller.add(&socket, token, false).map_err(say("watch a socket"))?;
        Ok(Conn {
            socket,
            input: vec![0; INPUT_BYTES_MIN],
            start: 0,
            end: 0,
            output: Vec::new(),
            sent: 0,
            is_write_watched: false,
            next_xid: 1,
            token,
        })
    }

    /// The xid for the next request: 1, 2, ... and 1 again after the largest, as ZooKeeper's clients do.
    pub fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        xid
    }

    /// Reads once. False at the end of the stream.
    pub fn receive(&mut self) -> Result<bool, String> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.input.len() - self.end < INPUT_BYTES_MIN / 4 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.input.len() - self.end < INPUT_BYTES_MIN / 4 {
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        loop {
            match self.socket.read(&mut self.input[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.end += count;
                    if self.end == self.input.len() && self.end < INPUT_BYTES_GROWN {
                        // A full buffer means that more waited: many small reads would slow both sides down.
                        self.input.resize(self.end * 2, 0);
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// The next whole frame that has been received, without its length.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, String> {
        let Some((head, rest)) = self.input[self.start..self.end].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = frame_length(*head)?;
        if rest.len() < length {
            return Ok(None);
        }
        let at = self.start + 4;
        self.start = at + length;
        Ok(Some(&self.input[at..at + length]))
    }

    /// Sends what the socket takes, and watches it for writing while something is left.
    pub fn flush(&mut self, poller: &Poller) -> Result<(), String> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(&error)),
            }
        }
        let is_left = self.sent < self.output.len();
        if !is_left {
            self.output.clear();
            self.sent = 0;
        }
        if is_left != self.is_write_watched {
            self.is_write_watched = is_left;
            poller.modify(&self.socket, self.token, is_left).map_err(say("watch a socket"))?;
        }
        Ok(())
    }
}

/// A blocking connection with an open session.
pub struct Session {
    socket: TcpStream,
    next_xid: i32,
    /// As negotiated.
    pub timeout_ms: i32,
}

impl Session {
    /// Connects to the first server and opens a new session.
    pub fn open(hosts: &Hosts, timeout_ms: i32) -> Result<Session, String> {
        Session::open_at(hosts, hosts.first(), timeout_ms)
    }

    /// The same with this one of them.
    pub fn open_at(hosts: &Hosts, address: SocketAddr, timeout_ms: i32) -> Result<Session, String> {
        Session::on_connected(ask_for_session(address, timeout_ms)?, hosts, 0)
    }

    /// Opens `count` sessions, some at the same time: one after the other, many take so long that the first expire.
    pub fn open_many(hosts: &Hosts, timeout_ms: i32, count: u64) -> Result<Vec<Session>, String> {
        let mut sessions = Vec::with_capacity(count as usize);
        while (sessions.len() as u64) < count {
            let batch = OPENED_AT_ONCE.min(count - sessions.len() as u64);
            let asked = (0..batch).map(|_| ask_for_session(hosts.next(), timeout_ms));
            for socket in asked.collect::<Result<Vec<_>, String>>()? {
                sessions.push(Session::on_connected(socket, hosts, sessions.len())?);
            }
        }
        Ok(sessions)
    }

    /// `before`: sessions opened before it.
    fn on_connected(mut socket: TcpStream, hosts: &Hosts, before: usize) -> Result<Session, String> {
        let frame = receive_frame(&mut socket).map_err(|error| match error {
            FrameError::Io(error) if is_closed(&error) => {
                turned_away(&format!("connection {}", before + 1), before > 0)
            }
            error => error.to_string(),
        })?;
        let response = check_connect(&frame)?;
        let mut session = Session { socket, next_xid: 1, timeout_ms: response.timeout_ms };
        session.prove(hosts)?;
        Ok(session)
    }

    fn prove(&mut self, hosts: &Hosts) -> Result<(), String> {
        let Some(auth) = hosts.auth() else { return Ok(()) };
        let mut frame = Vec::new();
        encode_request(&mut frame, XID_AUTH, Op::Auth, |out| {
            let mut writer = Writer::new(out);
            writer.int(0);
            writer.string(&auth.scheme);
            writer.buffer(Some(auth.secret.as_bytes()));
        });
        let refused = |why: String| format!("the server refused the identity of --auth: {why}");
        self.socket.write_all(&frame).map_err(|error| refused(lost(&error)))?;
        let reply = read_frame(&mut self.socket).map_err(refused)?;
        let header =
            ReplyHeader::decode(&mut Reader::new(&reply)).map_err(|error| format!("a bad reply: {error}"))?;
        match (header.xid, header.err) {
            (XID_AUTH, 0) => Ok(()),
            (_, code) => Err(refused(format!("{} ({code})", code_name(code)))),
        }
    }

    /// The socket, for a `Conn`.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// One request; the error code and the body of its reply.
    pub fn call(&mut self, op: Op, body: impl FnOnce(&mut Vec<u8>)) -> Result<(i32, Vec<u8>), String> {
        let mut result = None;
        let mut body = Some(body);
        self.pipeline(
            1,
            |_, xid, out| {
                let body = body.take().expect("one request is encoded once");
                encode_request(out, xid, op, body);
            },
            |_, code, body| {
                result = Some((code, body.to_vec()));
                Ok(())
            },
        )?;
        Ok(result.expect("a pipeline of one request yields one reply"))
    }

    /// Sends `count` requests, some hundred in flight, and hands each reply (number, code, body) to `check`.
    pub fn pipeline(
        &mut self,
        count: u64,
        mut encode: impl FnMut(u64, i32, &mut Vec<u8>),
        mut check: impl FnMut(u64, i32, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut out = Vec::new();
        let mut next = 0;
        while next < count {
            let batch = SETUP_IN_FLIGHT.min(count - next);
            out.clear();
            let first_xid = self.next_xid;
            for number in next..next + batch {
                encode(number, self.next_xid, &mut out);
                self.next_xid += 1;
            }
            self.socket.write_all(&out).map_err(|error| lost(&error))?;
            for number in next..next + batch {
                let frame = read_frame(&mut self.socket)?;
                let mut reader = Reader::new(&frame);
                let header =
                    ReplyHeader::decode(&mut reader).map_err(|error| format!("a bad reply: {error}"))?;
                let expected = first_xid + (number - next) as i32;
                if header.xid != expected {
                    return Err(format!("a reply to request {} came where {expected} was due", header.xid));
                }
                check(number, header.err, reader.rest())?;
            }
            next += batch;
        }
        Ok(())
    }

    /// Closes the session and waits for the server's word.
    pub fn close(mut self) -> Result<(), String> {
        match self.call(Op::CloseSession, |_| {})? {
            (0, _) => Ok(()),
            (code, _) => Err(failed("closing a session", code)),
        }
    }
}

/// Connects and sends the connect request.
fn ask_for_session(address: SocketAddr, timeout_ms: i32) -> Result<TcpStream, String> {
    let mut socket = TcpStream::connect_timeout(&address, REPLY_WAIT_MAX)
        .map_err(|error| format!("cannot connect to {address}: {error}. --server names another server"))?;
    socket
        .set_nodelay(true)
        .and_then(|()| socket.set_read_timeout(Some(REPLY_WAIT_MAX)))
        .map_err(say("set up a socket"))?;
    let mut frame = Vec::new();
    encode_connect(&mut frame, timeout_ms);
    match socket.write_all(&frame) {
        // Reading the answer tells it, too, and whoever waits for that knows which connection it was.
        Err(error) if !is_closed(&error) => Err(lost(&error)),
        _ => Ok(socket),
    }
}

/// Appends a whole request frame.
pub fn encode_request(out: &mut Vec<u8>, xid: i32, op: Op, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    RequestHeader { xid, op: op as i32 }.encode(out);
    body(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends the frame that asks for a new session.
pub fn encode_connect(out: &mut Vec<u8>, timeout_ms: i32) {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session: SessionId::NONE,
        password: Some(&[0; 16]),
        read_only: Some(false),
    };
    let start = out.len();
    Writer::new(out).int(0);
    request.encode(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Reads the answer to a connect request; an error if the session was refused.
pub fn check_connect(frame: &[u8]) -> Result<ConnectResponse, String> {
    let response =
        ConnectResponse::decode(frame).map_err(|error| format!("a bad connect response: {error}"))?;
    if response.timeout_ms <= 0 || response.session == SessionId::NONE {
        return Err("the server refused the session".into());
    }
    Ok(response)
}

fn read_frame(socket: &mut TcpStream) -> Result<Vec<u8>, String> {
    receive_frame(socket).map_err(|error| error.to_string())
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error("{}", lost(.0))]
    Io(std::io::Error),
    #[error("{0}")]
    Nonsense(String),
}

fn receive_frame(socket: &mut TcpStream) -> Result<Vec<u8>, FrameError> {
    let mut head = [0; 4];
    socket.read_exact(&mut head).map_err(FrameError::Io)?;
    let mut frame = vec![0; frame_length(head).map_err(FrameError::Nonsense)?];
    socket.read_exact(&mut frame).map_err(FrameError::Io)?;
    Ok(frame)
}

fn is_closed(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// What an error of a socket means here.
fn lost(error: &std::io::Error) -> String {
    if is_closed(error) {
        return CLOSED.into();
    }
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("the server has not answered for {} s", REPLY_WAIT_MAX.as_secs())
        }
        _ => format!("the connection to the server failed: {error}"),
    }
}

/// The server closed a connection before there was a session on it; `others`: there are sessions on others.
pub fn turned_away(which: &str, others: bool) -> String {
    let bounds = "its zoo.cfg bounds the connections of one address (maxClientCnxns: 60 unless set, 0 for no bound) and of all \
                  (maxCnxns). Raise it, or use fewer";
    let others_too =
        if others { "" } else { "it is no ZooKeeper server, its port is one for TLS, or it takes no more: " };
    format!("the server closed {which} before a session was open: {others_too}{bounds}")
}

/// A request that got an error for an answer: by its name, and what to do.
pub fn failed(what: &str, code: i32) -> String {
    let advice = match code_name(code) {
        "NoAuth" => "; prove an identity that may, by --auth SCHEME:AUTH, or name another --folder",
        "NoNode" => {
            "; nobody else may change the folder of a run, and --reuse needs what preload has left there"
        }
        "SessionExpired" => "; --session-timeout-ms asks for a longer timeout",
        "QuotaExceeded" => "; there is a quota above the folder: name another one by --folder",
        "ThrottledOp" => "; the server is overloaded: use fewer connections or requests in flight",
        _ => "",
    };
    format!("{what} failed: {} ({code}){advice}", code_name(code))
}

/// See `lost`.
pub const CLOSED: &str = "the server closed a connection; its log says why";

fn frame_length(head: [u8; 4]) -> Result<usize, String> {
    let length = i32::from_be_bytes(head);
    if (0..=FRAME_BYTES_MAX).contains(&length) {
        return Ok(length as usize);
    }
    Err(format!("the server sent a frame of {length} bytes"))
}

/// Turns an IO error into a sentence.
pub fn say(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("cannot {what}: {error}")
}

/// First size of a connection's input buffer: a turn of pipelined replies. Grows with the frames that come.
const INPUT_BYTES_MIN: usize = 16 * 1024;
/// Size up to which full reads grow it; larger only for a frame that needs it.
const INPUT_BYTES_GROWN: usize = 256 * 1024;
/// Larger frames are taken for nonsense. A list of a million children fits.
const FRAME_BYTES_MAX: i32 = 256 * 1024 * 1024;
/// Sessions that are asked for before the first of them is awaited. Fewer than the 50 connections that Apache lets wait to be
/// accepted: one too many is tried again by the kernel after a second.
const OPENED_AT_ONCE: u64 = 32;
/// Requests in flight while preparing and cleaning up.
const SETUP_IN_FLIGHT: u64 = 256;
/// The longest a server may be silent while a reply is due.
pub const REPLY_WAIT_MAX: Duration = Duration::from_secs(30);
