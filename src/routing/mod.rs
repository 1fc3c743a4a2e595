//! Routing: the plan of a request, and the selection of its model: by name, by rules, or by a classifier and its cached verdicts.

pub mod auto;
pub mod classifier;
pub mod plan;
pub mod router;
pub mod rules;
pub mod verdict;
mod verdict_cache;
