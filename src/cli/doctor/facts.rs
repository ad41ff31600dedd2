//! What was found on a machine, before anybody judges it: texts of files by their names, and the few things that have to
//! be tried. Can be written as JSON on one machine and judged on another, and is what the tests have recorded.
//!
//! Everything here is a pure function of those texts. `None` always means "not to be read here".

use crate::server::layout::{self, Layout, Machine, Pinning};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Everything the checks look at.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Facts {
    pub settings: Settings,
    /// The server that runs on this configuration. `process/...` in `files` is about it, else about the doctor itself.
    pub server: Option<u32>,
    pub io_uring: IoUring,
    /// The log's first.
    pub folders: Vec<Folder>,
    /// By name, without white space around them.
    pub files: BTreeMap<String, String>,
}

/// What the checks need of the configuration.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Settings {
    /// `ringkeeper.io`: auto, io_uring or epoll.
    pub io: String,
    /// `ringkeeper.shards`, if it is a number.
    pub shards: Option<u16>,
    /// `ringkeeper.pin` is not false.
    pub pin: bool,
    /// `ringkeeper.pin`, if it names CPUs.
    pub cpus: Option<Vec<usize>>,
    /// Connections that may wait to be accepted.
    pub backlog: u64,
    /// `forceSync`.
    pub force_sync: bool,
}

/// What came of trying it.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct IoUring {
    pub is_usable: bool,
    /// Goes on from "io_uring is"; empty if it is usable.
    pub refusal: String,
}

/// `dataDir` or `dataLogDir`.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Folder {
    /// What it is called in zoo.cfg.
    pub setting: String,
    pub path: PathBuf,
    /// Itself without links, or what exists above it.
    pub nearest: PathBuf,
    pub is_there: bool,
    /// Files can be made in `nearest`.
    pub is_writable: bool,
    /// As named in /sys/block.
    pub disks: Vec<String>,
    /// Only of the log's folder, and only if it is there.
    pub probe: Option<Probe>,
}

/// Durable writes of 4 KiB.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Probe {
    pub direct: bool,
    pub durability: String,
    pub write_us: u64,
    /// Empty if it went well.
    pub error: String,
}

/// A line of mountinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mount {
    /// major:minor.
    pub number: String,
    pub point: PathBuf,
    pub kind: String,
    pub source: String,
    /// Of the mount and of its file system.
    pub options: BTreeSet<String>,
}

