//! Commands about the shell and the ensemble: connect, close, quit, history, redo, printwatches, values, help, version,
//! config, reconfig.

use super::{COMMANDS, Command, find, read, usage_of};
use crate::cli::shell::failure::Failure;
use crate::cli::shell::flags::Given;
use crate::cli::shell::output::{Values, data_json, stat_json};
use crate::cli::shell::session::Shell;
use crate::cli::shell::words;
use serde_json::json;

pub(super) fn connect(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let server = given.words.get(1).cloned().unwrap_or_else(|| shell.host.clone());
    shell.connect(&server)
}

pub(super) fn close(shell: &mut Shell, _given: &Given) -> Result<(), Failure> {
    shell.close();
    Ok(())
}

pub(super) fn quit(shell: &mut Shell, _given: &Given) -> Result<(), Failure> {
    if shell.is_alive() {
        shell.close();
    }
    shell.wants_to_quit = true;
    Ok(())
}

/// The last eleven lines, this one included.
pub(super) fn history(shell: &mut Shell, _given: &Given) -> Result<(), Failure> {
    for number in shell.count.saturating_sub(10)..=shell.count {
        let line = shell.history.get(number);
        let text = || format!("{number} - {}", line.map_or("null", String::as_str));
        shell.out.answer(text, || json!({ "number": number, "line": line }));
    }
    Ok(())
}

pub(super) fn redo(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let Some(text) = given.words.get(1) else { return Ok(()) };
    let out_of_range = || Failure::usage("Command index out of range");
    let number: usize = text.parse().map_err(|_| out_of_range())?;
    if number >= shell.count {
        return Err(out_of_range());
    }
    let line = shell.history[number].clone();
    let words = words::split(&line);
    if words.first().is_some_and(|name| name == "redo") {
        return Err(Failure::usage("No redoing redos"));
    }
    let now = shell.count;
    shell.history[now] = line;
    shell.run_words(&words);
    Ok(())
}

pub(super) fn print_watches(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    match given.words.get(1) {
        Some(word) => shell.announcer.turn(word == "on"),
        None => {
            let on = shell.announcer.is_on();
            let text = || format!("printwatches is {}", if on { "on" } else { "off" });
            shell.out.answer(text, || json!({ "printwatches": on }));
        }
    }
    Ok(())
}

pub(super) fn values(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    if let Some(word) = given.words.get(1) {
        shell.options.values = Values::parse(word).map_err(Failure::new)?;
    }
    let name = shell.options.values.name();
    shell.out.answer(|| format!("values are shown as {name}"), || json!({ "values": name }));
    Ok(())
}

pub(super) fn help(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    if let Some(name) = given.words.get(1) {
        let command = find(name).ok_or_else(|| Failure::unknown(name))?;
        let options = command.options();
        let mut text = format!("{} {}\n    {}\n{options}", command.name, command.form, command.about);
        let notes = super::notes::about(command.name);
        notes.explained.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        notes.examples.iter().for_each(|line| text.push_str(&format!("    e.g. {line}\n")));
        shell.out.text(text.trim_end());
        return Ok(());
    }
    let list = |title: &str, wanted: &dyn Fn(&Command) -> bool| {
        shell.out.text(title);
        for command in COMMANDS.iter().filter(|command| wanted(command)) {
            shell.out.text(&format!("  {:<22}{}", command.name, command.about));
        }
    };
    list("As in zkCli:", &|command| !command.is_ours());
    list("\nOnly here:", &Command::is_ours);
    shell.out.text(
        "\nhelp COMMAND explains one. Tab completes commands, options and paths; Ctrl-C ends what runs.",
    );
    Ok(())
}

pub(super) fn version(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    if given.words.len() > 1 {
        return Err(usage_of(given));
    }
    let version = crate::server::texts::VERSION;
    shell.out.answer(|| format!("ZooKeeper CLI version: {version}"), || json!({ "version": version }));
    Ok(())
}

