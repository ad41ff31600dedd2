//! Snapshot files, ours and Apache's: found by name, read whole, written under another name until they are durable.
//! The extension says how one is packed.

use super::teller::Told;
use crate::ids::{SessionId, Zxid};
use crate::io::disk::AtomicFile;
use crate::log::apache::zxid_in_name;
use crate::tree::image::{self, Compression, Image, ImageOptions};
use crate::tree::image_writer::ImageWriter;
use crate::tree::packer::Packer;
use crate::tree::{StoreSettings, Tree, snappy};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Files with the zxid in their names, ascending; of one zxid there may be several, differently packed.
pub type Files = Vec<(Zxid, PathBuf)>;

/// Files of a folder that are named exactly `<prefix>.<zxid>`, and perhaps `.gz` or `.snappy`. What has something else
/// behind the zxid is a copy that somebody made.
pub fn find(folder: &Path, prefix: &str) -> io::Result<Files> {
    let mut found = Files::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(zxid) = path.file_name().and_then(|name| zxid_in_name(&name.to_string_lossy(), prefix)) {
            found.push((zxid, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Names that begin like those of `find` and are none.
pub fn others(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_other = |name: &String| {
        let is_alike = name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        is_alike && zxid_in_name(name, prefix).is_none() && !name.ends_with(".tmp")
    };
    let mut others: Vec<String> = names.filter(is_other).collect();
    others.sort();
    others
}

/// Reads one to its end; the error says why it cannot be used.
pub fn read(path: &Path, settings: &StoreSettings, options: &ImageOptions) -> Result<Image, String> {
    let mut source = open(path).map_err(|error| error.to_string())?;
    let empty = Tree::empty(settings.hash_seed, settings.rules);
    image::read(&mut source, empty, options).map_err(|error| error.to_string())
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let file = Told::new(file, path.display().to_string(), bytes);
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("snappy") => Box::new(snappy::Decoder::new(file)),
        _ => Box::new(file),
    })
}

/// A point in time, to be written.
pub struct Snapshot<'a> {
    /// The nodes.
    pub tree: &'a Tree,
    /// With their timeouts in ms.
    pub sessions: &'a [(SessionId, i32)],
    /// Of the tree, and the transaction after which it is.
    pub digest: Option<(Zxid, u64)>,
    /// The newest transaction in it.
    pub zxid: Zxid,
}

impl Snapshot<'_> {
    /// Writes it into a folder, durable when this returns. The file, and its bytes.
    pub fn write(
        &self,
        folder: &Path,
        compression: Compression,
        options: &ImageOptions,
    ) -> Result<(PathBuf, u64), String> {
        let path = folder.join(format!("snapshot.{:x}{}", self.zxid, compression.extension()));
        match self.write_file(&path, compression, options) {
            Ok(bytes) => Ok((path, bytes)),
            Err(error) => Err(format!("cannot write {}: {error}", path.display())),
        }
    }

    fn write_file(&self, path: &Path, compression: Compression, options: &ImageOptions) -> io::Result<u64> {
        let mut file = AtomicFile::create(path)?;
        let sessions = self.sessions.to_vec();
        let mut writer = ImageWriter::new(self.tree, sessions, self.digest, self.zxid, *options);
        let (mut packer, mut is_more) = (Packer::new(compression), true);
        while is_more {
            let mut plain = Vec::new();
            is_more = writer.next_chunk(self.tree, &mut plain);
            file.write_all(&packer.pack(plain, !is_more))?;
        }
        file.finish()
    }
}
