//! A connection that has changed its protocol, such as a WebSocket: bytes both ways, unread.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};

use super::client::Client;
use super::exchange::Lane;
use super::link::{Link, READ_BYTES_MIN};
use super::settings::WINDOW_BYTES;

/// Copies until one side ends or breaks; what that side had said is written first. What was read
/// ahead on either side goes first. Returns the number of bytes written to the client.
pub(super) async fn run(lane: &mut Lane, link: &mut Link) -> u64 {
    let mut empty = BytesMut::new();
    let mut passed = 0;
    poll_fn(|context| {
        let Lane { client, reply, down, .. } = &mut *lane;
        // Both are asked each time, so that neither goes without being woken.
        let up = poll_up(context, client, link, &mut empty);
        let down = poll_down(context, client, link, (&mut *reply, down), &mut passed);
        if up.is_ready() || down.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    passed
}

fn poll_up(
    context: &mut Context<'_>,
    client: &mut Client,
    link: &mut Link,
    empty: &mut BytesMut,
) -> Poll<()> {
    loop {
        if !client.input.is_empty() {
            let Ok(written) = ready!(link.poll_write(context, empty, &client.input)) else {
                return Poll::Ready(());
            };
            client.input.advance(written);
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
