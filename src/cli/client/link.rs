//! The connection below a session: the thread that connects, reads, pings and reconnects, and the state it shares with
//! the calls. A request is in `unsent` while there is no connection, then in `sent` until its answer; answers come in the
//! order of requests. Nothing here waits with the lock held, except for a socket that takes a small write.

use super::watches::{Intent, Watches};
use super::{Answer, CONNECTION_LOSS, CallResult, ClientError, Event, SESSION_EXPIRED, Shared, State, tell};
use crate::ids::{SessionId, Zxid};
use crate::wire::codes::{XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use crate::wire::{ConnectRequest, ConnectResponse, ErrorCode, EventType, Op, Reader, ReplyHeader, Writer};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::MutexGuard;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

pub(super) struct Request {
    pub(super) xid: i32,
    pub(super) frame: Vec<u8>,
    pub(super) sender: Option<Sender<CallResult>>,
    pub(super) watch: Option<Intent>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum LinkState {
    #[default]
    Connecting,
    Connected,
    ReadOnly,
    /// The goodbye is on its way.
    Closing,
    AuthFailed,
    Expired,
    Closed,
}

impl LinkState {
    pub(super) fn state(self) -> State {
        match self {
            LinkState::Connecting => State::Connecting,
            LinkState::Connected => State::Connected,
            LinkState::ReadOnly => State::ConnectedReadOnly,
            LinkState::AuthFailed => State::AuthFailed,
            LinkState::Closing | LinkState::Expired | LinkState::Closed => State::Closed,
        }
    }
}

/// An identity to prove, and who waits to hear whether it was.
pub(super) type Auth = (String, Option<Vec<u8>>, Option<Sender<CallResult>>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) phase: LinkState,
    pub(super) next_xid: i32,
    pub(super) auths: Vec<Auth>,
    pub(super) last_failure: String,
    /// The user pressed Ctrl-C: calls fail until that is forgotten.
    pub(super) is_interrupted: bool,
    /// The thread of this client does nothing more.
    pub(super) is_ended: bool,
    stream: Option<TcpStream>,
    /// A connection on which the server has not said yet whether there is a session.
    asking: Option<TcpStream>,
    last_sent: Option<Instant>,
    unsent: VecDeque<Request>,
    sent: VecDeque<Request>,
    /// One entry per auth packet in flight.
    auth_replies: VecDeque<Option<Sender<CallResult>>>,
    pub(super) watches: Watches,
    session: i64,
    password: [u8; 16],
    last_zxid: i64,
    timeout_ms: i32,
}

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Inner> {
    shared.inner.lock().expect("no thread panics with this lock")
}

impl Inner {
    pub(super) fn check_alive(&self) -> Result<(), ClientError> {
        match self.phase {
            LinkState::AuthFailed => Err(ClientError::code(ErrorCode::AuthFailed.code())),
            LinkState::Closing | LinkState::Closed | LinkState::Expired => {
                Err(ClientError::code(SESSION_EXPIRED))
            }
            LinkState::Connecting | LinkState::Connected | LinkState::ReadOnly => Ok(()),
        }
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.unsent.push_back(request);
        self.send_unsent();
    }

    pub(super) fn send_auth(&mut self, index: usize) {
        let (scheme, auth, sender) = &mut self.auths[index];
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.int(0);
        writer.string(scheme);
        writer.buffer(auth.as_deref());
        self.auth_replies.push_back(sender.take());
        self.write(&super::frame(XID_AUTH, Op::Auth, &body));
    }

    /// Everything that waits fails now.
    pub(super) fn fail_all(&mut self, error: &ClientError) {
        self.unsent.drain(..).for_each(|mut request| tell(&mut request.sender, Err(error.clone())));
        let sent = self.sent.iter_mut().map(|request| &mut request.sender);
        let auths = self.auths.iter_mut().map(|(_, _, sender)| sender);
        for sender in sent.chain(auths).chain(self.auth_replies.iter_mut()) {
            tell(sender, Err(error.clone()));
        }
    }

    pub(super) fn become_closed(&mut self) {
        if !matches!(self.phase, LinkState::AuthFailed | LinkState::Expired) {
            self.phase = LinkState::Closed;
        }
        for stream in self.stream.take().into_iter().chain(self.asking.take()) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.fail_all(&ClientError::code(SESSION_EXPIRED));
    }

    fn send_unsent(&mut self) {
        while self.stream.is_some()
            && let Some(request) = self.unsent.pop_front()
        {
            let frame = request.frame.clone();
            self.sent.push_back(request);
            self.write(&frame);
        }
    }

    /// A write that fails ends the connection; the reader notices and tells everybody.
    fn write(&mut self, frame: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        self.last_sent = Some(Instant::now());
        if stream.write_all(frame).is_err() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn become_connected(&mut self, stream: TcpStream, response: &ConnectResponse) -> State {
        self.session = response.session.0;
        self.password = response.password;
        self.timeout_ms = response.timeout_ms;
        self.phase =
            if response.read_only == Some(true) { LinkState::ReadOnly } else { LinkState::Connected };
        self.stream = Some(stream);
        self.asking = None;
        self.last_failure.clear();
        (0..self.auths.len()).for_each(|index| self.send_auth(index));
        self.send_watches();
        self.send_unsent();
        self.phase.state()
    }

    fn send_watches(&mut self) {
        let mut frames = Vec::new();
        for lists in self.watches.groups() {
            let has_persistent = !lists[3].is_empty() || !lists[4].is_empty();
            let (op, count) = if has_persistent { (Op::SetWatches2, 5) } else { (Op::SetWatches, 3) };
            let mut body = Vec::new();
            let mut writer = Writer::new(&mut body);
            writer.long(self.last_zxid);
            lists[..count].iter().for_each(|list| writer.strings(list));
            frames.push(super::frame(XID_SET_WATCHES, op, &body));
        }
        frames.iter().for_each(|frame| self.write(frame));
    }

    fn become_disconnected(&mut self, why: String) {
        self.last_failure = why;
        self.stream = None;
        self.asking = None;
        self.fail_all(&ClientError::code(CONNECTION_LOSS));
        self.sent.clear();
        self.auth_replies.clear();
        if matches!(self.phase, LinkState::Connected | LinkState::ReadOnly) {
            self.phase = LinkState::Connecting;
        }
    }
}

/// The thread of a client, until the session is over.
pub(super) fn run(shared: &Shared) {
    let mut was_connected = false;
    loop {
        let why = match connect(shared) {
            Ok((stream, response)) => {
                if let Err(error) = begin(shared, &stream, &response) {
                    error.to_string()
                } else {
                    was_connected = true;
                    serve(shared, stream, response.timeout_ms).to_string()
                }
            }
            Err(Refusal::Expired) => {
                let mut inner = lock(shared);
                inner.phase = LinkState::Expired;
                inner.fail_all(&ClientError::code(SESSION_EXPIRED));
                "the session has expired".into()
            }
            Err(Refusal::Unreachable(why)) => why,
        };
        let mut inner = lock(shared);
        inner.become_disconnected(why);
        let phase = inner.phase;
        drop(inner);
        shared.changed.notify_all();
        if phase == LinkState::Connecting && was_connected {
            announce(shared, "Disconnected");
        }
        was_connected = false;
        match phase {
            LinkState::Connecting => {}
            LinkState::Expired => return announce(shared, "Expired"),
            LinkState::AuthFailed => return,
            _ => return announce(shared, "Closed"),
        }
        if !pause(shared) {
            return announce(shared, "Closed");
        }
    }
}

/// Between two rounds over the servers; false if the client was closed meanwhile.
fn pause(shared: &Shared) -> bool {
    let inner = lock(shared);
    let is_open = |inner: &mut Inner| inner.phase == LinkState::Connecting;
    let waited = shared.changed.wait_timeout_while(inner, BETWEEN_ROUNDS, is_open);
    waited.expect("no thread panics with this lock").0.phase == LinkState::Connecting
}

enum Refusal {
    Expired,
    Unreachable(String),
}

/// One round over all servers, from a random one on.
fn connect(shared: &Shared) -> Result<(TcpStream, ConnectResponse), Refusal> {
    let hosts = &shared.settings.connect.hosts;
    let limit =
        Duration::from_millis((shared.settings.timeout_ms.max(1000) as u64 / hosts.len() as u64).max(1));
    let first = std::process::id() as usize % hosts.len();
    let mut failures = Vec::new();
    for index in 0..hosts.len() {
        let (host, port) = &hosts[(first + index) % hosts.len()];
        let addresses = match (host.as_str(), *port).to_socket_addrs() {
            Ok(addresses) => addresses.collect::<Vec<_>>(),
            Err(error) => {
                failures.push(format!("{host}:{port}: {error}"));
                continue;
            }
        };
        for address in addresses {
            match handshake(shared, &address, limit) {
                Ok((_, response)) if response.timeout_ms <= 0 => return Err(Refusal::Expired),
                Ok(connected) => return Ok(connected),
                Err(error) => failures.push(format!("{address}: {error}")),
            }
            if !lock(shared).phase.state().is_alive() {
                return Err(Refusal::Unreachable("closed".into()));
            }
        }
    }
    Err(Refusal::Unreachable(failures.join("; ")))
}

fn handshake(
    shared: &Shared,
    address: &SocketAddr,
    limit: Duration,
) -> io::Result<(TcpStream, ConnectResponse)> {
    let mut stream = TcpStream::connect_timeout(address, limit)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut bytes = vec![0; 4];
    {
        let mut inner = lock(shared);
        if !inner.phase.state().is_alive() {
            return Err(io::Error::other("closed"));
        }
        inner.asking = Some(stream.try_clone()?);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(inner.last_zxid),
            timeout_ms: shared.settings.timeout_ms,
            session: SessionId(inner.session),
            password: Some(&inner.password),
            read_only: Some(shared.settings.read_only),
        };
        request.encode(&mut bytes);
    }
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&bytes)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(no_zookeeper)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > HANDSHAKE_BYTES_MAX {
        return Err(io::Error::other("what answers there is no ZooKeeper server"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(no_zookeeper)?;
    let response = ConnectResponse::decode(&body).map_err(io::Error::other)?;
    Ok((stream, response))
}

fn no_zookeeper(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => io::Error::other(NO_SESSION),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::other("connected, but it does not answer as a ZooKeeper server does")
        }
        _ => error,
    }
}

/// The session is served from here on: the other thread may write.
fn begin(shared: &Shared, stream: &TcpStream, response: &ConnectResponse) -> io::Result<()> {
    let third = Duration::from_millis((response.timeout_ms as u64 / 3).max(1));
    stream.set_read_timeout(Some(third))?;
    let mut inner = lock(shared);
    if !inner.phase.state().is_alive() {
        return Err(io::Error::other("closed"));
    }
    let state = inner.become_connected(stream.try_clone()?, response);
    drop(inner);
    shared.changed.notify_all();
    announce(shared, if state == State::Connected { "SyncConnected" } else { "ConnectedReadOnly" });
    Ok(())
}

/// Reads until the connection breaks; returns why.
fn serve(shared: &Shared, mut stream: TcpStream, timeout_ms: i32) -> io::Error {
    let timeout = Duration::from_millis(timeout_ms as u64);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    let mut heard = Instant::now();
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return io::Error::other("the server closed the connection"),
            Ok(length) => {
                heard = Instant::now();
                bytes.extend_from_slice(&chunk[..length]);
                if let Err(error) = take_frames(shared, &mut bytes) {
                    return error;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return error,
        }
        if heard.elapsed() > timeout * 2 / 3 + Duration::from_millis(1) {
            return io::Error::other(format!(
                "the server said nothing for {} ms",
                heard.elapsed().as_millis()
            ));
        }
        let mut inner = lock(shared);
        if inner.last_sent.is_none_or(|sent| sent.elapsed() >= timeout / 4) {
            inner.write(&super::frame(XID_PING, Op::Ping, &[]));
        }
    }
}

fn take_frames(shared: &Shared, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes is no answer")));
        }
        let Some(frame) = bytes.get(at + 4..at + 4 + length) else { break };
        on_frame(shared, frame)?;
        at += 4 + length;
    }
    bytes.drain(..at);
    Ok(())
}

