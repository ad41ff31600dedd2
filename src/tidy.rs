//! Rules about the sources that no compiler checks: which folder may use which, what stays out of the deterministic
//! core, how long a file may be. Reads the sources as text; comments and test code are exempt where that is sensible.

// Reads the sources.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each part of the crate and the parts it may use. A part that is missing here may use everything but `sim`.
const LAYERS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("limits", &[]),
    ("prng", &[]),
    ("metrics", &[]),
    ("aligned", &["limits"]),
    ("send_buffer", &[]),
    ("wire", &["ids", "limits"]),
    ("tree", &["ids", "limits", "wire"]),
    ("log", &["aligned", "ids", "limits", "prng", "wire"]),
    ("zab", &["ids", "limits", "log", "prng", "wire"]),
    ("mesh", &["ids", "metrics", "tree", "wire"]),
    ("shard", &["ids", "limits", "mesh", "metrics", "send_buffer", "tree", "wire"]),
    ("member", &["aligned", "ids", "limits", "log", "mesh", "metrics", "prng", "tree", "wire", "zab"]),
    ("scribe", &["ids", "limits", "log", "mesh", "tree"]),
    ("io", &["aligned", "ids", "limits", "send_buffer"]),
    (
        "server",
        &[
            "aligned",
            "ids",
            "io",
            "limits",
            "log",
            "member",
            "mesh",
            "metrics",
            "prng",
            "scribe",
            "send_buffer",
            "shard",
            "tree",
            "wire",
            "zab",
        ],
    ),
    ("config", &["ids", "io", "limits", "member", "server", "tree", "wire"]),
    (
        "sim",
        &[
            "aligned",
            "ids",
            "limits",
            "log",
            "member",
            "mesh",
            "metrics",
            "prng",
            "scribe",
            "send_buffer",
            "shard",
            "tree",
            "wire",
            "zab",
        ],
    ),
];

/// The parts without IO, clocks, threads and chance.
const CORE: &[&str] = &[
    "aligned", "ids", "limits", "log", "member", "mesh", "metrics", "prng", "scribe", "shard", "tree",
    "wire", "zab",
];

/// What has no place in the core, and why.
const NOT_IN_THE_CORE: &[(&str, &str)] = &[
    ("std::time::", "time is an input"),
    ("SystemTime", "time is an input"),
    ("Instant", "time is an input"),
    ("std::thread", "the driver owns the threads"),
    ("std::fs", "the driver owns the files"),
    ("std::env", "settings come in as plain numbers"),
    ("TcpStream", "the driver owns the sockets"),
    ("TcpListener", "the driver owns the sockets"),
    ("UdpSocket", "the driver owns the sockets"),
    ("std::collections::HashMap", "its order is random; hashbrown with a seeded hasher is not"),
    ("std::collections::HashSet", "its order is random; hashbrown with a seeded hasher is not"),
    ("RandomState", "its order is random"),
    ("Mutex", "a core shares nothing"),
    ("RwLock", "a core shares nothing"),
    ("sync::atomic", "a core shares nothing"),
    ("async fn", "everything that happens is an input"),
    ("async move", "everything that happens is an input"),
];

const FILE_LINES_MAX: usize = 800;

struct Source {
    /// Below the repository, with `/`.
    name: String,
    text: String,
}

impl Source {
    /// The first folder or file below `src`.
    fn part(&self) -> &str {
        let below = self.name.strip_prefix("src/").unwrap_or(&self.name);
        below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        self.name.ends_with("tests.rs")
            || self.name.ends_with("vectors.rs")
            || self.name.contains("/tests/")
            || self.name.ends_with("tidy.rs")
    }

    /// Numbered lines without comments, up to the tests at the bottom.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines = self.text.lines().enumerate();
        let code = lines.take_while(|_| !self.is_test());
        let until_tests = code.take_while(|(_, line)| *line != "mod tests {");
        until_tests.map(|(index, line)| (index + 1, uncommented(line))).collect()
    }
}

/// Without what follows `//`, unless that stands in a string.
fn uncommented(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => return &line[..at],
            _ => {}
        }
    }
    line
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src", "tests", "bench", "benches", "scripts", "tuning"] {
        collect(&root().join(folder), &mut found);
    }
    for file in ["README.md", "Cargo.toml", "clippy.toml"] {
        found.push(root().join(file));
    }
    let is_text = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, None | Some("rs" | "md" | "toml" | "sh" | "py" | "yml" | "yaml"))
    };
    found.retain(is_text);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        let name = path.strip_prefix(root()).expect("all are below the root").to_string_lossy().into_owned();
        Some(Source { name, text })
    };
    found.into_iter().filter_map(read).collect()
}

