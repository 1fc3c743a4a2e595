#![doc = include_str!("../README.md")]

mod answer;
mod canned;
mod chat;
mod connection;
mod edits;
mod fault;
mod knobs;
mod observe;
mod quirks;
mod request;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod timetable;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use fault::{CANARY, FAKE_KEY, Fault};
pub use knobs::{Knobs, Script};
pub use observe::Counts;
pub use request::Request;

use observe::Observer;

/// A running demo upstream. It stops, with its open responses, when this is dropped.
#[derive(Debug)]
pub struct Demo {
    /// The address that it listens on.
    pub addr: SocketAddr,
    observer: Arc<Observer>,
    accepting: AbortHandle,
}

impl Demo {
    /// Serves HTTP/1.1 on this listener, within the caller's runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(listener: TcpListener, knobs: Knobs) -> io::Result<Demo> {
        Demo::start_on(listener, None, knobs)
    }

    /// Serves HTTP/1.1 over TLS on this listener, within the caller's runtime.
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

    /// The current counts.
    pub fn counts(&self) -> Counts {
        self.observer.counts()
    }

    /// Waits until the counts meet a condition, and returns them.
    pub async fn until(&self, condition: impl FnMut(&Counts) -> bool) -> Counts {
        self.observer.until(condition).await
    }

    /// The latest requests, oldest first, at most [`Knobs::record`] of them.
    pub fn requests(&self) -> Vec<Request> {
        self.observer.requests()
    }

    /// The bytes written to sockets so far (before TLS), with heads and framing.
    pub fn bytes_sent(&self) -> u64 {
        self.observer.bytes()
    }

    /// The lateness of the first output event of each response, by the body of the request, if [`Knobs::stamp`] is set. Timers
    /// and busy machines are late, and a measurement of delays must know by how much.
    pub fn lateness(&self) -> Vec<(Bytes, Duration)> {
        self.observer.lateness()
    }

    /// Releases this number of responses that wait, or will wait, at [`Knobs::hold`].
    pub fn release(&self, answers: usize) {
        self.observer.release(answers);
    }
}

impl fmt::Display for Demo {
    /// The URL, and a `curl` command that works as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        writeln!(f, "demo upstream on http://{addr}/v1")?;
        writeln!(
            f,
            r#"curl -N http://{addr}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"demo","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'"#
        )
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, knobs: Arc<Knobs>, observer: Arc<Observer>) {
    // dropped with this future, so that no connection outlives the demo
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
            // most likely no file descriptors: some will be free soon
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connect(socket: TcpStream, tls: Option<TlsAcceptor>, knobs: Arc<Knobs>, observer: Arc<Observer>) {
    // Nagle's algorithm would delay an event until the previous one is acknowledged
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

/// The events of the streamed response to this request by a demo upstream with default knobs, byte for byte.
pub fn expected_stream(request: &[u8]) -> Vec<Bytes> {
    Knobs::default().expected(request)
}

/// The events of the streamed response to this request with the fault of its knobs, byte for byte. For faults of providers
/// only.
pub fn quirky_stream(request: &[u8]) -> Vec<Bytes> {
    let Ok(chat) = chat::Chat::parse(request, &Knobs::default()) else { return Vec::new() };
    let knobs = chat.knobs.clone();
    let answer = answer::Answer::new(chat);
    let usage = answer.usage();
    quirks::edited(answer.events(), &knobs, &usage).map(|event| event.bytes).collect()
}

impl Knobs {
    /// The body of the response to this request without faults: its events, or one document without `stream`. Empty if the
    /// request is refused.
    pub fn expected(&self, request: &[u8]) -> Vec<Bytes> {
        let Ok(mut chat) = chat::Chat::parse(request, self) else { return Vec::new() };
        chat.knobs.fault = None;
        let stream = chat.stream;
        let answer = answer::Answer::new(chat);
        if stream { answer.events().map(|event| event.bytes).collect() } else { vec![answer.document().bytes] }
    }
}
