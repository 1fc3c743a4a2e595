//! `[routing]` as it is written. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Field, Mistake};
use super::section::Section;
use super::values::Value;
use crate::routing::auto::Mode;

/// Who waits longer for a decision than for an answer needs none.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);

/// `[routing]`
#[derive(Debug, PartialEq)]
pub(super) struct Routing {
    pub(super) default: Field<Option<String>>,
    pub(super) auto: Option<Auto>,
}

/// `[routing.auto]`
#[derive(Debug, PartialEq)]
pub(super) struct Auto {
    pub(super) easy: Field<String>,
    pub(super) hard: Field<String>,
    pub(super) classifier: Field<Option<String>>,
    pub(super) mode: Field<Mode>,
    pub(super) timeout: Field<Duration>,
    pub(super) keywords_easy: Field<Vec<Field<String>>>,
    pub(super) keywords_hard: Field<Vec<Field<String>>>,
}

impl Routing {
    pub(super) fn read(routing: &mut Section<'_, '_>) -> Self {
        Self { default: routing.or("default", None), auto: routing.section_if_written("auto", Auto::read) }
    }
}

impl Auto {
    fn read(auto: &mut Section<'_, '_>) -> Self {
        Self {
            easy: auto.required("easy", "write the name of the model that answers what is easy"),
            hard: auto.required("hard", "write the name of the model that answers what is hard"),
            classifier: auto.or("classifier", None),
            mode: auto.or("mode", Mode::Speculative),
            timeout: auto.within("timeout", Duration::from_millis(1500), TIMEOUT),
            keywords_easy: auto.strings("keywords_easy"),
            keywords_hard: auto.strings("keywords_hard"),
        }
    }
}

impl Value for Mode {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("speculative") => Ok(Self::Speculative),
            Some("first") => Ok(Self::First),
            Some("rules") => Ok(Self::Rules),
            _ => Err(Mistake::new(
                "must be \"speculative\", \"first\" or \"rules\"",
                "write \"speculative\" for the least delay, \"first\" for the least cost, \"rules\" for no classifier",
            )),
        }
    }
}
