//! What a backend does after a while: give up on a closed connection whose last send does not end, and look again at a
//! listener for which no descriptor was free. It lives on the backend's core.

use crate::ids::ConnId;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Closed connections that end with the send in flight, in the order of their deadlines.
#[derive(Default)]
pub struct Lingering(VecDeque<(Instant, ConnId)>);

/// How long a last answer may take.
const LINGER: Duration = Duration::from_secs(2);

impl Lingering {
    /// A connection that is closed once its send is done, or by force when its time is up.
    pub fn add(&mut self, conn: ConnId) {
        self.0.push_back((Instant::now() + LINGER, conn));
    }

    /// A connection whose time is up. It may be long gone: the caller compares the generation.
    pub fn due(&mut self) -> Option<ConnId> {
        let (deadline, conn) = *self.0.front()?;
        if Instant::now() < deadline {
            return None;
        }
        self.0.pop_front();
        Some(conn)
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|(deadline, _)| *deadline)
    }
}

/// Keeps a server without free descriptors from spinning on a listener that stays ready.
#[derive(Default)]
pub struct AcceptPause {
    until: Option<Instant>,
    is_told: bool,
}

/// How long new connections wait before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl AcceptPause {
    /// An accept failed: `true` if listeners have to rest, because the reason will not go away by itself.
    pub fn on_error(&mut self, errno: i32) -> bool {
        if !matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) {
            return false;
        }
        self.until = Some(Instant::now() + ACCEPT_PAUSE);
        if !self.is_told {
            self.is_told = true;
            let error = io::Error::from_raw_os_error(errno);
            tracing::warn!(
                "new connections have to wait: {error}; raise the limit of open files (ulimit -n)"
            );
        }
        true
    }

    /// A connection was accepted, so the next failure is worth a line again.
    pub fn on_success(&mut self) {
        self.is_told = false;
    }

    /// True once after the rest.
    pub fn is_over(&mut self) -> bool {
        let is_over = self.until.is_some_and(|until| Instant::now() >= until);
        if is_over {
            self.until = None;
        }
        is_over
    }

    /// Listeners rest.
    pub fn is_active(&self) -> bool {
        self.until.is_some()
    }
}

/// The time to wait, cut short by what is due before its end.
pub fn shorten(wait: Option<Duration>, lingering: &Lingering, pause: &AcceptPause) -> Option<Duration> {
    let Some(due) = lingering.deadline().into_iter().chain(pause.until).min() else { return wait };
    let left = due.saturating_duration_since(Instant::now());
    Some(wait.map_or(left, |wait| wait.min(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_resources_makes_listeners_rest() {
        let mut pause = AcceptPause::default();
        assert!(!pause.on_error(libc::ECONNABORTED) && !pause.is_active());
        assert!(pause.on_error(libc::EMFILE) && pause.is_active() && !pause.is_over());
        let wait = shorten(None, &Lingering::default(), &pause).expect("bounded by the pause");
        assert!(wait <= ACCEPT_PAUSE);
    }

    #[test]
    fn nothing_due_leaves_the_wait_alone() {
        let (lingering, pause) = (Lingering::default(), AcceptPause::default());
        assert_eq!(shorten(None, &lingering, &pause), None);
        assert_eq!(shorten(Some(Duration::ZERO), &lingering, &pause), Some(Duration::ZERO));
    }
}
