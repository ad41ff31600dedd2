//! `server.N` lines: the members of an ensemble, as zoo.cfg or the dynamic configuration file names them.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// One `server.N` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerLine {
    /// N.
    pub id: i64,
    /// Where peers reach it; several with multiAddress.
    pub addresses: Vec<PeerAddress>,
    /// False: an observer.
    pub votes: bool,
    /// `;[host:]port`: where clients reach it.
    pub client: Option<(String, u16)>,
}

/// `host:quorumPort:electionPort`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    /// Name or address.
    pub host: String,
    /// For learners.
    pub quorum_port: u16,
    /// For votes.
    pub election_port: u16,
}

/// What a server line looks like.
pub(super) const FORM: &str = "host:quorumPort:electionPort[:participant|:observer], addresses separated by |, then perhaps ;[host:]clientPort";

/// Reads N and the value of `server.N`; an `Err` says what was expected.
pub(super) fn parse(number: &str, value: &str) -> Result<ServerLine, String> {
    let id = number.parse().map_err(|_| "server.N with a whole number N".to_string())?;
    let mut parts = value.split(';');
    let peers = parts.next().unwrap_or_default();
    let client = parts.next().filter(|client| !client.is_empty()).map(client_address).transpose()?;
    if parts.any(|part| !part.is_empty()) {
        return Err(format!("{FORM}; a TLS client port is not supported yet"));
    }
    let (mut addresses, mut role) = (Vec::new(), None);
    for address in peers.split('|') {
        let (address, votes) = peer_address(address)?;
        if role.is_some() && votes.is_some() && role != votes {
            return Err("the same role at all addresses of a server".into());
        }
        role = role.or(votes);
        addresses.push(address);
    }
    Ok(ServerLine { id, addresses, votes: role.unwrap_or(true), client })
}

fn peer_address(text: &str) -> Result<(PeerAddress, Option<bool>), String> {
    let parts = host_and_ports(text).ok_or(FORM)?;
    let (host, ports, role) = match parts.as_slice() {
        [host, quorum, election] => (host, (quorum, election), None),
        [host, quorum, election, role] => (host, (quorum, election), Some(role)),
        _ => return Err(FORM.into()),
    };
    let votes = match role.map(|role| role.to_ascii_lowercase()).as_deref() {
        None => None,
        Some("participant") => Some(true),
        Some("observer") => Some(false),
        Some(_) => return Err("participant or observer as the role".into()),
    };
    let address =
        PeerAddress { host: host.to_string(), quorum_port: port(ports.0)?, election_port: port(ports.1)? };
    if address.quorum_port == address.election_port {
        return Err("a quorum port that differs from the election port".into());
    }
    Ok((address, votes))
}

fn client_address(text: &str) -> Result<(String, u16), String> {
    match host_and_ports(text).ok_or(FORM)?.as_slice() {
        [client_port] => Ok(("0.0.0.0".into(), port(client_port)?)),
        [host, client_port] => Ok((host.to_string(), port(client_port)?)),
        _ => Err(FORM.into()),
    }
}

/// `[v6]:1:2` or `host:1:2` in parts; None: an unclosed bracket or nothing before the first colon.
fn host_and_ports(text: &str) -> Option<Vec<&str>> {
    let mut parts: Vec<&str> = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, ports) = rest.split_once(']')?;
            std::iter::once(host).chain(ports.strip_prefix(':')?.split(':')).collect()
        }
        None => text.split(':').collect(),
    };
    parts.iter_mut().for_each(|part| *part = part.trim());
    (!parts[0].is_empty()).then_some(parts)
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("a port from 0 to 65535 where \"{text}\" stands"))
}

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
    fn forms() {
        let line = parse("1", "zk1:2888:3888").expect("good");
        assert!(line.votes && line.client.is_none());
        let line = parse("2", "[::1]:2888:3888:observer;127.0.0.1:2181").expect("good");
        assert_eq!(line.addresses[0].host, "::1");
        assert!(!line.votes);
        assert_eq!(line.client, Some(("127.0.0.1".into(), 2181)));
        let line = parse("3", "a:1:2|b:1:2:participant;2181").expect("good");
        assert_eq!(line.addresses.len(), 2);
        assert_eq!(line.client, Some(("0.0.0.0".into(), 2181)));
    }

    #[test]
    fn broken_lines() {
        let broken = [
            ("x", "h:1:2"),
            ("1", ""),
            ("1", "h:1"),
            ("1", "h:1:1"),
            ("1", "h:1:2:leader"),
            ("1", "h:1:99999"),
            ("1", "[::1:1:2"),
            ("1", "h:1:2;a:b:c"),
            ("1", "h:1:2;2181;2281"),
            ("1", "h:1:2:observer|g:1:2:participant"),
        ];
        for (number, value) in broken {
            assert!(parse(number, value).is_err(), "server.{number}={value}");
        }
    }

    #[test]
    fn literal_addresses_need_no_resolver() {
        assert_eq!(resolve("127.0.0.1", 1), Ok(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(resolve("[::]", 1).map(|address| address.is_ipv6()), Ok(true));
    }
}
