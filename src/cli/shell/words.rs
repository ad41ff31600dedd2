//! A command line in words, exactly as zkCli cuts it: blanks separate, a word that begins with a quote goes on to the
//! next quote of its kind, nothing is an escape. A quote that is never closed, or that stands right behind a word's end,
//! behaves as Java's regular expression `\s*([^"']\S*|"[^"]*"|'[^']*')\s*`, applied again and again, makes it.

/// The words of a line, quotes taken off.
pub(super) fn split(line: &str) -> Vec<String> {
    let line: Vec<char> = line.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < line.len() {
        match word_at(&line, at) {
            Some((word, end)) => {
                words.push(word);
                at = skip_blanks(&line, end);
            }
            None => at += 1,
        }
    }
    words
}

/// A match that starts here: its word, and where that ends.
fn word_at(line: &[char], at: usize) -> Option<(String, usize)> {
    // The blanks before a word are given back one by one if no word follows them.
    let blanks_end = skip_blanks(line, at);
    (at..=blanks_end).rev().find_map(|start| bare_word(line, start).or_else(|| quoted_word(line, start)))
}

fn bare_word(line: &[char], start: usize) -> Option<(String, usize)> {
    let first = line.get(start).filter(|c| !matches!(c, '"' | '\''))?;
    let rest = line[start + 1..].iter().take_while(|c| !is_blank(**c));
    let word: String = std::iter::once(first).chain(rest).collect();
    let end = start + word.chars().count();
    Some((word, end))
}

fn quoted_word(line: &[char], start: usize) -> Option<(String, usize)> {
    let quote = line.get(start).filter(|c| matches!(c, '"' | '\''))?;
    let length = line[start + 1..].iter().position(|c| c == quote)?;
    Some((line[start + 1..start + 1 + length].iter().collect(), start + length + 2))
}

fn skip_blanks(line: &[char], at: usize) -> usize {
    at + line[at..].iter().take_while(|c| is_blank(**c)).count()
}

/// Java's `\s`.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_and_quotes() {
        assert_eq!(split("create /a \"two words\" 'x y'"), ["create", "/a", "two words", "x y"]);
        assert_eq!(split("  ls\t/  "), ["ls", "/"]);
        assert_eq!(split("set /a \"\""), ["set", "/a", ""]);
        assert_eq!(split("set /a 'it said \"hello\"'"), ["set", "/a", "it said \"hello\""]);
        assert_eq!(split("set /a back\\slash\\n \\\""), ["set", "/a", "back\\slash\\n", "\\\""]);
        assert_eq!(split(""), Vec::<String>::new());
    }

    #[test]
    fn quotes_that_do_not_match_behave_as_in_java() {
        assert_eq!(split("create /a \"open"), ["create", "/a", "open"]);
        assert_eq!(split("create /j \"a\"b"), ["create", "/j", "a", "b"]);
        assert_eq!(split("create /j a\"b c\"d"), ["create", "/j", "a\"b", "c\"d"]);
        assert_eq!(split("create it's"), ["create", "it's"]);
        assert_eq!(split(" \"x"), [" \"x"]);
        assert_eq!(split("   "), [" "]);
    }
}
