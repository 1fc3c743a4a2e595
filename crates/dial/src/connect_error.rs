//! Why there is no connection to a server, in the words that the gateway and its tools share. Pure.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// On Linux, macOS and the BSDs alike.
const EMFILE: i32 = 24;

/// A server that cannot be connected to. `Display` is one clause; it is for operators, for it names the place.
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
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    NoRoute,
    /// No connection, TLS included, in this time.
    TimedOut(Duration),
    /// Any other failure of a socket, in the system's words.
    Socket(String),
    /// The server's certificate is not to be trusted.
    Certificate(CertificateFault),
    /// Something answers, but not with TLS.
    NotTls,
    /// Any other end of the TLS handshake, in rustls's words.
    Handshake(String),
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

impl Cause {
    /// Of a failed TCP connection, for which there was this much time.
    pub fn of_tcp(error: &(dyn Error + 'static), patience: Duration) -> Self {
        let sources = std::iter::successors(Some(error), |error| (*error).source());
        let Some(io) = sources.filter_map(|error| error.downcast_ref::<io::Error>()).last() else {
            return Cause::Socket(error.to_string());
        };
        match (io.kind(), io.raw_os_error()) {
            (io::ErrorKind::ConnectionRefused, _) => Cause::Refused,
            (io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable, _) => Cause::NoRoute,
            (io::ErrorKind::TimedOut, _) => Cause::TimedOut(patience),
            (_, Some(EMFILE)) => Cause::Socket("too many open files; allow more with `ulimit -n`".to_owned()),
            (_, Some(_)) => Cause::Socket(io.to_string()),
            // what sockets meet has a number of the system; what getaddrinfo(3) says (EAI_*) has none
            (_, None) => Cause::NoSuchHost,
        }
    }

    /// Of a failed TLS handshake.
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
            Cause::TimedOut(patience) => write!(f, "no connection within {} s", patience.as_secs_f64()),
            Cause::Socket(reason) => write!(f, "cannot connect: {reason}"),
            Cause::Certificate(fault) => write!(f, "its certificate {fault}"),
            Cause::NotTls => f.write_str("what answers there does not speak TLS"),
            Cause::Handshake(reason) => write!(f, "the TLS handshake failed: {reason}"),
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateFault::UnknownIssuer => "is signed by nobody who is trusted here",
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
    fn each_failure_of_a_socket_or_the_resolver_has_its_words() {
        let patience = Duration::from_millis(1500);
        let said = |error: io::Error| Cause::of_tcp(&error, patience).to_string();
        assert_eq!(said(io::ErrorKind::ConnectionRefused.into()), "connection refused");
        assert_eq!(said(io::ErrorKind::HostUnreachable.into()), "no route to host");
        assert_eq!(said(io::ErrorKind::TimedOut.into()), "no connection within 1.5 s");
        assert_eq!(said(io::Error::other("failed to lookup address information")), "no such host");
        assert!(said(io::Error::from_raw_os_error(EMFILE)).contains("ulimit -n"));
        assert!(said(io::Error::from_raw_os_error(13)).starts_with("cannot connect: Permission denied"));
    }

    #[test]
    fn each_failure_of_a_handshake_has_its_words() {
        let said = |error: rustls::Error| Cause::of_tls(&io::Error::other(error)).to_string();
        let certificate = |error| said(rustls::Error::InvalidCertificate(error));
        assert_eq!(certificate(CertificateError::Expired), "its certificate has expired");
        assert_eq!(
            certificate(CertificateError::UnknownIssuer),
            "its certificate is signed by nobody who is trusted here"
        );
        assert_eq!(certificate(CertificateError::Revoked), "its certificate is not valid");
        let message = rustls::InvalidMessage::InvalidContentType;
        assert_eq!(said(rustls::Error::InvalidMessage(message)), "what answers there does not speak TLS");
        let broken = Cause::of_tls(&io::ErrorKind::UnexpectedEof.into()).to_string();
        assert!(broken.starts_with("the TLS handshake failed: "), "{broken}");
    }

    #[test]
    fn place_and_cause_make_one_clause() {
        let connect_error = ConnectError { place: "up.example:443".to_owned(), cause: Cause::Refused };
        assert_eq!(connect_error.to_string(), "up.example:443: connection refused");
    }
}
