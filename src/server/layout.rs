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
    /// Why threads are not bound to CPUs, or which CPUs are left out.
    why: String,
}

/// What a layout is chosen for.
#[derive(Clone, Default, Debug)]
pub struct Machine {
    /// CPUs that the process may use, or that the operator named.
    pub cpus: Vec<usize>,
    /// How many of them a control group lets it use at a time.
    pub quota: Option<f64>,
    /// CPUs that serve interrupts of disks and network cards.
    pub interrupts: Vec<usize>,
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

/// Chooses a layout for this machine; `wanted` shards if given. Threads are only pinned if each core has a CPU of its own.
pub fn choose(wanted: Option<u16>, machine: &Machine, pinning: Pinning) -> Layout {
    let quota = machine.quota.map(|quota| (quota as usize).max(1));
    let count = quota.map_or(machine.cpus.len(), |quota| quota.min(machine.cpus.len()));
    let is_shared = count <= 3;
    let by_itself = match count {
        0..=2 => 1,
        3 => 2,
        more => (more - 1).min(crate::limits::SHARDS_MAX) as u16,
    };
    let shards = wanted.unwrap_or(by_itself);
    let cores = shards as usize + usize::from(!is_shared);
    let (cpus, why) = match pin(machine, cores, pinning) {
        Ok((cpus, why)) => (cpus, why),
        Err(why) => (Vec::new(), why),
    };
    Layout { shards, is_shared, cpus, why }
}

/// The cores' CPUs and what was left out, or why there are none.
fn pin(machine: &Machine, cores: usize, pinning: Pinning) -> Result<(Vec<usize>, String), String> {
    let all = &machine.cpus;
    match pinning {
        Pinning::Off => return Err("by ringkeeper.pin".into()),
        Pinning::Named if all.len() < cores => {
            return Err(format!("ringkeeper.pin names {} CPUs for {cores} cores", all.len()));
        }
        Pinning::Named => return Ok((all[..cores].to_vec(), String::new())),
        Pinning::Auto => {}
    }
    if all.len() < PINNED_CPUS_MIN {
        return Err(format!("{} CPUs are shared with everybody else", all.len()));
    }
    if let Some(quota) = machine.quota.filter(|quota| *quota < all.len() as f64) {
        return Err(format!("a control group gives {quota:.1} CPUs"));
    }
    if all.len() <= cores {
        return Err("no CPU would stay free for others".into());
    }
    // Where all CPUs serve interrupts, each serves those of its own requests.
    let quiet: Vec<usize> = all.iter().copied().filter(|cpu| !machine.interrupts.contains(cpu)).collect();
    let busy: Vec<usize> = all.iter().copied().filter(|cpu| machine.interrupts.contains(cpu)).collect();
    if quiet.is_empty() || busy.is_empty() {
        return Ok((all[..cores].to_vec(), String::new()));
    }
    if quiet.len() < cores {
        return Err(format!("CPUs {busy:?} serve interrupts of disks and network cards"));
    }
    let why = format!("CPUs {busy:?} serve interrupts of disks and network cards");
    Ok((quiet[..cores].to_vec(), why))
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
            [] => write!(f, ", not pinned")?,
            cpus => write!(f, ", pinned to CPUs {cpus:?}")?,
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", self.why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: &[usize]) -> Machine {
        Machine { cpus: cpus.to_vec(), ..Machine::default() }
    }

    #[test]
    fn few_cpus_share_a_core_and_many_do_not() {
        use Pinning::{Auto, Named, Off};
        let one = choose(None, &machine(&[0]), Named);
        assert_eq!((one.shards, one.cores(), one.cpu_of(0)), (1, 1, Some(0)));
        let two = choose(None, &machine(&[4, 5]), Named);
        assert_eq!((two.shards, two.cores(), two.cpu_of(0)), (1, 1, Some(4)));
        let eight = machine(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let layout = choose(None, &eight, Named);
        assert_eq!((layout.shards, layout.cores(), layout.shard_on(0)), (7, 8, None));
        assert_eq!(layout.core_of(ShardId(6)), 7);
        let many = choose(Some(4), &machine(&[0, 1]), Named);
        assert_eq!((many.cores(), many.cpu_of(0)), (4, None));
        assert_eq!(
            many.to_string().split(", not").last(),
            Some(" pinned (ringkeeper.pin names 2 CPUs for 4 cores)")
        );
        let two = choose(None, &machine(&[0, 1]), Auto);
        assert_eq!(two.cpu_of(0), None, "a second server would be on the same CPU");
        assert_eq!(choose(None, &eight, Auto).cpu_of(0), None, "none stays free");
        assert_eq!(choose(Some(6), &eight, Auto).cpu_of(6), Some(6));
        assert_eq!(choose(Some(6), &eight, Off).cpu_of(0), None);
    }

    #[test]
    fn cores_stay_away_from_interrupts_and_within_a_quota() {
        let cpus = [0, 1, 2, 3, 4, 5, 6, 7];
        let with = |interrupts: &[usize], quota| Machine {
            cpus: cpus.to_vec(),
            interrupts: interrupts.to_vec(),
            quota,
        };
        let layout = choose(Some(4), &with(&[0, 3], None), Pinning::Auto);
        let pinned: Vec<_> = (0..5).filter_map(|core| layout.cpu_of(core)).collect();
        assert_eq!(pinned, [1, 2, 4, 5, 6]);
        assert!(layout.to_string().ends_with("(CPUs [0, 3] serve interrupts of disks and network cards)"));
        let layout = choose(Some(4), &with(&[0, 1, 2, 3], None), Pinning::Auto);
        assert_eq!(layout.cpu_of(0), None, "four are too few for five cores");
        let layout = choose(Some(4), &with(&cpus, None), Pinning::Auto);
        assert_eq!(layout.cpu_of(0), Some(0), "each serves its own");
        let layout = choose(None, &with(&[], Some(2.5)), Pinning::Auto);
        assert_eq!((layout.shards, layout.is_shared, layout.cpu_of(0)), (1, true, None));
        assert!(layout.to_string().ends_with("not pinned (a control group gives 2.5 CPUs)"));
        assert_eq!(choose(None, &with(&[], Some(6.0)), Pinning::Auto).shards, 5);
        assert_eq!(choose(None, &with(&[], Some(0.5)), Pinning::Auto).shards, 1);
    }
}
