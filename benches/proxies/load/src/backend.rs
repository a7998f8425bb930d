//! The server: what stands behind the proxies, and what the slow agent of the nodes is.
//!
//! `bench-load backend --bind ADDR,ADDR [--delay-ms N] [--slots N] [--log FILE]`
//!
//! GET is answered with 200 bytes of JSON, POST with 2 KiB; both after `--delay-ms`. The first
//! bytes of a POST body may ask for something else: `"seconds":0.8` to take so long, `"events":20`
//! for a stream of that many, `"gap_ms":20` apart. With `--slots` only so many requests are worked
//! on at a time, the others wait in their order. With `--log` each request leaves two lines:
//! `ADDR ID KEY STARTED_US 0 started`, `ADDR ID KEY STARTED_US ENDED_US finished|cancelled`.
//!
//! Framing by `Content-Length` only, since none of the clients sends anything else.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::arguments::{Arguments, Error};
use crate::clock::now_us;
use crate::event;

struct Behaviour {
    delay: Duration,
    slots: Semaphore,
    log: Option<File>,
    document: Vec<u8>,
    answer: Vec<u8>,
}

/// What one request asks for.
#[derive(Debug, Default)]
struct Wish {
    length: usize,
    is_post: bool,
    closes: bool,
    id: String,
    key: String,
    work: Duration,
    events: u32,
    gap: Duration,
}

/// Longest head plus body; none of the clients sends more than 5 KiB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Wishes stand in the first bytes of a body; the rest is padding.
const WISH_BYTES: usize = 256;

pub async fn run(mut arguments: Arguments) -> Result<(), Error> {
    let addresses = arguments.addresses("bind")?;
    let delay = Duration::from_millis(arguments.number("delay-ms", 0)?);
    let slots = Semaphore::new(arguments.number("slots", Semaphore::MAX_PERMITS)?);
    let log = match arguments.take("log") {
        Some(path) => Some(File::options().create(true).append(true).open(path)?),
        None => None,
    };
    arguments.finish()?;
    let (document, answer) = (plain_answer(200), plain_answer(2048));
    let behaviour: &'static Behaviour =
        Box::leak(Box::new(Behaviour { delay, slots, log, document, answer }));
    let mut last = None;
    for address in addresses {
        let listener = TcpListener::bind(address).await?;
        last = Some(tokio::spawn(accept(listener, address, behaviour)));
    }
    Ok(last.expect("at least one address").await?)
}

async fn accept(listener: TcpListener, address: SocketAddr, behaviour: &'static Behaviour) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // A connection that breaks is the client's affair.
            tokio::spawn(async move { serve(stream, address, behaviour).await.ok() });
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    behaviour: &'static Behaviour,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        let wish = match read_wish(&buffer, behaviour)? {
            Some(wish) if buffer.len() >= wish.length => wish,
            Some(wish) if wish.length > REQUEST_BYTES_MAX => return Ok(()),
            _ if buffer.len() > REQUEST_BYTES_MAX => return Ok(()),
            _ => {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
                continue;
            }
        };
        buffer.advance(wish.length);
        let done = answer(&mut stream, address, &wish, behaviour).await;
        if let Some(started) = done.started {
            let how = if done.result.is_ok() { "finished" } else { "cancelled" };
            behaviour.note(address, &wish, started, now_us(), how);
        }
        done.result?;
        if wish.closes {
            return Ok(());
        }
    }
}

/// What became of one request.
struct Done {
    /// When its work began, if somebody keeps a log.
    started: Option<u64>,
    /// An error if the client left before the end.
    result: io::Result<()>,
}

async fn answer(
    stream: &mut TcpStream,
    address: SocketAddr,
    wish: &Wish,
    behaviour: &'static Behaviour,
) -> Done {
    let slot = match behaviour.slots.try_acquire() {
        Ok(slot) => slot,
        Err(_) => tokio::select! {
            slot = behaviour.slots.acquire() => slot.expect("never closed"),
            error = client_gone(stream) => return Done { started: None, result: Err(error) },
        },
    };
    let started = behaviour.log.is_some().then(now_us);
    if let Some(now) = started {
        behaviour.note(address, wish, now, 0, "started");
    }
    let result = work(stream, wish, behaviour).await;
    drop(slot);
    Done { started, result }
}

