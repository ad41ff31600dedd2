//! Which core does what. With one to three CPUs the member shares core 0 with the first shard, because a wake between
//! two sleeping cores costs more than the work; with more it has a core of its own.

use crate::ids::ShardId;
use std::fmt;

/// Cores, counted from 0; the member is on core 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Shards in all.
    pub shards: u16,
    /// Core 0 runs shard 0 beside the member.
    pub is_shared: bool,
    cpus: Vec<usize>,
}

/// `ringkeeper.pin`: which CPUs the cores are bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pin {
    /// See [`Pinning::Auto`].
    Auto,
    /// To none.
    Off,
    /// To these, ascending.
    Cpus(Vec<usize>),
}

/// Whether threads are bound to CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pinning {
    Off,
    /// Only where a CPU stays free: two servers of one machine would choose the same CPUs, and a pinned thread cannot
    /// evade whoever else runs on its CPU.
    Auto,
    /// To the CPUs that the operator named.
    Named,
}

impl Pinning {
    /// By `ringkeeper.pin`.
    pub fn of(pin: &Pin) -> Pinning {
        match pin {
            Pin::Off => Pinning::Off,
            Pin::Auto => Pinning::Auto,
            Pin::Cpus(_) => Pinning::Named,
        }
    }
}

/// With fewer CPUs threads are bound only to those that were named.
const PINNED_CPUS_MIN: usize = 4;

/// Chooses a layout for these CPUs; `wanted` shards if given. Threads are only pinned if each core has a CPU of its own.
pub fn choose(wanted: Option<u16>, cpus: &[usize], pinning: Pinning) -> Layout {
    let is_shared = cpus.len() <= 3;
    let by_itself = match cpus.len() {
        0..=2 => 1,
        3 => 2,
        more => (more - 1).min(crate::limits::SHARDS_MAX) as u16,
    };
    let shards = wanted.unwrap_or(by_itself);
    let cores = shards as usize + usize::from(!is_shared);
    let has_room = match pinning {
        Pinning::Off => false,
        Pinning::Auto => cpus.len() >= PINNED_CPUS_MIN && cpus.len() > cores,
        Pinning::Named => cpus.len() >= cores,
    };
    Layout { shards, is_shared, cpus: if has_room { cpus[..cores].to_vec() } else { Vec::new() } }
}

impl Layout {
    /// Threads in all.
    pub fn cores(&self) -> usize {
        self.shards as usize + usize::from(!self.is_shared)
    }

    /// The shard on a core.
    pub fn shard_on(&self, core: usize) -> Option<ShardId> {
        if self.is_shared {
            Some(ShardId(core as u16))
        } else {
            core.checked_sub(1).map(|id| ShardId(id as u16))
        }
    }

    /// The core of a shard.
    pub fn core_of(&self, shard: ShardId) -> usize {
        shard.0 as usize + usize::from(!self.is_shared)
    }

    /// The CPU a core is bound to, if any.
    pub fn cpu_of(&self, core: usize) -> Option<usize> {
        self.cpus.get(core).copied()
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shard(s) on {} core(s)", self.shards, self.cores())?;
        write!(f, ", the member {}", if self.is_shared { "beside shard 0" } else { "on its own" })?;
        match self.cpus.as_slice() {
            [] => write!(f, ", not pinned"),
            cpus => write!(f, ", pinned to CPUs {cpus:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cpus_share_a_core_and_many_do_not() {
        use Pinning::{Auto, Named, Off};
        let one = choose(None, &[0], Named);
        assert_eq!((one.shards, one.cores(), one.cpu_of(0)), (1, 1, Some(0)));
        let two = choose(None, &[4, 5], Named);
        assert_eq!((two.shards, two.cores(), two.cpu_of(0)), (1, 1, Some(4)));
        let eight = choose(None, &[0, 1, 2, 3, 4, 5, 6, 7], Named);
        assert_eq!((eight.shards, eight.cores(), eight.shard_on(0)), (7, 8, None));
        assert_eq!(eight.core_of(ShardId(6)), 7);
        let many = choose(Some(4), &[0, 1], Named);
        assert_eq!((many.cores(), many.cpu_of(0)), (4, None));
        let eight = [0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(choose(None, &[0, 1], Auto).cpu_of(0), None, "a second server would be on the same CPU");
        assert_eq!(choose(None, &eight, Auto).cpu_of(0), None, "none stays free");
        assert_eq!(choose(Some(6), &eight, Auto).cpu_of(6), Some(6));
        assert_eq!(choose(Some(6), &eight, Off).cpu_of(0), None);
    }
}
