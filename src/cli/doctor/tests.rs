//! The checks over three recorded machines (`tests/machines`): one set up by the book, one that nobody cared for, a
//! container in which most files are missing. What else there is, is made of these by changing one thing.

use super::checks;
use super::facts::Facts;
use super::finding::{Finding, Status};
use super::report;
use std::collections::BTreeMap;

fn machine(text: &str) -> Facts {
    serde_json::from_str(text).expect("recorded facts")
}

fn metal() -> Facts {
    machine(include_str!("../../../tests/machines/metal.json"))
}

fn neglected() -> Facts {
    machine(include_str!("../../../tests/machines/neglected.json"))
}

fn container() -> Facts {
    machine(include_str!("../../../tests/machines/container.json"))
}

fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("there is no {check}"))
}

/// The checks of each status, in the order of the report.
fn by_status(findings: &[Finding]) -> BTreeMap<Status, Vec<&str>> {
    let mut all: BTreeMap<Status, Vec<&str>> = BTreeMap::new();
    findings.iter().for_each(|finding| all.entry(finding.status).or_default().push(&finding.check));
    all
}

#[test]
fn a_machine_set_up_by_the_book_needs_nothing() {
    let findings = checks::all(&metal());
    let not_ok: Vec<_> = findings.iter().filter(|finding| finding.status != Status::Ok).collect();
    assert!(not_ok.is_empty(), "{not_ok:?}");
    assert_eq!(of(&findings, "server's cores").found, "13 shard(s) on 14 core(s), pinned to CPUs 2-15");
    assert_eq!(of(&findings, "disk scheduler of dataLogDir").found, "nvme1n1: none");
    assert_eq!(of(&findings, "disk scheduler of dataDir").found, "nvme0n1: none");
    assert_eq!(of(&findings, "durable writes").found, "24 µs for 4 KiB (O_DIRECT, dsync)");
}

#[test]
fn a_machine_that_nobody_cared_for_needs_everything() {
    let findings = checks::all(&neglected());
    let found = by_status(&findings);
    assert_eq!(found[&Status::Ok], ["server's cores", "dataDir", "file system of dataDir"]);
    assert_eq!(found[&Status::Problem], ["open files", "swap", "mount options of dataDir", "durable writes"]);
    assert_eq!(found.get(&Status::Unknown), None);
    let change = |check: &str| of(&findings, check).change.join("\n");
    assert_eq!(
        change("RPS and XPS").lines().next(),
        Some("echo 000000ff > /sys/class/net/ens3/queues/rx-0/rps_cpus")
    );
    assert!(change("RPS and XPS").contains("echo 000000aa > /sys/class/net/ens3/queues/tx-1/xps_cpus"));
    assert!(change("NUMA").contains("ringkeeper.pin=1-3"), "of one node, without the system's CPU");
    assert!(change("isolated CPUs").contains("nohz_full=1-3 "));
    assert!(change("interrupts").contains("ringkeeper.pin=1-3"));
    assert!(change("open files").starts_with("prlimit --pid 4711 --nofile="));
    assert_eq!(change("disk scheduler of dataDir"), "echo none > /sys/block/sdb/queue/scheduler");
    assert!(of(&findings, "CPU quota").found.starts_with("2.00 CPUs for 1 core(s); throttled 70"));
    assert_eq!(of(&findings, "CPU quota").status, Status::Advice);
    assert!(of(&findings, "virtualization").found.contains("(QEMU); the host took 6.7 %"));
}

#[test]
fn in_a_container_most_cannot_be_told_and_nothing_is_guessed() {
    let findings = checks::all(&container());
    let found = by_status(&findings);
    assert_eq!(found[&Status::Problem], ["file system of dataDir"]);
    assert_eq!(found[&Status::Advice], ["io_uring", "CPU quota"]);
    for check in
        ["clock source", "NUMA", "CPU governor", "isolated CPUs", "interrupts", "busy polling", "swappiness"]
    {
        assert!(found[&Status::Unknown].contains(&check), "{check}");
    }
    let quota = of(&findings, "CPU quota");
    assert!(quota.change[0].contains("--cpuset-cpus"), "{quota:?}");
    assert!(of(&findings, "io_uring").change[0].contains("seccomp"));
    assert_eq!(of(&findings, "memory limit").found, "100 of 4096 MiB in use");
}

