//! Quotas, once more: limits and usage stand as text in nodes below one path. What is used counts for the nearest limited
//! node above, the node itself included; it is checked before a transaction and counted with it.

use super::model::{Model, Nodes, parent};
use std::rc::Rc;

pub const QUOTA_EXCEEDED: i32 = -125;
/// Where they stand.
pub const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "/zookeeper_limits";
const STATS: &str = "/zookeeper_stats";

/// Where the limits and the usage of a path stand.
pub fn nodes_of(limited: &str) -> (String, String) {
    (format!("{ROOT}{limited}{LIMITS}"), format!("{ROOT}{limited}{STATS}"))
}

/// The text of limits; None is no limit.
pub fn limits(soft: (i64, i64), hard: (Option<i64>, Option<i64>)) -> String {
    let mut text = format!("count={},bytes={}", soft.0, soft.1);
    let parts = [
        hard.1.map(|bytes| format!("byteHardLimit={bytes}")),
        hard.0.map(|count| format!("countHardLimit={count}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        text += &format!("=;{}", parts.join(";"));
    }
    text
}

fn number(nodes: &Nodes, path: &str, key: &str) -> Option<i64> {
    let data = &nodes.get(path)?.data;
    let text = std::str::from_utf8(data).expect("quotas are text");
    let (_, rest) = text.split_once(&format!("{key}="))?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '-').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn limited(nodes: &Nodes, path: &str) -> Option<String> {
    let mut at = path;
    while at != "/" {
        if nodes.contains_key(&nodes_of(at).0) {
            return Some(at.to_string());
        }
        at = parent(at);
    }
    None
}

impl Model {
    /// Whether hard limits forbid it, as things were before the transaction.
    pub fn exceeds_quota(&self, path: &str, more_nodes: i64, more_bytes: i64) -> bool {
        let nodes = &self.before;
        if !self.enforces_quotas {
            return false;
        }
        let Some(limited) = limited(nodes, path) else { return false };
        let (limits, stats) = nodes_of(&limited);
        let is_over = |key: &str, hard: &str, more: i64| {
            let (Some(used), Some(most)) = (number(nodes, &stats, key), number(nodes, &limits, hard)) else {
                return false;
            };
            most > -1 && more != 0 && used + more > most
        };
        is_over("count", "countHardLimit", more_nodes) || is_over("bytes", "byteHardLimit", more_bytes)
    }

    /// A node came, went or changed.
    pub fn count_usage(&mut self, path: &str, more_nodes: i64, more_bytes: i64) {
        let Some(limited) = limited(&self.nodes, path) else { return };
        let (_, stats) = nodes_of(&limited);
        let (Some(count), Some(bytes)) =
            (number(&self.nodes, &stats, "count"), number(&self.nodes, &stats, "bytes"))
        else {
            return;
        };
        self.write_usage(&stats, count + more_nodes, bytes + more_bytes);
    }

    /// The node of a usage was made: everything is counted.
    pub fn begin_usage(&mut self, path: &str) {
        let Some(limited) = path.strip_prefix(ROOT).and_then(|path| path.strip_suffix(STATS)) else { return };
        let below = format!("{limited}/");
        let counted = |path: &str| path == limited || path.starts_with(&below);
        let items =
            self.nodes.iter().filter(|(path, _)| counted(path)).map(|(_, item)| item.data.len() as i64);
        let (count, bytes) = items.fold((0, 0), |(count, bytes), more| (count + 1, bytes + more));
        self.write_usage(path, count, bytes);
    }

    fn write_usage(&mut self, stats: &str, count: i64, bytes: i64) {
        let item = Rc::make_mut(self.nodes.get_mut(stats).expect("it was found"));
        item.data = format!("count={count},bytes={bytes}").into_bytes();
    }
}
