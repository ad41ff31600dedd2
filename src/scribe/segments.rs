//! Files of the log: segments prepared, released ones kept or removed; and snapshots that go for the sake of space, so that
//! they are gone before the segment is asked for again.

use super::{Done, Lane, Report, ScribeOutput, Work, WorkError, work};
use crate::ids::{SegmentId, Zxid};
use crate::limits::LOG_SPARES_MAX;
use crate::log::apache::zxid_in_name;
use std::collections::VecDeque;

/// What is done for the log.
pub(super) struct Segments {
    /// Files to be used again, with their bytes.
    spares: VecDeque<(SegmentId, u64)>,
    /// There are at most as many as segments, and a few.
    waiting: VecDeque<Order>,
    running: Option<Running>,
}

enum Order {
    Prepare { segment: SegmentId, bytes: u64 },
    Release { segment: SegmentId },
    RemoveSnapshots { before: Zxid },
}

/// An order and what it is at.
enum Running {
    Reusing {
        segment: SegmentId,
        bytes: u64,
        spare: SegmentId,
    },
    /// A spare that cannot be used; then the next one is tried.
    RemovingSpare {
        segment: SegmentId,
        bytes: u64,
    },
    Creating {
        segment: SegmentId,
        bytes: u64,
    },
    Keeping {
        segment: SegmentId,
    },
    Removing {
        segment: SegmentId,
    },
    Listing {
        before: Zxid,
    },
    RemovingSnapshots {
        left: VecDeque<String>,
    },
}

impl Segments {
    pub fn new(spares: Vec<(SegmentId, u64)>) -> Segments {
        Segments { spares: spares.into(), waiting: VecDeque::new(), running: None }
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    pub fn spares(&self) -> impl Iterator<Item = SegmentId> {
        self.spares.iter().map(|(segment, _)| *segment)
    }

    pub fn prepare(&mut self, segment: SegmentId, bytes: u64, out: &mut Vec<ScribeOutput>) {
        self.push(Order::Prepare { segment, bytes }, out);
    }

    pub fn release(&mut self, segment: SegmentId, out: &mut Vec<ScribeOutput>) {
        self.push(Order::Release { segment }, out);
    }

    pub fn remove_snapshots(&mut self, before: Zxid, out: &mut Vec<ScribeOutput>) {
        self.push(Order::RemoveSnapshots { before }, out);
    }

    fn push(&mut self, order: Order, out: &mut Vec<ScribeOutput>) {
        self.waiting.push_back(order);
        if self.running.is_none() {
            self.running = self.begin_next(out);
        }
    }

    fn begin_next(&mut self, out: &mut Vec<ScribeOutput>) -> Option<Running> {
        Some(match self.waiting.pop_front()? {
            Order::Prepare { segment, bytes } => self.provide(segment, bytes, out),
            Order::Release { segment } if self.spares.len() < LOG_SPARES_MAX => {
                run(Running::Keeping { segment }, Work::Keep { segment }, out)
            }
            Order::Release { segment } => remove(segment, out),
            Order::RemoveSnapshots { before } => run(Running::Listing { before }, Work::List, out),
        })
    }

    /// A spare file of the right length, or a new one. What frames an old file holds carry another segment's number, so they
    /// need not be overwritten.
    fn provide(&mut self, segment: SegmentId, bytes: u64, out: &mut Vec<ScribeOutput>) -> Running {
        match self.spares.pop_front() {
            None => run(Running::Creating { segment, bytes }, Work::Zeros { segment, bytes }, out),
            Some((spare, length)) if length == bytes => {
                run(Running::Reusing { segment, bytes, spare }, Work::Reuse { spare, segment }, out)
            }
            Some((spare, _)) => {
                run(Running::RemovingSpare { segment, bytes }, Work::RemoveSpare { spare }, out)
            }
        }
    }

    pub fn on_ended(&mut self, result: Result<Done, WorkError>, out: &mut Vec<ScribeOutput>) {
        let running = self.running.take().expect("only works of an order end here");
        let next = match (running, result) {
            (Running::Reusing { segment, bytes, .. } | Running::Creating { segment, bytes }, Ok(_)) => {
                out.push(ScribeOutput::Report(Report::SegmentReady { segment, bytes }));
                None
            }
            (Running::Reusing { segment, bytes, spare }, Err(_)) => {
                Some(run(Running::RemovingSpare { segment, bytes }, Work::RemoveSpare { spare }, out))
            }
            (Running::Creating { segment, .. }, Err(WorkError { no_space, what })) => {
                out.push(ScribeOutput::Report(Report::SegmentFailed { segment, no_space, what }));
                None
            }
            // One that cannot be removed is no spare any more either; the next start sweeps it.
            (Running::RemovingSpare { segment, bytes }, _) => Some(self.provide(segment, bytes, out)),
            (Running::Keeping { segment }, Ok(Done::Kept { bytes })) => {
                self.spares.push_back((segment, bytes));
                None
            }
            (Running::Keeping { segment }, _) => Some(remove(segment, out)),
            (Running::Removing { segment }, result) => {
                tell("an old log segment", result.err(), segment.0, out);
                None
            }
            (Running::Listing { before }, Ok(Done::Listed(files))) => {
                let is_older = |name: &str| zxid_in_name(name, "snapshot").is_some_and(|zxid| zxid < before);
                let names = files.into_iter().map(|(name, _)| name);
                remove_snapshots(names.filter(|name| is_older(name)).collect(), out)
            }
            (Running::Listing { before }, result) => {
                tell("the snapshots before", result.err(), before.0 as u64, out);
                None
            }
            (Running::RemovingSnapshots { left }, result) => {
                if let Err(error) = result {
                    let text = format!("cannot remove an old snapshot: {}", error.what);
                    out.push(ScribeOutput::Notice { text });
                }
                remove_snapshots(left, out)
            }
        };
        self.running = next.or_else(|| self.begin_next(out));
    }

    pub fn check(&self) {
        assert!(self.spares.len() <= LOG_SPARES_MAX, "few files are kept");
        assert!(self.running.is_some() || self.waiting.is_empty(), "orders wait only for another one");
        if let Some(Running::Reusing { spare, .. }) = &self.running {
            assert!(self.spares().all(|other| other != *spare), "a spare is used once");
        }
    }
}

fn run(running: Running, what: Work, out: &mut Vec<ScribeOutput>) -> Running {
    out.push(work(Lane::Segments, what));
    running
}

fn remove(segment: SegmentId, out: &mut Vec<ScribeOutput>) -> Running {
    run(Running::Removing { segment }, Work::RemoveSegment { segment }, out)
}

fn remove_snapshots(mut left: VecDeque<String>, out: &mut Vec<ScribeOutput>) -> Option<Running> {
    let name = left.pop_front()?;
    Some(run(Running::RemovingSnapshots { left }, Work::RemoveSnapshot { name }, out))
}

fn tell(what: &str, error: Option<WorkError>, number: u64, out: &mut Vec<ScribeOutput>) {
    if let Some(error) = error {
        let text = format!("cannot remove {what} {number:#x}: {}", error.what);
        out.push(ScribeOutput::Notice { text });
    }
}
