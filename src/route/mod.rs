//! Which model answers: the table of models and what they cost, how they have done, and how often another one may be asked. Pure.

pub mod health;
pub mod latency;
pub mod price;
pub mod retry_budget;
pub mod table;
pub mod workload;
