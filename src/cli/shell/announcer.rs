//! Shows what comes by itself: events of the session and of watches. On a terminal that is being edited they go above the
//! prompt (`through`); while a command follows a subtree, they go to it.

use super::output::{Out, Paint, painted, without_controls};
use crate::cli::client::Event;
use serde_json::json;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard};

/// Prints a line above the one being edited; None only draws that one again.
pub(super) type Through = Box<dyn FnMut(Option<String>) + Send>;

/// What a command that follows events hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Event(Event),
    /// Ctrl-C.
    Interrupted,
}

pub(super) struct Announcer {
    out: Out,
    inner: Mutex<Inner>,
}

struct Inner {
    is_on: bool,
    is_mute: bool,
    through: Option<Through>,
    follower: Option<Sender<Heard>>,
}

impl Announcer {
    pub(super) fn new(out: Out) -> Announcer {
        let inner = Inner { is_on: true, is_mute: false, through: None, follower: None };
        Announcer { out, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics with this lock")
    }

    pub(super) fn on_event(&self, event: &Event) {
        let mut inner = self.lock();
        if inner.is_mute {
            return;
        }
        if let Some(follower) = &inner.follower
            && follower.send(Heard::Event(event.clone())).is_ok()
        {
            return;
        }
        if !inner.is_on {
            // The prompt shows the state of the session all the same.
            if let (Some(through), "None") = (&mut inner.through, event.kind) {
                through(None);
            }
            return;
        }
        let text = self.text(event);
        match &mut inner.through {
            Some(through) => through(Some(text)),
            None => self.out.line(&text),
        }
    }

    fn text(&self, event: &Event) -> String {
        if self.out.is_json() {
            let json = json!({
                "event": event.kind, "state": event.state, "path": event.path, "zxid": event.zxid,
            });
            return json.to_string();
        }
        if !self.out.is_terminal {
            return format!("\nWATCHER::\n\n{event}");
        }
        let text = without_controls(&format!("WATCHER:: {event}")).into_owned();
        if self.out.is_coloured { painted(Paint::Event, &text) } else { text }
    }

    pub(super) fn set_through(&self, through: Option<Through>) {
        self.lock().through = through;
    }

    /// None ends the following.
    pub(super) fn set_follower(&self, follower: Option<Sender<Heard>>) {
        self.lock().follower = follower;
    }

    /// Ctrl-C while a command runs.
    pub(super) fn interrupt(&self) {
        if let Some(follower) = &self.lock().follower {
            // A follower that is about to end does not listen any more.
            let _ = follower.send(Heard::Interrupted);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.lock().is_on
    }

    pub(super) fn turn(&self, on: bool) {
        self.lock().is_on = on;
    }

    /// Nothing more is shown.
    pub(super) fn mute(&self) {
        self.lock().is_mute = true;
    }
}
