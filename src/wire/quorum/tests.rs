//! Recorded packets, read and written again to the byte; anything else is read without harm.

use super::super::traces;
use super::super::txn::{decode_entry, encode_entry};
use super::super::vectors::{server, vectors};
use super::*;
use crate::limits::{JUTE_MAX_BUFFER, QUORUM_DATA_BYTES_EXTRA};
use proptest::prelude::*;

const DATA_MAX: usize = JUTE_MAX_BUFFER + QUORUM_DATA_BYTES_EXTRA;

/// The only packet in `bytes`, also where every shorter piece is none yet.
fn only(bytes: &[u8]) -> Packet<'_> {
    for end in 0..bytes.len() {
        assert_eq!(cut(&bytes[..end], DATA_MAX), Ok(None), "{end} of {} bytes", bytes.len());
    }
    let (packet, length) = cut(bytes, DATA_MAX).expect("well-formed").expect("whole");
    assert_eq!(length, bytes.len());
    packet
}

fn learner_says(name: &str) -> Vec<u8> {
    let bytes = server(name);
    let (mut again, mut packet) = (Vec::new(), Vec::new());
    ToLeader::decode(only(&bytes)).unwrap_or_else(|error| panic!("{name}: {error}")).encode(&mut again);
    only(&bytes).encode(&mut packet);
    assert_eq!((&again, &packet), (&bytes, &bytes), "{name}");
    bytes
}

fn leader_says(name: &str) -> Vec<u8> {
    let bytes = server(name);
    let (mut again, mut packet) = (Vec::new(), Vec::new());
    ToLearner::decode(only(&bytes)).unwrap_or_else(|error| panic!("{name}: {error}")).encode(&mut again);
    only(&bytes).encode(&mut packet);
    assert_eq!((&again, &packet), (&bytes, &bytes), "{name}");
    bytes
}

