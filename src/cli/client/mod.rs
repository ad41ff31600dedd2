//! A ZooKeeper client for the operator's commands: blocking calls over one session that outlives its connections.
//!
//! Calls come from any thread and wait for their answer; one thread per client (`link`) connects, reads, pings, and
//! moves the session to the next server when a connection breaks. What was asked for on a broken connection fails with
//! ConnectionLoss, what is asked for meanwhile waits for the next round over the servers, as in ZooKeeper's own client.
//! Watches and identities are set again on every new connection. Events go to the one listener given at the start.
//!
//! It is no client for the load generator, which keeps thousands of requests in flight: that has its own.

mod address;
mod calls;
mod error;
mod link;
pub mod path;
mod watches;

pub use address::ConnectString;
pub use calls::{Create, Kind};
pub use error::{CONNECTION_LOSS, ClientError, SESSION_EXPIRED, code_name};
pub use link::NO_SESSION;
pub use watches::WatchKind;

use crate::wire::{Op, RequestHeader};
use link::{Inner, LinkState, Request, lock};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use watches::Intent;

/// What a client is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers and the chroot.
    pub connect: ConnectString,
    /// Of the session, asked for.
    pub timeout_ms: i32,
    /// Content with a server that only reads.
    pub read_only: bool,
}

/// As `ZooKeeper.States` names it in zkCli's prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Connecting,
    Connected,
    ConnectedReadOnly,
    AuthFailed,
    Closed,
}

impl State {
    /// False once the session is over for good.
    pub fn is_alive(self) -> bool {
        !matches!(self, State::AuthFailed | State::Closed)
    }

    /// True while a server serves this session.
    pub fn is_connected(self) -> bool {
        matches!(self, State::Connected | State::ConnectedReadOnly)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Connecting => "CONNECTING",
            State::Connected => "CONNECTED",
            State::ConnectedReadOnly => "CONNECTEDREADONLY",
            State::AuthFailed => "AUTH_FAILED",
            State::Closed => "CLOSED",
        })
    }
}

/// Something happened to the session or to a watched node; displayed as `WatchedEvent` is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// `KeeperState`.
    pub state: &'static str,
    /// `EventType`; "None" for the session.
    pub kind: &'static str,
    /// Below the chroot; None for the session.
    pub path: Option<String>,
    /// Of the change; -1 if there is none.
    pub zxid: i64,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.as_deref().unwrap_or("null");
        write!(f, "WatchedEvent state:{} type:{} path:{path} zxid: {}", self.state, self.kind, self.zxid)
    }
}

/// Gets every event, on the client's own thread.
pub type Listener = Box<dyn Fn(&Event) + Send + Sync>;

/// The body of a good answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    body: Vec<u8>,
}

type CallResult = Result<Answer, ClientError>;

struct Shared {
    settings: Settings,
    inner: Mutex<Inner>,
    changed: Condvar,
    listener: Listener,
}

