//! What a service manager such as systemd is told, by `sd_notify`.
//!
//! Owns the messages and a thread that sends them, so that a manager that does not read holds up
//! nobody. Without a manager (`NOTIFY_SOCKET`) there is no thread and nothing is told. Refuses to
//! judge whether the node is well; [`super::watchdog`] does.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{debug, warn};

/// Messages that may wait. More are dropped: there is one a second, and each replaces the last.
const WAITING_MAX: usize = 16;

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The node serves; also after [`News::Reloading`].
    Ready,
    /// The configuration is being read anew.
    Reloading,
    /// The node ends.
    Stopping,
    /// The node is well: the watchdog starts anew.
    Alive,
    /// A line for people.
    Status(String),
    /// What is under way takes this much longer at most.
    Extend(Duration),
}

/// The way to the service manager; clones lead to the same.
#[derive(Debug, Clone)]
pub(super) struct Notifier {
    /// `None` without a manager.
    messages: Option<SyncSender<Vec<News>>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn from_environment() -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
            return Ok(Self { messages: None, watchdog: None });
        }
        let (messages, waiting) = sync_channel(WAITING_MAX);
        // Not joined: it ends with the process, perhaps in the middle of a message.
        std::thread::Builder::new().name("sd-notify".to_owned()).spawn(move || send(&waiting))?;
        let watchdog = sd_notify::watchdog_enabled().filter(|period| !period.is_zero());
        Ok(Self { messages: Some(messages), watchdog })
    }

    /// Whether anybody is told.
    pub(super) const fn is_managed(&self) -> bool {
        self.messages.is_some()
    }

    /// The time within which each [`News::Alive`] must follow the last, if the manager watches.
    pub(super) const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells these together, without waiting.
    pub(super) fn tell(&self, news: Vec<News>) {
        let Some(messages) = &self.messages else { return };
        if messages.try_send(news).is_err() {
            debug!("the service manager does not read what it is told");
        }
    }
}

fn send(waiting: &Receiver<Vec<News>>) {
    let mut has_failed = false;
    while let Ok(mut news) = waiting.recv() {
        for one in &mut news {
            if let News::Status(text) = one {
                *text = one_line(text);
            }
        }
        if let Err(error) = notify(&news)
            && !has_failed
        {
            has_failed = true;
            warn!(%error, "the service manager cannot be told how this node is (NOTIFY_SOCKET)");
        }
    }
}

fn notify(news: &[News]) -> io::Result<()> {
    let mut states = Vec::with_capacity(news.len() + 1);
    for one in news {
        let state = match one {
            News::Ready => NotifyState::Ready,
            News::Reloading => {
                states.push(NotifyState::monotonic_usec_now()?);
                NotifyState::Reloading
            }
            News::Stopping => NotifyState::Stopping,
            News::Alive => NotifyState::Watchdog,
            News::Status(text) => NotifyState::Status(text),
            News::Extend(time) => {
                NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
            }
        };
        states.push(state);
    }
    sd_notify::notify(&states)
}

/// What peers call themselves is part of a status, and must not begin a line of its own: each line
/// is a message to the manager.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stays_one_line() {
        assert_eq!(
            one_line("1 alive, leader a\nWATCHDOG=1\r\u{85}"),
            "1 alive, leader a WATCHDOG=1  "
        );
    }
}
