//! The upstream: HTTP/1.1, keep-alive, chunked, one SSE event a chunk.
//!
//! The first event leaves with the response head, in one write, as soon as the request has been read. The following ones
//! leave from one thread with a heap of due times, each stream in its own phase, so that the spacing is a choice: events one
//! by one, or in volleys.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::wire;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// Nanoseconds until an event is tried again for which the socket had no room.
const RETRY_AFTER: u64 = 1_000_000;
/// Nanoseconds after which an event counts as late: three in a row at 5,000 a second.
const LATE: u64 = 600_000;

/// The one clock of a run: source and client live in one process so that they share it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Clock(Instant::now())
    }

    /// Nanoseconds since the start.
    pub(crate) fn nanos(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What the source does with the requests that come from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two events of a stream; zero: silent after the first.
    pub(crate) interval: Duration,
    /// Events a stream, then `[DONE]`.
    pub(crate) events: u32,
    /// How the events of all streams lie in time.
    pub(crate) spacing: Spacing,
}

/// How the events of different streams lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Evenly: at 5,000 events a second one every 200 µs, so each costs a proxy a wake-up of its own.
    Even,
    /// At whole milliseconds, as upstreams with millisecond timers send them: one wake-up serves several events, and what
    /// is left is the cost of handling them.
    Volleys,
}

impl Spacing {
    fn grain(self) -> u64 {
        match self {
            Spacing::Even => 1,
            Spacing::Volleys => 1_000_000,
        }
    }
}

impl Pace {
    /// One event, then silence until the client leaves.
    pub(crate) const IDLE: Pace = Pace { interval: Duration::ZERO, events: u32::MAX, spacing: Spacing::Even };

    /// `events` of them, a millisecond apart.
    pub(crate) fn brief(events: u32) -> Self {
        Pace { interval: Duration::from_millis(1), events, spacing: Spacing::Even }
    }

    /// Streams without end that together send `rate` events a second.
    pub(crate) fn endless(streams: usize, rate: f64, spacing: Spacing) -> Self {
        Pace { interval: Duration::from_secs_f64(streams as f64 / rate), events: u32::MAX, spacing }
    }
}

/// A running upstream.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    interval: AtomicU64,
    events: AtomicU32,
    grain: AtomicU64,
    phases: AtomicU64,
    late: AtomicU64,
}

impl Source {
    /// Starts the two threads; they live as long as the process.
    pub(crate) fn start(clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            clock,
            interval: AtomicU64::new(0),
            events: AtomicU32::new(1),
            grain: AtomicU64::new(1),
            phases: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let (ticker, due) = mpsc::channel();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;

        let ticking = shared.clone();
        thread::Builder::new().name("ticker".into()).spawn(move || tick(&due, &ticking))?;
        let serving = shared.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        thread::Builder::new()
            .name("source".into())
            .spawn(move || runtime.block_on(accept(listener, &serving, &ticker)))?;
        Ok(Source { address, shared })
    }

    /// Sets the pace of the streams that start from now on.
    pub(crate) fn set(&self, pace: Pace) {
        self.shared.interval.store(pace.interval.as_nanos() as u64, Relaxed);
        self.shared.events.store(pace.events, Relaxed);
        self.shared.grain.store(pace.spacing.grain(), Relaxed);
    }

    /// How many events so far left late: because this machine was busy, or because the proxy did not read.
    pub(crate) fn late(&self) -> u64 {
        self.shared.late.load(Relaxed)
    }
}

async fn accept(listener: std::net::TcpListener, shared: &Arc<Shared>, ticker: &mpsc::Sender<Due>) {
    let listener = TcpListener::from_std(listener).expect("the source's runtime has I/O");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (shared, ticker) = (shared.clone(), ticker.clone());
        // An error means that the proxy closed the connection: its right.
        tokio::spawn(async move { answer_all(Arc::new(stream), &shared, &ticker).await });
    }
}

