//! What is measured, and how.

use std::time::Duration;

use clap::ValueEnum as _;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Connection, Endpoint, Protocol, Streams, Tally};
use crate::report::{Measure, Report, Subject};
use crate::source::{Clock, Pace, Source, Spacing};
use crate::target::{Kind, Site, Target};
use crate::{BoxError, Outcome, procfs};

const SCALES: [usize; 3] = [100, 1000, 4000];
/// Between the opening of the streams and the measurement, so that no handshake falls into it.
const SETTLE: Duration = Duration::from_millis(700);

/// Requests that begin at the same moment, each on its own reused connection.
const BURST: usize = 8;
/// Connections of the measurement of short requests: each asks again as soon as it has an answer.
const CALLERS: usize = 4;

/// The share of events that may leave the source late.
const LATE: f64 = 0.05;

/// One of the benchmark's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Processor time per forwarded event
    Cpu,
    /// Added time to first token
    Ttft,
    /// Processor time per request of one event, on reused connections
    Requests,
    /// Resident set per open idle stream, and what keeping it open costs
    Memory,
    /// Processor time per event with 100, 1,000 and 4,000 streams
    Scale,
}

impl Part {
    /// In the order in which they run.
    pub(crate) const ALL: [Part; 5] = [Part::Cpu, Part::Ttft, Part::Requests, Part::Memory, Part::Scale];
}

/// Everything that a measurement needs.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) source: Source,
    pub(crate) site: Site,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    pub(crate) streams: usize,
    pub(crate) rate: f64,
    pub(crate) idle: usize,
    pub(crate) requests: usize,
}

impl Bench {
    /// Those of the wanted targets that start here; the report says which do not, and why.
    pub(crate) async fn present(&self, only: &[Kind], report: &mut Report) -> Vec<Kind> {
        let mut present = Vec::new();
        for kind in Kind::value_variants() {
            let (kind, wanted) = (*kind, only.is_empty() || only.contains(kind));
            if !wanted || (kind == Kind::Before && self.site.before.is_none()) {
                continue;
            }
            match self.answers(kind).await {
                Ok(()) => present.push(kind),
                Err(error) => report.note(format!("left out: {error}")),
            }
        }
        present
    }

    /// Measures one part in all its rounds.
    pub(crate) async fn run(&self, part: Part, kinds: &[Kind], report: &mut Report) -> Outcome {
        let rounds = if matches!(part, Part::Memory | Part::Scale) { self.rounds.min(2) } else { self.rounds };
        for round in 1..=rounds {
            eprintln!("{part:?}, round {round} of {rounds}");
            match part {
                Part::Cpu => self.cpu(kinds, report).await?,
                Part::Ttft => self.first_token(kinds, report).await?,
                Part::Requests => self.requests(kinds, report).await?,
                Part::Memory => self.memory(kinds, report).await?,
                Part::Scale => self.scale(kinds, report).await?,
            }
        }
        Ok(())
    }

    async fn answers(&self, kind: Kind) -> Outcome {
        let target = Target::start(kind, &self.site).await?;
        self.source.set(Pace::brief(3));
        for protocol in protocols(kind) {
            let endpoint = endpoint(&target, kind, *protocol);
            let mut connection = self.client.connect(endpoint).await?;
            let answered = connection.first_event(Instant::now()).await;
            answered.map_err(|error| format!("{} ({}): {error}", kind.name(), protocol.name()))?;
        }
        Ok(())
    }

    async fn cpu(&self, kinds: &[Kind], report: &mut Report) -> Outcome {
        for (kind, protocol) in contestants(kinds) {
            let subject = Subject { target: kind.name(), protocol: protocol.name(), streams: self.streams };
            match self.forward(kind, protocol, self.streams, Spacing::Volleys).await {
                Ok(forwarding) => report.add(Measure::EventInVolley, subject, forwarding.per_event),
                Err(error) => report.note(format!("{subject}: {error}")),
            }
            match self.forward(kind, protocol, self.streams, Spacing::Even).await {
                Ok(forwarding) => {
                    report.add(Measure::Event, subject, forwarding.per_event);
                    report.add(Measure::LatencyMedian, subject, quantile(&forwarding.latencies, 0.5));
                    report.add(Measure::LatencyP99, subject, quantile(&forwarding.latencies, 0.99));
                }
                Err(error) => report.note(format!("{subject}: {error}")),
            }
        }
        Ok(())
    }

    async fn scale(&self, kinds: &[Kind], report: &mut Report) -> Outcome {
        for streams in SCALES {
            // Two sockets a stream here, client's and source's; two in the target.
            let needed = 2 * streams as u64 + 100;
            if procfs::open_files()? < needed {
                report.note(format!("{streams} streams need {needed} open files: raise it with `ulimit -n {needed}`"));
                continue;
            }
            for kind in kinds.iter().copied().filter(|kind| *kind != Kind::PlainHyper) {
                let subject = Subject { target: kind.name(), protocol: Protocol::H1.name(), streams };
                match self.forward(kind, Protocol::H1, streams, Spacing::Volleys).await {
                    Ok(forwarding) => report.add(Measure::ScaleEvent, subject, forwarding.per_event),
                    Err(error) => report.note(format!("{subject}: {error}")),
                }
            }
        }
        Ok(())
    }

