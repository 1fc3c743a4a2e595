//! The errors of Redis, as a closed set.

use redis::{ErrorKind, ServerErrorKind};

/// Why there is no usable reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisError {
    /// There is no connection now.
    NotConnected,
    /// No connection could be made.
    Connect,
    /// No reply within the timeout.
    Slow,
    /// The connection broke.
    Io,
    /// The server is loading its data.
    Loading,
    /// The server is a replica, or has become one.
    ReadOnly,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// A key holds a value of another type.
    WrongType,
    /// The password is wrong or missing, or an ACL forbids it.
    Denied,
    /// The cluster has no node for the key.
    Cluster,
    /// The reply has not the form that the script returns.
    Reply,
    /// Any other error reply.
    Other,
}

impl RedisError {
    /// All errors.
    pub const ALL: [Self; 12] = [
        Self::NotConnected,
        Self::Connect,
        Self::Slow,
        Self::Io,
        Self::Loading,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::WrongType,
        Self::Denied,
        Self::Cluster,
        Self::Reply,
        Self::Other,
    ];

    /// Classifies an error of the client library.
    pub fn of(error: &redis::RedisError) -> Self {
        if error.is_timeout() {
            return Self::Slow;
        }
        match error.kind() {
            ErrorKind::Io => Self::Io,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Reply,
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => Self::Denied,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::Loading,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::CrossSlot
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask,
            ) => Self::Cluster,
            _ => match error.code() {
                Some("OOM") => Self::OutOfMemory,
                Some("WRONGTYPE") => Self::WrongType,
                Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Denied,
                _ => Self::Other,
            },
        }
    }

    /// Returns the value of the metric's label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Connect => "connect",
            Self::Slow => "timeout",
            Self::Io => "io",
            Self::Loading => "loading",
            Self::ReadOnly => "readonly",
            Self::OutOfMemory => "oom",
            Self::WrongType => "wrong_type",
            Self::Denied => "denied",
            Self::Cluster => "cluster",
            Self::Reply => "reply",
            Self::Other => "error",
        }
    }

    /// Whether a healthy server refused the command.
    pub(super) fn is_a_refusal(self) -> bool {
        matches!(self, Self::OutOfMemory | Self::WrongType | Self::Denied | Self::Other)
    }
}
