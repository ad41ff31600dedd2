//! Who belongs to an ensemble and what of it is a quorum: majority, groups with weights, the oracle of two servers
//! (`QuorumMaj`, `QuorumHierarchical`, `QuorumOracleMaj`), and two configurations at once while one replaces the other.
//! The text of a configuration is that of `/zookeeper/config`, of notifications and of NEWLEADER.
//!
//! Invariant: any two quorums of one verifier share a server; the oracle alone is outside of that, its promise is its own.
//!
//! Deliberately absent: reading the oracle's file and resolving names (the driver), who may change a configuration.

use crate::ids::ServerId;
use crate::limits::{CONFIG_BYTES_MAX, SERVERS_MAX};
use crate::wire::properties::{self, Entry};
use crate::wire::servers::ServerLine;
use std::fmt;
use std::sync::Arc;

/// One configuration of an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumVerifier {
    /// The zxid that brought it; 0 before any. Of two configurations the one with the higher version holds.
    version: i64,
    /// Ascending by number, each once; at least one votes.
    members: Vec<ServerLine>,
    /// None: each vote counts the same.
    hierarchy: Option<Hierarchy>,
}

/// `group.N` and `weight.N`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Hierarchy {
    /// Ascending by server, each once: its group. Every voter is there.
    groups: Vec<(ServerId, i64)>,
    /// Ascending by server, each once; every server of a group is there.
    weights: Vec<(ServerId, u32)>,
}

/// Where a text is no configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, {key}: expected {expected}")]
pub struct BadConfig {
    /// Counted from 1; 0: something that is missing as a whole.
    pub line: usize,
    /// As it stands there.
    pub key: String,
    /// What belongs there.
    pub expected: String,
}

impl QuorumVerifier {
    /// Reads a configuration. Refuses what ZooKeeper refuses, and numbers that name a server twice.
    pub fn parse(text: &str) -> Result<QuorumVerifier, BadConfig> {
        let entries = properties::parse_text(text).map_err(|bad| BadConfig {
            line: bad.line,
            key: bad.found,
            expected: "four hexadecimal digits behind \\u".into(),
        })?;
        let mut verifier = QuorumVerifier { version: 0, members: Vec::new(), hierarchy: None };
        let mut hierarchy = Hierarchy { groups: Vec::new(), weights: Vec::new() };
        // Of a key that is there twice the last one counts, as in Java.
        let is_last = |(at, entry): &(usize, &Entry)| entries[at + 1..].iter().all(|e| e.key != entry.key);
        for (_, entry) in entries.iter().enumerate().filter(is_last) {
            verifier.read(entry, &mut hierarchy).map_err(|expected| BadConfig {
                line: entry.line,
                key: entry.key.clone(),
                expected,
            })?;
        }
        if entries.iter().any(|entry| entry.key.starts_with("group") || entry.key.starts_with("weight")) {
            verifier.hierarchy = Some(hierarchy);
        }
        verifier.complete().map_err(|(key, expected)| BadConfig { line: 0, key, expected })
    }

    /// The configuration of these members, each vote of the same weight.
    pub fn of_majority(members: Vec<ServerLine>, version: i64) -> Result<QuorumVerifier, BadConfig> {
        let verifier = QuorumVerifier { version, members, hierarchy: None };
        verifier.complete().map_err(|(key, expected)| BadConfig { line: 0, key, expected })
    }

