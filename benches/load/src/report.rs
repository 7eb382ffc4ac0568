//! Tables for people and JSON for programs.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a report goes to standard output")]

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::outcome::{Figures, medians};

/// What a column is called, the figure in it, how many digits stand after the point.
type Column = (&'static str, &'static str, usize);

/// The columns of the table.
const COLUMNS: &[Column] = &[
    ("ops/s", "rate_per_s", 0),
    ("cpu µs/op", "cpu_us", 2),
    ("p50 µs", "p50_us", 0),
    ("p90 µs", "p90_us", 0),
    ("p99 µs", "p99_us", 0),
    ("p99.9 µs", "p999_us", 0),
    ("max µs", "max_us", 0),
    ("rss MiB", "rss_mib", 1),
    ("srv cores", "server_cores", 2),
    ("gen cores", "generator_cores", 2),
];
/// Figures that stand in a line of their own, where there are any.
const OTHERS: &[&str] =
    &["session_kib", "rss_before_mib", "rss_idle_mib", "rss_closed_mib", "first_told_us"];
/// A cell without a figure.
const NONE: &str = "–";
/// Widths of the first two columns and of the others.
const WIDTHS: (usize, usize, usize) = (20, 14, 10);

/// One operation: its title, and for each server what every round gave.
struct Row {
    title: String,
    servers: Vec<Vec<Figures>>,
}

/// Everything that was measured.
pub(crate) struct Report {
    servers: Vec<String>,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(servers: Vec<String>) -> Report {
        Report { servers, rows: Vec::new() }
    }

    /// Adds what one round gave for the server with this number.
    pub(crate) fn add(&mut self, title: &str, server: usize, figures: Figures) {
        let place = self.rows.iter().position(|row| row.title == title).unwrap_or_else(|| {
            let servers = vec![Vec::new(); self.servers.len()];
            self.rows.push(Row { title: title.to_owned(), servers });
            self.rows.len() - 1
        });
        if let Some(rounds) = self.rows.get_mut(place).and_then(|row| row.servers.get_mut(server)) {
            rounds.push(figures);
        }
    }

    /// Prints the table, and writes the JSON if it is wanted.
    pub(crate) fn print(&self, json_file: Option<&Path>) -> Result<()> {
        print!("{}", self.table());
        if let Some(file) = json_file {
            let text = serde_json::to_string_pretty(&self.json())?;
            fs::write(file, text + "\n").with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let mut lines = vec![line("operation", "server", |(name, _, _)| (*name).to_owned())];
        for row in &self.rows {
            let all: Vec<Figures> = row.servers.iter().map(|rounds| medians(rounds)).collect();
            for (server, figures) in self.servers.iter().zip(&all) {
                lines.push(line(&row.title, server, |(_, name, digits)| {
                    figures.get(name).map_or(NONE.to_owned(), |value| format!("{value:.digits$}"))
                }));
                lines.extend(others(figures));
            }
            if let [a, b] = &all[..] {
                lines.push(line("", "ratio B/A", |(_, name, _)| ratio(a.get(name), b.get(name))));
            }
        }
        lines.join("\n") + "\n"
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let servers = self.servers.iter().zip(&row.servers).map(|(name, rounds)| {
                json!({ "server": name, "medians": medians(rounds), "rounds": rounds })
            });
            json!({ "operation": row.title, "servers": servers.collect::<Vec<Value>>() })
        });
        json!({ "measured": rows.collect::<Vec<Value>>() })
    }
}

/// One line: what is measured, who, and a cell for each column.
fn line(title: &str, server: &str, cell: impl Fn(&Column) -> String) -> String {
    let (first, second, other) = WIDTHS;
    let cells: Vec<String> =
        COLUMNS.iter().map(|column| format!("{:>other$}", cell(column))).collect();
    format!("{title:first$} {server:second$} {}", cells.join(" "))
}

/// A line with the figures that have no column, if there are any.
fn others(figures: &Figures) -> Option<String> {
    let found = OTHERS.iter().filter_map(|name| Some(format!("{name} {:.2}", figures.get(name)?)));
    let found: Vec<String> = found.collect();
    (!found.is_empty()).then(|| format!("{:1$} {2}", "", WIDTHS.0, found.join(", ")))
}

/// How many times as much the second server has as the first.
fn ratio(a: Option<&f64>, b: Option<&f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if *a > 0.0 => format!("×{:.2}", b / a),
        _ => NONE.to_owned(),
    }
}

/// Prints a line on standard error.
pub(crate) fn complain(line: &str) {
    eprintln!("{line}");
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_shows_medians_and_their_ratio() {
        let mut report = Report::new(vec!["a".to_owned(), "b".to_owned()]);
        for (server, rate) in [(0, 90.0), (0, 100.0), (0, 900.0), (1, 250.0)] {
            report.add("get", server, Figures::from([("rate_per_s", rate)]));
        }
        let table = report.table();
        assert!(
            table.contains("100") && table.contains("250") && table.contains("×2.50"),
            "{table}"
        );
        let json = report.json().to_string();
        assert!(json.contains(r#""medians":{"rate_per_s":100.0}"#), "{json}");
    }
}
