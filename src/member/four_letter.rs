//! The texts of the four-letter words that concern the whole process. Keys, order and spacing are those that tools
//! parse from ZooKeeper.

use super::io::Usage;
use super::sessions::Sessions;
use crate::ids::{Now, SessionId, Zxid};
use crate::mesh::{Question, ShardPart};
use crate::metrics::{ServerStats, average};
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// What only the member knows.
pub(super) struct Facts<'a> {
    pub now: Now,
    pub version: &'a str,
    pub sessions: &'a Sessions,
    pub digests: &'a VecDeque<(Zxid, u64)>,
    pub uptime_ms: u64,
    pub outstanding: u64,
    pub connections_refused: u64,
    pub snapshots: u64,
    pub usage: Usage,
    pub log_write_times: Summary,
    pub slow_log_writes: u64,
    pub stalls: u64,
    pub stall_ms: u64,
    pub log_dir_bytes: u64,
    /// The lines of `conf`, with `{data}` and `{log}` where the sizes go.
    pub configuration: &'a str,
}

/// Count, sum and extremes of a measured time (`AvgMinMaxCounter`).
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Summary {
    pub count: u64,
    pub sum: u64,
    pub min: u64,
    pub max: u64,
}

impl Summary {
    /// One more.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum += value;
        self.count += 1;
    }

    fn write(&self, key: &str, text: &mut String) -> std::fmt::Result {
        writeln!(text, "zk_avg_{key}\t{}", average(self.sum, self.count))?;
        for (prefix, value) in [("min", self.min), ("max", self.max), ("cnt", self.count), ("sum", self.sum)]
        {
            writeln!(text, "zk_{prefix}_{key}\t{value}")?;
        }
        Ok(())
    }
}

/// The lines of a text, made as they are needed.
pub(super) type Lines = Box<dyn Iterator<Item = String> + Send>;

/// What the shards have said so far.
#[derive(Default)]
pub(super) struct Gathered {
    /// The first slice of each shard, without what it lists.
    parts: Vec<ShardPart>,
    path_hashes: HashSet<u64, FixedState>,
    watched: BTreeMap<Box<str>, Vec<SessionId>>,
    expiry: BTreeMap<u64, Vec<String>>,
}

impl Gathered {
    /// One more slice.
    pub fn add(&mut self, mut part: ShardPart) {
        self.path_hashes.extend(part.path_hashes.drain(..));
        for (path, mut sessions) in part.watched.drain(..) {
            self.watched.entry(path).or_default().append(&mut sessions);
        }
        for (expiry_ms, line) in part.expiry.drain(..) {
            self.expiry.entry(expiry_ms).or_default().push(line);
        }
        if self.parts.iter().all(|known| known.shard != part.shard) {
            self.parts.push(part);
        }
    }
}

/// What the text begins with, before any shard is asked.
pub(super) fn front(question: Question, facts: &Facts<'_>) -> Option<Lines> {
    match question {
        Question::Stat => Some(one(format!("Zookeeper version: {}\nClients:\n", facts.version))),
        Question::Dump => Some(dump_sessions(facts)),
        _ => None,
    }
}

/// What the text ends with, when every shard has said everything.
pub(super) fn end(question: Question, facts: &Facts<'_>, gathered: &mut Gathered) -> Lines {
    let parts = &gathered.parts[..];
    let mut text = String::new();
    let written = match question {
        Question::Srvr => srvr(facts, parts, &mut text),
        Question::Stat => {
            text.push('\n');
            numbers(parts, &mut text)
        }
        Question::Mntr => mntr(facts, parts, &mut text),
        Question::Wchs => wchs(gathered, &mut text),
        Question::Cons | Question::Wchc => writeln!(text),
        Question::Dirs => dirs(facts, &mut text),
        Question::Hash => hash(facts, &mut text),
        Question::Conf => conf(facts, &mut text),
        Question::Wchp => return wchp(std::mem::take(&mut gathered.watched)),
        Question::Dump => return dump_connections(facts.now, std::mem::take(&mut gathered.expiry)),
        Question::Crst | Question::Srst => Ok(()),
    };
    written.expect("a String takes everything");
    one(text)
}

fn one(text: String) -> Lines {
    Box::new(std::iter::once(text))
}

