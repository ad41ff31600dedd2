//! Host names of zoo.cfg to addresses. The `server.N` lines themselves are `wire::servers`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The address a host name stands for: as Java, IPv4 first. An `Err` says what was expected.
pub(super) fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => return Err(format!("an address, or a host name that can be resolved ({error})")),
    };
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| "an address, or a host name that can be resolved".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_need_no_resolver() {
        assert_eq!(resolve("127.0.0.1", 1), Ok(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(resolve("[::]", 1).map(|address| address.is_ipv6()), Ok(true));
    }
}
