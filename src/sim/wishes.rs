//! What clients ask for. Everything happens below one node, so that they meet; what a world has of lists, quotas, long
//! values and forged frames is drawn with it.

use super::access::{self, List};
use super::actions::{Action, CONTAINER, TTL};
use super::quotas;
use crate::log::frame::{FRAME_MAGIC, SEGMENT_MAGIC};
use crate::prng::Prng;

/// Everything happens below it.
pub const BASE: &str = "/s";

/// What clients of a world are like.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Lists other than the open one, and proofs.
    pub has_acls: bool,
    pub has_quotas: bool,
    /// The longest values.
    pub value_bytes_max: usize,
    /// Values that look like frames of the log.
    pub has_forged_frames: bool,
    /// Many paths that nobody writes to are watched.
    pub has_many_watches: bool,
    /// Nodes have many children, sessions many nodes.
    pub has_many_nodes: bool,
}

impl Wishes {
    pub fn draw_world(prng: &mut Prng, value_bytes_max: usize) -> Wishes {
        Wishes {
            has_acls: prng.chance(40),
            has_quotas: prng.chance(40),
            value_bytes_max,
            has_forged_frames: prng.chance(30),
            has_many_watches: prng.chance(30),
            has_many_nodes: prng.chance(30),
        }
    }

    /// Any request.
    pub fn draw(&self, prng: &mut Prng) -> Action {
        let watch = prng.chance(30);
        let path = self.path(prng);
        match prng.below(1000) {
            0..180 => Action::Get { path, watch },
            180..260 => Action::Exists { path, watch },
            260..340 => Action::Children { path, watch, with_stat: prng.chance(50) },
            340..370 => Action::AddWatch { path, recursive: prng.chance(50) },
            370..410 => Action::Sync,
            410..450 => Action::Ping,
            450..520 => Action::Multi((0..1 + prng.below(4)).map(|_| self.write(prng, true)).collect()),
            520..523 => Action::Close,
            523..543 => Action::MultiRead((0..prng.below(6)).map(|_| self.read(prng)).collect()),
            543..563 => Action::GetEphemerals,
            563..573 => Action::RemoveWatches { path },
            573..585 => Action::GetAcl { path },
            585..625 if self.has_acls => Action::Auth { user: access::draw_user(prng) },
            625..650 if self.has_quotas => self.quota(prng),
            650..700 if self.has_many_watches => {
                let path = format!("{BASE}/{}", "w".repeat(1 + prng.below(120) as usize));
                Action::Exists { path, watch: true }
            }
            _ => self.write(prng, false),
        }
    }

    fn path(&self, prng: &mut Prng) -> String {
        let name = |prng: &mut Prng| (b'a' + prng.below(4) as u8) as char;
        match prng.below(20) {
            0..2 => BASE.to_string(),
            2 if self.has_quotas => {
                let (limits, stats) = quotas::nodes_of(LIMITED[prng.below(2) as usize]);
                if prng.chance(50) { limits } else { stats }
            }
            2..12 => format!("{BASE}/{}", name(prng)),
            _ => format!("{BASE}/{}/{}", name(prng), name(prng)),
        }
    }

    fn read(&self, prng: &mut Prng) -> Action {
        let path = self.path(prng);
        if prng.chance(50) {
            Action::Get { path, watch: false }
        } else {
            Action::Children { path, watch: false, with_stat: false }
        }
    }

    fn write(&self, prng: &mut Prng, in_multi: bool) -> Action {
        let mut path = self.path(prng);
        if path.starts_with(quotas::ROOT) {
            path = BASE.to_string();
        }
        let version = if prng.chance(70) { -1 } else { prng.below(4) as i32 };
        if path == BASE && !prng.chance(10) {
            // Without it nothing would happen.
            let (data, acl) = (self.value(prng, &path), access::open());
            return Action::Create { path, data, flags: 0, with_stat: prng.chance(30), acl };
        }
        match prng.below(20) {
            0..8 => {
                let flags = match self.has_many_nodes && prng.chance(80) {
                    true => {
                        path += &"n".repeat(prng.below(80) as usize);
                        2 + prng.below(2) as i32
                    }
                    false => [0, 0, 0, 1, 1, 2, 3, CONTAINER, TTL][prng.below(9) as usize],
                };
                let acl = self.acl(prng, &path);
                Action::Create { data: self.value(prng, &path), path, flags, with_stat: prng.chance(30), acl }
            }
            8..12 => Action::Delete { path, version },
            12..14 if in_multi => Action::Check { path, version },
            14 if self.has_acls && !in_multi && path != BASE => {
                Action::SetAcl { acl: self.acl(prng, &path), path, version }
            }
            _ => Action::Set { data: self.value(prng, &path), path, version },
        }
    }

