//! From a request to a transaction (`PrepRequestProcessor`): checks in exactly ZooKeeper's order against the tree at
//! the proposed state, then the transaction is applied to that tree at once. The first failing check decides.
//!
//! Architecture invariant: nothing here knows the log, other cores or time beyond the stamp of the transaction.

use super::sessions::Sessions;
use super::settings::MemberSettings;
use crate::ids::{AclId, Origin, SessionId, Zxid};
use crate::tree::{Effect, Node, Owner, Store, Undo, path, permission};
use crate::wire::codes::perms;
use crate::wire::records::RawAcl;
use crate::wire::txn::CreateKind;
use crate::wire::{Acl, ErrorCode, Identity, Op, Request, Stat, Txn, TxnHeader, Writer};
use std::borrow::Cow;

/// Everything a request is judged by, and what it changes.
pub(super) struct Preparer<'p, 'a> {
    pub store: &'p mut Store,
    pub sessions: &'p mut Sessions,
    pub settings: &'p MemberSettings,
    /// world:anyone with all permissions, built once.
    pub open_acl: &'a [Acl],
    pub session: SessionId,
    pub origin: Origin,
    pub identities: &'p [Identity],
    pub stamp: Stamp,
    /// What the transaction changed, for the other trees.
    pub effects: &'p mut Vec<Effect>,
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
pub(super) enum Outcome {
    Nothing,
    Path,
    PathAndStat(Stat),
    Stat(Stat),
}

impl Outcome {
    /// The response record.
    pub fn body(self, txn: &Txn<'_>) -> Box<[u8]> {
        let mut body = Vec::new();
        match (self, txn) {
            (Outcome::Nothing, _) => {}
            (Outcome::Path, Txn::Create { path, .. }) => {
                body.reserve_exact(4 + path.len());
                Writer::new(&mut body).string(path);
            }
            (Outcome::PathAndStat(stat), Txn::Create { path, .. }) => {
                body.reserve_exact(4 + path.len() + 68);
                Writer::new(&mut body).string(path);
                stat.encode(&mut body);
            }
            (Outcome::Stat(stat), _) => {
                body.reserve_exact(68);
                stat.encode(&mut body);
            }
            (Outcome::Path | Outcome::PathAndStat(_), _) => unreachable!("only creates answer with a path"),
        }
        body.into_boxed_slice()
    }
}

type Prepared<'a> = Result<(Txn<'a>, Outcome), ErrorCode>;

impl<'a> Preparer<'_, 'a> {
    /// Checks one operation, applies its transaction, and says what the client is told. Quota usage is settled by the
    /// caller, once per transaction.
    pub fn perform(&mut self, request: Request<'a>) -> Prepared<'a> {
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
    pub fn apply(&mut self, txn: &Txn<'_>) {
        let header = self.stamp.header(txn.op());
        let applied = self.store.apply_one(&header, txn, self.effects, self.undo);
        assert_eq!(applied, Ok(()), "a prepared transaction can be applied: {txn:?}");
    }

    fn delete(&mut self, path: Cow<'a, str>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        let parent = self.deletable(&path)?;
        self.permit(parent, perms::DELETE)?;
        let tree = self.store.tree();
        let (slot, node) = tree.find(&path).ok_or(ErrorCode::NoNode)?;
        check_version(node.head().version, version)?;
        if tree.child_stat(slot).count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let txn = Txn::Delete { path, container: false };
        self.apply(&txn);
        Ok((txn, Outcome::Nothing))
    }

    /// Clients may collect what the server would collect sooner or later, with the permission to delete; ZooKeeper's
    /// own servers ask for no permission and take any node.
    fn delete_container(&mut self, path: Cow<'a, str>) -> Prepared<'a> {
        self.check_session()?;
        let parent = self.deletable(&path)?;
        self.permit(parent, perms::DELETE)?;
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
        self.apply(&txn);
        Ok((txn, Outcome::Nothing))
    }

    fn set_data(&mut self, path: Cow<'a, str>, data: Option<&'a [u8]>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.node(&path)?;
        self.permit(node, perms::WRITE)?;
        let more = data.map_or(0, <[u8]>::len) as i64 - node.data_length() as i64;
        self.store.quota_check(&path, 0, more)?;
        let version = next_version(node.head().version, version)?;
        let txn = Txn::SetData { path, data, version, reconfig: false };
        self.apply(&txn);
        let stat = self.stat_of(&txn);
        Ok((txn, Outcome::Stat(stat)))
    }

    fn set_acl(&mut self, path: Cow<'a, str>, acl: Option<&[RawAcl<'a>]>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = self.fix_up(acl)?;
        let node = self.node(&path)?;
        self.permit(node, perms::ADMIN)?;
        let version = next_version(node.head().aversion, version)?;
        let txn = Txn::SetAcl { path, acl, version };
        self.apply(&txn);
        let stat = self.stat_of(&txn);
        Ok((txn, Outcome::Stat(stat)))
    }

    fn check(&mut self, path: Cow<'a, str>, version: i32) -> Prepared<'a> {
        self.check_session()?;
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.node(&path)?;
        self.permit(node, perms::READ)?;
        let version = next_version(node.head().version, version)?;
        Ok((Txn::Check { path, version }, Outcome::Nothing))
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
    fn deletable(&self, path: &str) -> Result<&Node, ErrorCode> {
        let parent = path::parent_of_unchecked(path).ok_or(ErrorCode::BadArguments)?;
        if path::is_special(path) {
            return Err(ErrorCode::BadArguments);
        }
        self.node(parent)
    }

    pub(super) fn node(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.store.tree().node(path).ok_or(ErrorCode::NoNode)
    }

    pub(super) fn permit(&self, node: &Node, wanted: i32) -> Result<(), ErrorCode> {
        let acl = node.acl();
        if acl == AclId::OPEN || self.settings.skip_acl {
            return Ok(());
        }
        let allowed = permission::allows(self.store.tree().acl(acl), wanted, self.identities);
        if allowed { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// The list to store; the commonest one costs nothing.
    pub(super) fn fix_up(&self, raw: Option<&[RawAcl<'_>]>) -> Result<Cow<'a, [Acl]>, ErrorCode> {
        if permission::is_open(raw) {
            return Ok(Cow::Borrowed(self.open_acl));
        }
        permission::fix_up(&self.settings.digest, raw, self.identities).map(Cow::Owned)
    }

    fn stat_of(&self, txn: &Txn<'_>) -> Stat {
        let (Txn::SetData { path, .. } | Txn::SetAcl { path, .. }) = txn else {
            unreachable!("only these answer with the Stat of an old node")
        };
        let tree = self.store.tree();
        tree.stat(tree.find(path).expect("it was just changed").0)
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
