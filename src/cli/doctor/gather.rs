//! From this machine to [`Facts`]: reads and tries, judges nothing.

use super::facts::{Facts, Folder, IoUring, Probe, Settings};
use crate::io::{self, IoChoice, disk, machine};
use crate::server::ServerOptions;
use crate::server::layout::Pin;
use std::collections::BTreeMap;
use std::path::Path;

/// Everything the checks read. A star stands for a part of a name.
const FILES: &[&str] = &[
    "/.dockerenv",
    "/run/.containerenv",
    "/proc/cpuinfo",
    "/proc/irq/*/effective_affinity_list",
    "/proc/irq/*/smp_affinity_list",
    "/proc/meminfo",
    "/proc/self/mountinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/io_uring_disabled",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/net/core/busy_poll",
    "/proc/sys/net/core/busy_read",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/ipv4/tcp_max_syn_backlog",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
    "/proc/sys/vm/swappiness",
    "/sys/block/*/device/../msi_irqs/*",
    "/sys/block/*/device/device/msi_irqs/*",
    "/sys/block/*/device/uevent",
    "/sys/block/*/queue/fua",
    "/sys/block/*/queue/rotational",
    "/sys/block/*/queue/scheduler",
    "/sys/block/*/queue/write_cache",
    "/sys/class/dmi/id/product_name",
    "/sys/class/dmi/id/sys_vendor",
    "/sys/class/net/*/device/../msi_irqs/*",
    "/sys/class/net/*/device/msi_irqs/*",
    "/sys/class/net/*/device/uevent",
    "/sys/class/net/*/operstate",
    "/sys/class/net/*/queues/rx-*/rps_cpus",
    "/sys/class/net/*/queues/tx-*/xps_cpus",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    "/sys/devices/system/cpu/isolated",
    "/sys/devices/system/cpu/nohz_full",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/node/node*/cpulist",
    "/sys/kernel/mm/transparent_hugepage/enabled",
];

/// Files of control groups, version 2 and 1, in the group and in all above it.
const GROUP_FILES: &[&str] = &[
    "cpu.max",
    "cpu.stat",
    "memory.max",
    "memory.current",
    "memory.events",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
];

/// Where the hierarchies are mounted.
const GROUP_ROOTS: &[&str] = &[
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/cpu",
    "/sys/fs/cgroup/cpu,cpuacct",
    "/sys/fs/cgroup/memory",
];

/// Looks at this machine; writes a small scratch file into the log's folder, if that exists, and removes it.
pub(super) fn gather(options: &ServerOptions) -> Facts {
    let root = Path::new("/");
    let mut files = BTreeMap::new();
    FILES.iter().for_each(|pattern| machine::read_matching(root, pattern, &mut files));
    let server = running_server(root, options);
    let process = server.map_or("self".into(), |pid| pid.to_string());
    for name in ["limits", "status", "cgroup"] {
        let mut found = BTreeMap::new();
        machine::read_matching(root, &format!("/proc/{process}/{name}"), &mut found);
        files.extend(found.into_values().map(|text| (format!("process/{name}"), text)));
    }
    let groups = files.get("process/cgroup").cloned().unwrap_or_default();
    group_files(&groups).iter().for_each(|name| machine::read_matching(root, name, &mut files));
    shorten(&mut files);
    let io_uring = match io::try_io_uring() {
        Ok(_) => IoUring { is_usable: true, refusal: String::new() },
        Err(refusal) => IoUring { is_usable: false, refusal },
    };
    let mut facts = Facts { settings: settings(options), server, io_uring, folders: Vec::new(), files };
    for (setting, path, is_log) in
        [("dataLogDir", &options.log_dir, true), ("dataDir", &options.data_dir, false)]
    {
        if is_log || options.log_dir != options.data_dir {
            let name = if options.log_dir == options.data_dir { "dataDir" } else { setting };
            let folder = folder(root, &facts, name, path, is_log);
            facts.folders.push(folder);
        }
    }
    facts
}

