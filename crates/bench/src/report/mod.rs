//! What a load test has found: one sample for each stream, and what is made of them: figures, a verdict on how the events were
//! delivered, and three renderings (terminal, JSON, HTML).
//!
//! [`Totals`](totals::Totals) takes [`Sample`](sample::Sample)s one by one, in memory that does not grow with their number, and
//! ends in a [`Document`](document::Document), which is what `--json` writes and what the others render. Pure.

pub mod compare;
pub mod delivery;
pub mod document;
mod finish;
pub mod format;
pub mod hdr;
mod html;
pub mod sample;
pub mod setting;
pub mod terminal;
pub mod thinned;
pub mod totals;