fn conf(facts: &Facts<'_>, text: &mut String) -> std::fmt::Result {
    let sized = facts.configuration.replace("{data}", &facts.usage.snapshot_bytes.to_string());
    text.write_str(&sized.replace("{log}", &facts.log_dir_bytes.to_string()))
}

fn total(parts: &[ShardPart]) -> ServerStats {
    let mut total = ServerStats::default();
    parts.iter().for_each(|part| total.merge(&part.stats));
    total
}

/// The tree's numbers; all trees agree, the one furthest ahead speaks.
fn newest(parts: &[ShardPart]) -> Option<&ShardPart> {
    parts.iter().max_by_key(|part| part.applied)
}

fn node_count(parts: &[ShardPart]) -> u64 {
    newest(parts).map_or(0, |part| part.node_count)
}

fn srvr(facts: &Facts<'_>, parts: &[ShardPart], text: &mut String) -> std::fmt::Result {
    writeln!(text, "Zookeeper version: {}", facts.version)?;
    numbers(parts, text)
}

/// The lines that `srvr` and `stat` have in common.
fn numbers(parts: &[ShardPart], text: &mut String) -> std::fmt::Result {
    let stats = total(parts);
    let (min, max) = (stats.latency_min_ms(), stats.latency_max_ms());
    writeln!(text, "Latency min/avg/max: {min}/{}/{max}", stats.latency_average())?;
    writeln!(text, "Received: {}", stats.packets_received)?;
    writeln!(text, "Sent: {}", stats.packets_sent)?;
    writeln!(text, "Connections: {}", stats.connections)?;
    writeln!(text, "Outstanding: {}", stats.outstanding)?;
    writeln!(text, "Zxid: 0x{:x}", newest(parts).map_or(Zxid::ZERO, |part| part.applied))?;
    writeln!(text, "Mode: standalone")?;
    writeln!(text, "Node count: {}", node_count(parts))
}

fn mntr(facts: &Facts<'_>, parts: &[ShardPart], text: &mut String) -> std::fmt::Result {
    let stats = total(parts);
    let newest = newest(parts);
    let watches: u64 = parts.iter().map(|part| part.watch_count).sum();
    writeln!(text, "zk_version\t{}", facts.version)?;
    writeln!(text, "zk_server_state\tstandalone")?;
    writeln!(text, "zk_avg_latency\t{}", stats.latency_average())?;
    writeln!(text, "zk_connection_drop_probability\t0.0")?;
    let numbers = [
        ("ephemerals_count", newest.map_or(0, |part| part.ephemeral_count)),
        ("num_alive_connections", stats.connections),
        ("outstanding_requests", stats.outstanding),
        ("znode_count", node_count(parts)),
        ("global_sessions", facts.sessions.len() as u64),
        ("local_sessions", 0),
        ("non_mtls_remote_conn_count", 0),
        ("non_mtls_local_conn_count", 0),
        ("packets_sent", stats.packets_sent),
        ("packets_received", stats.packets_received),
        ("watch_count", watches),
        ("auth_failed_count", stats.auth_failed),
        ("min_latency", stats.latency_min_ms()),
        ("max_latency", stats.latency_max_ms()),
        ("approximate_data_size", newest.map_or(0, |part| part.data_bytes)),
        ("uptime", facts.uptime_ms),
        ("outstanding_tls_handshake", 0),
        ("watch_bytes", stats.watch_bytes),
        ("bytes_received_count", stats.bytes_received),
        ("connection_request_count", stats.connection_requests),
        ("connection_rejected", facts.connections_refused),
        ("sessionless_connections_expired", stats.sessionless_connections_expired),
        ("open_file_descriptor_count", facts.usage.open_files),
        ("max_file_descriptor_count", facts.usage.open_files_max),
        ("outstanding_changes_queued", facts.outstanding),
        ("snap_count", facts.snapshots),
        ("fsync_threshold_exceed_count", facts.slow_log_writes),
        ("stall_count", facts.stalls),
        ("stall_ms", facts.stall_ms),
    ];
    for (key, value) in numbers {
        writeln!(text, "zk_{key}\t{value}")?;
    }
    // What does not exist here does not happen: there are no queues between threads that could drop or throttle.
    for key in NEVER {
        writeln!(text, "zk_{key}\t0")?;
    }
    for (key, value) in
        stats.reads.lines("readlatency").into_iter().chain(stats.updates.lines("updatelatency"))
    {
        writeln!(text, "zk_{key}\t{value}")?;
    }
    facts.log_write_times.write("fsynctime", text)
}

