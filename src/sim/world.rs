//! The world of one seed: the member and the shards of a process, mailboxes, sockets, a disk and clients. Which of the
//! things that can happen happens next, and everything about it, is drawn from the seed.

use super::access;
use super::actions::Action;
use super::client::{
    Client, Facts, Results, SESSION_EXPIRED, SESSION_MOVED, Sent, UNKNOWN_SESSION, owner_matches,
};
use super::disk::Disk;
use super::model::{Expected, Model};
use super::process::{Process, Settings};
use super::quotas;
use super::trace::Trace;
use super::wishes::BASE;
use crate::ids::{Now, Origin, SegmentId, SessionId};
use crate::member::SnapshotFile;
use crate::mesh::{Batch, Committed, SessionChange};
use crate::prng::Prng;
use crate::send_buffer::SendBuffer;
use crate::tree::{Effect, Tree};
use crate::wire::Txn;
use crate::wire::txn::decode_entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A socket between a client and the server.
pub struct Conn {
    pub client: usize,
    pub to_server: VecDeque<u8>,
    pub to_client: VecDeque<u8>,
    /// Where it lives in the process; None before it is assigned and after its end.
    pub origin: Option<Origin>,
    /// The send in flight.
    pub sending: Option<SendBuffer>,
    pub is_read: bool,
    pub closed_by_server: bool,
    pub closed_by_client: bool,
}

/// Everything.
pub struct World {
    pub prng: Prng,
    pub now: Now,
    pub trace: Trace,
    pub disk: Disk,
    pub process: Option<Process>,
    pub conns: Vec<Conn>,
    pub clients: Vec<Client>,
    pub model: Model,
    pub results: Results,
    pub sent: BTreeMap<(SessionId, i32), Sent>,
    /// When something of each session arrived.
    pub heard: BTreeMap<SessionId, Vec<u64>>,
    pub acknowledged: i64,
    pub may_refuse: bool,
    pub settings: Settings,
    pub crashes: u64,
    /// Snapshots that cannot be read.
    pub bad_snapshots: BTreeSet<SnapshotFile>,
    /// A shard whose core gets no time before then.
    pub sleeping: Option<(usize, u64)>,
    /// No segment can be prepared before.
    pub full_until_ms: u64,
    /// Writes of the log, in order; those that are not durable at a crash never were.
    pub frames: Vec<Frame>,
}

/// A write of the log.
pub struct Frame {
    pub segment: SegmentId,
    pub offset: u64,
    pub bytes: usize,
    pub token: u64,
    pub is_durable: bool,
}

/// How long a shard's word that a session was heard from may be on its way here; far less in production.
const MESSAGES_MS: u64 = 250;

