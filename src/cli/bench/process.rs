//! What the server under test costs: CPU time and resident memory of its process, and finding that process by the
//! port it listens on. Works only for a server on this machine; for another one the figures are simply absent.

use crate::io::poller::process_cpu_ns;
use std::fs;
use std::net::SocketAddr;

/// A server process on this machine.
#[derive(Clone, Copy, Debug)]
pub struct ServerProcess {
    /// Its process id.
    pub pid: u32,
}

impl ServerProcess {
    /// The process given, or the one that listens on `address`, if it is on this machine and may be looked at.
    pub fn find(given: Option<u32>, address: SocketAddr) -> Option<ServerProcess> {
        let pid = given.or_else(|| if is_local(address) { listener(address.port()) } else { None })?;
        process_cpu_ns(pid).ok().map(|_| ServerProcess { pid })
    }

    /// CPU time used so far, in ns; 0 once the process is gone.
    pub fn cpu_ns(self) -> u64 {
        process_cpu_ns(self.pid).unwrap_or(0)
    }

    /// Resident memory in bytes; 0 once the process is gone.
    pub fn resident_bytes(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().is_loopback() || std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// The process whose socket listens on a TCP port.
fn listener(port: u16) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(entry.path().join("fd")).ok()?;
        let is_ours = descriptors.flatten().any(|descriptor| {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            inodes.iter().any(|inode| target.as_os_str() == inode.as_str())
        });
        is_ours.then_some(pid)
    })
}

/// Inodes of sockets in state LISTEN (0A) on `port`, from the text of /proc/net/tcp.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? == "0A";
        is_ours.then(|| fields.get(9).map(|inode| inode.to_string())).flatten()
    };
    table.lines().skip(1).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_process_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let found = ServerProcess::find(None, address).expect("this process listens");
        assert_eq!(found.pid, std::process::id());
        assert!(found.resident_bytes() > 0 && found.cpu_ns() > 0);
    }
}
