//! Java's properties format: bytes in, keys and values with their line numbers out. Follows `java.util.Properties.load`
//! (Latin-1, escapes, continuation lines, the three separators), so that a file means here what it means to ZooKeeper.
//! The configuration that servers send each other is such a text, too, in UTF-8.

/// One setting as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Line of the key, counted from 1.
    pub line: usize,
    /// Without escapes and surrounding blanks.
    pub key: String,
    /// Without escapes and surrounding blanks.
    pub value: String,
}

/// A broken `\uXXXX`, the only thing this format can get wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadEscape {
    /// Line of the key, counted from 1.
    pub line: usize,
    /// What stands where four hexadecimal digits belong.
    pub found: String,
}

/// Every setting of a file, in its order; a key that is set twice appears twice.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, BadEscape> {
    parse_chars(&bytes.iter().map(|byte| char::from(*byte)).collect::<Vec<char>>())
}

/// Every setting of a text (`Properties.load(Reader)`), as [`parse`].
pub fn parse_text(text: &str) -> Result<Vec<Entry>, BadEscape> {
    parse_chars(&text.chars().collect::<Vec<char>>())
}

fn parse_chars(chars: &[char]) -> Result<Vec<Entry>, BadEscape> {
    let mut entries = Vec::new();
    for (line, text) in logical_lines(chars) {
        let bad = |found| BadEscape { line, found };
        let (key, value) = split(&text);
        let key = unescape(key).map_err(bad)?;
        let value = unescape(value).map_err(bad)?;
        entries.push(Entry { line, key: trim(&key), value: trim(&value) });
    }
    Ok(entries)
}

/// Joins continued lines and drops blank ones and comments.
fn logical_lines(chars: &[char]) -> Vec<(usize, Vec<char>)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, Vec<char>)> = None;
    for (number, natural) in natural_lines(chars) {
        let text: Vec<char> = natural.iter().copied().skip_while(|c| is_blank(*c)).collect();
        let starts = open.is_none();
        if starts && (text.is_empty() || text[0] == '#' || text[0] == '!') {
            continue;
        }
        let (_, joined) = open.get_or_insert_with(|| (number, Vec::new()));
        joined.extend(&text);
        let backslashes = text.iter().rev().take_while(|c| **c == '\\').count();
        if backslashes % 2 == 1 {
            joined.pop();
        } else {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    lines
}

/// Lines as an editor counts them: after LF, CR or CR LF.
fn natural_lines(chars: &[char]) -> Vec<(usize, &[char])> {
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < chars.len() {
        if chars[at] == '\n' || chars[at] == '\r' {
            lines.push((lines.len() + 1, &chars[start..at]));
            at += usize::from(chars[at..].starts_with(&['\r', '\n']));
            start = at + 1;
        }
        at += 1;
    }
    lines.push((lines.len() + 1, &chars[start..]));
    lines
}

/// The key ends before the first unescaped `=`, `:` or blank; one separator and the blanks around it go.
fn split(text: &[char]) -> (&[char], &[char]) {
    let mut end = 0;
    while end < text.len() && !is_blank(text[end]) && text[end] != '=' && text[end] != ':' {
        end += if text[end] == '\\' { 2 } else { 1 };
    }
    let end = end.min(text.len());
    let mut from = end;
    let skip_blanks = |mut at: usize| {
        while at < text.len() && is_blank(text[at]) {
            at += 1;
        }
        at
    };
    from = skip_blanks(from);
    if from < text.len() && (text[from] == '=' || text[from] == ':') {
        from = skip_blanks(from + 1);
    }
    (&text[..end], &text[from..])
}

fn unescape(text: &[char]) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(c) = rest.next() {
        if *c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        match rest.next() {
            Some('u') => {
                let digits: String = rest.as_slice().iter().take(4).collect();
                let is_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| is_hex);
                units.push(unit.ok_or(format!("\\u{digits}"))?);
                rest = rest.as_slice()[4..].iter();
            }
            Some('t') => units.push(u16::from(b'\t')),
            Some('n') => units.push(u16::from(b'\n')),
            Some('r') => units.push(u16::from(b'\r')),
            Some('f') => units.push(0x0c),
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            None => {}
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// `String.trim` of Java.
fn trim(text: &str) -> String {
    text.trim_matches(|c| c <= ' ').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let entries = parse(text.as_bytes()).expect("well-formed");
        entries.into_iter().map(|entry| (entry.line, entry.key, entry.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{all:?}");
        let (_, key, value) = all.remove(0);
        (key, value)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn three_separators() {
        for text in ["a=b", "a:b", "a b", "a = b", " a\t:\tb", "a   b  ", "a=b\r\n", "\n\n#c\n!c\n  # c\na=b"]
        {
            assert_eq!(one(text), pair("a", "b"), "{text:?}");
        }
        assert_eq!(one("a"), pair("a", ""));
        assert_eq!(one("a=b=c:d"), pair("a", "b=c:d"));
        assert_eq!(one("a==b"), pair("a", "=b"));
        assert_eq!(one("server.1=h:1:2;3 # no comment"), pair("server.1", "h:1:2;3 # no comment"));
    }

    #[test]
    fn escapes() {
        assert_eq!(one(r"a\=b\:c\ d=e"), pair("a=b:c d", "e"));
        assert_eq!(one(r"a=x\ty\\z\q"), pair("a", "x\ty\\zq"));
        assert_eq!(one(r"a=\u00e9\ud83d\ude00"), pair("a", "é😀"));
        assert_eq!(parse(br"a=\u00g9"), Err(BadEscape { line: 1, found: r"\u00g9".into() }));
        assert_eq!(parse(b"\na=\\u1"), Err(BadEscape { line: 2, found: r"\u1".into() }));
        assert_eq!(parse(b"a=\xe9").expect("Latin-1")[0].value, "é");
        assert_eq!(parse_text("a=é😀\\😀").expect("text")[0].value, "é😀😀");
    }

    #[test]
    fn lines_continue_and_are_counted() {
        let text = "a=1,\\\n   2,\\\n   3\nb=2\\\\\nc=\\\n#not a comment\n\\\nd=4\n";
        let expected = [(1, "a", "1,2,3"), (4, "b", "2\\"), (5, "c", "#not a comment"), (7, "d", "4")];
        let expected: Vec<_> = expected.map(|(line, k, v)| (line, k.to_string(), v.to_string())).into();
        assert_eq!(pairs(text), expected);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_what_it_cares_about(text in "[ab=: \\t\\\\u0-9#!\\r\\n]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
