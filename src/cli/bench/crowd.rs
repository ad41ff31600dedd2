//! Watches that stand while something else is measured: some sessions, each with its share of watches on nodes of a
//! folder beside the measured one, kept alive from a thread of their own. An event, or a session that ended, is an error:
//! what was measured then was not what was asked for.

use super::hosts::Hosts;
use super::net::{Session, encode_request, failed};
use super::workload::{Shape, Workload};
use super::{Common, Distribution, keys, setup};
use crate::wire::{Op, Writer};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The sessions and their watches.
pub struct Crowd {
    hosts: Arc<Hosts>,
    folder: String,
    is_forced: bool,
    stop: Sender<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl Crowd {
    /// Creates `watches` nodes and sets a watch on each.
    pub fn place(hosts: &Arc<Hosts>, watches: u64, common: &Common) -> Result<Crowd, String> {
        let folder = format!("{}-watched", common.folder);
        let shape = Shape {
            workload: Workload::Get,
            folder: folder.clone(),
            nodes: watches,
            value_bytes: common.value,
            distribution: Distribution::Uniform,
            read_percent: 100,
            multi_ops: 1,
        };
        setup::prepare(hosts, &shape, common.force)?;
        let sessions = (0..WATCHERS.min(watches))
            .map(|watcher| watch_share(hosts, &shape, watcher, common.session_timeout_ms))
            .collect::<Result<Vec<Session>, String>>()?;
        let (stop, stopped) = channel();
        let kept = folder.clone();
        let thread = std::thread::spawn(move || keep(sessions, &kept, &stopped));
        Ok(Crowd { hosts: Arc::clone(hosts), folder, is_forced: common.force, stop, thread })
    }

    /// Closes the sessions and deletes the nodes.
    pub fn leave(self) -> Result<(), String> {
        drop(self.stop);
        let result = self.thread.join().expect("the thread that keeps the watches does not panic");
        result.map_err(|error| format!("the watches did not stand until the end: {error}"))?;
        setup::clean(&self.hosts, &self.folder, self.is_forced)
    }
}

/// A session that watches every `WATCHERS`th node.
fn watch_share(hosts: &Hosts, shape: &Shape, watcher: u64, timeout_ms: i32) -> Result<Session, String> {
    let mut session = Session::open_at(hosts, hosts.next(), timeout_ms)?;
    let key_of = |number: u64| watcher + number * WATCHERS;
    session.pipeline(
        (shape.nodes - watcher).div_ceil(WATCHERS),
        |number, xid, out| {
            encode_request(out, xid, Op::GetData, |out| {
                let mut writer = Writer::new(out);
                writer.string(&keys::path(&shape.folder, key_of(number)));
                writer.boolean(true);
            });
        },
        |number, code, _| match code {
            0 => Ok(()),
            code => Err(failed(&format!("watching node {}", key_of(number)), code)),
        },
    )?;
    Ok(session)
}

/// Keeps the sessions alive until told to stop, then closes them.
fn keep(mut sessions: Vec<Session>, folder: &str, stopped: &Receiver<()>) -> Result<(), String> {
    let shortest_ms = sessions.iter().map(|session| session.timeout_ms).min().unwrap_or_default();
    let interval = Duration::from_millis(shortest_ms.unsigned_abs().into()) / 3;
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        for session in &mut sessions {
            // A reply of any kind would do; an event in its place is noticed by its xid.
            let (code, _) = session.call(Op::Exists, |out| {
                let mut writer = Writer::new(out);
                writer.string(folder);
                writer.boolean(false);
            })?;
            if code != 0 {
                return Err(failed(&format!("looking at {folder}"), code));
            }
        }
    }
    sessions.into_iter().try_for_each(Session::close)
}

/// Sessions that share the watches.
const WATCHERS: u64 = 10;
