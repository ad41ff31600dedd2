//! The servers of a run, whom their connections are spread over, and the identity that is proved to them.

use super::net::Session;
use crate::cli::client::ConnectString;
use crate::wire::{Op, Writer};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One or several servers.
#[derive(Debug)]
pub struct Hosts {
    /// Never empty.
    addresses: Vec<SocketAddr>,
    auth: Option<Auth>,
    /// Of the next connection.
    turn: AtomicUsize,
}

/// `scheme:auth`, as `--auth` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auth {
    pub scheme: String,
    pub secret: String,
}

impl std::str::FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Auth, String> {
        match text.split_once(':') {
            Some((scheme, secret)) if !scheme.is_empty() => {
                Ok(Auth { scheme: scheme.into(), secret: secret.into() })
            }
            _ => Err("expected SCHEME:AUTH, for example digest:user:password".into()),
        }
    }
}

impl Hosts {
    /// From `host[:port][,host[:port]...]`.
    pub fn find(servers: &str, auth: Option<Auth>) -> Result<Hosts, String> {
        let named = ConnectString::parse(servers)?;
        if !named.chroot.is_empty() {
            return Err(format!("{servers}: the path {} belongs into --folder", named.chroot));
        }
        let addresses = named.hosts.iter().map(|(host, port)| address_of(host, *port));
        Ok(Hosts { addresses: addresses.collect::<Result<_, String>>()?, auth, turn: AtomicUsize::new(0) })
    }

    /// One server, without an identity.
    #[cfg(test)]
    pub fn only(address: SocketAddr) -> Hosts {
        Hosts { addresses: vec![address], auth: None, turn: AtomicUsize::new(0) }
    }

    /// All of them.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The server for the work around a run.
    pub fn first(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The server of the next connection: each in its turn.
    pub fn next(&self) -> SocketAddr {
        self.addresses[self.turn.fetch_add(1, Ordering::Relaxed) % self.addresses.len()]
    }

    /// What every session proves.
    pub fn auth(&self) -> Option<&Auth> {
        self.auth.as_ref()
    }

    /// Waits until each server has what the first one has.
    pub fn sync(&self, path: &str, timeout_ms: i32) -> Result<(), String> {
        for address in &self.addresses[1..] {
            let mut session = Session::open_at(self, *address, timeout_ms)?;
            match session.call(Op::Sync, |out| Writer::new(out).string(path))? {
                (0, _) => session.close()?,
                (code, _) => return Err(super::net::failed(&format!("synchronising {path}"), code)),
            }
        }
        Ok(())
    }
}

/// Of several addresses of a name the first one that somebody listens on: `localhost` is two.
fn address_of(host: &str, port: u16) -> Result<SocketAddr, String> {
    let found =
        (host, port).to_socket_addrs().map_err(|error| format!("cannot find {host}:{port}: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, ANSWER_MAX).is_ok();
    let first = if found.len() > 1 { found.iter().find(answers) } else { None };
    first.or(found.first()).copied().ok_or_else(|| format!("{host}:{port} has no address"))
}

const ANSWER_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_all_in_turn() {
        let hosts = Hosts::find("127.0.0.1:1,[::1]:2,127.0.0.2", None).expect("good");
        let taken: Vec<String> = (0..4).map(|_| hosts.next().to_string()).collect();
        assert_eq!(taken, ["127.0.0.1:1", "[::1]:2", "127.0.0.2:2181", "127.0.0.1:1"]);
        assert_eq!(hosts.first().to_string(), "127.0.0.1:1");
        let wrong = Hosts::find("127.0.0.1:1/app", None).expect_err("a path");
        assert!(wrong.contains("/app belongs into --folder"), "{wrong}");
    }

    #[test]
    fn identities() {
        let auth: Auth = "digest:me:se:cret".parse().expect("good");
        assert_eq!((auth.scheme.as_str(), auth.secret.as_str()), ("digest", "me:se:cret"));
        assert!("digest".parse::<Auth>().is_err() && ":x".parse::<Auth>().is_err());
    }
}
