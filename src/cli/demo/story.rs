//! The demo's acts, in their order.
//!
//! Owns what is told; what is true is read from the nodes. An act that does not show what it
//! promises is told as it went, and the demo fails in the end.

use std::cell::Cell;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cli::failure::Failure;
use crate::cli::output::Tone;

use super::fleet::{Fleet, SIZE};
use super::model::Model;
use super::report::{Comeback, Kill, Report, Started};
use super::stage::{Stage, time};
use super::traffic::{self, Tally, Volume};
use super::view::{self, Sighting};

/// The worker that is killed: its place among the nodes.
const VICTIM: usize = 2;

/// How long the survivors may take to know of the death. The detection promises 10 s.
const DEATH_PATIENCE: Duration = Duration::from_secs(30);

/// How long requests run before the kill, so that some are in flight on the victim.
const BEFORE_KILL: Duration = Duration::from_millis(700);

/// How much is sent, and how long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Requests of the second act.
    pub(super) requests: usize,
    /// No more than this in the third act, however long it takes.
    pub(super) meanwhile_max: usize,
    /// How many at the same time.
    pub(super) in_flight_max: usize,
    /// How long an answer may take.
    pub(super) patience: Duration,
}

/// Tells the first four acts; what was lost on the way.
pub(super) async fn tell(
    stage: &Stage<'_>,
    fleet: &mut Fleet,
    report: &mut Report,
    model: &Model,
    load: Load,
) -> Result<(), Failure> {
    form(stage, fleet, report, model).await?;
    let spread = spread(stage, fleet, load).await?;
    let mut lost = spread.lost;
    report.spread = Some(spread);
    let kill = lose_one(stage, fleet, load).await?;
    lost += kill.requests.lost;
    let unaware = kill.sightings.iter().any(|sighting| sighting.dead_ms.is_none());
    report.kill = Some(kill);
    report.comeback = Some(bring_back(stage, fleet).await?);
    let failure = |message| Err(Failure::Demo { message });
    if lost > 0 {
        return failure(format!("{lost} requests were lost"));
    }
    if unaware {
        let seconds = DEATH_PATIENCE.as_secs();
        return failure(format!("not every survivor knew of the death within {seconds} s"));
    }
    if report.comeback.as_ref().is_some_and(|comeback| !comeback.same_id) {
        return failure("the worker came back under another id".to_owned());
    }
    Ok(())
}

async fn form(
    stage: &Stage<'_>,
    fleet: &mut Fleet,
    report: &mut Report,
    model: &Model,
) -> Result<(), Failure> {
    stage.headline("Four nodes find each other")?;
    let begun = Instant::now();
    let wait = stage.wait("starting four processes")?;
    fleet.start(model).await?;
    drop(wait);
    stage.good(&format!("four processes answer after {}", time(begun.elapsed())))?;
    let wait = stage.wait("waiting until each knows all the others")?;
    let views = fleet.agreement().await?;
    drop(wait);
    report.formed_ms = milliseconds(begun.elapsed());
    let text = format!("four views of four alive members after {}", time(begun.elapsed()));
    stage.good(&text)?;
    for node in &fleet.nodes {
        let name = node.plan.name.to_owned();
        report.nodes.push(Started { name, url: node.plan.url(), pid: node.pid });
    }
    stage.members(&views[0])
}

async fn spread(stage: &Stage<'_>, fleet: &Fleet, load: Load) -> Result<Tally, Failure> {
    let Load { requests, in_flight_max, .. } = load;
    stage.headline(&format!("{requests} requests through the gateway"))?;
    stage.note(&format!(
        "The gateway runs no agent: it asks the worker with the fewest requests in flight.\n\
         {in_flight_max} at a time, each with an Idempotency-Key: it may be asked again elsewhere."
    ))?;
    let begun = Instant::now();
    let wait = stage.wait("asking")?;
    let volume = Volume { total_max: requests, in_flight_max };
    let gateway = fleet.gateway(load.patience)?;
    let progress =
        |tally: &Tally| wait.update(format!("{} of {requests} answered", tally.answered));
    let tally = traffic::send(&gateway, volume, || true, progress).await;
    drop(wait);
    tell_tally(stage, &tally, &format!("in {}", time(begun.elapsed())))?;
    Ok(tally)
}

fn tell_tally(stage: &Stage<'_>, tally: &Tally, when: &str) -> Result<(), Failure> {
    let text =
        format!("{} sent, {} answered, {} lost {when}", tally.sent, tally.answered, tally.lost);
    if tally.lost == 0 {
        stage.good(&text)?;
    } else {
        stage.bad(&text)?;
    }
    for reason in &tally.reasons {
        stage.note(reason)?;
    }
    stage.bars(tally.by_node.iter().map(|(node, count)| (node.as_str(), *count)))
}

