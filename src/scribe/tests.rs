//! What the scribe wants of its driver, input by input.

use super::*;
use crate::ids::Origin;
use crate::limits::{IMAGE_CHUNKS_IN_FLIGHT, LOG_SPARES_MAX};
use crate::mesh::Committed;
use crate::tree::image;
use crate::tree::{Effects, OwnerRules, Store, StoreSettings, Undo};
use crate::wire::txn::CreateKind;
use crate::wire::{Acl, Txn, TxnHeader};
use std::io::Read;

const SETTINGS: StoreSettings = StoreSettings {
    hash_seed: 1,
    rules: OwnerRules { extended_types: false, emulate_353: false },
    digest_enabled: true,
    enforce_quota: false,
};

/// A scribe beside the store that it follows.
struct Rig {
    scribe: Scribe,
    store: Store,
    out: Vec<ScribeOutput>,
}

impl Rig {
    fn new(compression: Compression, found: Found) -> Rig {
        let store = Store::new(SETTINGS);
        let settings = ScribeSettings { image: ImageOptions::default(), compression, chunk_bytes: 64 };
        Rig { scribe: Scribe::new(settings, store.tree().without_index(), found), store, out: Vec::new() }
    }

    fn step(&mut self, input: ScribeInput) {
        self.scribe.step(input, &mut self.out);
    }

    fn ended(&mut self, lane: Lane, result: Result<Done, WorkError>) {
        self.step(ScribeInput::Ended { lane, result });
    }

    /// A node is created.
    fn create(&mut self, zxid: i64) {
        let txn = Txn::Create {
            kind: CreateKind::Create,
            path: format!("/n{zxid}").into(),
            data: Some(b"data"),
            acl: Acl::open().into(),
            ephemeral: false,
            parent_cversion: -1,
        };
        let (session, zxid) = (SessionId(9), Zxid(zxid));
        let header = TxnHeader { session, cxid: 1, zxid, time_ms: 1_700_000_000_000, op: txn.op() };
        let mut effects = Effects::new();
        self.store.apply(&header, &txn, &mut effects, &mut Undo::none()).expect("valid");
        self.store.set_applied(zxid);
        let answer: Option<(Origin, crate::mesh::Answer)> = None;
        let txns = vec![Committed { zxid, effects, answer, session: None }];
        self.step(ScribeInput::Batch(Arc::new(Batch { txns, bytes: 100 })));
    }

    fn snapshot(&mut self, keep: Option<usize>) {
        let zxid = self.store.tree().applied();
        let digest = self.store.digest().map(|digest| (zxid, digest));
        self.step(ScribeInput::Snapshot { zxid, digest, sessions: Vec::new(), keep });
    }

    /// The works asked for since the last look.
    fn works(&mut self) -> Vec<Work> {
        let works = std::mem::take(&mut self.out).into_iter().map(|output| match output {
            ScribeOutput::Work { work, .. } => work,
            other => panic!("{other:?}"),
        });
        works.collect()
    }

