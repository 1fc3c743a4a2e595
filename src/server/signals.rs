//! Signals of the operator: SIGTERM and SIGINT stop the process, SIGHUP reloads its configuration.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::SignalStream;
use tokio_stream::{Stream, StreamExt};

/// A signal of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain and stop; a second one: stop at once.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The stream of signals. Signals of one kind that come together may count as one (POSIX).
pub struct Signals {
    merged: Pin<Box<dyn Stream<Item = Signal> + Send>>,
}

impl Signals {
    /// Replaces the default action of the three signals, as long as the process lives.
    ///
    /// # Errors
    /// The operating system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let on = |kind| signal(kind).map(SignalStream::new);
        let terminate = on(SignalKind::terminate())?.map(|()| Signal::Stop);
        let interrupt = on(SignalKind::interrupt())?.map(|()| Signal::Stop);
        let hangup = on(SignalKind::hangup())?.map(|()| Signal::Reload);
        Ok(Self { merged: Box::pin(terminate.merge(interrupt).merge(hangup)) })
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.merged.as_mut().poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(name: &str) {
        let sent = std::process::Command::new("kill").args(["-s", name, &std::process::id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    #[tokio::test]
    async fn each_signal_comes_as_what_it_asks_for_and_a_second_stop_comes_too() {
        let mut signals = Signals::new().unwrap();
        for (name, asked) in [
            ("HUP", Signal::Reload),
            ("TERM", Signal::Stop),
            ("TERM", Signal::Stop),
            ("INT", Signal::Stop),
            ("HUP", Signal::Reload),
        ] {
            send(name);
            assert_eq!(signals.next().await, Some(asked), "{name}");
        }
    }
}