async fn lose_one(stage: &Stage<'_>, fleet: &mut Fleet, load: Load) -> Result<Kill, Failure> {
    let (name, pid) = (fleet.nodes[VICTIM].plan.name, fleet.nodes[VICTIM].pid);
    stage.headline(&format!("kill -9 {pid}: {name} is gone, requests keep coming"))?;
    let before = view::of(&fleet.nodes[0].client).await;
    let victim = before.as_ref().and_then(|before| view::named(before, name));
    let Some(victim_id) = victim.map(|node| node.node_id.clone()) else {
        return Err(fleet.explain(0, &format!("does not know {name}")));
    };
    let led = before.as_ref().and_then(|before| before.leader_id.clone());

    let gateway = fleet.gateway(load.patience)?;
    let wait = stage.wait("asking, killing, watching")?;
    let going_on = Cell::new(true);
    let volume = Volume { total_max: load.meanwhile_max, in_flight_max: load.in_flight_max };
    let progress = |tally: &Tally| {
        wait.update(format!("{} answered, {} lost", tally.answered, tally.lost));
    };
    let requests = traffic::send(&gateway, volume, || going_on.get(), progress);
    let deaths = async {
        sleep(BEFORE_KILL).await;
        let outcome = kill_and_watch(fleet, &victim_id).await;
        going_on.set(false);
        outcome
    };
    let (requests, sightings) = tokio::join!(requests, deaths);
    drop(wait);
    let sightings = sightings?;
    tell_sightings(stage, &sightings)?;
    tell_tally(stage, &requests, "from before the kill until all knew")?;
    if led.as_ref() == Some(&victim_id) {
        let after = view::of(&fleet.nodes[0].client).await;
        let leader = after.as_ref().and_then(view::leader);
        let leader = leader.map_or("nobody", |node| node.name.as_str());
        stage.good(&format!("{name} led; now {leader} does"))?;
    }
    Ok(Kill { victim: name.to_owned(), sightings, requests })
}

async fn kill_and_watch(fleet: &mut Fleet, victim_id: &str) -> Result<Vec<Sighting>, Failure> {
    let mut watches = JoinSet::new();
    let killed_at = Instant::now();
    fleet.nodes[VICTIM].kill().await?;
    for (index, node) in fleet.nodes.iter().enumerate() {
        if index != VICTIM {
            let (client, survivor) = (node.client.clone(), node.plan.name);
            let victim_id = victim_id.to_owned();
            watches.spawn(async move {
                let watch =
                    view::watch_death(&client, survivor, &victim_id, killed_at, DEATH_PATIENCE);
                (index, watch.await)
            });
        }
    }
    let mut sightings = watches.join_all().await;
    sightings.sort_by_key(|(index, _)| *index);
    Ok(sightings.into_iter().map(|(_, sighting)| sighting).collect())
}

fn tell_sightings(stage: &Stage<'_>, sightings: &[Sighting]) -> Result<(), Failure> {
    let mut table = stage.new_table(&["Survivor", "saw it suspect", "saw it dead"]);
    let after = |seen: Option<u64>, otherwise: &str| {
        seen.map_or_else(|| otherwise.to_owned(), |ms| format!("after {ms} ms"))
    };
    for Sighting { survivor, suspect_ms, dead_ms } in sightings {
        table.add_row([survivor.clone(), after(*suspect_ms, "-"), after(*dead_ms, "not yet")]);
    }
    stage.table(table)?;
    match sightings.iter().map(|sighting| sighting.dead_ms).collect::<Option<Vec<u64>>>() {
        Some(all) => {
            let last = Duration::from_millis(all.into_iter().max().unwrap_or(0));
            stage.good(&format!("all survivors know after {}", time(last)))
        }
        None => stage.bad(&format!("not all survivors know after {}", time(DEATH_PATIENCE))),
    }
}

async fn bring_back(stage: &Stage<'_>, fleet: &mut Fleet) -> Result<Comeback, Failure> {
    let plan = fleet.nodes[VICTIM].plan.clone();
    stage.headline(&format!("{} comes back", plan.name))?;
    let known = view::of(&fleet.nodes[0].client).await;
    let id_before =
        known.as_ref().and_then(|known| view::named(known, plan.name)).map(|n| n.node_id.clone());
    let begun = Instant::now();
    let wait = stage.wait("starting it again with the same data directory")?;
    fleet.nodes[VICTIM] = plan.start()?;
    let views = fleet.agreement().await?;
    drop(wait);
    let elapsed = begun.elapsed();
    let members = views[0].nodes.len();
    let id_after = view::named(&views[0], plan.name).map(|node| node.node_id.clone());
    let same_id = id_after.is_some() && id_after == id_before;
    let text = format!("{members} members, all alive in all {SIZE} views after {}", time(elapsed));
    stage.good(&text)?;
    let id = stage.paint(Tone::Faint, &id_after.unwrap_or_default());
    if same_id {
        stage.good(&format!("the same member as before, no ghost of it: {id}"))?;
    } else {
        stage.bad(&format!("another id than before: {id}"))?;
    }
    stage.members(&views[0])?;
    Ok(Comeback { rejoined_ms: milliseconds(elapsed), same_id, members })
}

/// For the report.
pub(super) fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
