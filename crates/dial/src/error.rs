//! Why there is no connection: what, where, and the mend, in one line. Pure.

use std::fmt;
use std::io;

use rustls::AlertDescription;

use crate::connect_error::{Cause, CertificateFault, ConnectError};

/// Why a server cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// What was given is no URL that can be connected to.
    Url {
        /// What is wrong with it.
        reason: &'static str,
        /// What to write instead.
        mend: &'static str,
    },
    /// The file with trusted authorities cannot be used.
    Authorities {
        /// Where it is.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection, or none that is trusted.
    ConnectError(ConnectError),
    /// The server does not speak the version of HTTP that was asked for.
    NotOffered {
        /// Host and port.
        place: String,
        /// `HTTP/2` or `HTTP/1.1`.
        wanted: &'static str,
    },
}

impl Error {
    /// One word for counts: a closed set.
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
                Cause::Certificate(_) => "certificate",
                Cause::NotTls => "not_tls",
                Cause::Handshake(_) => "tls",
            },
            Error::NotOffered { .. } => "protocol_not_offered",
        }
    }

    /// No connection to this host and port.
    pub(super) fn connect_error(place: String, cause: Cause) -> Self {
        Error::ConnectError(ConnectError { place, cause })
    }

    /// Of a failed TLS handshake.
    pub(super) fn tls(place: String, wanted: &'static str, error: &io::Error) -> Self {
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
            Error::Url { reason, mend } => write!(f, "the URL {reason}; {mend}"),
            Error::Authorities { file, reason } => {
                write!(f, "--ca {file}: {reason}; name a PEM file that holds the certificates of authorities to trust")
            }
            Error::ConnectError(connect_error) => {
                write!(f, "{connect_error}")?;
                mend(&connect_error.cause).map_or(Ok(()), |mend| write!(f, "; {mend}"))
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

/// What the user of a tool can do.
fn mend(cause: &Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::NoSuchHost => "check the name's spelling and the resolver",
        Cause::Refused => "nothing listens there: start the server, or check the port",
        Cause::NoRoute => "check the address, the network and the firewall",
        Cause::TimedOut(_) => "check the address and the firewall, or allow more time with --timeout",
        Cause::Certificate(fault) => match fault {
            CertificateFault::UnknownIssuer => "name its authority with --ca FILE",
            CertificateFault::WrongName => "use a name that stands in it, or mend the certificate",
            CertificateFault::Expired => "renew it, or set this machine's clock",
            CertificateFault::NotYetValid => "set this machine's clock",
            CertificateFault::Other => "mend it, or, to look at the rest all the same, say --insecure",
        },
        Cause::NotTls => "begin the URL with http://",
        Cause::Socket(_) | Cause::Handshake(_) => return None,
    })
}

impl std::error::Error for Error {}
