//! The terminal: line editing, completion, history over sessions, events above the prompt, Ctrl-C for what runs.

use super::announcer::{Announcer, Through};
use super::commands::{self, COMMANDS};
use super::session::Shell;
use super::{COMPLETION_MAX, Client, words};
use crate::cli::client::path;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Reads and runs lines until the user leaves.
pub(super) fn run(mut shell: Shell) -> Shell {
    let config = Config::builder().completion_type(CompletionType::List);
    // Without colours, too, the prompt is what `Helpers` says it is now.
    let config = config.color_mode(ColorMode::Forced).max_history_size(HISTORY_LINES_MAX);
    let config = config.and_then(|config| config.history_ignore_dups(true)).map(|config| config.build());
    let editor = config.and_then(Editor::<Helpers, DefaultHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => {
            errln!("ringkeeper: this terminal cannot be used: {error}");
            return shell;
        }
    };
    editor
        .set_helper(Some(Helpers { client: Arc::clone(&shell.client), is_coloured: shell.out.is_coloured }));
    let file = history_file(&|name| std::env::var_os(name).map(PathBuf::from));
    if let Some(file) = &file {
        // There is none yet.
        let _ = editor.load_history(file);
    }
    if let Ok(printer) = editor.create_external_printer() {
        shell.announcer.set_through(Some(above_the_prompt(printer)));
    }
    watch_for_interrupts(&shell.announcer, &shell.client);
    shell.out.text("Welcome to ZooKeeper! help lists the commands, Tab completes, Ctrl-D leaves.");
    loop {
        match editor.readline(&shell.prompt()) {
            Ok(line) => {
                if is_remembered(&line) {
                    // A line more or less in the history is no reason to stop.
                    let _ = editor.add_history_entry(&line);
                    save(&mut editor, file.as_deref());
                }
                if shell.run_line(&line).is_break() {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                errln!("ringkeeper: {error}");
                break;
            }
        }
    }
    shell.announcer.set_through(None);
    shell
}

fn above_the_prompt(mut printer: impl ExternalPrinter + Send + 'static) -> Through {
    Box::new(move |text| match text {
        Some(text) if printer.print(format!("{text}\n")).is_err() => outln!("{text}"),
        Some(_) => {}
        // A line up and down again: the editor draws its line behind whatever is printed.
        None => drop(printer.print("\x1b[A\n".into())),
    })
}

/// Ctrl-C reaches the editor as a character; as a signal it comes only while a command runs, which it ends.
fn watch_for_interrupts(announcer: &Arc<Announcer>, client: &Arc<Mutex<Option<Arc<Client>>>>) {
    let (announcer, client) = (Arc::clone(announcer), Arc::clone(client));
    std::thread::spawn(move || {
        loop {
            crate::io::signals::wait_interrupt();
            let client = client.lock().expect("no thread panics with this lock").clone();
            if let Some(client) = client {
                client.interrupt();
            }
            announcer.interrupt();
        }
    });
}

/// Secrets stay out of the history.
fn is_remembered(line: &str) -> bool {
    let words = words::split(line);
    words.first().is_some_and(|name| name != "addauth" && !name.trim().is_empty())
}

fn save(editor: &mut Editor<Helpers, DefaultHistory>, file: Option<&Path>) {
    let Some(file) = file else { return };
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    // A history that cannot be kept is no reason to bother anybody at each line.
    let _ = editor.append_history(file);
}

/// `$RINGKEEPER_HISTORY` (empty: nowhere), else below the user's state folder.
fn history_file(env: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(named) = env("RINGKEEPER_HISTORY") {
        return (!named.as_os_str().is_empty()).then_some(named);
    }
    let state = env("XDG_STATE_HOME").or_else(|| env("HOME").map(|home| home.join(".local/state")));
    Some(state?.join("ringkeeper/shell-history"))
}

/// Lines that are kept.
const HISTORY_LINES_MAX: usize = 2000;
/// Candidates that are shown for one word; a folder of a million nodes must not fill the screen.
const CANDIDATES_MAX: usize = 200;

struct Helpers {
    client: Arc<Mutex<Option<Arc<Client>>>>,
    is_coloured: bool,
}

impl Helper for Helpers {}
impl Validator for Helpers {}
impl Hinter for Helpers {
    type Hint = String;
}

impl Highlighter for Helpers {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> std::borrow::Cow<'b, str> {
        let client = self.client.lock().expect("no thread panics with this lock").clone();
        let state = client.map_or_else(|| "CLOSED".into(), |client| client.state().to_string());
        let prompt = with_state(prompt, &state);
        if !self.is_coloured {
            return prompt.into();
        }
        let colour = if prompt.contains("(CONNECTED") || prompt.contains("(READONLY") { "32" } else { "31" };
        format!("\x1b[{colour}m{prompt}\x1b[0m").into()
    }
}

