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

/// Without the port, with its zone.
pub(super) fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(zoned) if zoned.scope_id() != 0 => format!("{}%{}", zoned.ip(), zoned.scope_id()),
        other => other.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_need_no_resolver() {
        assert_eq!(resolve("127.0.0.1", 1), Ok(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(resolve("[::]", 1).map(|address| address.is_ipv6()), Ok(true));
        // The first interface of a machine is always lo; the zone is what a link-local address is bound with.
        for zoned in ["fe80::1%lo", "[fe80::1%lo]", "fe80::1%1"] {
            assert_eq!(resolve(zoned, 1).map(|address| address.to_string()), Ok("[fe80::1%1]:1".into()));
            assert_eq!(resolve(zoned, 1).map(host_of), Ok("fe80::1%1".into()));
        }
    }
}
