//! Who may do what: access control lists, the identities of connections, and what an auth packet proves. Pure
//! functions, used by the member for writes and by the shards for reads and events.
//!
//! Schemes: world, auth (only in requests), digest, ip, super (only as an identity). Everything else is unknown.

use crate::wire::records::RawAcl;
use crate::wire::{Acl, ErrorCode, Identity};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// How digest identities are made (`zookeeper.DigestAuthenticationProvider.*`).
#[derive(Clone, PartialEq, Debug)]
pub struct DigestSettings {
    /// `.enabled`: false makes digest an unknown scheme.
    pub enabled: bool,
    /// `.digestAlg`.
    pub algorithm: DigestAlgorithm,
    /// `.superDigest`: who proves this may do anything.
    pub super_digest: Option<Arc<str>>,
}

impl Default for DigestSettings {
    fn default() -> DigestSettings {
        DigestSettings { enabled: true, algorithm: DigestAlgorithm::Sha1, super_digest: None }
    }
}

/// The hash in a digest id, by Java's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum DigestAlgorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl DigestAlgorithm {
    /// The algorithm of a `java.security.MessageDigest` name.
    pub fn from_name(name: &str) -> Option<DigestAlgorithm> {
        use DigestAlgorithm::*;
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => Md5,
            "SHA" | "SHA1" | "SHA-1" => Sha1,
            "SHA224" | "SHA-224" => Sha224,
            "SHA256" | "SHA-256" => Sha256,
            "SHA384" | "SHA-384" => Sha384,
            "SHA512" | "SHA-512" => Sha512,
            "SHA3-224" => Sha3_224,
            "SHA3-256" => Sha3_256,
            "SHA3-384" => Sha3_384,
            "SHA3-512" => Sha3_512,
            _ => return None,
        })
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            DigestAlgorithm::Md5 => md5::Md5::digest(bytes).to_vec(),
            DigestAlgorithm::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
            DigestAlgorithm::Sha224 => sha2::Sha224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_224 => sha3::Sha3_224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_256 => sha3::Sha3_256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_384 => sha3::Sha3_384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_512 => sha3::Sha3_512::digest(bytes).to_vec(),
        }
    }
}

/// What an auth packet proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthOutcome {
    /// The connection has these identities from now on, besides those it had.
    Identities(Vec<Identity>),
    /// AuthFailed, and the connection is closed.
    Failed,
}

/// Judges an auth packet. An `ip` packet proves nothing that the connection does not have anyway.
pub fn authenticate(settings: &DigestSettings, scheme: &str, auth: &[u8]) -> AuthOutcome {
    match scheme {
        "ip" => AuthOutcome::Identities(Vec::new()),
        "digest" if settings.enabled => {
            let id = digest_id(settings.algorithm, auth);
            let mut identities = Vec::with_capacity(2);
            if settings.super_digest.as_deref() == Some(&id) {
                identities.push(Identity { scheme: "super".into(), id: String::new() });
            }
            identities.push(Identity { scheme: "digest".into(), id });
            AuthOutcome::Identities(identities)
        }
        _ => AuthOutcome::Failed,
    }
}

/// The digest id of "user:password": the user, a colon, and the base64 hash of the whole text
/// (`DigestAuthenticationProvider.generateDigest`). Text without a colon is a user without a password.
pub fn digest_id(algorithm: DigestAlgorithm, auth: &[u8]) -> String {
    let text = String::from_utf8_lossy(auth);
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(algorithm.hash(text.as_bytes())))
}

/// True if one of the wanted permission bits is granted (`ZooKeeperServer.checkACL`). An empty list lets anyone.
pub fn allows(acl: &[Acl], wanted: i32, identities: &[Identity]) -> bool {
    if acl.is_empty() {
        return true;
    }
    let grants = |entry: &Acl| {
        entry.perms & wanted != 0
            && (is_anyone(&entry.scheme, &entry.id)
                || identities
                    .iter()
                    .any(|identity| identity.scheme == entry.scheme && matches(entry, &identity.id)))
    };
    acl.iter().any(grants) || identities.iter().any(|identity| identity.scheme == "super")
}

