use proptest::prelude::*;

use super::*;

fn headers(pasted: &Pasted) -> Vec<(&str, &str)> {
    pasted.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn a_line_copied_from_chromium_gives_the_page_s_request() {
    let pasted = parse(
        r#"curl 'https://api.example/v1/chat/completions' \
  -H 'accept: */*' \
  -H 'accept-language: en-GB' \
  -H 'authorization: Bearer sk-1' \
  -H 'cache-control: no-cache' \
  -H 'content-type: application/json' \
  -b 'session=abc' \
  -H 'origin: https://app.example' \
  -H 'pragma: no-cache' \
  -H 'priority: u=1, i' \
  -H 'referer: https://app.example/' \
  -H 'sec-ch-ua: "Chromium";v="156"' \
  -H 'sec-fetch-mode: cors' \
  -H 'user-agent: Mozilla/5.0' \
  --data-raw $'{"messages":[{"role":"user","content":"it\'s"}]}'"#,
    )
    .unwrap();
    assert_eq!(pasted.url, "https://api.example/v1/chat/completions");
    assert_eq!(pasted.method.as_deref(), Some("POST"));
    assert_eq!(headers(&pasted), [("authorization", "Bearer sk-1"), ("content-type", "application/json")]);
    assert_eq!(pasted.body.as_deref(), Some(&br#"{"messages":[{"role":"user","content":"it's"}]}"#[..]));
    assert_eq!(pasted.origin.as_deref(), Some("https://app.example"));
    assert!(pasted.with_credentials);
    assert!(pasted.notes.is_empty(), "{:?}", pasted.notes);
}

#[test]
fn a_line_from_documentation_gives_the_request_of_a_page() {
    let pasted =
        parse("curl api.example/v1 -sSN -XPATCH -H'x-team: a' -H 'Host: b' --json '{\"a\":1}' -A tool").unwrap();
    assert_eq!((pasted.url.as_str(), pasted.method.as_deref()), ("http://api.example/v1", Some("PATCH")));
    let wanted = [("x-team", "a"), ("content-type", "application/json"), ("accept", "application/json")];
    assert_eq!(headers(&pasted), wanted);
    assert_eq!(pasted.notes, ["left out, for no page can set them: host"]);
    assert_eq!(pasted.origin, None);
}

#[test]
fn methods_and_content_types_follow_from_the_data() {
    for (line, method, content_type) in [
        ("curl https://a", None, None),
        ("curl https://a -d x=1 -d y=2", Some("POST"), Some("application/x-www-form-urlencoded")),
        ("curl https://a -d x -H 'Content-Type: text/plain'", Some("POST"), Some("text/plain")),
        ("curl https://a -d x -H 'Content-Type:'", Some("POST"), None),
        ("curl https://a -F f=@x", Some("POST"), Some("multipart/form-data; boundary=tokenway")),
        ("curl https://a -T file", Some("PUT"), None),
        ("curl -I https://a", Some("HEAD"), None),
        ("curl -G https://a -d x=1", None, None),
        ("curl https://a -X DELETE", Some("DELETE"), None),
    ] {
        let pasted = parse(line).unwrap();
        assert_eq!(pasted.method.as_deref(), method, "{line}");
        let written = pasted.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        assert_eq!(written.map(|(_, value)| value.as_str()), content_type, "{line}");
    }
    assert_eq!(
        parse("curl -G 'https://a?z=0' -d x=1 --data-urlencode 'q=a b'").unwrap().url,
        "https://a?z=0&x=1&q=a+b"
    );
    assert_eq!(parse("curl https://a -d x=1 -d y=2").unwrap().body.as_deref(), Some(&b"x=1&y=2"[..]));
}

#[test]
fn an_event_source_is_recognised_by_its_headers() {
    let browser =
        "-H 'accept: text/event-stream' -H 'cache-control: no-cache' -H 'pragma: no-cache' -H 'sec-fetch-mode: cors'";
    assert!(parse(&format!("curl https://a {browser}")).unwrap().event_source);
    assert!(!parse(&format!("curl https://a {browser} -H 'x-own: 1'")).unwrap().event_source);
    assert!(!parse("curl https://a -H 'accept: text/event-stream'").unwrap().event_source);
}

#[test]
fn each_mistake_is_one_line() {
    for (line, said) in [
        ("wget https://a", "does not begin with `curl`"),
        ("", "does not begin with `curl`"),
        ("curl", "names no URL"),
        ("curl https://a https://b", "names two URLs"),
        ("curl https://a -H", "-H has no value"),
        ("curl https://a -H nocolon", "has no colon"),
        ("curl https://a -d @body.json", "reads no file"),
        ("curl https://a --json @body.json", "reads no file"),
        ("curl https://a --frobnicate", "--frobnicate is not known here"),
        ("curl https://a -sZ", "-Z is not known here"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(said) && !error.contains('\n'), "{line}: {error}");
    }
}

#[test]
fn flags_that_the_doctor_has_itself_are_named() {
    let pasted = parse("curl -k --cacert ca.pem https://a").unwrap();
    assert_eq!(pasted.notes.len(), 2);
    assert!(pasted.notes[0].contains("--insecure") && pasted.notes[1].contains("--ca"));
}

proptest! {
    #[test]
    fn no_line_panics(words in proptest::collection::vec("-{0,2}[a-zA-Z@:=;' é]{0,6}", 0..8)) {
        let _ = parse(&format!("curl {}", words.join(" ")));
    }
}
