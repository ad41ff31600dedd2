//! The connections of elections (`QuorumCnxManager`): one per pair of servers, dialled by the one with the higher number.
//! Lives in the member; a driver dials, accepts, reads and writes, and names each connection by its [`LinkId`].
//!
//! Of what is to be said to a peer only the newest is kept: it is said again on each new connection, and nothing queues.
//!
//! Invariant: a peer has at most one open link and one that is being dialled; every open link is of a peer.
//!
//! Deliberately absent: what a notification means (`zab/election.rs`), TLS and SASL (beneath and in front of the bytes).

use super::quorum::Quorums;
use crate::ids::ServerId;
use crate::limits::{ELECTION_MESSAGE_BYTES_MAX, LINKS_UNKNOWN_MAX, SERVERS_MAX};
use crate::wire::jute::DecodeError;
use crate::wire::vote::{BadInitialMessage, InitialMessage, cut_frame};
use std::sync::Arc;

/// A connection, counted from 1 in the order in which they were dialled or accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// What the configuration says of them.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// `myid`.
    pub me: ServerId,
    /// Where this server can be dialled; at least one.
    pub own_addresses: Vec<(String, u16)>,
    /// `multiAddress.enabled`: all of them are said.
    pub is_multi_address: bool,
    /// `cnxTimeout`.
    pub connect_timeout_ms: u64,
    /// How long one that was accepted may take to say who it is: `syncLimit` ticks.
    pub initial_timeout_ms: u64,
}

/// What the links want.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkOutput {
    /// Connect; `on_connected` or `on_closed` follows.
    Dial {
        /// Its name from here on.
        link: LinkId,
        /// Host and port.
        address: (String, u16),
    },
    /// Send these bytes; `on_written` follows once they are handed over.
    Write {
        /// Where.
        link: LinkId,
        /// Shared by all peers that are told the same.
        bytes: Arc<[u8]>,
    },
    /// Close behind what was written. Nothing is said of this link any more.
    Close(LinkId),
    /// A notification without its length.
    Heard {
        /// Who is at the other end.
        from: ServerId,
        /// Not decoded yet.
        body: Vec<u8>,
    },
    /// Nobody listens where this server should: it changes no vote.
    Gone(ServerId),
    /// Closed because of what came in; worth a line, rate-limited.
    Refused {
        /// If it said so already.
        peer: Option<ServerId>,
        /// For that line.
        why: Refusal,
    },
}

/// Why a connection was closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No server of an ensemble.
    #[error("it does not begin as a server does: {0}")]
    Initial(#[from] BadInitialMessage),
    /// The own number.
    #[error("it has the number of this server: two servers have the same myid")]
    OwnNumber,
    /// Not in the configuration, and there are enough of these.
    #[error("{LINKS_UNKNOWN_MAX} servers outside of the configuration are connected already")]
    Unknown,
    /// No notification.
    #[error("what follows is no notification: {0}")]
    Frame(DecodeError),
}

/// All election connections of one server.
#[derive(Debug)]
pub struct Links {
    settings: LinkSettings,
    /// Ascending by number: all members but this one, and those outside of the configuration that are connected.
    peers: Vec<Peer>,
    /// Ascending.
    links: Vec<Link>,
    last_id: u64,
    /// The next number for one that does not say its own.
    next_unnamed: i64,
}

#[derive(Debug)]
struct Peer {
    id: ServerId,
    is_member: bool,
    /// Where it can be dialled, by the configuration.
    configured: Vec<(String, u16)>,
    /// Where it said itself.
    said: Vec<(String, u16)>,
    /// The last notification for it.
    newest: Option<Arc<[u8]>>,
    /// It has not been sent that, or asked to be dialled.
    is_unsent: bool,
    open: Option<LinkId>,
    dialled: Option<LinkId>,
    /// Of its addresses the one to dial next.
    next_address: usize,
    /// Addresses in a row that refused.
    refused: usize,
    /// So often it is dialled without being asked again.
    tries_left: u32,
    /// Not before this.
    dial_at_ms: u64,
    backoff_ms: u64,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    stage: Stage,
    /// What came in and is not whole.
    input: Vec<u8>,
    is_writing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Dialled { peer: ServerId, until_ms: u64 },
    Accepted { until_ms: u64 },
    Open { peer: ServerId },
}

