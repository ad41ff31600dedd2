//! The four creates: the longest list of checks, in the order clients depend on.

use super::prepare::{Preparer, Told, create_kind};
use crate::ids::Zxid;
use crate::tree::node::TTL_MS_MAX;
use crate::tree::{Known, Owner, path};
use crate::wire::codes::{flags, perms};
use crate::wire::request::CreateRequest;
use crate::wire::{ErrorCode, Op, Stat, Txn};
use std::borrow::Cow;

/// What the flags of a create ask for (`CreateMode`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub ephemeral: bool,
    pub sequential: bool,
    pub ttl: bool,
}

impl Mode {
    /// The meaning of the flags, None if they have none.
    pub fn of(number: i32) -> Option<Mode> {
        Some(Mode {
            ephemeral: matches!(number, flags::EPHEMERAL | flags::EPHEMERAL_SEQUENTIAL),
            sequential: matches!(
                number,
                flags::PERSISTENT_SEQUENTIAL | flags::EPHEMERAL_SEQUENTIAL | flags::TTL_SEQUENTIAL
            ),
            ttl: flags::have_ttl(number),
        })
        .filter(|_| flags::are_known(number))
    }
}

impl Preparer<'_> {
    pub(super) fn create<'a>(&mut self, create: CreateRequest<'a>) -> Result<(Txn<'a>, Told), ErrorCode> {
        let mode = Mode::of(create.flags).ok_or(ErrorCode::BadArguments)?;
        self.check_ttl(mode, &create)?;
        self.check_session()?;
        let parent_path = path::parent_of_unchecked(&create.path).ok_or(ErrorCode::BadArguments)?;
        let acl = self.fix_up(create.acl.as_deref())?;
        let (parent, parent_node) = self.find(parent_path)?;
        self.permit(parent_node, perms::CREATE)?;
        let parent_cversion = self.store.tree().child_stat(parent).cversion;
        let parent_is_ephemeral =
            matches!(self.settings.owner_rules.owner(parent_node.owner()), Owner::Session(_));
        let path = if mode.sequential { with_sequence(&create.path, parent_cversion) } else { create.path };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.store.tree().node(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if parent_is_ephemeral {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_length = create.data.map_or(0, <[u8]>::len);
        self.store.quota_check(&path, 1, data_length as i64)?;
        let kind = create_kind(create.op, create.ttl_ms.unwrap_or(-1));
        let ephemeral = mode.ephemeral && matches!(create.op, Op::Create | Op::Create2);
        let parent_cversion = parent_cversion.wrapping_add(1);
        let txn = Txn::Create { kind, path, data: create.data, acl, ephemeral, parent_cversion };
        self.apply(&txn, Known::Vacant { parent });
        let outcome = match create.op {
            Op::Create => Told::Path,
            _ => Told::PathAndStat(self.fresh_stat(ephemeral, data_length)),
        };
        Ok((txn, outcome))
    }

    /// `EphemeralType.validateTTL`. That a createTTL must ask for a TTL is our own rule: ZooKeeper would make a node
    /// with a negative TTL of it.
    fn check_ttl(&self, mode: Mode, create: &CreateRequest<'_>) -> Result<(), ErrorCode> {
        let asks_for_ttl = create.op == Op::CreateTtl;
        if mode.ttl && !self.settings.owner_rules.extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        let is_valid = match create.ttl_ms {
            Some(ttl_ms) => mode.ttl && asks_for_ttl && (1..=TTL_MS_MAX).contains(&ttl_ms),
            None => !mode.ttl && !asks_for_ttl,
        };
        if is_valid { Ok(()) } else { Err(ErrorCode::BadArguments) }
    }

    /// The Stat of a node that this transaction has just made; no look-up needed.
    fn fresh_stat(&self, ephemeral: bool, data_length: usize) -> Stat {
        let Zxid(zxid) = self.stamp.zxid;
        Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: self.stamp.time_ms,
            mtime: self.stamp.time_ms,
            ephemeral_owner: if ephemeral { self.session.0 } else { 0 },
            data_length: data_length as i32,
            ..Stat::default()
        }
    }
}

/// The name with the number of creates so far in the parent, as Java's `%010d`.
fn with_sequence<'a>(path: &str, parent_cversion: i32) -> Cow<'a, str> {
    Cow::Owned(format!("{path}{parent_cversion:010}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_padded_to_ten_with_their_sign() {
        assert_eq!(with_sequence("/a-", 7), "/a-0000000007");
        assert_eq!(with_sequence("/a-", -1), "/a--000000001");
        assert_eq!(with_sequence("/a-", i32::MIN), "/a--2147483648");
    }

    #[test]
    fn flags_beyond_the_known_have_no_mode() {
        assert!(Mode::of(-1).is_none());
        assert!(Mode::of(7).is_none());
        assert!(Mode::of(6).is_some_and(|mode| mode.ttl && mode.sequential && !mode.ephemeral));
    }
}