/// Counters of ZooKeeper whose cause this server does not have; dashboards ask for them.
const NEVER: [&str; 15] = [
    "connection_drop_count",
    "throttled_ops",
    "request_throttle_wait_count",
    "stale_requests",
    "stale_requests_dropped",
    "stale_replies",
    "stale_sessions_expired",
    "large_requests_rejected",
    "digest_mismatches_count",
    "dead_watchers_queued",
    "dead_watchers_cleared",
    "unrecoverable_error_count",
    "insecure_admin_count",
    "tls_handshake_exceeded",
    "unsuccessful_handshake",
];

fn wchs(gathered: &Gathered, text: &mut String) -> std::fmt::Result {
    let sum = |number: fn(&ShardPart) -> u64| gathered.parts.iter().map(number).sum::<u64>();
    // A path watched on two shards is one path.
    let paths = match &gathered.parts[..] {
        [only] => only.watched_paths,
        _ => gathered.path_hashes.len() as u64,
    };
    writeln!(text, "{} connections watching {paths} paths", sum(|part| part.watching_connections))?;
    writeln!(text, "Total watches:{}", sum(|part| part.data_watches))
}

fn wchp(watched: BTreeMap<Box<str>, Vec<SessionId>>) -> Lines {
    let lines = watched.into_iter().flat_map(|(path, sessions)| {
        let sessions = sessions.into_iter().map(|session| format!("\t{session}\n"));
        std::iter::once(format!("{path}\n")).chain(sessions)
    });
    Box::new(lines.chain(std::iter::once("\n".to_owned())))
}

fn dump_sessions(facts: &Facts<'_>) -> Lines {
    let (now, buckets) = (facts.now, facts.sessions.by_deadline());
    let front =
        format!("SessionTracker dump:\nSession Sets ({})/({}):\n", buckets.len(), facts.sessions.len());
    let lines = buckets.into_iter().flat_map(move |(deadline_ms, sessions)| {
        let front = format!("{} expire at {}:\n", sessions.len(), date(wall_ms(now, deadline_ms)));
        std::iter::once(front).chain(sessions.into_iter().map(|session| format!("\t{session}\n")))
    });
    // A shard goes on with them.
    let end = "ephemeral nodes dump:\n".to_owned();
    Box::new(std::iter::once(front).chain(lines).chain(std::iter::once(end)))
}

fn dump_connections(now: Now, expiry: BTreeMap<u64, Vec<String>>) -> Lines {
    let count: usize = expiry.values().map(Vec::len).sum();
    let front = format!("Connections dump:\nConnections Sets ({})/({count}):\n", expiry.len());
    let lines = expiry.into_iter().flat_map(move |(expiry_ms, lines)| {
        let front = format!("{} expire at {}:\n", lines.len(), date(wall_ms(now, expiry_ms)));
        std::iter::once(front).chain(lines)
    });
    Box::new(std::iter::once(front).chain(lines))
}

fn dirs(facts: &Facts<'_>, text: &mut String) -> std::fmt::Result {
    writeln!(text, "datadir_size: {}", facts.usage.snapshot_bytes)?;
    writeln!(text, "logdir_size: {}", facts.log_dir_bytes)
}

fn hash(facts: &Facts<'_>, text: &mut String) -> std::fmt::Result {
    for (zxid, digest) in facts.digests {
        writeln!(text, "{zxid:x}: {}", *digest as i64)?;
    }
    Ok(())
}

fn wall_ms(now: Now, mono_ms: u64) -> i64 {
    now.wall_ms + (mono_ms as i64 - now.mono_ms as i64)
}