impl Links {
    /// Of a server that is connected with nobody.
    pub fn new(settings: LinkSettings, quorums: &Quorums) -> Links {
        assert!(!settings.own_addresses.is_empty(), "a server can be dialled somewhere");
        let mut links =
            Links { settings, peers: Vec::new(), links: Vec::new(), last_id: 0, next_unnamed: -1 };
        links.on_quorums(quorums);
        links
    }

    /// The members or their addresses changed. Those that are none any more stay while they are connected.
    pub fn on_quorums(&mut self, quorums: &Quorums) {
        for peer in &mut self.peers {
            peer.is_member = false;
            peer.configured.clear();
        }
        let members = quorums.committed().members().iter().chain(quorums.last_seen().members());
        let mut members: Vec<ServerId> = members.map(|line| line.id).collect();
        members.retain(|id| *id != self.settings.me);
        for id in members {
            let lines = quorums.lines(id);
            let addresses = lines.flat_map(|line| &line.addresses);
            let configured: Vec<_> = addresses.map(|at| (at.host.clone(), at.election_port)).collect();
            let peer = self.peer_or_new(id);
            peer.is_member = true;
            peer.configured = configured;
        }
        self.forget_strangers();
        self.check();
    }

    /// Says this to a peer, as soon as there is a connection, unless something newer is to be said by then.
    pub fn send(&mut self, now_ms: u64, to: ServerId, frame: Arc<[u8]>, out: &mut Vec<LinkOutput>) {
        assert_ne!(to, self.settings.me, "nobody writes to itself");
        let Some(peer) = self.peer(to) else { return };
        peer.newest = Some(frame);
        peer.is_unsent = true;
        peer.tries_left = DIAL_TRIES;
        self.write_newest(to, out);
        self.dial_if_due(now_ms, to, out);
        self.check();
    }

    /// Somebody connects. None: too many do who have not said yet who they are; the driver closes it.
    pub fn on_accepted(&mut self, now_ms: u64) -> Option<LinkId> {
        let waiting = self.links.iter().filter(|link| matches!(link.stage, Stage::Accepted { .. }));
        if waiting.count() >= LINKS_UNKNOWN_MAX {
            return None;
        }
        Some(self.add(Stage::Accepted { until_ms: now_ms + self.settings.initial_timeout_ms }))
    }

    /// What was dialled is there. A peer with a higher number only learns that it is to dial.
    pub fn on_connected(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<LinkOutput>) {
        let Some(at) = self.position(link) else { return };
        let Stage::Dialled { peer, .. } = self.links[at].stage else { panic!("{link:?} was not dialled") };
        let addresses = if self.settings.is_multi_address { usize::MAX } else { 1 };
        let addresses = self.settings.own_addresses.iter().take(addresses).cloned().collect();
        let server = self.settings.me;
        let mut initial = Vec::new();
        InitialMessage { server, addresses, is_multi: self.settings.is_multi_address }.encode(&mut initial);
        out.push(LinkOutput::Write { link, bytes: initial.into() });
        self.links[at].is_writing = true;
        let known = self.peer(peer).expect("what is dialled is known");
        known.dialled = None;
        known.refused = 0;
        if peer > server {
            known.postpone(now_ms);
            self.links.remove(at);
            out.push(LinkOutput::Close(link));
        } else {
            self.open(link, peer, out);
        }
        self.check();
    }

    /// Bytes of a peer.
    pub fn on_bytes(&mut self, now_ms: u64, link: LinkId, bytes: &[u8], out: &mut Vec<LinkOutput>) {
        let Some(at) = self.position(link) else { return };
        self.links[at].input.extend_from_slice(bytes);
        if matches!(self.links[at].stage, Stage::Accepted { .. }) {
            match InitialMessage::cut(&self.links[at].input) {
                Ok(None) => return,
                Ok(Some((message, length))) => {
                    self.links[at].input.drain(..length);
                    self.on_initial(now_ms, link, message, out);
                }
                Err(bad) => self.refuse(link, None, bad.into(), out),
            }
        }
        // A smaller server that dialled is closed by now.
        self.cut_frames(link, out);
        self.check();
    }