    fn report(&mut self) -> Report {
        match std::mem::take(&mut self.out).pop() {
            Some(ScribeOutput::Report(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the works of a snapshot until it is to be finished; its bytes. Something is committed before each of them.
    fn write(&mut self) -> Vec<u8> {
        let (mut file, mut in_flight, mut zxid) = (Vec::new(), 0, self.store.tree().applied().0);
        loop {
            for work in self.works() {
                match work {
                    Work::Create { .. } => in_flight += 1,
                    Work::Write { bytes } => {
                        file.extend(bytes);
                        in_flight += 1;
                    }
                    Work::Finish => return file,
                    other => panic!("{other:?}"),
                }
            }
            assert!((1..=IMAGE_CHUNKS_IN_FLIGHT).contains(&in_flight), "{in_flight}");
            in_flight -= 1;
            zxid += 1;
            self.create(zxid);
            self.ended(Lane::Snapshots, Ok(Done::Done));
        }
    }
}

fn full() -> WorkError {
    WorkError { no_space: true, what: "snapshot.a: no space left".into() }
}

fn list(names: &[&str]) -> Result<Done, WorkError> {
    Ok(Done::Listed(names.iter().map(|name| ((*name).into(), 10)).collect()))
}

#[test]
fn a_snapshot_is_the_state_at_its_zxid_whatever_is_committed_meanwhile() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let mut world = Rig::new(compression, Found::default());
        (1..=20).for_each(|zxid| world.create(zxid));
        world.snapshot(None);
        let (digest, nodes) = (world.store.digest(), world.store.tree().node_count());
        let file = world.write();
        assert!(world.store.tree().node_count() > nodes);
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain = file,
            Compression::Gzip => {
                _ = flate2::read::MultiGzDecoder::new(&file[..]).read_to_end(&mut plain).expect("gzip");
            }
            Compression::Snappy => {
                _ = crate::tree::snappy::Decoder::new(&file[..]).read_to_end(&mut plain).expect("snappy");
            }
        }
        let empty = Tree::empty(1, OwnerRules::default());
        let image = image::read(&mut &plain[..], empty, &ImageOptions::default()).expect("sound");
        assert_eq!(image.tree.node_count(), nodes);
        assert_eq!(Store::from_tree(SETTINGS, image.tree).digest(), digest);
        world.ended(Lane::Snapshots, Ok(Done::Finished { bytes: plain.len() as u64 }));
        assert_eq!(world.works(), [Work::List]);
        world.ended(Lane::Snapshots, list(&["snapshot.14", "identity"]));
        let bytes = plain.len() as u64;
        let done = Report::SnapshotDone { zxid: Zxid(20), bytes, folder_bytes: Some(20) };
        assert_eq!(world.report(), done);
        assert!(world.scribe.is_idle());
    }
}

#[test]
fn old_snapshots_go_when_the_new_one_is_in_place() {
    let found = Found { unreadable: vec!["snapshot.8".into()], ..Found::default() };
    let mut world = Rig::new(Compression::None, found);
    (1..=10).for_each(|zxid| world.create(zxid));
    world.snapshot(Some(2));
    world.write();
    world.ended(Lane::Snapshots, Ok(Done::Finished { bytes: 7 }));
    assert_eq!(world.works(), [Work::List]);
    let names = ["snapshot.1", "snapshot.2", "snapshot.5.gz", "snapshot.8", "snapshot.a"];
    world.ended(Lane::Snapshots, list(&names));
    assert_eq!(world.works(), [Work::RemoveSnapshot { name: "snapshot.1".into() }]);
    world.ended(Lane::Snapshots, Ok(Done::Done));
    assert_eq!(world.works(), [Work::RemoveSnapshot { name: "snapshot.2".into() }]);
    world.ended(Lane::Snapshots, Err(WorkError { no_space: false, what: "EACCES".into() }));
    assert!(matches!(&world.out[0], ScribeOutput::Notice { text } if text.contains("EACCES")));
    let done = Report::SnapshotDone { zxid: Zxid(10), bytes: 7, folder_bytes: Some(30) };
    assert_eq!(world.report(), done);
}

#[test]
fn a_snapshot_that_fails_is_removed_and_the_next_one_is_written() {
    let mut world = Rig::new(Compression::None, Found::default());
    (1..=10).for_each(|zxid| world.create(zxid));
    world.snapshot(None);
    assert_eq!(world.works(), [Work::Create { name: "snapshot.a".into() }]);
    world.ended(Lane::Snapshots, Ok(Done::Done));
    assert_eq!(world.works().len(), IMAGE_CHUNKS_IN_FLIGHT);
    world.ended(Lane::Snapshots, Err(full()));
    assert_eq!(world.works(), [], "a piece is still on its way");
    world.ended(Lane::Snapshots, Err(WorkError { no_space: false, what: "it was given up".into() }));
    assert_eq!(world.works(), [Work::Abandon { name: "snapshot.a".into() }]);
    world.ended(Lane::Snapshots, Ok(Done::Done));
    assert_eq!(world.report(), Report::SnapshotFailed { what: full().what });
    world.create(11);
    world.snapshot(None);
    assert!(!world.write().is_empty());
}

#[test]
fn a_segment_does_not_wait_for_a_snapshot() {
    let mut world = Rig::new(Compression::None, Found::default());
    world.create(1);
    world.snapshot(None);
    world.works();
    let segment = SegmentId(3);
    world.step(ScribeInput::Prepare { segment, bytes: 64 });
    assert_eq!(world.works(), [Work::Zeros { segment, bytes: 64 }]);
    world.ended(Lane::Segments, Ok(Done::Done));
    assert_eq!(world.report(), Report::SegmentReady { segment, bytes: 64 });
    assert_eq!(world.scribe.snapshot(), Some(Zxid(1)));
}

#[test]
fn released_segments_are_used_again_if_their_length_is_right() {
    let spares = vec![(SegmentId(1), 32), (SegmentId(2), 64)];
    let mut world = Rig::new(Compression::None, Found { spares, ..Found::default() });
    let segment = SegmentId(9);
    world.step(ScribeInput::Prepare { segment, bytes: 64 });
    assert_eq!(world.works(), [Work::RemoveSpare { spare: SegmentId(1) }]);
    world.ended(Lane::Segments, Ok(Done::Done));
    assert_eq!(world.works(), [Work::Reuse { spare: SegmentId(2), segment }]);
    world.ended(Lane::Segments, Err(WorkError { no_space: false, what: "EIO".into() }));
    assert_eq!(world.works(), [Work::RemoveSpare { spare: SegmentId(2) }]);
    world.ended(Lane::Segments, Ok(Done::Done));
    assert_eq!(world.works(), [Work::Zeros { segment, bytes: 64 }]);
    world.ended(Lane::Segments, Err(full()));
    let failed = Report::SegmentFailed { segment, no_space: true, what: full().what };
    assert_eq!(world.report(), failed);
    for id in 3..=5 {
        world.step(ScribeInput::Release { segment: SegmentId(id) });
    }
    for id in 3..=4 {
        assert_eq!(world.works(), [Work::Keep { segment: SegmentId(id) }]);
        world.ended(Lane::Segments, Ok(Done::Kept { bytes: 64 }));
    }
    assert_eq!(world.works(), [Work::RemoveSegment { segment: SegmentId(5) }]);
    world.ended(Lane::Segments, Ok(Done::Done));
    assert_eq!(world.scribe.spares().count(), LOG_SPARES_MAX);
    assert!(world.scribe.is_idle() && world.out.is_empty());
}

#[test]
fn for_space_snapshots_go_before_the_segment_is_tried_again() {
    let mut world = Rig::new(Compression::None, Found::default());
    world.step(ScribeInput::RemoveSnapshots { before: Zxid(5) });
    world.step(ScribeInput::Prepare { segment: SegmentId(1), bytes: 64 });
    assert_eq!(world.works(), [Work::List]);
    world.ended(Lane::Segments, list(&["snapshot.4", "snapshot.5", "snapshot.4.bak"]));
    assert_eq!(world.works(), [Work::RemoveSnapshot { name: "snapshot.4".into() }]);
    world.ended(Lane::Segments, Ok(Done::Done));
    assert_eq!(world.works(), [Work::Zeros { segment: SegmentId(1), bytes: 64 }]);
}
