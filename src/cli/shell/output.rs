//! What commands print: zkCli's text, or JSON lines. Text goes out as it is made, so that the order of answers and errors
//! is that of commands; on a terminal it may be coloured, and control characters in data cannot take it over.

use crate::io::local_time;
use crate::wire::{Acl, Stat};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

/// Text for people and scripts around zkCli, or one JSON value per answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Text,
    Json,
}

impl Format {
    pub(super) fn parse(text: &str) -> Result<Format, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err(format!("--output: expected text or json, found \"{text}\"")),
        }
    }
}

/// How data of nodes is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Values {
    Text,
    Hex,
    Base64,
    /// Indented where it is JSON, else as text.
    Json,
}

impl Values {
    pub(super) fn parse(text: &str) -> Result<Values, String> {
        match text {
            "text" => Ok(Values::Text),
            "hex" => Ok(Values::Hex),
            "base64" => Ok(Values::Base64),
            "json" => Ok(Values::Json),
            _ => Err(format!("values: expected text, hex, base64 or json, found \"{text}\"")),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Values::Text => "text",
            Values::Hex => "hex",
            Values::Base64 => "base64",
            Values::Json => "json",
        }
    }

    /// Null data is the word null, as in zkCli.
    pub(super) fn show(self, data: Option<&[u8]>) -> String {
        let data = data.unwrap_or(b"null");
        match self {
            Values::Text => String::from_utf8_lossy(data).into_owned(),
            Values::Hex => hex_dump(data),
            Values::Base64 => STANDARD.encode(data),
            Values::Json => match serde_json::from_slice::<Value>(data) {
                Ok(value) if value.is_object() || value.is_array() => format!("{value:#}"),
                _ => String::from_utf8_lossy(data).into_owned(),
            },
        }
    }
}

/// Where answers and complaints go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) format: Format,
    /// Standard output is a terminal.
    pub(super) is_terminal: bool,
    /// Colours are wanted there.
    pub(super) is_coloured: bool,
    /// Standard error is read by a person, who is told what to do about an error, and not by a script.
    pub(super) has_hints: bool,
}

/// What a line is, for its colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paint {
    Plain,
    Error,
    Hint,
    Event,
}

impl Out {
    pub(super) fn new(format: Format) -> Out {
        let is_terminal = std::io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let has_hints = match std::env::var_os("RINGKEEPER_HINTS").as_ref().and_then(|word| word.to_str()) {
            Some("always") => true,
            Some("never") => false,
            _ => std::io::stderr().is_terminal(),
        };
        Out { format, is_terminal, is_coloured: is_terminal && !is_plain, has_hints }
    }

    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// One answer in the wanted form.
    pub(super) fn answer(self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) {
        match self.format {
            Format::Text => self.line(&text()),
            Format::Json => self.line(&json().to_string()),
        }
    }

    /// Only in text.
    pub(super) fn text(self, text: &str) {
        if !self.is_json() {
            self.line(text);
        }
    }

    pub(super) fn line(self, text: &str) {
        let text = if self.is_terminal { without_controls(text) } else { Cow::Borrowed(text) };
        let mut stdout = std::io::stdout().lock();
        if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
            // Whoever read is gone (`| head`): there is nobody left to tell anything.
            std::process::exit(1);
        }
    }

    /// To standard error.
    pub(super) fn complain(self, text: &str) {
        self.complain_in(Paint::Plain, text);
    }

    /// A complaint without which the command goes on, or which zkCli makes and calls no failure: `name` is that of the error
    /// in JSON.
    pub(super) fn complain_as(self, name: &str, text: &str) {
        match self.format {
            Format::Text => self.complain(text),
            Format::Json => self.complain(&json!({ "error": name, "message": text }).to_string()),
        }
    }

    /// Something noticed; in JSON a value of its own.
    pub(super) fn warn(self, text: &str) {
        match self.format {
            Format::Text => self.complain(text),
            Format::Json => self.complain(&json!({ "warning": text }).to_string()),
        }
    }

    /// What to do about it, for a person.
    pub(super) fn hint(self, text: &str) {
        if self.has_hints && !self.is_json() {
            self.complain_in(Paint::Hint, &format!("  hint: {text}"));
        }
    }

    pub(super) fn complain_in(self, paint: Paint, text: &str) {
        let is_terminal = std::io::stderr().is_terminal();
        let text = if is_terminal { without_controls(text) } else { Cow::Borrowed(text) };
        let text = if is_terminal && self.is_coloured { painted(paint, &text) } else { text.into_owned() };
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// With the escape sequences of a colour.
pub(super) fn painted(paint: Paint, text: &str) -> String {
    let code = match paint {
        Paint::Plain => return text.into(),
        Paint::Error => "31",
        Paint::Hint => "33",
        Paint::Event => "36",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Data may hold escape sequences; a terminal must not obey them.
pub(super) fn without_controls(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_bad(c) { '\u{fffd}' } else { c }).collect())
}

/// The eleven lines of zkCli.
pub(super) fn stat_text(stat: &Stat) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = 0x{:x}\ndataLength = {}\nnumChildren = {}",
        stat.czxid,
        local_time::date(stat.ctime),
        stat.mzxid,
        local_time::date(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children
    )
}

