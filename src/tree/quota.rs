//! Quotas (`Quotas`, `StatsTrack`): limits and usage live as text in nodes below /zookeeper/quota. The deepest limited
//! ancestor (or the node itself) counts; "/" cannot be limited.

/// Below it stand the quotas.
pub const QUOTA_ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "/zookeeper_limits";
const STATS: &str = "/zookeeper_stats";

/// A parsed limits or stats node; -1 means not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatsTrack {
    /// Nodes.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
    /// Nodes at most.
    pub count_hard: i64,
    /// Bytes of data at most.
    pub bytes_hard: i64,
}

impl StatsTrack {
    /// Reads `count=N,bytes=M` with optional hard limits; what cannot be read is not set.
    pub fn parse(text: &[u8]) -> StatsTrack {
        let mut track = StatsTrack { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };
        for pair in String::from_utf8_lossy(text).split([',', ';']) {
            let mut sides = pair.split('=');
            let (Some(key), Some(value)) = (sides.next(), sides.next()) else { continue };
            let Ok(value) = value.parse() else { continue };
            match key {
                "count" => track.count = value,
                "bytes" => track.bytes = value,
                "countHardLimit" => track.count_hard = value,
                "byteHardLimit" => track.bytes_hard = value,
                _ => {}
            }
        }
        track
    }

    /// The text Apache writes; the lone '=' before hard limits is its own, for the sake of old parsers.
    pub fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        let hard: Vec<String> = [("byteHardLimit", self.bytes_hard), ("countHardLimit", self.count_hard)]
            .into_iter()
            .filter(|(_, value)| *value > -1)
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !hard.is_empty() {
            text.push_str("=;");
            text.push_str(&hard.join(";"));
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
        assert_eq!(track, StatsTrack { count: 5, bytes: 100, count_hard: 7, bytes_hard: 200 });
        assert_eq!(track.text(), text);
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
