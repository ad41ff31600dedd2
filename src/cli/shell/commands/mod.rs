//! The table of commands: names, usage lines and options, zkCli's first, ours after them. What a command does is in the
//! file of its subject; the loop around it in `session`.

mod acl;
mod admin;
mod edit;
mod notes;
mod quota;
mod read;
mod transfer;
mod walk;
mod watch;
mod write;

use super::flags::{Flag, Given, Rule};
use super::{Failure, Shell};

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What follows the name in a usage line; zkCli's to the letter.
    pub(super) form: &'static str,
    /// In a few words, for `help`.
    pub(super) about: &'static str,
    pub(super) flags: &'static [Flag],
    pub(super) rule: Rule,
    pub(super) run: fn(&mut Shell, &Given) -> Result<(), Failure>,
    pub(super) traits: Traits,
}

/// What is special about a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Traits {
    /// zkCli's; needs a session.
    Plain,
    /// zkCli's; its usage lists the options.
    ListsOptions,
    /// zkCli's; takes its words as they are.
    Raw,
    /// zkCli's; works without a session, too.
    Local,
    /// Not in zkCli; needs a session.
    Ours,
    /// Not in zkCli; works without a session.
    OursLocal,
}

impl Command {
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.traits, Traits::Ours | Traits::OursLocal)
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self.traits, Traits::Local | Traits::OursLocal)
    }

    /// As zkCli prints it for wrong arguments.
    pub(super) fn usage(&self) -> String {
        let line = format!("{} {}", self.name, self.form);
        match self.traits {
            Traits::ListsOptions => format!("{line}\n{}", self.options()),
            _ => line,
        }
    }

    /// One line for each option, sorted by name.
    pub(super) fn options(&self) -> String {
        let mut flags: Vec<&Flag> = self.flags.iter().collect();
        flags.sort_by_key(|flag| flag.name.to_lowercase());
        let left =
            |flag: &Flag| if flag.takes_value { format!("{} <arg>", flag.name) } else { flag.name.into() };
        let width = flags.iter().map(|flag| left(flag).len()).max().unwrap_or(0);
        flags.iter().map(|flag| format!(" -{:width$}   {}\n", left(flag), flag.about)).collect()
    }

    pub(super) fn usage_failure(&self) -> Failure {
        Failure::usage(self.usage())
    }
}

/// By its name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The usage failure of a command that is in the table.
pub(super) fn usage_of(given: &Given) -> Failure {
    let name = given.words.first().map(String::as_str).unwrap_or_default();
    find(name).map_or_else(|| Failure::unknown(name), Command::usage_failure)
}

/// The argument at this place, or the usage.
pub(super) fn argument(given: &Given, at: usize) -> Result<&str, Failure> {
    given.words.get(at).map(String::as_str).ok_or_else(|| usage_of(given))
}

/// A number that an option has, or what it is without the option.
pub(super) fn version(given: &Given) -> Result<i32, Failure> {
    let Some(text) = given.value("v") else { return Ok(-1) };
    text.parse().map_err(|_| Failure::usage(format!("-v argument must be an int value, found \"{text}\"")))
}

/// The name that follows what was typed, if it is close.
pub(super) fn closest(name: &str) -> Option<&'static str> {
    let known = COMMANDS
        .iter()
        .map(|command| (distance(&name.to_lowercase(), &command.name.to_lowercase()), command.name));
    known.min().filter(|(distance, _)| *distance <= 2 && *distance < name.len()).map(|(_, name)| name)
}

