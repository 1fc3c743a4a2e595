#![doc = include_str!("../README.md")]

pub mod connect_error;
mod connection;
mod connector;
mod dialer;
mod error;
mod lookup;
pub mod proxy;
mod tap;
mod target;
mod trust;

pub use connection::{Connection, SendError};
pub use connector::{Connector, Phases, Transport};
pub use dialer::Dialer;
pub use error::Error;
pub use tap::Tap;
pub use target::{Target, Versions};
pub use trust::Trust;
