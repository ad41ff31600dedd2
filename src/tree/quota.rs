//! Quotas (`Quotas`, `StatsTrack`): limits and usage live as text in nodes below /zookeeper/quota. The deepest limited
//! ancestor (or the node itself) counts; "/" cannot be limited.

use std::collections::BTreeMap;

/// Below it stand the quotas.
pub const QUOTA_ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "/zookeeper_limits";
const STATS: &str = "/zookeeper_stats";

/// A parsed limits or stats node; -1 means not set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatsTrack {
    /// Nodes.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
    /// What else is said, hard limits among it.
    others: BTreeMap<Box<str>, i64>,
}

impl StatsTrack {
    /// Nothing is used.
    pub fn zero() -> StatsTrack {
        StatsTrack { count: 0, bytes: 0, others: BTreeMap::new() }
    }

    /// Reads `count=N,bytes=M` with optional hard limits; what cannot be read is not set.
    pub fn parse(text: &[u8]) -> StatsTrack {
        let mut track = StatsTrack { count: -1, bytes: -1, others: BTreeMap::new() };
        for pair in String::from_utf8_lossy(text).split([',', ';']) {
            let mut sides = pair.split('=');
            let (Some(key), Some(value)) = (sides.next(), sides.next()) else { continue };
            let value = if value.is_empty() { Some(-1) } else { value.parse().ok() };
            let Some(value) = value else { continue };
            match key {
                "count" => track.count = value,
                "bytes" => track.bytes = value,
                _ => {
                    track.others.insert(key.into(), value);
                }
            }
        }
        track
    }

    /// Nodes at most.
    pub fn count_hard(&self) -> i64 {
        self.others.get("countHardLimit").copied().unwrap_or(-1)
    }

    /// Bytes of data at most.
    pub fn bytes_hard(&self) -> i64 {
        self.others.get("byteHardLimit").copied().unwrap_or(-1)
    }

    /// The text Apache writes; the lone '=' before what else is said is its own, for the sake of old parsers.
    pub fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if !self.others.is_empty() {
            text.push('=');
        }
        for (key, value) in &self.others {
            text.push_str(&format!(";{key}={value}"));
        }
        text
    }
}

/// What a node below /zookeeper/quota is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaNode<'a> {
    /// Its creation limits this path.
    Limits(&'a str),
    /// It holds the usage of this path.
    Stats(&'a str),
}

/// Recognises limits and stats nodes by their path.
pub fn quota_node(path: &str) -> Option<QuotaNode<'_>> {
    let below = path.strip_prefix(QUOTA_ROOT)?;
    if let Some(limited) = below.strip_suffix(LIMITS) {
        return (!limited.is_empty()).then_some(QuotaNode::Limits(limited));
    }
    let limited = below.strip_suffix(STATS)?;
    (!limited.is_empty()).then_some(QuotaNode::Stats(limited))
}

/// Where the limits of a path stand.
pub fn limits_path(limited: &str) -> String {
    format!("{QUOTA_ROOT}{limited}{LIMITS}")
}

/// Where the usage of a path stands.
pub fn stats_path(limited: &str) -> String {
    format!("{QUOTA_ROOT}{limited}{STATS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_round_trips_with_its_odd_separator() {
        let text = "count=5,bytes=100=;byteHardLimit=200;countHardLimit=7";
        let track = StatsTrack::parse(text.as_bytes());
        assert_eq!((track.count, track.bytes, track.count_hard(), track.bytes_hard()), (5, 100, 7, 200));
        assert_eq!(track.text(), text);
        let odd = StatsTrack::parse(b"zzz=4;aaa=-9,,bytes==1,count=3,count=+7;byteHardLimit=-1,x");
        assert_eq!(odd.text(), "count=7,bytes=-1=;aaa=-9;byteHardLimit=-1;zzz=4");
        assert_eq!(StatsTrack::parse(b"nonsense").text(), "count=-1,bytes=-1");
    }

    #[test]
    fn quota_nodes_are_recognised_by_path() {
        assert_eq!(quota_node("/zookeeper/quota/a/b/zookeeper_limits"), Some(QuotaNode::Limits("/a/b")));
        assert_eq!(quota_node("/zookeeper/quota/a/zookeeper_stats"), Some(QuotaNode::Stats("/a")));
        assert_eq!(quota_node("/zookeeper/quota/a"), None);
        assert_eq!(quota_node("/zookeeper/quota/zookeeper_limits"), None);
    }
}
