use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::cors::decision::{self, Decision};

fn needs() -> Needs {
    Needs {
        origin: "https://app.example.com".into(),
        method: "POST".into(),
        headers: vec!["authorization".into(), "content-type".into(), "x-team".into()],
        expose: vec!["x-request-id".into(), "x-ratelimit-limit".into()],
        credentials: true,
        preflight: true,
    }
}

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

#[test]
fn the_mend_for_tokenway_names_only_what_is_not_built_in() {
    assert_eq!(
        Target::Tokenway.mend(&needs()).unwrap(),
        "[cors]\norigins = [\"https://app.example.com\"]\ncredentials = true\nallow_headers = [\"x-team\"]\n\
         expose_headers = [\"x-ratelimit-limit\"]\n"
    );
}

#[test]
fn what_a_server_cannot_be_told_is_said() {
    let with = |change: fn(&mut Needs)| {
        let mut needs = needs();
        change(&mut needs);
        needs
    };
    for (target, needs, said) in [
        (Target::Tokenway, with(|needs| needs.origin = "null".into()), "never allows the origin"),
        (
            Target::Tokenway,
            with(|needs| needs.origin = "http://app.example".into()),
            "no cookies from pages over plain http",
        ),
        (Target::Tokenway, with(|needs| needs.method = "PATCH".into()), "no route of Tokenway takes PATCH"),
        (Target::Nginx, with(|needs| needs.headers.push("x$y".into())), "literal `$`"),
        (Target::Caddy, with(|needs| needs.origin = "https://a{b".into()), "placeholder"),
    ] {
        assert!(target.mend(&needs).unwrap_err().contains(said), "{target:?}");
    }
}

#[test]
fn a_flask_origin_that_looks_like_a_pattern_is_written_as_one() {
    let mend = Target::Flask.mend(&Needs { origin: "http://[::1]:3000".into(), ..needs() }).unwrap();
    assert!(mend.contains(r#"origins=["^http://\\[::1\\]:3000$"]"#), "{mend}");
}

#[test]
fn a_server_is_known_by_what_it_says_of_itself() {
    for (name, value, target) in [
        ("server", "nginx/1.22.1", Some(Target::Nginx)),
        ("server", "Caddy", Some(Target::Caddy)),
        ("x-powered-by", "Express", Some(Target::Express)),
        ("server", "uvicorn", Some(Target::Fastapi)),
        ("server", "Werkzeug/3.0 Python/3.11", Some(Target::Flask)),
        ("tokenway-model", "m", Some(Target::Tokenway)),
        ("server", "cloudflare", None),
    ] {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        assert_eq!(Target::guess(&headers), target, "{name}: {value}");
    }
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
