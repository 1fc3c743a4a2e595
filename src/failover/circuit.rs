//! The state of a circuit breaker as a step function. Pure.
//!
//! *Closed*: requests pass. *Open*: no request passes until the cool-down is over. *Probing* (also called half-open): one
//! request passes as a probe, and no other. There are no health checks: the state depends only on the outcomes of requests.
//!
//! Times are durations since one moment that the caller chooses; it must be the same one for all calls.

use std::time::Duration;

/// This many failures in a row open the circuit.
const FAILURES_IN_A_ROW: u32 = 5;
/// The number of attempts in the history.
const HISTORY: u32 = 20;
/// This many failures in the history open the circuit.
const FAILURES_IN_HISTORY: u32 = 10;

/// How long an open circuit stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoolDown {
    /// The first time; each failed probe doubles it.
    pub first: Duration,
    /// The upper bound, also for an upstream's `retry-after`.
    pub most: Duration,
}

/// The circuit of one model, one upstream or the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circuit {
    /// How often it has opened.
    opened: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed(History),
    /// `trips`: how often the circuit has opened since it was last closed.
    Open {
        until: Duration,
        trips: u32,
    },
    Probing {
        trips: u32,
    },
}

/// The last attempts, the newest in the lowest bit; a failure is a 1. Before the first attempt all bits are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct History(u32);

/// The state that metrics and the dashboard show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Requests pass.
    Closed,
    /// One request probes whether the circuit can be closed.
    Probing,
    /// No request passes.
    Open,
}

/// The right to make one attempt. Its outcome goes to [`Circuit::after`], together with the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// How often the circuit had opened when the attempt began. The outcome of an attempt that began before the circuit last
    /// opened is ignored.
    opened: u64,
    probe: bool,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was output, or the request was refused for a fault of its own.
    Success,
    /// The attempt failed.
    Failure {
        /// The `retry-after` of the upstream.
        retry_after: Option<Duration>,
    },
    /// The attempt was cancelled. This does not change the circuit.
    Cancelled,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed(History::default())
    }
}

impl Circuit {
    /// Returns the state.
    pub fn state(self) -> State {
        match self.phase {
            Phase::Closed(_) => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::Probing { .. } => State::Probing,
        }
    }

    /// Whether [`Circuit::acquire`] would give a pass.
    pub fn is_available(self, now: Duration) -> bool {
        self.acquire(now).is_some()
    }

    /// Returns a pass for one attempt and the new circuit, or `None` while the circuit is open or probing.
    pub fn acquire(self, now: Duration) -> Option<(Pass, Self)> {
        match self.phase {
            Phase::Closed(_) => Some((self.pass(false), self)),
            Phase::Open { until, trips } if now >= until => {
                Some((self.pass(true), Self { phase: Phase::Probing { trips }, ..self }))
            }
            Phase::Open { .. } | Phase::Probing { .. } => None,
        }
    }

    /// Returns a pass even if the circuit is open: for a request that has no other candidate.
    pub fn acquire_anyway(self, now: Duration) -> (Pass, Self) {
        self.acquire(now).unwrap_or((self.pass(false), self))
    }

    fn pass(self, probe: bool) -> Pass {
        Pass { opened: self.opened, probe }
    }

    /// Returns the circuit after an attempt has ended.
    pub fn after(self, pass: Pass, outcome: Outcome, now: Duration, rules: CoolDown) -> Self {
        let is_new = pass.opened == self.opened;
        let asked_for = |retry_after: Option<Duration>| now + retry_after.unwrap_or_default().min(rules.most);
        let open = |trips: u32, retry_after| {
            let until = asked_for(retry_after).max(now + rules.after(trips));
            Self { opened: self.opened + 1, phase: Phase::Open { until, trips } }
        };
        match (self.phase, outcome) {
            (Phase::Closed(history), Outcome::Success) => self.with(Phase::Closed(history.with(false))),
            (Phase::Closed(history), Outcome::Failure { retry_after }) => {
                let history = history.with(true);
                match retry_after.is_some() || history.has_too_many_failures() {
                    true => open(1, retry_after),
                    false => self.with(Phase::Closed(history)),
                }
            }
            (Phase::Open { .. } | Phase::Probing { .. }, Outcome::Success) if is_new => self.with(Phase::default()),
            (Phase::Open { until, trips }, Outcome::Failure { retry_after }) => {
                self.with(Phase::Open { until: until.max(asked_for(retry_after)), trips })
            }
            (Phase::Probing { trips }, Outcome::Failure { retry_after }) if is_new && pass.probe => {
                open(trips.saturating_add(1), retry_after)
            }
            // the next request is the probe
            (Phase::Probing { trips }, Outcome::Cancelled) if is_new && pass.probe => {
                self.with(Phase::Open { until: now, trips })
            }
            _ => self,
        }
    }

    fn with(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }
}

impl CoolDown {
    /// Returns the cool-down after opening so many times in succession.
    fn after(self, trips: u32) -> Duration {
        let doubled = 1u32.checked_shl(trips.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }
}

impl History {
    fn with(self, failed: bool) -> Self {
        Self((self.0 << 1 | u32::from(failed)) & ((1 << HISTORY) - 1))
    }

    fn has_too_many_failures(self) -> bool {
        self.0.trailing_ones() >= FAILURES_IN_A_ROW || self.0.count_ones() >= FAILURES_IN_HISTORY
    }
}

impl State {
    /// The name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Probing => "probing",
            State::Open => "open",
        }
    }

    /// The value of the gauge.
    pub fn level(self) -> i64 {
        match self {
            State::Closed => 0,
            State::Probing => 1,
            State::Open => 2,
        }
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
