//! `ringkeeper import` and `ringkeeper export`: from Apache ZooKeeper's folders to ours and back, offline.

use super::{FAILED, WRONG_USAGE};
use crate::config::Config;
use crate::server::{ServerOptions, convert};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a data folder of Ringkeeper from the files of Apache ZooKeeper.
///
/// The files are only read. `ringkeeper start` takes a folder of Apache over by itself; this is for a look beforehand
/// (--dry-run), or for data that is to live elsewhere.
#[derive(clap::Args)]
pub(super) struct ImportArguments {
    #[command(flatten)]
    folders: Folders,
    /// Only say what would be imported.
    #[arg(long)]
    dry_run: bool,
    /// Go on where transactions are missing: logs without a snapshot, as ZooKeeper 3.4 could leave them, or a hole before
    /// a log. As -Dzookeeper.snapshot.trust.empty=true.
    #[arg(long)]
    trust_empty_snapshot: bool,
}

/// Write a data folder on which Apache ZooKeeper 3.9 starts, from a data folder of Ringkeeper.
///
/// A server may be running on it: then everything durable at that moment is exported. Stop the server first if nothing
/// may be missing.
#[derive(clap::Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    folders: Folders,
}

#[derive(clap::Args)]
struct Folders {
    /// The data folder to read (dataDir), or a zoo.cfg that names it.
    from: PathBuf,
    /// The data folder to write; it must not hold data yet.
    to: PathBuf,
    /// Where the logs to read are, if not in the data folder (dataLogDir).
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
    /// A setting, as for `start`; zookeeper.extendedTypesEnabled=true if the data has TTL nodes.
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = super::start::define)]
    defines: Vec<(String, String)>,
}

impl Folders {
    fn options(&self) -> Result<ServerOptions, String> {
        let file = self.from.is_file().then_some(self.from.as_path());
        let env = |name: &str| std::env::var(name).ok();
        let (config, _) = Config::load(file, &self.defines, &env).map_err(|failed| {
            // What was noticed before is often the cause.
            failed.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            failed.to_string()
        })?;
        let mut options = config.server;
        if file.is_none() {
            if !self.from.is_dir() {
                return Err(format!("{} is neither a folder nor a zoo.cfg", self.from.display()));
            }
            options.data_dir.clone_from(&self.from);
            options.log_dir.clone_from(&self.from);
        }
        if let Some(log_dir) = &self.log_dir {
            options.log_dir.clone_from(log_dir);
        }
        Ok(options)
    }
}

pub(super) fn import(arguments: &ImportArguments) -> ExitCode {
    let folders = &arguments.folders;
    convert(folders, "imported", |options, to| {
        options.trust_empty_snapshot |= arguments.trust_empty_snapshot;
        convert::import(options, to, arguments.dry_run)
    })
}

pub(super) fn export(arguments: &ExportArguments) -> ExitCode {
    convert(&arguments.folders, "exported", |options, to| convert::export(options, to))
}

fn convert(
    folders: &Folders,
    done: &str,
    run: impl FnOnce(&mut ServerOptions, &Path) -> Result<convert::Report, String>,
) -> ExitCode {
    let mut options = match folders.options() {
        Ok(options) => options,
        Err(error) => {
            errln!("ringkeeper: {error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match run(&mut options, &folders.to) {
        Ok(report) => {
            print(&report, done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            errln!("ringkeeper: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn print(report: &convert::Report, done: &str) {
    outln!("from       {}", report.source);
    outln!("last zxid  {}", report.last_zxid);
    outln!("nodes      {} with {} bytes of paths and data", report.nodes, report.bytes);
    outln!("ACLs       {} beside the open one", report.acls);
    outln!("sessions   {} with {} ephemeral node(s)", report.sessions, report.ephemerals);
    for warning in &report.warnings {
        outln!("warning    {warning}");
    }
    match &report.written {
        Some(path) => outln!("{done} into {}", path.display()),
        None => outln!("nothing was written (--dry-run)"),
    }
}
