//! `[fallback]` as it is written. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::fallback::HedgeAfter;
use super::problem::{Field, Mistake, quoted};
use super::section::Section;
use super::values::{Value, format_duration, kind, parse_duration};
use crate::failover::retry_budget::Share;

/// Less is no pause, more is no pause but a verdict.
const COOL_DOWN: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

/// `[fallback]`
#[derive(Debug, PartialEq)]
pub(super) struct Fallback {
    pub(super) deadline: Field<Duration>,
    pub(super) retry_budget: Field<Share>,
    pub(super) cool_down: Field<Duration>,
    pub(super) max_cool_down: Field<Duration>,
    pub(super) hedge: Hedge,
}

/// `[fallback.hedge]`
#[derive(Debug, PartialEq)]
pub(super) struct Hedge {
    pub(super) after: Field<After>,
    pub(super) budget: Field<Share>,
}

/// `fallback.hedge.after`; `None` is `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After(pub(super) Option<HedgeAfter>);

impl Fallback {
    pub(super) fn read(fallback: &mut Section<'_, '_>) -> Self {
        let deadline = Duration::from_millis(1)..=Duration::from_hours(24);
        Self {
            deadline: fallback.within("deadline", Duration::from_mins(5), deadline),
            retry_budget: fallback.or("retry_budget", Share::of_thousand(200)),
            cool_down: fallback.within("cool_down", Duration::from_secs(5), COOL_DOWN),
            max_cool_down: fallback.within("max_cool_down", Duration::from_mins(2), COOL_DOWN),
            hedge: fallback.section("hedge", Hedge::read),
        }
    }
}

impl Hedge {
    fn read(hedge: &mut Section<'_, '_>) -> Self {
        Self { after: hedge.or("after", After(None)), budget: hedge.or("budget", Share::of_thousand(50)) }
    }
}

impl Value for Share {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write a number from 0 to 1, such as 0.2";
        let number = match value {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(integer) => integer.as_str().parse::<f64>().ok(),
            _ => return Err(Mistake::new(format!("must be a number, not {}", kind(value)), mend)),
        };
        match number {
            Some(number) if (0.0..=1.0).contains(&number) => Ok(Self::of_thousand((number * 1000.0).round() as u32)),
            _ => Err(Mistake::new("is out of range", mend)),
        }
    }
}

impl Value for After {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write \"off\", \"p95\", or a time such as \"800ms\"";
        let Some(text) = value.as_str() else {
            return Err(Mistake::new(format!("must be a string, not {}", kind(value)), mend));
        };
        match text {
            "off" => Ok(Self(None)),
            "p95" => Ok(Self(Some(HedgeAfter::P95))),
            text => match parse_duration(text) {
                Ok(time) if time.is_zero() => {
                    let reason = format!("is {}: every request would be asked twice", format_duration(time));
                    Err(Mistake::new(reason, mend))
                }
                Ok(time) => Ok(Self(Some(HedgeAfter::Time(time)))),
                Err(_) => Err(Mistake::new(format!("{} is no time to wait", quoted(text)), mend)),
            },
        }
    }
}
