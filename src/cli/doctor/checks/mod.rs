//! The checks, by subject. Each is a pure function of the facts: it can be run on facts of any machine. `tuning/README.md`
//! has the same subjects at length.

mod cpu;
mod disk;
mod memory;
mod network;
mod system;

use super::facts::Facts;
use super::finding::Finding;

/// All checks, in the order of the report.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let single: [fn(&Facts) -> Finding; 21] = [
        system::kernel,
        system::io_uring,
        system::locked_memory,
        system::open_files,
        system::clock_source,
        system::virtualization,
        cpu::cores,
        cpu::numa,
        cpu::quota,
        cpu::governor,
        cpu::isolation,
        cpu::interrupts,
        network::steering,
        network::busy_poll,
        network::accept_queue,
        network::syn_queue,
        network::idle_restart,
        memory::swap,
        memory::swappiness,
        memory::huge_pages,
        memory::limit,
    ];
    let mut findings: Vec<Finding> = single.iter().map(|check| check(facts)).collect();
    findings.extend(disk::all(facts));
    findings
}

/// A kernel setting by the name that `sysctl` has for it.
fn sysctl_file(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// The command that sets it.
fn sysctl_command(name: &str, value: u64) -> String {
    format!("sysctl -w {name}={value}")
}