    /// What was written last is handed over.
    pub fn on_written(&mut self, link: LinkId, out: &mut Vec<LinkOutput>) {
        let Some(at) = self.position(link) else { return };
        self.links[at].is_writing = false;
        if let Stage::Open { peer } = self.links[at].stage {
            self.write_newest(peer, out);
        }
        self.check();
    }

    /// The connection ended, or was not made. `is_refused`: nobody listens there.
    pub fn on_closed(&mut self, now_ms: u64, link: LinkId, is_refused: bool, out: &mut Vec<LinkOutput>) {
        let Some(at) = self.position(link) else { return };
        match self.links.remove(at).stage {
            Stage::Accepted { .. } => {}
            Stage::Open { peer } => {
                let known = self.peer(peer).expect("an open link has a peer");
                assert_eq!(known.open, Some(link), "the newest link of a peer is its only one");
                known.open = None;
                // What it was sent last may not have reached it.
                known.is_unsent = known.newest.is_some();
                self.dial_if_due(now_ms, peer, out);
            }
            Stage::Dialled { peer, .. } => self.on_not_connected(now_ms, peer, is_refused, out),
        }
        self.forget_strangers();
        self.check();
    }

    /// When to call [`Links::on_timeout`].
    pub fn next_timeout(&self) -> Option<u64> {
        let dials = self.peers.iter().filter(|peer| peer.wants_dial()).map(|peer| peer.dial_at_ms);
        let waits = self.links.iter().filter_map(|link| link.stage.until_ms());
        dials.chain(waits).min()
    }

    /// Dials again, and gives up what takes too long.
    pub fn on_timeout(&mut self, now_ms: u64, out: &mut Vec<LinkOutput>) {
        let is_late = |link: &&Link| link.stage.until_ms().is_some_and(|until| until <= now_ms);
        let late: Vec<LinkId> = self.links.iter().filter(is_late).map(|link| link.id).collect();
        for link in late {
            out.push(LinkOutput::Close(link));
            self.on_closed(now_ms, link, false, out);
        }
        let due = self.peers.iter().filter(|peer| peer.wants_dial() && peer.dial_at_ms <= now_ms);
        let due: Vec<ServerId> = due.map(|peer| peer.id).collect();
        due.into_iter().for_each(|peer| self.dial_if_due(now_ms, peer, out));
        self.check();
    }

    /// Who was accepted. One with a lower number is dialled in turn, whatever it has been connected by until now: it may
    /// have lost that without this server having noticed.
    fn on_initial(&mut self, now_ms: u64, link: LinkId, message: InitialMessage, out: &mut Vec<LinkOutput>) {
        let mut id = message.server;
        if id == UNNAMED {
            id = ServerId(self.next_unnamed);
            self.next_unnamed -= 1;
        }
        if id == self.settings.me {
            return self.refuse(link, Some(id), Refusal::OwnNumber, out);
        }
        let strangers = self.peers.iter().filter(|peer| !peer.is_member).count();
        if self.peer(id).is_none() && strangers >= LINKS_UNKNOWN_MAX {
            return self.refuse(link, Some(id), Refusal::Unknown, out);
        }
        let me = self.settings.me;
        let peer = self.peer_or_new(id);
        let old = peer.open.take();
        if !message.addresses.is_empty() {
            peer.said = message.addresses;
            peer.next_address = 0;
        }
        if let Some(old) = old {
            self.close(old, out);
        }
        if id > me {
            self.open(link, id, out);
        } else {
            self.close(link, out);
            let peer = self.peer(id).expect("it was made above");
            (peer.tries_left, peer.is_unsent) = (DIAL_TRIES, true);
            peer.dial_at_ms = now_ms;
            self.dial_if_due(now_ms, id, out);
        }
        self.forget_strangers();
    }

