//! A client that sends and sees bytes, where it matters how they are cut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than any wait of a test that passes; ends the wait of one that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Writes this again and again, until nothing has been taken for a while.
    pub(crate) async fn fill(&mut self, text: &str) {
        let pause = Duration::from_millis(300);
        while tokio::time::timeout(pause, self.stream.write_all(text.as_bytes())).await.is_ok() {}
    }

    /// Leaves at once: what was written and not read is lost.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Everything up to this text, which must come.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.read);
            if let Some(at) = text.find(end) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let more = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read));
            let count = more.await.unwrap_or_else(|_| panic!("no {end:?} behind {:?}", self.read));
            assert_ne!(count.unwrap(), 0, "ended before {end:?}: {:?}", self.read);
        }
    }

    /// The head of an answer.
    pub(crate) async fn head(&mut self) -> String {
        self.read_until("\r\n\r\n").await
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn read_to_end(mut self) -> String {
        let end = self.stream.read_to_end(&mut self.read);
        // A reset is an end, too.
        let _ended = tokio::time::timeout(PATIENCE, end).await.unwrap().is_ok();
        String::from_utf8(self.read).unwrap()
    }
}
