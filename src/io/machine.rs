//! What the system says about itself, as text: files of /proc and /sys by pattern, the disks a folder is on, whether a
//! folder can be written. Only reads; judges nothing. What is missing or cannot be read is simply not in the result: that
//! is how containers and old kernels look.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Reads every file that matches a pattern below `root` ("/" but in tests), by its name without the root. A `*` stands
/// for any part of one name. Bounded, because some of these folders grow with the machine.
pub fn read_matching(root: &Path, pattern: &str, into: &mut BTreeMap<String, String>) {
    let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
    descend(root, String::new(), &names, into);
}

fn descend(root: &Path, at: String, names: &[&str], into: &mut BTreeMap<String, String>) {
    if into.len() >= FILES_MAX {
        return;
    }
    let Some((name, rest)) = names.split_first() else {
        let path = root.join(at.trim_start_matches('/'));
        let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if let Ok(text) = text.map(|text| text.trim().to_string())
            && text.len() <= FILE_BYTES_MAX
        {
            into.insert(at, text);
        }
        return;
    };
    let Some((before, after)) = name.split_once('*') else {
        return descend(root, format!("{at}/{name}"), rest, into);
    };
    for entry in names_in(&root.join(at.trim_start_matches('/'))) {
        if entry.len() >= before.len() + after.len() && entry.starts_with(before) && entry.ends_with(after) {
            descend(root, format!("{at}/{entry}"), rest, into);
        }
    }
}

const FILES_MAX: usize = 20_000;
const FILE_BYTES_MAX: usize = 1 << 20;

/// The names in a folder, sorted; none if it cannot be read.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The whole disks behind a mounted device, as named in /sys/block: of a partition its disk, of a volume (device mapper,
/// software RAID) the disks below it. `number` is major:minor as in mountinfo, `source` the device's file there, for
/// file systems whose number is no device's. None for what is on no disk.
pub fn disks_behind(root: &Path, number: &str, source: &str) -> Vec<String> {
    let by_number = fs::canonicalize(root.join("sys/dev/block").join(number));
    let by_source = || {
        let device = fs::canonicalize(root.join(source.trim_start_matches('/'))).ok()?;
        fs::canonicalize(root.join("sys/class/block").join(device.file_name()?)).ok()
    };
    let Some(device) = by_number.ok().or_else(by_source) else { return Vec::new() };
    let mut disks = Vec::new();
    collect_disks(&device, 0, &mut disks);
    disks.sort();
    disks.dedup();
    disks
}

fn collect_disks(device: &Path, depth: usize, disks: &mut Vec<String>) {
    let is_partition = device.join("partition").exists();
    let disk = if is_partition { device.parent().unwrap_or(device) } else { device };
    let below = names_in(&disk.join("slaves"));
    if below.is_empty() || depth == VOLUME_DEPTH_MAX {
        disks.extend(disk.file_name().map(|name| name.to_string_lossy().into_owned()));
        return;
    }
    for name in below {
        if let Ok(device) = fs::canonicalize(disk.join("slaves").join(name)) {
            collect_disks(&device, depth + 1, disks);
        }
    }
}

/// Volumes on volumes on volumes.
const VOLUME_DEPTH_MAX: usize = 8;

/// The folder itself with all links followed, or the nearest folder above it that exists.
pub fn nearest_existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let existing = absolute.ancestors().find_map(|path| fs::canonicalize(path).ok());
    existing.unwrap_or_else(|| "/".into())
}

/// True if this process may create files in a folder.
pub fn is_writable(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path ends with a zero byte and is only read.
    unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn a_pattern_finds_its_files_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n");
        write(root.path(), "sys/class/net/eth0/queues/rx-11/rps_cpus", "f\n");
        write(root.path(), "sys/class/net/eth0/queues/tx-0/xps_cpus", "1\n");
        let mut files = BTreeMap::new();
        read_matching(root.path(), "/sys/class/net/*/queues/rx-*/rps_cpus", &mut files);
        read_matching(root.path(), "/proc/no/such/file", &mut files);
        let found: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
                ("/sys/class/net/eth0/queues/rx-11/rps_cpus", "f"),
            ]
        );
    }

    #[test]
    fn a_mount_leads_to_its_disks() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        write(root, "sys/devices/pci/block/sda/sda1/partition", "1");
        write(root, "sys/devices/pci/block/sdb/size", "9");
        fs::create_dir_all(root.join("sys/devices/virtual/block/dm-0/slaves")).expect("created");
        fs::create_dir_all(root.join("sys/dev/block")).expect("created");
        fs::create_dir_all(root.join("sys/class/block")).expect("created");
        write(root, "dev/dm-0", "");
        let link = |to: &str, from: &str| symlink(to, root.join(from)).expect("linked");
        link("../../devices/pci/block/sda/sda1", "sys/dev/block/8:1");
        link("../../devices/virtual/block/dm-0", "sys/class/block/dm-0");
        link("../../../../pci/block/sda/sda1", "sys/devices/virtual/block/dm-0/slaves/sda1");
        link("../../../../pci/block/sdb", "sys/devices/virtual/block/dm-0/slaves/sdb");
        assert_eq!(disks_behind(root, "8:1", "/dev/sda1"), ["sda"]);
        assert_eq!(disks_behind(root, "0:44", "/dev/dm-0"), ["sda", "sdb"]);
        assert!(disks_behind(root, "0:21", "tmpfs").is_empty());
    }

    #[test]
    fn a_missing_folder_has_a_nearest_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = fs::canonicalize(folder.path()).expect("there");
        assert_eq!(nearest_existing(&folder.path().join("a/b")), real);
        assert!(is_writable(&real) && !is_writable(&real.join("a")));
    }
}
