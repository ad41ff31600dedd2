//! Connect strings: `host[:port][,host[:port]...][/chroot]`, as ZooKeeper's clients take them (`ConnectStringParser`).

use super::path;

const DEFAULT_PORT: u16 = 2181;

/// Where the servers are and which node this client takes for its root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectString {
    /// Host names or addresses with their ports, in the order given; never empty.
    pub hosts: Vec<(String, u16)>,
    /// `/a/b`, or empty.
    pub chroot: String,
}

impl ConnectString {
    /// An `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<ConnectString, String> {
        let (hosts, chroot) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            path::validate(chroot)?;
        }
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(host_and_port);
        let hosts = hosts.collect::<Result<Vec<_>, String>>()?;
        if hosts.is_empty() {
            return Err(format!("no server in \"{text}\"; expected host:port[,host:port...][/path]"));
        }
        Ok(ConnectString { hosts, chroot: chroot.into() })
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let number = |port: &str| port.parse().map_err(|_| format!("\"{port}\" in \"{text}\" is not a port"));
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host.into(), number(port)?)),
            None if rest.is_empty() => Ok((host.into(), DEFAULT_PORT)),
            None => Err(format!("expected [address]:port, found \"{text}\"")),
        };
    }
    match text.rsplit_once(':') {
        None => Ok((text.into(), DEFAULT_PORT)),
        Some((host, "")) => Ok((host.into(), DEFAULT_PORT)),
        Some((host, port)) => Ok((host.into(), number(port)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parsed = ConnectString::parse("a:1,b, [::1]:3,[::2]/x/y").expect("good");
        let hosts =
            [("a", 1), ("b", 2181), ("::1", 3), ("::2", 2181)].map(|(host, port)| (host.into(), port));
        assert_eq!(parsed, ConnectString { hosts: hosts.into(), chroot: "/x/y".into() });
        assert_eq!(ConnectString::parse("a:/").expect("good").chroot, "");
        for bad in ["", "/x", "a:b", "a/x/", "a/x//y", "[::1]x"] {
            assert!(ConnectString::parse(bad).is_err(), "{bad}");
        }
    }
}
