//! A run: starts streams by the plan, and hands over each sample as it comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::asker::Asker;
use super::prompts::Prompts;
use super::schedule::{Load, Plan, Times, Turn, Turns, user_comes};
use super::taking::Place;
use crate::report::sample::{Outcome, Sample};

/// How long a user of a closed loop waits after a failure: one that fails at once must not become a flood.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// All that a run needs.
pub struct Run {
    /// When streams start.
    pub plan: Plan,
    /// What they ask.
    pub prompts: Prompts,
    /// Whom: as many as the plan's targets.
    pub askers: Vec<Asker>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How long it took, the warm-up included.
    pub elapsed: Duration,
    /// It was stopped before its limit.
    pub interrupted: bool,
    /// Streams that were under way when it was stopped: they are in no figure.
    pub cut: u64,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Told {
    /// A measured stream has started.
    Started,
    /// A measured stream has ended.
    Ended(Box<Sample>),
}

impl Run {
    /// Runs to its limit, or until `stop`. What is under way at the limit is run to its end.
    pub async fn go(self, stop: CancellationToken, mut tell: impl FnMut(Told)) -> Ended {
        let beginning = Instant::now();
        let (out, mut samples) = mpsc::unbounded_channel();
        let streams = Arc::new(Streams { prompts: self.prompts, askers: self.askers, beginning, out });
        let mut tasks = JoinSet::new();
        match self.plan.load {
            Load::Closed { users } => {
                let turns = Arc::new(Mutex::new(Turns::new(&self.plan)));
                for user in 0..users {
                    let comes = beginning + user_comes(user, users, self.plan.ramp);
                    tasks.spawn(Arc::clone(&streams).user(comes, Arc::clone(&turns)));
                }
                drop(streams);
            }
            Load::Open { rate, arrivals } => {
                let starts = starts(&self.plan, Times::new(&self.plan, rate, arrivals), beginning);
                tasks.spawn(streams.open_loop(starts));
            }
        }
        let mut under_way = 0;
        let interrupted = loop {
            tokio::select! {
                biased;
                told = samples.recv() => match told {
                    Some(told) => {
                        match told {
                            Told::Started => under_way += 1,
                            Told::Ended(_) => under_way -= 1,
                        }
                        tell(told);
                    }
                    // every task has dropped its end
                    None => break false,
                },
                () = stop.cancelled() => break true,
            }
        };
        let elapsed = beginning.elapsed();
        tasks.shutdown().await;
        Ended { elapsed, interrupted, cut: if interrupted { under_way } else { 0 } }
    }
}

/// What all streams of a run share.
struct Streams {
    prompts: Prompts,
    askers: Vec<Asker>,
    beginning: Instant,
    out: mpsc::UnboundedSender<Told>,
}

impl Streams {
    /// One user of a closed loop.
    async fn user(self: Arc<Self>, comes: Instant, turns: Arc<Mutex<Turns>>) {
        sleep_until(comes).await;
        loop {
            let at = self.beginning.elapsed();
            let turn = turns.lock().unwrap_or_else(PoisonError::into_inner).next_at(at);
            let Some(turn) = turn else { return };
            for target in turn.order(self.askers.len()) {
                if !self.stream(turn, target, Instant::now()).await {
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    /// Starts each stream at its time, whatever has become of those before.
    async fn open_loop(self: Arc<Self>, mut starts: mpsc::UnboundedReceiver<Start>) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                start = starts.recv() => match start {
                    Some(Start { turn, target, at }) => {
                        let streams = Arc::clone(&self);
                        under_way.spawn(async move { streams.stream(turn, target, at).await });
                    }
                    None => break,
                },
                Some(_) = under_way.join_next() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Runs one stream; `false` where it failed.
    async fn stream(&self, turn: Turn, target: usize, scheduled: Instant) -> bool {
        if turn.measured {
            // nobody listens any more when the run has been stopped
            let _ = self.out.send(Told::Started);
        }
        let place = Place { target, number: turn.number, beginning: self.beginning, scheduled };
        let sample = self.askers[target].stream(self.prompts.body(turn.number), place).await;
        let failed = matches!(sample.outcome, Outcome::Failed(_));
        if turn.measured {
            let _ = self.out.send(Told::Ended(Box::new(sample)));
        }
        !failed
    }
}

/// A stream of an open loop that is due.
struct Start {
    turn: Turn,
    target: usize,
    at: Instant,
}

/// Sends each start when it is due, from a thread of its own: the runtime's timers are a millisecond late, which would be
/// part of every time that counts from the schedule; a thread's sleep is some ten microseconds late.
fn starts(plan: &Plan, times: Times, beginning: Instant) -> mpsc::UnboundedReceiver<Start> {
    let (due, starts) = mpsc::unbounded_channel();
    let (mut turns, targets) = (Turns::new(plan), plan.targets);
    let sleep = move || {
        let mut times = times.peekable();
        while let Some(turn) = times.peek().and_then(|time| turns.next_at(*time)) {
            for target in turn.order(targets) {
                let Some(at) = times.next().and_then(|time| beginning.checked_add(time)) else { return };
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                if due.send(Start { turn, target, at }).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::spawn(sleep);
    starts
}
