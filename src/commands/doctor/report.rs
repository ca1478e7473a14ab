//! The findings of `nn doctor`, and how they are reported.

use serde_json::{Value, json};

use crate::commands::style;
use crate::failure::{Failure, FailureKind, write_stdout};
use crate::show::{Verdict, counted, finding};

/// The names of the sections.
pub(super) const MACHINE: &str = "machine";
pub(super) const PATH: &str = "path";

/// The result of one check.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    pub(super) fix: Option<String>,
    /// Measured values, for programs.
    pub(super) figures: Value,
}

impl Finding {
    fn new(verdict: Verdict, check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict, found: found.into(), fix: None, figures: Value::Null }
    }

    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, found)
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(Verdict::Warning, check, found) }
    }

    pub(super) fn problem(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(Verdict::Problem, check, found) }
    }

    pub(super) fn figures(self, figures: Value) -> Self {
        Self { figures, ..self }
    }
}

/// Collects findings. Text is printed at once, since some checks take seconds; JSON is printed at the end.
pub(super) struct Report {
    json: bool,
    findings: Vec<(&'static str, Finding)>,
    section: &'static str,
    /// The result of writing to standard output.
    written: Result<(), Failure>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, findings: Vec::new(), section: MACHINE, written: Ok(()) }
    }

    /// Starts a section, with the title for people to read.
    pub(super) fn section(&mut self, name: &'static str, title: &str) {
        self.section = name;
        let gap = if self.findings.is_empty() { "" } else { "\n" };
        self.print(&format!("{gap}{title}\n\n"));
    }

    pub(super) fn add(&mut self, found: Finding) {
        let Finding { check, verdict, .. } = found;
        let line = finding(verdict, check, &found.found, found.fix.as_deref(), &style());
        self.print(&format!("{line}\n"));
        self.findings.push((self.section, found));
    }

    fn print(&mut self, text: &str) {
        if !self.json && self.written.is_ok() {
            self.written = write_stdout(text);
        }
    }

    /// The section of each problem.
    fn problems(&self) -> Vec<&'static str> {
        let bad = self.findings.iter().filter(|(_, finding)| finding.verdict == Verdict::Problem);
        bad.map(|&(section, _)| section).collect()
    }

    fn as_json(&self) -> Value {
        let worst = self.findings.iter().map(|(_, finding)| finding.verdict).max().unwrap_or(Verdict::Ok);
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|(section, finding)| {
                json!({
                    "section": section,
                    "check": finding.check,
                    "verdict": finding.verdict.word(),
                    "found": finding.found,
                    "fix": finding.fix,
                    "figures": finding.figures,
                })
            })
            .collect();
        json!({ "verdict": worst.word(), "findings": findings })
    }

    /// Prints the last line; fails if there are problems.
    pub(super) fn conclude(mut self) -> Result<(), Failure> {
        if self.json {
            write_stdout(format!("{}\n", self.as_json()))?;
        }
        let problems = self.problems();
        let warnings =
            self.findings.iter().filter(|(_, finding)| finding.verdict == Verdict::Warning).count();
        if problems.is_empty() {
            self.print(&match warnings {
                0 => "\nAll is well.\n".to_owned(),
                1 => "\nIt works; there is 1 warning.\n".to_owned(),
                n => format!("\nIt works; there are {n} warnings.\n"),
            });
            return self.written;
        }
        self.written?;
        let kind = if problems.contains(&MACHINE) { FailureKind::Failed } else { FailureKind::Network };
        let with =
            if warnings > 0 { format!(" and {}", counted(warnings, "warning")) } else { String::new() };
        Err(Failure::new(kind, format_args!("found {}{with}; see above", counted(problems.len(), "problem"))))
    }
}
