//! Turns the samples of a load test into figures, a verdict on the delivery of events, and three renderings (terminal, JSON,
//! HTML). Pure.
//!
//! [`Totals`](totals::Totals) adds up [`Sample`](sample::Sample)s in memory that does not grow with their number, and gives a
//! [`Document`](document::Document): the JSON document, which the other two renderings show.

pub mod compare;
pub mod decimated;
pub mod delivery;
pub mod document;
pub(crate) mod finish;
pub mod format;
pub mod hdr;
mod html;
mod names;
pub mod sample;
pub mod terminal;
pub mod totals;
