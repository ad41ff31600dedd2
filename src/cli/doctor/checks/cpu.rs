//! Which CPUs the server gets, and who else is on them.

use crate::cli::doctor::facts::{Facts, cpu_list, list_text};
use crate::cli::doctor::finding::{Check, Finding};
use std::collections::BTreeSet;

pub fn cores(facts: &Facts) -> Finding {
    let check = Check::new(
        "server's cores",
        "each core's thread does best on a CPU of its own; where other programs need the CPUs, too, ringkeeper.pin=false \
         lets the server evade them",
    );
    let (Some(layout), Some(online)) = (facts.layout(), facts.online_cpus()) else {
        return check.missing("/proc/PID/status or /sys/devices/system/cpu/online");
    };
    let wanted: BTreeSet<usize> = facts.settings.cpus.iter().flatten().copied().collect();
    let absent: BTreeSet<usize> = wanted.difference(&online).copied().collect();
    if !absent.is_empty() {
        return check.problem(
            format!("ringkeeper.pin names CPUs {} that this machine does not have", list_text(&absent)),
            [format!("# in zoo.cfg: ringkeeper.pin={}", list_text(&online))],
        );
    }
    let cpus = facts.server_cpus().unwrap_or_default();
    let is_pinned = layout.cpu_of(0).is_some();
    let how = if is_pinned { "pinned to CPUs" } else { "not pinned, on CPUs" };
    let found =
        format!("{} shard(s) on {} core(s), {how} {}", layout.shards, layout.cores(), list_text(&cpus));
    // pin=false is somebody's choice, and a good one where other programs need the CPUs, too.
    let given = facts.settings.cpus.as_ref().map_or(cpus.len(), Vec::len);
    if is_pinned || cpus.len() == 1 || layout.cores() <= given || !facts.settings.pin {
        return check.ok(found);
    }
    let room = if layout.is_shared { given } else { given - 1 };
    let change = format!("# in zoo.cfg: ringkeeper.shards={room}, or auto");
    check.advice(format!("{found}: more than there are CPUs"), [change])
}

pub fn numa(facts: &Facts) -> Finding {
    let check = Check::new(
        "NUMA",
        "memory of another node takes longer to reach, and all cores share the nodes of the tree",
    );
    let nodes = facts.files_between("/sys/devices/system/node/node", "/cpulist");
    if nodes.is_empty() {
        return check.missing("/sys/devices/system/node");
    }
    let Some(cpus) = facts.server_cpus() else { return check.missing("/proc/PID/status") };
    let nodes: Vec<BTreeSet<usize>> = nodes.into_iter().filter_map(|(_, list)| cpu_list(list)).collect();
    let nodes: Vec<_> = nodes.into_iter().filter(|of_node| !of_node.is_empty()).collect();
    let used = nodes.iter().filter(|of_node| !of_node.is_disjoint(&cpus)).count();
    let found = format!("the server's cores are on {used} of {} node(s)", nodes.len());
    if used <= 1 {
        return check.ok(found);
    }
    check.advice(found, [format!("# in zoo.cfg, if one node's suffice: ringkeeper.pin={}", advised(facts))])
}

/// CPUs to give to the server: those of its first node, without some for the rest of the system.
fn advised(facts: &Facts) -> String {
    let cpus = facts.server_cpus().unwrap_or_default();
    let nodes = facts.files_between("/sys/devices/system/node/node", "/cpulist");
    let mut nodes = nodes.into_iter().filter_map(|(_, list)| cpu_list(list));
    let node = nodes.find(|of_node| !of_node.is_disjoint(&cpus));
    let online = facts.online_cpus().unwrap_or_default();
    let own = match node {
        Some(node) => without_housekeeping(&online).intersection(&node).copied().collect(),
        None => without_housekeeping(&online),
    };
    list_text(if own.is_empty() { &cpus } else { &own })
}

pub fn quota(facts: &Facts) -> Finding {
    let check = Check::new(
        "CPU quota",
        "a control group that has used up its quota stands still for the rest of its period (100 ms), all cores at once; \
         by itself the server has no more cores than the quota allows",
    );
    if facts.file("process/cgroup").is_none() {
        return check.missing("/proc/PID/cgroup");
    }
    let Some(quota) = facts.cpu_quota() else { return check.ok("none") };
    let cores = facts.layout().map_or(1, |layout| layout.cores());
    let throttled: u64 = facts
        .files_between("/sys/fs/cgroup", "/cpu.stat")
        .iter()
        .filter_map(|(_, text)| {
            text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?.parse().ok()
        })
        .max()
        .unwrap_or(0);
    let found = format!("{quota:.2} CPUs for {cores} core(s); throttled {throttled} time(s) so far");
    let way_out = match facts.is_container() {
        true => {
            "# for the container: CPUs of its own (docker run --cpuset-cpus) in place of a quota (--cpus)"
        }
        false => "# in the service unit: AllowedCPUs= in place of CPUQuota=",
    };
    if quota >= cores as f64 {
        return if throttled > 0 { check.advice(found, [way_out]) } else { check.ok(found) };
    }
    if cores <= CORES_LEAST {
        return check.advice(found, [way_out]);
    }
    // On more than three CPUs the member has a core of its own.
    let shards = (quota as usize).saturating_sub(1).max(1);
    let change = [
        way_out.to_string(),
        format!("# or in zoo.cfg: ringkeeper.pin=false and ringkeeper.shards={shards}"),
    ];
    check.problem(found, change)
}

