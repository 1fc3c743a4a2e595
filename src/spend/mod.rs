//! Money: prices, the bill of one request, what was saved, and the budget of each caller.

pub mod bill;
pub mod budget;
pub mod savings;
pub mod settings;
pub mod tally;
pub mod workload;
