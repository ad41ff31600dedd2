//! Who has Apache's logs open while they are taken over: a server that still runs on them, as in a rehearsal on the live
//! folder.

use super::ServerOptions;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// A warning if another process has one of the logs open. Processes of other users cannot be seen without privileges.
pub(super) fn warning(options: &ServerOptions) -> Option<String> {
    let (pid, log) = holder(&logs(options))?;
    Some(format!(
        "process {pid} has {} open: if Apache ZooKeeper still runs on this folder, what it writes from now on is not here, and \
         later starts are refused because its files changed. Stop it first; for a look beforehand, \
         `ringkeeper import {} FOLDER --dry-run` changes nothing",
        log.display(),
        options.data_dir.display()
    ))
}

/// Apache's logs as the kernel calls them.
fn logs(options: &ServerOptions) -> BTreeSet<PathBuf> {
    let folders = [&options.data_dir, &options.log_dir].map(|folder| folder.join("version-2"));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log."));
    logs.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect()
}

fn holder(logs: &BTreeSet<PathBuf>) -> Option<(u32, PathBuf)> {
    if logs.is_empty() {
        return None;
    }
    let own = std::process::id();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_string_lossy().parse().ok().filter(|pid: &u32| *pid != own)
        else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut files = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        if let Some(log) = files.find(|file| logs.contains(file)) {
            return Some((pid, log));
        }
    }
    None
}
