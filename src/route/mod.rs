//! Which model answers: the table of models and what they cost, what the name `auto` means, how models have done, and how often
//! another one may be asked. Pure.

pub mod auto;
pub mod classifier;
pub mod excerpt;
pub mod health;
pub mod latency;
pub mod price;
pub mod retry_budget;
pub mod rules;
pub mod table;
pub mod verdict;
