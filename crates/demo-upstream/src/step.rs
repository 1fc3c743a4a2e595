//! The words of which a script is made. Pure.

use std::time::Duration;

use bytes::Bytes;

/// What the player does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// One write, not before this time after the end of the request.
    Write { due: Duration, bytes: Bytes },
    /// Wait for a release.
    Hold,
    /// The last step.
    End(Ending),
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It takes the next request.
    KeepAlive,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// It stays open until the client leaves, and nothing more is said.
    Silence,
}

/// A script, made as it is played.
pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send>;
