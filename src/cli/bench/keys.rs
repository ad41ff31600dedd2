//! Which node an operation goes to, and what it must hold: key number to path, value of a key, and the distributions
//! that draw keys. Pure; seeded, so that two runs send the same requests.

use crate::prng::Prng;

/// Digits of a key in its path and at the start of its value.
pub const DIGITS: usize = 8;

/// How keys are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// Key k in proportion to 1/k^0.99, as in YCSB; hot keys are spread over the key space.
    Zipf,
}

/// Draws keys below a count.
#[derive(Clone)]
pub struct Keys {
    prng: Prng,
    count: u64,
    zipf: Option<Zipf>,
}

impl Keys {
    /// Keys in `0..count`.
    pub fn new(seed: u64, count: u64, distribution: Distribution) -> Keys {
        assert!(count > 0, "a workload over nodes needs one at least");
        let zipf = (distribution == Distribution::Zipf).then(|| Zipf::new(count));
        Keys { prng: Prng::new(seed), count, zipf }
    }

    /// The next key.
    pub fn draw(&mut self) -> u64 {
        match &self.zipf {
            None => self.prng.below(self.count),
            Some(zipf) => {
                let rank = zipf.rank(unit(self.prng.next_u64()));
                // Spread the hot ranks: neighbours in rank are not neighbours in the tree.
                ((rank as u128 * SPREAD as u128) % self.count as u128) as u64
            }
        }
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.prng.chance(percent)
    }
}

/// Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994).
#[derive(Clone)]
struct Zipf {
    count: f64,
    theta: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u64) -> Zipf {
        let theta = 0.99f64;
        let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-theta)).sum::<f64>();
        let (zeta_n, zeta_2) = (zeta(count), zeta(2.min(count)));
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta_2 / zeta_n);
        Zipf { count: count as f64, theta, alpha: 1.0 / (1.0 - theta), zeta: zeta_n, eta }
    }

    fn rank(&self, u: f64) -> u64 {
        let uz = u * self.zeta;
        if uz < 1.0 || self.count < 2.0 {
            return 0;
        }
        if uz < 1.0 + 0.5f64.powf(self.theta) {
            return 1;
        }
        let rank = self.count * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count as u64 - 1)
    }
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A prime, so that it shares no factor with any smaller number of nodes.
const SPREAD: u64 = 2_654_435_761;

/// Writes a key as `DIGITS` decimal digits.
pub fn write_digits(key: u64, out: &mut [u8]) {
    let mut rest = key;
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// The path of a key below `root`.
pub fn path(root: &str, key: u64) -> String {
    format!("{root}/n{key:0width$}", width = DIGITS)
}

/// The value of a key: its digits, then `v`s. Shorter values are cut.
pub fn value(key: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![b'v'; bytes.max(DIGITS)];
    write_digits(key, &mut value[..DIGITS]);
    value.truncate(bytes);
    value
}

/// True if `data` is the value of `key` with `bytes` bytes.
pub fn is_value(data: &[u8], key: u64, bytes: usize) -> bool {
    let mut digits = [0; DIGITS];
    write_digits(key, &mut digits);
    let head = bytes.min(DIGITS);
    // The tail is looked at in its first and last byte only: the generator must stay cheaper than the server.
    data.len() == bytes
        && data[..head] == digits[..head]
        && (bytes <= DIGITS || (data[DIGITS] == b'v' && data[bytes - 1] == b'v'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_their_key() {
        for bytes in [0, 3, 8, 9, 100] {
            assert!(is_value(&value(1234, bytes), 1234, bytes));
        }
        assert!(!is_value(&value(1234, 100), 1235, 100));
        assert!(!is_value(&value(1234, 99), 1234, 100));
        assert_eq!(path("/bench", 7), "/bench/n00000007");
    }

    #[test]
    fn zipf_prefers_few_keys_and_stays_in_range() {
        let mut keys = Keys::new(1, 1000, Distribution::Zipf);
        let mut counts = vec![0u32; 1000];
        (0..100_000).for_each(|_| counts[keys.draw() as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts[0] > 10_000 && counts[999] < 100, "{} {}", counts[0], counts[999]);
        let mut one = Keys::new(1, 1, Distribution::Zipf);
        assert!((0..100).all(|_| one.draw() == 0));
    }
}