impl World {
    /// A world as the seed wants it, with a running, empty server.
    pub fn new(seed: u64, is_loud: bool, change: impl FnOnce(&mut Settings)) -> Result<World, String> {
        let mut prng = Prng::new(seed);
        let mut settings = Settings::draw(&mut prng, seed);
        change(&mut settings);
        let clients = (0..2 + prng.below(4) as usize).map(Client::new).collect();
        let mut world = World {
            prng,
            now: Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 },
            trace: Trace::new(is_loud),
            disk: Disk::default(),
            process: None,
            conns: Vec::new(),
            clients,
            model: Model::new(settings.enforces_quotas),
            results: Results::new(),
            sent: BTreeMap::new(),
            heard: BTreeMap::new(),
            acknowledged: 0,
            may_refuse: false,
            settings,
            crashes: 0,
            bad_snapshots: BTreeSet::new(),
            sleeping: None,
            full_until_ms: 0,
            frames: Vec::new(),
        };
        world.trace.line(format_args!("seed {seed}: {:?}", world.settings));
        world.start()?;
        Ok(world)
    }

    /// An entry of the log that the model may not know yet.
    pub fn learn(&mut self, entry: &[u8]) -> Result<(), String> {
        let (header, txn, _) = decode_entry(entry).map_err(|error| error.to_string())?;
        let zxid = header.zxid.0;
        if zxid <= self.model.zxid {
            return Ok(());
        }
        self.model.begin(zxid)?;
        let err = if let Txn::Error { err } = txn { err } else { 0 };
        match (&txn, self.sent.get(&(header.session, header.cxid)).cloned()) {
            (Txn::CreateSession { timeout_ms }, _) => {
                _ = self.model.sessions.insert(header.session, *timeout_ms)
            }
            (Txn::CloseSession { .. }, _) => self.model.close(header.session),
            (_, Some(sent)) => self.execute((header.session, header.cxid), &sent, err)?,
            (Txn::Delete { path, .. }, None) => self.model.collect(path)?,
            (txn, None) => return Err(format!("nobody asked for {header:?} {txn:?}")),
        }
        self.model.end();
        self.trace.line(format_args!("learned {zxid:#x} {:?}", header.op));
        Ok(())
    }

    /// A write of a client takes effect in the model; the server's verdict must be the same.
    fn execute(&mut self, key: (SessionId, i32), sent: &Sent, err: i32) -> Result<(), String> {
        let Sent { action, users } = sent;
        let is_live = self.model.sessions.contains_key(&key.0);
        let expected = match err {
            // Its end may only be proposed yet, but then it has a lower zxid and the model knows.
            SESSION_EXPIRED | UNKNOWN_SESSION if !is_live => Expected::Error(err),
            SESSION_MOVED => Expected::Error(err),
            0 if !is_live && matches!(action, Action::Multi(_)) => Expected::Multi(Err((0, SESSION_EXPIRED))),
            _ if !is_live => return Err(format!("{action:?} of the ended session {} took effect", key.0)),
            _ => self.model.execute(key.0, users, action),
        };
        let due = match &expected {
            Expected::Error(error) => *error,
            Expected::Multi(Err((_, error))) if err != 0 => *error,
            _ => 0,
        };
        if due != err {
            return Err(format!(
                "{action:?} (xid {}) of {} ended with {err}, due is {expected:?}",
                key.1, key.0
            ));
        }
        if self.results.insert(key, (self.model.zxid, expected)).is_some() {
            return Err(format!("{action:?} (xid {}) of {} took effect twice", key.1, key.0));
        }
        Ok(())
    }

    /// What the member says is committed.
    pub fn on_batch(
        &mut self,
        batch: &Batch,
        sessions: &BTreeMap<(Origin, i32), SessionId>,
    ) -> Result<(), String> {
        for committed in &batch.txns {
            self.model.begin(committed.zxid.0)?;
            self.on_committed(committed, sessions)?;
            self.model.end();
        }
        Ok(())
    }

    fn on_committed(
        &mut self,
        committed: &Committed,
        sessions: &BTreeMap<(Origin, i32), SessionId>,
    ) -> Result<(), String> {
        let Committed { zxid, effects, answer, session } = committed;
        self.trace.line(format_args!("committed {zxid}: {} effects, {session:?}", effects.len()));
        if let Some((origin, answer)) = answer {
            let session = *sessions.get(&(*origin, answer.xid)).ok_or("an answer to nobody")?;
            let key = (session, answer.xid);
            let sent = self.sent.get(&key).cloned().ok_or_else(|| format!("{key:?} was never sent"))?;
            return self.execute(key, &sent, answer.err);
        }
        match (session, &effects[..]) {
            (Some(SessionChange::Opened { session, timeout_ms, .. }), []) => {
                self.model.sessions.insert(*session, *timeout_ms);
                self.heard.insert(*session, vec![self.now.mono_ms]);
                Ok(())
            }
            (Some(SessionChange::Closed { session }), _) => {
                let timeout_ms = *self.model.sessions.get(session).ok_or("an unknown session ended")?;
                // The end was decided some time ago; since then its client may have come back, too late.
                let mut heard = self.heard.remove(session).unwrap_or_default();
                heard.push(self.now.mono_ms);
                let allowed_ms = (timeout_ms as u64).saturating_sub(MESSAGES_MS);
                if heard.windows(2).all(|pair| pair[1] - pair[0] < allowed_ms) {
                    return Err(format!(
                        "{session} ended before its {timeout_ms} ms; it was heard at {heard:?}"
                    ));
                }
                self.model.close(*session);
                Ok(())
            }
            (None, [Effect::Delete { node, .. }, rest @ ..]) if rest.iter().all(is_usage) => {
                self.model.collect(node.path())
            }
            other => Err(format!("nobody asked for {other:?}")),
        }
    }

    /// A tree must hold what the model holds.
    pub fn compare(&self, what: &str, tree: &Tree) -> Result<(), String> {
        let mut count = 0;
        for (slot, node) in tree.nodes() {
            // Sequential nodes may stand beside the base.
            let is_quota = node.path().strip_prefix(quotas::ROOT).is_some_and(|below| !below.is_empty());
            if !node.path().starts_with(BASE) && !is_quota {
                continue;
            }
            count += 1;
            let item = self.model.nodes.get(node.path()).ok_or_else(|| format!("{what} has {node:?}"))?;
            let got = super::model::without_times(tree.stat(slot));
            let is_same = got == super::model::stat(item)
                && node.data() == Some(&item.data)
                && tree_acl(tree, node.acl()) == access::on_wire(&item.acl, true)
                && owner_matches(item.kind, node.head().owner);
            if !is_same {
                return Err(format!("{what} has {node:?} {got:?}, the model {item:?}"));
            }
        }
        // Without the root and where quotas stand.
        let due = self.model.nodes.len() - 3;
        if count == due { Ok(()) } else { Err(format!("{what} has {count} nodes, the model {due}")) }
    }

    /// The core of this shard gets no time.
    pub fn is_asleep(&self, shard: usize) -> bool {
        self.sleeping.is_some_and(|(sleeping, until_ms)| sleeping == shard && self.now.mono_ms < until_ms)
    }

    /// The process dies, and with it whatever was not durable.
    pub fn crash(&mut self, why: &str) -> Result<(), String> {
        self.trace.line(format_args!("crash: {why}"));
        self.crashes += 1;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        self.sleeping = None;
        self.leave_behind(&mut process.files);
        self.frames.retain(|frame| frame.is_durable);
        let is_power_gone = self.prng.chance(50);
        self.disk.crash(process.writes, is_power_gone, &mut self.prng);
        if self.prng.chance(30) {
            self.damage_covered()?;
        }
        for client in &mut self.clients {
            client.disconnect();
        }
        self.conns.clear();
        self.start()
    }

    /// A client takes in what has arrived, or some of it.
    pub fn deliver_to_client(&mut self, index: usize, at_most: usize) -> Result<(), String> {
        let conn = &mut self.conns[index];
        if self.clients[conn.client].deaf_until_ms > self.now.mono_ms {
            return Ok(());
        }
        let count = at_most.min(conn.to_client.len());
        let bytes: Vec<u8> = conn.to_client.drain(..count).collect();
        let is_over = conn.to_client.is_empty() && conn.closed_by_server;
        let bounds = self.settings.client_bounds();
        let World { clients, model, results, sent, acknowledged, may_refuse, .. } = self;
        let client = &mut clients[self.conns[index].client];
        if client.conn != Some(index) {
            return Ok(());
        }
        let mut facts =
            Facts { model, results, sent, acknowledged: *acknowledged, may_refuse: *may_refuse, bounds };
        client.receive(&bytes, &mut facts)?;
        *acknowledged = (*acknowledged).max(client.seen);
        if is_over {
            client.disconnect();
        }
        Ok(())
    }

    /// A client sends its next request.
    pub fn ask(&mut self, client: usize, action: Option<Action>) {
        let bounds = self.settings.client_bounds();
        let World { clients, model, results, sent, acknowledged, may_refuse, prng, settings, .. } = self;
        let client = &mut clients[client];
        let Some(conn) = client.conn else { return };
        let action = action.unwrap_or_else(|| client.choose(prng, &settings.wishes));
        self.trace.line(format_args!("client {} asks {}", client.id, action.summary()));
        let mut facts =
            Facts { model, results, sent, acknowledged: *acknowledged, may_refuse: *may_refuse, bounds };
        let frame = client.ask(action, &mut facts);
        self.conns[conn].to_server.extend(frame);
    }
}

fn tree_acl(tree: &Tree, acl: crate::ids::AclId) -> Vec<crate::wire::Acl> {
    if acl == crate::ids::AclId::OPEN { crate::wire::Acl::open() } else { tree.acl(acl).to_vec() }
}

/// The usage of a quota changes with the node that goes.
fn is_usage(effect: &Effect) -> bool {
    matches!(effect, Effect::Replace { node, .. } if node.path().starts_with(quotas::ROOT))
}
