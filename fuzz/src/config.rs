//! zoo.cfg, and what stands in SERVER_JVMFLAGS.

use ringkeeper::config::Config;
use std::path::PathBuf;
use std::sync::OnceLock;

static FILE: OnceLock<PathBuf> = OnceLock::new();

pub fn run(data: &[u8]) {
    let path = FILE.get_or_init(|| std::env::temp_dir().join(format!("fuzz-zoo.cfg.{}", std::process::id())));
    std::fs::write(path, data).expect("a scratch file");
    let _ = Config::load(Some(path), &[], &|_| None);
    let flags = String::from_utf8_lossy(data).into_owned();
    let _ = Config::load(None, &[], &|name| (name == "SERVER_JVMFLAGS").then(|| flags.clone()));
}
