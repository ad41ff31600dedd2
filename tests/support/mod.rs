//! What the integration tests share: a server process with a data folder of its own, and a client that speaks the
//! protocol by hand. The client uses nothing of the crate, so that a mistake in its codec cannot hide itself.

// These tests are real programs over real sockets, files and clocks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(dead_code)]

pub mod apache;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing in a test takes longer, however slow the machine is.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub struct Server {
    pub port: u16,
    pub folder: tempfile::TempDir,
    config: PathBuf,
    pub defines: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts `ringkeeper start zoo.cfg` with these extra lines and waits until it serves.
    pub fn start(extra: &str, defines: &[&str]) -> Server {
        let mut server = Server::prepare(extra, defines);
        server.launch();
        server
    }

    /// The same without starting it.
    pub fn prepare(extra: &str, defines: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let config = folder.path().join("zoo.cfg");
        let data = folder.path().join("data");
        let text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
             4lw.commands.whitelist=*\n{extra}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("a configuration");
        let defines = defines.iter().map(|define| define.to_string()).collect();
        Server { port, folder, config, defines, child: None }
    }

    /// Starts the process (again) and waits until it serves.
    pub fn launch(&mut self) {
        self.spawn();
        self.wait_until_it_serves();
    }

    /// Waits until a started process serves.
    pub fn wait_until_it_serves(&mut self) {
        let start = Instant::now();
        while self.four_letters("ruok").as_deref() != Some("imok") {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child to ask"));
            assert!(ended.is_none(), "the server ended: {}", self.log());
            assert!(start.elapsed() < DEADLINE, "the server does not serve: {}", self.log());
            std::thread::yield_now();
        }
    }

    /// Starts the process without waiting.
    pub fn spawn(&mut self) {
        self.spawn_with(|_| {});
    }

    /// The same, with further arguments, or another place for what it prints.
    pub fn spawn_with(&mut self, change: impl FnOnce(&mut Command)) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
        command.arg("start").arg(&self.config);
        command.env_remove("SERVER_JVMFLAGS").env_remove("JVMFLAGS");
        self.defines.iter().for_each(|define| {
            command.arg(format!("-D{define}"));
        });
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        change(&mut command);
        self.child = Some(command.spawn().expect("the server's binary"));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().expect("a killed child");
        }
    }

    /// SIGTERM, then waits; returns the exit code.
    pub fn stop(&mut self) -> i32 {
        let child = self.child.as_ref().expect("a running server");
        let status = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
        assert!(status.success());
        self.wait()
    }

    /// Waits for the process to end by itself; returns the exit code.
    pub fn wait(&mut self) -> i32 {
        let mut child = self.child.take().expect("a running server");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a child to ask") {
                return status.code().unwrap_or(-1);
            }
            if start.elapsed() > DEADLINE {
                let _ = child.kill();
                panic!("the server does not end: {}", self.log());
            }
            std::thread::yield_now();
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        let kib: u64 =
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        kib << 10
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Where the segments and snapshots are.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data/ringkeeper")
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        files(&self.data(), "segment.")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.port, 30_000)
    }

    /// The answer to a four-letter word; None if nobody listens.
    pub fn four_letters(&self, word: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        // ZooKeeper's own tool ends its direction at once; the answer must come all the same.
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Files of a folder whose name starts so, sorted.
pub fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    found.sort();
    found
}

/// Nobody listens on it, a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// One reply or event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub xid: i32,
    pub zxid: i64,
    pub err: i32,
    pub body: Vec<u8>,
}

/// A connection with a session.
pub struct Client {
    pub stream: TcpStream,
    pub session: i64,
    pub password: Vec<u8>,
    pub timeout_ms: i32,
    pub response: Vec<u8>,
    pub events: Vec<Reply>,
    pub next_xid: i32,
}

impl Client {
    /// A new session.
    pub fn connect(port: u16, timeout_ms: i32) -> Client {
        Client::handshake(port, &connect_body(0, timeout_ms, 0, Some(&[0; 16]), Some(false)))
            .expect("a session")
    }

    /// Takes a session over; None if the server closes without a word.
    pub fn resume(port: u16, session: i64, password: &[u8], seen: i64) -> Option<Client> {
        Client::handshake(port, &connect_body(seen, 30_000, session, Some(password), Some(false)))
    }

