//! `log-level`: what a daemon logs, and the change of that while it runs.

use std::time::Duration;

use crate::api::types::{LogLevels, LogLevelsChange};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Output, Stream, Tone};

const EXAMPLES: &str = "\
Examples:
  astromeshctl log-level                     what is logged now
  astromeshctl log-level debug               more of everything
  astromeshctl log-level gossip=debug        more of one module
  astromeshctl log-level warning proxy=info  less of the others
  astromeshctl log-level gossip=             of one module as much as of the others
  astromeshctl log-level --reset             what is configured

Levels: debug, info, warning, error. The module is the word before the colon of a log line;
`libraries` is all code that is not astromesh's own. A change lasts until the daemon reloads its
configuration or stops.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// New levels; without any, those that hold are shown
    #[arg(value_name = "[MODULE=]LEVEL")]
    changes: Vec<String>,

    /// Go back to what is configured
    #[arg(long, conflicts_with = "changes")]
    reset: bool,
}

const PATIENCE: Duration = Duration::from_secs(5);

const ROUTE: [&str; 3] = ["v1", "system", "log-level"];

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> Result<(), Failure> {
    let client = Client::new(global, PATIENCE)?;
    let answer = if args.reset {
        client.delete(&ROUTE).await?
    } else if args.changes.is_empty() {
        client.get(&ROUTE).await?
    } else {
        client.put(&ROUTE, &change(&args.changes)?).await?
    };
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    output.line(Stream::Stdout, &text(&answer.read()?, output))
}

fn change(words: &[String]) -> Result<LogLevelsChange, Failure> {
    let mut change = LogLevelsChange::default();
    for word in words {
        let is_new = match word.split_once('=') {
            Some((module, level)) => {
                let level = Some(level.to_owned()).filter(|level| !level.is_empty());
                change.levels.insert(module.to_owned(), level).is_none()
            }
            None => change.level.replace(word.clone()).is_none(),
        };
        if !is_new {
            let message = format!("`{word}` sets a level that was set before: name each once");
            return Err(Failure::Usage { message });
        }
    }
    Ok(change)
}

fn text(levels: &LogLevels, output: &Output) -> String {
    let file = levels.file.as_deref().unwrap_or("none");
    let modules = levels.levels.iter().map(|(module, level)| (module.as_str(), level.as_str()));
    let rows = [("Level", levels.level.as_str())].into_iter().chain(modules).chain([
        ("Filter", levels.filter.as_str()),
        ("Format", levels.format.as_str()),
        ("File", file),
    ]);
    let lines = rows.map(|(label, value)| {
        let label = output.printable(Stream::Stdout, label);
        let label = output.paint(Stream::Stdout, Tone::Strong, &format!("{label:<10}"));
        format!("{label} {}", output.printable(Stream::Stdout, value))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<LogLevelsChange> {
        change(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).ok()
    }

    fn sets(level: Option<&str>, levels: &[(&str, Option<&str>)]) -> Option<LogLevelsChange> {
        let owned = |level: &str| level.to_owned();
        let levels = levels.iter().map(|(name, level)| (owned(name), level.map(owned)));
        Some(LogLevelsChange { level: level.map(owned), levels: levels.collect() })
    }

    #[test]
    fn each_word_sets_one_level() {
        assert_eq!(read(&["debug"]), sets(Some("debug"), &[]));
        assert_eq!(read(&["gossip=debug"]), sets(None, &[("gossip", Some("debug"))]));
        assert_eq!(read(&["info", "gossip="]), sets(Some("info"), &[("gossip", None)]));
        assert_eq!(read(&["debug", "info"]), None);
        assert_eq!(read(&["gossip=debug", "gossip="]), None);
    }
}