/// `java.util.Date.toString` in UTC: "Fri Nov 20 11:19:14 UTC 2026".
fn date(wall_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = wall_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Counted from 1 March of year 0, a year's leap day is its last day.
    let since_march = days + 719_468;
    let (era, of_era) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerId;

    #[test]
    fn dates_look_like_javas() {
        assert_eq!(date(1_795_173_554_000), "Fri Nov 20 11:19:14 UTC 2026");
        assert_eq!(date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
    }

    #[test]
    fn texts_have_zookeepers_lines() {
        let mut sessions = Sessions::new(ServerId(1), 2000, 0);
        sessions.track(SessionId(0x100_0011_0f78_0000), 4000, None, 0);
        let digests = VecDeque::from([(Zxid(0x80), 196_858_303_492)]);
        let facts = Facts {
            now: Now { mono_ms: 0, wall_ms: 1_795_173_554_000 },
            version: "3.9.4-x, built on then",
            sessions: &sessions,
            digests: &digests,
            uptime_ms: 4012,
            outstanding: 0,
            connections_refused: 0,
            snapshots: 0,
            usage: Usage { snapshot_bytes: 1, open_files: 69, open_files_max: 20_000 },
            log_write_times: Summary { count: 4, sum: 11, min: 1, max: 7 },
            slow_log_writes: 3,
            stalls: 0,
            stall_ms: 0,
            log_dir_bytes: 2,
            configuration: "dataDirSize={data}\ndataLogSize={log}\n",
        };
        let mut first = Gathered::default();
        first.add(ShardPart {
            stats: ServerStats {
                packets_received: 485,
                packets_sent: 484,
                connections: 1,
                ..Default::default()
            },
            data_watches: 2,
            watched_paths: 1,
            watching_connections: 2,
            expiry: vec![(2000, "\tip: /127.0.0.1:34186 sessionId: 0x0\n".into())],
            watched: vec![("/b".into(), vec![SessionId(3)])],
            node_count: 90,
            applied: Zxid(0xd5),
            ..ShardPart::default()
        });
        first.add(ShardPart {
            is_last: true,
            watched: vec![("/a".into(), vec![SessionId(1), SessionId(2)])],
            ..ShardPart::default()
        });
        let mut answer = |question| -> String {
            let front = front(question, &facts).into_iter().flatten();
            front.chain(end(question, &facts, &mut first)).collect()
        };
        let numbers = "Latency min/avg/max: 0/0.0/0\nReceived: 485\nSent: 484\nConnections: 1\nOutstanding: \
                       0\nZxid: 0xd5\nMode: standalone\nNode count: 90\n";
        let version = "Zookeeper version: 3.9.4-x, built on then\n";
        assert_eq!(answer(Question::Stat), format!("{version}Clients:\n\n{numbers}"));
        assert_eq!(answer(Question::Srvr), format!("{version}{numbers}"));
        assert_eq!(answer(Question::Hash), "80: 196858303492\n");
        assert_eq!(answer(Question::Conf), "dataDirSize=1\ndataLogSize=2\n");
        assert_eq!(answer(Question::Dirs), "datadir_size: 1\nlogdir_size: 2\n");
        assert_eq!(answer(Question::Wchs), "2 connections watching 1 paths\nTotal watches:2\n");
        assert_eq!((answer(Question::Wchc), answer(Question::Cons)), ("\n".into(), "\n".into()));
        assert_eq!(answer(Question::Wchp), "/a\n\t0x1\n\t0x2\n/b\n\t0x3\n\n");
        assert_eq!(
            answer(Question::Dump),
            "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Fri Nov 20 11:19:20 UTC \
             2026:\n\t0x10000110f780000\nephemeral nodes dump:\nConnections dump:\nConnections Sets (1)/(1):\n1 \
             expire at Fri Nov 20 11:19:16 UTC 2026:\n\tip: /127.0.0.1:34186 sessionId: 0x0\n"
        );
        let mntr = answer(Question::Mntr);
        assert!(mntr.starts_with("zk_version\t3.9.4-x, built on then\nzk_server_state\tstandalone\n"));
        assert!(mntr.contains("zk_znode_count\t90\n") && mntr.contains("zk_uptime\t4012\n"));
        assert!(mntr.contains("zk_avg_fsynctime\t2.75\nzk_min_fsynctime\t1\n"));
        assert!(mntr.contains("zk_fsync_threshold_exceed_count\t3\n"));
        assert!(mntr.contains("zk_max_file_descriptor_count\t20000\n"));
    }
}
