//! One file or directory per subcommand; `failure` is how all of them report failures.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod cost;
pub(crate) mod demo_upstream;
pub(crate) mod doctor;
pub(crate) mod failure;
pub(crate) mod key;
pub(crate) mod route;
pub(crate) mod serve;
pub(crate) mod token;
