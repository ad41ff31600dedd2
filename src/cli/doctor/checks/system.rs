//! Kernel, io_uring, limits of the process, clock, virtualization.

use crate::cli::doctor::facts::Facts;
use crate::cli::doctor::finding::{Check, Finding};

pub fn kernel(facts: &Facts) -> Finding {
    let check = Check::new(
        "kernel",
        "io_uring as the server uses it came with Linux 6.0, and work done only when asked for with 6.1; durable writes \
         without a second system call with 4.7",
    );
    let Some(release) = facts.file("/proc/sys/kernel/osrelease") else {
        return check.missing("/proc/sys/kernel/osrelease");
    };
    let upgrade = ["# install a kernel of the series 6.1 or later, and boot it"];
    match facts.kernel() {
        None => check.unknown(format!("\"{release}\" is no version")),
        Some(version) if version >= (6, 1) => check.ok(release),
        Some(version) if version >= (4, 7) => check.advice(release, upgrade),
        Some(_) => check.problem(release, upgrade),
    }
}

pub fn io_uring(facts: &Facts) -> Finding {
    let check = Check::new(
        "io_uring",
        "with it a core enters the kernel once per turn; epoll works without it, and fan-out then costs about a fifth more",
    );
    let (settings, ring) = (&facts.settings, &facts.io_uring);
    if settings.io == "epoll" {
        return check.ok("not used: ringkeeper.io=epoll");
    }
    if ring.is_usable {
        return check.ok("usable");
    }
    let disabled = facts.number("/proc/sys/kernel/io_uring_disabled").unwrap_or(0);
    let change = match facts.kernel() {
        Some(version) if version < (6, 0) => "# install a kernel of the series 6.1 or later".to_string(),
        _ if disabled > 0 => super::sysctl_command("kernel.io_uring_disabled", 0),
        _ => "# let the seccomp profile of the container or service pass io_uring_setup, io_uring_enter and \
              io_uring_register"
            .to_string(),
    };
    let found = format!("io_uring is {}", ring.refusal);
    match settings.io.as_str() {
        "io_uring" => {
            let change = [change, "# or in zoo.cfg: ringkeeper.io=auto".to_string()];
            check.problem(format!("{found}: with ringkeeper.io=io_uring the server does not start"), change)
        }
        _ => check.advice(found, [change]),
    }
}

pub fn locked_memory(facts: &Facts) -> Finding {
    let check = Check::new(
        "locked memory",
        "kernels before 5.12 count the memory of a ring as locked; the server locks nothing else",
    );
    let Some((soft, _)) = facts.limits("Max locked memory") else { return check.missing("/proc/PID/limits") };
    let size = if soft == u64::MAX { "unlimited".into() } else { format!("{} KiB", soft >> 10) };
    match facts.kernel() {
        Some(version) if version >= (5, 12) => check.ok(format!("{size}; this kernel does not ask for any")),
        _ if soft >= RING_BYTES => check.ok(size),
        _ => check.advice(size, ["ulimit -l unlimited", "# in the service unit: LimitMEMLOCK=infinity"]),
    }
}

/// Enough for the rings of many cores.
const RING_BYTES: u64 = 64 << 20;

pub fn open_files(facts: &Facts) -> Finding {
    let check = Check::new(
        "open files",
        "each connection is an open file; at the limit new clients wait. The server raises its own limit up to the hard \
         one",
    );
    let Some((_, hard)) = facts.limits("Max open files") else { return check.missing("/proc/PID/limits") };
    let found = match hard {
        u64::MAX => "no limit".to_string(),
        hard => format!("up to {hard}"),
    };
    let change = match facts.server {
        Some(pid) => [
            format!("prlimit --pid {pid} --nofile={FILES_GOOD}:{FILES_GOOD}"),
            format!("# for the next start, in the service unit: LimitNOFILE={FILES_GOOD}"),
        ],
        None => [
            format!("ulimit -n {FILES_GOOD}"),
            format!("# for a service, in its unit: LimitNOFILE={FILES_GOOD}"),
        ],
    };
    match hard {
        hard if hard >= FILES_ENOUGH => check.ok(found),
        hard if hard >= FILES_LEAST => check.advice(found, change),
        _ => check.problem(found, change),
    }
}

/// What the unit in tuning/ sets.
const FILES_GOOD: u64 = 1_048_576;
const FILES_ENOUGH: u64 = 65_536;
/// A shell's usual limit; a thousand clients fill it.
const FILES_LEAST: u64 = 4096;

pub fn clock_source(facts: &Facts) -> Finding {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let check = Check::new(
        "clock source",
        "the server reads the clock every turn; from these it is read without a system call",
    );
    let file = format!("{FOLDER}/current_clocksource");
    let Some(current) = facts.file(&file) else { return check.missing(&file) };
    if FAST_CLOCKS.contains(&current) {
        return check.ok(current);
    }
    let available = facts.file(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    match FAST_CLOCKS.iter().find(|clock| available.split_whitespace().any(|word| word == **clock)) {
        Some(clock) => check.advice(current, [format!("echo {clock} > {file}")]),
        None => check.advice(
            format!("{current}, and this machine has no faster one"),
            ["dmesg | grep -i clocksource  # says why the kernel gave up the tsc"],
        ),
    }
}

const FAST_CLOCKS: [&str; 5] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];

pub fn virtualization(facts: &Facts) -> Finding {
    let check = Check::new(
        "virtualization",
        "a host that takes CPU time away stops every core at once; each such stop is in the latency of all requests",
    );
    if facts.file("/proc/cpuinfo").is_none() {
        return check.missing("/proc/cpuinfo");
    }
    let container = if facts.is_container() { ", in a container" } else { "" };
    if !facts.is_virtual() {
        return check.ok(format!("none{container}"));
    }
    let vendor = facts.file("/sys/class/dmi/id/sys_vendor").map(|vendor| format!(" ({vendor})"));
    let machine = format!("virtual machine{}{container}", vendor.unwrap_or_default());
    let Some(stolen) = stolen_percent(facts) else { return check.unknown(machine) };
    let found = format!("{machine}; the host took {stolen:.1} % of its CPU time");
    if stolen < STOLEN_PERCENT_MAX {
        return check.ok(found);
    }
    check.advice(found, ["# give the machine CPUs of its own (no overcommitment), or take a physical one"])
}

/// Less is hardly seen in a p99.
const STOLEN_PERCENT_MAX: f64 = 1.0;

/// Time that the host gave to others, of what this machine wanted to use since it started.
fn stolen_percent(facts: &Facts) -> Option<f64> {
    let line = facts.file("/proc/stat")?.strip_prefix("cpu ")?;
    let times: Option<Vec<u64>> = line.split_whitespace().map(|number| number.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let times = times.filter(|times| times.len() >= 8)?;
    let wanted: u64 = times[..8].iter().sum::<u64>() - times[3] - times[4];
    Some(times[7] as f64 * 100.0 / wanted.max(1) as f64)
}