#[test]
fn without_any_file_every_check_still_answers() {
    for mut facts in [metal(), neglected(), container()] {
        facts.files.clear();
        let findings = checks::all(&facts);
        let problems: Vec<_> = findings.iter().filter(|finding| finding.status == Status::Problem).collect();
        let allowed = ["durable writes"];
        assert!(problems.iter().all(|finding| allowed.contains(&finding.check.as_str())), "{problems:?}");
        assert!(by_status(&findings)[&Status::Unknown].len() >= 18);
    }
}

/// What follows the advice no longer gets it.
#[test]
fn a_quota_with_as_many_shards_as_advised_is_no_problem() {
    let mut facts = container();
    (facts.settings.pin, facts.settings.shards) = (false, Some(1));
    let findings = checks::all(&facts);
    assert_ne!(of(&findings, "CPU quota").status, Status::Problem);
    assert_eq!(of(&findings, "server's cores").status, Status::Ok);
}

/// One thing changed on the machine that is in order: check, expected status, part of the command.
#[test]
fn each_thing_out_of_order_is_seen_by_its_check() {
    let file = |name: &'static str, text: &'static str| {
        move |facts: &mut Facts| {
            assert!(facts.files.insert(name.into(), text.into()).is_some(), "{name}: no such fact");
        }
    };
    type Case<'a> = (&'a str, Status, &'a str, Box<dyn Fn(&mut Facts)>);
    let cases: Vec<Case> = vec![
        ("kernel", Status::Problem, "6.1", Box::new(file("/proc/sys/kernel/osrelease", "4.4.0-210-generic"))),
        ("kernel", Status::Advice, "6.1", Box::new(file("/proc/sys/kernel/osrelease", "6.0.19"))),
        ("kernel", Status::Unknown, "", Box::new(file("/proc/sys/kernel/osrelease", "unknown"))),
        (
            "io_uring",
            Status::Problem,
            "sysctl -w kernel.io_uring_disabled=0",
            Box::new(move |facts| {
                file("/proc/sys/kernel/io_uring_disabled", "2")(facts);
                facts.io_uring.is_usable = false;
                facts.settings.io = "io_uring".into();
            }),
        ),
        (
            "clock source",
            Status::Advice,
            "echo tsc > /sys/",
            Box::new(file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")),
        ),
        (
            "server's cores",
            Status::Problem,
            "ringkeeper.pin=0-15",
            Box::new(|facts| facts.settings.cpus = Some(vec![14, 15, 16])),
        ),
        (
            "server's cores",
            Status::Advice,
            "ringkeeper.shards=13",
            Box::new(|facts| facts.settings.shards = Some(20)),
        ),
        (
            "CPU quota",
            Status::Problem,
            "ringkeeper.shards=3",
            Box::new(move |facts| {
                file("/sys/fs/cgroup/system.slice/ringkeeper.service/cpu.max", "400000 100000")(facts);
                facts.settings.shards = Some(13);
            }),
        ),
        (
            "CPU governor",
            Status::Advice,
            "scaling_governor",
            Box::new(file("/sys/devices/system/cpu/cpu5/cpufreq/scaling_governor", "powersave")),
        ),
        (
            "isolated CPUs",
            Status::Advice,
            "ringkeeper.pin=8-15",
            Box::new(file("/sys/devices/system/cpu/isolated", "8-15")),
        ),
        (
            "isolated CPUs",
            Status::Advice,
            "nohz_full=2-15",
            Box::new(file("/sys/devices/system/cpu/nohz_full", "(null)")),
        ),
        (
            "interrupts",
            Status::Advice,
            "for irq in 102; do echo 0-1 > ",
            Box::new(file("/proc/irq/102/effective_affinity_list", "7")),
        ),
        (
            "busy polling",
            Status::Advice,
            "net.core.busy_poll=0",
            Box::new(file("/proc/sys/net/core/busy_poll", "50")),
        ),
        (
            "busy polling",
            Status::Ok,
            "",
            Box::new(move |facts| {
                file("/proc/sys/net/core/busy_poll", "50")(facts);
                facts.settings.io = "epoll".into();
            }),
        ),
        (
            "busy polling",
            Status::Advice,
            "net.core.busy_read=0",
            Box::new(file("/proc/sys/net/core/busy_read", "50")),
        ),
        (
            "accept queue",
            Status::Advice,
            "net.core.somaxconn=4096",
            Box::new(file("/proc/sys/net/core/somaxconn", "128")),
        ),
        (
            "swap",
            Status::Advice,
            "swapoff",
            Box::new(file("/proc/meminfo", "SwapTotal:  2048 kB\nSwapFree:  1024 kB")),
        ),
        (
            "huge pages",
            Status::Advice,
            "madvise",
            Box::new(move |facts| {
                file("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")(facts);
                file("process/status", "THP_enabled:\t1\nCpus_allowed_list:\t0-15")(facts);
            }),
        ),
        (
            "memory limit",
            Status::Problem,
            "MemoryMax",
            Box::new(move |facts| {
                file("/sys/fs/cgroup/system.slice/ringkeeper.service/memory.max", "1073741824")(facts);
                file("/sys/fs/cgroup/system.slice/ringkeeper.service/memory.events", "oom 2\noom_kill 1")(
                    facts,
                );
            }),
        ),
        ("dataLogDir", Status::Problem, "chown", Box::new(|facts| facts.folders[0].is_writable = false)),
        (
            "durable writes",
            Status::Problem,
            "df -h",
            Box::new(|facts| probe(facts, |probe| probe.error = "No space left on device".into())),
        ),
        (
            "durable writes",
            Status::Problem,
            "dataLogDir=",
            Box::new(|facts| probe(facts, |probe| probe.write_us = 150_000)),
        ),
        (
            "durable writes",
            Status::Advice,
            "dataLogDir=",
            Box::new(|facts| probe(facts, |probe| probe.direct = false)),
        ),
    ];
    for (check, status, command, change) in cases {
        let mut facts = metal();
        change(&mut facts);
        let findings = checks::all(&facts);
        let finding = of(&findings, check);
        assert_eq!(finding.status, status, "{finding:?}");
        assert!(finding.change.join("\n").contains(command), "{finding:?}");
    }
}

fn probe(facts: &mut Facts, change: impl Fn(&mut super::facts::Probe)) {
    change(facts.folders[0].probe.as_mut().expect("the log's folder was tried"));
}

#[test]
fn file_systems_and_mount_options() {
    let cases = [
        ("tmpfs tmpfs rw", "file system of dataLogDir", Status::Problem),
        ("nfs4 server:/x rw", "file system of dataLogDir", Status::Problem),
        ("btrfs /dev/sdc rw", "file system of dataLogDir", Status::Advice),
        ("fuse.sshfs host: rw", "file system of dataLogDir", Status::Advice),
        ("strange /dev/sdc rw", "file system of dataLogDir", Status::Unknown),
        ("xfs /dev/sdc ro", "mount options of dataLogDir", Status::Problem),
        ("ext4 /dev/sdc rw,data=journal", "mount options of dataLogDir", Status::Advice),
        ("ext4 /dev/sdc rw,discard", "mount options of dataLogDir", Status::Advice),
        ("ext4 /dev/sdc rw,sync", "mount options of dataLogDir", Status::Advice),
        ("ext4 /dev/sdc rw,barrier=0", "mount options of dataLogDir", Status::Problem),
    ];
    for (mounted, check, status) in cases {
        let mut facts = metal();
        let line = format!("\n99 22 8:32 / /var/lib/ringkeeper/log rw - {mounted}");
        let mounts = facts.files.get_mut("/proc/self/mountinfo").expect("recorded");
        mounts.push_str(&line);
        let findings = checks::all(&facts);
        assert_eq!(of(&findings, check).status, status, "{mounted}: {:?}", of(&findings, check));
    }
}

#[test]
fn what_is_not_in_order_always_says_why_and_what_to_do() {
    for facts in [metal(), neglected(), container()] {
        for finding in checks::all(&facts) {
            assert!(!finding.why.is_empty() && !finding.found.is_empty(), "{finding:?}");
            assert_eq!(finding.status.is_due(), !finding.change.is_empty(), "{finding:?}");
        }
    }
}

#[test]
fn a_report_shows_each_check_once_and_counts_them() {
    let facts = neglected();
    let findings = checks::all(&facts);
    let text = report::text(&facts, &findings, false);
    for finding in &findings {
        let line = format!("{:<12}{}", finding.status.name(), finding.check);
        assert_eq!(text.lines().filter(|shown| shown.starts_with(&format!("{line} "))).count(), 1, "{line}");
    }
    assert!(text.contains("process 4711") && text.contains("4 problem"), "{text}");
    assert!(!report::text(&metal(), &checks::all(&metal()), false).contains(" > "), "nothing to change");
    let json = report::json(&facts, &findings);
    assert_eq!((&json["counts"]["problem"], &json["server_pid"]), (&4.into(), &4711.into()));
    assert_eq!(json["checks"].as_array().map(Vec::len), Some(findings.len()));
}

/// The kernel settings that the files in tuning/ make are those that the doctor asks for, and a machine that has them
/// passes.
#[test]
fn the_sysctl_file_is_what_the_doctor_asks_for() {
    let text = include_str!("../../../tuning/90-ringkeeper.conf");
    let mut facts = neglected();
    facts.settings.io = "epoll".into();
    let before = facts.files.len();
    let mut count = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once('=').expect("name = value");
        let file = format!("/proc/sys/{}", name.trim().replace('.', "/"));
        facts.files.insert(file, value.trim().into());
        count += 1;
    }
    assert_eq!(facts.files.len(), before, "each of them is read by the doctor");
    assert!(count >= 5);
    let findings = checks::all(&facts);
    for check in ["io_uring", "accept queue", "SYN queue", "TCP after idling", "swappiness"] {
        assert_eq!(of(&findings, check).status, Status::Ok, "{:?}", of(&findings, check));
    }
}

