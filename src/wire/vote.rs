//! The election port: the first message of a connection (`QuorumCnxManager.InitialMessage`) and the notifications that
//! follow it, each behind its length (`FastLeaderElection`). Reads every form that ZooKeeper 3.9 reads, writes the one
//! it writes.
//!
//! Deliberately absent: who keeps a connection (`zab/links.rs`), what a vote means (`zab/election.rs`). The sender of a
//! notification is not in it: it is the server at the other end.

use super::jute::{DecodeError, Reader, Writer};
use super::servers::{bracketed, host_and_port, is_wildcard, literal_in_long_form};
use crate::ids::{ServerId, Zxid};
use crate::limits::{ELECTION_ADDRESS_BYTES_MAX, ELECTION_MESSAGE_BYTES_MAX};
use std::fmt;

/// The number of an election as its servers count them (`electionEpoch`, the logical clock).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Round(pub i64);

/// The epoch of the server that a vote is for. Signed as on the wire: a server that does not vote says the least number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PeerEpoch(pub i64);

/// What a server is doing (`QuorumPeer.ServerState`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum ServerState {
    Looking = 0,
    Following = 1,
    Leading = 2,
    Observing = 3,
}

/// What the dialling server says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialMessage {
    /// Who dials.
    pub server: ServerId,
    /// Where it can be dialled, without wildcards; nothing from before 3.5.
    pub addresses: Vec<(String, u16)>,
    /// Whether it has multiAddress enabled: the second version of the message.
    pub is_multi: bool,
}

impl InitialMessage {
    /// Reads the message from the start of what came in, and says how long it is; None while it is not all there.
    pub fn cut(bytes: &[u8]) -> Result<Option<(InitialMessage, usize)>, BadInitialMessage> {
        let mut reader = Reader::new(bytes);
        let Ok(version) = reader.long() else { return Ok(None) };
        if version >= 0 {
            // Before 3.5 the number of the server was all.
            let message =
                InitialMessage { server: ServerId(version), addresses: Vec::new(), is_multi: false };
            return Ok(Some((message, reader.position())));
        }
        if version != PROTOCOL_ONE && version != PROTOCOL_MULTI {
            return Err(BadInitialMessage::Protocol(version));
        }
        let (Ok(server), Ok(length)) = (reader.long(), reader.int()) else { return Ok(None) };
        let length =
            usize::try_from(length).ok().filter(|length| (1..=ELECTION_ADDRESS_BYTES_MAX).contains(length));
        let length = length.ok_or(BadInitialMessage::Length)?;
        let Ok(addresses) = reader.take(length) else { return Ok(None) };
        let addresses = addresses_of(&String::from_utf8_lossy(addresses))?;
        let message =
            InitialMessage { server: ServerId(server), addresses, is_multi: version == PROTOCOL_MULTI };
        Ok(Some((message, reader.position())))
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let texts: Vec<String> = self
            .addresses
            .iter()
            .map(|(host, port)| format!("{}:{port}", bracketed(&literal_in_long_form(host))))
            .collect();
        let text = texts.join("|");
        assert!((1..=ELECTION_ADDRESS_BYTES_MAX).contains(&text.len()), "no peer accepts \"{text}\"");
        assert!(self.is_multi || self.addresses.len() == 1, "one address, unless multiAddress is enabled");
        let mut writer = Writer::new(out);
        writer.long(if self.is_multi { PROTOCOL_MULTI } else { PROTOCOL_ONE });
        writer.long(self.server.0);
        writer.buffer(Some(text.as_bytes()));
    }
}

/// Why a connection does not begin as one of a server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadInitialMessage {
    /// Neither of the two versions.
    #[error("protocol version {0} instead of {PROTOCOL_ONE} or {PROTOCOL_MULTI}")]
    Protocol(i64),
    /// None, or more than `ELECTION_ADDRESS_BYTES_MAX` bytes.
    #[error("the addresses have no bytes, or more than {ELECTION_ADDRESS_BYTES_MAX}")]
    Length,
    /// One of the addresses.
    #[error("\"{address}\" where {expected} belongs")]
    Address {
        /// As it stands there.
        address: String,
        /// What belongs there.
        expected: String,
    },
}

