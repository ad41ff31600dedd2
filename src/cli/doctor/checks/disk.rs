//! The folders of the log and of the snapshots, down to their disks.

use crate::cli::doctor::facts::{Facts, Folder, Mount};
use crate::cli::doctor::finding::{Check, Finding, Status};

pub fn all(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for folder in &facts.folders {
        findings.push(place(folder));
        let mount = facts.mount_of(&folder.nearest);
        // Snapshots on the log's file system: everything below is said already.
        if mount.is_some() && seen.contains(&mount) {
            continue;
        }
        let system = file_system(folder, mount.as_ref());
        let is_on_disk = system.status != Status::Problem;
        findings.push(system);
        findings.push(mount_options(folder, mount.as_ref()));
        if is_on_disk {
            findings.push(scheduler(facts, folder));
            findings.push(write_cache(facts, folder));
        }
        seen.push(mount);
    }
    if let Some(log) = facts.folders.first() {
        findings.push(durable_writes(facts, log));
    }
    findings
}

fn place(folder: &Folder) -> Finding {
    let check = Check::new(
        folder.setting.clone(),
        "the log is in dataLogDir and snapshots are in dataDir; the server makes what is missing, if it may",
    );
    let (path, nearest) = (folder.path.display(), folder.nearest.display());
    match (folder.is_there, folder.is_writable) {
        (true, true) => check.ok(path.to_string()),
        (true, false) => check.problem(
            format!("{path} cannot be written by the user who runs the doctor"),
            [format!("chown -R ringkeeper: {nearest}  # the user that runs the server, and the doctor")],
        ),
        (false, true) => check.ok(format!("{path} does not exist; the server will make it")),
        (false, false) => check.problem(
            format!("{path} does not exist, and {nearest} cannot be written"),
            [format!("install -d -o ringkeeper -g ringkeeper {path}  # the user that runs the server")],
        ),
    }
}

