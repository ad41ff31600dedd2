//! Memory that must stay where it is: swap, huge pages, limits.

use super::{sysctl_command, sysctl_file};
use crate::cli::doctor::facts::Facts;
use crate::cli::doctor::finding::{Check, Finding};

pub fn swap(facts: &Facts) -> Finding {
    let check = Check::new(
        "swap",
        "the whole tree is in memory; a page of it on a disk makes a request, and all behind it, wait for that disk",
    );
    let meminfo = "/proc/meminfo";
    let (Some(total), Some(free)) =
        (facts.field_kib(meminfo, "SwapTotal"), facts.field_kib(meminfo, "SwapFree"))
    else {
        return check.missing(meminfo);
    };
    if total == 0 {
        return check.ok("none");
    }
    let own = facts.server.and(facts.field_kib("process/status", "VmSwap")).unwrap_or(0);
    let used = total.saturating_sub(free);
    let change = [
        "swapoff -a  # only where the memory suffices without it",
        "# for good: remove its line from /etc/fstab; or in the service unit: MemorySwapMax=0",
    ];
    if own > 0 {
        check.problem(format!("{} MiB of the server itself are swapped out", own.div_ceil(1024)), change)
    } else if used > 0 {
        check.advice(format!("{} of {} MiB in use", used / 1024, total / 1024), change)
    } else {
        check.ok(format!("{} MiB, unused", total / 1024))
    }
}

pub fn swappiness(facts: &Facts) -> Finding {
    let check = Check::new(
        "swappiness",
        "says how soon the kernel swaps out programs to keep files in memory; the server's own files bypass that memory",
    );
    let name = "vm.swappiness";
    let Some(value) = facts.number(&sysctl_file(name)) else { return check.missing(&sysctl_file(name)) };
    let found = format!("{name}={value}");
    match facts.field_kib("/proc/meminfo", "SwapTotal") {
        Some(0) => check.ok(format!("{found}, without swap to use")),
        _ if value <= SWAPPINESS_MAX => check.ok(found),
        _ => check.advice(found, [sysctl_command(name, 1)]),
    }
}

const SWAPPINESS_MAX: u64 = 10;

pub fn huge_pages(facts: &Facts) -> Finding {
    let check = Check::new(
        "huge pages",
        "the server keeps to small pages (prctl): huge ones cost it a third more memory for no gain; pages set apart for \
         others are lost to it",
    );
    let file = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Some(enabled) = facts.file(file) else { return check.missing(file) };
    let mode = enabled.split(['[', ']']).nth(1).unwrap_or(enabled);
    let reserved_kib = facts.field_kib("/proc/meminfo", "HugePages_Free").unwrap_or(0)
        * facts.field_kib("/proc/meminfo", "Hugepagesize").unwrap_or(0);
    if reserved_kib >> 10 >= RESERVED_MIB_MAX {
        return check.advice(
            format!("transparent ones: {mode}; {} MiB of fixed ones are unused", reserved_kib >> 10),
            [sysctl_command("vm.nr_hugepages", 0)],
        );
    }
    let is_ours = facts.server.is_some() && facts.field("process/status", "THP_enabled") == Some("1");
    if mode == "always" && is_ours {
        return check.advice(
            "always, and the running server could not refuse them",
            [format!("echo madvise > {file}")],
        );
    }
    check.ok(format!("transparent ones: {mode}"))
}

const RESERVED_MIB_MAX: u64 = 256;

pub fn limit(facts: &Facts) -> Finding {
    let check = Check::new(
        "memory limit",
        "a control group at its limit first loses its caches, then its largest process, which is the server",
    );
    if facts.file("process/cgroup").is_none() {
        return check.missing("/proc/PID/cgroup");
    }
    let second = (facts.files_between("/sys/fs/cgroup", "/memory.max"), "memory.current");
    let first = (facts.files_between("/sys/fs/cgroup", "/memory.limit_in_bytes"), "memory.usage_in_bytes");
    let mut tightest: Option<(u64, u64)> = None;
    for (limits, usage) in [second, first] {
        for (group, limit) in limits {
            let limit = limit.parse::<u64>().ok().filter(|limit| *limit < NO_LIMIT);
            let used = facts.number(&format!("/sys/fs/cgroup{group}/{usage}")).unwrap_or(0);
            if let Some(limit) = limit
                && tightest.is_none_or(|(least, _)| limit < least)
            {
                tightest = Some((limit, used));
            }
        }
    }
    let killed: u64 = facts
        .files_between("/sys/fs/cgroup", "/memory.events")
        .iter()
        .filter_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok())
        .max()
        .unwrap_or(0);
    let change =
        ["# in the service unit: MemoryMax=infinity, or twice the server's peak (VmHWM in /proc/PID/status)"];
    let Some((limit, used)) = tightest else { return check.ok("none") };
    let found = format!("{} of {} MiB in use", used >> 20, limit >> 20);
    if killed > 0 {
        check.problem(format!("{found}; the kernel has killed {killed} process(es) there"), change)
    } else if used > limit / 10 * 9 || limit < LIMIT_MIN {
        check.advice(found, change)
    } else {
        check.ok(found)
    }
}

/// Version 1 of control groups writes "no limit" as the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 60;
/// What a server with an empty tree has room in.
const LIMIT_MIN: u64 = 256 << 20;
