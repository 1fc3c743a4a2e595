//! A run: starts streams by the plan, and reports each sample when its stream ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::StreamClient;
use super::measurement::Slot;
use super::prompts::Prompts;
use super::schedule::{Plan, Times, Turn, Turns, user_start};
use crate::report::document::Load;
use crate::report::sample::{Outcome, Sample};

/// The pause of a closed-loop user after a failure: a server that fails at once is not flooded.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A run that has not started.
pub struct Run {
    /// The schedule.
    pub plan: Plan,
    /// The request bodies.
    pub prompts: Prompts,
    /// One client for each target of the plan.
    pub clients: Vec<StreamClient>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// The duration, with the warm-up.
    pub elapsed: Duration,
    /// Whether it was stopped before its limit.
    pub interrupted: bool,
    /// The streams that were open when it was stopped. No figure includes them.
    pub cut: u64,
}

/// A report of a running run.
#[derive(Debug)]
pub enum RunEvent {
    /// A measured stream has started.
    Started,
    /// A measured stream has ended.
    Ended(Box<Sample>),
}

impl Run {
    /// Runs to its limit, or until `stop`. Streams that are open at the limit run to their end.
    pub async fn execute(self, stop: CancellationToken, mut on_event: impl FnMut(RunEvent)) -> RunEnd {
        let run_start = Instant::now();
        let (out, mut events) = mpsc::unbounded_channel();
        let streams = Arc::new(Streams { prompts: self.prompts, clients: self.clients, run_start, out });
        let mut tasks = JoinSet::new();
        match self.plan.load {
            Load::Closed { users } => {
                let turns = Arc::new(Mutex::new(Turns::new(&self.plan)));
                for user in 0..users {
                    let start = run_start + user_start(user, users, self.plan.ramp);
                    tasks.spawn(Arc::clone(&streams).user(start, Arc::clone(&turns)));
                }
                drop(streams);
            }
            Load::Open { rate, arrivals } => {
                let starts = starts(&self.plan, Times::new(&self.plan, rate, arrivals), run_start);
                tasks.spawn(streams.open_loop(starts));
            }
        }
        let mut open = 0;
        let interrupted = loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => {
                        match event {
                            RunEvent::Started => open += 1,
                            RunEvent::Ended(_) => open -= 1,
                        }
                        on_event(event);
                    }
                    // every task has dropped its sender
                    None => break false,
                },
                () = stop.cancelled() => break true,
            }
        };
        let elapsed = run_start.elapsed();
        tasks.shutdown().await;
        RunEnd { elapsed, interrupted, cut: if interrupted { open } else { 0 } }
    }
}

/// The state that all streams of a run share.
struct Streams {
    prompts: Prompts,
    clients: Vec<StreamClient>,
    run_start: Instant,
    out: mpsc::UnboundedSender<RunEvent>,
}

impl Streams {
    /// One user of a closed loop.
    async fn user(self: Arc<Self>, start: Instant, turns: Arc<Mutex<Turns>>) {
        sleep_until(start).await;
        loop {
            let at = self.run_start.elapsed();
            let turn = turns.lock().unwrap_or_else(PoisonError::into_inner).next_at(at);
            let Some(turn) = turn else { return };
            for target in turn.order(self.clients.len()) {
                if !self.stream(turn, target, Instant::now()).await {
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    /// Starts each stream at its time, independent of the streams before.
    async fn open_loop(self: Arc<Self>, mut starts: mpsc::UnboundedReceiver<Start>) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                start = starts.recv() => match start {
                    Some(Start { turn, target, at }) => {
                        let streams = Arc::clone(&self);
                        open.spawn(async move { streams.stream(turn, target, at).await });
                    }
                    None => break,
                },
                Some(_) = open.join_next() => {}
            }
        }
        while open.join_next().await.is_some() {}
    }

    /// Runs one stream; `false` where it failed.
    async fn stream(&self, turn: Turn, target: usize, scheduled: Instant) -> bool {
        if turn.measured {
            // the receiver is gone when the run was stopped
            let _ = self.out.send(RunEvent::Started);
        }
        let slot = Slot { target, number: turn.number, run_start: self.run_start, scheduled };
        let sample = self.clients[target].measure(self.prompts.body(turn.number), slot).await;
        let failed = matches!(sample.outcome, Outcome::Failed(_));
        if turn.measured {
            let _ = self.out.send(RunEvent::Ended(Box::new(sample)));
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

/// Sends each start when it is due, from a thread of its own. The runtime's timers are up to a millisecond late, which would
/// be part of every time that counts from the schedule; a thread's sleep is some ten microseconds late.
fn starts(plan: &Plan, times: Times, run_start: Instant) -> mpsc::UnboundedReceiver<Start> {
    let (due, starts) = mpsc::unbounded_channel();
    let (mut turns, targets) = (Turns::new(plan), plan.targets);
    let sleep = move || {
        let mut times = times.peekable();
        while let Some(turn) = times.peek().and_then(|time| turns.next_at(*time)) {
            for target in turn.order(targets) {
                let Some(at) = times.next().and_then(|time| run_start.checked_add(time)) else { return };
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
