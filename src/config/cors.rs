//! `[cors]`, as it is written and checked by the crate that decides by it. Pure.

use std::time::Duration;

use cors::policy::{Policy, Spec};
use settings::{Mistake, Place, Resolver, Strings};

settings::section! {
    /// Which web pages may call Tokenway. See docs/CORS.md.
    pub(super) struct Written {
        /// The origins of the web pages that may call Tokenway, as browsers send them. Empty: no page of another origin may call.
        ///   "https://app.example.com": this origin.
        ///   "https://*.preview.example.com": every subdomain, at any depth, but not preview.example.com itself.
        ///   "http://localhost:*": any port.
        ///   "tauri://localhost", "chrome-extension://ID": an app or an extension, byte for byte.
        origins: Strings = [];
        /// true: pages may send cookies.
        credentials: bool = false;
        /// More request headers that pages may send, besides the built-in list.
        allow_headers: Strings = [];
        /// More response headers that pages may read, besides the built-in list.
        expose_headers: Strings = [];
        /// How long browsers may cache the answer to a preflight. At most 24h.
        max_age: Duration = "2h";
    }
}

impl Written {
    /// Returns the policy, or `None` if it has a mistake, which is reported.
    pub(super) fn resolve(&self, resolver: &mut Resolver<'_>) -> Option<Policy> {
        let strings = |list: &Strings| list.iter().map(|field| field.value.clone()).collect();
        let spec = Spec {
            origins: strings(&self.origins),
            credentials: self.credentials.value,
            allow_headers: strings(&self.allow_headers),
            expose_headers: strings(&self.expose_headers),
            max_age: self.max_age.value,
        };
        if spec.origins.is_empty() {
            resolver.warn("cors.origins", "is empty: every cross-origin page is refused");
        }
        let lists = [&self.origins, &self.allow_headers, &self.expose_headers];
        let items = lists.iter().flat_map(|list| list.iter().map(|item| &item.place));
        let whole = lists.iter().map(|list| &list.place).chain([&self.credentials.place, &self.max_age.place]);
        let places: Vec<&Place> = items.chain(whole).collect();
        let errors = match Policy::new(&spec) {
            Ok(policy) => return Some(policy),
            Err(errors) => errors,
        };
        for error in errors {
            let key = format!("cors.{}", error.key);
            let place = places.iter().find(|place| place.key == key).copied().unwrap_or(&self.origins.place);
            let place = Place { key, ..place.clone() };
            resolver.report(&place, Mistake::new(error.reason, error.mend));
        }
        None
    }
}
