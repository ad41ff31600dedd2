//! One HTML page that compares runs: a table, and plots as inline SVG. No script, no font, no request to anywhere.

use super::outcome::Outcome;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Reads results and writes the page.
pub fn write(results: &[PathBuf], output: &Path) -> Result<(), String> {
    let runs = results.iter().map(|path| read(path)).collect::<Result<Vec<_>, String>>()?;
    std::fs::write(output, page(&runs))
        .map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    outln!("{}: {} runs", output.display(), runs.len());
    Ok(())
}

fn read(path: &Path) -> Result<Outcome, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not a result: {error}", path.display()))
}

/// The whole page.
fn page(runs: &[Outcome]) -> String {
    let mut by_workload: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for run in runs {
        by_workload.entry(case_of(run)).or_default().push(run);
    }
    let mut body = String::new();
    for (case, runs) in &by_workload {
        let _ = writeln!(body, "<h2>{}</h2>", escape(case));
        body += &table(runs);
        body += "<div class=plots>";
        body += &percentile_plot(runs);
        body += &bars("operations per second", runs, |run| Some(run.operations_per_second));
        body += &bars("server CPU, µs per operation", runs, |run| run.server_cpu_us_per_operation);
        body += &rate_plot(runs);
        body += "</div>\n";
    }
    format!(
        "<!doctype html><meta charset=utf-8><title>ringkeeper bench</title><style>{STYLE}</style>\n\
         <h1>ringkeeper bench: {} runs</h1>\n{body}",
        runs.len()
    )
}

/// Runs of one case are compared with each other. A rate does not make another case: it is an axis.
fn case_of(run: &Outcome) -> String {
    let number = |name: &str| run.settings.get(name).and_then(|value| value.as_u64());
    match (number("connections"), number("in_flight")) {
        (Some(connections), Some(in_flight)) => format!("{} {connections}×{in_flight}", run.workload),
        (Some(connections), None) => format!("{} {connections}", run.workload),
        _ => run.workload.clone(),
    }
}

fn table(runs: &[&Outcome]) -> String {
    let mut out = String::from(
        "<table><tr><th>run<th>operation<th>per second<th>p50 µs<th>p90<th>p99<th>p99.9<th>p99.99<th>max\
         <th>server CPU µs/op<th>server MB\n",
    );
    for run in runs {
        for (kind, latency) in &run.latency_us {
            let _ = write!(
                out,
                "<tr><td>{}<td>{}<td>{:.0}",
                escape(&run.label),
                escape(kind),
                run.operations_per_second
            );
            for value in [latency.p50, latency.p90, latency.p99, latency.p999, latency.p9999, latency.max] {
                let _ = write!(out, "<td>{value:.1}");
            }
            let optional = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
            let resident = run.server_resident_bytes.map(|bytes| bytes as f64 / 1e6);
            let _ =
                writeln!(out, "<td>{}<td>{}", optional(run.server_cpu_us_per_operation), optional(resident));
        }
    }
    out + "</table>\n"
}

/// Latency over percentile, both logarithmic: every nine is one step to the right.
fn percentile_plot(runs: &[&Outcome]) -> String {
    let mut lines = Vec::new();
    for run in runs {
        for (kind, latency) in &run.latency_us {
            let points: Vec<(f64, f64)> = latency
                .points()
                .iter()
                .enumerate()
                .map(|(step, (_, value))| (step as f64, value.max(0.1)))
                .collect();
            let name =
                if run.latency_us.len() > 1 { format!("{} {kind}", run.label) } else { run.label.clone() };
            lines.push((name, points));
        }
    }
    let marks = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let marks: Vec<(f64, String)> =
        marks.iter().enumerate().map(|(at, mark)| (at as f64, mark.to_string())).collect();
    line_plot("latency, µs", &lines, &marks)
}

/// Throughput against p50 and p99; only for servers measured at several rates.
fn rate_plot(runs: &[&Outcome]) -> String {
    let mut by_label: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    runs.iter().for_each(|run| by_label.entry(&run.label).or_default().push(run));
    let mut lines = Vec::new();
    for (label, mut runs) in by_label.into_iter().filter(|(_, runs)| runs.len() > 1) {
        runs.sort_by(|a, b| a.operations_per_second.total_cmp(&b.operations_per_second));
        let worst = |run: &Outcome| run.latency_us.values().map(|latency| latency.p99).fold(0.1, f64::max);
        let points = runs.iter().map(|run| (run.operations_per_second / 1e3, worst(run))).collect();
        lines.push((format!("{label} p99"), points));
    }
    if lines.is_empty() {
        return String::new();
    }
    let most = lines.iter().flat_map(|(_, points): &(String, Vec<(f64, f64)>)| points).map(|point| point.0);
    let most = most.fold(0.0, f64::max);
    let marks: Vec<(f64, String)> =
        (0..=4).map(|i| most * i as f64 / 4.0).map(|x| (x, format!("{x:.0}k/s"))).collect();
    line_plot("p99 latency in µs against throughput", &lines, &marks)
}

