//! What a file says that its writer hardly means: each is one warning, and the server starts all the same.

use super::error::{ConfigError, Place, Warning};
use super::keys;
use super::load::{Made, Settings, WHITELIST};
use super::value;
use crate::server::FOUR_LETTER_WORDS;
use std::path::{Path, absolute};

pub(super) fn give(settings: &Settings, warnings: &mut Vec<Warning>) {
    for key in ["dataDir", "dataLogDir", "dynamicConfigFile"] {
        let made = settings.get(key);
        warnings.extend(made.and_then(folder).map(Warning));
    }
    if let Some(made) = settings.get(WHITELIST) {
        warnings.extend(unknown_words(made).map(Warning));
    }
}

/// A path is taken literally: nothing unquotes it or puts in home folders and variables, as a shell would.
fn folder(made: &Made) -> Option<String> {
    let Made { place, written, value } = made;
    let is_in_file = matches!(place, Place::File { .. });
    let why = if value.contains(['"', '\'']) {
        "quotes are part of the name"
    } else if value.starts_with('~') {
        "~ is not replaced by a home folder"
    } else if value.contains('$') {
        "variables are not replaced by their values"
    } else if is_in_file && !value.starts_with("./") && !Path::new(value).is_absolute() {
        "a relative path, which begins in the folder that the server is started in; ./ before it says that this is meant"
    } else {
        return None;
    };
    let meant = absolute(value).map_or_else(|_| value.clone(), |path| path.display().to_string());
    Some(format!("{place}: {written}={value}: {why}; it names {meant}"))
}

/// A word that nobody knows leaves a probe without an answer.
fn unknown_words(made: &Made) -> impl Iterator<Item = String> {
    let unknown = value::words(&made.value).into_iter();
    let unknown = unknown.filter(|word| word != "*" && !FOUR_LETTER_WORDS.contains(&word.as_str()));
    unknown.map(|word| {
        let near = keys::most_alike(&word, FOUR_LETTER_WORDS.into_iter(), 2);
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        format!("{}: {}: no four-letter word is called {word}{hint}", made.place, made.written)
    })
}

/// The text behind a byte order mark, which editors put there and Java takes for a part of the first key.
pub(super) fn without_mark<'a>(
    path: &Path,
    bytes: &'a [u8],
    warnings: &mut Vec<Warning>,
) -> Result<&'a [u8], ConfigError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ConfigError::Refused {
            place: Place::File { path: path.to_path_buf(), line: 1 },
            what: "the file begins with a byte order mark (BOM) of UTF-16".into(),
            way_out: "Save it as ASCII or UTF-8".into(),
        });
    }
    let Some(text) = bytes.strip_prefix(b"\xef\xbb\xbf") else { return Ok(bytes) };
    warnings.push(Warning(format!(
        "{}, line 1: the file begins with a byte order mark (BOM), which is skipped here; to Apache ZooKeeper it is a part of \
         the first key, which is then lost. Save it without",
        path.display()
    )));
    Ok(text)
}