    fn open(&mut self, link: LinkId, id: ServerId, out: &mut Vec<LinkOutput>) {
        let at = self.position(link).expect("it is there");
        self.links[at].stage = Stage::Open { peer: id };
        let peer = self.peer(id).expect("it is known");
        assert!(peer.open.is_none(), "the older one was closed");
        peer.open = Some(link);
        peer.refused = 0;
        peer.backoff_ms = DIAL_BACKOFF_MS_MIN;
        peer.dial_at_ms = 0;
        peer.tries_left = DIAL_TRIES;
        peer.is_unsent = peer.newest.is_some();
        self.write_newest(id, out);
    }

    fn write_newest(&mut self, id: ServerId, out: &mut Vec<LinkOutput>) {
        let peer = self.peer(id).expect("it is known");
        let (Some(link), Some(bytes), true) = (peer.open, peer.newest.clone(), peer.is_unsent) else {
            return;
        };
        let at = self.position(link).expect("an open link is there");
        if !self.links[at].is_writing {
            self.links[at].is_writing = true;
            self.peer(id).expect("it is known").is_unsent = false;
            out.push(LinkOutput::Write { link, bytes });
        }
    }

    fn cut_frames(&mut self, link: LinkId, out: &mut Vec<LinkOutput>) {
        let Some(at) = self.position(link) else { return };
        let Stage::Open { peer } = self.links[at].stage else { return };
        let input = std::mem::take(&mut self.links[at].input);
        let mut rest = &input[..];
        loop {
            match cut_frame(rest) {
                Ok(Some((body, length))) => {
                    out.push(LinkOutput::Heard { from: peer, body: body.to_vec() });
                    rest = &rest[length..];
                }
                Ok(None) => break,
                Err(bad) => return self.refuse(link, Some(peer), Refusal::Frame(bad), out),
            }
        }
        self.links[at].input = rest.to_vec();
    }

    fn refuse(&mut self, link: LinkId, peer: Option<ServerId>, why: Refusal, out: &mut Vec<LinkOutput>) {
        out.push(LinkOutput::Refused { peer, why });
        self.close(link, out);
        self.forget_strangers();
    }

    fn close(&mut self, link: LinkId, out: &mut Vec<LinkOutput>) {
        let at = self.position(link).expect("it is there");
        if let Stage::Open { peer } = self.links.remove(at).stage
            && let Some(peer) = self.peer(peer)
        {
            peer.open = peer.open.filter(|open| *open != link);
        }
        out.push(LinkOutput::Close(link));
    }

    fn on_not_connected(&mut self, now_ms: u64, id: ServerId, is_refused: bool, out: &mut Vec<LinkOutput>) {
        let peer = self.peer(id).expect("what is dialled is known");
        peer.dialled = None;
        peer.next_address += 1;
        peer.refused = if is_refused { peer.refused + 1 } else { 0 };
        let addresses = peer.addresses().count();
        // The other addresses at once, then a pause.
        if peer.next_address.is_multiple_of(addresses.max(1)) {
            peer.postpone(now_ms);
        }
        if peer.refused >= addresses && peer.open.is_none() {
            peer.refused = 0;
            out.push(LinkOutput::Gone(id));
        }
        self.dial_if_due(now_ms, id, out);
    }

    fn dial_if_due(&mut self, now_ms: u64, id: ServerId, out: &mut Vec<LinkOutput>) {
        let peer = self.peer(id).expect("it is known");
        if !peer.wants_dial() || peer.dial_at_ms > now_ms {
            return;
        }
        let addresses: Vec<_> = peer.addresses().collect();
        let address = addresses[peer.next_address % addresses.len()].clone();
        if (peer.next_address + 1).is_multiple_of(addresses.len()) {
            peer.tries_left -= 1;
        }
        let link = self.add(Stage::Dialled { peer: id, until_ms: now_ms + self.settings.connect_timeout_ms });
        self.peer(id).expect("it is known").dialled = Some(link);
        out.push(LinkOutput::Dial { link, address });
    }

