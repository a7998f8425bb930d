//! `config` and `validate`: the files of this host, without a daemon.
//!
//! Owns how the findings of [`crate::node::check`] are shown. Refuses to judge anything itself.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::Failure;
use super::files::{self, Existing, NewFile};
use super::output::{Fit, Format, Output, Stream, Tone};
use crate::config::{self, Effective, Environment, Origin, Overrides, Problem, Problems, Setting};
use crate::node::check::{self, Report, Verdict};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check every file of a configuration directory
    #[command(after_help = VALIDATE_EXAMPLES)]
    Validate(Args),
    /// Print every key with its value and where that came from
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Args),
    /// Make a file from another, such as a profile, with some keys set
    ///
    /// The result is checked before it is written. Comments are lost.
    #[command(after_help = PATCH_EXAMPLES)]
    Patch(PatchArgs),
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

const PATCH_EXAMPLES: &str = "\
Examples:
  astromeshctl config patch /etc/astromesh/profiles/mesh-worker.yaml --set spec.api.port=9000
  astromeshctl config patch mesh-worker.yaml --set spec.mesh.seeds=http://a:8000,http://b:8000 --to runtime.yaml";

#[derive(Debug, clap::Args)]
pub(super) struct PatchArgs {
    /// The file to begin with
    file: PathBuf,

    /// A key and its value, written as in a variable: lists with commas between their items
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,

    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// Replace the file if it is there
    #[arg(long, requires = "to")]
    force: bool,
}

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
        Command::Patch(args) => patch(output, args),
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

fn patch(output: &Output, args: &PatchArgs) -> Result<(), Failure> {
    let text = config::patched(&args.file, &args.set)
        .map_err(|problems| Failure::Configuration { problems })?;
    let Some(path) = &args.to else {
        return match output.format {
            Format::Json => output.json(&json!({"text": text}).to_string()),
            Format::Text => output.line(Stream::Stdout, text.trim_end()),
        };
    };
    let file = NewFile { path: path.clone(), text, mode: files::MODE_OPEN };
    files::write(&[file], Existing::from_force(args.force))?;
    let written = path.display().to_string();
    match output.format {
        Format::Json => output.json(&json!({"written": [written]}).to_string()),
        Format::Text => output.line(Stream::Stdout, &format!("Wrote {written}")),
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
