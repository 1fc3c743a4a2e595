//! The caller: the result of the authentication of a request, as a value that all later stages need. Pure.
//!
//! [`key`] and [`keyring`] read gateway keys, [`token`] reads tokens that the app's own backend signs, [`session`] reads
//! cookies that a token was exchanged for; [`credentials`] finds the credential in a request's head. They get clocks,
//! randomness and files as arguments, from [`crate::auth::authenticate`] and the settings of this directory.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ring::digest;

use crate::address;
use crate::price::Cost;

/// The caller of a request. Clones share it.
///
/// After authentication, every action needs a caller: an upstream request, a count of a limit, a stream. A caller comes from
/// the authentication, from [`Caller::anonymous`] if no credentials are required, or from [`Caller::operator`] for the
/// operator's own commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    kind: Kind,
    id: Arc<str>,
    address: IpAddr,
    terms: Terms,
}

/// How a caller was authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A gateway key: a server or a script.
    Key {
        /// The key's name in the keys file.
        name: Arc<str>,
    },
    /// A token: a page.
    Token {
        /// The claim `sub`, as the app's backend wrote it.
        subject: Arc<str>,
    },
    /// A cookie: also a page.
    Session {
        /// The claim `sub` of the token that the session began with.
        subject: Arc<str>,
        /// The id of the session, for revocation.
        session: SessionId,
    },
    /// No credentials are required: `access.accept` is empty.
    Anonymous,
    /// The operator of the gateway, from its command line.
    Operator,
}

/// The terms of a caller, where they differ from `[limits]`. The default is no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The caller's own limits.
    pub allowance: Allowance,
    /// The models that the caller may use; `None` = all.
    pub models: Option<Arc<[String]>>,
}

/// The own limits of one caller. `None` = as in `[limits]`; 0 = no limit, as there.
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
    /// Writes 32 hexadecimal digits. They are not secret: without the sealed cookie they give no access.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Caller {
    /// Makes the caller that holds a gateway key.
    pub(crate) fn key(name: Arc<str>, id: Arc<str>, address: IpAddr, terms: Terms) -> Self {
        Self { kind: Kind::Key { name }, id, address, terms }
    }

    /// Makes the caller that holds a token for this subject.
    pub(crate) fn token(subject: Arc<str>, address: IpAddr, terms: Terms) -> Self {
        Self { id: subject_id(&subject), kind: Kind::Token { subject }, address, terms }
    }

    /// Makes the caller that holds the cookie of this session.
    pub(crate) fn session(subject: Arc<str>, session: SessionId, address: IpAddr, terms: Terms) -> Self {
        Self { id: subject_id(&subject), kind: Kind::Session { subject, session }, address, terms }
    }

    /// Makes a caller of whom only the address is known: `access.accept` is empty.
    pub fn anonymous(address: IpAddr) -> Self {
        Self { kind: Kind::Anonymous, id: address_id(address).into(), address, terms: Terms::default() }
    }

    /// Makes the operator as a caller, for its own commands. It may use every model.
    pub fn operator() -> Self {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        Self { kind: Kind::Operator, id: "operator".into(), address, terms: Terms::default() }
    }

    /// Returns how the caller was authenticated.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the client's address, beyond trusted proxies.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the caller's own limits.
    pub fn allowance(&self) -> Allowance {
        self.terms.allowance
    }

    /// Whether the caller may use the model of this name.
    pub fn may_use(&self, model: &str) -> bool {
        self.terms.models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }

    /// Returns a text that identifies one caller permanently and on every instance: limits, streams and log lines use it.
    /// Visible ASCII, at most 160 bytes, never a secret.
    ///
    /// - `key:NAME`
    /// - `sub:HASH` for tokens and sessions alike, so that a login neither doubles a limit nor loses a stream. The subject
    ///   may be an e-mail address: the id has 128 bits of its SHA-256.
    /// - `addr:ADDRESS`; of IPv6 the /64, since one client has all of it.
    /// - `operator`
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the label `caller` of the metrics, from a closed set: the names of keys, `token`, `session`, `anonymous`,
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

/// The bytes of the longest id of an IPv4 address.
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
