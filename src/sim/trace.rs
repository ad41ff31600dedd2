//! What happened, line by line: the same seed gives the same lines, which their hash proves.

use std::collections::VecDeque;
use std::fmt::Arguments;

/// The end of a trace and the hash of all of it.
pub struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    is_loud: bool,
    count: u64,
}

const KEPT: usize = 60;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Trace {
    /// An empty trace; a loud one is printed as it grows.
    pub fn new(is_loud: bool) -> Trace {
        Trace { hash: FNV_OFFSET, lines: VecDeque::new(), is_loud, count: 0 }
    }

    /// One more line.
    pub fn line(&mut self, line: Arguments<'_>) {
        let line = line.to_string();
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        self.count += 1;
        if self.is_loud {
            println!("{line}");
        }
        self.lines.push_back(line);
        if self.lines.len() > KEPT {
            self.lines.pop_front();
        }
    }

    /// The hash of all lines.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub fn end(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