/// What a request's list becomes (`PrepRequestProcessor.fixupACL`): exact duplicates dropped, "auth" replaced by the
/// identities that prove who somebody is, everything checked. Null, empty or refused: InvalidACL; a null where ZooKeeper
/// looks at it before it knows what the entry is: MarshallingError.
pub fn fix_up(
    settings: &DigestSettings,
    raw: Option<&[RawAcl<'_>]>,
    identities: &[Identity],
) -> Result<Vec<Acl>, ErrorCode> {
    let raw = without_duplicates(raw.unwrap_or_default())?;
    let mut fixed = Vec::with_capacity(raw.len());
    for entry in raw {
        let Some(scheme) = &entry.scheme else { return Err(ErrorCode::InvalidAcl) };
        // kazoo sends an empty id as null; with "auth" the id does not matter.
        if scheme == "auth" {
            expand_auth(settings, entry.perms, identities, &mut fixed)?;
            continue;
        }
        let is_checked = scheme == "world" || scheme == "ip" || (scheme == "digest" && settings.enabled);
        let id = match &entry.id {
            Some(id) => id.as_ref(),
            None if is_checked => return Err(ErrorCode::MarshallingError),
            None => return Err(ErrorCode::InvalidAcl),
        };
        let is_valid = match scheme.as_ref() {
            "world" => id == "anyone",
            "digest" => is_checked && is_digest_id(id),
            "ip" => ip_and_bits(id).is_some(),
            _ => false,
        };
        if !is_valid {
            return Err(ErrorCode::InvalidAcl);
        }
        fixed.push(Acl { perms: entry.perms, scheme: scheme.to_string(), id: id.to_string() });
    }
    if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed) }
}

/// The first of each. ZooKeeper compares an entry with those before it by permissions, scheme and id, in this order, and
/// stumbles over its null when it gets there.
fn without_duplicates<'r, 'a>(raw: &'r [RawAcl<'a>]) -> Result<Vec<&'r RawAcl<'a>>, ErrorCode> {
    let mut seen: BTreeSet<(i32, Option<&str>, Option<&str>)> = BTreeSet::new();
    let mut kept = Vec::with_capacity(raw.len());
    for entry in raw {
        let key = (entry.perms, entry.scheme.as_deref(), entry.id.as_deref());
        let is_compared = match key {
            (perms, None, _) => {
                seen.range((perms, None, None)..).next().is_some_and(|before| before.0 == perms)
            }
            (perms, scheme, None) => {
                let next = seen.range((perms, scheme, None)..).next();
                next.is_some_and(|before| (before.0, before.1) == (perms, scheme))
            }
            _ => false,
        };
        if is_compared {
            return Err(ErrorCode::MarshallingError);
        }
        if seen.insert(key) {
            kept.push(entry);
        }
    }
    Ok(kept)
}