fn line_plot(title: &str, lines: &[(String, Vec<(f64, f64)>)], marks: &[(f64, String)]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let (mut low, mut high) = (f64::MAX, 0.0f64);
    points().for_each(|(_, y)| (low, high) = (low.min(*y), high.max(*y)));
    if lines.is_empty() {
        return String::new();
    }
    let (low, high) = (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0));
    let (left, right) = (marks.first().map_or(0.0, |mark| mark.0), marks.last().map_or(1.0, |mark| mark.0));
    let x = |value: f64| 60.0 + (value - left) / (right - left).max(1e-9) * 360.0;
    let y = |value: f64| 230.0 - (value.log10() - low) / (high - low) * 190.0;
    let height = 265 + 16 * lines.len();
    let mut out = format!(
        "<svg viewBox='0 0 460 {height}' width=460 height={height}><text x=10 y=20 class=title>{title}</text>"
    );
    for decade in low as i32..=high as i32 {
        let (at, text) = (y(10f64.powi(decade)), number(10f64.powi(decade)));
        let _ = write!(
            out,
            "<line x1=60 x2=420 y1={at:.1} y2={at:.1} class=grid /><text x=54 y={:.1} class=right>{text}</text>",
            at + 4.0
        );
    }
    for (value, mark) in marks {
        let _ = write!(out, "<text x={:.1} y=248 class=middle>{mark}</text>", x(*value));
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let path: String = points.iter().map(|(px, py)| format!("{:.1},{:.1} ", x(*px), y(*py))).collect();
        let at = 272 + 16 * index;
        let _ = write!(
            out,
            "<polyline points='{path}' fill=none stroke='{color}' stroke-width=2 />\
             <rect x=60 y={} width=12 height=4 fill='{color}' /><text x=78 y={at}>{}</text>",
            at - 6,
            escape(name)
        );
        for (px, py) in points {
            let _ = write!(out, "<circle cx={:.1} cy={:.1} r=3 fill='{color}' />", x(*px), y(*py));
        }
    }
    out + "</svg>\n"
}

fn bars(title: &str, runs: &[&Outcome], value: impl Fn(&Outcome) -> Option<f64>) -> String {
    let values: Vec<(&str, f64)> =
        runs.iter().filter_map(|run| Some((run.label.as_str(), value(run)?))).collect();
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = 40 + 34 * values.len();
    let mut out = format!(
        "<svg viewBox='0 0 460 {height}' width=460 height={height}><text x=10 y=20 class=title>{title}</text>"
    );
    for (index, (label, value)) in values.iter().enumerate() {
        let (at, width) = (34 + 34 * index, value / most * 340.0);
        let _ = write!(
            out,
            "<text x=10 y={}>{}</text><rect x=10 y={} width={width:.1} height=12 fill='{}' /><text x={:.1} y={}>{}</text>",
            at + 10,
            escape(label),
            at + 14,
            COLORS[index % COLORS.len()],
            width + 16.0,
            at + 25,
            number(*value)
        );
    }
    out + "</svg>\n"
}

/// Short, with about three digits.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => {
            format!("{:.2}", value).trim_end_matches('0').trim_end_matches('.').to_string()
        }
        value => format!("{value:.3}").trim_end_matches('0').to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

const COLORS: [&str; 8] =
    ["#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#cb912f", "#2f5fd0"];
const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;max-width:1000px;color:#222}\
    table{border-collapse:collapse;font-size:13px}td,th{padding:3px 9px;border-bottom:1px solid #ddd;text-align:right}\
    td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}.plots{display:flex;flex-wrap:wrap;\
    gap:20px;align-items:flex-start;margin:12px 0}svg text{font-size:12px;fill:#333}svg .title{font-weight:600;\
    font-size:13px}svg .right{text-anchor:end}svg .middle{text-anchor:middle}.grid{stroke:#ddd}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::outcome::Latency;

    #[test]
    fn a_page_shows_every_run_and_escapes_names() {
        let mut run = Outcome::new("a<b".into(), "get");
        run.operations_per_second = 1234.0;
        run.latency_us.insert("get".into(), Latency { p50: 1.0, max: 90.0, ..Latency::default() });
        let page = page(&[run.clone(), Outcome { label: "other".into(), ..run }]);
        assert!(page.contains("a&lt;b") && page.contains("other") && !page.contains("a<b"));
        assert_eq!(page.matches("<polyline").count(), 2);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [number(1_234_567.0), number(0.15), number(2.5), number(100.0)],
            ["1.23M", "0.15", "2.5", "100"]
        );
    }
}