fn rust() -> impl Iterator<Item = Source> {
    sources().into_iter().filter(|source| source.name.starts_with("src/") && source.name.ends_with(".rs"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder of the sources is readable").path();
        if path.is_dir() {
            let is_hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
            if !is_hidden {
                collect(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// The parts of the crate that a line names: behind `crate::`, also in a group of imports.
fn used_parts(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => parts.extend(group.split(',').map(first_word)),
            None => parts.push(first_word(rest)),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn first_word(text: &str) -> &str {
    let text = text.trim();
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// `unsafe` as a keyword, not as part of `unsafe_op_in_unsafe_fn`.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

fn assert_none(what: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{what}:\n{}", offences.join("\n"));
}

#[test]
fn folders_use_only_what_they_may() {
    let mut offences = Vec::new();
    for source in rust() {
        let part = source.part();
        if part == "lib" || part == "main" || part == "tidy" {
            continue;
        }
        let allowed = LAYERS.iter().find(|(name, _)| *name == part).map(|(_, allowed)| *allowed);
        for (number, line) in source.code() {
            for used in used_parts(line) {
                let is_part =
                    LAYERS.iter().any(|(name, _)| *name == used) || used == "server" || used == "cli";
                let is_fine = allowed.map_or(used != "sim", |allowed| allowed.contains(&used));
                if is_part && used != part && !is_fine {
                    offences.push(format!("{}:{number}: {part} must not use {used}", source.name));
                }
            }
        }
    }
    assert_none("a folder knows what it must not (see LAYERS)", offences);
}

#[test]
fn the_core_has_no_io_clock_thread_lock_or_chance() {
    let mut offences = Vec::new();
    for source in rust().filter(|source| CORE.contains(&source.part())) {
        for (number, line) in source.code() {
            let found = NOT_IN_THE_CORE.iter().filter(|(word, _)| line.contains(word));
            offences.extend(found.map(|(word, why)| format!("{}:{number}: {word}: {why}", source.name)));
        }
    }
    assert_none("the core must stay deterministic", offences);
}

#[test]
fn unsafe_code_is_at_the_io_edge_only() {
    let mut offences = Vec::new();
    for source in rust().filter(|source| source.part() != "io" && source.part() != "tidy") {
        let lines = source.text.lines().map(uncommented).enumerate();
        let unsafe_lines = lines.filter(|(_, line)| has_word(line, "unsafe"));
        offences.extend(unsafe_lines.map(|(index, line)| format!("{}:{}: {line}", source.name, index + 1)));
    }
    assert_none("unsafe outside of src/io", offences);
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > FILE_LINES_MAX);
    let long = long.map(|source| format!("{}: {} lines", source.name, source.text.lines().count()));
    assert_none("split these by subject", long.collect());
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    let words = ["todo!(", "unimplemented!(", "#[ignore", "dbg!("];
    let mut offences = Vec::new();
    for source in rust().filter(|source| source.part() != "tidy") {
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().filter(|word| uncommented(line).contains(**word));
            offences.extend(found.map(|word| format!("{}:{}: {word}", source.name, index + 1)));
        }
    }
    assert_none("finish or remove these", offences);
}

#[test]
fn getters_are_named_after_what_they_return() {
    let mut offences = Vec::new();
    for source in rust() {
        let found = source.code().into_iter().filter(|(_, line)| line.contains("fn get_"));
        offences.extend(found.map(|(number, line)| format!("{}:{number}: {line}", source.name)));
    }
    assert_none("no get_", offences);
}

#[test]
fn every_module_says_what_it_is_for() {
    let without =
        rust().filter(|source| !source.text.starts_with("//! ") || source.text.starts_with("//! (stub)"));
    let is_due = |source: &Source| !matches!(source.part(), "sim");
    assert_none(
        "start these with a module comment",
        without.filter(is_due).map(|source| source.name).collect(),
    );
}

#[test]
fn no_machine_is_named() {
    // In two halves, so that this file does not name one either.
    let words =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home", "/"), concat!("../sh", "ared")];
    let mut offences = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(**word));
            offences.extend(found.map(|word| format!("{}:{}: {word}", source.name, index + 1)));
        }
    }
    assert_none("the repository stands alone", offences);
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert_eq!(used_parts("use crate::{ids, wire::jute};"), ["ids", "wire"]);
    assert_eq!(used_parts("let a = crate::io::x(crate::log::y);"), ["io", "log"]);
    assert_eq!(uncommented("a(\"//\"); // b"), "a(\"//\"); ");
    assert!(has_word("unsafe {", "unsafe") && !has_word("unsafe_op_in", "unsafe"));
    assert!(rust().count() > 40);
}
