//! What the member says: committed batches are installed, watches fired, answers sent, in this order per transaction,
//! so that no reply overtakes the events of the change it reflects.

use super::conn::ConnState;
use super::requests::Held;
use super::watches::Table;
use super::{Shard, ShardOutput};
use crate::ids::{AclId, ConnId, Now, Zxid};
use crate::mesh::{Batch, Committed, SessionChange, ToShard};
use crate::tree::{Effect, Node, permission};
use crate::wire::Acl;
use crate::wire::codes::{EventType, perms};
use crate::wire::records::encode_event;
use std::sync::Arc;

impl Shard {
    pub(super) fn on_member(&mut self, now: Now, message: ToShard, out: &mut Vec<ShardOutput>) {
        match message {
            ToShard::Committed(batch) => self.on_batch(now, &batch, out),
            ToShard::Resumed { conn, session, timeout_ms, valid, seen } => {
                self.on_resumed(now, (conn, session, timeout_ms, seen), valid, out);
            }
            ToShard::Answer { conn, answer } => self.on_answer(now, conn, &answer, out),
            ToShard::Close { conn, .. } => self.drop_conn(conn, out),
            ToShard::Ask { ask, question, lister, is_alone } => {
                self.on_ask(now, ask, question, lister == self.settings.shard, is_alone);
            }
            ToShard::Text { conn, text, is_last } => self.send_piece(conn, &text, is_last),
            ToShard::ResetStats { connections, server } => self.reset_stats(connections, server),
        }
    }

    fn on_batch(&mut self, now: Now, batch: &Arc<Batch>, out: &mut Vec<ShardOutput>) {
        self.tree.look_ahead_of(batch.effects());
        for committed in &batch.txns {
            assert!(committed.zxid > self.tree.applied(), "batches come in zxid order");
            if let Some((origin, _)) = &committed.answer
                && origin.shard == self.settings.shard
            {
                self.answer_waiting_reads(origin.conn, Held::ByNothing, out);
            }
            for effect in &committed.effects {
                self.apply(committed.zxid, effect, out);
            }
            self.tree.set_applied(committed.zxid);
            self.answer(now, committed, out);
        }
        self.admit_caught_up(now, out);
        self.resume_throttled(now, out);
    }

    fn answer(&mut self, now: Now, committed: &Committed, out: &mut Vec<ShardOutput>) {
        let shard = self.settings.shard;
        match &committed.session {
            Some(SessionChange::Opened { session, timeout_ms, origin: Some(origin) })
                if origin.shard == shard =>
            {
                self.on_opened(now, origin.conn, *session, *timeout_ms, out);
            }
            _ => {}
        }
        if let Some((origin, answer)) = &committed.answer
            && origin.shard == shard
        {
            self.on_answer(now, origin.conn, answer, out);
        }
        if let Some(SessionChange::Closed { session }) = &committed.session
            && let Some(conn) = self.by_session.remove(session)
        {
            self.close_after_flush(conn);
        }
    }

    fn apply(&mut self, zxid: Zxid, effect: &Effect, out: &mut Vec<ShardOutput>) {
        match effect {
            Effect::Create { node, .. } => {
                self.tree.install(effect);
                if self.watches.total() > 0 {
                    self.fire(zxid, Table::Data, EventType::NodeCreated, node.path(), out);
                    self.fire(zxid, Table::Child, EventType::NodeChildrenChanged, node.parent(), out);
                }
            }
            Effect::SetData { node, .. } => {
                self.tree.install(effect);
                if self.watches.total() > 0 {
                    self.fire(zxid, Table::Data, EventType::NodeDataChanged, node.path(), out);
                }
            }
            Effect::Delete { node, slot, parent, .. } => {
                self.tell_listings(*slot, node, *parent);
                self.apply_delete(zxid, effect, node, out);
            }
            Effect::AddAcl { .. } | Effect::Replace { .. } | Effect::Parent { .. } => {
                self.tree.install(effect)
            }
        }
    }

    /// A connection hears of a deleted node once, even if it watches both its data and its children. The ACL that
    /// decides who hears of it is the one the node had, so it is looked up before the node goes.
    fn apply_delete(&mut self, zxid: Zxid, effect: &Effect, node: &Node, out: &mut Vec<ShardOutput>) {
        let acl = (node.acl() != AclId::OPEN).then(|| Arc::clone(self.tree.acl(node.acl())));
        self.tree.install(effect);
        if self.watches.total() == 0 {
            return;
        }
        let mut told = std::mem::take(&mut self.told);
        self.watches.fire(Table::Data, node.path(), &mut told);
        let mut also = Vec::new();
        self.watches.fire(Table::Child, node.path(), &mut also);
        if !also.is_empty() {
            told.append(&mut also);
            told.sort_unstable();
            told.dedup();
        }
        self.tell(zxid, EventType::NodeDeleted, node.path(), acl.as_deref(), &told, out);
        self.told = told;
        self.fire(zxid, Table::Child, EventType::NodeChildrenChanged, node.parent(), out);
    }

    /// What happened to a node that is there, or to its children, to whom it concerns.
    fn fire(&mut self, zxid: Zxid, table: Table, event: EventType, path: &str, out: &mut Vec<ShardOutput>) {
        let mut told = std::mem::take(&mut self.told);
        self.watches.fire(table, path, &mut told);
        if !told.is_empty() {
            let acl = self.tree.node(path).map_or(AclId::OPEN, Node::acl);
            let acl = (acl != AclId::OPEN).then(|| Arc::clone(self.tree.acl(acl)));
            self.tell(zxid, event, path, acl.as_deref(), &told, out);
        }
        self.told = told;
    }

    /// Queues one event to these connections, except to those that may not read the node: for them the watch is spent
    /// all the same.
    fn tell(
        &mut self,
        zxid: Zxid,
        event: EventType,
        path: &str,
        acl: Option<&[Acl]>,
        told: &[u32],
        out: &mut Vec<ShardOutput>,
    ) {
        if told.is_empty() {
            return;
        }
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        encode_event(&mut frame, zxid, event, path);
        let shared: Arc<[u8]> = Arc::from(&frame[..]);
        for slot in told {
            let Some(conn) = self.conns[*slot as usize].as_deref_mut() else { continue };
            let may_read = self.settings.common.skip_acl
                || acl.is_none_or(|acl| permission::allows(acl, perms::READ, &conn.identities));
            // Nothing follows the last answer of a connection.
            if !may_read || conn.state == ConnState::Closing {
                continue;
            }
            conn.push_event(&shared);
            conn.stats.sent += 1;
            self.stats.packets_sent += 1;
            self.sends.queue(conn, false);
            let (id, is_over) = (conn.id, conn.has_too_many_events());
            if is_over || self.sends.held_bytes() > self.settings.output_bytes_max {
                self.bound_output(id, out);
            }
        }
        self.stats.watch_bytes += (frame.len() * told.len()) as u64;
        self.scratch = frame;
    }

    /// The connection of an id, for tests and the driver's asserts.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.conn(id).is_some()
    }
}
