//! Who may read and stop a resumable stream.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN};

use crate::auth::caller::{Caller, Kind};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose stream it is. Only the same owner reads or stops it.
///
/// Whoever has shown who it is owns what it makes, from any page and any address. A caller that has not is known by its page:
/// the origin of the request, or none. The address would be wrong: the network changes, which is what resuming is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// [`Caller::id`]
    Caller(Arc<str>),
    /// The origin of an anonymous request.
    Page(Option<Box<[u8]>>),
}

impl Owner {
    /// The owner of what this request makes. `Origin` was checked before: it is there once or not at all.
    pub fn of(caller: &Caller, headers: &HeaderMap) -> Self {
        match caller.kind() {
            Kind::Anonymous => Self::Page(headers.get(ORIGIN).map(|origin| origin.as_bytes().into())),
            _ => Self::Caller(caller.id().into()),
        }
    }

    /// The same of a GET, which has no `Origin` where the page is one of the gateway's own origin (Fetch §3.2, "append a
    /// request `Origin` header", step 4). `here` is that origin, as the request has reached it.
    ///
    /// The browser says that it is such a page: `Sec-Fetch-Site: same-origin` (Fetch Metadata §2.3). No page can say it
    /// falsely, for names that begin with `Sec-` are forbidden to scripts (Fetch §2.2.2), and every redirect over another
    /// site changes it.
    pub fn of_get(caller: &Caller, headers: &HeaderMap, here: impl FnOnce() -> String) -> Self {
        match Self::of(caller, headers) {
            Self::Page(None) if is_same_origin(headers) => Self::Page(Some(here().into_bytes().into())),
            owner => owner,
        }
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    matches!((sites.next(), sites.next()), (Some(site), None) if site == "same-origin")
}
