//! What a person who waits is shown: one line on a terminal, drawn over the one before. Elsewhere nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The line; it goes away with this.
pub struct Progress {
    what: String,
    is_watched: bool,
    is_drawn: bool,
    drawn: Instant,
}

impl Progress {
    /// Begins with nothing on the screen: what is done soon is not told of.
    pub fn of(what: impl Into<String>) -> Progress {
        let is_watched = std::io::stderr().is_terminal();
        Progress { what: what.into(), is_watched, is_drawn: false, drawn: Instant::now() }
    }

    /// Whether anybody looks.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// So much is done.
    pub fn at(&mut self, done: u64, of: u64) {
        if self.is_watched && self.drawn.elapsed() >= INTERVAL {
            let text = share(&self.what, done, of);
            self.draw(&text);
        }
    }

    /// Another thing to tell.
    pub fn say(&mut self, text: &str) {
        if self.is_watched {
            self.draw(text);
        }
    }

    fn draw(&mut self, text: &str) {
        self.drawn = Instant::now();
        self.is_drawn = true;
        crate::cli::output::err(format_args!("\r{text:<WIDTH$}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            crate::cli::output::err(format_args!("\r{:WIDTH$}\r", ""));
        }
    }
}

fn share(what: &str, done: u64, of: u64) -> String {
    format!("{what}: {done} of {of} ({} %)", done * 100 / of.max(1))
}

/// Between two lines.
pub const INTERVAL: Duration = Duration::from_millis(500);
const WIDTH: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_is_done() {
        assert_eq!(share("preparing nodes", 250, 1000), "preparing nodes: 250 of 1000 (25 %)");
        assert_eq!(share("rounds", 0, 0), "rounds: 0 of 0 (0 %)");
    }
}
