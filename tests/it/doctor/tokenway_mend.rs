//! What the doctor proposes for `tokenway.toml`: the configuration accepts it, and the page is allowed.

use std::path::Path;

use cors::decision::{self, Decision};
use doctor::mend::{Needs, Target};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use tokenway::config::Config;

fn parsed(cors: &str) -> Config {
    let text = format!(
        "{cors}\n[server]\nplaintext = true\n[[upstreams]]\nname = \"u\"\nbase_url = \"https://u.example/v1\"\n\
         [[models]]\nname = \"m\"\nupstream = \"u\"\n[routing]\ndefault = \"m\"\n"
    );
    Config::parse(&text, Path::new(""), &|_| None).unwrap_or_else(|problems| panic!("{problems}\n{cors}"))
}

/// What Tokenway, so configured, decides on the page's preflight.
fn allows(config: &Config, needs: &Needs) -> bool {
    let mut headers = HeaderMap::new();
    let value = |text: &str| HeaderValue::try_from(text).unwrap();
    headers.insert("origin", value(&needs.origin));
    headers.insert("access-control-request-method", value(&needs.method));
    headers.insert("access-control-request-headers", value(&needs.headers.join(",")));
    let decision = decision::decide(&config.cors, "GET, POST, DELETE", &Method::OPTIONS, &headers);
    matches!(decision, Decision::Preflight { verdict: decision::Verdict::Allowed, .. })
}

proptest! {
    /// What is pasted into tokenway.toml is accepted, and lets the page through.
    #[test]
    fn tokenway_so_configured_allows_the_page(
        host in "[a-z]{1,8}(\\.[a-z]{1,6}){1,2}",
        port in prop::option::of(1024_u16..),
        names in prop::collection::btree_set("x-[a-z0-9]{1,8}|authorization|content-type", 0..5),
        expose in prop::collection::btree_set("x-[a-z0-9]{1,8}|x-request-id", 0..4),
        credentials: bool,
    ) {
        let origin = format!("https://{host}{}", port.filter(|port| *port != 443).map_or(String::new(), |port| format!(":{port}")));
        let headers = names.into_iter().filter(|name| name != "x-http-method").collect();
        let expose = expose.into_iter().collect();
        let needs = Needs { origin, method: "POST".into(), headers, expose, credentials, preflight: true };
        let config = parsed(&Target::Tokenway.mend(&needs).unwrap());
        prop_assert!(allows(&config, &needs));
        let stranger = Needs { origin: "https://evil.example".into(), ..needs };
        prop_assert!(!allows(&config, &stranger));
    }
}