fn file_system(folder: &Folder, mount: Option<&Mount>) -> Finding {
    let check = Check::new(
        format!("file system of {}", folder.setting),
        "the log overwrites blocks in place, past the page cache, and trusts that a synced block stays",
    );
    let Some(mount) = mount else { return check.missing("/proc/self/mountinfo") };
    let Mount { kind, point, .. } = mount;
    let found = format!("{kind} on {}", point.display());
    let move_it = format!("# in zoo.cfg: {}= a folder on ext4 or xfs on a local disk", folder.setting);
    match kind.as_str() {
        "ext4" | "xfs" | "ext3" | "f2fs" => check.ok(found),
        "tmpfs" | "ramfs" => {
            check.problem(format!("{found}: nothing in it survives the machine's end"), [move_it])
        }
        "overlay" | "aufs" => {
            check.problem(format!("{found}: nothing in it survives the container; mount a volume"), [move_it])
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "glusterfs" => {
            check.problem(format!("{found}: every write waits for another machine"), [move_it])
        }
        "btrfs" => {
            let folder = folder.nearest.display();
            let change =
                [format!("chattr +C {folder}  # while it is empty: new files stay in place"), move_it];
            check.advice(format!("{found}: writes every block to a new place"), change)
        }
        "zfs" | "bcachefs" => check.advice(format!("{found}: writes every block to a new place"), [move_it]),
        kind if kind.starts_with("fuse") => {
            check.advice(format!("{found}: a program between the server and the disk"), [move_it])
        }
        _ => check.unknown(format!("{found}: not known to this program")),
    }
}

fn mount_options(folder: &Folder, mount: Option<&Mount>) -> Finding {
    let check = Check::new(
        format!("mount options of {}", folder.setting),
        "some make an acknowledged write lose its promise, some make every write dearer",
    );
    let Some(mount) = mount else { return check.missing("/proc/self/mountinfo") };
    let point = mount.point.display();
    let has = |option: &str| mount.options.contains(option);
    let remount = |options: &str| {
        [
            format!("mount -o remount,{options} {point}"),
            "# for good: the same option in /etc/fstab".to_string(),
        ]
    };
    if has("ro") {
        return check.problem("read-only", remount("rw"));
    }
    if has("nobarrier") || has("barrier=0") {
        return check.problem("no barriers: a power failure may undo synced writes", remount("barrier"));
    }
    if has("data=journal") {
        return check.advice(
            "data=journal: every block is written twice, and O_DIRECT is not used",
            ["# in /etc/fstab: data=ordered; then mount it anew".to_string()],
        );
    }
    if has("sync") {
        return check.advice("sync: snapshots, too, wait for each block", remount("async"));
    }
    if has("strictatime") {
        return check.advice("strictatime: every read of a file is a write", remount("relatime"));
    }
    if has("discard") {
        let mut change = remount("nodiscard").to_vec();
        change.push("systemctl enable --now fstrim.timer".into());
        return check
            .advice("discard: each removed snapshot is trimmed at once, before other writes", change);
    }
    let shown = ["noatime", "relatime", "nodiscard"].into_iter().filter(|option| has(option));
    check.ok(shown.fold(String::from("rw"), |text, option| text + "," + option))
}

fn scheduler(facts: &Facts, folder: &Folder) -> Finding {
    let check = Check::new(
        format!("disk scheduler of {}", folder.setting),
        "a log has few writes in flight, in order; a scheduler that holds them back to sort or to share only adds waiting",
    );
    let found = folder.disks.iter().filter_map(|disk| {
        let text = facts.file(&format!("/sys/block/{disk}/queue/scheduler"))?;
        // Where there is no choice there are no brackets.
        Some((disk.as_str(), text.split(['[', ']']).nth(1).unwrap_or(text)))
    });
    let found: Vec<(&str, &str)> = found.collect();
    if found.is_empty() {
        return check.unknown("no disk of it is to be seen here");
    }
    let text = found.iter().map(|(disk, chosen)| format!("{disk}: {chosen}")).collect::<Vec<_>>().join(", ");
    let is_rotating = |disk: &str| facts.number(&format!("/sys/block/{disk}/queue/rotational")) == Some(1);
    let wrong = found.iter().filter(|(_, chosen)| ["bfq", "cfq", "kyber"].contains(chosen));
    let change: Vec<String> = wrong
        .map(|(disk, _)| {
            let better = if is_rotating(disk) && !facts.is_virtual() { "mq-deadline" } else { "none" };
            format!("echo {better} > /sys/block/{disk}/queue/scheduler")
        })
        .collect();
    if change.is_empty() { check.ok(text) } else { check.advice(text, change) }
}

fn write_cache(facts: &Facts, folder: &Folder) -> Finding {
    let check = Check::new(
        format!("write cache of {}", folder.setting),
        "a disk with a cache of its own that a power failure empties has to write it out for each durable write; one that \
         is protected says \"write through\" and does not",
    );
    let found = folder.disks.iter().filter_map(|disk| {
        Some((disk.as_str(), facts.file(&format!("/sys/block/{disk}/queue/write_cache"))?))
    });
    let found: Vec<(&str, &str)> = found.collect();
    if found.is_empty() {
        return check.unknown("no disk of it is to be seen here");
    }
    let text = found.iter().map(|(disk, cache)| format!("{disk}: {cache}")).collect::<Vec<_>>().join(", ");
    let write_us = facts.folders.iter().find_map(|folder| folder.probe.as_ref()).map(|probe| probe.write_us);
    let back: Vec<&str> =
        found.iter().filter(|(_, cache)| *cache == "write back").map(|(disk, _)| *disk).collect();
    if back.is_empty() || write_us.is_none_or(|write_us| write_us < SLOW_US) || folder.probe.is_none() {
        return check.ok(text);
    }
    let change = back.iter().map(|disk| {
        format!(
            "echo 'write through' > /sys/block/{disk}/queue/write_cache  # ONLY if a battery or capacitors protect it"
        )
    });
    check.advice(text, change)
}

fn durable_writes(facts: &Facts, log: &Folder) -> Finding {
    let check = Check::new(
        "durable writes",
        "each write is answered once it is on the disk, so this time is in the latency of every write",
    );
    if !facts.settings.force_sync {
        return check.problem(
            "forceSync=no: the machine's end takes acknowledged writes with it",
            ["# in zoo.cfg: remove forceSync"],
        );
    }
    let Some(probe) = &log.probe else {
        return check.unknown(format!("{} does not exist yet; nothing was written", log.path.display()));
    };
    if !probe.error.is_empty() {
        return check.problem(
            format!("cannot write to {}: {}", log.nearest.display(), probe.error),
            [format!("df -h {0}; ls -ld {0}  # full, read-only, or somebody else's?", log.nearest.display())],
        );
    }
    let way = if probe.direct { "O_DIRECT" } else { "no O_DIRECT" };
    let found = format!("{} µs for 4 KiB ({way}, {})", probe.write_us, probe.durability);
    let faster = format!("# in zoo.cfg: {}= a folder on a faster disk of its own", log.setting);
    if probe.write_us >= VERY_SLOW_US {
        check.problem(found, [faster])
    } else if probe.write_us >= SLOW_US || !probe.direct {
        check.advice(found, [faster])
    } else {
        check.ok(found)
    }
}

/// A good solid-state disk without protection takes about so long; the median of a few writes.
const SLOW_US: u64 = 2000;
/// Sessions begin to suffer when a few of these come together.
const VERY_SLOW_US: u64 = 100_000;
