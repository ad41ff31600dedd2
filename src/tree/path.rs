//! What may be a znode's path (`PathUtils.validatePath`), in the words of UTF-16 units because Java's strings are.

/// Why a path is refused; only for people, clients get BadArguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PathError {
    #[error("a path must start with a slash")]
    NotAbsolute,
    #[error("a path must not end with a slash")]
    TrailingSlash,
    #[error("a path must not have an empty component")]
    EmptyComponent,
    #[error("a path must not have a component . or ..")]
    RelativeComponent,
    #[error("a path must not contain this character")]
    BadCharacter,
}

/// Checks a whole path.
pub fn validate(path: &str) -> Result<(), PathError> {
    let Some(names) = path.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
    if names.is_empty() {
        return Ok(());
    }
    if names.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    if is_plain(path.as_bytes()) {
        return Ok(());
    }
    for name in names.as_bytes().split(|byte| *byte == b'/') {
        match name {
            b"" => return Err(PathError::EmptyComponent),
            b"." | b".." => return Err(PathError::RelativeComponent),
            _ => {}
        }
    }
    if names.chars().any(is_refused) { Err(PathError::BadCharacter) } else { Ok(()) }
}

/// Most paths: printable ASCII in which nothing that could be wrong follows a slash. One pass without a branch per byte.
fn is_plain(path: &[u8]) -> bool {
    let is_printable = path.iter().fold(true, |all, byte| all & (byte.wrapping_sub(0x20) < 0x5f));
    let is_suspect = |(byte, next): (&u8, &u8)| (*byte == b'/') & ((*next == b'/') | (*next == b'.'));
    is_printable & !path.iter().zip(&path[1..]).fold(false, |any, pair| any | is_suspect(pair))
}

/// Control characters, private use, surrogates (so everything beyond the basic plane) and the specials.
fn is_refused(char: char) -> bool {
    matches!(char as u32, 0..0x20 | 0x7f..0xa0 | 0xd800..=0xf8ff | 0xfff0..)
}

/// What create and delete check before they look at the tree: the parent's path ("" is the root), None unless `path`
/// has a slash and no NUL.
pub fn parent_of_unchecked(path: &str) -> Option<&str> {
    let bytes = path.as_bytes();
    let slash = bytes.iter().rposition(|byte| *byte == b'/')?;
    let has_nul = bytes.iter().fold(false, |any, byte| any | (*byte == 0));
    (!has_nul).then(|| &path[..slash])
}

/// The nodes that exist from the start and cannot be deleted.
pub fn is_special(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_paths() {
        for good in
            ["/", "/a", "/a/b", "/a/...", "/.a", "/a b", "/\u{e9}", "/\u{d7ff}", "/\u{f900}", "/\u{ffef}"]
        {
            assert_eq!(validate(good), Ok(()), "{good:?}");
        }
        let bad = [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("/a/", PathError::TrailingSlash),
            ("//", PathError::TrailingSlash),
            ("/a//b", PathError::EmptyComponent),
            ("/a/./b", PathError::RelativeComponent),
            ("/..", PathError::RelativeComponent),
            ("/\0", PathError::BadCharacter),
            ("/a\u{1f}", PathError::BadCharacter),
            ("/a\u{7f}", PathError::BadCharacter),
            ("/\u{9f}", PathError::BadCharacter),
            ("/\u{e000}", PathError::BadCharacter),
            ("/\u{fff0}", PathError::BadCharacter),
            ("/\u{1f600}", PathError::BadCharacter),
        ];
        for (path, error) in bad {
            assert_eq!(validate(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn parents_before_validation() {
        assert_eq!(parent_of_unchecked("/a"), Some(""));
        assert_eq!(parent_of_unchecked("/a//b"), Some("/a/"));
        assert_eq!(parent_of_unchecked("a"), None);
        assert_eq!(parent_of_unchecked("/a\0"), None);
    }
}