/// The prompt with the state of now in place of that of when the line was begun, and as wide as before: the editor knows
/// where its cursor is by that.
fn with_state(prompt: &str, state: &str) -> String {
    let (Some(from), Some(to)) = (prompt.rfind('('), prompt.rfind(')')) else { return prompt.into() };
    let (before, after) = (&prompt[..=from], prompt[to..].trim_end());
    let room = prompt.len() - before.len() - after.len() - 1;
    let state = match state {
        long if long.len() <= room => long,
        "CONNECTEDREADONLY" => "READONLY",
        "AUTH_FAILED" => "AUTHFAILED",
        other => other,
    };
    let state = &state[..state.len().min(room)];
    format!("{before}{state}{after}{:width$}", "", width = 1 + room - state.len())
}

impl Completer for Helpers {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let client = self.client.lock().expect("no thread panics with this lock").clone();
        let children = |parent: &str| {
            let client = client.as_ref().filter(|client| client.state().is_connected());
            client.and_then(|client| client.children_within(parent, COMPLETION_MAX).ok()).unwrap_or_default()
        };
        let (start, candidates) = candidates(&line[..pos], &children);
        let pair = |(display, replacement)| Pair { display, replacement };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

/// Where the last word of the text starts, and what it may become: what to show, what to put there.
fn candidates(text: &str, children: &dyn Fn(&str) -> Vec<String>) -> (usize, Vec<(String, String)>) {
    let (start, quote) = last_word(text);
    let word = text[start..].trim_start_matches(|c| Some(c) == quote);
    let before = words::split(text[..start].trim());
    let mut found: Vec<(String, String)> = match before.first() {
        None => names(word),
        Some(name) if word.starts_with('-') => options(name, word),
        Some(name) if name == "help" => names(word),
        Some(_) if word.starts_with('/') => paths(word, quote, children),
        Some(_) => Vec::new(),
    };
    found.sort();
    if found.len() > CANDIDATES_MAX {
        // Completed as far as all of them agree, which is shown instead of the list.
        let common = common_prefix(&found);
        let shown = format!("{} of {} nodes", CANDIDATES_MAX, found.len());
        found.truncate(CANDIDATES_MAX);
        if common.len() > word.len() {
            found = vec![(shown, common)];
        }
    }
    (start, found)
}

/// Where the last word starts, and the quote it starts with.
fn last_word(text: &str) -> (usize, Option<char>) {
    let (mut start, mut quote, mut is_begin) = (0, None, true);
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if open == c => quote = None,
            Some(_) => {}
            None if matches!(c, ' ' | '\t') => (start, is_begin) = (at + 1, true),
            None => {
                quote = (is_begin && matches!(c, '"' | '\'')).then_some(c);
                is_begin = false;
            }
        }
    }
    (start, quote)
}

fn names(word: &str) -> Vec<(String, String)> {
    let fitting =
        COMMANDS.iter().filter(|command| command.name.to_lowercase().starts_with(&word.to_lowercase()));
    fitting.map(|command| (command.name.into(), format!("{} ", command.name))).collect()
}

fn options(name: &str, word: &str) -> Vec<(String, String)> {
    let flags = commands::find(name).map(|command| command.flags).unwrap_or_default();
    let fitting =
        flags.iter().map(|flag| (flag, format!("-{}", flag.name))).filter(|(_, name)| name.starts_with(word));
    fitting.map(|(flag, name)| (format!("{name}  {}", flag.about), format!("{name} "))).collect()
}

fn paths(word: &str, quote: Option<char>, children: &dyn Fn(&str) -> Vec<String>) -> Vec<(String, String)> {
    let slash = word.rfind('/').expect("the word starts with one");
    let (parent, prefix) = (if slash == 0 { "/" } else { &word[..slash] }, &word[slash + 1..]);
    let fitting = children(parent).into_iter().filter(|name| name.starts_with(prefix));
    let replacement = |name: String| Some((name.clone(), quoted(path::join(parent, &name), quote)?));
    fitting.filter_map(replacement).collect()
}

