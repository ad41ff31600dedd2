//! One shell: its session, its history, and what happens with a line (`ZooKeeperMain`).

use super::announcer::Announcer;
use super::commands::{self, Command, Traits};
use super::failure::Failure;
use super::flags::{self, Given};
use super::options::Options;
use super::output::{Out, Paint};
use super::{Client, hints, words};
use serde_json::json;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) struct Shell {
    pub(super) options: Options,
    pub(super) out: Out,
    pub(super) announcer: Arc<Announcer>,
    /// Shared with the thread that waits for Ctrl-C.
    pub(super) client: Arc<Mutex<Option<Arc<Client>>>>,
    pub(super) host: String,
    /// The lines so far, by number.
    pub(super) history: Vec<String>,
    /// Lines that are done; one less than the history's length while a line runs.
    pub(super) count: usize,
    /// The session owns nodes that would go with it.
    pub(super) has_ephemerals: bool,
    pub(super) wants_to_quit: bool,
    exit_code: u8,
}

impl Shell {
    pub(super) fn new(options: Options) -> Shell {
        let out = Out::new(options.format);
        Shell {
            out,
            announcer: Arc::new(Announcer::new(out)),
            client: Arc::default(),
            host: options.server.clone(),
            options,
            history: Vec::new(),
            count: 0,
            has_ephemerals: false,
            wants_to_quit: false,
            exit_code: 0,
        }
    }

    /// The session there is. None before the first `connect`, which the shell does at its start.
    pub(super) fn session(&self) -> Option<Arc<Client>> {
        self.client.lock().expect("no thread panics with this lock").clone()
    }

    /// For commands that run only with a session.
    pub(super) fn zk(&self) -> Arc<Client> {
        self.session().expect("such a command runs only with a session")
    }

    pub(super) fn is_alive(&self) -> bool {
        self.session().is_some_and(|client| client.state().is_alive())
    }

    /// Ends the session there is and opens a new one.
    pub(super) fn connect(&mut self, server: &str) -> Result<(), Failure> {
        let settings = self.options.settings(server).map_err(Failure::new)?;
        if self.is_alive() {
            self.close();
        }
        self.host = server.into();
        self.has_ephemerals = false;
        let announcer = Arc::clone(&self.announcer);
        let client = Client::start(settings, Box::new(move |event| announcer.on_event(event)));
        let client = Arc::new(client);
        *self.client.lock().expect("no thread panics with this lock") = Some(Arc::clone(&client));
        if self.options.wait_for_connection {
            let limit = Duration::from_millis(self.options.timeout_ms.max(0) as u64);
            if !client.wait_connected(limit) {
                let message = format!("KeeperErrorCode = ConnectionLoss: {}", client.last_failure());
                return Err(Failure::new(message).with_hint(hints::unreachable(server)));
            }
        }
        Ok(())
    }

    /// Ends the session by agreement with the server.
    pub(super) fn close(&mut self) {
        if let Some(client) = self.session() {
            client.close();
        }
    }

    /// A line as a user types it.
    pub(super) fn run_line(&mut self, line: &str) -> ControlFlow<()> {
        let words = words::split(line);
        if line.trim().is_empty() || words.is_empty() {
            return ControlFlow::Continue(());
        }
        self.history.push(line.into());
        self.forget_interrupt();
        self.run_words(&words);
        self.forget_interrupt();
        self.count += 1;
        if self.wants_to_quit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A Ctrl-C that came too late for one command is not meant for the next.
    fn forget_interrupt(&self) {
        if let Some(client) = self.session() {
            client.forget_interrupt();
        }
    }

    /// A command and its words.
    pub(super) fn run_words(&mut self, words: &[String]) {
        let outcome = self.dispatch(words);
        match outcome {
            Ok(()) if self.wants_to_quit => {}
            Ok(()) => self.exit_code = 0,
            Err(failure) => {
                let failure = hints::advise(self, words, failure);
                self.exit_code = failure.exit_code;
                self.fail(&failure);
            }
        }
    }

    fn dispatch(&mut self, words: &[String]) -> Result<(), Failure> {
        let name = words.first().map(String::as_str).unwrap_or_default();
        let Some(command) = commands::find(name) else {
            self.complain_usage();
            return Err(Failure::unknown(name));
        };
        if command.is_local() {
            self.run_command(command, words)?;
            // zkCli goes on to look for a session even so.
            if command.traits == Traits::Local && !self.wants_to_quit && !self.is_alive() {
                self.out.text("Not connected");
            }
            return Ok(());
        }
        if !self.is_alive() {
            self.out.answer(|| "Not connected".into(), || json!({ "error": "NotConnected" }));
            return Ok(());
        }
        self.run_command(command, words)
    }

    fn run_command(&mut self, command: &'static Command, words: &[String]) -> Result<(), Failure> {
        let given = match command.traits {
            Traits::Raw | Traits::Local => Given::raw(words),
            _ => flags::parse(words, command.flags, command.rule)?,
        };
        (command.run)(self, &given)
    }

    /// zkCli's list, to standard error, with our commands in it; a person is better served by the hint.
    fn complain_usage(&self) {
        if self.out.is_json() || self.out.is_terminal {
            return;
        }
        self.out.complain("ZooKeeper -server host:port -client-configuration properties-file cmd args");
        for command in commands::COMMANDS {
            self.out.complain(&format!("\t{} {}", command.name, command.form));
        }
    }

    /// Tells what went wrong.
    pub(super) fn fail(&self, failure: &Failure) {
        if self.out.is_json() {
            let json = json!({ "error": failure.name(), "message": failure.message, "hint": failure.hint });
            return self.out.complain(&json.to_string());
        }
        self.out.complain_in(Paint::Error, &failure.message);
        if let Some(hint) = &failure.hint {
            self.out.hint(hint);
        }
    }

    /// As zkCli's, with room for the longest of the usual states: it is drawn again when the state changes.
    pub(super) fn prompt(&self) -> String {
        let state = self.session().map_or_else(|| "CLOSED".into(), |client| client.state().to_string());
        let room = PROMPT_STATE_MAX.saturating_sub(state.len());
        format!("[zk: {}({state}) {}] {:room$}", self.host, self.count, "")
    }

    /// The end; returns the exit code. Without `quit`, zkCli just ends: its ephemeral nodes live until the session times
    /// out. So they do here; but a session without any is closed, for nobody misses it.
    pub(super) fn leave(&mut self) -> u8 {
        self.announcer.mute();
        if let Some(client) = self.session() {
            if self.has_ephemerals {
                client.abandon();
            } else {
                client.close();
            }
        }
        self.exit_code
    }
}

/// `CONNECTING` has so many letters.
const PROMPT_STATE_MAX: usize = 10;