fn addresses_of(text: &str) -> Result<Vec<(String, u16)>, BadInitialMessage> {
    let mut addresses = Vec::new();
    // Java's split drops what is empty at the end.
    let text = text.trim_end_matches('|');
    for address in text.split('|').filter(|_| !text.is_empty()) {
        let (host, port) = host_and_port(address)
            .map_err(|expected| BadInitialMessage::Address { address: address.to_string(), expected })?;
        if !is_wildcard(&host) {
            addresses.push((host, port));
        }
    }
    Ok(addresses)
}

/// What servers tell each other while they elect a leader, and to one that looks for theirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notification<'a> {
    /// Of the sender; None for a number that is not known.
    pub state: Option<ServerState>,
    /// Who the sender is for.
    pub leader: ServerId,
    /// The last zxid of that server, as far as the sender knows.
    pub zxid: Zxid,
    /// The sender's election; of an elected leader, that in which it was elected.
    pub round: Round,
    /// The epoch of the server that the sender is for.
    pub peer_epoch: PeerEpoch,
    /// Of the format: 2 is today's, those below 2 have no configuration. Votes of version 0 compare differently.
    pub version: i32,
    /// The sender's committed configuration.
    pub config: Option<&'a [u8]>,
}

/// Today's version of notifications.
pub const NOTIFICATION_VERSION: i32 = 2;

impl<'a> Notification<'a> {
    /// Reads a notification without its length. An `Err` is dropped, the connection stays.
    pub fn decode(bytes: &'a [u8]) -> Result<Notification<'a>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let state = ServerState::from_i32(reader.int()?);
        let leader = ServerId(reader.long()?);
        let zxid = Zxid(reader.long()?);
        let round = Round(reader.long()?);
        let mut notification = Notification {
            state,
            leader,
            zxid,
            round,
            peer_epoch: PeerEpoch(zxid.0 >> 32),
            version: 0,
            config: None,
        };
        if bytes.len() == 28 {
            return Ok(notification);
        }
        notification.peer_epoch = PeerEpoch(reader.long()?);
        if bytes.len() == 40 {
            return Ok(notification);
        }
        notification.version = reader.int()?;
        if notification.version > 1 {
            let at = reader.position();
            let length = reader.int()?;
            let bad = || DecodeError::BadLength { at, length: length as i64 };
            notification.config = Some(reader.take(usize::try_from(length).map_err(|_| bad())?)?);
        }
        Ok(notification)
    }

    /// Appends the notification behind its length.
    pub fn encode_frame(&self, out: &mut Vec<u8>) {
        let config = self.config.expect("only notifications of today's version are sent");
        assert!(self.version == NOTIFICATION_VERSION && 44 + config.len() <= ELECTION_MESSAGE_BYTES_MAX);
        let mut writer = Writer::new(out);
        writer.int(44 + config.len() as i32);
        writer.int(self.state.expect("the own state is known") as i32);
        writer.long(self.leader.0);
        writer.long(self.zxid.0);
        writer.long(self.round.0);
        writer.long(self.peer_epoch.0);
        writer.int(self.version);
        writer.buffer(Some(config));
    }
}

impl ServerState {
    fn from_i32(state: i32) -> Option<ServerState> {
        use ServerState::*;
        [Looking, Following, Leading, Observing].into_iter().find(|known| *known as i32 == state)
    }
}

/// As ZooKeeper names them.
impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServerState::Looking => "LOOKING",
            ServerState::Following => "FOLLOWING",
            ServerState::Leading => "LEADING",
            ServerState::Observing => "OBSERVING",
        })
    }
}

/// The body of the first frame in what came in, and how long the frame is; None while it is not all there. After an
/// `Err` nothing on the connection can be trusted.
pub fn cut_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let Ok(length) = reader.int() else { return Ok(None) };
    let bad = DecodeError::BadLength { at: 0, length: length as i64 };
    let length =
        usize::try_from(length).ok().filter(|length| (1..=ELECTION_MESSAGE_BYTES_MAX).contains(length));
    let Ok(body) = reader.take(length.ok_or(bad)?) else { return Ok(None) };
    Ok(Some((body, reader.position())))
}

