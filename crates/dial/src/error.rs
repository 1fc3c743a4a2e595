//! Why a tool has no connection: the place, the cause and the fix, in one line. Pure.

use std::fmt;
use std::io;

use rustls::AlertDescription;

use crate::connect_error::{Cause, CertificateFault, ConnectError};

/// Why a server cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The text is no URL that can be connected to.
    Url {
        /// What is wrong with it.
        reason: &'static str,
        /// What to write instead.
        fix: &'static str,
    },
    /// The file of trusted authorities cannot be used.
    Authorities {
        /// Its path.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection, or no trusted one.
    ConnectError(ConnectError),
    /// The server does not offer the HTTP version that was asked for.
    NotOffered {
        /// Host and port.
        place: String,
        /// `HTTP/2` or `HTTP/1.1`.
        wanted: &'static str,
    },
}

impl Error {
    /// One word of a closed set, for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Url { .. } => "url",
            Error::Authorities { .. } => "authorities",
            Error::ConnectError(connect_error) => match connect_error.cause {
                Cause::NoSuchHost => "no_such_host",
                Cause::Refused => "connection_refused",
                Cause::NoRoute => "unreachable",
                Cause::TimedOut(_) => "connect_timeout",
                Cause::Socket(_) => "socket",
                Cause::Proxy(_) => "proxy",
                Cause::Certificate(_) => "certificate",
                Cause::NotTls => "not_tls",
                Cause::Handshake(_) => "tls",
            },
            Error::NotOffered { .. } => "protocol_not_offered",
        }
    }

    /// No connection to this host and port.
    pub(crate) fn connect_error(place: String, cause: Cause) -> Self {
        Error::ConnectError(ConnectError { place, cause })
    }

    /// The error for a failed TLS handshake.
    pub(crate) fn tls(place: String, wanted: &'static str, error: &io::Error) -> Self {
        let of_rustls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match of_rustls {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                Error::NotOffered { place, wanted }
            }
            _ => Error::connect_error(place, Cause::of_tls(error)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url { reason, fix } => write!(f, "the URL {reason}; {fix}"),
            Error::Authorities { file, reason } => {
                write!(f, "--ca {file}: {reason}; name a PEM file that holds the certificates of authorities to trust")
            }
            Error::ConnectError(connect_error) => {
                write!(f, "{connect_error}")?;
                fix(&connect_error.cause).map_or(Ok(()), |fix| write!(f, "; {fix}"))
            }
            Error::NotOffered { place, wanted } => {
                write!(
                    f,
                    "{place}: the server does not offer {wanted} in its TLS handshake (ALPN); ask for another --http"
                )
            }
        }
    }
}

/// The fix for the user of a tool.
fn fix(cause: &Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::NoSuchHost => "check the name's spelling and the resolver",
        Cause::Refused => "nothing listens there: start the server, or check the port",
        Cause::NoRoute => "check the address, the network and the firewall",
        Cause::TimedOut(_) => "check the address and the firewall, or allow more time with --timeout",
        Cause::Certificate(fault) => match fault {
            CertificateFault::UnknownIssuer => "name its authority with --ca FILE",
            CertificateFault::WrongName => "use a name that the certificate contains, or replace the certificate",
            CertificateFault::Expired => "renew it, or set this machine's clock",
            CertificateFault::NotYetValid => "set this machine's clock",
            CertificateFault::Other => "replace it, or accept it for this run with --insecure",
        },
        Cause::NotTls => "begin the URL with http://",
        Cause::Socket(_) | Cause::Proxy(_) | Cause::Handshake(_) => return None,
    })
}

impl std::error::Error for Error {}
