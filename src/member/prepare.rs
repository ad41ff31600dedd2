//! From a request to a transaction (`PrepRequestProcessor`): checks in exactly ZooKeeper's order against the tree at
//! the proposed state, then the transaction is applied to that tree at once. The first failing check decides.
//!
//! Architecture invariant: nothing here knows the log, other cores or time beyond the stamp of the transaction.

use super::sessions::Sessions;
use super::settings::MemberSettings;
use crate::ids::{AclId, Origin, SessionId, Zxid};
use crate::mesh::ReplyBody;
use crate::tree::{Effects, Known, Node, Owner, Slot, Store, Undo, path, permission};
use crate::wire::codes::perms;
use crate::wire::records::RawAcl;
use crate::wire::txn::CreateKind;
use crate::wire::{Acl, ErrorCode, Identity, Op, Request, Stat, Txn, TxnHeader};
use std::borrow::Cow;

/// Everything a request is judged by, and what it changes.
pub(super) struct Preparer<'p> {
    pub store: &'p mut Store,
    pub sessions: &'p mut Sessions,
    pub settings: &'p MemberSettings,
    pub session: SessionId,
    pub origin: Origin,
    pub identities: &'p [Identity],
    pub stamp: Stamp,
    /// What the transaction changed, for the other trees.
    pub effects: &'p mut Effects,
    pub undo: &'p mut Undo,
}

/// What all parts of a transaction share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub session: SessionId,
    pub cxid: i32,
    pub zxid: Zxid,
    pub time_ms: i64,
}

impl Stamp {
    /// The header of a transaction of this type.
    pub fn header(self, op: Op) -> TxnHeader {
        TxnHeader { session: self.session, cxid: self.cxid, zxid: self.zxid, time_ms: self.time_ms, op }
    }
}

/// What the client is told besides success; the path stands in the transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Nothing,
    Path,
    PathAndStat(Stat),
    Stat(Stat),
}

impl Told {
    /// The response record.
    pub fn body(self, txn: &Txn<'_>) -> ReplyBody {
        let mut body = ReplyBody::new();
        if let Told::Path | Told::PathAndStat(_) = self {
            let Txn::Create { path, .. } = txn else { unreachable!("only creates answer with a path") };
            body.extend_from_slice(&(path.len() as i32).to_be_bytes());
            body.extend_from_slice(path.as_bytes());
        }
        if let Told::Stat(stat) | Told::PathAndStat(stat) = self {
            body.extend_from_slice(&stat.bytes());
        }
        body
    }
}

type Prepared<'a> = Result<(Txn<'a>, Told), ErrorCode>;