    /// Streams at the common rate through a fresh process of `kind`.
    async fn forward(&self, kind: Kind, protocol: Protocol, streams: usize, spacing: Spacing) -> Outcome<Forwarding> {
        let target = Target::start(kind, &self.site).await?;
        let endpoint = endpoint(&target, kind, protocol);
        let tally = Tally::new(self.clock);
        let pace = Pace::endless(streams, self.rate, spacing);
        self.source.set(pace);
        let _open = Streams::open(&self.client, endpoint, streams, &tally).await?;
        sleep(SETTLE.max(2 * pace.interval)).await;

        tally.record();
        let late = self.source.late();
        let (events, time) = (tally.events(), procfs::processor_time(target.pid())?);
        sleep(self.window).await;
        let (events, time) = (tally.events() - events, procfs::processor_time(target.pid())? - time);
        let late = self.source.late() - late;
        tally.check()?;

        let expected = self.rate * self.window.as_secs_f64();
        if (events as f64) < expected * 0.95 {
            return Err(format!("{events} events of {expected}: the machine or the target could not keep up").into());
        }
        // Late events come in a heap, which a proxy handles more cheaply: such a round would flatter.
        if late as f64 > expected * LATE {
            return Err(
                format!("{late} of {events} events left the source late: the machine was busy, round dropped").into()
            );
        }
        let mut latencies = tally.latencies();
        latencies.sort_by(f64::total_cmp);
        Ok(Forwarding { per_event: micros(time) / events as f64, latencies })
    }

    async fn first_token(&self, kinds: &[Kind], report: &mut Report) -> Outcome {
        self.source.set(Pace::brief(1));
        let direct =
            Endpoint { address: self.source.address, protocol: Protocol::Plain, resumable: false, with_key: false };
        let mut racers = vec![Racer::new("direct", direct, None)];
        for (kind, protocol) in contestants(kinds) {
            let target = Target::start(kind, &self.site).await?;
            racers.push(Racer::new(kind.name(), endpoint(&target, kind, protocol), Some(target)));
        }
        for turn in 0..self.requests {
            // Nobody always runs behind the same neighbour.
            let first = turn % racers.len();
            for index in (first..racers.len()).chain(0..first) {
                racers[index].race(&self.client).await?;
            }
        }
        let (direct, targets) = racers.split_first().ok_or("no racers")?;
        for (measure, own, base) in [
            (Measure::FirstTokenReused, Racer::reused as fn(&Racer) -> &[f64], &direct.reused),
            (Measure::FirstTokenNew, Racer::new_connection, &direct.new),
            (Measure::FirstTokenBurst, Racer::burst, &direct.burst),
        ] {
            for racer in targets {
                let added = own(racer).iter().zip(base).map(|(own, direct)| own - direct).collect();
                report.add(measure, racer.subject(), median(added));
            }
        }
        report.add(Measure::DirectReused, direct.subject(), median(direct.reused.clone()));
        report.add(Measure::DirectNew, direct.subject(), median(direct.new.clone()));
        Ok(())
    }

    async fn requests(&self, kinds: &[Kind], report: &mut Report) -> Outcome {
        self.source.set(Pace::brief(1));
        for (kind, protocol) in contestants(kinds) {
            let subject = Subject { target: kind.name(), protocol: protocol.name(), streams: CALLERS };
            match self.short_request(kind, protocol).await {
                Ok(time) => report.add(Measure::Request, subject, time),
                Err(error) => report.note(format!("{subject}: {error}")),
            }
        }
        Ok(())
    }

    /// Microseconds of processor time per request.
    async fn short_request(&self, kind: Kind, protocol: Protocol) -> Outcome<f64> {
        let target = Target::start(kind, &self.site).await?;
        let endpoint = endpoint(&target, kind, protocol);
        let mut connections = Vec::new();
        for _ in 0..CALLERS {
            let mut connection = self.client.connect(endpoint).await?;
            connection.first_event(Instant::now()).await?;
            connections.push(connection);
        }
        let (before, until) = (procfs::processor_time(target.pid())?, Instant::now() + self.window);
        let mut callers = JoinSet::new();
        for mut connection in connections {
            callers.spawn(async move {
                let mut requests = 0_u32;
                while Instant::now() < until {
                    connection.first_event(Instant::now()).await?;
                    requests += 1;
                }
                // the connection is closed after the measurement
                Ok::<_, BoxError>((requests, connection))
            });
        }
        let mut requests = 0;
        let mut open = Vec::new();
        while let Some(caller) = callers.join_next().await {
            let (count, connection) = caller??;
            requests += count;
            open.push(connection);
        }
        let time = procfs::processor_time(target.pid())? - before;
        Ok(micros(time) / f64::from(requests))
    }

