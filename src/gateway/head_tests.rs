use proptest::prelude::*;

use super::*;

fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn route(path: &str) -> Route {
    Route::of(path, families::ALL)
}

/// The check on the route of the request's path.
fn check(parts: &Parts, hosts: &Hosts, tls: bool) -> Result<(), Reject> {
    super::check(parts, route(parts.uri.path()), hosts, tls)
}

fn hosts(names: &[&str]) -> Hosts {
    let addresses = names.iter().filter_map(|name| name.parse().ok()).collect();
    Hosts { names: names.iter().map(|name| name.to_string()).collect(), addresses, any: false }
}

fn code(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Code> {
    let served = hosts(&["localhost", "api.example.com", "*.w.example.com", "127.0.0.1", "::1"]);
    check(&parts(method, target, headers), &served, true).err().map(|reject| reject.code)
}

#[test]
fn a_plain_request_for_a_served_name_goes_on() {
    for host in
        ["localhost", "localhost:8443", "LocalHost", "localhost.", "api.example.com:", "127.0.0.1:1", "[::1]:8443"]
    {
        assert_eq!(code("GET", "/v1/models", &[("host", host)]), None, "{host}");
    }
    assert_eq!(code("OPTIONS", "*", &[("host", "localhost")]), None);
    assert_eq!(code("GET", "/", &[("host", "a.w.example.com")]), None);
    assert_eq!(code("GET", "/", &[("host", "[::ffff:127.0.0.1]")]), None);
}

#[test]
fn another_host_is_misdirected() {
    for host in ["example.com", "w.example.com", "a.b.w.example.com", "localhost.example.com", "127.0.0.2", "[::2]"] {
        assert_eq!(code("GET", "/", &[("host", host)]), Some(Code::MisdirectedRequest), "{host}");
    }
}

#[test]
fn without_a_restriction_any_host_goes_on_but_garbage_does_not() {
    let any = Hosts { any: true, ..Hosts::default() };
    assert!(check(&parts("GET", "/", &[("host", "anything.test")]), &any, false).is_ok());
    assert!(check(&parts("GET", "/", &[("host", "any thing")]), &any, false).is_err());
    assert!(check(&parts("GET", "/", &[]), &any, false).is_err());
}

#[test]
fn a_missing_doubled_or_malformed_host_is_400() {
    assert_eq!(code("GET", "/", &[]), Some(Code::InvalidRequest));
    assert_eq!(code("GET", "/", &[("host", "localhost"), ("host", "localhost")]), Some(Code::InvalidRequest));
    for host in [
        "",
        " ",
        ".",
        "a..b",
        "localhost:x",
        "localhost:+1",
        "localhost:99999",
        "local host",
        "localhost/",
        "localhost#",
        "[::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "::1",
        "a,b",
        "localhost:1:2",
        "*.w.example.com",
        "%6cocalhost",
    ] {
        assert_eq!(code("GET", "/", &[("host", host)]), Some(Code::InvalidRequest), "{host:?}");
    }
    let long = "a".repeat(64);
    assert_eq!(code("GET", "/", &[("host", &long)]), Some(Code::InvalidRequest));
}

#[test]
fn user_information_is_400() {
    assert_eq!(code("GET", "/", &[("host", "user@localhost")]), Some(Code::InvalidRequest));
    assert_eq!(code("GET", "https://user:pass@localhost/", &[("host", "localhost")]), Some(Code::InvalidRequest));
}

#[test]
fn an_absolute_target_must_agree_with_host() {
    let target = "https://localhost/v1/models";
    assert_eq!(code("GET", target, &[("host", "localhost")]), None);
    assert_eq!(code("GET", target, &[("host", "localhost:443")]), None);
    assert_eq!(code("GET", target, &[]), None);
    assert_eq!(code("GET", target, &[("host", "localhost:8443")]), Some(Code::InvalidRequest));
    assert_eq!(code("GET", target, &[("host", "api.example.com")]), Some(Code::InvalidRequest));
    assert_eq!(code("GET", "https://evil.test/", &[]), Some(Code::MisdirectedRequest));
}

#[test]
fn the_scheme_http_on_tls_is_misdirected_but_not_behind_a_terminator() {
    assert_eq!(code("GET", "http://localhost/", &[("host", "localhost")]), Some(Code::MisdirectedRequest));
    let parts = parts("GET", "http://localhost/", &[("host", "localhost")]);
    assert!(check(&parts, &hosts(&["localhost"]), false).is_ok());
}

#[test]
fn an_authority_form_target_is_400() {
    assert_eq!(code("GET", "localhost:443", &[("host", "localhost")]), Some(Code::InvalidRequest));
}

#[test]
fn connect_trace_and_lower_case_methods_are_405_with_what_the_route_allows() {
    for (method, target) in [
        ("CONNECT", "localhost:443"),
        ("TRACE", "/"),
        ("TRACE", "/v1/models"),
        ("get", "/healthz"),
        ("Post", "/v1/chat"),
    ] {
        let reject = check(&parts(method, target, &[("host", "localhost")]), &hosts(&["localhost"]), true).unwrap_err();
        assert_eq!(reject.code, Code::MethodNotAllowed, "{method}");
        let path = if method == "CONNECT" { "" } else { target };
        assert_eq!(reject.allow, Some(route(path).methods()));
    }
    assert_eq!(code("PATCH", "/", &[("host", "localhost")]), None);
}

#[test]
fn an_offer_to_upgrade_is_ignored() {
    assert_eq!(code("GET", "/", &[("host", "localhost"), ("upgrade", "h2c"), ("http2-settings", "AA")]), None);
    assert_eq!(code("GET", "/", &[("host", "localhost"), ("connection", "keep-alive, Upgrade")]), None);
}

#[test]
fn a_transfer_coding_is_chunked_alone_or_400() {
    let with = |lines: &[&'static str]| {
        let mut headers = vec![("host", "localhost")];
        headers.extend(lines.iter().map(|line| ("transfer-encoding", *line)));
        code("POST", "/", &headers)
    };
    for good in [&[][..], &["chunked"], &[" Chunked "]] {
        assert_eq!(with(good), None, "{good:?}");
    }
    for bad in [
        &["gzip, chunked"][..],
        &["chunked, chunked"],
        &["chunked", "chunked"],
        &["identity", "chunked"],
        &["chunked,"],
        &[", chunked"],
        &["chunked;a=b"],
        &["xchunked"],
        &["gzip"],
        &[""],
    ] {
        assert_eq!(with(bad), Some(Code::InvalidRequest), "{bad:?}");
    }
}

#[test]
fn a_target_of_more_than_8_kib_is_414() {
    let target = |bytes: usize| format!("/?{}", "x".repeat(bytes - 2));
    assert_eq!(code("GET", &target(8192), &[("host", "localhost")]), None);
    assert_eq!(code("GET", &target(8193), &[("host", "localhost")]), Some(Code::UriTooLong));
}

#[test]
fn more_than_a_hundred_headers_are_431() {
    let mut headers = vec![("host", "localhost")];
    headers.resize(MAX_HEADERS, ("x-a", "1"));
    assert_eq!(code("GET", "/", &headers), None);
    headers.push(("x-a", "1"));
    assert_eq!(code("GET", "/", &headers), Some(Code::HeadersTooLarge));
}

fn client(peer: &str, lines: &[&str]) -> IpAddr {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("x-forwarded-for", line.parse().unwrap());
    }
    client_address(peer.parse().unwrap(), &headers, &["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
}

#[test]
fn an_untrusted_peer_does_not_speak_for_another_client() {
    assert_eq!(client("203.0.113.9", &["198.51.100.1"]).to_string(), "203.0.113.9");
}

#[test]
fn the_right_most_address_that_is_no_trusted_proxy_is_the_client() {
    assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]).to_string(), "198.51.100.1");
    assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1"]).to_string(), "198.51.100.1");
    assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]).to_string(), "198.51.100.1");
    assert_eq!(client("fd00::1", &["[2001:db8::1]:443"]).to_string(), "2001:db8::1");
    assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]).to_string(), "2001:db8::1");
    assert_eq!(client("10.0.0.1", &["198.51.100.1:5555"]).to_string(), "198.51.100.1");
}

