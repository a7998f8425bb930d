//! `mesh why`: why a member was declared dead, in words.
//!
//! Owns the sentences about verdicts and changes, which `mesh events` uses as well.

use crate::api::types::{DeathVerdict, MemberChange, NodeHistory, NodeRef, PastChange};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Fit, Format, Output, Stream, Tone, state_tone};

/// Changes that are shown; the rest is in the JSON.
const CHANGES_MAX: usize = 12;

const EXAMPLES: &str = "\
Examples:
  astromeshctl mesh why worker-1
  astromeshctl mesh why 0b6f3c1e --json | jq '.verdicts[-1].votes'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The member: its name, its id, or the beginning of its id
    node: String,
}

pub(super) async fn run(client: &Client, output: &Output, args: &Args) -> Result<(), Failure> {
    let answer = client.get(&["v1", "mesh", "nodes", &args.node, "history"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let history: NodeHistory = answer.read()?;
    let stream = Stream::Stdout;
    for sentence in sentences(&history) {
        output.line(stream, &output.printable(stream, &sentence))?;
    }
    if let Some(verdict) = history.verdicts.last().filter(|verdict| !verdict.votes.is_empty()) {
        output.line(stream, &votes(verdict, output))?;
    }
    if !history.changes.is_empty() {
        output.line(stream, &changes(&history, output))?;
    }
    Ok(())
}

/// The answer to the question, then what else there is to say.
fn sentences(history: &NodeHistory) -> Vec<String> {
    let name = called(&history.node);
    let now = match history.status.as_deref() {
        Some(status) => format!("It is {status} now."),
        None => "It has been forgotten since.".to_owned(),
    };
    let is_dead = history.status.as_deref() == Some("dead");
    let mut verdicts = history.verdicts.iter().rev();
    let answer = if let Some(death) = unexplained_death(history) {
        let ago = span(history.now - death.at);
        let died =
            if is_dead { format!("is dead since {ago}") } else { format!("was dead {ago} ago") };
        format!("{name} {died}; why has not come to this node.")
    } else if let Some(last) = verdicts.next() {
        declared(history, name, last)
    } else {
        let kept = span(history.now - history.since);
        return vec![
            format!("{name} was not declared dead in the last {kept}, as far as this node saw."),
            now,
        ];
    };
    let mut sentences = vec![answer];
    if !is_dead {
        sentences.push(now);
    }
    sentences.extend(verdicts.map(|verdict| declared(history, "Before that, it", verdict)));
    if history.dropped > 0 {
        let dropped = history.dropped;
        sentences.push(format!("{dropped} older entries are not kept: too much has happened."));
    }
    sentences
}

/// The last death, if no verdict is about it.
fn unexplained_death(history: &NodeHistory) -> Option<&PastChange> {
    let death = history.changes.iter().rev().find(|past| past.change.change == "dead")?;
    let of = (death.change.generation, death.change.incarnation);
    let mut verdicts = history.verdicts.iter();
    (!verdicts.any(|verdict| (verdict.generation, verdict.incarnation) == of)).then_some(death)
}

fn declared(history: &NodeHistory, name: &str, verdict: &DeathVerdict) -> String {
    let ago = span(history.now - verdict.decided_at);
    let accuser = called(&verdict.accuser);
    format!("{name} was declared dead {ago} ago by {accuser}: {}.", reasons(verdict))
}

/// What spoke for a verdict, as part of a sentence.
pub(super) fn reasons(verdict: &DeathVerdict) -> String {
    let mut reasons = Vec::new();
    if verdict.tries > 0 {
        let pings = count(u64::from(verdict.tries), "ping");
        let through = match verdict.helpers {
            0 => String::new(),
            helpers => format!(", nor through {}", count(u64::from(helpers), "helper")),
        };
        reasons.push(format!("no answer to {pings}{through}"));
    }
    if !verdict.votes.is_empty() {
        let voted = |vote: &str| verdict.votes.iter().filter(|cast| cast.vote == vote).count();
        let all = verdict.votes.len();
        let mut text = format!("{} of {all} other observers had no answer either", voted("no"));
        for (vote, words) in
            [("alive", "had one"), ("abstain", "abstained"), ("silent", "did not vote")]
        {
            match voted(vote) {
                0 => {}
                many => text.push_str(&format!(", {many} {words}")),
            }
        }
        reasons.push(text);
    }
    let rule = match verdict.rule.as_str() {
        "fallback" => "too few observers answered, and nobody had a sign of life",
        "unreachable" => "that node reached nobody who could help, and holds it for dead by itself",
        "hearsay" => {
            "others told of the death, and the node did not answer the pings that followed"
        }
        "timeout" => "the suspicion was not refuted in time",
        _ => "",
    };
    if !rule.is_empty() {
        reasons.push(rule.to_owned());
    }
    if verdict.health > 0 {
        let health = verdict.health;
        reasons.push(format!("the accuser's own health was {health} (0 is the best)"));
    }
    reasons.push(format!("open for {:.1} s", verdict.open_seconds));
    reasons.join("; ")
}

/// What happened to a member, as what follows its name.
pub(super) fn happened(change: &MemberChange) -> String {
    let words = match change.change.as_str() {
        "alive" => "is alive",
        "suspect" => "is suspect",
        "dead" => "is dead",
        "replaced" => "was replaced by a new node with its name and address",
        "reaped" => "was forgotten",
        // `joined`, `left` and `updated` are words already.
        other => other,
    };
    match (&change.previous_address, &change.address) {
        (Some(before), Some(after)) => format!("{words}, moved from {before} to {after}"),
        _ => words.to_owned(),
    }
}

/// A member by its name, or by its id.
pub(super) fn called(node: &NodeRef) -> &str {
    node.name.as_deref().unwrap_or(&node.node_id)
}

fn votes(verdict: &DeathVerdict, output: &Output) -> String {
    let columns = [("Observer", Fit::Whole), ("Vote", Fit::Whole), ("After", Fit::Whole)];
    let mut table = output.table(Stream::Stdout, &columns);
    for cast in &verdict.votes {
        let tone = match cast.vote.as_str() {
            "no" => Tone::Bad,
            "alive" => Tone::Good,
            _ => Tone::Faint,
        };
        let after = cast.after_seconds.map(|after| format!("{:.0} ms", after * 1_000.0));
        table.add_row([
            output.cell(called(&cast.voter)),
            output.toned_cell(Stream::Stdout, &cast.vote, tone),
            output.cell(after.as_deref().unwrap_or_default()),
        ]);
    }
    format!("\n{}", output.table_text(&table))
}

fn changes(history: &NodeHistory, output: &Output) -> String {
    let columns =
        [("Ago", Fit::Whole), ("Change", Fit::Wrap { cells_min: 10 }), ("Start", Fit::Whole)];
    let mut table = output.table(Stream::Stdout, &columns);
    for past in history.changes.iter().rev().take(CHANGES_MAX) {
        let tone = state_tone(&past.change.change);
        table.add_row([
            output.cell(&span(history.now - past.at)),
            output.toned_cell(Stream::Stdout, &happened(&past.change), tone),
            output.cell(&past.change.generation.to_string()),
        ]);
    }
    format!("\n{}", output.table_text(&table))
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A time in seconds as people say it: `2.4 s`, `14 s`, `3 min`, `1 h`.
fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    match seconds {
        ..9.95 => format!("{seconds:.1} s"),
        ..119.5 => format!("{seconds:.0} s"),
        ..3_570.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_do() {
        let rows = [
            (-1.0, "0.0 s"),
            (2.44, "2.4 s"),
            (9.96, "10 s"),
            (119.0, "119 s"),
            (150.0, "2 min"),
            (3_599.0, "1 h"),
            (f64::NAN, "0.0 s"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(span(seconds), expected, "{seconds}");
        }
    }
}