impl Behaviour {
    /// A line of the log, written at once: the process may be killed.
    fn note(&self, address: SocketAddr, wish: &Wish, started: u64, ended: u64, how: &str) {
        if let Some(mut log) = self.log.as_ref() {
            let Wish { id, key, .. } = wish;
            let line = format!("{address} {id} {key} {started} {ended} {how}\n");
            log.write_all(line.as_bytes()).expect("the log can be written");
        }
    }
}

async fn work(stream: &mut TcpStream, wish: &Wish, behaviour: &Behaviour) -> io::Result<()> {
    if wish.events > 0 {
        return send_events(stream, wish).await;
    }
    if !wish.work.is_zero() {
        let until = Instant::now() + wish.work;
        // Whose client is gone when its work ends has not finished.
        tokio::select! {
            biased;
            error = client_gone(stream) => return Err(error),
            () = sleep_until(until) => {}
        }
    }
    let bytes = if wish.is_post { &behaviour.answer } else { &behaviour.document };
    stream.write_all(bytes).await
}

/// One write for the head, one for each event.
async fn send_events(stream: &mut TcpStream, wish: &Wish) -> io::Result<()> {
    // nginx buffers unless it is told otherwise, here as a server of a language model would.
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
              X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await?;
    let mut due = Instant::now();
    for number in 1..=wish.events {
        let event = event::write(number, number == wish.events);
        let end = if number == wish.events { "0\r\n\r\n" } else { "" };
        let chunk = format!("{:x}\r\n{event}\r\n{end}", event.len());
        stream.write_all(chunk.as_bytes()).await?;
        if number < wish.events {
            due += wish.gap;
            tokio::select! {
                biased;
                error = client_gone(stream) => return Err(error),
                () = sleep_until(due) => {}
            }
        }
    }
    Ok(())
}

/// Returns when the client has closed or broken the connection.
async fn client_gone(stream: &TcpStream) -> io::Error {
    match stream.peek(&mut [0]).await {
        Ok(0) => io::ErrorKind::UnexpectedEof.into(),
        // The next request is there already, so the client is too.
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}

/// What the request at the start of the buffer asks for; none before its head is whole. The body
/// may still be on its way: then `length` is more than the buffer has.
fn read_wish(buffer: &[u8], behaviour: &Behaviour) -> io::Result<Option<Wish>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let parsed = head.parse(buffer).map_err(|_| io::ErrorKind::InvalidData)?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let mut wish = Wish { is_post: head.method == Some("POST"), ..Wish::default() };
    wish.length = head_bytes;
    wish.work = behaviour.delay;
    wish.key.push('-');
    for header in head.headers.iter() {
        let value = str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            wish.length = head_bytes.saturating_add(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::ErrorKind::Unsupported.into());
        } else if header.name.eq_ignore_ascii_case("connection") {
            wish.closes = value.eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case("idempotency-key") {
            value.clone_into(&mut wish.key);
        }
    }
    let body = &buffer[head_bytes..buffer.len().min(wish.length).min(head_bytes + WISH_BYTES)];
    let body = str::from_utf8(body).unwrap_or_default();
    if body.starts_with("{\"query\"") {
        let number = |key| event::number(body, key);
        wish.work = number("\"seconds\":").map_or(wish.work, Duration::from_secs_f64);
        wish.events = number("\"events\":").unwrap_or(0.0) as u32;
        wish.gap = Duration::from_millis(number("\"gap_ms\":").unwrap_or(0.0) as u64);
        wish.id = number("\"id\":").map_or_else(|| "-".to_owned(), |id| format!("{id}"));
    } else {
        wish.id.push('-');
    }
    Ok(Some(wish))
}

/// A whole answer with so many bytes of JSON.
fn plain_answer(body_bytes: usize) -> Vec<u8> {
    let frame = "{\"name\":\"bench\",\"answer\":\"\"}";
    let filler = "x".repeat(body_bytes - frame.len());
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n\
         {{\"name\":\"bench\",\"answer\":\"{filler}\"}}"
    )
    .into_bytes()
}
