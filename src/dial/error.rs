//! Why there is no connection: what, where, and the mend, in one line. Pure.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

/// On Linux, macOS and the BSDs alike.
const EMFILE: i32 = 24;

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
    /// The name has no address.
    NoSuchHost {
        /// The name.
        host: String,
    },
    /// Nobody listens there.
    Refused {
        /// Host and port.
        place: String,
    },
    /// There is no way there.
    Unreachable {
        /// Host and port.
        place: String,
    },
    /// No connection in time.
    TimedOut {
        /// Host and port.
        place: String,
        /// The time that it had.
        after: Duration,
    },
    /// The server's certificate is not to be trusted.
    Certificate {
        /// Host and port.
        place: String,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// Something answers, but not with TLS.
    NotTls {
        /// Host and port.
        place: String,
    },
    /// The server does not speak the version of HTTP that was asked for.
    NotOffered {
        /// Host and port.
        place: String,
        /// `HTTP/2` or `HTTP/1.1`.
        wanted: &'static str,
    },
    /// Any other end of the TLS handshake.
    Tls {
        /// Host and port.
        place: String,
        /// rustls's words.
        reason: String,
    },
    /// Any other failure of a socket.
    Socket {
        /// Host and port.
        place: String,
        /// The system's words.
        reason: String,
    },
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// It is signed by nobody who is trusted.
    UnknownIssuer,
    /// It is for another name.
    WrongName,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// Anything else: a broken signature, a wrong use, a revocation.
    Other,
}

impl Error {
    /// One word for counts: a closed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Url { .. } => "url",
            Error::Authorities { .. } => "authorities",
            Error::NoSuchHost { .. } => "no_such_host",
            Error::Refused { .. } => "connection_refused",
            Error::Unreachable { .. } => "unreachable",
            Error::TimedOut { .. } => "connect_timeout",
            Error::Certificate { .. } => "certificate",
            Error::NotTls { .. } => "not_tls",
            Error::NotOffered { .. } => "protocol_not_offered",
            Error::Tls { .. } => "tls",
            Error::Socket { .. } => "socket",
        }
    }

    /// Of a failed TCP connection.
    pub(super) fn tcp(place: String, error: &(dyn std::error::Error + 'static)) -> Self {
        let sources = std::iter::successors(Some(error), |error| error.source());
        let io = sources.filter_map(|error| error.downcast_ref::<io::Error>()).last();
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Error::Refused { place },
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => Error::Unreachable { place },
            _ if io.and_then(io::Error::raw_os_error) == Some(EMFILE) => {
                Error::Socket { place, reason: "too many open files; allow more with `ulimit -n`".to_owned() }
            }
            _ => Error::Socket { place, reason: io.map_or_else(|| error.to_string(), ToString::to_string) },
        }
    }

    /// Of a failed TLS handshake.
    pub(super) fn tls(place: String, wanted: &'static str, error: &io::Error) -> Self {
        let of_rustls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match of_rustls {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                Error::Certificate { place, fault: CertificateFault::of(fault) }
            }
            Some(rustls::Error::InvalidMessage(_)) => Error::NotTls { place },
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                Error::NotOffered { place, wanted }
            }
            Some(error) => Error::Tls { place, reason: error.to_string() },
            None => Error::Tls { place, reason: error.to_string() },
        }
    }
}

impl CertificateFault {
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                CertificateFault::WrongName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                CertificateFault::NotYetValid
            }
            _ => CertificateFault::Other,
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
            Error::NoSuchHost { host } => write!(f, "{host}: no such host; check the name's spelling and the resolver"),
            Error::Refused { place } => {
                write!(f, "{place}: connection refused; nothing listens there: start the server, or check the port")
            }
            Error::Unreachable { place } => {
                write!(f, "{place}: no route to host; check the address, the network and the firewall")
            }
            Error::TimedOut { place, after } => write!(
                f,
                "{place}: no connection within {} s; check the address and the firewall, or allow more time with --timeout",
                after.as_secs_f64()
            ),
            Error::Certificate { place, fault } => write!(f, "{place}: {fault}"),
            Error::NotTls { place } => {
                write!(f, "{place}: what answers there does not speak TLS; begin the URL with http://")
            }
            Error::NotOffered { place, wanted } => {
                write!(
                    f,
                    "{place}: the server does not offer {wanted} in its TLS handshake (ALPN); ask for another --http"
                )
            }
            Error::Tls { place, reason } => write!(f, "{place}: the TLS handshake failed: {reason}"),
            Error::Socket { place, reason } => write!(f, "{place}: cannot connect: {reason}"),
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateFault::UnknownIssuer => {
                "its certificate is signed by nobody who is trusted here; name its authority with --ca FILE"
            }
            CertificateFault::WrongName => {
                "its certificate is for another name; use a name that stands in it, or mend the certificate"
            }
            CertificateFault::Expired => "its certificate has expired; renew it, or set this machine's clock",
            CertificateFault::NotYetValid => "its certificate is not valid yet; set this machine's clock",
            CertificateFault::Other => {
                "its certificate is not valid; mend it, or, to look at the rest all the same, say --insecure"
            }
        })
    }
}

impl std::error::Error for Error {}
