//! Walks over subtrees: `ls -R`, find, tree. None of them is a snapshot: nodes that go away meanwhile are left out.

use super::argument;
use crate::cli::client::{ClientError, path};
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::session::Shell;
use crate::wire::ErrorCode;
use serde_json::json;

/// What to do with each path.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&Shell, &str) -> Result<(), Failure>;

/// In zkCli's order: a node's children, then each child's in turn (`ZKUtil.visitSubTreeDFS`).
pub(super) fn visit(shell: &Shell, root: &str, watch: bool, visit: Visit<'_>) -> Result<(), Failure> {
    visit_readable(shell, root, watch, None, visit)
}

/// The same; below a node that may not be read (of which `denied` is told) nothing is visited.
pub(super) fn visit_readable(
    shell: &Shell,
    root: &str,
    watch: bool,
    mut denied: Option<&mut dyn FnMut(&str)>,
    visit: Visit<'_>,
) -> Result<(), Failure> {
    let zk = shell.zk();
    zk.data(root, watch)?;
    visit(shell, root)?;
    let mut left = vec![root.to_string()];
    while let Some(parent) = left.pop() {
        let children = match zk.children(&parent, watch) {
            Ok((children, _)) => children,
            Err(error) if error.is(ErrorCode::NoNode) => continue,
            Err(error) => match &mut denied {
                Some(denied) if error.is(ErrorCode::NoAuth) => {
                    denied(&parent);
                    continue;
                }
                _ => return Err(error.into()),
            },
        };
        let mut paths: Vec<String> = children.iter().map(|child| path::join(&parent, child)).collect();
        paths.sort_by(|one, other| one.encode_utf16().cmp(other.encode_utf16()));
        for path in &paths {
            visit(shell, path)?;
        }
        left.extend(paths.into_iter().rev());
    }
    Ok(())
}

pub(super) fn find(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = argument(given, 1)?;
    let pattern = given.value("-name").map(|pattern| pattern.chars().collect::<Vec<char>>());
    visit(shell, root, false, &mut |shell, path| {
        let name: Vec<char> = path.rsplit('/').next().unwrap_or_default().chars().collect();
        if pattern.as_ref().is_none_or(|pattern| fits(pattern, &name)) {
            shell.out.answer(|| path.into(), || json!({ "path": path }));
        }
        Ok(())
    })
}

pub(super) fn tree(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = argument(given, 1)?;
    let depth = match given.value("-depth") {
        Some(text) => text
            .parse()
            .map_err(|_| Failure::usage(format!("--depth: expected a number, found \"{text}\"")))?,
        None => usize::MAX,
    };
    let (first, _) = shell.zk().children(root, false)?;
    shell.out.answer(|| root.into(), || json!({ "path": root, "depth": 0 }));
    let mut nodes = 1;
    // Each entry: a path, the lines drawn in front of it, whether it is its parent's last child.
    let mut left: Vec<(String, String, bool)> = Vec::new();
    push(&mut left, root, first, "");
    while let Some((path, indent, is_last)) = left.pop() {
        nodes += 1;
        let name = path.rsplit('/').next().unwrap_or_default();
        let level = indent.chars().count() / 4 + 1;
        let children = match shell.zk().children(&path, false) {
            Ok((children, _)) => children,
            Err(error) if error.is(ErrorCode::NoNode) => continue,
            // The children may be secret; the node is not.
            Err(ClientError::Code { code, .. }) if code == ErrorCode::NoAuth.code() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let is_cut = level >= depth && !children.is_empty();
        let more = if is_cut { format!(" ({} below)", children.len()) } else { String::new() };
        let branch = if is_last { "└── " } else { "├── " };
        shell
            .out
            .answer(|| format!("{indent}{branch}{name}{more}"), || json!({ "path": path, "depth": level }));
        if !is_cut {
            push(&mut left, &path, children, &format!("{indent}{}", if is_last { "    " } else { "│   " }));
        }
    }
    shell.out.text(&format!("\n{nodes} node{}", if nodes == 1 { "" } else { "s" }));
    Ok(())
}

fn push(left: &mut Vec<(String, String, bool)>, parent: &str, mut children: Vec<String>, indent: &str) {
    children.sort();
    let last = children.len().saturating_sub(1);
    for (at, child) in children.iter().enumerate().rev() {
        left.push((path::join(parent, child), indent.into(), at == last));
    }
}

/// `*` stands for any characters, `?` for one, `[a-c]` for one of these, `[!a-c]` for one of the others.
fn fits(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|taken| fits(rest, &name[taken..])),
        Some(('?', rest)) => name.split_first().is_some_and(|(_, name)| fits(rest, name)),
        Some(('[', rest)) if rest.contains(&']') => {
            let Some((c, name)) = name.split_first() else { return false };
            let end = rest.iter().skip(1).position(|c| *c == ']').map_or(rest.len(), |at| at + 1);
            let (set, is_not) = match rest[..end].split_first() {
                Some(('!' | '^', set)) => (set, true),
                _ => (&rest[..end], false),
            };
            in_set(set, *c) != is_not && fits(rest.get(end + 1..).unwrap_or_default(), name)
        }
        Some((c, rest)) => name.split_first().is_some_and(|(d, name)| c == d && fits(rest, name)),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    match set {
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&c) || in_set(rest, c),
        [one, rest @ ..] => *one == c || in_set(rest, c),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let fits = |pattern: &str, name: &str| {
            fits(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        for (pattern, name) in [
            ("*", ""),
            ("lock-*", "lock-0000000001"),
            ("*1", "a1"),
            ("?[a-c]x", "zbx"),
            ("[!a]", "b"),
            ("a[b", "a[b"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("?", ""), ("lock-*", "block-1"), ("[a-c]", "d"), ("[!a]", "a"), ("a", "ab")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_child_ends_the_branch() {
        let mut left = Vec::new();
        push(&mut left, "/", vec!["b".into(), "a".into()], "");
        assert_eq!(left.pop(), Some(("/a".into(), String::new(), false)));
        assert_eq!(left.pop(), Some(("/b".into(), String::new(), true)));
    }
}