/// The same names; times in ms since 1970.
pub(super) fn stat_json(stat: &Stat) -> Value {
    json!({
        "cZxid": stat.czxid, "ctime": stat.ctime, "mZxid": stat.mzxid, "mtime": stat.mtime, "pZxid": stat.pzxid,
        "cversion": stat.cversion, "dataVersion": stat.version, "aclVersion": stat.aversion,
        "ephemeralOwner": stat.ephemeral_owner, "dataLength": stat.data_length, "numChildren": stat.num_children,
    })
}

/// `{"text": ...}` if it is UTF-8, else `{"base64": ...}`; null stays null.
pub(super) fn data_json(data: Option<&[u8]>) -> Value {
    match data.map(|data| (data, std::str::from_utf8(data))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!({ "text": text }),
        Some((data, Err(_))) => json!({ "base64": STANDARD.encode(data) }),
    }
}

/// `cdrwa`, those that are set.
pub(super) fn permissions(perms: i32) -> String {
    [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')]
        .into_iter()
        .filter(|(bit, _)| perms & bit != 0)
        .map(|(_, letter)| letter)
        .collect()
}

/// `scheme:id:perms`.
pub(super) fn acl_text(acl: &Acl) -> String {
    format!("{}:{}:{}", acl.scheme, acl.id, permissions(acl.perms))
}

/// The table of Netty's `prettyHexDump`, which `get -x` prints; nothing for no bytes.
pub(super) fn hex_dump(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    const EDGE: &str = "+--------+-------------------------------------------------+----------------+";
    let mut text = format!(
        "         +-------------------------------------------------+\n         \
         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n{EDGE}"
    );
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let shown: String =
            bytes.iter().map(|byte| if matches!(byte, 0x20..0x7f) { *byte as char } else { '.' }).collect();
        write!(text, "\n|{:08x}|{hex:<48} |{shown:<16}|", row * 16).expect("writing to a string works");
    }
    text + "\n" + EDGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_is_nettys() {
        let expected = "         +-------------------------------------------------+\n         \
                        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n\
            +--------+-------------------------------------------------+----------------+\n\
            |00000000| 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 |0123456789abcdef|\n\
            |00000010| c3 20 0a                                        |. .             |\n\
            +--------+-------------------------------------------------+----------------+";
        assert_eq!(hex_dump(b"0123456789abcdef\xc3 \n"), expected);
        assert_eq!(hex_dump(b""), "");
    }

    #[test]
    fn values_are_shown_as_wanted() {
        assert_eq!(Values::Text.show(None), "null");
        assert_eq!(Values::Base64.show(Some(b"data")), "ZGF0YQ==");
        assert_eq!(Values::Json.show(Some(b"{\"a\":[1]}")), "{\n  \"a\": [\n    1\n  ]\n}");
        assert_eq!(Values::Json.show(Some(b"17 apples")), "17 apples");
        assert_eq!(data_json(Some(b"\xff")), json!({"base64": "/w=="}));
        assert_eq!(data_json(Some(b"a")), json!({"text": "a"}));
    }

    #[test]
    fn terminals_are_safe_from_data() {
        assert_eq!(without_controls("a\x1b[31mb\tc\n"), "a\u{fffd}[31mb\tc\n");
        assert_eq!(without_controls("plain"), "plain");
    }

    #[test]
    fn permissions_in_zookeepers_order() {
        assert_eq!(permissions(31), "cdrwa");
        assert_eq!(permissions(1 | 16), "ra");
        assert_eq!(permissions(0), "");
    }
}
