//! Who may read and stop a resumable stream.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN};

use crate::auth::caller::{Caller, Kind};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The owner of a stream. Only the same owner can read or stop it.
///
/// A caller with credentials owns its streams from any page and any address. An anonymous caller is identified by its page:
/// the origin of the request, or none. Its address is not used, because resuming must work after a change of network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// [`Caller::id`]
    Caller(Arc<str>),
    /// The origin of an anonymous request.
    Page(Option<Box<[u8]>>),
}

impl Owner {
    /// Returns the owner of what this request creates. `Origin` was checked before: it is present once or not at all.
    pub fn of(caller: &Caller, headers: &HeaderMap) -> Self {
        match caller.kind() {
            Kind::Anonymous => Self::Page(headers.get(ORIGIN).map(|origin| origin.as_bytes().into())),
            _ => Self::Caller(caller.id().into()),
        }
    }

    /// Returns the owner for a GET. A GET from a page of the gateway's own origin has no `Origin` (Fetch §3.2, "append a
    /// request `Origin` header", step 4). `here` is that origin, as in the URL of the request.
    ///
    /// The browser shows that it is such a page with `Sec-Fetch-Site: same-origin` (Fetch Metadata §2.3). No page can forge
    /// it, because scripts must not set names that begin with `Sec-` (Fetch §2.2.2), and every redirect over another site
    /// changes it.
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
