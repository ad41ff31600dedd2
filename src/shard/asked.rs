//! This shard's part of the four-letter words that list connections, watches or ephemerals: slice by slice, one per turn,
//! so that nobody waits for a list. What comes or goes meanwhile is in it or not.

use super::stats::letters;
use super::{Shard, ShardOutput};
use crate::ids::{Now, SessionId};
use crate::limits::{ASK_ENTRIES_AT_ONCE, ASKS_MAX};
use crate::mesh::{Question, ShardPart, ToMember};
use crate::tree::{Owner, Slot};
use crate::wire::address::socket_text;
use std::collections::VecDeque;
use std::fmt::Write;

/// What is asked and not yet said.
pub(super) struct Asked {
    ask: u64,
    question: Question,
    is_lister: bool,
    is_alone: bool,
    /// When it was asked.
    at: Now,
    has_begun: bool,
    /// The next connection or path to look at.
    next: u32,
    /// Of one connection or session: what is still to be listed.
    paths: Vec<u32>,
    slots: Vec<Slot>,
    /// Whose `slots` they are, and who comes then, the last first.
    session: SessionId,
    sessions: Vec<SessionId>,
}

/// A line about a connection takes as long as so many paths.
const LINE_ENTRIES: usize = 4;

impl Shard {
    pub(super) fn on_ask(&mut self, at: Now, ask: u64, question: Question, is_lister: bool, is_alone: bool) {
        if self.asked.len() >= ASKS_MAX {
            // The member gives the oldest up, too.
            self.asked.pop_front();
        }
        self.asked.push_back(Asked {
            ask,
            question,
            is_lister,
            is_alone,
            at,
            has_begun: false,
            next: 0,
            paths: Vec::new(),
            slots: Vec::new(),
            session: SessionId::NONE,
            sessions: Vec::new(),
        });
    }

    /// One slice of the oldest.
    pub(super) fn advance_asked(&mut self, out: &mut Vec<ShardOutput>) {
        let Some(mut asked) = self.asked.pop_front() else { return };
        let mut part = if asked.has_begun {
            ShardPart { shard: self.settings.shard, ..ShardPart::default() }
        } else {
            self.basic_part()
        };
        let has_begun = std::mem::replace(&mut asked.has_begun, true);
        let mut left = ASK_ENTRIES_AT_ONCE;
        part.is_last = match asked.question {
            Question::Cons => self.list_connections(&mut asked, true, &mut left, &mut part),
            Question::Stat => self.list_connections(&mut asked, false, &mut left, &mut part),
            Question::Wchs => asked.is_alone || self.list_path_hashes(&mut asked, &mut left, &mut part),
            Question::Wchc => self.list_watching(&mut asked, &mut left, &mut part),
            Question::Wchp => self.list_watched(&mut asked, &mut left, &mut part),
            Question::Dump => {
                if asked.is_lister && !has_begun {
                    asked.sessions = self.tree.ephemeral_sessions();
                    asked.sessions.reverse();
                    let count = asked.sessions.len();
                    write_to(&mut part, format_args!("Sessions with Ephemerals ({count}):\n"));
                }
                self.list_ephemerals(&mut asked, &mut left, &mut part)
                    && self.list_expiry(&mut asked, &mut left, &mut part)
            }
            _ => true,
        };
        let ask = asked.ask;
        if !part.is_last {
            self.asked.push_front(asked);
        }
        out.push(ShardOutput::ToMember(ToMember::Part { ask, part: Box::new(part) }));
    }

