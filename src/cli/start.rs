//! `ringkeeper start`: from the arguments to a configuration to a running server.

use super::{FAILED, WRONG_USAGE};
use crate::config::{Config, LoadError, Warning};
use std::path::Path;
use std::process::ExitCode;

/// Run the server in the foreground until SIGTERM or SIGINT.
///
/// Without a file: port 2181 on loopback, data in ./data. With one: an unmodified zoo.cfg. With a port and a folder,
/// and perhaps a tick time and a number of connections per address: those, as with Apache ZooKeeper.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A zoo.cfg, or PORT DATADIR [TICKTIME [MAXCLIENTCNXNS]].
    #[arg(value_name = "ZOO.CFG | PORT DATADIR", num_args = 0..=4)]
    target: Vec<String>,
    /// A setting by its name in zoo.cfg or as a system property, e.g. -Dzookeeper.snapCount=10000. SERVER_JVMFLAGS and
    /// JVMFLAGS are read too. A setting in the file counts over the command line, that over JVMFLAGS, that over
    /// SERVER_JVMFLAGS; only of jute.maxbuffer, readonlymode.enabled and znode.container.* the -D counts over the file.
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = define)]
    defines: Vec<(String, String)>,
    /// Only check the configuration; prints every setting with the value that counts.
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (config, warnings) = match arguments.load(&|name| std::env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(error) => {
            // What was noticed before is often the cause.
            tell(error.warnings());
            super::logging::flush();
            errln!("ringkeeper: {error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    tell(&warnings);
    if arguments.check {
        for (key, value) in config.effective() {
            outln!("{key}={value}");
        }
        let parts = config.server.memory_bound();
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        outln!("# at most {} MiB beside the data:", mib(parts.iter().map(|(_, bytes)| bytes).sum()));
        for (what, bytes) in parts {
            outln!("#   {} MiB for {what}", mib(bytes));
        }
        return ExitCode::SUCCESS;
    }
    let on_hang_up = || {
        if let Some(log) = super::logging::server_log() {
            log.reopen();
        }
    };
    match crate::server::run(config.server, &on_hang_up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

fn tell(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}

/// What is wrong with the arguments or with what they name.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    Config(#[from] LoadError),
    #[error("expected a port before the data folder, found \"{0}\"; see ringkeeper start --help")]
    NoPort(String),
    #[error(
        "{0} is a port, not a file; expected a data folder behind it: ringkeeper start {0} DATADIR. Without any argument, \
         ringkeeper start serves on port 2181 of loopback and keeps its data in ./data"
    )]
    OnlyPort(u16),
}

impl StartError {
    fn warnings(&self) -> &[Warning] {
        match self {
            StartError::Config(error) => &error.warnings,
            StartError::NoPort(_) | StartError::OnlyPort(_) => &[],
        }
    }
}

impl Arguments {
    /// The server is not started.
    pub(super) fn is_check(&self) -> bool {
        self.check
    }

    fn load(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Vec<Warning>), StartError> {
        let (file, positional): (Option<&Path>, &[String]) = match self.target.as_slice() {
            [file] => (Some(Path::new(file)), &[]),
            target => (None, target),
        };
        if let Some((file, port)) = file.and_then(|file| Some((file, file.to_str()?.parse().ok()?)))
            && !file.exists()
        {
            return Err(StartError::OnlyPort(port));
        }
        let mut defines = self.defines();
        if let Some(port) = positional.first() {
            port.parse::<u16>().map_err(|_| StartError::NoPort(port.clone()))?;
            defines.push(("clientPortAddress".into(), "::".into()));
        }
        let names = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
        defines.extend(names.map(String::from).into_iter().zip(positional.iter().cloned()));
        Ok(Config::load(file, &defines, env)?)
    }

    pub(super) fn defines(&self) -> Vec<(String, String)> {
        self.defines.clone()
    }
}

pub(super) fn define(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_string(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(target: &[&str]) -> Arguments {
        let target = target.iter().map(|word| word.to_string()).collect();
        Arguments { target, defines: Vec::new(), check: true }
    }

    #[test]
    fn positional_arguments() {
        let (config, _) = arguments(&["2182", "/d", "1000", "5"]).load(&|_| None).expect("good");
        assert_eq!(config.server.client_address.to_string(), "[::]:2182");
        assert_eq!(config.server.data_dir, Path::new("/d"));
        assert_eq!(
            (config.server.member.common.tick_ms, config.server.member.connections_per_address_max),
            (1000, 5)
        );
        let error = arguments(&["zoo.cfg", "/d"]).load(&|_| None).expect_err("no port");
        assert!(error.to_string().contains("expected a port"));
        let error = arguments(&["2182", "/d", "soon"]).load(&|_| None).expect_err("no number");
        assert!(error.to_string().starts_with("command line: tickTime: expected"));
        let error = arguments(&["2182"]).load(&|_| None).expect_err("no folder");
        assert!(error.to_string().contains("ringkeeper start 2182 DATADIR"), "{error}");
    }
}
