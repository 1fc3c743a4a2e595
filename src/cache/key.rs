//! The key of a cache entry: SHA-256 over everything that changes the answer, each part with its length. Pure.

use std::fmt;

use http::HeaderMap;
use http::header::ORIGIN;
use ring::digest::{Context, SHA256};

use crate::auth::caller::{Caller, Kind};
use crate::stream::log::coalescer::CoalescingKey;

/// The version of the key. It changes when entries of earlier versions must not be found any more.
const FORMAT: &str = "tokenway cache 1";

/// A hash of 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

/// The owner of a cached answer, as a hash: no store contains ids of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(pub Digest);

/// A request and its owner, without the model that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    request: Digest,
    owner: Owner,
}

/// The key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub Digest);

/// What distinguishes the coalesced answers to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoalescingKind {
    /// The answer is streamed.
    pub streamed: bool,
    /// The request is for `auto` and not yet decided. The decision is made for this caller, whose limits can refuse it.
    pub undecided: Option<Owner>,
}

/// The configuration of a model, as far as it changes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(Digest);

impl Owner {
    /// Returns the owner of shared entries: `scope = "shared"`.
    pub fn everybody() -> Self {
        Self(Digest::of("everybody", &[]))
    }

    /// Returns the owner of the entries of this caller: `scope = "client"`.
    ///
    /// A caller with credentials owns its answers on every page. A caller without credentials is identified by its address,
    /// as for limits, and by the origin of its page: a page cannot learn what another page has asked from the same address.
    pub fn caller(caller: &Caller, headers: &HeaderMap) -> Self {
        let id = caller.id().as_bytes();
        match (caller.kind(), headers.get(ORIGIN)) {
            (Kind::Anonymous, Some(origin)) => Self(Digest::of("page", &[id, origin.as_bytes()])),
            (Kind::Anonymous, None) => Self(Digest::of("address", &[id])),
            _ => Self(Digest::of("caller", &[id])),
        }
    }
}

impl Asked {
    /// Makes a request of this family from its [canonical form](super::canonical::canonical) and its owner. The family is
    /// part of it, because a body can be valid in two families whose answers have different forms.
    pub fn new(family: &str, canonical: &[u8], owner: Owner) -> Self {
        Self { request: Digest::of("request", &[family.as_bytes(), canonical]), owner }
    }

    /// Returns the owner.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns the key of the answer of a model by this route.
    pub fn key(&self, route: &Route) -> Key {
        Key(Digest::of(FORMAT, &[&self.request.0, &self.owner.0.0, &route.0.0]))
    }

    /// Returns the key under which this request shares a coalesced answer. `candidates` are all models that may answer this
    /// caller, in order: a caller that may not use one of them must not get its answer by joining. Streamed and complete
    /// answers have different keys, and so have the answers of a model that is not yet decided.
    pub fn coalescing_key(&self, candidates: &[Route], kind: CoalescingKind) -> CoalescingKey {
        let mut parts: Vec<&[u8]> = vec![&self.request.0, &self.owner.0.0];
        parts.extend(kind.undecided.as_ref().map(|caller| caller.0.0.as_slice()));
        parts.extend(candidates.iter().map(|route| route.0.0.as_slice()));
        let purpose = match (kind.streamed, kind.undecided.is_some()) {
            (true, false) => "coalesced stream",
            (false, false) => "coalesced whole",
            (true, true) => "coalesced stream of auto",
            (false, true) => "coalesced whole of auto",
        };
        CoalescingKey(Digest::of(purpose, &parts).0)
    }
}

impl Route {
    /// Makes the route of a model with this name, which is requested as `upstream_model` at this upstream.
    pub fn new(name: &str, upstream: &str, base_url: &str, upstream_model: &str) -> Self {
        Self(Digest::of("route", &[name, upstream, base_url, upstream_model].map(str::as_bytes)))
    }
}

impl Digest {
    /// Hashes these parts for this purpose.
    fn of(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

impl fmt::Display for Digest {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::HeaderValue;

    use super::*;
    use crate::auth::caller::Terms;

    fn page(origin: Option<&'static str>) -> HeaderMap {
        origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))).into_iter().collect()
    }

    fn key(request: &str, owner: Owner, route: &Route) -> Key {
        Asked::new("chat", request.as_bytes(), owner).key(route)
    }

    #[test]
    fn each_part_changes_the_key() {
        let route = Route::new("m", "up", "https://up.example/v1", "m");
        let owner = Owner::everybody();
        let caller = |name: &str| {
            let caller =
                Caller::key(name.into(), format!("key:{name}").into(), [192, 0, 2, 7].into(), Terms::default());
            Owner::caller(&caller, &page(None))
        };
        let keys = [
            key("{}", owner, &route),
            key("{ }", owner, &route),
            key("{}", caller("a"), &route),
            key("{}", caller("b"), &route),
            key("{}", owner, &Route::new("n", "up", "https://up.example/v1", "m")),
            key("{}", owner, &Route::new("m", "other", "https://up.example/v1", "m")),
            key("{}", owner, &Route::new("m", "up", "https://up.example/v2", "m")),
            key("{}", owner, &Route::new("m", "up", "https://up.example/v1", "mm")),
            // the same letters, divided at another place
            key("{}", owner, &Route::new("mu", "p", "https://up.example/v1", "m")),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(keys[0], key("{}", owner, &route));
    }

    #[test]
    fn an_anonymous_caller_owns_by_address_and_page_any_other_by_its_id_alone() {
        let anonymous = |last, origin| Owner::caller(&Caller::anonymous([192, 0, 2, last].into()), &page(origin));
        assert_eq!(anonymous(1, Some("https://a.example")), anonymous(1, Some("https://a.example")));
        assert_ne!(anonymous(1, Some("https://a.example")), anonymous(1, Some("https://b.example")));
        assert_ne!(anonymous(1, Some("https://a.example")), anonymous(2, Some("https://a.example")));
        assert_ne!(anonymous(1, None), anonymous(1, Some("https://a.example")));
        let token = |last, origin| {
            Owner::caller(&Caller::token("ann".into(), [192, 0, 2, last].into(), Terms::default()), &page(origin))
        };
        assert_eq!(token(1, None), token(2, Some("https://a.example")));
        assert_ne!(token(1, None), Owner::everybody());
    }

    #[test]
    fn a_coalesced_answer_is_of_one_form_and_of_the_same_candidates_in_the_same_order() {
        let asked = Asked::new("chat", b"{}", Owner::everybody());
        let [a, b] = ["a", "b"].map(|name| Route::new(name, "up", "https://up.example/v1", name));
        let [streamed, whole] = [true, false].map(|streamed| CoalescingKind { streamed, undecided: None });
        let anonymous = |last| Owner::caller(&Caller::anonymous([192, 0, 2, last].into()), &page(None));
        let of_auto = CoalescingKind { undecided: Some(anonymous(1)), ..streamed };
        let keys = [
            asked.coalescing_key(&[a], of_auto),
            asked.coalescing_key(&[a], CoalescingKind { undecided: Some(anonymous(2)), ..streamed }),
            asked.coalescing_key(&[a], CoalescingKind { undecided: Some(anonymous(1)), ..whole }),
            asked.coalescing_key(&[a], streamed),
            asked.coalescing_key(&[a], whole),
            asked.coalescing_key(&[a, b], streamed),
            asked.coalescing_key(&[b, a], streamed),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn a_digest_is_written_in_full() {
        assert_eq!(Digest([0xa5; 32]).to_string(), "a5".repeat(32));
    }
}