    fn read(&mut self, entry: &Entry, hierarchy: &mut Hierarchy) -> Result<(), String> {
        let number = entry.key.split_once('.').map_or(&*entry.key, |(_, number)| number);
        let id = || number.parse().map_err(|_| "a whole number behind the dot".to_string());
        if entry.key.starts_with("server.") {
            self.members.push(ServerLine::parse(number, &entry.value)?);
        } else if entry.key.starts_with("group") {
            let group = id()?;
            // Java's split drops what is empty at the end.
            for server in entry.value.trim_end_matches(':').split(':') {
                let server = server.parse().map_err(|_| "numbers of servers separated by :".to_string())?;
                hierarchy.groups.push((ServerId(server), group));
            }
        } else if entry.key.starts_with("weight") {
            let weight = entry.value.parse().map_err(|_| format!("a weight from 0 to {}", u32::MAX))?;
            hierarchy.weights.push((ServerId(id()?), weight));
        } else if entry.key == "version" {
            self.version =
                i64::from_str_radix(&entry.value, 16).map_err(|_| "a hexadecimal number".to_string())?;
        } else {
            return Err("server.N, group.N, weight.N or version as the key".into());
        }
        Ok(())
    }

    /// Sorts, fills in weights and refuses what does not fit together; an `Err` names the key and what was expected.
    fn complete(mut self) -> Result<QuorumVerifier, (String, String)> {
        self.members.sort_by_key(|member| member.id);
        if let Some(twice) = self.members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err((format!("server.{}", twice[0].id.0), "one line for each server".into()));
        }
        if self.members.len() > SERVERS_MAX {
            return Err(("server".into(), format!("at most {SERVERS_MAX} servers")));
        }
        if self.voters().next().is_none() {
            return Err(("server".into(), "at least one participant".into()));
        }
        if let Some(hierarchy) = self.hierarchy.take() {
            let voters: Vec<ServerId> = self.voters().collect();
            self.hierarchy = Some(hierarchy.complete(&voters)?);
        }
        if self.to_string().len() > CONFIG_BYTES_MAX {
            return Err(("server".into(), format!("a text of at most {CONFIG_BYTES_MAX} bytes")));
        }
        self.check();
        Ok(self)
    }

    /// See the field.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The same members under another version.
    pub fn with_version(&self, version: i64) -> QuorumVerifier {
        QuorumVerifier { version, ..self.clone() }
    }

    /// All of them, ascending by number.
    pub fn members(&self) -> &[ServerLine] {
        &self.members
    }

    /// The line of a server.
    pub fn member(&self, id: ServerId) -> Option<&ServerLine> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().map(|at| &self.members[at])
    }

    /// Participants, ascending by number.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.members.iter().filter(|member| member.votes).map(|member| member.id)
    }

    /// Whether its vote counts.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.member(id).is_some_and(|member| member.votes)
    }

    /// A server without weight is never elected.
    pub fn weight(&self, id: ServerId) -> u32 {
        self.hierarchy.as_ref().map_or(1, |hierarchy| hierarchy.weight(id))
    }

    /// Whether those that `has` names are a quorum; others than voters never count.
    pub fn is_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        let acks = self.voters().filter(|id| has(*id));
        match &self.hierarchy {
            None => acks.count() > self.voters().count() / 2,
            Some(hierarchy) => hierarchy.is_quorum(acks),
        }
    }

    /// Whether nobody needs to be told of the one who has the other: the same version, or the same in all but that.
    pub fn is_same_as(&self, other: &QuorumVerifier) -> bool {
        let same_members = || {
            self.members.len() == other.members.len()
                && self.members.iter().zip(&other.members).all(|(a, b)| a.is_same_as(b))
        };
        self.hierarchy.is_some() == other.hierarchy.is_some()
            && (self.version == other.version || (same_members() && self.hierarchy == other.hierarchy))
    }

    fn check(&self) {
        assert!(self.members.is_sorted_by(|a, b| a.id < b.id) && self.members.len() <= SERVERS_MAX);
        assert!(self.voters().next().is_some(), "somebody votes");
        if let Some(hierarchy) = &self.hierarchy {
            assert!(self.voters().all(|id| hierarchy.group(id).is_some()), "every voter is in a group");
        }
    }
}

