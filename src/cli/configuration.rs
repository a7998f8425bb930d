//! `config validate`, `config show` and `validate`: the files of this host, without a daemon.
//!
//! Owns how the findings of [`crate::node::check`] are shown. Refuses to judge anything itself.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};
use crate::config::{Effective, Environment, Origin, Overrides, Problem, Problems};
use crate::node::check::{self, Report, Verdict};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check every file of a configuration directory
    #[command(after_help = VALIDATE_EXAMPLES)]
    Validate(Args),
    /// Print every key with its value and where that came from
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Args),
}

const VALIDATE_EXAMPLES: &str = "\
Examples:
  astromeshctl config validate                    the files a daemon started here would read
  astromeshctl config validate --path /etc/astromesh --json";

/// For the short form.
pub(super) const EXAMPLES: &str = "\
Examples:
  astromeshctl validate
  astromeshctl validate --path /etc/astromesh --json";

const SHOW_EXAMPLES: &str = "\
Examples:
  astromeshctl config show
  astromeshctl config show --path /etc/astromesh > effective.yaml";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory [default: the one a daemon started here would take]
    #[arg(long, value_name = "DIR", visible_alias = "config")]
    path: Option<PathBuf>,
}

impl Args {
    fn overrides(&self) -> Overrides {
        Overrides { config: self.path.clone(), ..Overrides::default() }
    }
}

pub(super) fn run(output: &Output, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Validate(args) => validate(output, args),
        Command::Show(args) => show(output, args),
    }
}

fn show(output: &Output, args: &Args) -> Result<(), Failure> {
    let effective = Effective::load(&args.overrides(), &Environment::of_this_process())
        .map_err(|problems| Failure::Configuration { problems })?;
    match output.format {
        Format::Json => output.json(&effective.to_json().to_string()),
        Format::Text => output.line(Stream::Stdout, &effective.to_yaml()),
    }
}

pub(super) fn validate(output: &Output, args: &Args) -> Result<(), Failure> {
    let report = check::check(&args.overrides(), &Environment::of_this_process())
        .map_err(|problems| Failure::Configuration { problems })?;
    match output.format {
        Format::Json => output.json(&json(&report).to_string())?,
        Format::Text => text(output, &report)?,
    }
    if report.is_sound() { Ok(()) } else { Err(Failure::Told { exit_code: 64 }) }
}

fn text(output: &Output, report: &Report) -> Result<(), Failure> {
    let stream = Stream::Stdout;
    let columns =
        [("File", Fit::Whole), ("Status", Fit::Whole), ("Message", Fit::Wrap { cells_min: 20 })];
    let mut table = output.table(stream, &columns);
    for checked in &report.files {
        let (status, tone, message) = match &checked.verdict {
            Verdict::Sound => ("ok", Tone::Good, String::new()),
            Verdict::Wrong(problems) => ("wrong", Tone::Bad, message(problems)),
            Verdict::NotRead(why) => ("not read", Tone::Faint, (*why).to_owned()),
        };
        table.add_row([
            output.cell(&relative(report, &checked.file)),
            output.toned_cell(stream, status, tone),
            output.cell(&message),
        ]);
    }
    output.line(stream, &output.table_text(&table))?;
    for warning in &report.warnings {
        let label = output.paint(stream, Tone::Doubtful, "warning:");
        output.line(stream, &format!("\n{label} {}", output.printable(stream, warning)))?;
    }
    let count: usize = report.problems().map(Problems::count).sum();
    let directory = report.directory.display();
    let verdict = match count {
        0 => format!("\nThe configuration in {directory} is sound."),
        1 => format!("\n1 problem in {directory}."),
        _ => format!("\n{count} problems in {directory}."),
    };
    output.line(stream, &verdict)
}

/// All that is wrong with one file, a line or more for each problem.
fn message(problems: &Problems) -> String {
    let lines: Vec<_> = problems
        .list()
        .iter()
        .map(|problem| match &problem.origin {
            Origin::File { line: Some(line), .. } => format!("line {line}: {}", problem.advice()),
            Origin::File { line: None, .. } => problem.advice(),
            other => format!("{other}: {}", problem.advice()),
        })
        .collect();
    let omitted = problems.count() - problems.list().len();
    let more = if omitted > 0 { format!("\nand {omitted} more problems") } else { String::new() };
    format!("{}{more}", lines.join("\n"))
}

fn relative(report: &Report, file: &Path) -> String {
    file.strip_prefix(&report.directory).unwrap_or(file).display().to_string()
}

fn json(report: &Report) -> Value {
    let files: Vec<_> = report
        .files
        .iter()
        .map(|checked| {
            let (status, reason, problems) = match &checked.verdict {
                Verdict::Sound => ("ok", None, Vec::new()),
                Verdict::Wrong(problems) => {
                    ("wrong", None, problems.list().iter().map(problem_json).collect())
                }
                Verdict::NotRead(why) => ("not_read", Some(*why), Vec::new()),
            };
            json!({
                "file": checked.file.display().to_string(),
                "status": status,
                "reason": reason,
                "problems": problems,
            })
        })
        .collect();
    json!({
        "directory": report.directory.display().to_string(),
        "valid": report.is_sound(),
        "files": files,
        "warnings": report.warnings,
    })
}

fn problem_json(problem: &Problem) -> Value {
    let line = match problem.origin {
        Origin::File { line, .. } => line,
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => None,
    };
    json!({
        "origin": problem.origin.to_string(),
        "line": line,
        "key": problem.key,
        "value": problem.value,
        "what": problem.what,
        "remedy": problem.remedy,
    })
}
