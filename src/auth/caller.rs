//! The caller: the result of authentication, as a value that all later stages need. Pure.
//!
//! [`key`] and [`keyring`] handle gateway keys, [`token`] tokens that the app's own backend signs, [`session`] cookies that a token
//! was exchanged for; [`credentials`] finds the credential in a request's head. Clocks, randomness and files are arguments: see
//! [`crate::auth::authenticate`] and [`crate::config`].

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ring::digest;

use crate::address;
use crate::price::Cost;

/// A caller. Clones are cheap.
///
/// After authentication nothing is done without a caller: it pays for upstreams, its limits are counted, and it owns streams. There
/// are only these ways to a caller: authentication, [`Caller::anonymous`] if no credentials are required, and [`Caller::operator`]
/// for the commands of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    kind: Kind,
    id: Arc<str>,
    address: IpAddr,
    terms: Terms,
}

/// The kind of credential of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A gateway key, used by a server or a script.
    Key {
        /// The key's name in the keys file.
        name: Arc<str>,
    },
    /// A token, used by a page.
    Token {
        /// The claim `sub`, as the app's backend wrote it.
        subject: Arc<str>,
    },
    /// A session cookie, used by a page.
    Session {
        /// The claim `sub` of the token that the session began with.
        subject: Arc<str>,
        /// The session, for revocation.
        session: SessionId,
    },
    /// No credential is required: `access.accept` is empty.
    Anonymous,
    /// The operator, from the command line.
    Operator,
}

/// The terms of one caller, where they differ from `[limits]`. The default is no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The caller's own limits.
    pub allowance: Allowance,
    /// The models that the caller may use; `None` = all.
    pub models: Option<Arc<[String]>>,
}

/// The limits of one caller. `None` = as in `[limits]`; 0 = no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Requests per minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens per minute, prompt and completion together.
    pub tokens_per_minute: Option<u64>,
    /// Concurrent streams.
    pub concurrent_streams: Option<u64>,
    /// The budget of a day, UTC.
    pub budget_per_day: Option<Cost>,
}

/// A session: 128 random bits, new at each login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    /// 32 hexadecimal digits. No secret: without the sealed cookie it opens nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Caller {
    /// The caller that holds a gateway key.
    pub(crate) fn key(name: Arc<str>, id: Arc<str>, address: IpAddr, terms: Terms) -> Self {
        Self { kind: Kind::Key { name }, id, address, terms }
    }

    /// The caller that holds a token for this subject.
    pub(crate) fn token(subject: Arc<str>, address: IpAddr, terms: Terms) -> Self {
        Self { id: subject_id(&subject), kind: Kind::Token { subject }, address, terms }
    }

    /// The caller that holds the cookie of this session.
    pub(crate) fn session(subject: Arc<str>, session: SessionId, address: IpAddr, terms: Terms) -> Self {
        Self { id: subject_id(&subject), kind: Kind::Session { subject, session }, address, terms }
    }

    /// A caller of which only the address is known, if `access.accept` is empty.
    pub fn anonymous(address: IpAddr) -> Self {
        Self { kind: Kind::Anonymous, id: address_id(address).into(), address, terms: Terms::default() }
    }

    /// The operator, from the command line; may use every model.
    pub fn operator() -> Self {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        Self { kind: Kind::Operator, id: "operator".into(), address, terms: Terms::default() }
    }

    /// The kind of its credential.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The client's address: the peer's, or the one that trusted proxies report.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its own limits.
    pub fn allowance(&self) -> Allowance {
        self.terms.allowance
    }

    /// Whether it may use the model of this name.
    pub fn may_use(&self, model: &str) -> bool {
        self.terms.models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }

    /// The stable id of the caller on every instance: for limits, owners of streams and log lines. Visible ASCII, at most 160
    /// bytes, never a secret.
    ///
    /// - `key:NAME`
    /// - `sub:HASH` for tokens and sessions alike, so that a login neither doubles a limit nor loses a stream. The subject
    ///   may be an e-mail address: 128 bits of its SHA-256 stand for it.
    /// - `addr:ADDRESS`; for IPv6 the /64, which one client has as a whole.
    /// - `operator`
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The label `caller` of the metrics, from a closed set: the names of keys, `token`, `session`, `anonymous`,
    /// `operator`.
    pub fn label(&self) -> &str {
        match &self.kind {
            Kind::Key { name } => name,
            Kind::Token { .. } => "token",
            Kind::Session { .. } => "session",
            Kind::Anonymous => "anonymous",
            Kind::Operator => "operator",
        }
    }
}

fn subject_id(subject: &str) -> Arc<str> {
    let hash = digest::digest(&digest::SHA256, subject.as_bytes());
    let bits = hash.as_ref().iter().take(16).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    format!("sub:{bits:032x}").into()
}

/// Bytes of the longest id of an IPv4 address.
const LONGEST_IPV4_ID: usize = "addr:255.255.255.255".len();

fn address_id(address: IpAddr) -> String {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => {
            let mut id = String::with_capacity(LONGEST_IPV4_ID);
            id.push_str("addr:");
            address::push(&mut id, address);
            id
        }
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("addr:{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn a_subject_is_the_same_caller_by_token_and_by_session_and_its_id_does_not_show_it() {
        let token = Caller::token("ann@example.com".into(), ADDRESS, Terms::default());
        let one = Caller::session("ann@example.com".into(), SessionId([1; 16]), ADDRESS, Terms::default());
        let other = Caller::token("bob@example.com".into(), ADDRESS, Terms::default());
        assert_eq!(token.id(), one.id());
        assert_ne!(token.id(), other.id());
        assert!(!token.id().contains("ann") && token.id().len() == 36, "{}", token.id());
    }

    #[test]
    fn an_anonymous_caller_is_its_address_and_of_ipv6_its_64() {
        let id = |address: &str| Caller::anonymous(address.parse().unwrap()).id().to_owned();
        assert_eq!(id("192.0.2.7"), "addr:192.0.2.7");
        assert_eq!(id("::ffff:192.0.2.7"), "addr:192.0.2.7");
        assert_eq!(id("2001:db8:1:2:3:4:5:6"), "addr:2001:db8:1:2::/64");
        assert_eq!(id("2001:db8:1:2::1"), id("2001:db8:1:2:ffff::"));
        assert_ne!(id("2001:db8:1:2::1"), id("2001:db8:1:3::1"));
    }

    #[test]
    fn a_list_of_models_is_whole_and_none_is_every_model() {
        let with = |models: Option<Vec<String>>| {
            let terms = Terms { models: models.map(Into::into), ..Terms::default() };
            Caller::key("bot".into(), "key:bot".into(), ADDRESS, terms)
        };
        let two = with(Some(vec!["a".into(), "b".into()]));
        assert!(two.may_use("a") && two.may_use("b") && !two.may_use("c") && !two.may_use("A"));
        assert!(!with(Some(vec![])).may_use("a"));
        assert!(with(None).may_use("a") && Caller::operator().may_use("a"));
    }
}
