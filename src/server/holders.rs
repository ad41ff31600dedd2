//! Who else has what this server needs: Apache's logs while they are taken over, as in a rehearsal on the live folder; the
//! address that clients connect to.

use super::ServerOptions;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
    process_with(&|file| logs.contains(file))
}

/// A process that has such a file open, and the file.
fn process_with(is_meant: &dyn Fn(&Path) -> bool) -> Option<(u32, PathBuf)> {
    let own = std::process::id();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_string_lossy().parse().ok().filter(|pid: &u32| *pid != own)
        else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut files = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        if let Some(file) = files.find(|file| is_meant(file)) {
            return Some((pid, file));
        }
    }
    None
}

/// Whose socket keeps this address from being bound: a process, or a user whose processes cannot be seen. None: a socket that
/// its process has left behind, or one of another container.
pub(super) fn of_address(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let text: String = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let sockets: Vec<Socket> = text.lines().filter_map(Socket::parse).collect();
    let sockets: Vec<&Socket> = sockets.iter().filter(|socket| socket.keeps(address)).collect();
    let names: BTreeSet<PathBuf> =
        sockets.iter().map(|socket| format!("socket:[{}]", socket.inode).into()).collect();
    if let Some((pid, _)) = process_with(&|file| names.contains(file)) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return Some(format!("process {pid} ({})", name.trim()));
    }
    let own = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    let other = sockets.iter().find(|socket| own != 0 && socket.uid != own)?;
    Some(format!("a process of the user with the id {}", other.uid))
}

/// A line of the kernel's table of TCP sockets.
#[derive(PartialEq, Debug)]
struct Socket {
    local: SocketAddr,
    waits_for_time: bool,
    uid: u32,
    inode: u64,
}

impl Socket {
    fn parse(line: &str) -> Option<Socket> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (ip, port) = words.get(1)?.split_once(':')?;
        // Each four bytes of an address stand there as the number that they are in memory.
        let word = |at: usize| Some(u32::from_str_radix(ip.get(8 * at..8 * at + 8)?, 16).ok()?.to_ne_bytes());
        let ip = match ip.len() {
            8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
            32 => {
                let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
                Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
            }
            _ => return None,
        };
        Some(Socket {
            local: SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
            waits_for_time: *words.get(3)? == TIME_WAIT,
            uid: words.get(7)?.parse().ok()?,
            inode: words.get(9)?.parse().ok()?,
        })
    }

    /// Sockets that only wait for packets on their way keep nobody from binding (SO_REUSEADDR).
    fn keeps(&self, address: SocketAddr) -> bool {
        let (own, other) = (self.local.ip(), address.ip().to_canonical());
        let is_same = own == other || own.is_unspecified() || other.is_unspecified();
        self.local.port() == address.port() && is_same && !self.waits_for_time
    }
}

const TIME_WAIT: &str = "06";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn sockets_as_the_kernel_lists_them() {
        let line =
            "   0: 0100007F:0885 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000   0 1658 1 0";
        let socket = Socket::parse(line).expect("a socket");
        let local = SocketAddr::from(([127, 0, 0, 1], 2181));
        assert_eq!(socket, Socket { local, waits_for_time: false, uid: 1000, inode: 1658 });
        let keeps = |address: &str| socket.keeps(address.parse().expect("an address"));
        assert!(keeps("127.0.0.1:2181") && keeps("0.0.0.0:2181") && keeps("[::]:2181"));
        assert!(keeps("[::ffff:127.0.0.1]:2181"));
        assert!(!keeps("127.0.0.1:2182") && !keeps("127.0.0.2:2181") && !keeps("[::1]:2181"));
        let waiting = Socket::parse(&line.replace(" 0A ", " 06 ")).expect("a socket");
        assert!(!waiting.keeps(local));
        let six = "  1: 00000000000000000000000001000000:0885 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1";
        assert_eq!(Socket::parse(six).expect("a socket").local.to_string(), "[::1]:2181");
        assert_eq!(Socket::parse("  sl  local_address rem_address   st tx_queue rx_queue tr"), None);
    }

    #[test]
    fn an_address_nobody_has_has_no_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        // Its holder is this process, which is not meant.
        assert_eq!(of_address(address), None);
    }
}