fn on_frame(shared: &Shared, frame: &[u8]) -> io::Result<()> {
    let mut reader = Reader::new(frame);
    let header = ReplyHeader::decode(&mut reader).map_err(io::Error::other)?;
    match header.xid {
        XID_PING | XID_SET_WATCHES => Ok(()),
        XID_NOTIFICATION => on_event(shared, header.zxid, &mut reader),
        XID_AUTH => on_auth(shared, header.err),
        _ => on_reply(shared, &header, reader.rest()),
    }
}

fn on_event(shared: &Shared, zxid: Zxid, reader: &mut Reader<'_>) -> io::Result<()> {
    let kind = reader.int().map_err(io::Error::other)?;
    reader.int().map_err(io::Error::other)?;
    let path = reader.string("path").map_err(io::Error::other)?;
    let (kind, name) = match kind {
        1 => (EventType::NodeCreated, "NodeCreated"),
        2 => (EventType::NodeDeleted, "NodeDeleted"),
        3 => (EventType::NodeDataChanged, "NodeDataChanged"),
        4 => (EventType::NodeChildrenChanged, "NodeChildrenChanged"),
        _ => return Ok(()),
    };
    if lock(shared).watches.fire(kind, &path) {
        let path = super::without_chroot(&shared.settings.connect.chroot, &path);
        (shared.listener)(&Event { state: "SyncConnected", kind: name, path: Some(path), zxid: zxid.0 });
    }
    Ok(())
}