/// One session.
pub struct Client {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// Starts to connect and returns at once.
    pub fn start(settings: Settings, listener: Listener) -> Client {
        let inner = Mutex::new(Inner::default());
        let shared = Arc::new(Shared { settings, inner, changed: Condvar::new(), listener });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            link::run(&for_thread);
            lock(&for_thread).is_ended = true;
            for_thread.changed.notify_all();
        });
        Client { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Where the session is now.
    pub fn state(&self) -> State {
        lock(&self.shared).phase.state()
    }

    /// Why there is no connection, for people; empty if nothing went wrong yet.
    pub fn last_failure(&self) -> String {
        lock(&self.shared).last_failure.clone()
    }

    /// Waits for a connection; false if there is none in time.
    pub fn wait_connected(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut inner = lock(&self.shared);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if inner.phase.state().is_connected() {
                return true;
            }
            if left.is_zero() || !inner.phase.state().is_alive() {
                return false;
            }
            inner = self.shared.changed.wait_timeout(inner, left).expect("no thread panics with this lock").0;
        }
    }

    /// Proves an identity to this and every later server, and waits for the first answer.
    pub fn add_auth(&self, scheme: &str, auth: Option<&[u8]>) -> Result<(), ClientError> {
        let (sender, receiver) = channel();
        let mut inner = lock(&self.shared);
        inner.check_alive()?;
        inner.auths.push((scheme.into(), auth.map(<[u8]>::to_vec), Some(sender)));
        if inner.phase.state().is_connected() {
            let index = inner.auths.len() - 1;
            inner.send_auth(index);
        }
        drop(inner);
        wait_for(&receiver, None).map(|_| ())
    }

    /// True if identities were proved beside the address.
    pub fn has_identities(&self) -> bool {
        !lock(&self.shared).auths.is_empty()
    }

    /// True if `addWatch` watches this very subtree already.
    pub fn is_watching_below(&self, path: &str) -> bool {
        lock(&self.shared).watches.is_recursive(&self.with_chroot(path))
    }

    /// Lets every call that waits now fail with `Interrupted`, and every later one until `forget_interrupt`.
    pub fn interrupt(&self) {
        let mut inner = lock(&self.shared);
        inner.is_interrupted = true;
        inner.fail_all(&ClientError::Interrupted);
    }

    /// Calls work again.
    pub fn forget_interrupt(&self) {
        lock(&self.shared).is_interrupted = false;
    }

    /// Ends the session, by agreement with the server if there is a connection.
    pub fn close(&self) {
        if self.state().is_connected() {
            // Whatever the answer is, the session is over for this client.
            let _ = self.call(Op::CloseSession, &[], None, Some(CLOSE_MAX));
        }
        self.abandon();
    }

    /// Leaves without a word: the session lives on until it times out. Waits a moment for the last event to be told, but not
    /// for a thread that asks the network: a name, or an address, that nobody answers for.
    pub fn abandon(&self) {
        lock(&self.shared).become_closed();
        self.shared.changed.notify_all();
        let Some(thread) = self.thread.lock().expect("no thread panics with this lock").take() else {
            return;
        };
        let inner = lock(&self.shared);
        let runs = |inner: &mut link::Inner| !inner.is_ended;
        let waited = self.shared.changed.wait_timeout_while(inner, LAST_EVENT_MAX, runs);
        let has_ended = waited.expect("no thread panics with this lock").0.is_ended;
        if has_ended {
            let _ = thread.join();
        }
    }

    /// One request; the error has no path yet.
    fn call(&self, op: Op, body: &[u8], watch: Option<Intent>, limit: Option<Duration>) -> CallResult {
        let (sender, receiver) = channel();
        {
            let mut inner = lock(&self.shared);
            inner.check_alive()?;
            if inner.is_interrupted && op != Op::CloseSession {
                return Err(ClientError::Interrupted);
            }
            inner.next_xid = inner.next_xid % (i32::MAX - 1) + 1;
            let xid = inner.next_xid;
            let frame = frame(xid, op, body);
            let is_close = op == Op::CloseSession;
            inner.ask(Request { xid, frame, sender: Some(sender), watch });
            if is_close {
                inner.phase = LinkState::Closing;
            }
        }
        wait_for(&receiver, limit)
    }

    /// The server's name of a path.
    fn with_chroot(&self, path: &str) -> String {
        match (self.shared.settings.connect.chroot.as_str(), path) {
            ("", path) => path.into(),
            (chroot, "/") => chroot.into(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    fn without_chroot(&self, path: &str) -> String {
        without_chroot(&self.shared.settings.connect.chroot, path)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A server that does not even answer a goodbye is left alone after this: the goodbye is on its way all the same.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// See `Client::abandon`.
const LAST_EVENT_MAX: Duration = Duration::from_millis(300);

fn without_chroot(chroot: &str, path: &str) -> String {
    match path.strip_prefix(chroot) {
        Some("") => "/".into(),
        Some(below) if below.starts_with('/') => below.into(),
        _ => path.into(),
    }
}

fn frame(xid: i32, op: Op, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + 8) as u32).to_be_bytes().to_vec();
    RequestHeader { xid, op: op as i32 }.encode(&mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn wait_for(receiver: &Receiver<CallResult>, limit: Option<Duration>) -> CallResult {
    const OPERATION_TIMEOUT: i32 = -7;
    let lost = ClientError::code(CONNECTION_LOSS);
    match limit {
        None => receiver.recv().unwrap_or(Err(lost)),
        Some(limit) => match receiver.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(ClientError::code(OPERATION_TIMEOUT)),
            Err(RecvTimeoutError::Disconnected) => Err(lost),
        },
    }
}

/// Tells a waiting call; one that gave up does not listen any more.
fn tell(sender: &mut Option<Sender<CallResult>>, outcome: CallResult) {
    if let Some(sender) = sender.take() {
        let _ = sender.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chroots_come_off_again() {
        assert_eq!(without_chroot("", "/a"), "/a");
        assert_eq!(without_chroot("/c", "/c"), "/");
        assert_eq!(without_chroot("/c", "/c/a"), "/a");
        assert_eq!(without_chroot("/c", "/cc/a"), "/cc/a");
    }

    #[test]
    fn events_are_written_as_zookeeper_does() {
        let event = Event { state: "SyncConnected", kind: "NodeCreated", path: Some("/a".into()), zxid: 7 };
        assert_eq!(event.to_string(), "WatchedEvent state:SyncConnected type:NodeCreated path:/a zxid: 7");
        let event = Event { state: "Closed", kind: "None", path: None, zxid: -1 };
        assert_eq!(event.to_string(), "WatchedEvent state:Closed type:None path:null zxid: -1");
    }
}