impl Hierarchy {
    fn complete(mut self, voters: &[ServerId]) -> Result<Hierarchy, (String, String)> {
        self.groups.sort_unstable();
        self.weights.sort_unstable();
        if let Some(twice) = self.groups.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err((format!("group.{}", twice[1].1), format!("server {} in one group", twice[0].0.0)));
        }
        if let Some(twice) = self.weights.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err((format!("weight.{}", twice[0].0.0), "one weight for each server".into()));
        }
        for id in voters {
            if self.group(*id).is_none() {
                return Err((format!("server.{}", id.0), "a group.N that has this participant".into()));
            }
            if let Err(at) = self.weights.binary_search_by_key(id, |(server, _)| *server) {
                self.weights.insert(at, (*id, 1));
            }
        }
        let is_weighed = |id| self.weights.binary_search_by_key(&id, |(server, _)| *server).is_ok();
        if let Some((id, group)) = self.groups.iter().find(|(id, _)| !is_weighed(*id)) {
            let expected = format!("participants, or servers with a weight.N, instead of {}", id.0);
            return Err((format!("group.{group}"), expected));
        }
        Ok(self)
    }

    fn group(&self, id: ServerId) -> Option<i64> {
        let at = self.groups.binary_search_by_key(&id, |(server, _)| *server).ok()?;
        Some(self.groups[at].1)
    }

    fn weight(&self, id: ServerId) -> u32 {
        let at = self.weights.binary_search_by_key(&id, |(server, _)| *server);
        at.map_or(0, |at| self.weights[at].1)
    }

    /// More than half of the groups that weigh anything, each by more than half of its weight.
    fn is_quorum(&self, acks: impl Iterator<Item = ServerId>) -> bool {
        // Number, weight, weight of those that acknowledged.
        let mut groups: Vec<(i64, u64, u64)> = Vec::new();
        for (id, group) in &self.groups {
            let weight = u64::from(self.weight(*id));
            match groups.iter_mut().find(|known| known.0 == *group) {
                Some(known) => known.1 += weight,
                None => groups.push((*group, weight, 0)),
            }
        }
        for id in acks {
            let group = self.group(id).expect("every voter is in a group");
            let known = groups.iter_mut().find(|known| known.0 == group).expect("counted above");
            known.2 += u64::from(self.weight(id));
        }
        groups.retain(|(_, weight, _)| *weight > 0);
        let won = groups.iter().filter(|(_, weight, acked)| *acked > weight / 2).count();
        won > groups.len() / 2
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut servers = self.groups.clone();
        in_java_order(&mut servers, |(id, _)| id.0);
        let mut groups: Vec<(i64, String)> = Vec::new();
        for (id, group) in servers {
            match groups.iter_mut().find(|(number, _)| *number == group) {
                Some((_, text)) => *text += &format!(":{}", id.0),
                None => groups.push((group, id.0.to_string())),
            }
        }
        groups.sort_unstable();
        in_java_order(&mut groups, |(number, _)| *number);
        for (number, text) in groups {
            writeln!(f, "group.{number}={text}")?;
        }
        let mut weights = self.weights.clone();
        in_java_order(&mut weights, |(id, _)| id.0);
        weights.into_iter().try_for_each(|(id, weight)| writeln!(f, "weight.{}={weight}", id.0))
    }
}

/// The text, as ZooKeeper writes it: a line for each server, in the order of Java's HashMap; no line end behind the
/// version.
impl fmt::Display for QuorumVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut members: Vec<&ServerLine> = self.members.iter().collect();
        in_java_order(&mut members, |member| member.id.0);
        for member in members {
            writeln!(f, "server.{}={member}", member.id.0)?;
        }
        if let Some(hierarchy) = &self.hierarchy {
            hierarchy.write(f)?;
        }
        write!(f, "version={:x}", self.version)
    }
}