fn on_auth(shared: &Shared, err: i32) -> io::Result<()> {
    let mut inner = lock(shared);
    let mut sender = inner.auth_replies.pop_front().flatten();
    if err == 0 {
        tell(&mut sender, Ok(Answer { body: Vec::new() }));
        return Ok(());
    }
    inner.phase = LinkState::AuthFailed;
    let error = ClientError::code(ErrorCode::AuthFailed.code());
    inner.fail_all(&error);
    drop(inner);
    announce(shared, "AuthFailed");
    tell(&mut sender, Err(error));
    Err(io::Error::other("the server refused the identity"))
}

fn on_reply(shared: &Shared, header: &ReplyHeader, body: &[u8]) -> io::Result<()> {
    let mut inner = lock(shared);
    let Some(mut request) = inner.sent.pop_front() else {
        return Err(io::Error::other(format!("an answer to request {}, which was never made", header.xid)));
    };
    if request.xid != header.xid {
        tell(&mut request.sender, Err(ClientError::code(CONNECTION_LOSS)));
        let (found, wanted) = (header.xid, request.xid);
        return Err(io::Error::other(format!("an answer to request {found} instead of {wanted}")));
    }
    if header.zxid.0 > 0 {
        inner.last_zxid = inner.last_zxid.max(header.zxid.0);
    }
    let mut err = header.err;
    let mut events = Vec::new();
    let mut removed_path = String::new();
    match &request.watch {
        Some(Intent::Remove { path, kind, is_local }) if err == 0 || *is_local => {
            match inner.watches.remove(path, *kind) {
                Some(removed) => (err, events) = (0, removed),
                None => err = ErrorCode::NoWatcher.code(),
            }
            removed_path = super::without_chroot(&shared.settings.connect.chroot, path);
        }
        Some(intent) if err == 0 || err == ErrorCode::NoNode.code() => inner.watches.set(intent, err == 0),
        _ => {}
    }
    drop(inner);
    for kind in events {
        let path = Some(removed_path.clone());
        (shared.listener)(&Event { state: "SyncConnected", kind, path, zxid: -1 });
    }
    let outcome = if err == 0 { Ok(Answer { body: body.to_vec() }) } else { Err(ClientError::code(err)) };
    tell(&mut request.sender, outcome);
    Ok(())
}

fn announce(shared: &Shared, state: &'static str) {
    (shared.listener)(&Event { state, kind: "None", path: None, zxid: -1 });
}

/// What answers closes the connection instead of opening a session.
pub const NO_SESSION: &str = "the server closed the connection without a session";
/// Java's client waits up to a second at random; nothing is gained by that here.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(500);
/// A connect response has 41 bytes; what is longer comes from something else.
const HANDSHAKE_BYTES_MAX: usize = 1024;
/// No server sends more in one frame.
const FRAME_BYTES_MAX: usize = 512 << 20;