/// `QuorumCnxManager.PROTOCOL_VERSION_V1`.
const PROTOCOL_ONE: i64 = -65536;
/// `QuorumCnxManager.PROTOCOL_VERSION_V2`, with multiAddress.
const PROTOCOL_MULTI: i64 = -65535;

#[cfg(test)]
mod tests {
    use super::super::traces::{self, Connection};
    use super::super::vectors::server;
    use super::*;
    use proptest::prelude::*;

    fn initial(bytes: &[u8]) -> Result<Option<(InitialMessage, usize)>, BadInitialMessage> {
        let whole = InitialMessage::cut(bytes);
        if let Ok(Some((_, length))) = whole {
            for end in 0..length {
                assert_eq!(InitialMessage::cut(&bytes[..end]), Ok(None), "{end} of {length} bytes");
            }
        }
        whole
    }

    #[test]
    fn initial_messages() {
        for (name, addresses) in [
            ("InitialMessage.v1", vec![("127.0.0.1".to_string(), 3888)]),
            ("InitialMessage.v2", vec![("10.0.0.1".into(), 3888), ("10.0.1.1".into(), 3888)]),
        ] {
            let mut bytes = server(name);
            let length = bytes.len();
            bytes.extend_from_slice(b"what follows");
            let (message, cut) = initial(&bytes).expect("well-formed").expect("whole");
            assert_eq!(
                (cut, message.server, &message.addresses),
                (length, ServerId(1), &addresses),
                "{name}"
            );
            let mut again = Vec::new();
            message.encode(&mut again);
            assert_eq!(again, bytes[..length], "{name}");
        }
        let old = InitialMessage { server: ServerId(3), addresses: vec![], is_multi: false };
        assert_eq!(initial(&[0, 0, 0, 0, 0, 0, 0, 3, 9]), Ok(Some((old, 8))));
    }

