//! Connections to any HTTP server, as the two tools make them: each phase is timed, each failure is one clear sentence.
//!
//! `upstream/connect` is the gateway's own way to a provider it is configured for. This one is for servers that nobody here
//! knows: it speaks whichever version is asked for, and says what to change where it cannot connect.
//!
//! ```no_run
//! # async fn example() -> Result<(), dial::Error> {
//! use dial::{Dialer, Target, Trust, Versions};
//!
//! let target = Target::parse("https://api.example.com/v1/models")?;
//! let dialer = Dialer::new(target, Versions::Any, &Trust::PublicRoots, std::time::Duration::from_secs(10))?;
//! let connection = dialer.dial().await?;
//! println!("TCP {:?}, TLS {:?}", connection.phases.tcp, connection.phases.tls);
//! # Ok(())
//! # }
//! ```

pub mod connect_error;
mod connection;
mod dialer;
mod error;
mod tap;
mod target;
mod trust;

pub use connection::{Connection, Phases, SendError};
pub use dialer::Dialer;
pub use error::Error;
pub use tap::Tap;
pub use target::{Target, Versions};
pub use trust::Trust;