/// Orders what is sorted by number as a `HashMap<Long, _>` that it was put into would. What shares a bucket stays
/// sorted; there it depends on Java's past.
fn in_java_order<T>(sorted: &mut [T], number: impl Fn(&T) -> i64) {
    let mut buckets = 16;
    while sorted.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    sorted.sort_by_key(|item| {
        let number = number(item) as u64;
        let hash = (number ^ (number >> 32)) as u32;
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
}

/// What has to agree now: the committed configuration, and the last one seen as long as that is newer.
#[derive(Clone, Debug)]
pub struct Quorums {
    committed: Arc<QuorumVerifier>,
    /// Invariant: its version is not below that of `committed`.
    last_seen: Arc<QuorumVerifier>,
    /// None without `oraclePath`.
    oracle: Option<Oracle>,
}

/// What the oracle of an ensemble of two says, which decides when only one of them is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oracle {
    /// It is asked: this server has no follower, or does not know yet.
    pub is_needed: bool,
    /// Its file begins with `1`.
    pub grants: bool,
}

impl Quorums {
    /// Of a configuration that nothing replaces.
    pub fn new(committed: QuorumVerifier) -> Quorums {
        let committed = Arc::new(committed);
        Quorums { last_seen: committed.clone(), committed, oracle: None }
    }

    /// With what the oracle says now; None: there is none.
    pub fn set_oracle(&mut self, oracle: Option<Oracle>) {
        self.oracle = oracle;
    }

    /// What the oracle said last.
    pub fn oracle(&self) -> Option<Oracle> {
        self.oracle
    }

    /// The configuration that holds.
    pub fn committed(&self) -> &Arc<QuorumVerifier> {
        &self.committed
    }

    /// The newest that was proposed.
    pub fn last_seen(&self) -> &Arc<QuorumVerifier> {
        &self.last_seen
    }

    /// A configuration was proposed; an older one than the last is ignored.
    pub fn on_proposed(&mut self, proposed: Arc<QuorumVerifier>) {
        if proposed.version >= self.last_seen.version {
            self.last_seen = proposed;
        }
        self.check();
    }

    /// A configuration was committed; one that is not newer is ignored.
    pub fn on_committed(&mut self, committed: Arc<QuorumVerifier>) {
        if committed.version > self.committed.version {
            if committed.version >= self.last_seen.version {
                self.last_seen = committed.clone();
            }
            self.committed = committed;
        }
        self.check();
    }

    /// Whether two configurations have to agree.
    pub fn is_joint(&self) -> bool {
        self.last_seen.version > self.committed.version
    }

    /// Whether those that `has` names are a quorum of each configuration that has to agree.
    pub fn is_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        let in_one = |verifier: &QuorumVerifier| verifier.is_quorum(&has) || self.has_oracle(verifier);
        in_one(&self.committed) && (!self.is_joint() || in_one(&self.last_seen))
    }

    /// The same of the committed configuration alone: it decides who may begin an epoch.
    pub fn is_committed_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        self.committed.is_quorum(has) || self.has_oracle(&self.committed)
    }

    fn has_oracle(&self, verifier: &QuorumVerifier) -> bool {
        let grants = self.oracle.is_some_and(|oracle| oracle.is_needed && oracle.grants);
        grants && verifier.voters().count() <= 2
    }

    /// Whether the vote of this server counts in one of them.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.committed.is_voter(id) || self.last_seen.is_voter(id)
    }

    /// The voters of both, ascending by number.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        let mut voters: Vec<ServerId> = self.committed.voters().chain(self.last_seen.voters()).collect();
        voters.sort_unstable();
        voters.dedup();
        voters.into_iter()
    }

    /// The lines of a server: that of the committed configuration, and that of the last seen where it differs.
    pub fn lines(&self, id: ServerId) -> impl Iterator<Item = &ServerLine> {
        let committed = self.committed.member(id);
        let proposed = self.last_seen.member(id);
        committed.into_iter().chain(proposed.filter(|line| committed.is_none_or(|old| !old.is_same_as(line))))
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        assert!(self.last_seen.version >= self.committed.version);
        self.committed.check();
        self.last_seen.check();
    }
}

#[cfg(test)]
mod tests;
