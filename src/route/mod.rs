//! Which model answers: the table of models, what they cost, and what the name `auto` means. Pure.

pub mod auto;
pub mod classifier;
pub mod excerpt;
pub mod price;
pub mod rules;
pub mod table;
pub mod verdict;
