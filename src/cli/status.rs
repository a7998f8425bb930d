//! `status`: the daemon itself.

use std::time::Duration;

use crate::api::types::{MeshStatus, SystemStatus};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Output, Stream, Tone, state_tone};

pub(super) const EXAMPLES: &str = "\
Examples:
  astromeshctl status
  astromeshctl status --json | jq -r .mesh.status";

/// How long to wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(global: &Global, output: &Output) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "system", "status"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let status: SystemStatus = answer.read()?;
    output.line(Stream::Stdout, &text(&status, output))?;
    for problem in &status.provider_problems {
        let label = output.paint(Stream::Stdout, Tone::Bad, "broken file:");
        let problem = output.printable(Stream::Stdout, problem);
        output.line(Stream::Stdout, &format!("\n{label} {problem}"))?;
    }
    Ok(())
}

fn text(status: &SystemStatus, output: &Output) -> String {
    let mesh =
        status.mesh.as_ref().map_or_else(|| "off".to_owned(), |mesh| mesh_line(mesh, output));
    let rows = [
        ("Version", output.printable(Stream::Stdout, &status.version)),
        ("PID", status.pid.to_string()),
        ("Mode", output.printable(Stream::Stdout, &status.mode)),
        ("Uptime", duration(status.uptime_seconds)),
        ("Agents Loaded", status.agents_loaded.to_string()),
        ("Mesh", mesh),
    ];
    output.rows(Stream::Stdout, &rows)
}

fn mesh_line(mesh: &MeshStatus, output: &Output) -> String {
    let state = output.printable(Stream::Stdout, &mesh.status);
    let state = output.paint(Stream::Stdout, state_tone(&mesh.status), &state);
    let name = output.printable(Stream::Stdout, &mesh.node_name);
    let noun = if mesh.cluster_size == 1 { "member" } else { "members" };
    format!("{state} as {name}, {} {noun}", mesh.cluster_size)
}

/// Seconds as people say them: `3d 4h`, `2h 5m`, `1m 7s`, `9s`.
fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (days, hours) = (whole / 86_400, whole / 3_600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_two_units() {
        let rows = [
            (0.4, "0s"),
            (59.9, "59s"),
            (67.0, "1m 7s"),
            (7_500.0, "2h 5m"),
            (273_600.0, "3d 4h"),
            (-1.0, "0s"),
            (f64::NAN, "0s"),
        ];
        for (given, expected) in rows {
            assert_eq!(duration(given), expected);
        }
    }
}
