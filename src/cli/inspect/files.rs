//! What a file is, by its first bytes (by its name where those are damaged), and which files of a folder belong to what.

use crate::config::Config;
use crate::ids::Zxid;
use crate::limits::LOG_BLOCK;
use crate::log::apache::zxid_in_name;
use crate::log::frame::SegmentHeader;
use crate::tree::snappy;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Transactions as Apache ZooKeeper logs them.
    ApacheLog,
    /// Transactions as we log them.
    Segment,
    /// A tree, with what its bytes are packed in.
    Snapshot(Packing),
    /// Nothing of ours or Apache's.
    Unknown,
}

/// What a snapshot is packed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Packing {
    Plain,
    Gzip,
    Snappy,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ApacheLog => "log of Apache ZooKeeper",
            Kind::Segment => "log segment of Ringkeeper",
            Kind::Snapshot(Packing::Plain) => "snapshot",
            Kind::Snapshot(Packing::Gzip) => "snapshot, gzip",
            Kind::Snapshot(Packing::Snappy) => "snapshot, snappy",
            Kind::Unknown => "not recognised",
        }
    }

    /// True for both kinds of logs.
    pub fn is_log(self) -> bool {
        matches!(self, Kind::ApacheLog | Kind::Segment)
    }
}

/// Recognises a file.
pub fn kind_of(path: &Path) -> io::Result<Kind> {
    let mut head = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut head)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(kind(&head, &name))
}

fn kind(head: &[u8], name: &str) -> Kind {
    match head {
        [b'Z', b'K', b'L', b'G', ..] => Kind::ApacheLog,
        [b'R', b'K', b'S', b'E', b'G', b'M', b'T', _] => Kind::Segment,
        [b'Z', b'K', b'S', b'N', ..] => Kind::Snapshot(Packing::Plain),
        [0x1f, 0x8b, ..] => Kind::Snapshot(Packing::Gzip),
        [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0] => Kind::Snapshot(Packing::Snappy),
        _ => kind_by_name(name),
    }
}

fn kind_by_name(name: &str) -> Kind {
    if segment_number(name).is_some() {
        Kind::Segment
    } else if zxid_in_name(name, "log").is_some() {
        Kind::ApacheLog
    } else if zxid_in_name(name, "snapshot").is_some() {
        Kind::Snapshot(match name.rsplit('.').next() {
            Some("gz") => Packing::Gzip,
            Some("snappy") => Packing::Snappy,
            _ => Packing::Plain,
        })
    } else {
        Kind::Unknown
    }
}

/// A snapshot's bytes, unpacked.
pub fn unpacked(path: &Path, packing: Packing) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Packing::Snappy => Box::new(snappy::Decoder::new(file)),
    })
}

