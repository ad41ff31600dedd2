//! What the server says of itself: its version, `conf`, `envi`.

use super::ServerOptions;
use std::path::Path;

/// What scripts that ask for ZooKeeper's version are told: the version we stand in for comes first.
pub const VERSION: &str = concat!(
    "3.9.5-ringkeeper-",
    env!("CARGO_PKG_VERSION"),
    "-",
    env!("RINGKEEPER_COMMIT"),
    ", built on ",
    env!("RINGKEEPER_DATE"),
    " UTC"
);

/// What `ringkeeper version` says.
pub const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("RINGKEEPER_COMMIT"),
    ", ",
    env!("RINGKEEPER_DATE"),
    " UTC)"
);

/// The answer to `conf`; `{data}` and `{log}` stand for the sizes.
pub fn conf(options: &ServerOptions) -> String {
    let absolute =
        |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string();
    format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}/version-2\ndataDirSize={{data}}\ndataLogDir={}/version-2\n\
         dataLogSize={{log}}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
         clientPortListenBacklog={}\nserverId=0\n",
        options.client_address.port(),
        absolute(&options.data_dir),
        absolute(&options.log_dir),
        options.member.common.tick_ms,
        options.member.connections_per_address_max,
        options.shard.min_session_timeout_ms,
        options.shard.max_session_timeout_ms,
        options.listen_backlog,
    )
}

/// The answer to `envi`. What a Java virtual machine would say has no value here, but the keys are there.
pub fn environment() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let unknown = || "<NA>".to_string();
    let lines = [
        ("zookeeper.version", VERSION.to_string()),
        ("host.name", host.trim().to_string()),
        ("java.version", unknown()),
        ("java.vendor", unknown()),
        ("java.home", unknown()),
        ("java.class.path", unknown()),
        ("java.library.path", unknown()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", unknown()),
        ("os.name", "Linux".into()),
        ("os.arch", std::env::consts::ARCH.into()),
        ("os.version", crate::io::process::kernel_release()),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", folder),
        ("os.memory.free", "0MB".into()),
        ("os.memory.max", "0MB".into()),
        ("os.memory.total", "0MB".into()),
    ];
    let lines = lines.map(|(key, value)| format!("{key}={value}\n"));
    format!("Environment:\n{}", lines.concat())
}
