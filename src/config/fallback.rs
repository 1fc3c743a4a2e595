//! `[fallback]`: when another model is asked, and how often. Pure.

use std::time::Duration;

use crate::failover::circuit::CoolDown;
use crate::failover::retry_budget::Terms;

/// `[fallback]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// For all attempts at one request together, from its head to the first output.
    pub deadline: Duration,
    /// How many attempts after a failure there may be.
    pub retry_budget: Terms,
    /// How long a model or an upstream that failed is left alone.
    pub cool_down: CoolDown,
    /// `[fallback.hedge]`; `None` = off.
    pub hedge: Option<Hedge>,
}

/// `[fallback.hedge]`: a second attempt beside a slow first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hedge {
    /// How late the first output must be.
    pub after: HedgeAfter,
    /// How many of these there may be.
    pub budget: Terms,
}

/// `fallback.hedge.after`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// Later than nineteen of twenty of the model's own.
    P95,
    /// Later than this.
    Time(Duration),
}