/// The member's and a shard's; there are never fewer where there are many CPUs.
const CORES_LEAST: usize = 2;

pub fn governor(facts: &Facts) -> Finding {
    let check = Check::new(
        "CPU governor",
        "a CPU that has slowed down needs time to get fast again, and a server that waits for requests slows down",
    );
    let all = facts.files_between("/sys/devices/system/cpu/cpu", "/cpufreq/scaling_governor");
    if all.is_empty() {
        return check
            .unknown("the frequency is not for this system to choose (a virtual machine's host does)");
    }
    let Some(cpus) = facts.server_cpus() else { return check.missing("/proc/PID/status") };
    let of_server = all.iter().filter(|(cpu, _)| cpu.parse().is_ok_and(|cpu| cpus.contains(&cpu)));
    let governors: BTreeSet<&str> = of_server.map(|(_, governor)| *governor).collect();
    let found = governors.iter().copied().collect::<Vec<_>>().join(", ");
    if governors.is_empty() {
        return check.unknown("not to be read for the server's CPUs");
    }
    if governors.iter().all(|governor| *governor == "performance") {
        return check.ok(found);
    }
    let change = "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    check.advice(found, [change])
}

pub fn isolation(facts: &Facts) -> Finding {
    let check = Check::new(
        "isolated CPUs",
        "on CPUs that the scheduler gives to nobody else and that have no timer tick, no request waits behind another \
         program",
    );
    let file = "/sys/devices/system/cpu/isolated";
    let (Some(isolated), Some(online), Some(cpus)) =
        (facts.file(file).and_then(cpu_list), facts.online_cpus(), facts.server_cpus())
    else {
        return check.missing(file);
    };
    if online.len() < ISOLATION_CPUS_MIN {
        return check.ok(format!("none, and {} CPU(s) are too few for that", online.len()));
    }
    let tickless = facts.file("/sys/devices/system/cpu/nohz_full").and_then(cpu_list).unwrap_or_default();
    let found = match isolated.is_empty() {
        true => "none".to_string(),
        false => format!("{}; without a tick: {}", list_text(&isolated), none_or(&tickless)),
    };
    if !isolated.is_empty() && !cpus.is_subset(&isolated) {
        let change = format!("# in zoo.cfg: ringkeeper.pin={}", list_text(&isolated));
        return check.advice(format!("{found}; the server's are {}", list_text(&cpus)), [change]);
    }
    if !isolated.is_empty() && cpus.is_subset(&tickless) {
        return check.ok(found);
    }
    let own = if isolated.is_empty() { advised(facts) } else { list_text(&cpus) };
    let change = [
        format!(
            "# on the kernel's command line: isolcpus=managed_irq,domain,{own} nohz_full={own} rcu_nocbs={own}"
        ),
        format!("# in zoo.cfg: ringkeeper.pin={own}"),
    ];
    check.advice(found, change)
}

/// With fewer CPUs there is none to spare for the rest of the system.
const ISOLATION_CPUS_MIN: usize = 4;

/// All but one CPU in sixteen, the first ones, which are left to the system, the network card and the disk.
fn without_housekeeping(online: &BTreeSet<usize>) -> BTreeSet<usize> {
    online.iter().copied().skip(online.len().div_ceil(16)).collect()
}

fn none_or(cpus: &BTreeSet<usize>) -> String {
    if cpus.is_empty() { "none".into() } else { list_text(cpus) }
}

pub fn interrupts(facts: &Facts) -> Finding {
    let check = Check::new(
        "interrupts",
        "a network card's interrupts stop what runs on their CPU; on the server's CPUs they delay the requests of one core \
         for the packets of all",
    );
    let (Some(cpus), Some(spare)) = (facts.server_cpus(), facts.spare_cpus()) else {
        return check.missing("/proc/PID/status or /sys/devices/system/cpu/online");
    };
    let numbers: Vec<&str> = facts.cards().into_iter().flat_map(|card| facts.interrupts_of(card)).collect();
    let on_ours: Vec<&str> = numbers
        .iter()
        .copied()
        .filter(|number| facts.affinity(number).is_some_and(|own| !own.is_disjoint(&cpus)))
        .collect();
    if numbers.is_empty() || numbers.iter().all(|number| facts.affinity(number).is_none()) {
        return check.unknown("no network card's interrupts are to be seen here");
    }
    let found = format!(
        "{} of the network cards' {} interrupts are on the server's CPUs",
        on_ours.len(),
        numbers.len()
    );
    if on_ours.is_empty() {
        return check.ok(found);
    }
    if spare.is_empty() {
        let all = cpus.len();
        if all <= ISOLATION_CPUS_MIN {
            return check.ok(format!("{found}; {all} CPU(s) are too few to set one apart"));
        }
        let own = advised(facts);
        return check.advice(
            format!("{found}: it takes all {all}"),
            [
                format!("# in zoo.cfg, so that some are left: ringkeeper.pin={own}"),
                "# then look again".into(),
            ],
        );
    }
    check.advice(
        found,
        [
            "systemctl disable --now irqbalance  # if it runs; it would move them back".to_string(),
            format!(
                "for irq in {}; do echo {} > /proc/irq/$irq/smp_affinity_list; done",
                on_ours.join(" "),
                list_text(&spare)
            ),
        ],
    )
}