    fn add(&mut self, stage: Stage) -> LinkId {
        self.last_id += 1;
        let id = LinkId(self.last_id);
        self.links.push(Link { id, stage, input: Vec::new(), is_writing: false });
        id
    }

    fn position(&self, link: LinkId) -> Option<usize> {
        self.links.binary_search_by_key(&link, |known| known.id).ok()
    }

    fn peer(&mut self, id: ServerId) -> Option<&mut Peer> {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        Some(&mut self.peers[at])
    }

    fn peer_or_new(&mut self, id: ServerId) -> &mut Peer {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).unwrap_or_else(|at| {
            self.peers.insert(at, Peer::new(id));
            at
        });
        &mut self.peers[at]
    }

    fn forget_strangers(&mut self) {
        self.peers.retain(|peer| {
            peer.is_member || peer.open.is_some() || peer.dialled.is_some() || peer.wants_dial()
        });
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        assert!(self.peers.is_sorted_by(|a, b| a.id < b.id) && self.links.is_sorted_by(|a, b| a.id < b.id));
        let strangers = self.peers.iter().filter(|peer| !peer.is_member).count();
        assert!(
            strangers <= LINKS_UNKNOWN_MAX + 2 * SERVERS_MAX
                && self.peers.len() <= strangers + 2 * SERVERS_MAX
        );
        for link in &self.links {
            let of = |id: ServerId| {
                let at = self.peers.binary_search_by_key(&id, |peer| peer.id);
                &self.peers[at.expect("a link has a peer")]
            };
            match link.stage {
                Stage::Open { peer } => assert_eq!(of(peer).open, Some(link.id)),
                Stage::Dialled { peer, .. } => assert_eq!(of(peer).dialled, Some(link.id)),
                Stage::Accepted { .. } => {}
            }
            assert!(link.input.len() < ELECTION_MESSAGE_BYTES_MAX + 4, "a whole frame has been cut");
        }
        let named = self.peers.iter().flat_map(|peer| peer.open.iter().chain(&peer.dialled));
        let open = self.links.iter().filter(|link| !matches!(link.stage, Stage::Accepted { .. }));
        assert_eq!(named.count(), open.count(), "each link that a peer names is there");
        assert!(self.peers.iter().all(|peer| peer.id != self.settings.me));
    }
}

impl Peer {
    fn new(id: ServerId) -> Peer {
        Peer {
            id,
            is_member: false,
            configured: Vec::new(),
            said: Vec::new(),
            newest: None,
            is_unsent: false,
            open: None,
            dialled: None,
            next_address: 0,
            refused: 0,
            tries_left: 0,
            dial_at_ms: 0,
            backoff_ms: DIAL_BACKOFF_MS_MIN,
        }
    }

    fn addresses(&self) -> impl Iterator<Item = &(String, u16)> {
        let configured = self.configured.iter().filter(|address| !self.said.contains(address));
        self.said.iter().chain(configured)
    }

    fn wants_dial(&self) -> bool {
        self.open.is_none()
            && self.dialled.is_none()
            && self.is_unsent
            && self.tries_left > 0
            && self.addresses().next().is_some()
    }

    fn postpone(&mut self, now_ms: u64) {
        self.dial_at_ms = now_ms + self.backoff_ms;
        self.backoff_ms = (self.backoff_ms * 2).min(DIAL_BACKOFF_MS_MAX);
    }
}

impl Stage {
    fn until_ms(self) -> Option<u64> {
        match self {
            Stage::Dialled { until_ms, .. } | Stage::Accepted { until_ms } => Some(until_ms),
            Stage::Open { .. } => None,
        }
    }
}

/// `QuorumPeer.OBSERVER_ID`: an observer that has no number of its own.
const UNNAMED: ServerId = ServerId(i64::MAX);
/// So often all addresses of a peer are dialled for one notification.
const DIAL_TRIES: u32 = 5;
/// The pause behind a first try.
const DIAL_BACKOFF_MS_MIN: u64 = 100;
/// Pauses double up to this.
const DIAL_BACKOFF_MS_MAX: u64 = 3200;

#[cfg(test)]
mod tests;
