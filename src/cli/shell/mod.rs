//! `ringkeeper shell`: zkCli's commands, options and outputs, interactive or one command at a time, and more for people:
//! line editing, completion, JSON, subtrees as files. What zkCli prints stays as it is, because scripts read it; what is
//! better here is added beside it (`  hint: ...` on standard error).
//!
//! `options` are the shell's own arguments, `words` and `flags` cut a line as zkCli does, `commands` is the table with one
//! file per subject, `session` runs one line, `announcer` shows what comes by itself, `editor` is the terminal.

mod announcer;
mod commands;
mod editor;
mod failure;
mod flags;
mod hints;
mod options;
mod output;
mod session;
mod words;

use super::{FAILED, client::Client};
use failure::Failure;
use options::{Options, Refused};
use session::Shell;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

/// A shell for any ZooKeeper server, with the commands and arguments of zkCli.sh.
///
/// With a command: runs it and exits with its code. Without: reads commands from the terminal or from standard input;
/// `help` lists them.
#[derive(clap::Args)]
#[command(after_help = HELP, override_usage = "ringkeeper shell [OPTIONS] [COMMAND [WORD...]]")]
pub(super) struct Arguments {
    #[arg(value_name = "WORD", num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

const HELP: &str = "\
Options of the shell, before its command:
  -server HOST:PORT[,HOST:PORT...][/PATH]  the servers, and perhaps a node to take for the root (localhost:2181)
  -timeout MS                              of the session (30000)
  -waitforconnection                       do nothing before there is a connection
  -r                                       be content with a read-only server
  -client-configuration FILE               as of ZooKeeper's Java client; refused if it asks for TLS
  --output text|json                       zkCli's text, or a JSON value per line
  --values text|hex|base64|json            how data is shown

Exit codes: 0 done; 1 failed; 2 wrong options; 127 no such command; 130 interrupted.
What to do about an error is told where standard error is a terminal ($RINGKEEPER_HINTS: always, never).
The history is kept in ~/.local/state/ringkeeper/shell-history ($RINGKEEPER_HISTORY; empty: nowhere).";

/// Runs the shell.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let options = match Options::parse(&arguments.words) {
        Ok(options) => options,
        Err(Refused(why, exit_code)) => {
            errln!("{why}");
            return ExitCode::from(exit_code);
        }
    };
    let is_interactive =
        options.command.is_empty() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_interactive && let Err(error) = crate::io::signals::block_interrupt() {
        errln!("ringkeeper: Ctrl-C will end the shell: {error}");
    }
    let mut shell = Shell::new(options);
    for ignored in &shell.options.ignored {
        shell.out.hint(&format!(
            "{ignored} is no option of this shell and is ignored; see ringkeeper shell --help"
        ));
    }
    if shell.out.is_json() && !shell.options.command.is_empty() {
        // A program wants the answer to its command and nothing before it.
        shell.announcer.turn(false);
    }
    shell.out.text(&format!("Connecting to {}", shell.options.server));
    let server = shell.options.server.clone();
    if let Err(failure) = shell.connect(&server) {
        shell.fail(&failure);
        return ExitCode::from(FAILED);
    }
    if !shell.options.command.is_empty() {
        let command = shell.options.command.clone();
        shell.run_words(&command);
    } else if is_interactive {
        shell = editor::run(shell);
    } else {
        read_lines(&mut shell);
    }
    ExitCode::from(shell.leave())
}

fn read_lines(shell: &mut Shell) {
    shell.out.text("Welcome to ZooKeeper!");
    for line in std::io::stdin().lock().lines() {
        match line {
            Ok(line) => {
                if shell.run_line(&line).is_break() {
                    return;
                }
            }
            Err(error) => return shell.fail(&Failure::new(format!("standard input: {error}"))),
        }
    }
}

/// How long a completion may keep the terminal waiting.
const COMPLETION_MAX: Duration = Duration::from_secs(2);
