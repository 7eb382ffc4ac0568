//! Which point of the checklist is covered by which scripts, made from their comments.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::script::{CHECKLIST, Script};

/// The table, a line for each point.
pub fn table(scripts: &[Script]) -> String {
    let mut covered: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    let mut out_of_reach: BTreeMap<u32, &str> = BTreeMap::new();
    for script in scripts {
        for point in &script.checklist {
            covered.entry(*point).or_default().push(&script.name);
        }
        for (point, reason) in &script.out_of_reach {
            out_of_reach.insert(*point, reason);
        }
    }
    let mut table = String::new();
    for point in CHECKLIST {
        let line = match (covered.get(&point), out_of_reach.get(&point)) {
            (Some(names), None) => names.join(", "),
            (Some(names), Some(reason)) => format!("{} (in part: {reason})", names.join(", ")),
            (None, Some(reason)) => format!("- {reason}"),
            (None, None) => "- NOT COVERED".to_owned(),
        };
        let _ = writeln!(table, "{point:>2} {line}");
    }
    let differing = scripts
        .iter()
        .flat_map(|script| script.steps.iter().map(move |step| (script, step)))
        .filter_map(|(script, step)| Some((&script.name, step.line, step.differs.as_deref()?)));
    for (name, line, reason) in differing {
        let _ = writeln!(table, "differs: {name}:{line}: {reason}");
    }
    table
}

/// The points that no script covers and none names as out of reach.
pub fn missing(scripts: &[Script]) -> Vec<u32> {
    CHECKLIST
        .filter(|point| {
            !scripts.iter().any(|script| {
                script.checklist.contains(point) || script.out_of_reach.contains_key(point)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_made_from_comments() {
        let first = "# T.\n# checklist: 1, 2\n# out of reach: 2; two servers\ns1 ping\n";
        let second = "# T.\n# checklist: 1\n# out of reach: 3; two servers\ns1 ping\n";
        let scripts = [Script::parse("a", first).unwrap(), Script::parse("b", second).unwrap()];

        let table = table(&scripts);

        assert!(table.contains(" 1 a, b\n"), "{table}");
        assert!(table.contains(" 2 a (in part: two servers)\n"), "{table}");
        assert!(table.contains(" 3 - two servers\n"), "{table}");
        assert!(table.contains("90 - NOT COVERED\n"), "{table}");
        assert_eq!(missing(&scripts).len(), 87);
    }
}
