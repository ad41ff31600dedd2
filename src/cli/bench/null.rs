//! A server that does nothing: it answers every request at once with a reply of the right size, from one thread, and
//! keeps no state but the size of values. It is the limit of a machine's sockets, and the check that the generator is
//! faster than what it measures. A `setData` sends one event to every connection that ever set a watch: the raw send
//! loop of a watch fan-out. Never to be used as a server.

use super::keys;
use super::net::{Conn, say};
use super::workload::STAT_BYTES;
use crate::ids::{SessionId, Zxid};
use crate::io::poller::Poller;
use crate::wire::records::{Stat, encode_event, encode_reply};
use crate::wire::{ConnectResponse, EventType, Op, Reader, ReplyHeader, RequestHeader, Writer};
use std::net::TcpListener;

/// What the replies look like.
#[derive(Clone, Copy, Debug)]
pub struct NullSettings {
    /// Bytes of the value in replies to getData.
    pub value_bytes: usize,
    /// Names in replies to getChildren.
    pub children: u64,
}

/// Serves until the process ends.
pub fn serve(listener: TcpListener, settings: NullSettings) -> Result<(), String> {
    listener.set_nonblocking(true).map_err(say("set up the listener"))?;
    let poller = Poller::new().map_err(say("create a poller"))?;
    poller.add(&listener, LISTENER, false).map_err(say("watch the listener"))?;
    let stat = Stat { data_length: settings.value_bytes as i32, ..Stat::default() };
    let mut encoded_stat = Vec::with_capacity(STAT_BYTES);
    stat.encode(&mut encoded_stat);
    let server = NullServer {
        settings,
        poller,
        clients: Vec::new(),
        stat: encoded_stat,
        children: encode_children(settings.children),
        zxid: 0,
    };
    server.run(listener)
}

struct NullClient {
    conn: Conn,
    is_connected: bool,
    is_watching: bool,
}

struct NullServer {
    settings: NullSettings,
    poller: Poller,
    clients: Vec<Option<NullClient>>,
    stat: Vec<u8>,
    children: Vec<u8>,
    zxid: i64,
}

impl NullServer {
    fn run(mut self, listener: TcpListener) -> Result<(), String> {
        let mut ready = Vec::new();
        loop {
            self.poller.wait(None, &mut ready).map_err(say("wait for clients"))?;
            for ready in &ready {
                if ready.token == LISTENER {
                    self.accept_all(&listener)?;
                } else {
                    self.on_client(ready.token as usize);
                }
            }
        }
    }

    fn accept_all(&mut self, listener: &TcpListener) -> Result<(), String> {
        while let Ok((socket, _)) = listener.accept() {
            let slot = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
            let conn = Conn::new(socket, &self.poller, slot as u64)?;
            let client = Some(NullClient { conn, is_connected: false, is_watching: false });
            if slot == self.clients.len() { self.clients.push(client) } else { self.clients[slot] = client }
        }
        Ok(())
    }

    fn on_client(&mut self, index: usize) {
        // A failure of one client (it went away) ends that client only.
        match self.serve_client(index) {
            Ok(true) => {}
            Ok(false) | Err(_) => self.clients[index] = None,
        }
    }

    /// One read, all its requests, one write. False when the client is gone.
    fn serve_client(&mut self, index: usize) -> Result<bool, String> {
        let Some(mut client) = self.clients[index].take() else { return Ok(true) };
        let mut is_open = client.conn.receive()?;
        let mut output = std::mem::take(&mut client.conn.output);
        let mut event_path = None;
        while let Some(frame) = client.conn.next_frame()? {
            if !client.is_connected {
                client.is_connected = true;
                encode_connected(index, &mut output);
                continue;
            }
            match self.answer(frame, &mut output) {
                Answer::Plain => {}
                Answer::Watching => client.is_watching = true,
                Answer::Changed(path) => event_path = Some(path),
                Answer::Closed => is_open = false,
            }
        }
        client.conn.output = output;
        client.conn.flush(&self.poller)?;
        self.clients[index] = Some(client);
        if let Some(path) = event_path {
            self.send_events(&path);
        }
        Ok(is_open)
    }

    fn answer(&mut self, frame: &[u8], output: &mut Vec<u8>) -> Answer {
        let mut reader = Reader::new(frame);
        let Ok(request) = RequestHeader::decode(&mut reader) else { return Answer::Closed };
        let path = reader.buffer().ok().flatten().unwrap_or_default();
        let op = Op::from_i32(request.op).unwrap_or(Op::Ping);
        let err = if matches!(op, Op::GetData | Op::Exists) && !path.contains(&b'n') { -101 } else { 0 };
        let header = ReplyHeader { xid: request.xid, zxid: Zxid(self.zxid), err };
        encode_reply(output, header, |out| match op {
            _ if err != 0 => {}
            Op::GetData => self.encode_value(path, out),
            Op::Exists | Op::SetData => out.extend_from_slice(&self.stat),
            Op::GetChildren => out.extend_from_slice(&self.children),
            Op::GetChildren2 => {
                out.extend_from_slice(&self.children);
                out.extend_from_slice(&self.stat);
            }
            Op::Create => Writer::new(out).buffer(Some(path)),
            _ => {}
        });
        let has_watch_flag = matches!(op, Op::GetData | Op::Exists) && frame.last() == Some(&1);
        match op {
            Op::SetData if self.clients.iter().flatten().any(|client| client.is_watching) => {
                Answer::Changed(String::from_utf8_lossy(path).into_owned())
            }
            Op::AddWatch => Answer::Watching,
            Op::CloseSession => Answer::Closed,
            _ if has_watch_flag => Answer::Watching,
            _ => Answer::Plain,
        }
    }

    fn encode_value(&self, path: &[u8], out: &mut Vec<u8>) {
        let bytes = self.settings.value_bytes;
        Writer::new(out).int(bytes as i32);
        let start = out.len();
        out.resize(start + bytes, b'v');
        let head = bytes.min(keys::DIGITS).min(path.len());
        let digits = &path[path.len() - keys::DIGITS.min(path.len())..];
        out[start..start + head].copy_from_slice(&digits[..head]);
        out.extend_from_slice(&self.stat);
    }

    fn send_events(&mut self, path: &str) {
        let mut event = Vec::new();
        encode_event(&mut event, Zxid(self.zxid), EventType::NodeDataChanged, path);
        for client in self.clients.iter_mut().flatten().filter(|client| client.is_watching) {
            client.conn.output.extend_from_slice(&event);
            // A client that went away is noticed by its own readiness.
            let _ = client.conn.flush(&self.poller);
        }
    }
}

enum Answer {
    Plain,
    Watching,
    Changed(String),
    Closed,
}

fn encode_connected(index: usize, output: &mut Vec<u8>) {
    let response = ConnectResponse {
        timeout_ms: 30_000,
        session: SessionId(index as i64 + 1),
        password: [7; 16],
        read_only: Some(false),
    };
    let start = output.len();
    Writer::new(output).int(0);
    response.encode(output);
    let length = (output.len() - start - 4) as i32;
    output[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn encode_children(count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.int(count as i32);
    (0..count).for_each(|key| writer.string(&keys::path("", key)[1..]));
    out
}

/// Token of the listening socket; clients count from 0.
const LISTENER: u64 = u64::MAX;