pub(super) fn config(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (data, stat) = shell.zk().config(given.has("w"))?;
    let text = String::from_utf8_lossy(data.as_deref().unwrap_or(b"null")).into_owned();
    let text = if given.has("c") { client_string(&text) } else { text };
    let stat = given.has("s").then_some(&stat);
    let json = || {
        let config = if given.has("c") { json!(text) } else { data_json(data.as_deref()) };
        read::stat_into(json!({ "config": config }), stat)
    };
    shell.out.answer(|| read::with_stat(text.clone(), stat), json);
    Ok(())
}

/// Version and client addresses of a configuration, as a connect string.
fn client_string(config: &str) -> String {
    let mut version = "";
    let mut clients = Vec::new();
    for line in config.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key.trim() {
            "version" => version = value.trim(),
            key if key.starts_with("server.") => clients.push(match value.trim().rsplit_once(';') {
                Some((_, client)) if client.contains(':') => client.to_string(),
                Some((_, port)) => format!("0.0.0.0:{port}"),
                None => String::new(),
            }),
            _ => {}
        }
    }
    format!("{version} {}", clients.join(","))
}

pub(super) fn reconfig(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (is_whole, is_step) =
        (given.has("file") || given.has("members"), given.has("add") || given.has("remove"));
    if !is_whole && !is_step {
        return Err(usage_of(given));
    }
    let not_a_version = |_| Failure::usage("-v must be followed by a long (configuration version)");
    let from_version =
        given.value("v").map_or(Ok(-1), |text| i64::from_str_radix(text, 16).map_err(not_a_version))?;
    if is_whole && is_step {
        return Err(Failure::usage(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental \
             modes is not allowed)",
        ));
    }
    if given.has("file") && given.has("members") {
        return Err(Failure::usage(
            "Can't use -file and -members together (conflicting non-incremental modes)",
        ));
    }
    let lower = |name: &str| given.value(name).map(str::to_lowercase);
    let members = match given.value("file") {
        Some(file) => Some(members_of(file)?),
        None => lower("members"),
    };
    let (joining, leaving) = (lower("add"), lower("remove"));
    let zk = shell.zk();
    let (config, stat) =
        zk.reconfig(joining.as_deref(), leaving.as_deref(), members.as_deref(), from_version)?;
    let config = String::from_utf8_lossy(config.as_deref().unwrap_or_default()).into_owned();
    let text = || {
        let committed = format!("Committed new configuration:\n{config}");
        read::with_stat(committed, given.has("s").then_some(&stat))
    };
    shell.out.answer(text, || json!({ "config": config, "stat": stat_json(&stat) }));
    Ok(())
}

/// The `server.N` lines of a file.
fn members_of(file: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("Error processing {file}{error}")))?;
    let is_member = |line: &&str| {
        line.starts_with("server.") || line.starts_with("group.") || line.starts_with("weight.")
    };
    let members: Vec<&str> = text.lines().map(str::trim).filter(is_member).collect();
    if members.is_empty() {
        return Err(Failure::new(format!("Error processing {file}: it has no server.N lines")));
    }
    Ok(members.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_strings_of_configurations() {
        let config =
            "server.1=a:1:2:participant;10.0.0.1:2181\nserver.2=b:1:2:participant;2182\nversion=100000000";
        assert_eq!(client_string(config), "100000000 10.0.0.1:2181,0.0.0.0:2182");
        assert_eq!(client_string(""), " ");
    }

    #[test]
    fn members_come_from_their_lines() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# members\nserver.1=a:1:2;3\n\nserver.2=b:1:2;3\nother=1\n")
            .expect("written");
        let name = file.path().to_str().expect("a name");
        assert_eq!(members_of(name).expect("good"), "server.1=a:1:2;3\nserver.2=b:1:2;3");
        assert!(members_of("/nonexistent").is_err());
    }
}
