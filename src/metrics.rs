//! Counters of one core, plain numbers that are added up when somebody asks.

/// What one shard counts (`ServerStats` and the metrics that concern connections).
#[derive(Clone, Debug, Default)]
pub struct ServerStats {
    /// Frames received.
    pub packets_received: u64,
    /// Frames sent.
    pub packets_sent: u64,
    /// Bytes received, lengths included.
    pub bytes_received: u64,
    /// Bytes of watch events.
    pub watch_bytes: u64,
    /// Open connections.
    pub connections: u64,
    /// Requests not yet answered.
    pub outstanding: u64,
    /// Connect requests.
    pub connection_requests: u64,
    /// Connections closed because they never got a session.
    pub sessionless_connections_expired: u64,
    /// Failed auth packets.
    pub auth_failed: u64,
    /// Latencies of reads.
    pub reads: Latencies,
    /// Latencies of writes and syncs.
    pub updates: Latencies,
    /// What `stmk` set; None: the default.
    pub trace_mask: Option<i64>,
}

/// Latencies in ms, told apart exactly below 32 and within an eighth above.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: [u32; BUCKETS],
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

const EXACT: u64 = 32;
const BUCKETS: usize = EXACT as usize + 8 * 27;

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { counts: [0; BUCKETS], count: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Latencies {
    /// One more.
    #[inline]
    pub fn add(&mut self, ms: u64) {
        let ms = ms.min(u64::from(u32::MAX));
        self.counts[bucket(ms)] = self.counts[bucket(ms)].saturating_add(1);
        self.count += 1;
        self.sum += ms;
        self.min = self.min.min(ms);
        self.max = self.max.max(ms);
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// At most this for so many of 1,000 (the largest of its bucket); 0 without any.
    pub fn permille(&self, permille: u64) -> u64 {
        let rank = (self.count * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return largest(index).min(self.max);
            }
        }
        0
    }

    /// Name and value of each line `mntr` has for them, without `zk_`.
    pub fn lines(&self, key: &str) -> Vec<(String, String)> {
        let average = if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 };
        let min = if self.count == 0 { 0 } else { self.min };
        let mut lines = vec![(format!("avg_{key}"), java_double((average * 10_000.0).round() / 10_000.0))];
        let numbers = [("min", min), ("max", self.max), ("cnt", self.count), ("sum", self.sum)];
        let shares = [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)];
        let shares = shares.map(|(name, permille)| (name, self.permille(permille)));
        lines.extend(
            numbers
                .into_iter()
                .chain(shares)
                .map(|(name, value)| (format!("{name}_{key}"), value.to_string())),
        );
        lines
    }
}

fn bucket(ms: u64) -> usize {
    if ms < EXACT {
        return ms as usize;
    }
    let exponent = ms.ilog2();
    (EXACT + u64::from(exponent - 5) * 8 + ((ms >> (exponent - 3)) & 7)) as usize
}

fn largest(bucket: usize) -> u64 {
    let Some(above) = (bucket as u64).checked_sub(EXACT) else { return bucket as u64 };
    let (exponent, eighth) = (above / 8 + 5, above % 8);
    (1 << exponent) + ((eighth + 1) << (exponent - 3)) - 1
}

impl ServerStats {
    /// A reply was made after this time.
    #[inline]
    pub fn on_latency(&mut self, latency_ms: u64, is_update: bool) {
        if is_update { self.updates.add(latency_ms) } else { self.reads.add(latency_ms) }
    }

    /// Adds another core's numbers.
    pub fn merge(&mut self, other: &ServerStats) {
        self.packets_received += other.packets_received;
        self.packets_sent += other.packets_sent;
        self.bytes_received += other.bytes_received;
        self.watch_bytes += other.watch_bytes;
        self.connections += other.connections;
        self.outstanding += other.outstanding;
        self.connection_requests += other.connection_requests;
        self.sessionless_connections_expired += other.sessionless_connections_expired;
        self.auth_failed += other.auth_failed;
        self.reads.merge(&other.reads);
        self.updates.merge(&other.updates);
        self.trace_mask = self.trace_mask.or(other.trace_mask);
    }

