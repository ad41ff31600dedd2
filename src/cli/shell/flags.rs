//! A command's options and arguments, told apart as zkCli's library does (`DefaultParser` of commons-cli): options may
//! stand anywhere, `-sw` is `-s -w`, `-v3`, `-v=3` and `-v 3` are the same, `--` ends them, a negative number may be an
//! argument. The messages are that library's, class names included, since that is what zkCli prints.

use super::failure::Failure;

/// One option: its name without the first dash (so ours with two begin with one), and what it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) takes_value: bool,
    pub(super) about: &'static str,
}

/// How the options of a command belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// Any of them.
    Any,
    /// At most one.
    One,
    /// Exactly one.
    OneNeeded,
}

/// What a command was given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Given {
    /// The command's name, then its arguments.
    pub(super) words: Vec<String>,
    options: Vec<(&'static str, Option<String>)>,
}

impl Given {
    /// Words as they are.
    pub(super) fn raw(words: &[String]) -> Given {
        Given { words: words.to_vec(), options: Vec::new() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    /// As if it had been given without a value.
    pub(super) fn add(&mut self, name: &'static str) {
        self.options.push((name, None));
    }

    /// The first value of this option.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| *option == name)?.1.as_deref()
    }
}

/// Sorts the words of a command.
pub(super) fn parse(words: &[String], flags: &'static [Flag], rule: Rule) -> Result<Given, Failure> {
    let mut parser = Parser { flags, rule, given: Given::default(), open: None };
    let mut is_over = false;
    for word in words {
        if is_over {
            parser.given.words.push(word.clone());
        } else if word == "--" {
            is_over = true;
        } else {
            parser.take(word)?;
        }
    }
    parser.check_value()?;
    if rule == Rule::OneNeeded && parser.given.options.is_empty() {
        let all: Vec<String> = flags.iter().map(|flag| format!("-{} {}", flag.name, flag.about)).collect();
        let message = format!("Missing required option: [{}]", all.join(", "));
        return Err(Failure::parse("MissingOptionException", &message));
    }
    Ok(parser.given)
}

struct Parser {
    flags: &'static [Flag],
    rule: Rule,
    given: Given,
    /// An option that still lacks its value.
    open: Option<&'static str>,
}

impl Parser {
    fn take(&mut self, word: &str) -> Result<(), Failure> {
        if self.open.is_some() && !self.looks_like_option(word) {
            self.set_value(unquoted(word));
            return Ok(());
        }
        if word.starts_with("--") || (word.starts_with('-') && word.len() > 1) {
            return self.take_option(word);
        }
        self.given.words.push(word.into());
        Ok(())
    }

    fn take_option(&mut self, word: &str) -> Result<(), Failure> {
        let name = &word[1..];
        if let Some((name, value)) = name.split_once('=') {
            let flag = self.flag(name).filter(|flag| flag.takes_value);
            let flag = flag.ok_or_else(|| unrecognized(word))?;
            self.begin(flag)?;
            self.set_value(value);
            return Ok(());
        }
        if let Some(flag) = self.flag(name) {
            return self.begin(flag);
        }
        self.take_joined(word)
    }

    /// `-sw`, `-v3`.
    fn take_joined(&mut self, word: &str) -> Result<(), Failure> {
        let letters: Vec<(usize, char)> = word.char_indices().skip(1).collect();
        for (at, letter) in letters {
            let flag = self.flag(letter.encode_utf8(&mut [0; 4])).ok_or_else(|| unrecognized(word))?;
            self.begin(flag)?;
            let rest = &word[at + letter.len_utf8()..];
            if flag.takes_value && !rest.is_empty() {
                self.set_value(unquoted(rest));
                break;
            }
        }
        Ok(())
    }

    fn begin(&mut self, flag: &'static Flag) -> Result<(), Failure> {
        self.check_value()?;
        let other = self.given.options.iter().find(|(name, _)| *name != flag.name);
        if let (Some((other, _)), false) = (other, self.rule == Rule::Any) {
            let message = format!(
                "The option '{}' was specified but an option from this group has already been selected: '{other}'",
                flag.name
            );
            return Err(Failure::parse("AlreadySelectedException", &message));
        }
        self.given.options.push((flag.name, None));
        self.open = flag.takes_value.then_some(flag.name);
        Ok(())
    }

    fn set_value(&mut self, value: &str) {
        self.given.options.last_mut().expect("an option is open").1 = Some(value.into());
        self.open = None;
    }

    fn check_value(&self) -> Result<(), Failure> {
        match self.open {
            Some(name) => {
                let message = format!("Missing argument for option: {name}");
                Err(Failure::parse("MissingArgumentException", &message))
            }
            None => Ok(()),
        }
    }

    fn looks_like_option(&self, word: &str) -> bool {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else { return false };
        let name = name.split('=').next().unwrap_or_default();
        let first = name.chars().next().map(String::from).unwrap_or_default();
        self.flag(name).is_some() || self.flag(&first).is_some()
    }

    fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }
}

fn unrecognized(word: &str) -> Failure {
    Failure::parse("UnrecognizedOptionException", &format!("Unrecognized option: {word}"))
}

fn unquoted(word: &str) -> &str {
    let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag { name: "s", takes_value: false, about: "stats" },
        Flag { name: "w", takes_value: false, about: "watch" },
        Flag { name: "v", takes_value: true, about: "version" },
        Flag { name: "file", takes_value: true, about: "a file" },
    ];

    fn parsed(line: &str) -> Result<Given, String> {
        parse(&super::super::words::split(line), FLAGS, Rule::Any).map_err(|failure| failure.message)
    }

    #[test]
    fn options_stand_anywhere() {
        for line in ["x -s -v 3 /a b", "x /a b -sv 3", "x -sv3 /a b", "x /a -v=3 -s b", "x -sw -v 3 /a b"] {
            let given = parsed(line).expect("good");
            assert_eq!(given.words, ["x", "/a", "b"], "{line}");
            assert!(given.has("s") && given.value("v") == Some("3"), "{line}");
        }
        assert_eq!(parsed("x -v -1 /a").expect("good").value("v"), Some("-1"));
        assert_eq!(parsed("x -file f -").expect("good").words, ["x", "-"]);
        assert_eq!(parsed("x -- -s").expect("good").words, ["x", "-s"]);
    }

    #[test]
    fn mistakes_are_told_as_commons_cli_does() {
        let class = "org.apache.commons.cli";
        let missing = format!("{class}.MissingArgumentException: Missing argument for option: v");
        assert_eq!(parsed("x -v"), Err(missing.clone()));
        assert_eq!(parsed("x -v -s"), Err(missing));
        for (line, word) in [("x -z", "-z"), ("x -sz", "-sz"), ("x --s", "--s"), ("x -s=1", "-s=1")] {
            let expected = format!("{class}.UnrecognizedOptionException: Unrecognized option: {word}");
            assert_eq!(parsed(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn groups() {
        let words = |line| super::super::words::split(line);
        assert!(parse(&words("x"), FLAGS, Rule::OneNeeded).is_err());
        assert!(parse(&words("x -s"), FLAGS, Rule::OneNeeded).is_ok());
        let failure = parse(&words("x -s -w"), FLAGS, Rule::One).expect_err("two of a group");
        assert!(failure.message.ends_with("has already been selected: 's'"), "{}", failure.message);
    }
}
