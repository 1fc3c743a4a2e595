//! A small upstream that speaks OpenAI's chat completions: the development default, and every test's upstream with every fault.
//!
//! A request becomes an answer (`answer.rs`: what is said and when), the answer becomes a script (`steps.rs`: timed writes and an
//! ending, changed by the [`Fault`]), and one player (`connection.rs`) plays every script on the raw socket. So faults that no HTTP
//! library can express need no second server.
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use demo_upstream::{Demo, Fault, Knobs};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let demo = Demo::start(listener, Knobs { fault: Some(Fault::ResetAfterEvents), at: 2, ..Knobs::default() })?;
//! // … a client asks http://{demo.addr}/v1/chat/completions and leaves …
//! demo.until(|counts| counts.cancelled == 1).await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod canned;
mod chat;
mod connection;
mod edits;
mod fault;
mod knobs;
mod observe;
mod request;
mod step;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod timetable;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use fault::{CANARY, FAKE_KEY, Fault};
pub use knobs::{Knobs, MAX_DELAY, MAX_RATE, MAX_TOKENS, MIN_RATE, Script, check_rate};
pub use observe::Counts;
pub use request::Request;

use observe::Observer;

/// A running demo upstream. It stops when this is dropped, its open answers with it.
#[derive(Debug)]
pub struct Demo {
    /// Where it listens.
    pub addr: SocketAddr,
    observer: Arc<Observer>,
    accepting: AbortHandle,
}

impl Demo {
    /// Serves HTTP/1.1 on this listener, within the runtime of the caller.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(listener: TcpListener, knobs: Knobs) -> io::Result<Demo> {
        Demo::start_on(listener, None, knobs)
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start_tls(listener: TcpListener, tls: Arc<rustls::ServerConfig>, knobs: Knobs) -> io::Result<Demo> {
        Demo::start_on(listener, Some(tls.into()), knobs)
    }

    fn start_on(listener: TcpListener, tls: Option<TlsAcceptor>, knobs: Knobs) -> io::Result<Demo> {
        let addr = listener.local_addr()?;
        let observer = Arc::new(Observer::new(knobs.record));
        let accepting = tokio::spawn(accept(listener, tls, Arc::new(knobs), observer.clone())).abort_handle();
        Ok(Demo { addr, observer, accepting })
    }

    /// The counts of this moment.
    pub fn counts(&self) -> Counts {
        self.observer.counts()
    }

    /// Waits until the counts are so, and returns them.
    pub async fn until(&self, so: impl FnMut(&Counts) -> bool) -> Counts {
        self.observer.until(so).await
    }

    /// The latest requests, oldest first, at most [`Knobs::record`] of them.
    pub fn requests(&self) -> Vec<Request> {
        self.observer.requests()
    }

    /// Bytes handed to sockets so far (before TLS), heads and framing included.
    pub fn bytes_sent(&self) -> u64 {
        self.observer.bytes()
    }

    /// How late the first output event of each answer was handed to its socket, by the body of the request, where
    /// [`Knobs::stamp`] says that it is kept. Timers are late, and so is a busy machine: whoever measures a delay wants to
    /// know which part of it was not asked for.
    pub fn lateness(&self) -> Vec<(Bytes, Duration)> {
        self.observer.lateness()
    }

    /// Lets this many answers go on that wait, or will wait, at [`Knobs::hold`].
    pub fn release(&self, answers: usize) {
        self.observer.release(answers);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, knobs: Arc<Knobs>, observer: Arc<Observer>) {
    // dropped with this future: no connection outlives the demo
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                connections.spawn(connect(socket, tls.clone(), knobs.clone(), observer.clone()));
            }
            // no descriptors, most likely: some will be free soon
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connect(socket: TcpStream, tls: Option<TlsAcceptor>, knobs: Arc<Knobs>, observer: Arc<Observer>) {
    // Nagle's algorithm would hold an event back until the one before it is acknowledged
    if socket.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => connection::serve(socket, &knobs, &observer).await,
        Some(tls) => {
            if let Ok(socket) = tls.accept(socket).await {
                connection::serve(socket, &knobs, &observer).await;
            }
        }
    }
}

/// The events of a well streamed answer to this request by a demo upstream with default knobs, byte for byte.
pub fn expected_stream(request: &[u8]) -> Vec<Bytes> {
    Knobs::default().expected(request)
}

impl Knobs {
    /// The body of the good answer to this request, faults left out: event by event, or for an answer without `stream` one
    /// document. Empty if the request is refused.
    pub fn expected(&self, request: &[u8]) -> Vec<Bytes> {
        let Ok(mut chat) = chat::Chat::parse(request, self) else { return Vec::new() };
        chat.knobs.fault = None;
        let stream = chat.stream;
        let answer = answer::Answer::new(chat);
        if stream { answer.events().map(|event| event.bytes).collect() } else { vec![answer.document().bytes] }
    }
}