    /// Forgets what was counted (`srst`); what is open or waiting stays.
    pub fn reset(&mut self) {
        *self = ServerStats {
            connections: self.connections,
            outstanding: self.outstanding,
            trace_mask: self.trace_mask,
            ..ServerStats::default()
        };
    }

    /// Smallest latency in ms; 0 before the first reply.
    pub fn latency_min_ms(&self) -> u64 {
        if self.latency_count() == 0 { 0 } else { self.reads.min.min(self.updates.min) }
    }

    /// Largest latency in ms.
    pub fn latency_max_ms(&self) -> u64 {
        self.reads.max.max(self.updates.max)
    }

    fn latency_count(&self) -> u64 {
        self.reads.count + self.updates.count
    }

    /// Average latency as Apache prints it.
    pub fn latency_average(&self) -> String {
        average(self.reads.sum + self.updates.sum, self.latency_count())
    }
}

/// As Apache prints an average: at most four decimals, rounded half up, Java's `Double.toString`.
pub fn average(sum: u64, count: u64) -> String {
    if count == 0 {
        return "0.0".into();
    }
    let ten_thousandths = (u128::from(sum) * 20_000 / u128::from(count)).div_ceil(2);
    let text = format!("{}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000);
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.into() }
}

/// A number as Java's `Double.toString` writes it: at least one digit behind the point, an exponent below 0.001 and from
/// ten million on.
pub fn java_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return with_point(format!("{number}"));
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').expect("the format has an exponent");
    format!("{}E{exponent}", with_point(digits.into()))
}

fn with_point(digits: String) -> String {
    if digits.contains('.') { digits } else { digits + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_like_those_of_java() {
        let pairs = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.75, "-2.75"),
            (0.3653, "0.3653"),
            (0.001, "0.001"),
            (0.00025, "2.5E-4"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (123_456_789.0, "1.23456789E8"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, text) in pairs {
            assert_eq!(java_double(number), text);
        }
    }

    #[test]
    fn what_is_merged_adds_up_and_what_is_open_survives_a_reset() {
        let mut all =
            ServerStats { connections: 2, outstanding: 1, packets_sent: 5, ..ServerStats::default() };
        let mut other = ServerStats { connections: 1, packets_sent: 7, ..ServerStats::default() };
        other.on_latency(4, true);
        other.on_latency(2, false);
        all.merge(&other);
        assert_eq!((all.connections, all.packets_sent, all.latency_count()), (3, 12, 2));
        assert_eq!((all.latency_min_ms(), all.latency_max_ms()), (2, 4));
        assert_eq!(all.latency_average(), "3.0");
        all.reset();
        assert_eq!((all.connections, all.outstanding, all.packets_sent), (3, 1, 0));
        assert_eq!((all.latency_min_ms(), all.latency_count()), (0, 0));
    }

    #[test]
    fn latencies_keep_their_shares() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.permille(500), 0);
        (0..1000).for_each(|ms| latencies.add(ms));
        assert_eq!((latencies.permille(10), latencies.permille(1000)), (9, 999));
        let median = latencies.permille(500);
        assert!((499..=499 + 500 / 8).contains(&median), "{median}");
        for ms in [31, 32, 33, 63, 64, 1000, 65_535, u64::from(u32::MAX)] {
            let (found, last) = (bucket(ms), largest(bucket(ms)));
            assert!(ms <= last && last - ms <= ms / 8 && bucket(last) == found, "{ms}: {last}");
            assert!(found < BUCKETS);
        }
        let lines = latencies.lines("readlatency");
        assert_eq!(lines[0], ("avg_readlatency".to_string(), "499.5".to_string()));
        assert_eq!(lines.len(), 9);
    }

    #[test]
    fn averages_look_like_java_doubles() {
        assert_eq!(average(0, 0), "0.0");
        assert_eq!(average(11, 4), "2.75");
        assert_eq!(average(1, 3), "0.3333");
        assert_eq!(average(2, 3), "0.6667");
        assert_eq!(average(10, 1), "10.0");
    }
}
