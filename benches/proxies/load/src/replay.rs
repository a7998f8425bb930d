//! An open loop: the requests of a plan, each at its time.
//!
//! `bench-load replay --plan FILE --target ADDR,ADDR… QUESTION [--timeout-ms N]`. A line of the plan
//! is `AT_US TARGET SECONDS ID KEY`: microseconds after the start, which of the targets, how long
//! the work takes or `-` for as long as it takes, a number, and an idempotency key or `-`. Each
//! answer leaves a line on standard output, with `-` for nothing:
//! `ID TARGET DUE_US SENT_US DONE_US STATUS OUTCOME NODE RETRY_AFTER`. The outcome is `ok` for
//! whatever answer was whole.

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::arguments::{Arguments, Error};
use crate::client::{Answer, Connection, Fault, Question};
use crate::clock::now_us;

struct Planned {
    at_us: u64,
    target: usize,
    seconds: Option<f64>,
    id: u64,
    key: Option<String>,
}

struct Replay {
    question: Question,
    targets: Vec<SocketAddr>,
    timeout: Duration,
    /// Idle connections of each target, with the time since when; the last used on top.
    idle: RefCell<Vec<Vec<(Instant, Connection)>>>,
}

/// Time between reading the plan and its start.
const LEAD: Duration = Duration::from_millis(300);
/// Older connections are not used again: the server may be about to close them.
const IDLE_MAX: Duration = Duration::from_secs(2);

pub async fn run(mut arguments: Arguments) -> Result<(), Error> {
    let plan = arguments.take("plan").ok_or("--plan is missing")?;
    let targets = arguments.addresses("target")?;
    let timeout = Duration::from_millis(arguments.number("timeout-ms", 60_000)?);
    let question = Question::take(&mut arguments)?;
    arguments.finish()?;
    let plan = read_plan(&std::fs::read_to_string(plan)?, targets.len())?;
    let idle = RefCell::new(targets.iter().map(|_| Vec::new()).collect());
    let replay = Rc::new(Replay { question, targets, timeout, idle });
    LocalSet::new().run_until(send_all(plan, replay)).await
}

async fn send_all(plan: Vec<Planned>, replay: Rc<Replay>) -> Result<(), Error> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    let start = Instant::now() + LEAD;
    let start_us = now_us() + LEAD.as_micros() as u64;
    tokio::task::spawn_local(async move {
        for planned in plan {
            sleep_until(start + Duration::from_micros(planned.at_us)).await;
            let (replay, sender) = (replay.clone(), sender.clone());
            tokio::task::spawn_local(async move {
                let line = replay.send(&planned, start_us).await;
                sender.send(line).expect("read until all senders are gone");
            });
        }
    });
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some(line) = lines.recv().await {
        writeln!(output, "{line}")?;
    }
    Ok(output.flush()?)
}

impl Replay {
    async fn send(&self, planned: &Planned, start_us: u64) -> String {
        let Planned { at_us, target, seconds, id, key } = planned;
        let address = self.targets[*target];
        let wishes = seconds.map_or_else(String::new, |seconds| format!(",\"seconds\":{seconds}"));
        let request = self.question.request(address, *id, key.as_deref(), &wishes);
        let sent_us = now_us();
        let outcome = timeout(self.timeout, self.exchange(*target, &request)).await;
        let done_us = now_us();
        let (answer, outcome) = match outcome.unwrap_or(Err(Fault::Timeout)) {
            Ok(answer) => (answer, "ok"),
            Err(fault) => (Answer::default(), fault.name()),
        };
        let Answer { status, node, retry_after, .. } = answer;
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let (node, retry_after) = (or_dash(node).replace(' ', "_"), or_dash(retry_after));
        let due_us = start_us + at_us;
        format!(
            "{id} {target} {due_us} {sent_us} {done_us} {status} {outcome} {node} {retry_after}"
        )
    }

    async fn exchange(&self, target: usize, request: &[u8]) -> Result<Answer, Fault> {
        let mut connection = match self.idle_connection(target) {
            Some(connection) => connection,
            None => Connection::open(self.targets[target]).await?,
        };
        let answer = connection.exchange(request, |_| {}).await?;
        if connection.is_reusable {
            self.idle.borrow_mut()[target].push((Instant::now(), connection));
        }
        Ok(answer)
    }

    fn idle_connection(&self, target: usize) -> Option<Connection> {
        let idle = &mut self.idle.borrow_mut()[target];
        let (since, connection) = idle.pop()?;
        if since.elapsed() > IDLE_MAX {
            // Those below it are older still.
            idle.clear();
            return None;
        }
        connection.is_open().then_some(connection)
    }
}

fn read_plan(text: &str, targets: usize) -> Result<Vec<Planned>, Error> {
    let mut plan = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [at_us, target, seconds, id, key] = words[..] else {
            return Err(format!("no line of a plan: {line}").into());
        };
        let planned = Planned {
            at_us: at_us.parse()?,
            target: target.parse()?,
            seconds: if seconds == "-" { None } else { Some(seconds.parse()?) },
            id: id.parse()?,
            key: (key != "-").then(|| key.to_owned()),
        };
        if planned.target >= targets {
            return Err(format!("no such target: {line}").into());
        }
        plan.push(planned);
    }
    Ok(plan)
}
