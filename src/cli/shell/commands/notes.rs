//! What `help COMMAND` says beyond zkCli's usage line: units, forms, what words mean, and examples.

/// About one command.
#[derive(Clone, Copy, Default)]
pub(super) struct Notes {
    pub(super) explained: &'static [&'static str],
    pub(super) examples: &'static [&'static str],
}

pub(super) fn about(command: &str) -> Notes {
    let found = NOTES.iter().find(|(name, ..)| *name == command);
    found.map(|(_, explained, examples)| Notes { explained, examples }).unwrap_or_default()
}

const ACL: &str = super::acl::FORM;
const VERSION: &str = "-v: only if its version is still this one, as stat shows it";
const QUOTAS: &str =
    "-n nodes and -b bytes are only warned of; -N nodes and -B bytes are limits where enforceQuota=true";

/// Name, what it means, examples.
static NOTES: &[(&str, &[&str], &[&str])] = &[
    (
        "addWatch",
        &[
            "PERSISTENT: changes of the node and of its list of children, until removewatches",
            "PERSISTENT_RECURSIVE: changes of the node and of all nodes below it, until removewatches",
        ],
        &["addWatch -m PERSISTENT /app/config"],
    ),
    ("addauth", &["the only scheme of every server is digest: user:password"], &["addauth digest me:secret"]),
    ("close", &[], &["close"]),
    ("config", &["-c: as a connect string"], &["config -c"]),
    ("connect", &["several servers are separated by commas"], &["connect zk1:2181,zk2:2181"]),
    (
        "create",
        &[
            "-e: gone with this session. -s: a number of ten digits is appended. -c: gone some time after its last child",
            "-t: ms after which it is gone if nobody changed it and it has no children; needs extendedTypesEnabled=true",
            ACL,
        ],
        &[
            "create /app",
            "create -e -s /app/member- host1",
            "create -t 60000 /app/cache x world:anyone:cdrwa",
        ],
    ),
    ("delete", &[VERSION], &["delete /app/config"]),
    ("deleteall", &["-b: nodes in one transaction (1000)"], &["deleteall /app", "deleteall /deep -b 20"]),
    ("delquota", &[QUOTAS], &["delquota -b /app"]),
    ("edit", &["refused if somebody else changed it meanwhile"], &["edit /app/config"]),
    ("exit", &[], &["exit"]),
    (
        "export",
        &["without a file to standard output; --skip leaves out what you may not read, and names it"],
        &["export /app app.json", "export / all.json --skip"],
    ),
    ("find", &["* stands for any letters, ? for one"], &["find / --name 'lock-*'"]),
    ("get", &["-w: tells of the next change"], &["get -s /app/config"]),
    ("getAcl", &[ACL], &["getAcl /app"]),
    ("getAllChildrenNumber", &[], &["getAllChildrenNumber /app"]),
    ("getEphemerals", &["with a path only those below it"], &["getEphemerals /app"]),
    ("help", &[], &["help create"]),
    ("history", &[], &["history"]),
    (
        "import",
        &[
            "with a path below that one, else where it came from. Nodes that exist stay as they are, unless --overwrite is given",
            "ephemeral nodes are left out. An ACL that keeps you from creating children is set after they are there",
        ],
        &["import app.json", "import app.json /copy --overwrite"],
    ),
    ("listquota", &[QUOTAS], &["listquota /app"]),
    ("ls", &["-R: all below it. -w: tells of the next change of the list"], &["ls /", "ls -R /app"]),
    ("printwatches", &["whether events are shown"], &["printwatches off"]),
    ("quit", &[], &["quit"]),
    (
        "reconfig",
        &["-v is in hexadecimal"],
        &["reconfig -add server.4=host4:2888:3888:participant;2181", "reconfig -remove 4"],
    ),
    ("redo", &["the number is that of history"], &["redo 3"]),
    ("removewatches", &["-a: of any kind"], &["removewatches /app -a"]),
    ("set", &[VERSION], &["set /app/config new", "set -v 3 /app/config new"]),
    (
        "setAcl",
        &[ACL, "-R: of all below it, too. -v: only if its aclVersion is still this one"],
        &["setAcl /app world:anyone:r", "setAcl -R /app auth::cdrwa"],
    ),
    ("setquota", &[QUOTAS], &["setquota -N 1000 /app"]),
    ("stat", &["-w: tells of the next change"], &["stat /app"]),
    ("sync", &[], &["sync /"]),
    ("tree", &[], &["tree / --depth 2"]),
    ("values", &[], &["values json"]),
    ("version", &[], &["version"]),
    ("watch", &["--count: ends after so many events"], &["watch /app"]),
    ("whoami", &[], &["whoami"]),
];

#[cfg(test)]
mod tests {
    use super::super::COMMANDS;
    use super::*;
    use crate::cli::shell::words;

    #[test]
    fn each_command_has_an_example_of_itself() {
        assert_eq!(NOTES.len(), COMMANDS.len());
        for command in COMMANDS {
            let notes = about(command.name);
            assert!(!notes.examples.is_empty(), "{}", command.name);
            for example in notes.examples {
                let words = words::split(example);
                assert_eq!(words.first().map(String::as_str), Some(command.name));
                let flags = command.flags.iter().map(|flag| format!("-{}", flag.name));
                let flags: Vec<String> = flags.collect();
                let given = words.iter().skip(1).filter(|word| word.starts_with('-') && word.len() > 1);
                given.for_each(|flag| assert!(flags.contains(flag), "{example}: {flag}"));
            }
        }
    }

    #[test]
    fn what_people_ask_for_is_explained() {
        let explained = |command| about(command).explained.join("\n");
        assert!(
            explained("create").contains("-t: ms") && explained("create").contains("scheme:id:permissions")
        );
        assert!(explained("setAcl").contains("cdrwa (create, delete, read, write, admin)"));
        assert!(explained("addWatch").contains("PERSISTENT_RECURSIVE: "));
    }
}
