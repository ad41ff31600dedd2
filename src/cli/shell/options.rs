//! The shell's own arguments: zkCli's (`-server`, `-timeout`, `-r`, `-waitforconnection`, `-client-configuration`), ours
//! (`--output`, `--values`), then perhaps one command with its words. zkCli ignores what it does not know; so does this,
//! but says so.

use super::output::{Format, Values};
use crate::cli::client::{ConnectString, Settings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Options {
    pub(super) server: String,
    pub(super) timeout_ms: i32,
    pub(super) read_only: bool,
    pub(super) wait_for_connection: bool,
    pub(super) format: Format,
    pub(super) values: Values,
    /// A command to run instead of reading lines; empty: none.
    pub(super) command: Vec<String>,
    /// What was ignored.
    pub(super) ignored: Vec<String>,
}

/// What is wrong with the arguments, and the exit code for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused(pub(super) String, pub(super) u8);

impl Options {
    pub(super) fn parse(words: &[String]) -> Result<Options, Refused> {
        let mut options = Options {
            server: "localhost:2181".into(),
            timeout_ms: 30_000,
            read_only: false,
            wait_for_connection: false,
            format: Format::Text,
            values: Values::Text,
            command: Vec::new(),
            ignored: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, joined) = match word.split_once('=').filter(|_| word.starts_with("--")) {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (word.as_str(), None),
            };
            let mut value = || {
                let missing = || Refused(format!("Error: no argument found for option {name}"), 1);
                joined.clone().or_else(|| words.next().cloned()).ok_or_else(missing)
            };
            match name {
                "-server" | "--server" => options.server = value()?,
                "-timeout" | "--timeout" => options.timeout_ms = number(&value()?)?,
                "-r" => options.read_only = true,
                "-waitforconnection" => options.wait_for_connection = true,
                "-client-configuration" => check_configuration(&value()?)?,
                "--output" => options.format = Format::parse(&value()?).map_err(wrong)?,
                "--values" => options.values = Values::parse(&value()?).map_err(wrong)?,
                "--" => {}
                _ if name.starts_with('-') => options.ignored.push(word.clone()),
                _ => {
                    options.command = std::iter::once(word.clone()).chain(words.cloned()).collect();
                    break;
                }
            }
        }
        Ok(options)
    }

    /// For a connection to these hosts.
    pub(super) fn settings(&self, server: &str) -> Result<Settings, String> {
        let connect = ConnectString::parse(server)?;
        Ok(Settings { connect, timeout_ms: self.timeout_ms, read_only: self.read_only })
    }
}

fn wrong(why: String) -> Refused {
    Refused(why, 2)
}

fn number(text: &str) -> Result<i32, Refused> {
    text.parse()
        .map_err(|_| Refused(format!("-timeout: expected a number of milliseconds, found \"{text}\""), 1))
}

/// The file holds settings of Java's client. Those that ask for encryption or SASL cannot be honoured, and going on
/// without them would send secrets in the clear; the others mean nothing here.
fn check_configuration(file: &str) -> Result<(), Refused> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| wrong(format!("-client-configuration: cannot read {file}: {error}")))?;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!'])) {
        let (key, value) =
            line.split_once(['=', ':']).map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
        let is_on = value.eq_ignore_ascii_case("true");
        if key == "zookeeper.client.secure" && is_on {
            return Err(wrong(format!(
                "-client-configuration: {file} asks for TLS ({key}=true), which this shell does not speak yet; \
                 connect to a port without TLS, or remove the line"
            )));
        }
        if key == "zookeeper.client.certReload" || key.starts_with("zookeeper.ssl.") {
            tracing::debug!("{file}: {key} is without effect");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, Refused> {
        Options::parse(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn as_zkcli_takes_them() {
        let options = parse(&[
            "-server",
            "a:1,b:2/c",
            "-timeout",
            "5000",
            "-r",
            "-waitforconnection",
            "get",
            "-s",
            "/a",
        ])
        .expect("good");
        assert_eq!((options.server.as_str(), options.timeout_ms), ("a:1,b:2/c", 5000));
        assert!(options.read_only && options.wait_for_connection);
        assert_eq!(options.command, ["get", "-s", "/a"]);
        let options = parse(&["-unknown", "ls", "/"]).expect("good");
        assert_eq!(
            (options.ignored, options.command),
            (vec!["-unknown".into()], vec!["ls".into(), "/".into()])
        );
        assert_eq!(
            parse(&["-server"]),
            Err(Refused("Error: no argument found for option -server".into(), 1))
        );
        assert_eq!(parse(&["-timeout", "soon"]).expect_err("no number").1, 1);
    }

    #[test]
    fn ours() {
        let options = parse(&["--output", "json", "--values=hex", "ls", "/"]).expect("good");
        assert_eq!((options.format, options.values), (Format::Json, Values::Hex));
        assert_eq!(parse(&["--output", "xml"]).expect_err("unknown").1, 2);
    }

    #[test]
    fn encryption_is_not_silently_left_out() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let name = file.path().to_str().expect("a name");
        std::fs::write(file.path(), "# x\nzookeeper.client.secure = true\n").expect("written");
        let refused = parse(&["-client-configuration", name]).expect_err("TLS");
        assert!(refused.0.contains("TLS") && refused.1 == 2, "{refused:?}");
        std::fs::write(file.path(), "zookeeper.client.secure=false\n").expect("written");
        assert!(parse(&["-client-configuration", name]).is_ok());
        assert_eq!(parse(&["-client-configuration", "/nonexistent"]).expect_err("no file").1, 2);
    }
}
