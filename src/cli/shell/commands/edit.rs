//! `edit`: a node's data in the user's editor, written back only if nobody else changed it meanwhile.

use super::argument;
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::session::Shell;
use crate::wire::ErrorCode;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn edit(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = argument(given, 1)?;
    let zk = shell.zk();
    let (data, stat) = zk.data(path, false)?;
    let before = data.unwrap_or_default();
    let file = write_file(&before).map_err(|error| Failure::new(format!("a file to edit: {error}")))?;
    let after = match run_editor(&file) {
        Ok(after) => as_meant(&before, after),
        Err(why) => {
            let failure = Failure::new(why).with_hint("$VISUAL or $EDITOR names the editor");
            return Err(match std::fs::read(&file) {
                Ok(text) if text != before => failure.and(&kept(&file)),
                _ => {
                    let _ = std::fs::remove_file(&file);
                    failure
                }
            });
        }
    };
    if after == before {
        let _ = std::fs::remove_file(&file);
        shell.out.answer(|| format!("{path} is unchanged"), || json!({ "path": path, "changed": false }));
        return Ok(());
    }
    match zk.set_data(path, Some(&after), stat.version) {
        Ok(stat) => {
            let _ = std::fs::remove_file(&file);
            let text = || format!("{path} has dataVersion {} now", stat.version);
            shell.out.answer(text, || json!({ "path": path, "changed": true, "dataVersion": stat.version }));
            Ok(())
        }
        Err(error) => {
            let is_conflict = error.is(ErrorCode::BadVersion);
            let failure = Failure::from(error).and(&kept(&file));
            Err(match is_conflict {
                true => failure.with_hint(format!("somebody else changed {path} meanwhile")),
                false => failure,
            })
        }
    }
}

/// Nobody types a long text twice.
fn kept(file: &Path) -> String {
    format!("your text is in {}", file.display())
}

/// Readable by its owner only: data may be secret.
fn write_file(data: &[u8]) -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir();
    for number in 0..1000 {
        let path = folder.join(format!("ringkeeper-edit-{}-{number}.txt", std::process::id()));
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => return file.write_all(data).map(|()| path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::other(format!("{} is full of them", folder.display())))
}

fn run_editor(file: &Path) -> Result<Vec<u8>, String> {
    let named = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".into());
    // By a shell, because editors come with arguments.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file).status();
    let status = status.map_err(|error| format!("sh: {error}"))?;
    if !status.success() {
        return Err(format!("{editor}: {status}; nothing was changed"));
    }
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Editors end the last line; data that had no such end does not get one.
fn as_meant(before: &[u8], mut after: Vec<u8>) -> Vec<u8> {
    if !before.ends_with(b"\n") && after.ends_with(b"\n") {
        after.pop();
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editors_last_newline_is_not_meant() {
        assert_eq!(as_meant(b"a", b"b\n".to_vec()), b"b");
        assert_eq!(as_meant(b"a\n", b"b\n".to_vec()), b"b\n");
        assert_eq!(as_meant(b"", b"".to_vec()), b"");
    }
}
