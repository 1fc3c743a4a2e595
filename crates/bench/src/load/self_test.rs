//! How exact the load tester itself is: streams from the demo upstream, whose delays are known.
//!
//! The demo upstream runs in this process, on a thread of its own, and keeps how late it handed each first token to its
//! socket: timers are coarse. What is left of the measured time, beyond the delay that was asked for and that lateness, is
//! the tool's own error: from when a stream was to start to its request at the other end of a loopback connection, and
//! from the first token's write to its time being taken.

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

use super::asker::Asker;
use super::prompts::{Common, Prompts};
use super::run::{Run, Told};
use super::schedule::{Limit, Load, Plan};
use crate::report::sample::{Outcome, Sample};
use demo_upstream::{Demo, Knobs};
use dial::{Dialer, Target, Trust, Versions};

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Exercise {
    /// Streams at the same time.
    pub users: usize,
    /// Streams in all.
    pub streams: u64,
    /// From the end of a request to its first token.
    pub first_token: Duration,
    /// Of each stream, after its first.
    pub tokens_per_second: f64,
    /// Of each stream.
    pub tokens: u64,
}

impl Default for Exercise {
    fn default() -> Self {
        let first_token = Duration::from_millis(150);
        Self { users: 200, streams: 2000, first_token, tokens_per_second: 50.0, tokens: 50 }
    }
}

/// What the load tester adds to what it measures.
#[derive(Debug, Clone)]
pub struct Found {
    /// The tool's error in the time to first token of each stream, in order of size.
    pub errors: Vec<Duration>,
    /// How late the demo upstream itself was, in order of size.
    pub lateness: Vec<Duration>,
    /// Streams that did not come whole: their number should be 0.
    pub failed: u64,
}

impl Found {
    /// The value that this share (0 to 1) of sorted values does not exceed; zero where there are none.
    pub fn quantile(values: &[Duration], share: f64) -> Duration {
        let rank = (share * values.len() as f64).ceil() as usize;
        values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or_default()
    }
}

impl Exercise {
    /// Runs it within the runtime of the caller, which should have a thread of its own.
    ///
    /// # Errors
    /// The demo upstream cannot be started.
    pub async fn run(self, stop: CancellationToken, mut tell: impl FnMut(u64)) -> io::Result<Found> {
        let upstream = Upstream::start(self.knobs())?;
        let mut asked = HashMap::new();
        let (mut failed, mut done) = (0, 0);
        let run = self.against(upstream.address)?;
        let prompts = run.prompts.clone();
        run.go(stop, |told| {
            let Told::Ended(sample) = told else { return };
            match measured(&sample) {
                Some(first) => drop(asked.insert(prompts.body(sample.number), first)),
                None => failed += 1,
            }
            done += 1;
            tell(done);
        })
        .await;
        let (mut errors, mut lateness) = (Vec::new(), Vec::new());
        for (body, late) in upstream.stop() {
            if let Some(first) = asked.get(&body) {
                lateness.push(late);
                errors.push(first.saturating_sub(self.first_token + late));
            }
        }
        errors.sort_unstable();
        lateness.sort_unstable();
        Ok(Found { errors, lateness, failed })
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

    /// Users come one by one over the length of a stream, so that streams begin as evenly as they go on.
    fn against(&self, upstream: SocketAddr) -> io::Result<Run> {
        let length = self.first_token + Duration::from_secs_f64(self.tokens as f64 / self.tokens_per_second);
        let plan = Plan {
            load: Load::Closed { users: self.users },
            targets: 1,
            limit: Limit::Streams(self.streams),
            warmup: Duration::ZERO,
            ramp: length,
            seed: 0,
        };
        // each its own prompt, by which the upstream's lateness is found
        let lines: String = (0..self.streams).map(|number| format!("\"stream {number}\"\n")).collect();
        let prompts = Prompts::parse(&lines, &Common::default()).map_err(io::Error::other)?;
        let target = Target::parse(&format!("http://{upstream}/v1/chat/completions")).map_err(io::Error::other)?;
        let patience = Duration::from_secs(60);
        let dialer = Dialer::new(target, Versions::Http1, &Trust::PublicRoots, patience).map_err(io::Error::other)?;
        let asker = Asker::new(dialer, true, HeaderMap::new(), None, length + patience);
        Ok(Run { plan, prompts, askers: vec![asker] })
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
        let (tell, lateness) = mpsc::channel();
        std::thread::Builder::new().name("demo upstream".to_owned()).spawn(move || {
            runtime.block_on(async {
                let demo = TcpListener::from_std(listener).and_then(|listener| Demo::start(listener, knobs));
                let Ok(demo) = demo else { return };
                // stopped, or nobody is there to stop it
                let _ = stopped.await;
                let _ = tell.send(demo.lateness());
            });
        })?;
        Ok(Self { address, stop, lateness })
    }

    /// How late it was, by request.
    fn stop(self) -> Vec<(Bytes, Duration)> {
        drop(self.stop);
        self.lateness.recv().unwrap_or_default()
    }
}