async fn answer_all(stream: Arc<TcpStream>, shared: &Shared, ticker: &mpsc::Sender<Due>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    while request(&stream, &mut unread).await? {
        let events = shared.events.load(Relaxed);
        let grain = shared.grain.load(Relaxed);
        let interval = shared.interval.load(Relaxed).next_multiple_of(grain);
        let now = shared.clock.nanos();
        let mut out = HEAD.to_vec();
        chunk(&mut out, |out| wire::event(0, now, out));
        stream.writable().await?;
        // A connection that asks has room for one event.
        stream.try_write(&out)?;
        if interval > 0 {
            let at = second(shared.phases.fetch_add(1, Relaxed), now, interval);
            let at = at.next_multiple_of(grain);
            let _ = ticker.send(Due { at, interval, number: 1, events, stream: stream.clone() });
        }
    }
    Ok(())
}

/// When a stream that starts `now` sends its second event. Multiples of the golden ratio spread the streams evenly over the
/// interval, whatever their number and however they were opened.
fn second(stream: u64, now: u64, interval: u64) -> u64 {
    let turn = stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let at = now - now % interval + interval + ((turn * interval) >> 32);
    if at < now + interval / 2 { at + interval } else { at }
}

/// Reads one request, head and body; false at the end of the connection.
async fn request(stream: &TcpStream, unread: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        if let Some(length) = request_length(unread) {
            unread.drain(..length);
            return Ok(true);
        }
        stream.readable().await?;
        let mut piece = [0; 4096];
        match stream.try_read(&mut piece) {
            Ok(0) => return Ok(false),
            Ok(read) => unread.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The length of the request at the start of `bytes` once it is whole. Enough HTTP for the proxies that are measured here.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let body = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = bytes[..body].to_ascii_lowercase();
    let head = std::str::from_utf8(&head).ok()?;
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    if field("transfer-encoding") == Some("chunked") {
        let end = bytes[body..].windows(5).position(|five| five == b"0\r\n\r\n")?;
        return Some(body + end + 5);
    }
    let length = field("content-length").map_or(Some(0), |length| length.parse::<usize>().ok())?;
    (bytes.len() >= body + length).then_some(body + length)
}

/// A stream's next event.
#[derive(Debug)]
struct Due {
    at: u64,
    interval: u64,
    number: u32,
    events: u32,
    stream: Arc<TcpStream>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Earliest first out of a max-heap.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

fn tick(new: &mpsc::Receiver<Due>, shared: &Shared) {
    let mut heap = BinaryHeap::new();
    let mut out = Vec::with_capacity(512);
    loop {
        while heap.peek().is_some_and(|next: &Due| next.at <= shared.clock.nanos()) {
            let next = heap.pop().and_then(|due| send(due, &mut out, shared));
            heap.extend(next);
        }
        let wait = heap
            .peek()
            .map_or(Duration::from_secs(1), |next| Duration::from_nanos(next.at.saturating_sub(shared.clock.nanos())));
        match new.recv_timeout(wait) {
            Ok(stream) => heap.push(stream),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Sends one event and returns when the next one is due; `None` at the end of the stream or of its connection.
fn send(mut due: Due, out: &mut Vec<u8>, shared: &Shared) -> Option<Due> {
    let last = due.number >= due.events;
    let now = shared.clock.nanos();
    if now > due.at + LATE {
        shared.late.fetch_add(1, Relaxed);
    }
    out.clear();
    if last {
        chunk(out, |out| out.extend_from_slice(wire::DONE));
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        chunk(out, |out| wire::event(due.number, now, out));
    }
    match due.stream.try_write(out) {
        Ok(sent) if sent == out.len() => {
            due.number += 1;
            due.at += due.interval;
            (!last).then_some(due)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            shared.late.fetch_add(1, Relaxed);
            due.at += RETRY_AFTER;
            Some(due)
        }
        // Half an event in a full socket, or a closed one: the client sees the stream end without [DONE].
        Ok(_) | Err(_) => None,
    }
}

fn chunk(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    const SIZE: usize = 6;
    let start = out.len();
    out.extend_from_slice(b"0000\r\n");
    content(out);
    let length = out.len() - start - SIZE;
    let hex = format!("{length:04x}");
    out[start..start + 4].copy_from_slice(hex.as_bytes());
    out.extend_from_slice(b"\r\n");
}
