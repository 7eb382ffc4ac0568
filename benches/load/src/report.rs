//! Tables for people and JSON for programs.
#![allow(clippy::print_stdout, reason = "a report goes to standard output")]

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::outcome::{Figures, medians};

/// The columns of the table: what they are called, the figure, how many digits after the point.
const COLUMNS: &[(&str, &str, usize)] = &[
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
const OTHERS: &[&str] = &[
    "session_kib",
    "rss_before_mib",
    "rss_idle_mib",
    "rss_closed_mib",
    "first_told_us",
    "seconds",
    "rss_peak_mib",
    "cpu_s",
];
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
        let (first, second, other) = WIDTHS;
        let mut table = format!("{:first$} {:second$}", "operation", "server");
        for (name, _, _) in COLUMNS {
            table.push_str(&format!(" {name:>other$}"));
        }
        table.push('\n');
        for row in &self.rows {
            let all: Vec<Figures> = row.servers.iter().map(|rounds| medians(rounds)).collect();
            for (server, figures) in self.servers.iter().zip(&all) {
                line(&mut table, &row.title, server, figures);
                others(&mut table, figures);
            }
            if let [a, b] = &all[..] {
                ratios(&mut table, a, b);
            }
        }
        table
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

fn line(table: &mut String, title: &str, server: &str, figures: &Figures) {
    let (first, second, other) = WIDTHS;
    table.push_str(&format!("{title:first$} {server:second$}"));
    for (_, name, digits) in COLUMNS {
        match figures.get(name) {
            Some(value) => table.push_str(&format!(" {value:>other$.digits$}")),
            None => table.push_str(&format!(" {:>other$}", "–")),
        }
    }
    table.push('\n');
}

fn others(table: &mut String, figures: &Figures) {
    let found = OTHERS.iter().filter_map(|name| Some(format!("{name} {:.2}", figures.get(name)?)));
    let found: Vec<String> = found.collect();
    if !found.is_empty() {
        table.push_str(&format!("{:1$} {2}\n", "", WIDTHS.0, found.join(", ")));
    }
}

/// How many times as much the second server needs as the first, or does.
fn ratios(table: &mut String, a: &Figures, b: &Figures) {
    let (first, second, other) = WIDTHS;
    table.push_str(&format!("{:first$} {:second$}", "", "ratio B/A"));
    for (_, name, _) in COLUMNS {
        match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) if *a > 0.0 => {
                table.push_str(&format!(" {:>1$}", format!("×{:.2}", b / a), other));
            }
            _ => table.push_str(&format!(" {:>other$}", "–")),
        }
    }
    table.push('\n');
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
