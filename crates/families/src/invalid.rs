//! A request that cannot be accepted. Pure.

use std::fmt;

/// What is wrong with a request: the JSON path, what was expected there and what was found, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}
