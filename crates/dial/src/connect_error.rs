//! Why a server cannot be connected to, as values and as one clause. Pure.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// The same number on Linux, macOS and the BSDs.
const EMFILE: i32 = 24;

/// A failed connection attempt. `Display` is one clause with host and port, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    /// Host and port.
    pub place: String,
    /// Why.
    pub cause: Cause,
}

/// Why a server cannot be connected to. `Display` is a clause that follows the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The name has no address.
    NoSuchHost,
    /// No process listens on the port.
    Refused,
    /// There is no route to the address.
    NoRoute,
    /// No connection, TLS included, within this time.
    TimedOut(Duration),
    /// Any other failure of a socket, with the system's message.
    Socket(String),
    /// The proxy made no tunnel, and why.
    Proxy(String),
    /// The server's certificate is not trusted.
    Certificate(CertificateFault),
    /// The server does not speak TLS.
    NotTls,
    /// Any other failure of the TLS handshake, with rustls's message.
    Handshake(String),
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its issuer is not trusted.
    UnknownIssuer,
    /// It is issued for another name.
    WrongName,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// Anything else: an invalid signature, a wrong key usage, a revocation.
    Other,
}

impl Cause {
    /// The cause of a failed name lookup or TCP connection, whose time limit was `timeout`.
    pub fn of_tcp(error: &(dyn Error + 'static), timeout: Duration) -> Self {
        let sources = std::iter::successors(Some(error), |error| (*error).source());
        let Some(io) = sources.filter_map(|error| error.downcast_ref::<io::Error>()).last() else {
            return Cause::Socket(error.to_string());
        };
        match (io.kind(), io.raw_os_error()) {
            (io::ErrorKind::ConnectionRefused, _) => Cause::Refused,
            (io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable, _) => Cause::NoRoute,
            (io::ErrorKind::TimedOut, _) => Cause::TimedOut(timeout),
            (_, Some(EMFILE)) => Cause::Socket("too many open files; allow more with `ulimit -n`".to_owned()),
            (_, Some(_)) => Cause::Socket(io.to_string()),
            // errors of sockets have an errno; errors of getaddrinfo(3) (EAI_*) have none
            (_, None) => Cause::NoSuchHost,
        }
    }

    /// The cause of a failed TLS handshake.
    pub fn of_tls(error: &io::Error) -> Self {
        let of_rustls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match of_rustls {
            Some(rustls::Error::InvalidCertificate(fault)) => Cause::Certificate(CertificateFault::of(fault)),
            Some(rustls::Error::InvalidMessage(_)) => Cause::NotTls,
            Some(error) => Cause::Handshake(error.to_string()),
            None => Cause::Handshake(error.to_string()),
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

impl Error for ConnectError {}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NoSuchHost => f.write_str("no such host"),
            Cause::Refused => f.write_str("connection refused"),
            Cause::NoRoute => f.write_str("no route to host"),
            Cause::TimedOut(timeout) => write!(f, "no connection within {} s", timeout.as_secs_f64()),
            Cause::Socket(reason) => write!(f, "cannot connect: {reason}"),
            Cause::Proxy(reason) => write!(f, "the proxy made no tunnel: {reason}"),
            Cause::Certificate(fault) => write!(f, "its certificate {fault}"),
            Cause::NotTls => f.write_str("what answers there does not speak TLS"),
            Cause::Handshake(reason) => write!(f, "the TLS handshake failed: {reason}"),
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateFault::UnknownIssuer => "is not signed by a trusted authority",
            CertificateFault::WrongName => "is for another name",
            CertificateFault::Expired => "has expired",
            CertificateFault::NotYetValid => "is not valid yet",
            CertificateFault::Other => "is not valid",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_of_a_socket_or_the_resolver_has_its_message() {
        let timeout = Duration::from_millis(1500);
        let message = |error: io::Error| Cause::of_tcp(&error, timeout).to_string();
        assert_eq!(message(io::ErrorKind::ConnectionRefused.into()), "connection refused");
        assert_eq!(message(io::ErrorKind::HostUnreachable.into()), "no route to host");
        assert_eq!(message(io::ErrorKind::TimedOut.into()), "no connection within 1.5 s");
        assert_eq!(message(io::Error::other("failed to lookup address information")), "no such host");
        assert!(message(io::Error::from_raw_os_error(EMFILE)).contains("ulimit -n"));
        assert!(message(io::Error::from_raw_os_error(13)).starts_with("cannot connect: Permission denied"));
    }

    #[test]
    fn each_failure_of_a_handshake_has_its_message() {
        let message = |error: rustls::Error| Cause::of_tls(&io::Error::other(error)).to_string();
        let certificate = |error| message(rustls::Error::InvalidCertificate(error));
        assert_eq!(certificate(CertificateError::Expired), "its certificate has expired");
        assert_eq!(
            certificate(CertificateError::UnknownIssuer),
            "its certificate is not signed by a trusted authority"
        );
        assert_eq!(certificate(CertificateError::Revoked), "its certificate is not valid");
        let invalid = rustls::InvalidMessage::InvalidContentType;
        assert_eq!(message(rustls::Error::InvalidMessage(invalid)), "what answers there does not speak TLS");
        let broken = Cause::of_tls(&io::ErrorKind::UnexpectedEof.into()).to_string();
        assert!(broken.starts_with("the TLS handshake failed: "), "{broken}");
    }

    #[test]
    fn place_and_cause_make_one_clause() {
        let connect_error = ConnectError { place: "up.example:443".to_owned(), cause: Cause::Refused };
        assert_eq!(connect_error.to_string(), "up.example:443: connection refused");
    }
}
