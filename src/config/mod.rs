//! The operator's settings: zoo.cfg, the dynamic configuration file, `-D` on the command line and in `SERVER_JVMFLAGS`
//! and `JVMFLAGS`, and what is assumed where nothing is said. `keys` holds every known key in one table; `load` reads,
//! decides which of two settings counts, and checks what belongs together.
//!
//! Precedence follows ZooKeeper 3.9, where each key of zoo.cfg that the server has no field for becomes the system
//! property `zookeeper.<key>` and thereby overrides a `-D` of that name. So: the file counts over the command line, the
//! command line over `JVMFLAGS`, that over `SERVER_JVMFLAGS`. The exception are the properties without the prefix
//! (`jute.maxbuffer`, `readonlymode.enabled`, `znode.container.*`): ZooKeeper cannot read them from a file at all; here the
//! file is read, but `-D` counts over it.
//!
//! Each row of `keys` fills one field of [`ServerOptions`], which the server takes as it is; the default is the field's own.
//! Deliberately absent: no global state, no second copy of a setting. The core gets plain numbers.

// Reads files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod advice;
mod error;
mod flags;
mod keys;
mod load;
mod servers;
#[cfg(test)]
mod tests;
mod value;

pub use crate::wire::servers::{PeerAddress, ServerLine};
pub use error::{ConfigError, LoadError, Place, Warning};

use crate::server::ServerOptions;
use std::path::{Path, PathBuf};

/// Everything the operator decides.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// `dynamicConfigFile`, which was read too.
    pub dynamic_file: Option<PathBuf>,
    /// `server.N` lines; at most one, which is then this server.
    pub servers: Vec<ServerLine>,
    /// `standaloneEnabled`; false is refused.
    pub standalone_enabled: bool,
    /// `initLimit`, ticks; read by ensembles only.
    pub init_limit: u32,
    /// `syncLimit`, ticks; read by ensembles only.
    pub sync_limit: u32,
    /// `readonlymode.enabled`; a standalone server never is read-only, but `isro` is then an enabled word.
    pub read_only_mode: bool,
    /// All that the server is started with.
    pub server: ServerOptions,
}

impl Config {
    /// Reads `path` (None: embedded defaults, loopback only), the `-D` settings of the command line, and those in the
    /// environment.
    pub fn load(
        path: Option<&Path>,
        defines: &[(String, String)],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Config, Vec<Warning>), LoadError> {
        let mut warnings = Vec::new();
        match load::load(path, defines, env, &mut warnings) {
            Ok(config) => Ok((config, warnings)),
            Err(error) => Err(LoadError { warnings, error: Box::new(error) }),
        }
    }

    /// Every honoured key with the value that counts, in the form of a configuration file.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        keys::effective(self)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            dynamic_file: None,
            servers: Vec::new(),
            standalone_enabled: true,
            init_limit: 0,
            sync_limit: 0,
            read_only_mode: false,
            server: ServerOptions::default(),
        }
    }
}
