//! What several checks need to know of the CPUs: who interrupts them, and how much of them there is.

use super::facts::{Facts, cpu_list};
use std::collections::BTreeSet;

impl Facts {
    /// The tightest quota of the group and those above it, in CPUs.
    pub fn cpu_quota(&self) -> Option<f64> {
        let second = self.files_between("/sys/fs/cgroup", "/cpu.max").into_iter().filter_map(|(_, text)| {
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
        let first = self.files_between("/sys/fs/cgroup", "/cpu.cfs_quota_us");
        let first = first.into_iter().filter_map(|(group, quota)| {
            let period: f64 = self.file(&format!("/sys/fs/cgroup{group}/cpu.cfs_period_us"))?.parse().ok()?;
            let quota: f64 = quota.parse().ok()?;
            (quota > 0.0).then_some(quota / period)
        });
        second.chain(first).reduce(f64::min)
    }

    /// Numbers of a card's interrupts: its own, or of the device that carries it (virtio).
    pub fn interrupts_of<'a>(&'a self, card: &str) -> Vec<&'a str> {
        self.device_interrupts(&format!("/sys/class/net/{card}/device"), "msi_irqs")
    }

    fn device_interrupts<'a>(&'a self, device: &str, own: &str) -> Vec<&'a str> {
        let own = self.files_between(&format!("{device}/{own}/"), "");
        let carried = self.files_between(&format!("{device}/../msi_irqs/"), "");
        let is_virtio =
            self.file(&format!("{device}/uevent")).is_some_and(|text| text.contains("MODALIAS=virtio:"));
        let found = if own.is_empty() && is_virtio { carried } else { own };
        found.into_iter().map(|(number, _)| number).collect()
    }

    /// The CPUs that serve interrupts of disks and network cards.
    pub fn interrupt_cpus(&self) -> BTreeSet<usize> {
        let disks = self.files_between("/sys/block/", "/queue/write_cache");
        let disks = disks.into_iter().flat_map(|(disk, _)| {
            // An NVMe disk's device is its controller, whose device has the interrupts.
            self.device_interrupts(&format!("/sys/block/{disk}/device"), "device/msi_irqs")
        });
        let cards = self.cards().into_iter().flat_map(|card| self.interrupts_of(card));
        disks.chain(cards).filter_map(|number| self.affinity(number)).flatten().collect()
    }

    pub fn affinity(&self, number: &str) -> Option<BTreeSet<usize>> {
        let file = |name: &str| self.file(&format!("/proc/irq/{number}/{name}")).and_then(cpu_list);
        let effective = file("effective_affinity_list").filter(|cpus| !cpus.is_empty());
        effective.or_else(|| file("smp_affinity_list"))
    }
}