/// Whose each of the recorded packets is, and what it says.
#[test]
fn golden_packets() {
    let (session, other) = (SessionId(0x2000_1234_5678_000a), SessionId(0x2000_1234_5678_000b));
    let learner = LearnerInfo { server: Some(ServerId(2)), protocol: 0x10000, config_version: Some(1 << 32) };
    let observer = LearnerInfo { server: Some(ServerId(4)), protocol: 0x10000, config_version: Some(0) };
    let ip = Identity { scheme: "ip".into(), id: "127.0.0.1".into() };
    let create = server("QP.REQUEST.create");
    let body = &create[32..create.len() - 23];
    let two = [
        &session.0.to_be_bytes()[..],
        &30_000_i32.to_be_bytes(),
        &other.0.to_be_bytes(),
        &10_000_i32.to_be_bytes(),
    ];
    let two = two.concat();
    let up: [(&str, ToLeader<'_>); 11] = [
        ("QP.FOLLOWERINFO", ToLeader::Info { observes: false, accepted: Zxid(2 << 32), learner }),
        ("QP.OBSERVERINFO", ToLeader::Info { observes: true, accepted: Zxid(2 << 32), learner: observer }),
        ("QP.ACKEPOCH", ToLeader::AckEpoch { last: Zxid(0x2_0000_0005), current: 2 }),
        ("QP.ACKEPOCH.noack", ToLeader::AckEpoch { last: Zxid(0x2_0000_0005), current: -1 }),
        ("QP.ACK.newleader", ToLeader::Ack { zxid: Zxid(3 << 32) }),
        ("QP.ACK", ToLeader::Ack { zxid: Zxid(0x3_0000_0001) }),
        ("QP.PING.fromLearner", ToLeader::Ping { zxid: Zxid(0x3_0000_0001), touched: Touched(&two) }),
        ("QP.PING.fromLearner.empty", ToLeader::Ping { zxid: Zxid(0x3_0000_0001), touched: Touched(&[]) }),
        ("QP.REVALIDATE.request", ToLeader::Revalidate { session, timeout_ms: 30_000 }),
        (
            "QP.REQUEST.create",
            ToLeader::Request { session, cxid: 7, op: 1, body, identities: Some(vec![ip]) },
        ),
        (
            "QP.REQUEST.createSession",
            ToLeader::Request { session, cxid: 0, op: -10, body: &[0, 0, 0x75, 0x30], identities: None },
        ),
    ];
    for (name, expected) in up {
        let bytes = learner_says(name);
        assert_eq!(ToLeader::decode(only(&bytes)), Ok(expected), "{name}");
    }
    let proposal = server("QP.PROPOSAL.create");
    let entry = &proposal[16..proposal.len() - 4];
    let new_leader = server("QP.NEWLEADER");
    let config = Some(&new_leader[16..new_leader.len() - 4]);
    let zxid = Zxid(0x3_0000_0001);
    let down: [(&str, ToLearner<'_>); 14] = [
        ("QP.LEADERINFO", ToLearner::LeaderInfo { epoch: Epoch(3), protocol: 0x10000 }),
        ("QP.DIFF", ToLearner::Diff { zxid: Zxid(0x2_0000_0005) }),
        ("QP.TRUNC", ToLearner::Trunc { zxid: Zxid(0x2_0000_0003) }),
        ("QP.SNAP", ToLearner::Snap { zxid: Zxid(0x2_0000_0005) }),
        ("QP.NEWLEADER", ToLearner::NewLeader { epoch: Epoch(3), config }),
        ("QP.UPTODATE", ToLearner::UpToDate),
        ("QP.PROPOSAL.create", ToLearner::Proposal { zxid, entry }),
        ("QP.INFORM", ToLearner::Inform { zxid, entry }),
        ("QP.COMMIT", ToLearner::Commit { zxid }),
        ("QP.COMMITANDACTIVATE", ToLearner::CommitAndActivate { zxid: zxid.next(), leader: ServerId(2) }),
        ("QP.INFORMANDACTIVATE", ToLearner::InformAndActivate { zxid, leader: ServerId(2), entry }),
        ("QP.PING.fromLeader", ToLearner::Ping { zxid }),
        ("QP.REVALIDATE.reply", ToLearner::Revalidate { session, valid: true }),
        ("QP.SYNC", ToLearner::Sync { zxid: Zxid(0) }),
    ];
    for (name, expected) in down {
        let bytes = leader_says(name);
        assert_eq!(ToLearner::decode(only(&bytes)), Ok(expected), "{name}");
    }
    let sessions: Vec<_> = Touched(&two).iter().collect();
    assert_eq!(sessions, [(session, 30_000), (other, 10_000)]);
    let all = vectors(include_str!("../../../tests/vectors/server.json"));
    let packets = all.iter().filter(|(name, _, _)| name.starts_with("QP.")).count();
    assert_eq!(packets, 25, "each of them stands in a table above");
}

#[test]
fn what_is_not_a_packet() {
    let mut signature = Vec::new();
    Writer::new(&mut signature).string(SNAP_SIGNATURE);
    assert_eq!(signature, server("signature"));
    let bytes = server("QuorumAuthPacket");
    for end in 0..bytes.len() {
        assert_eq!(AuthPacket::cut(&bytes[..end], 99), Ok(None));
    }
    let (packet, length) = AuthPacket::cut(&bytes, 99).expect("well-formed").expect("whole");
    assert_eq!((packet, length), (AuthPacket { status: 0, token: Some(&[]) }, bytes.len()));
    let mut again = Vec::new();
    packet.encode(&mut again);
    assert_eq!(again, bytes);
    assert!(AuthPacket::cut(&server("QP.FOLLOWERINFO"), 99).is_err());
    let mut long = bytes[..12].to_vec();
    long.extend_from_slice(&100_i32.to_be_bytes());
    assert!(AuthPacket::cut(&long, 99).is_err());
}

#[test]
fn learners_of_old() {
    let info = server("LearnerInfo");
    let read = |length: usize| LearnerInfo::decode(Some(&info[..length]));
    let of =
        |protocol, config_version| Ok(LearnerInfo { server: Some(ServerId(2)), protocol, config_version });
    assert_eq!(read(20), of(0x10000, Some(1 << 32)));
    assert_eq!(read(12), of(0x10000, None));
    assert_eq!(read(8), of(1, None));
    assert!(read(7).is_err());
    assert_eq!(LearnerInfo::decode(None).map(|info| info.server), Ok(None));
}

#[test]
fn lengths_above_their_bound_are_refused_before_the_bytes_come() {
    let head = |length: i32| [&[0; 12][..], &length.to_be_bytes()].concat();
    assert!(cut(&head(100), 99).is_err());
    assert_eq!(cut(&head(99), 99), Ok(None));
    assert!(cut(&head(-2), 99).is_err());
    assert!(cut(&head(i32::MAX), DATA_MAX).is_err());
    let identities =
        |count: i32, length: i32| [&head(-1)[..], &count.to_be_bytes(), &length.to_be_bytes()].concat();
    assert!(cut(&identities(IDENTITIES_MAX as i32 + 1, 0), DATA_MAX).is_err());
    assert!(cut(&identities(1, IDENTITIES_BYTES_MAX as i32 * 2), DATA_MAX).is_err());
    assert_eq!(cut(&identities(1, 9), DATA_MAX), Ok(None));
    // A negative count reads as none, as in Java.
    let negative = identities(-7, 0);
    let (packet, _) = cut(&negative, DATA_MAX).expect("well-formed").expect("whole");
    assert_eq!(packet.identities, Some(vec![]));
}

#[test]
fn packets_of_the_wrong_direction_or_kind_are_told_apart() {
    let (commit, info) = (server("QP.COMMIT"), server("QP.FOLLOWERINFO"));
    assert!(ToLeader::decode(only(&commit)).is_err());
    assert!(ToLearner::decode(only(&info)).is_err());
    for kind in [0, 20, -1, i32::MIN] {
        let packet = Packet { kind, zxid: Zxid(1), data: None, identities: None };
        assert!(ToLeader::decode(packet.clone()).is_err() && ToLearner::decode(packet).is_err());
    }
    for kind in 1..20 {
        let packet = Packet { kind, zxid: Zxid(1), data: Some(b"abc"), identities: None };
        let (up, down) = (ToLeader::decode(packet.clone()), ToLearner::decode(packet));
        assert!(up.is_ok() || down.is_ok() || [1, 6, 9, 11, 16, 17, 18, 19].contains(&kind), "{kind}");
    }
}

/// Every byte that was recorded on quorum ports, in pieces, read and written again; what stands in proposals, too.
#[test]
fn recorded_conversations() {
    let (mut packets, mut entries) = (0, 0);
    for connection in traces::all().filter(|connection| !connection.is_election()) {
        for direction in ["connector", "acceptor"] {
            let (bytes, mut again) = (connection.bytes(direction), Vec::new());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (packet, length) = in_pieces(rest);
                packets += 1;
                rest = &rest[length..];
                let is_snap = packet.kind == PacketKind::Snap as i32;
                if direction == "connector" {
                    ToLeader::decode(packet).expect("well-formed").encode(&mut again);
                } else {
                    let said = ToLearner::decode(packet).expect("well-formed");
                    entries += usize::from(check_entry(&said));
                    said.encode(&mut again);
                }
                if is_snap {
                    let signature = server("signature");
                    let end = rest.windows(signature.len()).position(|window| window == signature);
                    let end = end.expect("the signature") + signature.len();
                    again.extend_from_slice(&rest[..end]);
                    rest = &rest[end..];
                }
            }
            assert!(again == bytes, "trace {} {direction}", connection.trace);
        }
    }
    assert_eq!((packets, entries), (1475, 370));
}

/// Cuts a packet as it would be with bytes coming in a few at a time.
fn in_pieces(bytes: &[u8]) -> (Packet<'_>, usize) {
    let mut have = 0;
    loop {
        have = (have + 13).min(bytes.len());
        if let Some(found) = cut(&bytes[..have], DATA_MAX).expect("well-formed") {
            return found;
        }
        assert!(have < bytes.len(), "the recording ends inside a packet");
    }
}

/// Reads and writes the transaction of a proposal or an INFORM; false for anything else.
fn check_entry(said: &ToLearner<'_>) -> bool {
    let (ToLearner::Proposal { zxid, entry } | ToLearner::Inform { zxid, entry }) = said else {
        return false;
    };
    let (header, txn, digest) = decode_entry(entry).expect("well-formed");
    assert_eq!(header.zxid, *zxid);
    let mut again = Vec::new();
    encode_entry(&mut again, &header, &txn, digest);
    assert!(again == *entry, "{header:?} {txn:?}");
    true
}

fn identities() -> impl Strategy<Value = Option<Vec<Identity>>> {
    let identity = ("[a-z]{0,6}", ".{0,9}").prop_map(|(scheme, id)| Identity { scheme, id });
    proptest::option::of(proptest::collection::vec(identity, 0..4))
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        kind in -1..21_i32, rest in proptest::collection::vec(any::<u8>(), 0..120), whole in any::<bool>(),
    ) {
        let bytes = if whole { [&kind.to_be_bytes()[..], &rest].concat() } else { rest };
        if let Ok(Some((packet, length))) = cut(&bytes, 64) {
            prop_assert!(length <= bytes.len());
            let _ = (ToLeader::decode(packet.clone()), ToLearner::decode(packet));
        }
        let _ = AuthPacket::cut(&bytes, 64);
    }

    /// Whatever data a packet of a known kind has: what is understood is written as it was read, or shorter by what
    /// nobody reads.
    #[test]
    fn packets_round_trip(
        kind in 1..20_i32, zxid in any::<i64>(), data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        identities in identities(),
    ) {
        let sent = Packet { kind, zxid: Zxid(zxid), data: data.as_deref(), identities };
        let mut bytes = Vec::new();
        sent.encode(&mut bytes);
        let (packet, length) = cut(&bytes, 60).expect("well-formed").expect("whole");
        // Java writes what is beyond the first plane of Unicode as two characters, which read as one sign of unknown each.
        if sent.identities.iter().flatten().all(|identity| identity.id.chars().all(|c| (c as u32) < 0x10000)) {
            prop_assert_eq!(&packet, &sent);
        }
        prop_assert_eq!(length, bytes.len());
        let is_old = |said: &ToLeader<'_>| {
            matches!(said, ToLeader::Info { learner: LearnerInfo { config_version: None, .. }, .. })
        };
        if let Ok(said) = ToLeader::decode(packet.clone()) && !is_old(&said) {
            let mut again = Vec::new();
            said.encode(&mut again);
            let (packet, _) = cut(&again, 60).expect("well-formed").expect("whole");
            prop_assert_eq!(ToLeader::decode(packet), Ok(said));
        }
        if let Ok(said) = ToLearner::decode(packet) {
            let mut again = Vec::new();
            said.encode(&mut again);
            let (packet, _) = cut(&again, 60).expect("well-formed").expect("whole");
            prop_assert_eq!(ToLearner::decode(packet), Ok(said));
        }
    }
}
