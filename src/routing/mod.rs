//! Selects the model for requests to `auto`: the rules, the classifier, and its cached verdicts.

pub mod auto;
pub mod classifier;
pub mod plan;
pub mod router;
pub mod rules;
pub mod settings;
pub mod verdict;
pub mod verdict_cache;
