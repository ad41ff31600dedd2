//! `-D` settings in the environment variables with which ZooKeeper's scripts pass flags to the JVM.

/// The variables, in the order in which the scripts join them: of two equal settings the later one counts.
pub(super) const VARIABLES: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];

/// What a variable holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Flags {
    /// `-Dname=value`; `-Dname` has an empty value.
    pub defines: Vec<(String, String)>,
    /// Everything else: `-Xmx1g` and the like.
    pub others: Vec<String>,
}

pub(super) fn parse(text: &str) -> Flags {
    let mut flags = Flags::default();
    for word in split(text) {
        match word.strip_prefix("-D") {
            Some(define) => {
                let (name, value) = define.split_once('=').unwrap_or((define, ""));
                flags.defines.push((name.to_string(), value.to_string()));
            }
            None => flags.others.push(word),
        }
    }
    flags
}

/// Words as a shell splits them: blanks, both quotes, backslash. An unclosed quote ends with the text.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(rest.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_like_a_shell_does() {
        assert_eq!(split("  a  b\tc\n"), ["a", "b", "c"]);
        assert_eq!(split(r#"a'b c'd "e \" f" g\ h '' "#), ["ab cd", "e \" f", "g h", ""]);
        assert_eq!(split("'open"), ["open"]);
        assert!(split("").is_empty());
    }

    #[test]
    fn defines_and_others() {
        let flags = parse("-Xmx1g -Dzookeeper.snapCount=10 '-Da=b c' -Dflag");
        assert_eq!(flags.others, ["-Xmx1g"]);
        let names: Vec<_> = flags.defines.iter().map(|(name, value)| format!("{name}|{value}")).collect();
        assert_eq!(names, ["zookeeper.snapCount|10", "a|b c", "flag|"]);
    }
}
