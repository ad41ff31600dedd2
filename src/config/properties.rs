//! Java's properties format, with the line each key stands on.

/// One `key=value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// Unescaped.
    pub key: String,
    /// Unescaped, without trailing blanks (as ZooKeeper trims them).
    pub value: String,
    /// Counted from 1, the first of a continued line.
    pub line: usize,
}

/// Reads a whole file. Never fails: every line means something in this format.
pub fn parse(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut logical = line.trim_start().to_string();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_with_odd_backslashes(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let value = unescape(value).trim().to_string();
        properties.push(Property { key: unescape(key), value, line: index + 1 });
    }
    properties
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The key ends at the first unescaped '=', ':' or blank.
fn split(line: &str) -> (&str, &str) {
    let mut is_escaped = false;
    for (at, letter) in line.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if letter == '\\' {
            is_escaped = true;
        } else if matches!(letter, '=' | ':' | ' ' | '\t' | '\u{c}') {
            let rest = line[at..].trim_start_matches([' ', '\t', '\u{c}']);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], rest.trim_start());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                plain.push(code.unwrap_or('\u{fffd}'));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn separators_escapes_comments_and_continued_lines() {
        let text = "# c\n! c\na=1\n b : 2 \nc 3\nd\\=e=4\nf=\\\n  5\ng=a\\u0041\\\\\n\nh\n";
        let found: Vec<(String, String, usize)> =
            parse(text).into_iter().map(|property| (property.key, property.value, property.line)).collect();
        let expected = [
            ("a", "1", 3),
            ("b", "2", 4),
            ("c", "3", 5),
            ("d=e", "4", 6),
            ("f", "5", 7),
            ("g", "aA\\", 9),
            ("h", "", 11),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(key, value, line)| (key.to_string(), value.to_string(), *line)).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            parse(&text);
        }
    }
}
