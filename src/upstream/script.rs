//! A scripted transport for tests: what each read returns, and what each write accepts.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One step of a script.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// These bytes come in.
    Bytes(Vec<u8>),
    /// The upstream closes the connection.
    End,
    /// One read returns nothing.
    Pause,
    /// The connection breaks.
    Break,
}

/// What a write accepts; after the last one of them, everything.
#[derive(Debug, Clone, Copy)]
pub(super) enum Take {
    Bytes(usize),
    Pause,
    Break,
}

/// The near end of a scripted connection; clones are the same connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reads: VecDeque<Step>,
    /// No bytes come in before this many bytes were written.
    reads_after: usize,
    takes: VecDeque<Take>,
    written: Vec<u8>,
    writes: usize,
    flushed: bool,
    reader: Option<Waker>,
}

impl Script {
    /// Makes a connection that is silent after these steps. They begin when `reads_after` bytes were written.
    pub(super) fn new(reads_after: usize, reads: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new(Mutex::new(State { reads: reads.into_iter().collect(), reads_after, ..State::default() })))
    }

    /// Limits the writes.
    pub(super) fn taking(self, takes: impl IntoIterator<Item = Take>) -> Self {
        self.0.lock().unwrap().takes.extend(takes);
        self
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Adds a step.
    pub(super) fn then(&self, step: Step) {
        self.0.lock().unwrap().reads.push_back(step);
    }

    /// Returns all written bytes, and the number of calls.
    pub(super) fn written(&self) -> (Vec<u8>, usize) {
        let state = self.0.lock().unwrap();
        (state.written.clone(), state.writes)
    }

    /// Whether nothing was written since the last flush.
    pub(super) fn is_flushed(&self) -> bool {
        self.0.lock().unwrap().flushed
    }
}

impl AsyncRead for Script {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.written.len() < state.reads_after {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match state.reads.front_mut() {
            None => Poll::Pending,
            Some(Step::End) => Poll::Ready(Ok(())),
            Some(Step::Break) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Step::Pause) => {
                state.reads.pop_front();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Bytes(bytes)) => {
                let length = bytes.len().min(buf.remaining());
                buf.put_slice(&bytes[..length]);
                bytes.drain(..length);
                if bytes.is_empty() {
                    state.reads.pop_front();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        match state.takes.pop_front() {
            None => {}
            Some(Take::Bytes(most)) => bytes.truncate(most),
            Some(Take::Pause) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Take::Break) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
        state.written.extend_from_slice(&bytes);
        state.writes += 1;
        state.flushed = false;
        state.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Records that a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls a future until it is ready. Returns `None` if it waits and nothing wakes it.
pub(super) fn drive<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !woken.0.swap(false, Ordering::Relaxed) {
            return None;
        }
    }
}
