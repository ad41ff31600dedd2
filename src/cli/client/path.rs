//! What a client checks about a path before it asks a server, in the words of ZooKeeper's own client
//! (`PathUtils.validatePath`), since scripts may look for them. The server's rules are in `tree/path.rs`.

/// An `Err` is the line that zkCli prints.
pub fn validate(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("Path length must be > 0".into());
    }
    if !path.starts_with('/') {
        return Err("Path must start with / character".into());
    }
    if path.len() == 1 {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err("Path must not end with / character".into());
    }
    let units: Vec<u16> = path.encode_utf16().collect();
    match (1..units.len()).find_map(|at| fault(&units, at).map(|fault| (at, fault))) {
        Some((at, fault)) => Err(format!("Invalid path string \"{path}\" caused by {fault} @{at}")),
        None => Ok(()),
    }
}

/// What is wrong with the UTF-16 unit at this index, in the order in which Java looks.
fn fault(units: &[u16], at: usize) -> Option<&'static str> {
    const SLASH: u16 = b'/' as u16;
    const DOT: u16 = b'.' as u16;
    let (unit, before) = (units[at], units[at - 1]);
    let ends_here = at + 1 == units.len() || units[at + 1] == SLASH;
    match unit {
        0 => Some("null character not allowed"),
        SLASH if before == SLASH => Some("empty node name specified"),
        DOT if before == DOT => {
            (at >= 2 && units[at - 2] == SLASH && ends_here).then_some("relative paths not allowed")
        }
        DOT => (before == SLASH && ends_here).then_some("relative paths not allowed"),
        1..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff => Some("invalid character"),
        _ => None,
    }
}

/// `parent` and `name` as one path.
pub fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

/// The path above; None of the root.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_zookeepers_client() {
        for good in ["/", "/a", "/a/b", "/a/...", "/.a", "/a.", "/a b/c", "/\u{e9}"] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        let bad = [
            ("", "Path length must be > 0"),
            ("a", "Path must start with / character"),
            ("/a/", "Path must not end with / character"),
            ("/a//b", "Invalid path string \"/a//b\" caused by empty node name specified @3"),
            ("/a/../b", "Invalid path string \"/a/../b\" caused by relative paths not allowed @4"),
            ("/.", "Invalid path string \"/.\" caused by relative paths not allowed @1"),
            ("/a\u{1}", "Invalid path string \"/a\u{1}\" caused by invalid character @2"),
        ];
        for (path, words) in bad {
            assert_eq!(validate(path), Err(words.into()));
        }
    }

    #[test]
    fn up_and_down() {
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a", "b"), "/a/b");
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/"), None);
    }
}
