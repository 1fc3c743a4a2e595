//! Configuration that is declared once: see the README.
//!
//! [`section!`] declares a TOML table, [`section::document`] reads a whole file, [`resolver`] reads what the file names, and
//! [`example`], [`markdown`] and [`schema`] write what the declarations say.

pub mod declare;
pub mod example;
mod field;
pub mod markdown;
mod problem;
pub mod resolver;
pub mod schema;
mod secret;
pub mod section;
mod units;
mod value;

pub use declare::{Key, Nest, Table};
pub use field::{Field, Place, State};
pub use problem::{Mistake, Problem, Problems, nearest, quoted};
pub use resolver::{Env, Resolver};
pub use secret::Secret;
pub use section::{Section, document};
pub use serde_json::Value as Json;
pub use toml::de::DeValue as Toml;
pub use units::{format_duration, format_size, parse_duration, parse_size};
pub use value::{At, Bounded, Entries, EnvName, Size, Strings, Value, kind, number, string};

#[cfg(test)]
mod tests;