/// True for a list that the commonest request carries; such nodes need no ACL work at all.
pub fn is_open(raw: Option<&[RawAcl<'_>]>) -> bool {
    matches!(raw, Some([RawAcl { perms: crate::wire::codes::perms::ALL, scheme: Some(scheme), id: Some(id) }])
        if is_anyone(scheme, id))
}

fn is_anyone(scheme: &str, id: &str) -> bool {
    scheme == "world" && id == "anyone"
}

fn expand_auth(
    settings: &DigestSettings,
    perms: i32,
    identities: &[Identity],
    fixed: &mut Vec<Acl>,
) -> Result<(), ErrorCode> {
    let before = fixed.len();
    let proven = |identity: &&Identity| match identity.scheme.as_str() {
        "digest" => settings.enabled,
        "sasl" | "x509" => true,
        _ => false,
    };
    for identity in identities.iter().filter(proven) {
        fixed.push(Acl { perms, scheme: identity.scheme.clone(), id: identity.id.clone() });
    }
    if fixed.len() == before { Err(ErrorCode::InvalidAcl) } else { Ok(()) }
}

/// True if an identity of the entry's scheme is the one meant.
fn matches(entry: &Acl, id: &str) -> bool {
    match entry.scheme.as_str() {
        "digest" | "x509" => entry.id == id,
        "sasl" => entry.id == id || id == "super",
        "ip" => ip_matches(&entry.id, id),
        _ => false,
    }
}

/// Two parts around colons, as Java's `split` counts them: empty parts at the end do not count.
fn is_digest_id(id: &str) -> bool {
    id.trim_end_matches(':').split(':').count() == 2
}

/// The zone of a link-local client is no part of what an expression can say.
fn ip_matches(expression: &str, id: &str) -> bool {
    let address = id.split('%').next().and_then(parse_ip);
    let (Some((wanted, bits)), Some(address)) = (ip_and_bits(expression), address) else { return false };
    match (wanted, address) {
        (IpAddr::V4(wanted), IpAddr::V4(address)) => {
            same_prefix(u32::from(wanted) as u128, u32::from(address) as u128, 32 - bits)
        }
        (IpAddr::V6(wanted), IpAddr::V6(address)) => same_prefix(wanted.into(), address.into(), 128 - bits),
        _ => false,
    }
}

fn same_prefix(a: u128, b: u128, ignored_bits: u32) -> bool {
    (a ^ b).checked_shr(ignored_bits).unwrap_or(0) == 0
}

/// "address" or "address/bits".
fn ip_and_bits(expression: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match expression.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (expression, None),
    };
    let address = parse_ip(address)?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => java_int(bits, 10, bits_max)?,
        None => bits_max,
    };
    Some((address, bits))
}

/// An address as ZooKeeper reads it: leading zeros are fine, a zone and IPv4 inside IPv6 are not, since no client's
/// address is ever shown so.
fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return parse_ipv6(text).map(IpAddr::V6);
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = java_int(parts.next()?, 10, 255)? as u8;
    }
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

fn parse_ipv6(text: &str) -> Option<Ipv6Addr> {
    let groups = |text: &str| -> Option<Vec<u16>> {
        let is_short = |group: &&str| group.len() <= 4;
        let parse = |group: &str| Some(group).filter(is_short).and_then(|group| java_int(group, 16, 0xffff));
        if text.is_empty() {
            return Some(Vec::new());
        }
        text.split(':').map(|group| parse(group).map(|group| group as u16)).collect()
    };
    let all = match text.split_once("::") {
        None => groups(text)?,
        Some((front, back)) => {
            let (front, back) = (groups(front)?, groups(back)?);
            let zeros = 8usize.checked_sub(front.len() + back.len()).filter(|zeros| *zeros > 0)?;
            [front, vec![0; zeros], back].concat()
        }
    };
    Some(Ipv6Addr::from(<[u16; 8]>::try_from(all).ok()?))
}

