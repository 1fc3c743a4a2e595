//! Money: prices, the bill of one request, savings, and the daily budget of each caller.

pub mod bill;
pub mod budget;
pub mod savings;
pub mod settings;
pub mod tally;
pub mod workload;
