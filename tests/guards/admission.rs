//! Places, limits and the queue.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use astromesh::proxy::admission::{Admission, AgentLimit, Counts, Full, NotAdmitted, Permit};
use fastrand::Rng;
use tokio::task::{JoinSet, unconstrained};
use tokio::time::Instant;

const NO_LIMIT: AgentLimit<'_> = AgentLimit { name: "free", max_concurrent: 0 };

const fn limited(name: &str, max_concurrent: u32) -> AgentLimit<'_> {
    AgentLimit { name, max_concurrent }
}

type Entering<'a> = Pin<Box<dyn Future<Output = Result<Permit, NotAdmitted>> + 'a>>;

/// One who wants a place and is ready to wait, already polled once. Unconstrained, since one poll
/// of a test polls these more often than tokio lets a task do it.
fn waiting<'a>(admission: &'a Admission, agent: AgentLimit<'a>) -> Entering<'a> {
    let until = Instant::now() + Duration::from_secs(30);
    let mut entering: Entering<'a> = Box::pin(unconstrained(admission.enter_queued(agent, until)));
    assert!(poll(&mut entering).is_none(), "a place was free for {agent:?}");
    entering
}

fn poll(entering: &mut Entering<'_>) -> Option<Result<Permit, NotAdmitted>> {
    match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_full_node_refuses_until_a_place_is_given_back() {
    let admission = Admission::new(2, 0);
    let first = admission.try_enter(NO_LIMIT).unwrap();
    let _second = admission.try_enter(limited("a", 5)).unwrap();
    assert_eq!(admission.try_enter(NO_LIMIT).unwrap_err(), Full::Node);
    let until = Instant::now() + Duration::from_secs(1);
    let refused = admission.enter_queued(NO_LIMIT, until).await;
    assert_eq!(refused.unwrap_err(), NotAdmitted::QueueFull);
    drop(first);
    let _third = admission.try_enter(NO_LIMIT).unwrap();
    let expected =
        Counts { active: 2, refused_full: 1, refused_queue_full: 1, ..Counts::default() };
    assert_eq!(admission.counts(), expected);
}

#[test]
fn a_full_agent_leaves_the_others_alone() {
    let admission = Admission::new(0, 8);
    let _only = admission.try_enter(limited("a", 1)).unwrap();
    assert_eq!(admission.try_enter(limited("a", 1)).unwrap_err(), Full::Agent);
    let _other = admission.try_enter(limited("b", 1)).unwrap();
    let _free = admission.try_enter(NO_LIMIT).unwrap();
    assert_eq!(admission.active(), 3);
}

#[tokio::test]
async fn places_go_to_those_who_wait_longest() {
    let admission = Admission::new(1, 8);
    let place = admission.try_enter(NO_LIMIT).unwrap();
    let mut first = waiting(&admission, NO_LIMIT);
    let mut second = waiting(&admission, limited("a", 3));
    let mut third = waiting(&admission, NO_LIMIT);
    drop(place);
    assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
    let place = poll(&mut first).unwrap().unwrap();
    drop(place);
    assert!(poll(&mut third).is_none());
    let place = poll(&mut second).unwrap().unwrap();
    assert_eq!(admission.try_enter(NO_LIMIT).unwrap_err(), Full::Node);
    drop(place);
    let _place = poll(&mut third).unwrap().unwrap();
    assert_eq!(admission.counts().admitted_from_queue, 3);
}

#[tokio::test]
async fn who_waits_for_a_full_agent_is_overtaken_by_those_of_another() {
    let admission = Admission::new(2, 8);
    let of_a = admission.try_enter(limited("a", 1)).unwrap();
    let place = admission.try_enter(NO_LIMIT).unwrap();
    let mut next_of_a = waiting(&admission, limited("a", 1));
    let mut other = waiting(&admission, limited("b", 1));
    drop(place);
    assert!(poll(&mut next_of_a).is_none());
    let _place = poll(&mut other).unwrap().unwrap();
    drop(of_a);
    let _place = poll(&mut next_of_a).unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_that_is_full_leaves_room_in_the_queue_to_others() {
    let admission = Admission::new(2, 7);
    let _places =
        [limited("a", 1), limited("b", 1)].map(|agent| admission.try_enter(agent).unwrap());
    let mut queue: Vec<Entering<'_>> = Vec::new();
    // Half of the queue, then half of what is left.
    for (agent, share) in [(limited("a", 1), 4), (limited("b", 1), 2)] {
        queue.extend((0..share).map(|_| waiting(&admission, agent)));
        let until = Instant::now() + Duration::from_secs(30);
        let refused = admission.enter_queued(agent, until).await;
        assert_eq!(refused.unwrap_err(), NotAdmitted::QueueFull, "{agent:?}");
    }
    // Who has no limit may take the last place.
    queue.push(waiting(&admission, NO_LIMIT));
    assert_eq!((admission.queued(), admission.counts().refused_queue_full), (7, 2));
}

#[tokio::test]
async fn time_that_is_over_ends_the_wait_and_leaves_the_queue() {
    let admission = Admission::new(1, 1);
    let place = admission.try_enter(NO_LIMIT).unwrap();
    let outcome = admission.enter_queued(NO_LIMIT, Instant::now()).await;
    assert_eq!(outcome.unwrap_err(), NotAdmitted::TimedOut);
    let expected = Counts { active: 1, timed_out: 1, ..Counts::default() };
    assert_eq!(admission.counts(), expected);
    drop(place);
    // A free place is taken, however late.
    let _place = admission.enter_queued(NO_LIMIT, Instant::now()).await.unwrap();
}

#[tokio::test]
async fn a_place_granted_to_one_who_leaves_goes_to_the_next() {
    let admission = Admission::new(1, 8);
    let place = admission.try_enter(NO_LIMIT).unwrap();
    let granted = waiting(&admission, NO_LIMIT);
    let gone = waiting(&admission, NO_LIMIT);
    let mut last = waiting(&admission, NO_LIMIT);
    drop(place);
    drop(gone);
    assert!(poll(&mut last).is_none());
    drop(granted);
    let _place = poll(&mut last).unwrap().unwrap();
    assert_eq!((admission.active(), admission.queued()), (1, 0));
}

#[tokio::test]
async fn raised_limits_let_in_those_who_wait() {
    let admission = Admission::new(1, 8);
    let _place = admission.try_enter(limited("a", 1)).unwrap();
    let mut of_node = waiting(&admission, NO_LIMIT);
    admission.set_limits(0, 8);
    let _free = poll(&mut of_node).unwrap().unwrap();
    let mut of_agent = waiting(&admission, limited("a", 1));
    let _raised = admission.try_enter(limited("a", 3)).unwrap();
    let _waited = poll(&mut of_agent).unwrap().unwrap();
    assert_eq!(admission.try_enter(limited("a", 3)).unwrap_err(), Full::Agent);
}

/// What a random run keeps in mind about one who has a place or waits for one.
struct Known<'a> {
    agent: usize,
    entering: Entering<'a>,
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the seed of a failure, to run it again")]
async fn no_limit_is_exceeded_and_no_free_place_is_waited_for_whatever_happens() {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    for _ in 0..200 {
        let node_limit = rng.u32(0..6);
        random_run(&mut rng, node_limit);
    }
}

fn random_run(rng: &mut Rng, node_limit: u32) {
    let agents = [limited("a", 1), limited("b", 2), limited("c", 4), NO_LIMIT];
    let queue_max = 10;
    let admission = Admission::new(node_limit, queue_max);
    let mut served: Vec<(usize, Permit)> = Vec::new();
    let mut queue: Vec<Known<'_>> = Vec::new();
    let room = |served: &[(usize, Permit)], agent: usize| {
        let count = served.iter().filter(|(other, _)| *other == agent).count();
        let limit = agents[agent].max_concurrent as usize;
        (limit == 0 || count < limit) && (node_limit == 0 || served.len() < node_limit as usize)
    };
    for _ in 0..200 {
        let agent = rng.usize(0..agents.len());
        match rng.u32(0..4) {
            0 => match admission.try_enter(agents[agent]) {
                Ok(permit) => {
                    assert!(room(&served, agent));
                    served.push((agent, permit));
                }
                Err(_) => assert!(!room(&served, agent)),
            },
            1 => {
                let until = Instant::now() + Duration::from_secs(30);
                let mut entering: Entering<'_> =
                    Box::pin(unconstrained(admission.enter_queued(agents[agent], until)));
                match poll(&mut entering) {
                    Some(Ok(permit)) => served.push((agent, permit)),
                    Some(Err(refusal)) => {
                        assert_eq!(refusal, NotAdmitted::QueueFull);
                        let left = queue_max as usize - queue.len();
                        let same = queue.iter().filter(|known| known.agent == agent).count();
                        let has_share = agents[agent].max_concurrent > 0;
                        assert!(left == 0 || has_share && same >= left);
                    }
                    None => queue.push(Known { agent, entering }),
                }
            }
            2 if !served.is_empty() => {
                drop(served.swap_remove(rng.usize(0..served.len())));
            }
            _ if !queue.is_empty() => {
                drop(queue.remove(rng.usize(0..queue.len())));
            }
            _ => {}
        }
        // Those who got a place are the first of the queue whose agent had room, in this order.
        let mut index = 0;
        while index < queue.len() {
            let expected = room(&served, queue[index].agent);
            let outcome = poll(&mut queue[index].entering);
            assert_eq!(outcome.is_some(), expected, "waits at {index}");
            match outcome {
                Some(permit) => served.push((queue.remove(index).agent, permit.unwrap())),
                None => index += 1,
            }
        }
        assert_eq!(admission.active() as usize, served.len());
        assert_eq!(admission.queued() as usize, queue.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_gets_a_place_in_the_end_though_many_leave_while_they_wait() {
    let admission = Admission::new(3, 1_000);
    let served = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..32 {
        let (admission, served) = (admission.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let agent = if task % 2 == 0 { limited("a", 2) } else { NO_LIMIT };
            for round in 0..100 {
                let until = Instant::now() + Duration::from_secs(600);
                let entering = admission.enter_queued(agent, until);
                if (task + round) % 3 == 0 {
                    // Leaves in the middle of the wait, or of the grant.
                    tokio::select! {
                        biased;
                        _ = entering => {}
                        () = tokio::task::yield_now() => {}
                    }
                    continue;
                }
                let permit = entering.await.unwrap();
                assert!(served.fetch_add(1, Ordering::SeqCst) < 3);
                tokio::task::yield_now().await;
                served.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            }
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
    let counts = admission.counts();
    assert_eq!((counts.active, counts.queued, counts.timed_out), (0, 0, 0));
}