/// The folders an operator means: one that he names, or dataDir and dataLogDir of the zoo.cfg that he names. None: it is a
/// log or a snapshot.
pub fn folders_of(path: &Path) -> Result<Option<Vec<PathBuf>>, String> {
    if path.is_dir() {
        return Ok(Some(vec![path.to_path_buf()]));
    }
    let kind = kind_of(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if kind != Kind::Unknown {
        return Ok(None);
    }
    let (config, _) = Config::load(Some(path), &[], &|_| None).map_err(|error| {
        format!(
            "{} is no log and no snapshot, neither of Apache ZooKeeper nor of Ringkeeper, and no zoo.cfg ({error})",
            path.display()
        )
    })?;
    let mut folders = vec![config.server.data_dir, config.server.log_dir];
    folders.dedup();
    Ok(Some(folders))
}

/// The files of a data folder, each list in the order of its zxids.
#[derive(Default, Debug)]
pub struct Folder {
    /// Apache's logs.
    pub apache_logs: Vec<(Zxid, PathBuf)>,
    /// Apache's snapshots.
    pub apache_snapshots: Vec<(Zxid, PathBuf)>,
    /// Our logs, by number.
    pub segments: Vec<(u64, PathBuf)>,
    /// Our snapshots.
    pub snapshots: Vec<(Zxid, PathBuf)>,
}

impl Folder {
    /// Looks into each folder itself, its `version-2` and its `ringkeeper`.
    pub fn read(folders: &[PathBuf]) -> Result<Folder, String> {
        let unreadable =
            |path: &Path, error: io::Error| format!("cannot read the folder {}: {error}", path.display());
        let mut found = Folder::default();
        let mut seen = BTreeSet::new();
        for folder in folders {
            let own = fs::canonicalize(folder).map_err(|error| unreadable(folder, error))?;
            if seen.insert(own.clone()) {
                found.look_into(&own).map_err(|(part, error)| unreadable(&part, error))?;
            }
        }
        found.settle();
        if found.is_empty() {
            let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            return Err(format!(
                "{} holds no snapshot and no log, nor do version-2 and ringkeeper below it; give the dataDir (or \
                 dataLogDir) of a server, its zoo.cfg, or a file",
                names.join(" and ")
            ));
        }
        Ok(found)
    }

    fn look_into(&mut self, own: &Path) -> Result<(), (PathBuf, io::Error)> {
        let is_ours = |path: &Path| path.file_name().is_some_and(|name| name == "ringkeeper");
        for part in [own.to_path_buf(), own.join("version-2"), own.join("ringkeeper")] {
            match fs::read_dir(&part) {
                Ok(entries) => {
                    for entry in entries {
                        let path = entry.map_err(|error| (part.clone(), error))?.path();
                        self.add(path, is_ours(&part));
                    }
                }
                Err(error) if part != own && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((part, error)),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, is_ours: bool) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(zxid) = zxid_in_name(&name, "log") {
            self.apache_logs.push((zxid, path));
        } else if let Some(zxid) = zxid_in_name(&name, "snapshot") {
            let snapshots = if is_ours { &mut self.snapshots } else { &mut self.apache_snapshots };
            snapshots.push((zxid, path));
        } else if let Some(number) = segment_number(&name) {
            self.segments.push((number, path));
        }
    }

    /// Files copied out of a folder named `ringkeeper` are recognised by their company.
    fn settle(&mut self) {
        if !self.segments.is_empty() && self.apache_logs.is_empty() {
            self.snapshots.append(&mut self.apache_snapshots);
        }
        self.apache_logs.sort();
        self.apache_snapshots.sort();
        self.segments.sort();
        self.snapshots.sort();
    }

    fn is_empty(&self) -> bool {
        self.apache_logs.is_empty()
            && self.apache_snapshots.is_empty()
            && self.segments.is_empty()
            && self.snapshots.is_empty()
    }

    /// True if a server of ours has written here.
    pub fn is_ours(&self) -> bool {
        !self.segments.is_empty() || !self.snapshots.is_empty()
    }

    /// All logs, Apache's first: ours continue from them. Segments prepared for later are left out.
    pub fn logs(&self) -> Vec<PathBuf> {
        let apache = self.apache_logs.iter().map(|(_, path)| path.clone());
        let begun = self.segments.iter().filter(|(number, path)| is_begun(*number, path));
        apache.chain(begun.map(|(_, path)| path.clone())).collect()
    }

    /// All files.
    pub fn files(&self) -> Vec<PathBuf> {
        let snapshots = self.apache_snapshots.iter().chain(&self.snapshots).map(|(_, path)| path.clone());
        snapshots.chain(self.logs()).collect()
    }
}

/// False for a segment that is all zero, or that still says what it was before it is used again.
fn is_begun(number: u64, path: &Path) -> bool {
    let mut block = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LOG_BLOCK as u64).read_to_end(&mut block));
    match SegmentHeader::read(&block) {
        Some(header) => header.segment.get() == number,
        None => read.is_err() || block.iter().any(|byte| *byte != 0),
    }
}

fn segment_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("segment.")?, 16).ok()
}
