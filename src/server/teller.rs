//! Says what is being read: a start that takes long is not taken for one that hangs.

use crate::member::Progress;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// What takes long is told of once in this time.
const EVERY: Duration = Duration::from_secs(1);

/// Of a start from our own files.
pub struct Teller {
    told: Instant,
}

impl Teller {
    pub fn new() -> Teller {
        Teller { told: Instant::now() }
    }

    pub fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Snapshot { name } => tracing::info!("reading the snapshot {name}"),
            Progress::Segment { name, number, of } => {
                tracing::info!("reading {name}, {number} of {of} of the log")
            }
            Progress::Txns { count, last_zxid } if self.told.elapsed() >= EVERY => {
                tracing::info!("{count} transaction(s) of the log applied, zxid {last_zxid}");
            }
            Progress::Txns { .. } => return,
        }
        self.told = Instant::now();
    }
}

/// A file that is read from its begin to its end, and says how far it has come.
pub struct Told<R> {
    source: R,
    name: String,
    read: u64,
    bytes: u64,
    begun: Instant,
    told: Duration,
}

impl<R> Told<R> {
    pub fn new(source: R, name: String, bytes: u64) -> Told<R> {
        Told { source, name, read: 0, bytes, begun: Instant::now(), told: Duration::ZERO }
    }

    /// The line that is due after so long, if one is.
    fn line(&mut self, elapsed: Duration) -> Option<String> {
        if elapsed < self.told + EVERY {
            return None;
        }
        self.told = elapsed;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        Some(format!("read {} of {} MiB of {}", mib(self.read), mib(self.bytes), self.name))
    }
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.read += read as u64;
        if let Some(line) = self.line(self.begun.elapsed()) {
            tracing::info!("{line}");
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_told_of_once_a_second() {
        let bytes = vec![7; 3 << 20];
        let mut told = Told::new(bytes.as_slice(), "snapshot.1f".into(), 3 << 20);
        told.read_exact(&mut vec![0; 2 << 20]).expect("it is there");
        assert_eq!(told.line(Duration::from_millis(999)), None);
        let due = Some("read 2 of 3 MiB of snapshot.1f".to_string());
        assert_eq!(told.line(Duration::from_millis(1000)), due);
        assert_eq!(told.line(Duration::from_millis(1999)), None);
        let mut rest = Vec::new();
        told.read_to_end(&mut rest).expect("it is there");
        assert_eq!((rest.len(), told.read), (1 << 20, 3 << 20));
        assert_eq!(told.line(Duration::from_secs(5)), Some("read 3 of 3 MiB of snapshot.1f".into()));
    }
}