impl Preparer<'_> {
    /// Checks one operation, applies its transaction, and says what the client is told. Quota usage is settled by the
    /// caller, once per transaction.
    pub fn perform<'a>(&mut self, request: Request<'a>) -> Prepared<'a> {
        match request {
            Request::Create(create) => self.create(create),
            Request::Delete { path, version } => self.delete(path, version),
            Request::SetData { path, data, version } => self.set_data(path, data, version),
            Request::SetAcl { path, acl, version } => self.set_acl(path, acl.as_deref(), version),
            Request::Check { path, version } => self.check(path, version),
            Request::DeleteContainer { path } => self.delete_container(path),
            Request::Reconfig { .. } => Err(self.reconfig()),
            _ => unreachable!("the member decodes only writes"),
        }
    }

    /// Changes the tree; what prepare has found to be right cannot fail.
    pub fn apply(&mut self, txn: &Txn<'_>, known: Known) {
        let header = self.stamp.header(txn.op());
        let applied = self.store.apply_one(&header, txn, known, self.effects, self.undo);
        assert_eq!(applied, Ok(()), "a prepared transaction can be applied: {txn:?}");
    }

    fn delete<'a>(&mut self, path: Cow<'a, str>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        let (parent, parent_node) = self.deletable(&path)?;
        self.permit(parent_node, perms::DELETE)?;
        let tree = self.store.tree();
        let (slot, node) = tree.find(&path).ok_or(ErrorCode::NoNode)?;
        check_version(node.head().version, version)?;
        if tree.child_stat(slot).count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let txn = Txn::Delete { path, container: false };
        self.apply(&txn, Known::Child { slot, parent });
        Ok((txn, Told::Nothing))
    }

    /// Clients may collect what the server would collect sooner or later, with the permission to delete; ZooKeeper's
    /// own servers ask for no permission and take any node.
    fn delete_container<'a>(&mut self, path: Cow<'a, str>) -> Prepared<'a> {
        self.check_session()?;
        let (parent, parent_node) = self.deletable(&path)?;
        self.permit(parent_node, perms::DELETE)?;
        let tree = self.store.tree();
        let (slot, node) = tree.find(&path).ok_or(ErrorCode::NoNode)?;
        if tree.child_stat(slot).count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        match tree.rules().owner(node.owner()) {
            Owner::Session(_) => return Err(ErrorCode::BadVersion),
            Owner::None => return Err(ErrorCode::BadArguments),
            Owner::Container | Owner::Ttl(_) => {}
        }
        let txn = Txn::Delete { path, container: true };
        self.apply(&txn, Known::Child { slot, parent });
        Ok((txn, Told::Nothing))
    }

    fn set_data<'a>(&mut self, path: Cow<'a, str>, data: Option<&'a [u8]>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        let (slot, node) = self.find(&path)?;
        self.permit(node, perms::WRITE)?;
        let more = data.map_or(0, <[u8]>::len) as i64 - node.data_length() as i64;
        self.store.quota_check(&path, 0, more)?;
        let version = next_version(node.head().version, version)?;
        let txn = Txn::SetData { path, data, version, reconfig: false };
        self.apply(&txn, Known::Node(slot));
        Ok((txn, Told::Stat(self.store.tree().stat(slot))))
    }

    fn set_acl<'a>(&mut self, path: Cow<'a, str>, acl: Option<&[RawAcl<'a>]>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = self.fix_up(acl)?;
        let (slot, node) = self.find(&path)?;
        self.permit(node, perms::ADMIN)?;
        let version = next_version(node.head().aversion, version)?;
        let txn = Txn::SetAcl { path, acl, version };
        self.apply(&txn, Known::Node(slot));
        Ok((txn, Told::Stat(self.store.tree().stat(slot))))
    }

    fn check<'a>(&mut self, path: Cow<'a, str>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        let (_, node) = self.find(&path)?;
        self.permit(node, perms::READ)?;
        let version = next_version(node.head().version, version)?;
        Ok((Txn::Check { path, version }, Told::Nothing))
    }

    /// A standalone server has no ensemble to change.
    fn reconfig(&mut self) -> ErrorCode {
        if !self.settings.reconfig_enabled {
            return ErrorCode::ReconfigDisabled;
        }
        self.check_session().err().unwrap_or(ErrorCode::Unimplemented)
    }

    pub(super) fn check_session(&mut self) -> Result<(), ErrorCode> {
        self.sessions.check(self.session, self.origin)
    }

    /// The parent of a path that may be deleted.
    fn deletable(&self, path: &str) -> Result<(Slot, &Node), ErrorCode> {
        let parent = path::parent_of_unchecked(path).ok_or(ErrorCode::BadArguments)?;
        if path::is_special(path) {
            return Err(ErrorCode::BadArguments);
        }
        self.find(parent)
    }

    pub(super) fn find(&self, path: &str) -> Result<(Slot, &Node), ErrorCode> {
        self.store.tree().find(path).ok_or(ErrorCode::NoNode)
    }

    pub(super) fn permit(&self, node: &Node, wanted: i32) -> Result<(), ErrorCode> {
        let acl = node.acl();
        if acl == AclId::OPEN || self.settings.common.skip_acl {
            return Ok(());
        }
        let allowed = permission::allows(self.store.tree().acl(acl), wanted, self.identities);
        if allowed { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// The list to store; the commonest one costs nothing.
    pub(super) fn fix_up<'a>(&self, raw: Option<&[RawAcl<'_>]>) -> Result<Cow<'a, [Acl]>, ErrorCode> {
        if permission::is_open(raw) {
            return Ok(Cow::Borrowed(Acl::open_list()));
        }
        permission::fix_up(&self.settings.common.digest, raw, self.identities).map(Cow::Owned)
    }
}

/// `expected` must be the current version, or -1 for any.
fn check_version(current: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == current { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    check_version(current, expected)?;
    Ok(current.wrapping_add(1))
}

/// The kind of record a create of this opcode makes.
pub(super) fn create_kind(op: Op, ttl_ms: i64) -> CreateKind {
    match op {
        Op::Create => CreateKind::Create,
        Op::Create2 => CreateKind::Create2,
        Op::CreateContainer => CreateKind::Container,
        Op::CreateTtl => CreateKind::Ttl { ttl_ms },
        _ => unreachable!("a create has one of four opcodes"),
    }
}