    /// Each returns true once everything is listed.
    fn list_connections(
        &self,
        asked: &mut Asked,
        is_full: bool,
        left: &mut usize,
        part: &mut ShardPart,
    ) -> bool {
        while let Some(conn) = self.conns.get(asked.next as usize) {
            if *left < LINE_ENTRIES {
                return false;
            }
            *left -= LINE_ENTRIES;
            asked.next += 1;
            let Some(conn) = conn else { continue };
            let stats = &conn.stats;
            let interest = u8::from(conn.is_receiving && (conn.session.0 != 0));
            let (queued, received, sent) = (conn.pending.len(), stats.received, stats.sent);
            let peer = socket_text(conn.peer);
            write_to(
                part,
                format_args!(" /{peer}[{interest}](queued={queued},recved={received},sent={sent}"),
            );
            if is_full && conn.session.0 != 0 {
                let (session, last_op) = (conn.session, letters(stats.last_op));
                let (established_ms, timeout_ms) = (stats.established_ms, conn.timeout_ms);
                write_to(
                    part,
                    format_args!(",sid={session},lop={last_op},est={established_ms},to={timeout_ms}"),
                );
                if stats.last_cxid >= 0 {
                    write_to(part, format_args!(",lcxid=0x{:x}", stats.last_cxid));
                }
                let now = asked.at;
                let response_ms = now.wall_ms - (now.mono_ms as i64 - stats.last_response_ms as i64);
                let min = if stats.min_latency_ms == u64::MAX { 0 } else { stats.min_latency_ms };
                let average = stats.sum_latency_ms / stats.count.max(1);
                write_to(
                    part,
                    format_args!(
                        ",lzxid=0x{:x},lresp={response_ms},llat={},minlat={min},avglat={average},maxlat={}",
                        stats.last_zxid, stats.last_latency_ms, stats.max_latency_ms
                    ),
                );
            }
            part.text.push_str(")\n");
        }
        true
    }

    fn list_path_hashes(&self, asked: &mut Asked, left: &mut usize, part: &mut ShardPart) -> bool {
        while let Some(hash) = self.watches.data_path_hash(asked.next) {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            asked.next += 1;
            part.path_hashes.extend(hash);
        }
        true
    }

    fn list_watching(&self, asked: &mut Asked, left: &mut usize, part: &mut ShardPart) -> bool {
        loop {
            while let Some(number) = asked.paths.pop() {
                // Of the connection before the next.
                if let Some(path) = self.watches.data_path(asked.next - 1, number) {
                    if asked.session != SessionId::NONE {
                        let session = std::mem::replace(&mut asked.session, SessionId::NONE);
                        write_to(part, format_args!("{session}\n"));
                    }
                    write_to(part, format_args!("\t{path}\n"));
                }
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return false;
                }
            }
            let Some(conn) = self.conns.get(asked.next as usize) else { return true };
            if *left == 0 {
                return false;
            }
            *left -= 1;
            asked.paths = self.watches.paths_of(asked.next);
            asked.session = conn.as_ref().map_or(SessionId::NONE, |conn| conn.session);
            asked.next += 1;
        }
    }

    fn list_watched(&self, asked: &mut Asked, left: &mut usize, part: &mut ShardPart) -> bool {
        while let Some((path, conns)) = self.watches.data_watchers(asked.next) {
            if *left == 0 {
                return false;
            }
            *left = left.saturating_sub(1 + conns.len());
            asked.next += 1;
            if !conns.is_empty() {
                let conns = conns.iter().filter_map(|conn| self.conns[*conn as usize].as_ref());
                part.watched.push((path.into(), conns.map(|conn| conn.session).collect()));
            }
        }
        true
    }

    fn list_ephemerals(&self, asked: &mut Asked, left: &mut usize, part: &mut ShardPart) -> bool {
        loop {
            while let Some(slot) = asked.slots.pop() {
                let owner = |node: &crate::tree::Node| self.tree.rules().owner(node.owner());
                if let Some(node) = self.tree.get(slot)
                    && owner(node) == Owner::Session(asked.session)
                {
                    write_to(part, format_args!("\t{}\n", node.path()));
                }
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return false;
                }
            }
            let Some(session) = asked.sessions.pop() else { return true };
            asked.session = session;
            asked.slots = self.tree.ephemeral_slots(session).collect();
            write_to(part, format_args!("{session}:\n"));
        }
    }

    fn list_expiry(&self, asked: &mut Asked, left: &mut usize, part: &mut ShardPart) -> bool {
        while let Some(conn) = self.conns.get(asked.next as usize) {
            if *left < LINE_ENTRIES {
                return false;
            }
            *left -= LINE_ENTRIES;
            asked.next += 1;
            let Some(conn) = conn else { continue };
            let due = asked.at.mono_ms + conn.timeout_ms as u64;
            part.expiry
                .push((due, format!("\tip: /{} sessionId: {}\n", socket_text(conn.peer), conn.session)));
        }
        true
    }
}

fn write_to(part: &mut ShardPart, text: std::fmt::Arguments<'_>) {
    part.text.write_fmt(text).expect("a String takes everything");
}

/// Questions of all clients, oldest first.
pub(super) type AskedQueue = VecDeque<Asked>;
