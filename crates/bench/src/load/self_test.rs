//! Measures the load tester's own error with streams from the demo upstream, whose delays are known.
//!
//! The demo upstream runs in this process, on a thread of its own, and records how late it wrote each first token to its
//! socket, because timers are coarse. The measured time minus the configured delay and that lateness is the tool's error:
//! from the scheduled start to the arrival of the request, and from the write of the first token to its timestamp.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::client::StreamClient;
use super::prompts::{CommonFields, Prompts};
use super::run::{Run, RunEvent};
use super::schedule::{Limit, Plan};
use crate::report::document::Load;
use crate::report::sample::{Outcome, Sample};
use demo_upstream::{Demo, Knobs};
use dial::{Dialer, Target, Trust, Versions};

/// The load of a self-test.
#[derive(Debug, Clone, Copy)]
pub struct SelfTest {
    /// Streams at the same time.
    pub users: usize,
    /// Streams in all.
    pub streams: u64,
    /// The delay from the end of a request to its first token.
    pub first_token: Duration,
    /// The rate of each stream after its first token.
    pub tokens_per_second: f64,
    /// The tokens of each stream.
    pub tokens: u64,
}

impl Default for SelfTest {
    fn default() -> Self {
        let first_token = Duration::from_millis(150);
        Self { users: 200, streams: 2000, first_token, tokens_per_second: 50.0, tokens: 50 }
    }
}

/// The result of a self-test.
#[derive(Debug, Clone)]
pub struct SelfTestResult {
    /// The tool's error in the time to first token of each stream, sorted.
    pub errors: Vec<Duration>,
    /// The lateness of the demo upstream, sorted.
    pub lateness: Vec<Duration>,
    /// The number of streams that were not whole; 0 is expected.
    pub failed: u64,
}

impl SelfTestResult {
    /// The quantile (0 to 1) of sorted values; zero if there are none.
    pub fn quantile(values: &[Duration], share: f64) -> Duration {
        let rank = (share * values.len() as f64).ceil() as usize;
        values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or_default()
    }
}

impl SelfTest {
    /// Runs the test within the caller's runtime, which should have a thread of its own, and reports the number of ended streams.
    ///
    /// # Errors
    /// The demo upstream cannot be started.
    pub async fn run(self, stop: CancellationToken, mut on_ended: impl FnMut(u64)) -> io::Result<SelfTestResult> {
        let upstream = Upstream::start(self.knobs())?;
        let mut first_tokens = HashMap::new();
        let (mut failed, mut ended) = (0, 0);
        let run = self.run_against(upstream.address)?;
        let prompts = run.prompts.clone();
        run.execute(stop, |event| {
            let RunEvent::Ended(sample) = event else { return };
            match measured(&sample) {
                Some(first) => drop(first_tokens.insert(prompts.body(sample.number), first)),
                None => failed += 1,
            }
            ended += 1;
            on_ended(ended);
        })
        .await;
        let (mut errors, mut lateness) = (Vec::new(), Vec::new());
        for (body, late) in upstream.stop() {
            if let Some(first) = first_tokens.get(&body) {
                lateness.push(late);
                errors.push(first.saturating_sub(self.first_token + late));
            }
        }
        errors.sort_unstable();
        lateness.sort_unstable();
        Ok(SelfTestResult { errors, lateness, failed })
    }

    fn knobs(&self) -> Knobs {
        Knobs {
            first_token: self.first_token,
            tokens_per_second: self.tokens_per_second,
            tokens: Some(self.tokens),
            record: 0,
            stamp: true,
            ..Knobs::default()
        }
    }

    /// A run whose users start one by one over the length of a stream, so that the streams start evenly.
    fn run_against(&self, upstream: SocketAddr) -> io::Result<Run> {
        let length = self.first_token + Duration::from_secs_f64(self.tokens as f64 / self.tokens_per_second);
        let plan = Plan {
            load: Load::Closed { users: self.users },
            targets: 1,
            limit: Limit::Streams(self.streams),
            warmup: Duration::ZERO,
            ramp: length,
            seed: 0,
        };
        // each stream has its own prompt, which identifies it in the upstream's records
        let lines: String = (0..self.streams).map(|number| format!("\"stream {number}\"\n")).collect();
        let prompts = Prompts::parse(&lines, &CommonFields::default()).map_err(io::Error::other)?;
        let target = Target::parse(&format!("http://{upstream}/v1/chat/completions")).map_err(io::Error::other)?;
        let timeout = Duration::from_secs(60);
        let dialer = Dialer::new(target, Versions::Http1, &Trust::PublicRoots, timeout).map_err(io::Error::other)?;
        let client = StreamClient::new(dialer, true, HeaderMap::new(), None, length + timeout);
        Ok(Run { plan, prompts, clients: vec![client] })
    }
}

fn measured(sample: &Sample) -> Option<Duration> {
    sample.first_token().filter(|_| sample.outcome == Outcome::Whole)
}

/// A demo upstream on a thread of its own.
struct Upstream {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    lateness: mpsc::Receiver<Vec<(Bytes, Duration)>>,
}

impl Upstream {
    fn start(knobs: Knobs) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (results, lateness) = mpsc::channel();
        std::thread::Builder::new().name("demo upstream".to_owned()).spawn(move || {
            runtime.block_on(async {
                let demo = TcpListener::from_std(listener).and_then(|listener| Demo::start(listener, knobs));
                let Ok(demo) = demo else { return };
                // the sender is dropped to stop it
                let _ = stopped.await;
                let _ = results.send(demo.lateness());
            });
        })?;
        Ok(Self { address, stop, lateness })
    }

    /// Stops it, and gives its lateness for each request body.
    fn stop(self) -> Vec<(Bytes, Duration)> {
        drop(self.stop);
        self.lateness.recv().unwrap_or_default()
    }
}