    async fn memory(&self, kinds: &[Kind], report: &mut Report) -> Outcome {
        for (kind, protocol) in contestants(kinds) {
            let subject = Subject { target: kind.name(), protocol: protocol.name(), streams: self.idle };
            match self.hold(kind, protocol).await {
                Ok((kib, idle)) => {
                    report.add(Measure::Memory, subject, kib);
                    report.add(Measure::Idle, subject, idle);
                }
                Err(error) => report.note(format!("{subject}: {error}")),
            }
        }
        Ok(())
    }

    /// KiB of resident set per idle stream, and microseconds of processor time per stream and second.
    async fn hold(&self, kind: Kind, protocol: Protocol) -> Outcome<(f64, f64)> {
        let target = Target::start(kind, &self.site).await?;
        let endpoint = endpoint(&target, kind, protocol);
        let tally = Tally::new(self.clock);
        self.source.set(Pace::IDLE);
        let first = Streams::open(&self.client, endpoint, 1, &tally).await?;
        sleep(SETTLE).await;
        let before = procfs::resident(target.pid())?;

        let _open = Streams::open(&self.client, endpoint, self.idle, &tally).await?;
        sleep(SETTLE).await;
        let after = procfs::resident(target.pid())?;
        let time = procfs::processor_time(target.pid())?;
        sleep(self.window).await;
        let time = procfs::processor_time(target.pid())? - time;
        tally.check()?;
        drop(first);
        let streams = self.idle as f64;
        Ok(((after - before) as f64 / streams, micros(time) / streams / self.window.as_secs_f64()))
    }
}

/// What forwarding cost, and how late the events came.
struct Forwarding {
    per_event: f64,
    latencies: Vec<f64>,
}

/// One way from client to source, with the times that it took, in microseconds.
struct Racer {
    name: &'static str,
    endpoint: Endpoint,
    _target: Option<Target>,
    connection: Option<Connection>,
    connections: Vec<Connection>,
    reused: Vec<f64>,
    new: Vec<f64>,
    burst: Vec<f64>,
}

impl Racer {
    fn new(name: &'static str, endpoint: Endpoint, target: Option<Target>) -> Self {
        Racer {
            name,
            endpoint,
            _target: target,
            connection: None,
            connections: Vec::new(),
            reused: Vec::new(),
            new: Vec::new(),
            burst: Vec::new(),
        }
    }

    fn subject(&self) -> Subject {
        Subject { target: self.name, protocol: self.endpoint.protocol.name(), streams: 1 }
    }

    fn reused(&self) -> &[f64] {
        &self.reused
    }

    fn new_connection(&self) -> &[f64] {
        &self.new
    }

    fn burst(&self) -> &[f64] {
        &self.burst
    }

    /// One request on a new connection, one on the kept one, and a burst: the mean of its requests counts.
    async fn race(&mut self, client: &Client) -> Outcome {
        let start = Instant::now();
        let mut fresh = client.connect(self.endpoint).await?;
        self.new.push(micros(fresh.first_event(start).await?));
        drop(fresh);
        rest().await;
        let kept = match &mut self.connection {
            Some(kept) => kept,
            none => {
                let mut kept = client.connect(self.endpoint).await?;
                kept.first_event(Instant::now()).await?;
                rest().await;
                none.insert(kept)
            }
        };
        self.reused.push(micros(kept.first_event(Instant::now()).await?));
        rest().await;
        while self.connections.len() < BURST {
            let mut connection = client.connect(self.endpoint).await?;
            connection.first_event(Instant::now()).await?;
            self.connections.push(connection);
        }
        let start = Instant::now();
        let times = try_join_all(self.connections.iter_mut().map(|connection| connection.first_event(start))).await?;
        self.burst.push(micros(times.iter().sum::<Duration>()) / BURST as f64);
        rest().await;
        Ok(())
    }
}

/// Lets every process finish with the request before.
async fn rest() {
    sleep(Duration::from_millis(1)).await;
}

fn contestants(kinds: &[Kind]) -> impl Iterator<Item = (Kind, Protocol)> + '_ {
    kinds.iter().flat_map(|kind| protocols(*kind).iter().map(|protocol| (*kind, *protocol)))
}

fn endpoint(target: &Target, kind: Kind, protocol: Protocol) -> Endpoint {
    Endpoint { address: target.address, protocol, resumable: kind == Kind::Resumable, with_key: kind == Kind::Limited }
}

/// A byte copy cannot speak HTTP/2 to one side and HTTP/1.1 to the other.
fn protocols(kind: Kind) -> &'static [Protocol] {
    if kind == Kind::Floor { &[Protocol::H1] } else { &[Protocol::H1, Protocol::H2] }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or(f64::NAN)
}