/// Letters to insert, remove or exchange.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, c) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], line + 1);
        for (at, d) in other.iter().enumerate() {
            let changed = corner + usize::from(c != *d);
            corner = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

const fn flag(name: &'static str, about: &'static str) -> Flag {
    Flag { name, takes_value: false, about }
}

const fn valued(name: &'static str, about: &'static str) -> Flag {
    Flag { name, takes_value: true, about }
}

const fn command(
    name: &'static str,
    form: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    run: fn(&mut Shell, &Given) -> Result<(), Failure>,
) -> Command {
    Command { name, form, about, flags, rule: Rule::Any, run, traits: Traits::Plain }
}

/// Sorted by name, as zkCli lists them.
pub(super) static COMMANDS: &[Command] = &[
    command(
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
        "watch a node, or a whole subtree, until told otherwise",
        &[valued("m", "")],
        watch::add,
    ),
    command(
        "addauth",
        "scheme auth",
        "prove an identity, e.g. addauth digest user:password",
        &[],
        acl::add_auth,
    ),
    Command { traits: Traits::Raw, ..command("close", "", "end the session", &[], admin::close) },
    command(
        "config",
        "[-c] [-w] [-s]",
        "show the ensemble's configuration",
        &[flag("s", "stats"), flag("w", "watch"), flag("c", "client connection string")],
        admin::config,
    ),
    Command {
        traits: Traits::Local,
        ..command("connect", "host:port", "open a new session, to other servers perhaps", &[], admin::connect)
    },
    command(
        "create",
        "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        "create a node",
        &[flag("e", "ephemeral"), flag("s", "sequential"), flag("c", "container"), valued("t", "ttl")],
        write::create,
    ),
    command(
        "delete",
        "[-v version] path",
        "delete a node without children",
        &[valued("v", "version")],
        write::delete,
    ),
    command(
        "deleteall",
        "path [-b batch size]",
        "delete a subtree",
        &[valued("b", "batch size")],
        write::delete_all,
    ),
    Command {
        rule: Rule::One,
        ..command(
            "delquota",
            "[-n|-b|-N|-B] path",
            "remove a quota, or one of its limits",
            QUOTA_NAMES,
            quota::delete,
        )
    },
    Command {
        traits: Traits::Ours,
        ..command("edit", "path", "change a node's data in $EDITOR", &[], edit::edit)
    },
    Command { traits: Traits::OursLocal, ..command("exit", "", "leave, as quit does", &[], admin::quit) },
    Command {
        traits: Traits::Ours,
        ..command(
            "export",
            "path [file] [--skip]",
            "write a subtree as JSON, with ACLs",
            &[flag("-skip", "leave out what may not be read")],
            transfer::export,
        )
    },
    Command {
        traits: Traits::Ours,
        ..command(
            "find",
            "path [--name glob]",
            "list a subtree, or what has such a name in it",
            &[valued("-name", "only nodes whose name fits, e.g. 'lock-*'")],
            walk::find,
        )
    },
    Command {
        traits: Traits::ListsOptions,
        ..command(
            "get",
            "[-s] [-w] [-b] [-x] path",
            "show a node's data",
            &[
                flag("s", "Print znode stats additionally"),
                flag("w", "Watch for changes on the znode"),
                flag("b", "Output data in base64 format"),
                flag("x", "Output data in hexdump format"),
            ],
            read::get,
        )
    },
    command("getAcl", "[-s] path", "show who may do what", &[flag("s", "stats")], acl::show),
    command("getAllChildrenNumber", "path", "count the nodes below", &[], read::all_children_number),
    command("getEphemerals", "path", "list this session's ephemeral nodes", &[], read::ephemerals),
    Command {
        traits: Traits::OursLocal,
        ..command("help", "[command]", "list the commands, or explain one", &[], admin::help)
    },
    Command { traits: Traits::Local, ..command("history", "", "list the last lines", &[], admin::history) },
    Command {
        traits: Traits::Ours,
        ..command(
            "import",
            "file [path] [--overwrite]",
            "create what export wrote",
            &[flag("-overwrite", "set data and ACL of nodes that exist already")],
            transfer::import,
        )
    },
    command("listquota", "path", "show a quota and its usage", &[], quota::list),
    command(
        "ls",
        "[-s] [-w] [-R] path",
        "list a node's children",
        &[flag("?", "help"), flag("s", "stat"), flag("w", "watch"), flag("R", "recurse")],
        read::list,
    ),
    Command {
        traits: Traits::Local,
        ..command("printwatches", "on|off", "show watch events, or not", &[], admin::print_watches)
    },
    Command { traits: Traits::Local, ..command("quit", "", "end the session and leave", &[], admin::quit) },
    command(
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        "change the ensemble",
        &[
            flag("s", "stats"),
            valued("v", "required current config version"),
            valued("file", "path of config file to parse for membership"),
            valued("members", "comma-separated list of config strings for non-incremental reconfig"),
            valued("add", "comma-separated list of config strings for new servers"),
            valued("remove", "comma-separated list of server IDs to remove"),
        ],
        admin::reconfig,
    ),
    Command {
        traits: Traits::Local,
        ..command("redo", "cmdno", "run a line of the history again", &[], admin::redo)
    },
    command(
        "removewatches",
        "path [-c|-d|-a] [-l]",
        "forget watches",
        &[
            flag("c", "child watcher type"),
            flag("d", "data watcher type"),
            flag("p", "persistent watcher type"),
            flag("r", "persistent recursive watcher type"),
            flag("a", "any watcher type"),
            flag("l", "remove locally when there is no server connection"),
        ],
        watch::remove,
    ),
    Command {
        traits: Traits::ListsOptions,
        ..command(
            "set",
            "path data [-s] [-v version] [-b]",
            "change a node's data",
            &[
                flag("s", "Print znode stats additionally"),
                valued("v", "Set with an expected version"),
                flag("b", "Supply data in base64 format"),
            ],
            write::set,
        )
    },
    command(
        "setAcl",
        "[-s] [-v version] [-R] path acl",
        "change who may do what",
        &[flag("s", "stats"), valued("v", "version"), flag("R", "recursive")],
        acl::set,
    ),
    Command {
        rule: Rule::OneNeeded,
        ..command("setquota", "-n|-b|-N|-B val path", "limit a subtree", QUOTA_VALUES, quota::set)
    },
    command(
        "stat",
        "[-w] path",
        "show a node's times, versions and sizes",
        &[flag("w", "watch")],
        read::stat,
    ),
    command("sync", "path", "wait until this server has seen all writes so far", &[], read::sync),
    Command {
        traits: Traits::Ours,
        ..command(
            "tree",
            "path [--depth levels]",
            "draw a subtree",
            &[valued("-depth", "how deep to go")],
            walk::tree,
        )
    },
    Command {
        traits: Traits::OursLocal,
        ..command("values", "[text|hex|base64|json]", "how data is shown from now on", &[], admin::values)
    },
    command("version", "", "print the version", &[], admin::version),
    Command {
        traits: Traits::Ours,
        ..command(
            "watch",
            "path [--count events]",
            "follow a subtree until Ctrl-C",
            &[valued("-count", "stop after so many events")],
            watch::follow,
        )
    },
    Command {
        traits: Traits::Raw,
        ..command("whoami", "", "list the identities of this session", &[], acl::who_am_i)
    },
];

const QUOTA_NAMES: &[Flag] = &[
    flag("n", "num soft quota"),
    flag("b", "bytes soft quota"),
    flag("N", "num hard quota"),
    flag("B", "bytes hard quota"),
];

const QUOTA_VALUES: &[Flag] = &[
    valued("n", "num soft quota"),
    valued("b", "bytes soft quota"),
    valued("N", "num hard quota"),
    valued("B", "bytes hard quota"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sorted_as_java_sorts() {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        assert_eq!(COMMANDS.iter().filter(|command| !command.is_ours()).count(), 28);
    }

    #[test]
    fn usage_lists_options_where_zkcli_does() {
        let expected = "set path data [-s] [-v version] [-b]\n -b         Supply data in base64 format\n \
                        -s         Print znode stats additionally\n -v <arg>   Set with an expected version\n";
        assert_eq!(find("set").expect("known").usage(), expected);
        assert_eq!(find("stat").expect("known").usage(), "stat [-w] path");
        assert_eq!(find("version").expect("known").usage(), "version ");
    }

    #[test]
    fn mistyped_names_have_a_neighbour() {
        assert_eq!(closest("gett"), Some("get"));
        assert_eq!(closest("getacl"), Some("getAcl"));
        assert_eq!(closest("lss"), Some("ls"));
        assert_eq!(closest("zzzzzz"), None);
    }
}
