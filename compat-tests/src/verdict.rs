//! Compares what was told with what is expected, and says where they part.

use std::fmt::Write as _;

use crate::script::{Judge, Script, WHATEVER};

/// The steps in which `transcripts` are not what `judge` is expected to say; empty if none.
pub fn differences(script: &Script, judge: Judge, transcripts: &[Vec<String>]) -> String {
    let mut report = String::new();
    for (step, told) in script.steps.iter().zip(transcripts) {
        let expected = step.expected_of(judge);
        if expected != *told && expected != [WHATEVER] {
            let _ = writeln!(report, "{}, step at line {}:", script.name, step.line);
            push_difference(&mut report, &expected, told);
        }
    }
    report
}

/// Writes common lines plainly, the rest with `-` (expected) and `+` (told).
fn push_difference(report: &mut String, expected: &[&str], told: &[String]) {
    let (mut expected, mut told) = (expected.iter().peekable(), told.iter().peekable());
    while let (Some(wanted), Some(got)) = (expected.peek(), told.peek()) {
        if *wanted != got {
            break;
        }
        let _ = writeln!(report, "    {wanted}");
        expected.next();
        told.next();
    }
    for wanted in expected {
        let _ = writeln!(report, "  - {wanted}");
    }
    for got in told {
        let _ = writeln!(report, "  + {got}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# T.\ns1 ping\n    s1 ping ok z1\ns1 close\n    s1 close ok z2\n    s1 closed\n";

    #[test]
    fn equal_texts_have_no_difference() {
        let script = Script::parse("name", TEXT).unwrap();
        let told =
            [vec!["s1 ping ok z1".into()], vec!["s1 close ok z2".into(), "s1 closed".into()]];
        assert_eq!(differences(&script, Judge::Zookeeper, &told), "");
    }

    #[test]
    fn a_star_is_whatever_is_told() {
        let text = "# T.\n# differs: why\ns1 ping\n    zookeeper| *\n    rookeeper| s1 closed\n";
        let script = Script::parse("name", text).unwrap();
        let told = [vec!["s1 ping ok z1".into()]];
        assert_eq!(differences(&script, Judge::Zookeeper, &told), "");
        assert!(differences(&script, Judge::Rookeeper, &told).contains("- s1 closed"));
    }

    #[test]
    fn a_difference_shows_what_was_expected_and_what_came() {
        let script = Script::parse("name", TEXT).unwrap();
        let told = [vec!["s1 ping ok z1".into()], vec!["s1 close ok z2".into(), "s1 open".into()]];
        assert_eq!(
            differences(&script, Judge::Zookeeper, &told),
            "name, step at line 4:\n    s1 close ok z2\n  - s1 closed\n  + s1 open\n"
        );
        let told = [vec![], vec!["s1 close ok z2".into(), "s1 closed".into()]];
        assert!(differences(&script, Judge::Zookeeper, &told).contains("- s1 ping ok z1"));
    }
}
