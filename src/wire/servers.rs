//! `server.N` lines: the members of an ensemble, as zoo.cfg, the dynamic configuration file, `/zookeeper/config` and
//! the servers among themselves name them (`QuorumPeer.QuorumServer`). Reads every form that ZooKeeper 3.9 reads and
//! writes the one it writes: addresses in their long form and sorted by host, the role always, `host:port` of clients.
//!
//! Resolves nothing: a name stays a name.

use super::address::long_form;
use crate::ids::ServerId;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One `server.N` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerLine {
    /// N.
    pub id: ServerId,
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
    /// Name or address, without brackets.
    pub host: String,
    /// For learners.
    pub quorum_port: u16,
    /// For votes.
    pub election_port: u16,
}

/// What a server line looks like.
pub const FORM: &str = "host:quorumPort:electionPort[:participant|:observer], addresses separated by |, then perhaps ;[host:]clientPort";

impl ServerLine {
    /// Reads N and the value of `server.N`; an `Err` says what was expected.
    pub fn parse(number: &str, value: &str) -> Result<ServerLine, String> {
        let id = number.parse().map(ServerId).map_err(|_| "server.N with a whole number N".to_string())?;
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

    /// Whether both name the same server in the same role at the same addresses, in whatever order and spelling.
    pub fn is_same_as(&self, other: &ServerLine) -> bool {
        let fold = |host: &str| literal_in_long_form(host).to_ascii_lowercase();
        let peers = |line: &ServerLine| {
            let address = |at: &PeerAddress| (fold(&at.host), at.quorum_port, at.election_port);
            let mut all: Vec<_> = line.addresses.iter().map(address).collect();
            all.sort();
            all
        };
        let client = |line: &ServerLine| line.client.as_ref().map(|(host, port)| (fold(host), *port));
        (self.id, self.votes) == (other.id, other.votes)
            && peers(self) == peers(other)
            && client(self) == client(other)
    }
}

/// The value, as ZooKeeper writes it.
impl fmt::Display for ServerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ZooKeeper sorts quorum and election addresses by host, each list on its own; of one host by chance.
        let mut addresses: Vec<(String, &PeerAddress)> =
            self.addresses.iter().map(|address| (literal_in_long_form(&address.host), address)).collect();
        addresses.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (at, (host, address)) in addresses.iter().enumerate() {
            let separator = if at == 0 { "" } else { "|" };
            let (quorum, election) = (address.quorum_port, address.election_port);
            write!(f, "{separator}{}:{quorum}:{election}", bracketed(host))?;
        }
        f.write_str(if self.votes { ":participant" } else { ":observer" })?;
        match &self.client {
            Some((host, port)) => write!(f, ";{}:{port}", bracketed(&literal_in_long_form(host))),
            None => Ok(()),
        }
    }
}

/// `host:port`, or `[address]:port` of IPv6; an `Err` says what was expected.
pub fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let form = "host:port";
    match host_and_ports(text).ok_or(form)?.as_slice() {
        [host, number] => Ok((host.to_string(), port(number)?)),
        _ => Err(form.into()),
    }
}

/// `host` as it stands before a colon: IPv6 in brackets.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_string() }
}

/// An address in the form in which Java prints it, eight groups for IPv6; anything else as it is.
pub fn literal_in_long_form(host: &str) -> String {
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, format!("%{zone}")),
        None => (host, String::new()),
    };
    match address.parse::<Ipv6Addr>() {
        Ok(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.to_string(),
            None => long_form(address) + &zone,
        },
        Err(_) => host.to_string(),
    }
}

/// Whether this is 0.0.0.0 or [::]: every address of the machine that says it, none that another can dial.
pub fn is_wildcard(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address == Ipv4Addr::UNSPECIFIED,
        Ok(IpAddr::V6(address)) => address == Ipv6Addr::UNSPECIFIED,
        Err(_) => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(value: &str) -> ServerLine {
        ServerLine::parse("1", value).unwrap_or_else(|expected| panic!("{value}: expected {expected}"))
    }

    #[test]
    fn forms() {
        let server = line("zk1:2888:3888");
        assert!(server.votes && server.client.is_none());
        let server = ServerLine::parse("2", "[::1]:2888:3888:observer;127.0.0.1:2181").expect("good");
        assert_eq!((server.id, &*server.addresses[0].host), (ServerId(2), "::1"));
        assert!(!server.votes);
        assert_eq!(server.client, Some(("127.0.0.1".into(), 2181)));
        let server = line("a:1:2|b:1:2:participant;2181");
        assert_eq!(server.addresses.len(), 2);
        assert_eq!(server.client, Some(("0.0.0.0".into(), 2181)));
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
            assert!(ServerLine::parse(number, value).is_err(), "server.{number}={value}");
        }
    }

    /// What is written in a file, and what ZooKeeper makes of it.
    #[test]
    fn written_as_zookeeper_writes_them() {
        let table = [
            ("127.0.0.1:1234:1236:participant;0.0.0.0:1237", "127.0.0.1:1234:1236:participant;0.0.0.0:1237"),
            ("127.0.0.1:1234:1236;1237", "127.0.0.1:1234:1236:participant;0.0.0.0:1237"),
            ("zk1.Example.com:1234:1236:OBSERVER", "zk1.Example.com:1234:1236:observer"),
            ("[::1]:1234:1236", "[0:0:0:0:0:0:0:1]:1234:1236:participant"),
            ("h:1:2;[2001:DB8::a]:3", "h:1:2:participant;[2001:db8:0:0:0:0:0:a]:3"),
            ("[::ffff:1.2.3.4]:1:2;[::]:3", "1.2.3.4:1:2:participant;[0:0:0:0:0:0:0:0]:3"),
            ("[fe80::1%eth0]:1:2", "[fe80:0:0:0:0:0:0:1%eth0]:1:2:participant"),
            ("b:1:2|a:3:4:observer|c:5:6;7", "a:3:4|b:1:2|c:5:6:observer;0.0.0.0:7"),
        ];
        for (value, written) in table {
            assert_eq!(line(value).to_string(), written, "{value}");
            assert_eq!(line(written).to_string(), written, "again");
            assert!(line(value).is_same_as(&line(written)));
        }
    }

    #[test]
    fn the_same_server() {
        assert!(line("A:1:2|b:3:4").is_same_as(&line("B:3:4|a:1:2:participant")));
        for other in ["a:1:3|b:3:4", "a:1:2", "a:1:2|b:3:4:observer", "a:1:2|b:3:4;5"] {
            assert!(!line("a:1:2|b:3:4").is_same_as(&line(other)), "{other}");
        }
    }

    #[test]
    fn wildcards() {
        assert!(is_wildcard("0.0.0.0") && is_wildcard("::") && is_wildcard("0:0:0:0:0:0:0:0"));
        assert!(!is_wildcard("127.0.0.1") && !is_wildcard("any"));
    }

    proptest! {
        #[test]
        fn never_panics_and_what_is_written_reads_the_same(value in "[a-c:|;\\[\\]0-9. %participantobserver]{0,40}") {
            if let Ok(read) = ServerLine::parse("7", &value) {
                let again = ServerLine::parse("7", &read.to_string()).expect("written, so well-formed");
                prop_assert!(read.is_same_as(&again));
                prop_assert_eq!(read.to_string(), again.to_string());
            }
        }
    }
}
