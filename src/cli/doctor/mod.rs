//! `doctor`: what is wrong with a node, and what to do about it.
//!
//! The daemon examines itself. Where none answers, this process looks at what can be seen without
//! it; see `local`.

mod local;

use std::time::Duration;

use super::Global;
use super::client::{self, Client};
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};
use crate::api::types::{Check, CheckStatus, DoctorReport};

/// A report takes five seconds at most, and may have to wait for another one.
const PATIENCE: Duration = Duration::from_secs(12);

const UNHEALTHY: u8 = 1;
const NO_DAEMON: u8 = 3;

pub(super) const EXAMPLES: &str = "\
Examples:
  astromeshctl doctor
  astromeshctl doctor --json | jq -r '.checks | to_entries[] | select(.value.status != \"ok\").key'";

pub(super) async fn run(global: &Global, output: &Output) -> Result<(), Failure> {
    let asked = Client::new(global, PATIENCE)?.get(&["v1", "system", "doctor"]).await;
    let asked = asked.and_then(|answer| Ok((answer.read::<DoctorReport>()?, answer.text)));
    let (report, json, exit_code) = match asked {
        Ok((report, text)) => (report, text, UNHEALTHY),
        Err(failure) if is_no_daemon(&failure) => {
            let report = local::report(&client::daemon(global)?, &failure);
            let json = serde_json::to_string(&report).unwrap_or_default();
            (report, json, NO_DAEMON)
        }
        Err(failure) => return Err(failure),
    };
    match output.format {
        Format::Json => output.json(&json)?,
        Format::Text => output.line(Stream::Stdout, &text(&report, output))?,
    }
    if report.healthy { Ok(()) } else { Err(Failure::Told { exit_code }) }
}

/// Nothing at the URL talks like a daemon.
const fn is_no_daemon(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unreachable { .. } | Failure::Timeout { .. } | Failure::Unintelligible { .. }
    )
}

fn text(report: &DoctorReport, output: &Output) -> String {
    let stream = Stream::Stdout;
    let bad = report.checks.values().filter(|check| check.status != CheckStatus::Ok).count();
    let verdict = if report.healthy {
        output.paint(stream, Tone::Good, "System Healthy")
    } else {
        let verdict = output.paint(stream, Tone::Bad, "System Unhealthy");
        format!("{verdict}: {bad} of {} checks are not ok", report.checks.len())
    };
    let columns = [
        ("Check", Fit::Wrap { cells_min: 18 }),
        ("Status", Fit::Whole),
        ("Message", Fit::Wrap { cells_min: 36 }),
    ];
    let mut table = output.table(stream, &columns);
    // What needs somebody comes first.
    let mut rows: Vec<(&String, &Check)> = report.checks.iter().collect();
    rows.sort_by_key(|(_, check)| check.status == CheckStatus::Ok);
    for (name, check) in rows {
        table.add_row([
            output.cell(name),
            output.toned_cell(stream, check.status.name(), tone(check.status)),
            output.cell(&check.message),
        ]);
        if let Some(remedy) = &check.remedy {
            table.add_row([
                output.cell(""),
                output.toned_cell(stream, "try:", Tone::Strong),
                output.cell(remedy),
            ]);
        }
    }
    format!("{verdict}\n\n{}", output.table_text(&table))
}

const fn tone(status: CheckStatus) -> Tone {
    match status {
        CheckStatus::Ok => Tone::Good,
        CheckStatus::Degraded => Tone::Doubtful,
        CheckStatus::Error | CheckStatus::Unavailable | CheckStatus::Unreachable => Tone::Bad,
    }
}
