//! `nn doctor`: looks at this machine and at the path to a coordinator, and names the fix for what it finds.

mod folders;
mod limits;
mod machine;
mod network;
mod peer;

use nn_data::default_cache_dir;
use nn_net::DialOptions;
use serde_json::{Value, json};

use crate::commands::cluster::{runtime, security};
use crate::commands::style;
use crate::config::DoctorConfig;
use crate::failure::{Failure, FailureKind, write_stdout};
use crate::show::{Verdict, finding};

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    fix: Option<String>,
    /// Numbers, for programs.
    figures: Value,
}

impl Finding {
    fn new(verdict: Verdict, check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict, found: found.into(), fix: None, figures: Value::Null }
    }

    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, found)
    }

    fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(Verdict::Warning, check, found) }
    }

    fn problem(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(Verdict::Problem, check, found) }
    }

    fn figures(self, figures: Value) -> Self {
        Self { figures, ..self }
    }
}

/// Findings as they come: for people at once, since some take seconds; for programs at the end.
struct Report {
    json: bool,
    findings: Vec<(&'static str, Finding)>,
    section: &'static str,
    /// What became of standard output.
    written: Result<(), Failure>,
}

impl Report {
    fn section(&mut self, name: &'static str, title: &str) {
        self.section = name;
        let gap = if self.findings.is_empty() { "" } else { "\n" };
        self.print(&format!("{gap}{title}\n\n"));
    }

    fn add(&mut self, found: Finding) {
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

    /// The sections with something that does not work.
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
}

const MACHINE: &str = "machine";
const PATH: &str = "path";

/// Looks, and says what it finds.
pub(crate) fn doctor(config: &DoctorConfig) -> Result<(), Failure> {
    // Files that cannot be read are wrong flags, and nothing to examine.
    let options = DialOptions { security: security::client(&config.security)?, ..DialOptions::default() };
    let mut report = Report { json: config.json, findings: Vec::new(), section: MACHINE, written: Ok(()) };
    report.section(MACHINE, "This machine");
    machine::look(&mut |finding| report.add(finding));
    match config.cache_dir.clone().or_else(default_cache_dir) {
        Some(cache) => report.add(folders::look("cache folder", &cache, "--cache-dir")),
        None => report.add(Finding::warning(
            "cache folder",
            "there is none, so samples are fetched or sent again for every run",
            "give one with --cache-dir, or set HOME or NN_CACHE_DIR",
        )),
    }
    report.add(folders::look("runs folder", &config.out, "--out"));
    if let Some(url) = &config.coordinator {
        report.section(PATH, &format!("The path to {url}"));
        if let Some((certificate, _)) = &config.security.identity {
            peer::own_certificate(certificate, &mut |finding| report.add(finding));
        }
        runtime()?.block_on(network::look(url, &options, &mut |finding| report.add(finding)));
    }
    conclude(report)
}

/// The last line, and the exit code.
fn conclude(mut report: Report) -> Result<(), Failure> {
    if report.json {
        write_stdout(format!("{}\n", report.as_json()))?;
    }
    let problems = report.problems();
    let warnings = report.findings.iter().filter(|(_, finding)| finding.verdict == Verdict::Warning).count();
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if problems.is_empty() {
        report.print(&match warnings {
            0 => "\nAll is well.\n".to_owned(),
            n => {
                format!("\nIt works; there {} {}.\n", if n == 1 { "is" } else { "are" }, count(n, "warning"))
            }
        });
        return report.written;
    }
    report.written?;
    let kind = if problems.contains(&MACHINE) { FailureKind::Failed } else { FailureKind::Network };
    let with = if warnings > 0 { format!(" and {}", count(warnings, "warning")) } else { String::new() };
    Err(Failure::new(kind, format_args!("found {}{with}; see above", count(problems.len(), "problem"))))
}
