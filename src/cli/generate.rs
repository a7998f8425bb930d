//! `completions` and `man`: made from the same model of the command line that parses it.
//!
//! For packages and for people; no daemon is asked.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot;
use clap_mangen::Man;
use serde_json::json;
use tempfile::NamedTempFile;

use super::Cli;
use super::failure::Failure;
use super::output::{Format, Output, Stream};
use crate::node;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  astromeshctl completions bash > /usr/share/bash-completion/completions/astromeshctl
  astromeshctl completions zsh > ~/.zfunc/_astromeshctl
  astromeshctl completions fish > ~/.config/fish/completions/astromeshctl.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  astromeshctl man --output-dir /usr/local/share/man
  man astromeshctl-mesh-simulate";

#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, clap::Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct ManArgs {
    /// The directory in which man1/ and man8/ are made
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
}

pub(super) fn completions(output: &Output, args: &CompletionsArgs) -> Result<(), Failure> {
    let shell = match args.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    aot::generate(shell, &mut command, name, &mut script);
    output.line(Stream::Stdout, String::from_utf8_lossy(&script).trim_end())
}

pub(super) fn man(output: &Output, args: &ManArgs) -> Result<(), Failure> {
    let directory = args.output_dir.as_path();
    let failed = |error: std::io::Error| Failure::Local {
        doing: "write the man pages",
        cause: format!("{}: {error}", directory.display()),
    };
    let mut pages = Vec::new();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    collect(&command, &mut pages);
    let daemon = node::Args::augment_args(clap::Command::new("astromeshd"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("The astromesh daemon: one node of a self-healing mesh for AI agents.");
    pages.push(("8", daemon));
    let count = pages.len();
    for (section, command) in pages {
        let folder = directory.join(format!("man{section}"));
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let path = folder.join(format!("{name}.{section}"));
        write(&folder, &path, &Man::new(command).section(section)).map_err(failed)?;
    }
    if output.format == Format::Json {
        let report = json!({"directory": directory.display().to_string(), "pages": count});
        return output.json(&report.to_string());
    }
    output.line(Stream::Stdout, &format!("{count} man pages in {}", directory.display()))
}

/// A page for a command and for each below it, named `astromeshctl-mesh-nodes`.
fn collect(command: &clap::Command, pages: &mut Vec<(&'static str, clap::Command)>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, pages);
    }
    pages.push(("1", command.clone()));
}

/// Whole or not at all: under another name first.
fn write(folder: &Path, path: &Path, man: &Man) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    man.render(&mut file)?;
    file.flush()?;
    file.as_file().sync_all()?;
    set_readable(file.as_file())?;
    file.persist(path)?;
    Ok(())
}

/// Temporary files are their owner's alone; pages are for everybody.
fn set_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
