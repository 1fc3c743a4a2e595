//! One file a subcommand.

pub mod check;
pub mod demo_upstream;
pub mod serve;