    /// The text of the addresses, and what is understood; None: the connection is closed.
    #[test]
    fn addresses_in_initial_messages() {
        type Expected = Option<&'static [(&'static str, u16)]>;
        let table: [(&str, Expected); 12] = [
            ("zk1:3888", Some(&[("zk1", 3888)])),
            ("[0:0:0:0:0:0:0:1]:3888", Some(&[("0:0:0:0:0:0:0:1", 3888)])),
            ("0.0.0.0:3888", Some(&[])),
            ("[::]:3888|b:1", Some(&[("b", 1)])),
            ("a:1|", Some(&[("a", 1)])),
            ("|", Some(&[])),
            ("|a:1", None),
            ("a", None),
            ("a:", None),
            ("a:1:2", None),
            ("a:65536", None),
            ("[::1:1", None),
        ];
        for (text, expected) in table {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            writer.long(PROTOCOL_ONE);
            writer.long(1);
            writer.buffer(Some(text.as_bytes()));
            let found = initial(&bytes);
            match expected {
                Some(expected) => {
                    let (message, _) = found.expect("well-formed").expect("whole");
                    let found: Vec<(&str, u16)> = message.addresses.iter().map(|(h, p)| (&**h, *p)).collect();
                    assert_eq!(found, expected, "{text}");
                }
                None => assert!(matches!(found, Err(BadInitialMessage::Address { .. })), "{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_stranger_is_refused_before_it_has_said_all() {
        assert_eq!(initial(&[0xff; 8]), Err(BadInitialMessage::Protocol(-1)));
        for length in [0, -1, ELECTION_ADDRESS_BYTES_MAX as i32 + 1, i32::MAX] {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            writer.long(PROTOCOL_MULTI);
            writer.long(1);
            writer.int(length);
            assert_eq!(initial(&bytes), Err(BadInitialMessage::Length), "{length}");
        }
        for length in [0, -1, ELECTION_MESSAGE_BYTES_MAX as i32 + 1, i32::MIN] {
            assert!(cut_frame(&length.to_be_bytes()).is_err(), "{length}");
        }
    }

    #[test]
    fn notifications_of_every_length() {
        for name in ["FLE.notification.v2", "FLE.notification.v2.leading"] {
            let bytes = server(name);
            let read = Notification::decode(&bytes).expect("well-formed");
            assert!(read.config.is_some_and(|config| config.ends_with(b"version=100000000")), "{name}");
            let mut again = Vec::new();
            read.encode_frame(&mut again);
            assert_eq!(again[4..], bytes, "{name}");
            assert!(Notification::decode(&bytes[..bytes.len() - 1]).is_err(), "{name} cut short");
        }
        let framed = server("FLE.notification.v2.framed");
        assert_eq!(cut_frame(&framed), Ok(Some((&server("FLE.notification.v2")[..], framed.len()))));
        let expected = Notification {
            state: Some(ServerState::Following),
            leader: ServerId(2),
            zxid: Zxid(12_884_901_889),
            round: Round(4),
            peer_epoch: PeerEpoch(3),
            version: 0,
            config: None,
        };
        for name in ["FLE.notification.28", "FLE.notification.40"] {
            assert_eq!(Notification::decode(&server(name)), Ok(expected), "{name}");
        }
    }

    /// A notification cut or stretched to a length, its last int a version: is it one, of which version, with what?
    #[test]
    fn odd_notifications() {
        let whole = server("FLE.notification.v2");
        let with = |version: i32, rest: &[u8]| {
            let mut bytes = whole[..36].to_vec();
            bytes.extend_from_slice(&version.to_be_bytes());
            bytes.extend_from_slice(rest);
            bytes
        };
        let read = |bytes: &[u8]| {
            Notification::decode(bytes).ok().map(|read| (read.version, read.config.map(<[u8]>::to_vec)))
        };
        for length in (0..28).chain(29..40).chain(41..44) {
            assert_eq!(read(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(read(&with(1, b"....")), Some((1, None)), "of 3.4, longer than it should be");
        assert_eq!(read(&with(-7, b".")), Some((-7, None)));
        assert_eq!(read(&with(2, &[0, 0, 0, 0])), Some((2, Some(vec![]))));
        assert_eq!(
            read(&with(3, &[0, 0, 0, 1, b'x', b'y'])),
            Some((3, Some(b"x".to_vec()))),
            "of the future"
        );
        assert_eq!(read(&with(2, &[0, 0, 0, 2, b'x'])), None);
        assert_eq!(read(&with(2, &[0xff; 4])), None);
        let mut unknown = whole.clone();
        unknown[3] = 4;
        assert_eq!(Notification::decode(&unknown).map(|read| read.state), Ok(None));
    }

    /// Every byte that was recorded on election ports, read and written again.
    #[test]
    fn recorded_elections() {
        let mut seen = 0;
        for connection in traces::all().filter(Connection::is_election) {
            for direction in ["connector", "acceptor"] {
                let bytes = connection.bytes(direction);
                let (mut rest, mut again) = (&bytes[..], Vec::new());
                if direction == "connector" && connection.is_from_the_start() {
                    let (message, length) = initial(rest).expect("well-formed").expect("whole");
                    message.encode(&mut again);
                    rest = &rest[length..];
                }
                while let Some((body, length)) = cut_frame(rest).expect("well-formed") {
                    Notification::decode(body).expect("well-formed").encode_frame(&mut again);
                    rest = &rest[length..];
                    seen += 1;
                }
                assert_eq!((again, rest.len()), (bytes.clone(), 0));
            }
        }
        assert_eq!(seen, 35);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (InitialMessage::cut(&bytes), Notification::decode(&bytes), cut_frame(&bytes));
        }

        #[test]
        fn notifications_round_trip(
            state in 0..4, leader in any::<i64>(), zxid in any::<i64>(), round in any::<i64>(),
            epoch in any::<i64>(), config in proptest::collection::vec(any::<u8>(), 0..99),
        ) {
            let sent = Notification {
                state: ServerState::from_i32(state),
                leader: ServerId(leader),
                zxid: Zxid(zxid),
                round: Round(round),
                peer_epoch: PeerEpoch(epoch),
                version: NOTIFICATION_VERSION,
                config: Some(&config),
            };
            let mut bytes = Vec::new();
            sent.encode_frame(&mut bytes);
            let (body, length) = cut_frame(&bytes).expect("well-formed").expect("whole");
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!(Notification::decode(body), Ok(sent));
            for end in 0..bytes.len() {
                prop_assert_eq!(cut_frame(&bytes[..end]), Ok(None));
            }
        }
    }
}
