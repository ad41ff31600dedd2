//! Addresses of clients in the form in which Java prints them: all eight groups of an IPv6 address, the zone as a number,
//! and IPv4 also where a socket of both families gives it as IPv6.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// As `InetAddress.getHostAddress`.
pub fn host_text(address: SocketAddr) -> String {
    let zone = match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => format!("%{}", address.scope_id()),
        _ => String::new(),
    };
    match address.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => long_form(address) + &zone,
    }
}

/// As `InetSocketAddress.toString` behind its slash.
pub fn socket_text(address: SocketAddr) -> String {
    let (host, port) = (host_text(address), address.port());
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Eight groups without leading zeros.
pub fn long_form(address: Ipv6Addr) -> String {
    let [a, b, c, d, e, f, g, h] = address.segments();
    format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV6;

    #[test]
    fn addresses_are_shown_as_by_java() {
        let texts = |address: &str| {
            let address = address.parse().expect("an address");
            (host_text(address), socket_text(address))
        };
        let both = |host: &str, socket: &str| (host.to_string(), socket.to_string());
        assert_eq!(texts("127.0.0.1:5"), both("127.0.0.1", "127.0.0.1:5"));
        assert_eq!(texts("[::ffff:10.0.0.7]:5"), both("10.0.0.7", "10.0.0.7:5"));
        assert_eq!(texts("[::1]:5"), both("0:0:0:0:0:0:0:1", "[0:0:0:0:0:0:0:1]:5"));
        assert_eq!(texts("[2001:db8::a0]:5").0, "2001:db8:0:0:0:0:0:a0");
        let zoned = SocketAddrV6::new("fe80::fc:ff:fe00:1".parse().expect("an address"), 5, 0, 4).into();
        assert_eq!(host_text(zoned), "fe80:0:0:0:fc:ff:fe00:1%4");
        assert_eq!(socket_text(zoned), "[fe80:0:0:0:fc:ff:fe00:1%4]:5");
    }
}
