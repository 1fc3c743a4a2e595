//! One file a subcommand.

pub mod check;
pub mod demo_upstream;
mod probe;
pub mod serve;
