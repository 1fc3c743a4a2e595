//! Whether a model or an upstream is worth asking: a circuit breaker as a step function. Pure.
//!
//! *Closed*: it is asked. *Open*: it is not, until its cool-down is over. *Probing*: one request finds out, the others are
//! still kept away. Nothing is sent on purpose: what requests met is all that is known.
//!
//! Times are durations since one moment that the caller chooses and keeps.

use std::time::Duration;

/// So many failures one after another open it.
const IN_A_ROW: u32 = 5;
/// So many of the last attempts are remembered.
const REMEMBERED: u32 = 20;
/// So many failures among them open it.
const AMONG_REMEMBERED: u32 = 10;

/// How long something that failed is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoolDown {
    /// The first time; each probe that fails doubles it.
    pub first: Duration,
    /// Never longer, whatever an upstream's `retry-after` says.
    pub most: Duration,
}

/// What is known of one model, or of one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// How often it has opened.
    opened: u64,
    now: Now,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Closed(History),
    /// `trips`: how often it has opened since it was last closed.
    Open {
        until: Duration,
        trips: u32,
    },
    Probing {
        trips: u32,
    },
}

/// The last attempts, the newest in the lowest bit; a failure is a 1. What was before the first attempt counts as good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct History(u32);

/// What is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is asked.
    Closed,
    /// One request finds out whether it can be asked again.
    Probing,
    /// It is left alone.
    Open,
}

/// The right to ask once. What came of it goes to [`Health::after`], together with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// How often it had opened by then: what began before it last opened says nothing new.
    opened: u64,
    probe: bool,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It gave output, or refused the request for the request's own fault.
    Good,
    /// It failed.
    Failed {
        /// Its own word for how long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Nobody waited for the end.
    Abandoned,
}

impl Default for Now {
    fn default() -> Self {
        Self::Closed(History::default())
    }
}

impl Health {
    /// What is shown of it.
    pub fn state(self) -> State {
        match self.now {
            Now::Closed(_) => State::Closed,
            Now::Open { .. } => State::Open,
            Now::Probing { .. } => State::Probing,
        }
    }

    /// Whether [`Health::ask`] would be granted.
    pub fn is_usable(self, now: Duration) -> bool {
        self.ask(now).is_some()
    }

    /// A request wants to ask it: the permit, and what is known from then on. `None`: it is to be left alone.
    pub fn ask(self, now: Duration) -> Option<(Permit, Self)> {
        match self.now {
            Now::Closed(_) => Some((self.permit(false), self)),
            Now::Open { until, trips } if now >= until => {
                Some((self.permit(true), Self { now: Now::Probing { trips }, ..self }))
            }
            Now::Open { .. } | Now::Probing { .. } => None,
        }
    }

    /// A request asks it all the same, because there is nobody better to ask.
    pub fn ask_anyway(self, now: Duration) -> (Permit, Self) {
        self.ask(now).unwrap_or((self.permit(false), self))
    }

    fn permit(self, probe: bool) -> Permit {
        Permit { opened: self.opened, probe }
    }

    /// What is known after an attempt has ended.
    pub fn after(self, permit: Permit, outcome: Outcome, now: Duration, rules: CoolDown) -> Self {
        let is_new = permit.opened == self.opened;
        let asked_for = |retry_after: Option<Duration>| now + retry_after.unwrap_or_default().min(rules.most);
        let open = |trips: u32, retry_after| {
            let until = asked_for(retry_after).max(now + rules.after(trips));
            Self { opened: self.opened + 1, now: Now::Open { until, trips } }
        };
        match (self.now, outcome) {
            (Now::Closed(history), Outcome::Good) => self.with(Now::Closed(history.with(false))),
            (Now::Closed(history), Outcome::Failed { retry_after }) => {
                let history = history.with(true);
                match retry_after.is_some() || history.is_too_bad() {
                    true => open(1, retry_after),
                    false => self.with(Now::Closed(history)),
                }
            }
            (Now::Open { .. } | Now::Probing { .. }, Outcome::Good) if is_new => self.with(Now::default()),
            (Now::Open { until, trips }, Outcome::Failed { retry_after }) => {
                self.with(Now::Open { until: until.max(asked_for(retry_after)), trips })
            }
            (Now::Probing { trips }, Outcome::Failed { retry_after }) if is_new && permit.probe => {
                open(trips.saturating_add(1), retry_after)
            }
            // the next request is the probe
            (Now::Probing { trips }, Outcome::Abandoned) if is_new && permit.probe => {
                self.with(Now::Open { until: now, trips })
            }
            _ => self,
        }
    }

    fn with(self, now: Now) -> Self {
        Self { now, ..self }
    }
}

impl CoolDown {
    /// The cool-down after opening so many times in succession.
    fn after(self, trips: u32) -> Duration {
        let doubled = 1u32.checked_shl(trips.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }
}

impl History {
    fn with(self, failed: bool) -> Self {
        Self((self.0 << 1 | u32::from(failed)) & ((1 << REMEMBERED) - 1))
    }

    fn is_too_bad(self) -> bool {
        self.0.trailing_ones() >= IN_A_ROW || self.0.count_ones() >= AMONG_REMEMBERED
    }
}

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Probing => "probing",
            State::Open => "open",
        }
    }

    /// The value of the gauge: the worse, the higher.
    pub fn level(self) -> i64 {
        match self {
            State::Closed => 0,
            State::Probing => 1,
            State::Open => 2,
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
