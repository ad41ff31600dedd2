//! What quotas do to writes: the check before them, the usage after them.

use super::{Store, Undo};
use crate::tree::effect::{Effect, Effects};
use crate::tree::node::{Node, split_path};
use crate::tree::quota::{QUOTA_ROOT, QuotaNode, StatsTrack, limits_path, quota_node, stats_path};
use crate::wire::ErrorCode;

/// A quota as the operations of one transaction are judged by: ZooKeeper looks at what is applied, and of a multi nothing is.
#[derive(Debug)]
pub(super) struct QuotaBefore {
    is_limited: bool,
    limits: Option<StatsTrack>,
    used: Option<StatsTrack>,
}

impl Store {
    /// Whether the deepest limited ancestor of `path` takes so many nodes and bytes more. Less of them, too, is refused
    /// while what is left is above a hard limit.
    pub fn quota_check(&self, path: &str, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        if !self.settings.enforce_quota {
            return Ok(());
        }
        let is_limited = |path: &str| {
            self.quotas_before
                .get(path)
                .map_or_else(|| self.limited.contains(path), |before| before.is_limited)
        };
        let has_quotas = !self.limited.is_empty() || !self.quotas_before.is_empty();
        let Some(limited) = has_quotas.then(|| deepest(path, is_limited)).flatten() else { return Ok(()) };
        let applied;
        let (limits, used) = match self.quotas_before.get(limited) {
            Some(before) => (&before.limits, &before.used),
            None => {
                applied = (self.track(&limits_path(limited)), self.track(&stats_path(limited)));
                (&applied.0, &applied.1)
            }
        };
        let (Some(limits), Some(used)) = (limits, used) else { return Ok(()) };
        let exceeds =
            |hard: i64, used: i64, more: i64| hard > -1 && more != 0 && used.wrapping_add(more) > hard;
        if exceeds(limits.count_hard(), used.count, count) || exceeds(limits.bytes_hard(), used.bytes, bytes)
        {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }

    fn track(&self, path: &str) -> Option<StatsTrack> {
        self.tree.node(path).and_then(|node| node.data().map(StatsTrack::parse))
    }

    /// Before a node changes: if it is a quota's, what the quota was is kept until the transaction is done.
    pub(super) fn note_quota(&mut self, path: &str) {
        let Some(QuotaNode::Limits(limited) | QuotaNode::Stats(limited)) = quota_node(path) else { return };
        if !self.quotas_before.contains_key(limited) {
            let before = QuotaBefore {
                is_limited: self.limited.contains(limited),
                limits: self.track(&limits_path(limited)),
                used: self.track(&stats_path(limited)),
            };
            self.quotas_before.insert(limited.into(), before);
        }
    }

    /// A stats node is written as such: what earlier operations of this multi used was added to what it had before.
    pub(super) fn forget_usage_of(&mut self, path: &str) {
        if !self.usage.is_empty()
            && let Some(QuotaNode::Stats(limited)) = quota_node(path)
        {
            self.usage.retain(|(path, _, _)| **path != *limited);
        }
    }

    pub(super) fn use_quota(&mut self, path: &str, count: i64, bytes: i64) {
        if self.limited.is_empty() {
            return;
        }
        if let Some(limited) = deepest(path, |path| self.limited.contains(path)) {
            self.usage.push((limited.into(), count, bytes));
        }
    }

    /// Adds what the transaction used to the stats nodes. Their Stat does not change and no watch fires.
    pub fn settle_usage(&mut self, effects: &mut Effects, undo: &mut Undo) {
        self.quotas_before.clear();
        for (limited, count, bytes) in std::mem::take(&mut self.usage) {
            self.write_usage(&limited, Some((count, bytes)), effects, undo);
        }
    }

    pub(super) fn write_usage(
        &mut self,
        limited: &str,
        more: Option<(i64, i64)>,
        effects: &mut Effects,
        undo: &mut Undo,
    ) {
        let Some((slot, stats)) = self.tree.find(&stats_path(limited)) else { return };
        let track = match more {
            None => self.counted(limited),
            Some((count, bytes)) => {
                let mut track = StatsTrack::parse(stats.data().unwrap_or_default());
                // Clients may have written any number there.
                track.count = track.count.wrapping_add(count);
                track.bytes = track.bytes.wrapping_add(bytes);
                track
            }
        };
        let node = stats.changed(stats.head(), Some(track.text().as_bytes()));
        self.change(Effect::Replace { node, slot }, effects, undo);
    }

    fn counted(&self, limited: &str) -> StatsTrack {
        let mut track = StatsTrack::zero();
        if let Some((slot, _)) = self.tree.find(limited) {
            self.tree.walk(slot, |_, node| {
                track.count += 1;
                track.bytes += node.data_length() as i64;
            });
        }
        track
    }

    /// Recounts the usage of every limited path (after a snapshot was loaded).
    pub fn recount_usage(&mut self) {
        for limited in self.limited.clone() {
            self.write_usage(&limited, None, &mut Effects::new(), &mut Undo::none());
        }
    }
}

/// The path itself or its deepest ancestor that is limited; the root never is.
fn deepest(path: &str, is_limited: impl Fn(&str) -> bool) -> Option<&str> {
    let mut prefix = path;
    while prefix != "/" && !prefix.is_empty() {
        if is_limited(prefix) {
            return Some(prefix);
        }
        prefix = split_path(prefix).0;
    }
    None
}

/// The path that a quota's node limits.
pub(super) fn limited_by(node: &Node) -> Option<&str> {
    if !node.path_bytes().starts_with(QUOTA_ROOT.as_bytes()) {
        return None;
    }
    match quota_node(node.path()) {
        Some(QuotaNode::Limits(path)) => Some(path),
        _ => None,
    }
}
