//! The files of a configuration directory, checked as a daemon would read them, without one.
//!
//! Owns the verdict on each file. Refuses to change anything: no directory is made, no socket opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit::Exit;
use crate::agent::Registry;
use crate::config::{self, Effective, Environment, Origin, Overrides, Problem, Problems};
use crate::model::Access;
use crate::telemetry::logging;

/// The most files that a report lists.
const FILES_MAX: usize = 4_096;

/// What was found in a configuration directory.
#[derive(Debug)]
pub struct Report {
    /// The directory.
    pub directory: PathBuf,
    /// Each file with YAML text in it and in the directories in it, `runtime.yaml` first.
    pub files: Vec<Checked>,
    /// What is odd, but keeps nothing from being used.
    pub warnings: Vec<String>,
    /// The settings, when nothing is wrong with them.
    pub effective: Option<Effective>,
}

/// A file and what is to be said of it.
#[derive(Debug)]
pub struct Checked {
    /// Its path, which begins with the directory.
    pub file: PathBuf,
    /// What is to be said.
    pub verdict: Verdict,
}

/// What is to be said of a file.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// All that is wrong.
    Wrong(Problems),
    /// No daemon of this version reads such a file; why.
    NotRead(&'static str),
}

impl Report {
    /// All that is wrong, file after file.
    pub fn problems(&self) -> impl Iterator<Item = &Problems> {
        self.files.iter().filter_map(|checked| match &checked.verdict {
            Verdict::Wrong(problems) => Some(problems),
            Verdict::Sound | Verdict::NotRead(_) => None,
        })
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems().next().is_none()
    }
}

/// `--check`: says what is wrong on standard error, and prints the settings if asked. Exit codes: 0
/// nothing is wrong, 64 something is.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is the answer")]
pub(super) fn main(overrides: &Overrides, environment: &Environment, print: bool) -> ExitCode {
    let report = match check(overrides, environment) {
        Ok(report) => report,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::BadConfig.into();
        }
    };
    for checked in &report.files {
        match &checked.verdict {
            Verdict::Sound => {}
            Verdict::Wrong(problems) => eprintln!("{problems}"),
            Verdict::NotRead(why) => eprintln!("note: {}: {why}", checked.file.display()),
        }
    }
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(effective) = report.effective.as_ref().filter(|_| print) {
        print!("{}", effective.to_yaml());
    }
    let directory = report.directory.display();
    match report.problems().map(Problems::count).sum() {
        0 => {
            eprintln!("the configuration in {directory} is sound");
            ExitCode::SUCCESS
        }
        1 => {
            eprintln!("1 problem in {directory}");
            Exit::BadConfig.into()
        }
        count => {
            eprintln!("{count} problems in {directory}");
            Exit::BadConfig.into()
        }
    }
}

/// Checks the directory that a daemon with these flags would take. Blocks while it reads.
///
/// # Errors
/// There is no such directory.
pub fn check(overrides: &Overrides, environment: &Environment) -> Result<Report, Problems> {
    let directory = config::directory(overrides, environment)?;
    let runtime = directory.join(config::FILE_NAME);
    let mut warnings: Vec<String> = logging::filter_warning().into_iter().collect();
    let (verdict, effective) = match Effective::load(overrides, environment) {
        Ok(effective) => {
            warnings.extend(effective.runtime.warnings.iter().cloned());
            (Verdict::Sound, Some(effective))
        }
        Err(problems) => (Verdict::Wrong(problems), None),
    };
    let mut files = vec![Checked { file: runtime.clone(), verdict }];

    let (_, findings) = Registry::load(&directory, &Access::unused());
    warnings.extend(findings.warnings);
    let mut wrong: BTreeMap<PathBuf, Vec<Problem>> = BTreeMap::new();
    for problem in findings.problems {
        let Origin::File { path, .. } = &problem.origin else { continue };
        wrong.entry(path.clone()).or_default().push(problem);
    }
    let others = yaml_files(&directory).into_iter().filter(|file| *file != runtime);
    for file in others {
        let verdict = match wrong.remove(&file) {
            Some(problems) => Verdict::from(problems),
            None if findings.files.contains(&file) => Verdict::Sound,
            None => unread(&directory, &file),
        };
        files.push(Checked { file, verdict });
    }
    // A directory that cannot be read, for one, is no file of those above.
    let rest = wrong.into_iter().map(|(file, problems)| Checked { file, verdict: problems.into() });
    files.extend(rest);
    Ok(Report { directory, files, warnings, effective })
}

impl From<Vec<Problem>> for Verdict {
    fn from(problems: Vec<Problem>) -> Self {
        Problems::gather(problems).map_or(Self::Sound, Self::Wrong)
    }
}

/// The verdict on a file that a daemon does not read by itself.
fn unread(directory: &Path, file: &Path) -> Verdict {
    const TOO_MANY: Verdict = Verdict::NotRead("beyond the most files that are read");
    let place = file.parent().and_then(|parent| parent.strip_prefix(directory).ok());
    match place.and_then(Path::to_str) {
        // Somebody will make it the `runtime.yaml` of a node.
        Some("profiles") => match config::load_file(file) {
            Ok(_) => Verdict::Sound,
            Err(problems) => Verdict::Wrong(problems),
        },
        Some("agents") if Registry::is_agent_file(file) => TOO_MANY,
        Some("") if Registry::is_providers_file(file) => TOO_MANY,
        Some("agents") => Verdict::NotRead("the name of an agent file ends in .agent.yaml"),
        _ => Verdict::NotRead("this version reads no such file"),
    }
}

/// The files with YAML text in a directory and in those directly in it, in the order of their names.
fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let (mut files, directories): (Vec<_>, Vec<_>) =
        entries(directory).into_iter().partition(|path| !path.is_dir());
    files.extend(directories.iter().flat_map(|directory| entries(directory)));
    files.retain(|path| {
        path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") && !path.is_dir()
    });
    files.truncate(FILES_MAX);
    files
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Checks the text of an agent file by itself; what refers to providers is wrong here.
///
/// # Errors
/// Everything that is wrong with it. It counts as a file of another directory: only key, value and
/// remedy mean something.
pub fn agent(text: &str) -> Result<(), Problems> {
    Problems::gather(Registry::problems_of(text)).map_or(Ok(()), Err)
}
