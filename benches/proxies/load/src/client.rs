//! The client's side of one connection: sends a request, reads the answer as it comes.
//!
//! Says of each exchange that went wrong in which way; repeats nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::arguments::{Arguments, Error};

/// Why there is no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No connection to the server.
    Refused,
    /// Closed or reset before the head of an answer.
    NoAnswer,
    /// Closed or reset within an answer.
    Truncated,
    /// Not HTTP/1.1 as we know it.
    Malformed,
    /// Not whole in time.
    Timeout,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
        }
    }
}

/// The head of an answer, as far as somebody here asks.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// `x-astromesh-node`, or empty.
    pub node: String,
    /// `retry-after`, or empty.
    pub retry_after: String,
    length: Option<usize>,
    is_chunked: bool,
    closes: bool,
}

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    pub is_reusable: bool,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await.map_err(|_| Fault::Refused)?;
        stream.set_nodelay(true).map_err(|_| Fault::Refused)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(16 * 1024), is_reusable: true })
    }

    /// Whether the server still keeps it, as far as one can see from here.
    pub fn is_open(&self) -> bool {
        let mut byte = [0];
        let seen = self.stream.try_read(&mut byte);
        matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// One request and its whole answer. `on_part` gets the content of each chunk, or what each
    /// read brings of a body that has a length.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        mut on_part: impl FnMut(&[u8]),
    ) -> Result<Answer, Fault> {
        self.is_reusable = false;
        self.stream.write_all(request).await.map_err(|_| Fault::NoAnswer)?;
        let answer = loop {
            if let Some((length, answer)) = read_head(&self.buffer)? {
                self.buffer.advance(length);
                // 100 Continue and the like come before the answer.
                if answer.status >= 200 {
                    break answer;
                }
                continue;
            }
            self.read().await.map_err(|()| Fault::NoAnswer)?;
        };
        if answer.is_chunked {
            while let Some(content) = self.next_chunk().await? {
                on_part(&content);
            }
        } else {
            let mut left = answer.length.ok_or(Fault::Malformed)?;
            while left > 0 {
                if self.buffer.is_empty() {
                    self.read().await.map_err(|()| Fault::Truncated)?;
                }
                let part = self.buffer.split_to(self.buffer.len().min(left));
                left -= part.len();
                on_part(&part);
            }
        }
        self.is_reusable = !answer.closes && self.buffer.is_empty();
        Ok(answer)
    }

    /// The content of the next chunk; none after the last one.
    async fn next_chunk(&mut self) -> Result<Option<BytesMut>, Fault> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = str::from_utf8(&self.buffer[..end]).map_err(|_| Fault::Malformed)?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16).map_err(|_| Fault::Malformed)?;
                let whole = end + 2 + size + 2;
                if self.buffer.len() >= whole {
                    let mut content = self.buffer.split_to(whole).split_off(end + 2);
                    content.truncate(size);
                    return Ok((size > 0).then_some(content));
                }
            }
            self.read().await.map_err(|()| Fault::Truncated)?;
        }
    }

    async fn read(&mut self) -> Result<(), ()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(()),
            Ok(_) => Ok(()),
        }
    }
}

fn read_head(buffer: &[u8]) -> Result<Option<(usize, Answer)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(buffer).map_err(|_| Fault::Malformed)?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let mut answer = Answer { status: head.code.unwrap_or(0), ..Answer::default() };
    for header in head.headers.iter() {
        let value = str::from_utf8(header.value).map_err(|_| Fault::Malformed)?;
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => answer.length = value.parse().ok(),
            "transfer-encoding" => answer.is_chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => answer.closes = value.eq_ignore_ascii_case("close"),
            "x-astromesh-node" => value.clone_into(&mut answer.node),
            "retry-after" => value.clone_into(&mut answer.retry_after),
            _ => {}
        }
    }
    Ok(Some((length, answer)))
}

/// What is asked, over and over: GET without, POST with a body whose first bytes say what to do.
#[derive(Debug)]
pub struct Question {
    is_post: bool,
    path: String,
    wishes: String,
    body_bytes: usize,
    accept: &'static str,
}

impl Question {
    /// `--method get|post --path P --work-seconds S --events N --gap-ms N --body-bytes N`
    pub fn take(arguments: &mut Arguments) -> Result<Self, Error> {
        let is_post = match arguments.take("method").as_deref() {
            None | Some("get") => false,
            Some("post") => true,
            Some(other) => return Err(format!("--method {other} is neither get nor post").into()),
        };
        let path = arguments.take("path").ok_or("--path is missing")?;
        let mut wishes = String::from("{\"query\":\"bench\"");
        let mut accept = "*/*";
        if let Some(seconds) = arguments.take("work-seconds") {
            wishes += &format!(",\"seconds\":{seconds}");
        }
        if let Some(events) = arguments.take("events") {
            wishes += &format!(",\"events\":{events}");
            accept = "text/event-stream";
        }
        if let Some(gap) = arguments.take("gap-ms") {
            wishes += &format!(",\"gap_ms\":{gap}");
        }
        let body_bytes = arguments.number("body-bytes", 0)?;
        Ok(Self { is_post, path, wishes, body_bytes, accept })
    }

    /// One request for one server. `wishes` go behind those of the question, before the padding.
    pub fn request(&self, host: SocketAddr, id: u64, key: Option<&str>, wishes: &str) -> Vec<u8> {
        let Self { path, accept, .. } = self;
        let key = key.map_or_else(String::new, |key| format!("Idempotency-Key: {key}\r\n"));
        if !self.is_post {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n");
            return format!("{head}{key}\r\n").into_bytes();
        }
        let mut body = format!("{},\"id\":{id}{wishes}", self.wishes);
        let frame = body.len() + ",\"filler\":\"\"}".len();
        if self.body_bytes > frame {
            body += &format!(",\"filler\":\"{}\"", "x".repeat(self.body_bytes - frame));
        }
        body.push('}');
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