/// A number from 0 to `most`, perhaps with a sign.
fn java_int(text: &str, radix: u32, most: u32) -> Option<u32> {
    let number = i32::from_str_radix(text, radix).ok()?;
    u32::try_from(number).ok().filter(|number| *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codes::perms;

    fn identity(scheme: &str, id: &str) -> Identity {
        Identity { scheme: scheme.into(), id: id.into() }
    }

    fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: scheme.into(), id: id.into() }
    }

    #[test]
    fn an_auth_entry_may_come_without_an_id() {
        let entry = RawAcl { perms: perms::ALL, scheme: Some("auth".into()), id: None };
        let identities = [identity("digest", "bob:hash")];
        let fixed = fix_up(&DigestSettings::default(), Some(&[entry]), &identities);
        assert_eq!(fixed, Ok(vec![acl(perms::ALL, "digest", "bob:hash")]));
        let entry = RawAcl { perms: perms::ALL, scheme: Some("digest".into()), id: None };
        assert!(fix_up(&DigestSettings::default(), Some(&[entry]), &identities).is_err());
    }

    #[test]
    fn a_null_is_looked_at_when_zookeeper_looks_at_it() {
        let entry = |perms, scheme: Option<&'static str>, id: Option<&'static str>| RawAcl {
            perms,
            scheme: scheme.map(Into::into),
            id: id.map(Into::into),
        };
        let who = [identity("digest", "a:b")];
        let fix = |list: &[RawAcl<'_>]| fix_up(&DigestSettings::default(), Some(list), &who);
        let world = || entry(31, Some("world"), Some("anyone"));
        let (invalid, stumbles) = (Err(ErrorCode::InvalidAcl), Err(ErrorCode::MarshallingError));
        assert_eq!(fix(&[entry(31, None, None)]), invalid);
        assert_eq!(fix(&[entry(31, Some("sasl"), None)]), invalid);
        for scheme in ["world", "digest", "ip"] {
            assert_eq!(fix(&[entry(31, Some(scheme), None)]), stumbles, "{scheme}");
        }
        // Compared with one before it, by permissions, then scheme, then id.
        assert_eq!(fix(&[world(), entry(31, None, None)]), stumbles);
        assert_eq!(fix(&[world(), entry(1, None, None)]), invalid);
        assert_eq!(fix(&[entry(31, None, None), world()]), invalid);
        assert_eq!(fix(&[world(), entry(31, Some("sasl"), None)]), invalid);
        let auth = |id| entry(31, Some("auth"), id);
        assert_eq!(fix(&[auth(Some("")), auth(None)]), stumbles);
        assert_eq!(fix(&[auth(None), auth(Some(""))]).map(|fixed| fixed.len()), Ok(2));
    }

    fn raw<'a>(perms: i32, scheme: &'a str, id: &'a str) -> RawAcl<'a> {
        RawAcl { perms, scheme: Some(scheme.into()), id: Some(id.into()) }
    }

    #[test]
    fn digest_ids_are_those_of_zookeeper() {
        assert_eq!(digest_id(DigestAlgorithm::Sha1, b"super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        let AuthOutcome::Identities(found) = authenticate(&DigestSettings::default(), "digest", b"alone")
        else {
            panic!("text without a colon is accepted");
        };
        assert!(found[0].id.starts_with("alone:"));
        assert_eq!(authenticate(&DigestSettings::default(), "world", b"anyone"), AuthOutcome::Failed);
        assert_eq!(authenticate(&DigestSettings::default(), "ip", b""), AuthOutcome::Identities(vec![]));
        assert_eq!(DigestAlgorithm::from_name("sha3-256"), Some(DigestAlgorithm::Sha3_256));
    }

    #[test]
    fn the_super_digest_adds_an_identity() {
        let settings = DigestSettings {
            super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into()),
            ..Default::default()
        };
        let AuthOutcome::Identities(found) = authenticate(&settings, "digest", b"super:test") else {
            panic!()
        };
        assert_eq!(found[0], identity("super", ""));
        assert_eq!(found.len(), 2);
        assert!(allows(&[acl(0, "digest", "a:b")], perms::READ, &found));
    }

    #[test]
    fn any_wanted_bit_of_a_matching_entry_allows() {
        let list = [acl(perms::READ, "world", "anyone"), acl(perms::ADMIN, "digest", "a:x")];
        assert!(allows(&list, perms::READ, &[]));
        assert!(!allows(&list, perms::WRITE, &[identity("digest", "a:x")]));
        assert!(allows(&list, perms::ADMIN | perms::WRITE, &[identity("digest", "a:x")]));
        assert!(!allows(&list, perms::ADMIN, &[identity("sasl", "a:x")]));
        assert!(allows(&[], perms::ADMIN, &[]));
    }

    #[test]
    fn addresses_match_by_their_first_bits() {
        assert!(ip_matches("10.0.0.0/8", "10.200.3.4"));
        assert!(!ip_matches("10.0.0.0/9", "10.200.3.4"));
        assert!(ip_matches("0.0.0.0/0", "10.200.3.4"));
        assert!(ip_matches("127.0.0.1", "127.0.0.1"));
        assert!(ip_matches("2001:db8::/32", "2001:db8:1::2"));
        assert!(!ip_matches("2001:db8::/33", "2001:db8:8000::2"));
        assert!(ip_matches("::/0", "::1"));
        assert!(!ip_matches("0.0.0.0/0", "::1"));
    }

    #[test]
    fn what_is_an_address_and_what_is_none() {
        let valid = |text: &str| ip_and_bits(text).is_some();
        for good in [
            "::1",
            "::",
            "fe80::1",
            "::ffff:7f00:1",
            "::1/128",
            "::/0",
            "0:0:0:0:0:0:0:1",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "2001:DB8::A0",
            "127.0.0.1/+8",
            "127.0.0.1/-0",
            "+127.0.0.01",
            "-0.0.0.0",
            "+1::2",
        ] {
            assert!(valid(good), "{good}");
        }
        for bad in [
            "::ffff:127.0.0.1",
            "fe80::1%eth0",
            "fe80::1%4",
            "::1/129",
            "::1/",
            "::1/-1",
            "00001::1",
            "1::2::3",
            ":",
            ":::",
            "1:2:3:4:5:6:7:8::",
            "1:2:3:4::5:6:7:8",
            "1:2:3",
            ":1:2:3:4:5:6:7",
            "::g",
            "::1:",
            "",
            "/8",
            "127.0.0.1/",
            "127.0.0.1/8/9",
            "127.0.0.1/33",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.-1",
            "1.2..4",
            "1.2.3.4%eth0",
        ] {
            assert!(!valid(bad), "{bad}");
        }
        assert_eq!(ip_and_bits("1::2/64"), Some(("1::2".parse().expect("an address"), 64)));
        assert_eq!(ip_and_bits("::"), Some((Ipv6Addr::UNSPECIFIED.into(), 128)));
        // As clients' addresses are shown.
        assert!(ip_matches("::1", "0:0:0:0:0:0:0:1"));
        assert!(ip_matches("fe80::/10", "fe80:0:0:0:fc:ff:fe00:1%4"));
        assert!(!ip_matches("fe80::2", "fe80:0:0:0:0:0:0:1%2"));
    }

    #[test]
    fn lists_are_fixed_up() {
        let settings = DigestSettings::default();
        let fix = |list: &[RawAcl<'_>], identities: &[Identity]| fix_up(&settings, Some(list), identities);
        let world = raw(31, "world", "anyone");
        assert_eq!(fix(&[world.clone(), world.clone()], &[]), Ok(vec![acl(31, "world", "anyone")]));
        assert_eq!(fix_up(&settings, None, &[]), Err(ErrorCode::InvalidAcl));
        for bad in [
            raw(31, "world", "other"),
            raw(31, "foo", "bar"),
            raw(31, "digest", "nocolon"),
            raw(31, "digest", "a:"),
            raw(31, "digest", "a:b:c"),
            raw(31, "ip", "1.2.3"),
            raw(31, "ip", "1.2.3.4/33"),
            raw(31, "auth", ""),
        ] {
            assert_eq!(fix(&[world.clone(), bad], &[identity("ip", "1.2.3.4")]), Err(ErrorCode::InvalidAcl));
        }
        let who = [identity("ip", "1.2.3.4"), identity("digest", "a:b"), identity("digest", "c:d")];
        assert_eq!(
            fix(&[raw(3, "auth", "")], &who),
            Ok(vec![acl(3, "digest", "a:b"), acl(3, "digest", "c:d")])
        );
        assert_eq!(fix(&[raw(99, "ip", "1.2.3.4/0")], &[]), Ok(vec![acl(99, "ip", "1.2.3.4/0")]));
    }
}