#[test]
fn the_unit_sets_what_the_doctor_asks_for() {
    let unit = include_str!("../../../tuning/ringkeeper.service");
    let set = |name: &str| {
        unit.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let limits = format!(
        "Limit Soft Hard Units\nMax open files {0} {0} files\nMax locked memory unlimited unlimited bytes",
        set("LimitNOFILE")
    );
    assert_eq!((set("LimitMEMLOCK"), set("MemorySwapMax")), ("infinity", "0"));
    let mut facts = neglected();
    facts.files.insert("process/limits".into(), limits);
    let findings = checks::all(&facts);
    for check in ["open files", "locked memory"] {
        assert_eq!(of(&findings, check).status, Status::Ok, "{:?}", of(&findings, check));
    }
    let asked = checks::all(&neglected());
    let asked = of(&asked, "open files").change.join("\n");
    assert!(asked.contains(&format!("LimitNOFILE={}", set("LimitNOFILE"))), "{asked}");
}

#[test]
fn every_check_has_its_place_in_the_guide() {
    let guide = include_str!("../../../tuning/README.md");
    for facts in [metal(), neglected()] {
        for finding in checks::all(&facts) {
            let name = finding.check.split_inclusive(" of ").next().expect("a name").trim_end();
            assert!(guide.contains(&format!("`{name}`")), "tuning/README.md has no `{name}`");
        }
    }
}