#[test]
fn only_trusted_hops_leave_the_left_most() {
    assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]).to_string(), "10.0.0.3");
    assert_eq!(client("10.0.0.1", &[]).to_string(), "10.0.0.1");
}

#[test]
fn an_unreadable_entry_ends_the_walk() {
    assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"]).to_string(), "10.0.0.2");
    assert_eq!(client("10.0.0.1", &["198.51.100.1, "]).to_string(), "10.0.0.1");
}

/// The same question, asked without cleverness: cut both into labels and compare.
fn covered(served: &str, name: &str) -> bool {
    let (served, name): (Vec<&str>, Vec<&str>) = (served.split('.').collect(), name.split('.').collect());
    served.len() == name.len()
        && served.iter().zip(&name).enumerate().all(|(i, (s, n))| s == n || (i == 0 && *s == "*"))
}

proptest! {
    #[test]
    fn names_match_as_a_naive_matcher_says(
        served in prop::collection::vec("(\\*\\.)?[ab]{1,2}(\\.[ab]{1,2}){0,2}", 0..4),
        name in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
        port in prop::option::of(any::<u16>()),
        shout in any::<bool>(),
    ) {
        let expected = served.iter().any(|served| covered(served, &name));
        let written = if shout { name.to_ascii_uppercase() } else { name };
        let host = port.map_or(written.clone(), |port| format!("{written}:{port}"));
        let hosts = Hosts { names: served, ..Hosts::default() };
        prop_assert_eq!(check(&parts("GET", "/", &[("host", &host)]), &hosts, true).is_ok(), expected);
    }

    #[test]
    fn any_host_value_is_served_misdirected_or_400(bytes in prop::collection::vec(32u8..=255, 0..60)) {
        prop_assume!(!bytes.contains(&127));
        let mut parts = parts("GET", "/", &[]);
        parts.headers.insert(HOST, http::HeaderValue::from_bytes(&bytes).unwrap());
        let verdict = check(&parts, &hosts(&["localhost"]), true).map_err(|reject| reject.code);
        prop_assert!(matches!(verdict, Ok(()) | Err(Code::InvalidRequest | Code::MisdirectedRequest)));
        if verdict.is_ok() {
            prop_assert!(bytes.to_ascii_lowercase().starts_with(b"localhost"));
        }
    }

    #[test]
    fn addresses_survive_being_written_as_a_host(address in any::<IpAddr>(), port in any::<u16>()) {
        let hosts = Hosts { addresses: vec![address], ..Hosts::default() };
        let host = std::net::SocketAddr::new(address, port).to_string();
        prop_assert!(check(&parts("GET", "/", &[("host", &host)]), &hosts, true).is_ok());
    }

    #[test]
    fn the_client_is_the_peer_or_an_entry_of_the_list(peer in any::<IpAddr>(), list in prop::collection::vec(any::<IpAddr>(), 0..5), trust in any::<bool>()) {
        let line = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", line.parse().unwrap());
        let everyone = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let client = client_address(peer, &headers, if trust { &everyone } else { &[] });
        let expected = if trust { *list.first().unwrap_or(&peer) } else { peer };
        prop_assert_eq!(client, expected.to_canonical());
    }
}