    /// Sends a connect request; None if the server closes without a word.
    pub fn handshake(port: u16, body: &[u8]) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut client = Client {
            stream,
            session: 0,
            password: Vec::new(),
            timeout_ms: 0,
            response: Vec::new(),
            events: Vec::new(),
            next_xid: 1,
        };
        client.send_frame(body).ok()?;
        let response = client.read_frame()?;
        client.timeout_ms = i32::from_be_bytes(response[4..8].try_into().expect("four bytes"));
        client.session = i64::from_be_bytes(response[8..16].try_into().expect("eight bytes"));
        client.password = response[20..36].to_vec();
        client.response = response;
        Some(client)
    }

    pub fn send_frame(&mut self, body: &[u8]) -> std::io::Result<()> {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)
    }

    /// The next frame; None at the end of the stream.
    pub fn read_frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    pub fn send(&mut self, xid: i32, op: i32, body: &[u8]) -> std::io::Result<()> {
        let mut frame = xid.to_be_bytes().to_vec();
        frame.extend_from_slice(&op.to_be_bytes());
        frame.extend_from_slice(body);
        self.send_frame(&frame)
    }

    /// The next reply; events before it go to `events`. None at the end of the stream.
    pub fn receive(&mut self) -> Option<Reply> {
        loop {
            let frame = self.read_frame()?;
            let reply = Reply {
                xid: i32::from_be_bytes(frame[..4].try_into().expect("four bytes")),
                zxid: i64::from_be_bytes(frame[4..12].try_into().expect("eight bytes")),
                err: i32::from_be_bytes(frame[12..16].try_into().expect("four bytes")),
                body: frame[16..].to_vec(),
            };
            if reply.xid == -1 {
                self.events.push(reply);
            } else {
                return Some(reply);
            }
        }
    }

    /// A request and its reply.
    pub fn call(&mut self, op: i32, body: &[u8]) -> Reply {
        self.try_call(op, body).expect("a reply")
    }

    /// The same; None if the connection breaks.
    pub fn try_call(&mut self, op: i32, body: &[u8]) -> Option<Reply> {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.send(xid, op, body).ok()?;
        let reply = self.receive()?;
        assert_eq!(reply.xid, xid, "replies come in the order of requests");
        Some(reply)
    }

    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Reply {
        self.call(1, &create_body(path, data, flags))
    }

    pub fn set(&mut self, path: &str, data: &[u8]) -> Reply {
        self.call(5, &set_body(path, data, -1))
    }

    /// The data of a node, or the error.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>, i32> {
        let reply = self.call(4, &[string(path), vec![0]].concat());
        if reply.err != 0 {
            return Err(reply.err);
        }
        let length = i32::from_be_bytes(reply.body[..4].try_into().expect("four bytes"));
        Ok(reply.body[4..4 + length.max(0) as usize].to_vec())
    }

    /// The same with a one-shot watch.
    pub fn watch(&mut self, path: &str) -> Reply {
        self.call(4, &[string(path), vec![1]].concat())
    }

    pub fn exists(&mut self, path: &str, watch: bool) -> Reply {
        self.call(3, &[string(path), vec![watch as u8]].concat())
    }

    pub fn delete(&mut self, path: &str) -> Reply {
        self.call(2, &[string(path), (-1i32).to_be_bytes().to_vec()].concat())
    }

    pub fn ping(&mut self) -> Option<Reply> {
        self.send(-2, 11, &[]).ok()?;
        self.receive()
    }
}

pub fn string(text: &str) -> Vec<u8> {
    buffer(text.as_bytes())
}

pub fn buffer(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

pub fn open_acl() -> Vec<u8> {
    [1u32.to_be_bytes().to_vec(), 31u32.to_be_bytes().to_vec(), string("world"), string("anyone")].concat()
}

pub fn create_body(path: &str, data: &[u8], flags: i32) -> Vec<u8> {
    [string(path), buffer(data), open_acl(), flags.to_be_bytes().to_vec()].concat()
}

pub fn set_body(path: &str, data: &[u8], version: i32) -> Vec<u8> {
    [string(path), buffer(data), version.to_be_bytes().to_vec()].concat()
}

pub fn connect_body(
    seen: i64,
    timeout_ms: i32,
    session: i64,
    password: Option<&[u8]>,
    read_only: Option<bool>,
) -> Vec<u8> {
    let mut body = 0i32.to_be_bytes().to_vec();
    body.extend_from_slice(&seen.to_be_bytes());
    body.extend_from_slice(&timeout_ms.to_be_bytes());
    body.extend_from_slice(&session.to_be_bytes());
    match password {
        Some(password) => body.extend(buffer(password)),
        None => body.extend_from_slice(&(-1i32).to_be_bytes()),
    }
    body.extend(read_only.map(|read_only| read_only as u8));
    body
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::yield_now();
    }
}