/// A word with blanks needs quotes around it, of a kind that is not in it: there are no escapes.
fn quoted(word: String, quote: Option<char>) -> Option<String> {
    if quote.is_none() && !word.contains([' ', '\t']) {
        return Some(word);
    }
    let fits = |quote: &char| !word.contains(*quote);
    let quote = quote.filter(fits).or_else(|| ['"', '\''].into_iter().find(fits))?;
    Some(format!("{quote}{word}{quote}"))
}

fn common_prefix(found: &[(String, String)]) -> String {
    let mut common = found.first().map(|(_, text)| text.as_str()).unwrap_or_default();
    for (_, text) in found {
        let same = common.char_indices().zip(text.chars()).find(|((_, c), d)| c != d).map(|((at, _), _)| at);
        common = &common[..same.unwrap_or(common.len().min(text.len()))];
    }
    common.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str) -> Vec<String> {
        let children = |parent: &str| match parent {
            "/" => ["app", "apple", "with blank", "it's so", "'\" "].map(String::from).to_vec(),
            "/with blank" => vec!["x".into()],
            "/app" => (0..1000).map(|number| format!("node-{number:04}")).collect(),
            _ => Vec::new(),
        };
        candidates(text, &children).1.into_iter().map(|(_, replacement)| replacement).collect()
    }

    #[test]
    fn commands_options_and_paths() {
        assert_eq!(completed("getA"), ["getAcl ", "getAllChildrenNumber "]);
        assert_eq!(completed("geta"), ["getAcl ", "getAllChildrenNumber "]);
        assert_eq!(completed("stat -"), ["-w "]);
        assert_eq!(completed("find / --n"), ["--name "]);
        assert_eq!(completed("get /ap"), ["/app", "/apple"]);
        // What has both quotes and a blank cannot be typed.
        assert_eq!(completed("get /"), ["/app", "/apple", "\"/it's so\"", "\"/with blank\""]);
        assert_eq!(completed("get /wi"), ["\"/with blank\""]);
        assert_eq!(completed("get '/with b"), ["'/with blank'"]);
        assert_eq!(completed("get \"/with blank/"), ["\"/with blank/x\""]);
        assert_eq!(completed("set \"/with blank\" /ap"), ["/app", "/apple"]);
        assert_eq!(words::split("get \"/with blank\""), ["get", "/with blank"]);
        assert_eq!(completed("get x"), Vec::<String>::new());
        assert_eq!(completed("help se"), ["set ", "setAcl ", "setquota "]);
    }

    #[test]
    fn long_lists_are_bounded() {
        assert_eq!(completed("get /app/"), ["/app/node-0"]);
        assert_eq!(completed("get /app/node-0").len(), CANDIDATES_MAX);
        assert_eq!(completed("get /app/node-012").len(), 10);
    }

    #[test]
    fn the_prompt_shows_the_state_of_now_and_keeps_its_width() {
        let drawn = "[zk: a(b):1(CONNECTING) 3] ";
        for (state, expected) in [
            ("CONNECTED", "[zk: a(b):1(CONNECTED) 3]  "),
            ("CONNECTING", "[zk: a(b):1(CONNECTING) 3] "),
            ("CLOSED", "[zk: a(b):1(CLOSED) 3]     "),
            ("CONNECTEDREADONLY", "[zk: a(b):1(READONLY) 3]   "),
            ("AUTH_FAILED", "[zk: a(b):1(AUTHFAILED) 3] "),
        ] {
            assert_eq!(with_state(drawn, state), expected);
            assert_eq!(expected.len(), drawn.len());
        }
        assert_eq!(with_state("[zk: h(CLOSED) 12]     ", "CONNECTED"), "[zk: h(CONNECTED) 12]  ");
    }

    #[test]
    fn where_the_history_is() {
        let env = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/h")),
            _ => None,
        };
        assert_eq!(history_file(&env), Some("/h/.local/state/ringkeeper/shell-history".into()));
        assert_eq!(history_file(&|name| (name == "RINGKEEPER_HISTORY").then(PathBuf::new)), None);
        assert!(is_remembered("ls /") && !is_remembered("addauth digest a:b") && !is_remembered("  "));
    }
}
