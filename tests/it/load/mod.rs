//! The load tester's engine over real sockets: what it starts, what it measures, and what it makes of every fault.

mod cors;
mod ends;
mod loops;
mod self_test;

use std::time::Duration;

use bench::load::StreamClient;
use bench::load::page::Page;
use bench::load::prompts::{CommonFields, Prompts};
use bench::load::run::{Run, RunEnd, RunEvent};
use bench::load::schedule::{Limit, Plan};
use bench::report::document::Load;
use bench::report::sample::Sample;
use browser::origin::PageOrigin;
use demo_upstream::{Demo, Knobs};
use dial::{Dialer, Target, Trust, Versions};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::soon;

/// No stream of a test takes so long.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A demo upstream with these knobs.
async fn demo(knobs: Knobs) -> Demo {
    Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), knobs).unwrap()
}

fn url(demo: &Demo) -> String {
    format!("http://{}/v1/chat/completions", demo.addr)
}

/// So many streams of one user.
fn one_by_one(streams: u64) -> Plan {
    Plan {
        load: Load::Closed { users: 1 },
        targets: 1,
        limit: Limit::Streams(streams),
        warmup: Duration::ZERO,
        ramp: Duration::ZERO,
        seed: 0,
    }
}

/// How a test asks one target.
struct Way {
    versions: Versions,
    trust: Trust,
    reuse: bool,
    headers: HeaderMap,
    origin: Option<&'static str>,
    timeout: Duration,
}

impl Default for Way {
    fn default() -> Self {
        let headers = HeaderMap::from_iter([("content-type".parse().unwrap(), "application/json".parse().unwrap())]);
        let (versions, trust) = (Versions::default(), Trust::default());
        Self { versions, trust, reuse: true, headers, origin: None, timeout: TIMEOUT }
    }
}

impl Way {
    fn client(&self, url: &str) -> StreamClient {
        let target = Target::parse(url).unwrap();
        let page = |origin: &str| Page::new(PageOrigin::parse(origin).unwrap(), target.url(), &self.headers).unwrap();
        let page = self.origin.map(page);
        let dialer = Dialer::new(target, self.versions, &self.trust, TIMEOUT).unwrap();
        StreamClient::new(dialer, self.reuse, self.headers.clone(), page, self.timeout)
    }
}

/// Every request carries these members beside its prompt.
fn prompts(members: Value) -> Prompts {
    let members = members.as_object().unwrap().clone();
    Prompts::one("Why is the sky blue?", &CommonFields { members, ..CommonFields::default() })
}

/// Runs the plan against these clients, and gives back all samples in the order of their ends.
async fn run(plan: Plan, clients: Vec<StreamClient>, members: Value) -> Vec<Sample> {
    let (samples, ended) = run_until(plan, clients, members, CancellationToken::new()).await;
    assert_eq!((ended.interrupted, ended.cut), (false, 0));
    samples
}

async fn run_until(
    plan: Plan,
    clients: Vec<StreamClient>,
    members: Value,
    stop: CancellationToken,
) -> (Vec<Sample>, RunEnd) {
    let mut samples = Vec::new();
    let run = Run { plan, prompts: prompts(members), clients };
    let ended = run.execute(stop, |event| {
        if let RunEvent::Ended(sample) = event {
            samples.push(*sample);
        }
    });
    let ended = soon(ended).await;
    (samples, ended)
}

/// The sample of one stream with these knobs of the demo upstream.
async fn one(way: Way, url: &str, demo: Value) -> Sample {
    let mut samples = run(one_by_one(1), vec![way.client(url)], json!({ "demo": demo })).await;
    assert_eq!(samples.len(), 1);
    samples.remove(0)
}