fn settings(options: &ServerOptions) -> Settings {
    let io = match options.io {
        IoChoice::Auto => "auto",
        IoChoice::IoUring => "io_uring",
        IoChoice::Epoll => "epoll",
    };
    Settings {
        io: io.into(),
        shards: options.shards,
        pin: options.pin != Pin::Off,
        cpus: match &options.pin {
            Pin::Cpus(cpus) => Some(cpus.clone()),
            Pin::Auto | Pin::Off => None,
        },
        backlog: options.backlog().max(0) as u64,
        force_sync: options.force_sync,
    }
}

/// The server that holds the log's folder: its lock file names it, and that process is one of ours.
fn running_server(root: &Path, options: &ServerOptions) -> Option<u32> {
    let pid: u32 =
        std::fs::read_to_string(options.log_dir.join("ringkeeper.lock")).ok()?.trim().parse().ok()?;
    let mut found = BTreeMap::new();
    machine::read_matching(root, &format!("/proc/{pid}/comm"), &mut found);
    found.into_values().any(|name| name == "ringkeeper").then_some(pid)
}

/// The files of a process's control groups, from its /proc/PID/cgroup. In a container the path may be the host's, so
/// the root of each hierarchy is read, too.
fn group_files(groups: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in groups.lines() {
        let path = line.splitn(3, ':').nth(2).unwrap_or("/");
        for folder in Path::new(path).ancestors() {
            let folder = folder.to_string_lossy();
            let folder = folder.trim_end_matches('/');
            names.extend(
                GROUP_ROOTS
                    .iter()
                    .flat_map(|root| GROUP_FILES.iter().map(move |name| format!("{root}{folder}/{name}"))),
            );
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Of files that grow with the machine the part that is looked at.
fn shorten(files: &mut BTreeMap<String, String>) {
    for (name, end) in [("/proc/cpuinfo", "\n\n"), ("/proc/stat", "\n")] {
        if let Some(text) = files.get_mut(name)
            && let Some(at) = text.find(end)
        {
            text.truncate(at);
        }
    }
}

fn folder(root: &Path, facts: &Facts, setting: &str, path: &Path, is_log: bool) -> Folder {
    let nearest = machine::nearest_existing(path);
    let is_there = path.is_dir();
    let mount = facts.mount_of(&nearest);
    let disks = mount.map(|mount| machine::disks_behind(root, &mount.number, &mount.source));
    // Where the server tries it, too.
    let ours = nearest.join("ringkeeper");
    let target = if ours.is_dir() { &ours } else { &nearest };
    Folder {
        setting: setting.into(),
        path: path.into(),
        is_writable: machine::is_writable(target),
        disks: disks.unwrap_or_default(),
        probe: (is_log && is_there).then(|| probe(target)),
        nearest,
        is_there,
    }
}

fn probe(folder: &Path) -> Probe {
    match disk::probe_with(folder, "doctor.tmp") {
        Ok(probe) => Probe {
            direct: probe.direct,
            durability: format!("{:?}", probe.durability).to_lowercase(),
            write_us: probe.write_us,
            error: String::new(),
        },
        Err(error) => {
            Probe { direct: false, durability: String::new(), write_us: 0, error: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_are_read_up_to_their_root() {
        let names = group_files("0::/system.slice/ringkeeper.service");
        for name in [
            "/sys/fs/cgroup/system.slice/ringkeeper.service/cpu.max",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(group_files("").is_empty());
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data_dir, log_dir) = (folder.path().into(), folder.path().into());
        let facts = gather(&ServerOptions { data_dir, log_dir, ..ServerOptions::default() });
        assert!(facts.kernel().is_some() && facts.allowed_cpus().is_some_and(|cpus| !cpus.is_empty()));
        assert_eq!((facts.folders.len(), facts.folders[0].setting.as_str()), (1, "dataDir"));
        let probe = facts.folders[0].probe.as_ref().expect("the folder is there");
        assert!(probe.error.is_empty(), "{}", probe.error);
        assert_eq!(machine::names_in(folder.path()), [""; 0], "nothing is left behind");
        assert!(facts.mount_of(&facts.folders[0].nearest).is_some());
    }
}
