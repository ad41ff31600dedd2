//! Names of the log's files, and what a start does with those that no log needs.
//!
//! | Name | What |
//! |---|---|
//! | `segment.N` | a segment of the log, or one prepared for it |
//! | `spare.N` | a segment's file whose content is no longer needed, to be used again |
//! | `segment.N.tmp`, `spare.N.tmp` | not finished when its process died |
//!
//! Old content does no harm: a frame counts only where number and incarnation are those of its segment's header.

use crate::ids::SegmentId;
use crate::limits::LOG_SPARES_MAX;
use std::collections::BTreeMap;

/// What a name in the log's folder says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogFile {
    Segment(SegmentId),
    Spare(SegmentId),
    /// Left behind by a process that died.
    Unfinished,
}

/// The name of a segment file.
pub fn segment_name(segment: SegmentId) -> String {
    format!("segment.{:016x}", segment.0)
}

/// The name of a spare file, after the segment it was.
pub fn spare_name(segment: SegmentId) -> String {
    format!("spare.{:016x}", segment.0)
}

/// None for files that are not the log's: exactly the names above are.
pub fn log_file(name: &str) -> Option<LogFile> {
    if let Some(name) = name.strip_suffix(".tmp") {
        let is_ours = matches!(log_file(name), Some(LogFile::Segment(_) | LogFile::Spare(_)));
        return is_ours.then_some(LogFile::Unfinished);
    }
    let (kind, digits) = name.split_once('.')?;
    let id = SegmentId(u64::from_str_radix(digits, 16).ok()?);
    match kind {
        "segment" if segment_name(id) == name => Some(LogFile::Segment(id)),
        "spare" if spare_name(id) == name => Some(LogFile::Spare(id)),
        _ => None,
    }
}

/// What a start does in the log's folder before anything is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Prepared segments that become spares.
    pub rename: Vec<SegmentId>,
    /// Names of files to be removed.
    pub remove: Vec<String>,
    /// What is spare afterwards.
    pub spares: Vec<SegmentId>,
}

/// Sorts the files of the log's folder, each with its bytes. `prepared`: segments that were never used.
pub fn sweep(files: &[(String, u64)], prepared: &[SegmentId], segment_bytes: u64) -> Sweep {
    let mut sweep = Sweep::default();
    // A segment that becomes spare replaces a spare file of the same name.
    let mut found = BTreeMap::new();
    for (name, bytes) in files {
        match log_file(name) {
            Some(LogFile::Unfinished) => sweep.remove.push(name.clone()),
            Some(LogFile::Spare(id)) => _ = found.entry(id).or_insert((false, *bytes)),
            Some(LogFile::Segment(id)) if prepared.contains(&id) => _ = found.insert(id, (true, *bytes)),
            Some(LogFile::Segment(_)) | None => {}
        }
    }
    for (id, (is_segment, bytes)) in found {
        let is_kept = bytes == segment_bytes && sweep.spares.len() < LOG_SPARES_MAX;
        match (is_kept, is_segment) {
            (true, true) => sweep.rename.push(id),
            (true, false) => {}
            (false, true) => sweep.remove.push(segment_name(id)),
            (false, false) => sweep.remove.push(spare_name(id)),
        }
        if is_kept {
            sweep.spares.push(id);
        }
    }
    sweep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_the_logs() {
        let id = SegmentId(0x1f);
        assert_eq!(log_file("segment.000000000000001f"), Some(LogFile::Segment(id)));
        assert_eq!(log_file("spare.000000000000001f"), Some(LogFile::Spare(id)));
        assert_eq!(log_file("segment.000000000000001f.tmp"), Some(LogFile::Unfinished));
        for other in
            ["segment.1f", "segment.000000000000001F", "segment.000000000000001f.bak", "probe.tmp", "spare."]
        {
            assert_eq!(log_file(other), None, "{other}");
        }
    }

    #[test]
    fn a_start_keeps_a_few_spares_and_leaves_nothing_behind() {
        let (one, two, three) = (SegmentId(1), SegmentId(2), SegmentId(3));
        let files = [
            (segment_name(one), 64),
            (spare_name(SegmentId(7)), 32),
            (spare_name(two), 64),
            (segment_name(two), 64),
            (segment_name(three), 64),
            (segment_name(SegmentId(4)), 64),
            (format!("{}.tmp", segment_name(SegmentId(5))), 1),
            ("myid".into(), 2),
        ];
        let swept = sweep(&files, &[two, three, SegmentId(4)], 64);
        assert_eq!(swept.rename, [two, three]);
        assert_eq!(swept.spares, [two, three]);
        let gone = ["segment.0000000000000005.tmp", "segment.0000000000000004", "spare.0000000000000007"];
        assert_eq!(swept.remove, gone);
    }
}
