//! Which model answers: the table of models and what they cost. Pure.

pub mod price;
pub mod table;
pub mod workload;
