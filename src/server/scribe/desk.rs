//! Between core 0, the scribe's state machine and the files: takes what core 0 sends, hands out the work, passes on the
//! reports. Lives on the scribe's thread; both drivers turn it the same way.

use super::store::Ended;
use super::{CoreMessage, LOOK_EVERY, Message, order_bytes};
use crate::ids::SegmentId;
use crate::io::queue::{Receiver, Sender};
use crate::scribe::{Lane, Report, Scribe, ScribeInput, ScribeOutput, Work};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Inputs taken per turn, so that what ended gets its turn, too.
const INPUTS_PER_TURN: usize = 64;
/// How soon a report that core 0 had no room for is sent again.
const SEND_AGAIN_EVERY: Duration = Duration::from_millis(1);

/// The scribe and its neighbours.
pub(super) struct Desk {
    pub scribe: Scribe,
    /// Batches and snapshots.
    pub data: Receiver<ScribeInput>,
    /// Segments: never behind batches.
    pub files: Receiver<ScribeInput>,
    /// Bytes of `data` taken so far.
    pub taken_bytes: Arc<AtomicUsize>,
    pub core: Sender<CoreMessage>,
    /// Reports that core 0 had no room for.
    pub unsent: VecDeque<CoreMessage>,
    /// Segments that are prepared, and not reported yet.
    pub opened: BTreeMap<SegmentId, OwnedFd>,
    pub out: Vec<ScribeOutput>,
}

impl Desk {
    /// Takes some of what is there; `carry` gets the work that follows. False: there was nothing.
    pub fn turn(&mut self, carry: &mut dyn FnMut(Lane, Work)) -> bool {
        self.send_unsent();
        for taken in 0..INPUTS_PER_TURN {
            let Some(input) = self.files.pop().or_else(|| self.pop_data()) else { return taken > 0 };
            self.step(input, carry);
        }
        true
    }

    fn pop_data(&mut self) -> Option<ScribeInput> {
        let input = self.data.pop()?;
        self.taken_bytes.fetch_add(order_bytes(&input), Ordering::Release);
        Some(input)
    }

    /// A work has ended.
    pub fn end(&mut self, ended: Ended, carry: &mut dyn FnMut(Lane, Work)) {
        let Ended { lane, result, opened } = ended;
        self.opened.extend(opened);
        self.step(ScribeInput::Ended { lane, result }, carry);
    }

    fn step(&mut self, input: ScribeInput, carry: &mut dyn FnMut(Lane, Work)) {
        let mut out = std::mem::take(&mut self.out);
        self.scribe.step(input, &mut out);
        for output in out.drain(..) {
            match output {
                ScribeOutput::Work { lane, work } => carry(lane, work),
                ScribeOutput::Report(report) => self.report(report),
                ScribeOutput::Notice { text } => tracing::warn!("{text}"),
            }
        }
        self.out = out;
    }

    fn report(&mut self, report: Report) {
        let file = match &report {
            Report::SegmentReady { segment, .. } => self.opened.remove(segment),
            _ => None,
        };
        self.unsent.push_back(CoreMessage::Scribe(Message { report, file }));
        self.send_unsent();
    }

    fn send_unsent(&mut self) {
        while let Some(message) = self.unsent.pop_front() {
            if let Err(message) = self.core.send(message) {
                self.unsent.push_front(message);
                return;
            }
        }
    }

    /// Says that nothing is there, so that the next one who sends wakes this thread; false: something is.
    pub fn may_sleep(&self) -> bool {
        let may_sleep = self.files.announce_sleep() && self.data.announce_sleep();
        if !may_sleep {
            self.awake();
        }
        may_sleep
    }

    /// It looks by itself again.
    pub fn awake(&self) {
        self.files.awake();
        self.data.awake();
    }

    /// How long it may sleep. It looks by itself now and then: batches alone wake nobody.
    pub fn wait_time(&self) -> Duration {
        if self.unsent.is_empty() { LOOK_EVERY } else { SEND_AGAIN_EVERY }
    }
}
