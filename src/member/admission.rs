//! Which connections are taken, and by which shard: `maxClientCnxns` per address, `maxCnxns` in total, no more than leave
//! descriptors for the log and snapshots, the shard with the fewest connections next. Lives in the member because it alone accepts.

use super::io::RefuseReason;
use super::settings::{Descriptors, MemberSettings};
use crate::ids::ShardId;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::net::IpAddr;

/// Open connections, counted by address and by shard.
pub struct Admission {
    per_address: HashMap<IpAddr, u32, FixedState>,
    per_shard: Vec<u32>,
    total: u32,
    /// 0 is without a limit.
    per_address_max: u32,
    /// 0 is without a limit.
    total_max: u32,
    descriptors: Descriptors,
    /// Where the search for the emptiest shard starts, so that equals take turns.
    next: usize,
    refused: u64,
}

impl Admission {
    /// No connection yet.
    pub fn new(settings: &MemberSettings) -> Admission {
        let shards = settings.shards;
        assert!(shards > 0, "somebody must serve the connections");
        Admission {
            per_address: HashMap::with_hasher(FixedState::default()),
            per_shard: vec![0; shards as usize],
            total: 0,
            per_address_max: settings.connections_per_address_max,
            total_max: settings.connections_max,
            descriptors: settings.descriptors,
            next: 0,
            refused: 0,
        }
    }

    /// Takes a connection, or says why not.
    pub fn admit(&mut self, address: IpAddr) -> Result<ShardId, RefuseReason> {
        let address = address.to_canonical();
        let of_address = self.per_address.get(&address).copied().unwrap_or(0);
        let by_descriptors = self.descriptors.connections_max();
        let reason = if by_descriptors > 0 && self.total >= by_descriptors {
            Some(RefuseReason::Descriptors)
        } else if self.total_max > 0 && self.total >= self.total_max {
            Some(RefuseReason::Total)
        } else if self.per_address_max > 0 && of_address >= self.per_address_max {
            Some(RefuseReason::PerAddress)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.refused += 1;
            return Err(reason);
        }
        self.per_address.insert(address, of_address + 1);
        self.total += 1;
        let shards = self.per_shard.len();
        let emptiest =
            (0..shards).map(|step| (self.next + step) % shards).min_by_key(|shard| self.per_shard[*shard]);
        let shard = emptiest.expect("there is at least one shard");
        self.next = (shard + 1) % shards;
        self.per_shard[shard] += 1;
        Ok(ShardId(shard as u16))
    }

    /// A connection is gone.
    pub fn release(&mut self, address: IpAddr, shard: ShardId) {
        let address = address.to_canonical();
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
            self.total -= 1;
            let of_shard = &mut self.per_shard[shard.0 as usize];
            assert!(*of_shard > 0, "a connection that goes was counted");
            *of_shard -= 1;
        }
    }

    /// The reason in words for the operator, with the setting that decides.
    pub fn why_refused(&self, reason: RefuseReason) -> String {
        match reason {
            RefuseReason::PerAddress => {
                format!(
                    "its address has as many connections as maxClientCnxns={} allows",
                    self.per_address_max
                )
            }
            RefuseReason::Total => {
                format!("there are as many connections as maxCnxns={} allows", self.total_max)
            }
            RefuseReason::Descriptors => format!(
                "there are {} connections, and of {} open files (RLIMIT_NOFILE) {} are kept for the log and snapshots; \
                 raise the limit (`ulimit -n`, LimitNOFILE= of the systemd unit)",
                self.total, self.descriptors.open_max, self.descriptors.reserved
            ),
            RefuseReason::Stopping => "the server is stopping".to_string(),
        }
    }

    /// Connections that there are.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Counted by address, by shard and in all, it is the same.
    pub fn check(&self) {
        assert_eq!(self.per_address.values().sum::<u32>(), self.total);
        assert_eq!(self.per_shard.iter().sum::<u32>(), self.total);
        assert!(self.total_max == 0 || self.total <= self.total_max);
    }

    /// Connections that were not taken.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_the_total_are_limited_and_shards_fill_evenly() {
        let settings = MemberSettings {
            shards: 2,
            connections_per_address_max: 2,
            connections_max: 3,
            ..MemberSettings::default()
        };
        let mut admission = Admission::new(&settings);
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        let b: IpAddr = "10.0.0.2".parse().unwrap();
        assert_eq!(admission.admit(a), Ok(ShardId(0)));
        assert_eq!(admission.admit("::ffff:10.0.0.1".parse().unwrap()), Ok(ShardId(1)));
        assert_eq!(admission.admit(a), Err(RefuseReason::PerAddress));
        assert_eq!(admission.admit(b), Ok(ShardId(0)));
        assert_eq!(admission.admit(b), Err(RefuseReason::Total));
        assert!(admission.why_refused(RefuseReason::PerAddress).contains("maxClientCnxns=2 "));
        assert!(admission.why_refused(RefuseReason::Total).contains("maxCnxns=3 "));
        admission.release(a, ShardId(0));
        admission.release(b, ShardId(0));
        assert_eq!(admission.admit(a), Ok(ShardId(0)), "the emptiest shard");
        assert_eq!(admission.refused(), 2);
    }

    #[test]
    fn connections_leave_descriptors_for_others() {
        let descriptors = Descriptors::of(200, 2);
        assert_eq!(descriptors, Descriptors { open_max: 200, reserved: 96 });
        assert_eq!(Descriptors::of(100, 2).reserved, 50, "few are shared");
        let settings =
            MemberSettings { connections_per_address_max: 0, descriptors, ..MemberSettings::default() };
        let mut admission = Admission::new(&settings);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        (0..104).for_each(|_| assert_eq!(admission.admit(address), Ok(ShardId(0))));
        assert_eq!(admission.admit(address), Err(RefuseReason::Descriptors));
        let why = admission.why_refused(RefuseReason::Descriptors);
        assert!(["104 ", "200 ", "96 ", "ulimit -n"].iter().all(|part| why.contains(part)), "{why}");
        admission.release(address, ShardId(0));
        assert_eq!(admission.admit(address), Ok(ShardId(0)));
        admission.check();
    }
}
