//! Which segments of a folder count, and up to where: as a start of the server decides (`log::plan`).

use crate::ids::{SegmentId, Zxid};
use crate::log::files::{LogFile, log_file, segment_name};
use crate::log::{End, SegmentSource, plan, read_headers};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Up to where a segment counts beside the others of its folder; without a bound if those cannot be read.
pub fn end_of(path: &Path) -> End {
    let all = End::UNBOUNDED;
    let id = path.file_name().and_then(|name| name.to_str()).and_then(log_file);
    let (Some(LogFile::Segment(id)), Some(folder)) = (id, path.parent()) else { return all };
    let mut source = Segments { folder };
    let ends = read_headers(&mut source).map(|files| crate::log::ends(&files));
    ends.ok().and_then(|ends| ends.into_iter().find(|(other, _)| *other == id)).map_or(all, |(_, end)| end)
}

/// The segments of a folder that a start with this snapshot reads, oldest first.
pub fn needed_after(folder: &Path, snapshot: Zxid) -> Result<Vec<PathBuf>, String> {
    let mut source = Segments { folder };
    let files = read_headers(&mut source).map_err(|error| error.to_string())?;
    let plan = plan(&source, files, snapshot).map_err(|error| error.to_string())?;
    Ok(plan.needed().map(|id| folder.join(segment_name(id))).collect())
}

/// The segments of a folder; nothing is changed.
struct Segments<'a> {
    folder: &'a Path,
}

impl SegmentSource for Segments<'_> {
    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder)? {
            if let Some(LogFile::Segment(id)) = entry?.file_name().to_str().and_then(log_file) {
                found.push(id);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn length(&self, segment: SegmentId) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join(segment_name(segment)))?.len())
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        File::open(self.folder.join(segment_name(segment)))?.read_exact_at(into, offset)
    }

    fn sync(&mut self, _: SegmentId) -> io::Result<()> {
        Ok(())
    }

    fn name(&self, segment: SegmentId) -> String {
        self.folder.join(segment_name(segment)).display().to_string()
    }
}
