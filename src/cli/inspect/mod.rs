//! `ringkeeper inspect`: looks into the files of Apache ZooKeeper and our own, and changes none. What a file is, it says
//! itself; logs and snapshots are read as streams, so that their size costs time only.

mod diff;
mod files;
mod log;
mod output;
mod reader;
mod render;
mod segments;
mod snapshot;
mod state;

#[cfg(test)]
mod tests;

use clap::{Args, Subcommand, ValueEnum};
use files::{Folder, folders_of, kind_of};
use output::Out;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Look into data folders, logs and snapshots of Apache ZooKeeper and Ringkeeper.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct InspectArgs {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// A file: its transactions or its summary. A folder, or a zoo.cfg that names it: what is in it.
    path: Option<PathBuf>,
    /// How it is written.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Subcommand)]
enum Mode {
    Log(log::LogArgs),
    Snapshot(snapshot::SnapshotArgs),
    Diff(diff::DiffArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One object per line, for programs.
    Json,
}

/// The whole command.
pub fn run(arguments: &InspectArgs) -> Result<(), String> {
    crate::io::process::avoid_huge_pages();
    let mut out = Out::new(arguments.output == Output::Json);
    let done = match (&arguments.mode, &arguments.path) {
        (Some(Mode::Log(arguments)), _) => log::run(arguments, &mut out),
        (Some(Mode::Snapshot(arguments)), _) => snapshot::run(arguments, &mut out),
        (Some(Mode::Diff(arguments)), _) => diff::run(arguments, &mut out),
        (None, Some(path)) => by_itself(path, &mut out),
        (None, None) => Err("give a file or a folder".into()),
    };
    match done.and_then(|()| out.flush()) {
        Err(error) if error.ends_with(output::CLOSED) => Ok(()),
        done => done,
    }
}

fn by_itself(path: &Path, out: &mut Out) -> Result<(), String> {
    if let Some(folders) = folders_of(path)? {
        return folder(&folders, out);
    }
    let kind = kind_of(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if kind.is_log() {
        log::run(&log::LogArgs::of(path), out)
    } else {
        snapshot::run(&snapshot::SnapshotArgs::of(path), out)
    }
}

/// What is in a folder, a line per file.
fn folder(folders: &[PathBuf], out: &mut Out) -> Result<(), String> {
    for file in Folder::read(folders)?.files() {
        let unreadable = |error| format!("cannot read {}: {error}", file.display());
        let kind = kind_of(&file).map_err(unreadable)?;
        let bytes = std::fs::metadata(&file).map_err(unreadable)?.len();
        if out.is_json {
            out.json(&json!({"file": file, "kind": kind.name(), "bytes": bytes}))?;
        } else {
            out.line(&format!("{}  {bytes} bytes  {}", file.display(), kind.name()))?;
        }
    }
    Ok(())
}