    /// The base stays open, or nothing would happen below it any more.
    fn acl(&self, prng: &mut Prng, path: &str) -> List {
        if self.has_acls && path != BASE && prng.chance(25) { access::draw(prng) } else { access::open() }
    }

    fn value(&self, prng: &mut Prng, path: &str) -> Vec<u8> {
        if self.has_forged_frames && self.value_bytes_max > FORGED_BYTES_MAX && prng.chance(20) {
            return forged(prng, path);
        }
        let bytes_max = match prng.below(100) {
            0..3 => self.value_bytes_max,
            3..6 => self.value_bytes_max.min(9000),
            _ => self.value_bytes_max.min(60),
        };
        vec![b'v'; prng.below(bytes_max as u64 + 1) as usize]
    }

    /// Limits are made and go together with the usage: what is counted is then the same before and after a start.
    fn quota(&self, prng: &mut Prng) -> Action {
        let path = LIMITED[prng.below(2) as usize];
        let (limits, stats) = quotas::nodes_of(path);
        let number = |prng: &mut Prng, most| if prng.chance(50) { prng.below(most) as i64 } else { -1 };
        let hard = |prng: &mut Prng, most| prng.chance(50).then(|| prng.below(most) as i64);
        let (soft, hard) = ((number(prng, 4), number(prng, 200)), (hard(prng, 6), hard(prng, 300)));
        let text = quotas::limits(soft, hard).into_bytes();
        let create = |path: &str, data: Vec<u8>| Action::Create {
            path: path.into(),
            data,
            flags: 0,
            with_stat: false,
            acl: access::open(),
        };
        let above = format!("{}{path}", quotas::ROOT);
        match prng.below(10) {
            0 => Action::Multi(vec![
                Action::Delete { path: stats, version: -1 },
                Action::Delete { path: limits, version: -1 },
            ]),
            1..3 => Action::Set { path: limits, data: text, version: -1 },
            3 => create(&format!("{}{BASE}", quotas::ROOT), Vec::new()),
            4 => create(&above, Vec::new()),
            _ => Action::Multi(vec![create(&limits, text), create(&stats, b"count=0,bytes=0".to_vec())]),
        }
    }
}

/// Of data with forged headers, at most.
const FORGED_BYTES_MAX: usize = 5 * 4096;

/// Paths with quotas; none of them lies below another.
const LIMITED: [&str; 2] = ["/s/a", "/s/b"];

/// Data that holds, where a block of the log may begin, what the header of a frame or of a segment begins with: the numbers
/// are right or nearly so, only the log's own secret is missing.
fn forged(prng: &mut Prng, path: &str) -> Vec<u8> {
    const BLOCK: usize = 4096;
    const HEADER: usize = 76;
    // Before the data of the first transaction in a frame: its length and header, the path, and their lengths.
    let ahead = HEADER + 4 + 32 + 4 + path.len() + 4;
    let phase = if prng.chance(70) { BLOCK - ahead } else { prng.below(BLOCK as u64) as usize };
    let mut data = vec![b'f'; phase];
    let (segment, sequence) = (prng.below(12), 1 + prng.below(400));
    for block in 0..1 + prng.below(3) {
        let mut header = Vec::new();
        let is_frame = prng.chance(80);
        let magic = if is_frame { FRAME_MAGIC } else { SEGMENT_MAGIC };
        let zxid = 1 + prng.below(400);
        for number in [magic, segment, 1 + prng.below(5), sequence + block, sequence + block - 1, zxid, zxid]
        {
            header.extend_from_slice(&number.to_le_bytes());
        }
        // A body of no bytes: its checksum is the header's.
        for number in [0u32, 1, 1] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&header);
        header.extend_from_slice(&sum.to_le_bytes());
        header.extend_from_slice(&sum.to_le_bytes());
        header.resize(BLOCK, b'f');
        data.extend(header);
    }
    data
}
