//! A connection that has changed its protocol, such as a WebSocket: bytes both ways, unread.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::client::Client;
use super::exchange::Lane;
use super::link::{Link, READ_BYTES_MIN};
use super::settings::{WINDOW_BYTES, after};
use super::timer::earlier;
use crate::telemetry::labels::Deadline;

/// Bytes that were written so far.
#[derive(Default)]
struct Passed {
    up: u64,
    down: u64,
}

/// Copies until one side ends or breaks, nothing has passed either way for too long, or the time
/// for all is over; what the side that ends had said is written first. What was read ahead on
/// either side goes first. Returns the number of bytes written to the client, and the deadline that
/// ended it.
pub(super) async fn run(
    lane: &mut Lane,
    link: &mut Link,
    (idle, total): (Option<Duration>, Option<Instant>),
) -> (u64, Option<Deadline>) {
    let mut empty = BytesMut::new();
    let mut passed = Passed::default();
    let mut moved = Instant::now();
    let ended = poll_fn(|context| {
        let Lane { client, reply, down, timer, .. } = &mut *lane;
        if client.is_cut() {
            return Poll::Ready(None);
        }
        let before = passed.up + passed.down;
        // Both are asked each time, so that neither goes without being woken.
        let up = poll_up(context, client, link, (&mut empty, &mut passed.up));
        let down = poll_down(context, client, link, (&mut *reply, down), &mut passed.down);
        if up.is_ready() || down.is_ready() {
            return Poll::Ready(None);
        }
        if passed.up + passed.down > before {
            moved = Instant::now();
        }
        ready!(timer.poll_at(context, earlier(after(moved, idle), total)));
        let is_total = total.is_some_and(|total| total <= Instant::now());
        Poll::Ready(Some(if is_total { Deadline::Total } else { Deadline::Idle }))
    })
    .await;
    (passed.down, ended)
}

fn poll_up(
    context: &mut Context<'_>,
    client: &mut Client,
    link: &mut Link,
    (empty, passed): (&mut BytesMut, &mut u64),
) -> Poll<()> {
    loop {
        if !client.input.is_empty() {
            let Ok(written) = ready!(link.poll_write(context, empty, &client.input)) else {
                return Poll::Ready(());
            };
            client.input.advance(written);
            *passed += written as u64;
        } else if let Ok(0) | Err(_) = ready!(client.poll_more(context)) {
            return Poll::Ready(());
        }
    }
}

fn poll_down(
    context: &mut Context<'_>,
    client: &mut Client,
    link: &mut Link,
    (head, down): (&mut BytesMut, &mut BytesMut),
    passed: &mut u64,
) -> Poll<()> {
    let mut room = READ_BYTES_MIN;
    loop {
        if !head.is_empty() || !down.is_empty() {
            let Ok(written) = ready!(client.poll_write(context, head, down)) else {
                return Poll::Ready(());
            };
            down.advance(written);
            *passed += written as u64;
        } else {
            match ready!(link.poll_read(context, down, room)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(count) if count >= room => room = (room * 2).min(WINDOW_BYTES),
                Ok(_) => {}
            }
        }
    }
}
