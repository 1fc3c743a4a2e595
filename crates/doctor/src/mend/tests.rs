use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

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

#[test]
fn the_fix_for_tokenway_names_only_headers_that_are_not_built_in() {
    assert_eq!(
        Target::Tokenway.mend(&needs()).unwrap(),
        "[cors]\norigins = [\"https://app.example.com\"]\ncredentials = true\nallow_headers = [\"x-team\"]\n\
         expose_headers = [\"x-ratelimit-limit\"]\n"
    );
}

#[test]
fn a_policy_that_a_server_cannot_express_is_explained() {
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
fn a_server_is_guessed_by_its_headers() {
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
