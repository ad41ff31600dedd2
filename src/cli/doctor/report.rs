//! The findings for people and for programs.

use super::facts::Facts;
use super::finding::{Finding, Status};
use serde_json::{Value, json};
use std::fmt::Write;

/// A table; below what is not in order, why it matters and what to do. `is_verbose` gives the reasons of all.
pub(super) fn text(facts: &Facts, findings: &[Finding], is_verbose: bool) -> String {
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{text}").expect("a string takes all that is written");
    line(&about(facts));
    line("");
    let width = findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let status = finding.status.name();
        line(&format!("{status:<12}{:<width$}  {}", finding.check, finding.found));
        if finding.status == Status::Ok && !is_verbose {
            continue;
        }
        wrap(finding.why, TEXT_WIDTH).iter().for_each(|part| line(&format!("{INDENT}{part}")));
        finding.change.iter().for_each(|change| line(&format!("{INDENT}> {change}")));
    }
    let counts = Status::ALL.map(|status| format!("{} {}", count(findings, status), status.name()));
    line(&format!("\n{}", counts.join(", ")));
    line("Each subject at length, and files that make the settings last: tuning/README.md");
    out
}

const INDENT: &str = "            ";
const TEXT_WIDTH: usize = 96;

/// One object.
pub(super) fn json(facts: &Facts, findings: &[Finding]) -> Value {
    let counts = Status::ALL.map(|status| (status.name().to_string(), json!(count(findings, status))));
    json!({
        "tool": concat!("ringkeeper ", env!("CARGO_PKG_VERSION")),
        "server_pid": facts.server,
        "checks": findings,
        "counts": serde_json::Map::from_iter(counts),
    })
}

pub(super) fn count(findings: &[Finding], status: Status) -> usize {
    findings.iter().filter(|finding| finding.status == status).count()
}

/// Whose limits and CPUs these are.
fn about(facts: &Facts) -> String {
    match facts.server {
        Some(pid) => format!("The server runs as process {pid}; limits, groups and CPUs are its own."),
        None => "No server runs here with these folders; limits, groups and CPUs are those of this command."
            .into(),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always one");
        if !last.is_empty() && last.len() + 1 + word.len() > width {
            lines.push(word.to_string());
            continue;
        }
        if !last.is_empty() {
            last.push(' ');
        }
        last.push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_between_words() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