impl Facts {
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.file(name)?.parse().ok()
    }

    /// The files whose names begin and end so, with what stands between.
    pub fn files_between(&self, before: &str, after: &str) -> Vec<(&str, &str)> {
        let all = self.files.range(before.to_string()..);
        let all = all.map_while(|(name, text)| Some((name.strip_prefix(before)?, text.as_str())));
        all.filter_map(|(name, text)| Some((name.strip_suffix(after)?, text))).collect()
    }

    /// The value behind a key in files like /proc/meminfo and /proc/PID/status.
    pub fn field(&self, file: &str, key: &str) -> Option<&str> {
        let mut lines = self.file(file)?.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim))
    }

    /// The same, where the value is in kB.
    pub fn field_kib(&self, file: &str, key: &str) -> Option<u64> {
        self.field(file, key)?.split_whitespace().next()?.parse().ok()
    }

    /// Soft and hard limit of the server's process; unlimited is `u64::MAX`.
    pub fn limits(&self, name: &str) -> Option<(u64, u64)> {
        let mut lines = self.file("process/limits")?.lines();
        let mut values = lines.find_map(|line| line.strip_prefix(name))?.split_whitespace();
        let mut next = || match values.next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        };
        Some((next()?, next()?))
    }

    /// Major and minor version.
    pub fn kernel(&self) -> Option<(u32, u32)> {
        let release = self.file("/proc/sys/kernel/osrelease")?;
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    pub fn is_virtual(&self) -> bool {
        let flags = self.file("/proc/cpuinfo").unwrap_or_default();
        flags.split_whitespace().any(|flag| flag == "hypervisor")
    }

    pub fn is_container(&self) -> bool {
        self.file("/.dockerenv").is_some()
            || self.file("/run/.containerenv").is_some()
            || self.mount_of(Path::new("/")).is_some_and(|mount| mount.kind == "overlay")
    }

    pub fn online_cpus(&self) -> Option<BTreeSet<usize>> {
        cpu_list(self.file("/sys/devices/system/cpu/online")?)
    }

    /// CPUs the server may run on.
    pub fn allowed_cpus(&self) -> Option<BTreeSet<usize>> {
        cpu_list(self.field("process/status", "Cpus_allowed_list")?)
    }

    /// Which core the server puts where, as at its start.
    pub fn layout(&self) -> Option<Layout> {
        let cpus = match &self.settings.cpus {
            Some(cpus) => cpus.clone(),
            None => self.allowed_cpus()?.into_iter().collect(),
        };
        let pinning = match (self.settings.pin, &self.settings.cpus) {
            (false, _) => Pinning::Off,
            (true, None) => Pinning::Auto,
            (true, Some(_)) => Pinning::Named,
        };
        let interrupts = self.interrupt_cpus().into_iter().collect();
        let machine = Machine { cpus, quota: self.cpu_quota(), interrupts };
        Some(layout::choose(self.settings.shards, &machine, pinning))
    }

    /// The CPUs that the server's cores run on.
    pub fn server_cpus(&self) -> Option<BTreeSet<usize>> {
        let layout = self.layout()?;
        let pinned: BTreeSet<usize> = (0..layout.cores()).filter_map(|core| layout.cpu_of(core)).collect();
        if pinned.is_empty() { self.allowed_cpus() } else { Some(pinned) }
    }

    /// The CPUs that the server leaves to others.
    pub fn spare_cpus(&self) -> Option<BTreeSet<usize>> {
        Some(self.online_cpus()?.difference(&self.server_cpus()?).copied().collect())
    }

    /// Network cards that are up; neither loopback nor what is made of software.
    pub fn cards(&self) -> Vec<&str> {
        let cards = self.files_between("/sys/class/net/", "/device/uevent").into_iter();
        let is_up = |card: &&str| self.file(&format!("/sys/class/net/{card}/operstate")) == Some("up");
        cards.map(|(card, _)| card).filter(is_up).collect()
    }

    /// The mount that a folder is on: the innermost, and of several on one point the last.
    pub fn mount_of(&self, folder: &Path) -> Option<Mount> {
        let mounts = self.file("/proc/self/mountinfo")?.lines().filter_map(mount);
        let mounts = mounts.filter(|mount| folder.starts_with(&mount.point));
        mounts.max_by_key(|mount| mount.point.components().count())
    }
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let before: Vec<&str> = before.split(' ').collect();
    let mut after = after.split(' ');
    let (kind, source) = (after.next()?.to_string(), unescape(after.next()?));
    let options = before.get(5)?.split(',').chain(after.next().unwrap_or_default().split(','));
    Some(Mount {
        number: before.get(2)?.to_string(),
        point: unescape(before.get(4)?).into(),
        kind,
        source,
        options: options.map(String::from).collect(),
    })
}

/// The kernel writes white space and backslashes in names as \ooo.
fn unescape(text: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

/// CPUs written like 0-3,8.
pub(super) fn cpu_list(text: &str) -> Option<BTreeSet<usize>> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// More than any Linux can have.
const CPUS_MAX: usize = 8192;

/// The other way round.
pub(super) fn list_text(cpus: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let texts = ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// CPUs as the mask that files like rps_cpus take: groups of 32 bits in hexadecimal, the highest first.
pub(super) fn mask_text(cpus: &BTreeSet<usize>) -> String {
    let mut groups = vec![0u32; cpus.last().map_or(1, |last| last / 32 + 1)];
    cpus.iter().for_each(|cpu| groups[cpu / 32] |= 1 << (cpu % 32));
    let texts: Vec<String> = groups.iter().rev().map(|group| format!("{group:08x}")).collect();
    texts.join(",")
}

/// True for a mask without any CPU.
pub(super) fn is_empty_mask(text: &str) -> bool {
    text.chars().all(|c| c == '0' || c == ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_masks_of_cpus() {
        let cpus = cpu_list("0-2,5, 40").expect("good");
        assert_eq!(cpus.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 5, 40]);
        assert_eq!(list_text(&cpus), "0-2,5,40");
        assert_eq!(mask_text(&cpus), "00000100,00000027");
        assert_eq!(cpu_list(""), Some(BTreeSet::new()));
        assert_eq!((cpu_list("(null)"), cpu_list("0-99999999999")), (None, None));
        assert!(is_empty_mask("00,00000000") && !is_empty_mask("10"));
    }

    #[test]
    fn a_line_of_mountinfo() {
        let line = "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue";
        let mount = mount(line).expect("good");
        assert_eq!((mount.number.as_str(), mount.point.to_str()), ("98:0", Some("/mnt/a b")));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext4", "/dev/sda1"));
        assert!(mount.options.contains("noatime") && mount.options.contains("errors=continue"));
    }
}
