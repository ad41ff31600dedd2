//! What the server says of itself: its version, `conf`, `envi`.

use super::ServerOptions;
use std::os::unix::fs::MetadataExt;
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
    // Where the files are, as ZooKeeper says it: its own are in `version-2`, which is a frozen folder after a take-over.
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.into())
            .join(super::boot::FOLDER)
            .display()
            .to_string()
    };
    format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={{data}}\ndataLogDir={}\n\
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
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = std::fs::metadata("/proc/self").map_or(0, |own| own.uid());
    // As Java: what the system knows of the user, a question mark where it knows nothing.
    let (user_name, user_home) = user(&passwd, uid).unwrap_or_else(|| ("?".into(), variable("HOME")));
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
        ("os.arch", if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH }.into()),
        ("os.version", crate::io::process::kernel_release()),
        ("user.name", user_name),
        ("user.home", user_home),
        ("user.dir", folder),
        ("os.memory.free", "0MB".into()),
        ("os.memory.max", "0MB".into()),
        ("os.memory.total", "0MB".into()),
    ];
    let lines = lines.map(|(key, value)| format!("{key}={value}\n"));
    format!("Environment:\n{}", lines.concat())
}

/// Name and home folder from the text of /etc/passwd.
fn user(passwd: &str, uid: u32) -> Option<(String, String)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, _, home, ..] = fields[..] else { return None };
        (id.parse() == Ok(uid)).then(|| (name.to_string(), home.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_as_the_system_knows_them() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nzookeeper:x:105:112::/var/lib/zookeeper:/bin/false\nbad:105\n";
        assert_eq!(user(passwd, 105), Some(("zookeeper".into(), "/var/lib/zookeeper".into())));
        assert_eq!(user(passwd, 7), None);
    }

    #[test]
    fn conf_names_the_folders_that_hold_the_files() {
        let options =
            ServerOptions { data_dir: "/d".into(), log_dir: "/l".into(), ..ServerOptions::default() };
        let text = conf(&options);
        assert!(
            text.contains("\ndataDir=/d/ringkeeper\n") && text.contains("\ndataLogDir=/l/ringkeeper\n"),
            "{text}"
        );
        let names = environment();
        assert!(!names.contains("x86_64") && !names.contains("user.name=\n"), "{names}");
    }
}
