//! Something that listens like a node and does exactly what the test says, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Far more than any wait of a test that passes; ends the wait of one that fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of a request that a backend reads.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// A listening socket whose connections the test handles itself.
pub(crate) struct Backend {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A connection from a router.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn accept(&self) -> Connection {
        Connection { stream: self.listener.accept().await.unwrap().0 }
    }

    /// Whether somebody has connected whom the test did not accept. The system completes
    /// connections by itself, so that there is nothing to wait for.
    pub(crate) fn was_called(self) -> bool {
        self.listener.into_std().unwrap().accept().is_ok()
    }
}

/// An address that refuses connections until [`Refusing::listen`]; nobody else can get it.
pub(crate) struct Refusing {
    socket: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl Refusing {
    pub(crate) fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    pub(crate) fn listen(self) -> Backend {
        Backend { listener: self.socket.listen(8).unwrap(), address: self.address }
    }
}

impl Connection {
    /// Reads one request: head and body, as text.
    pub(crate) async fn read_request(&mut self) -> String {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            if let Some(head) = text.find("\r\n\r\n") {
                let length = text
                    .split("\r\n")
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if bytes.len() >= head + 4 + length {
                    return String::from_utf8(bytes).unwrap();
                }
            }
            assert!(bytes.len() < REQUEST_BYTES_MAX, "a request without end");
            assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "broke off: {text}");
        }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to this text, which must come; returns all that was read.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains(end) {
            let byte = tokio::time::timeout(PATIENCE, self.stream.read_u8()).await;
            let byte = byte.unwrap_or_else(|_| panic!("no {end:?}"));
            bytes.push(byte.unwrap_or_else(|_| panic!("ended before {end:?}")));
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Reads exactly so many bytes.
    pub(crate) async fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await;
        read.unwrap_or_else(|_| panic!("no {count} bytes")).unwrap();
        bytes
    }

    /// Returns when the other side has closed the connection, with what it had still to say.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset closes it too.
        let _closed = self.stream.read_to_end(&mut rest).await.is_ok();
        rest
    }
}
