//! Which origins a pattern matches, and which entries are refused.

use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, origin: &str) -> bool {
    let pattern = Pattern::parse(pattern).unwrap();
    Origin::parse(origin.as_bytes()).is_ok_and(|origin| pattern.matches(&origin))
}

#[test]
fn the_origin_of_an_extension_or_an_app_matches_its_own_bytes_only() {
    for app in [
        "tauri://localhost",
        "capacitor://localhost",
        "ionic://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://6b0bd4c1-3c4f-4a8e-9c55-21e6f2c8a111",
        "safari-web-extension://6B0BD4C1-3C4F-4A8E-9C55-21E6F2C8A111",
        "app://obsidian.md",
        "vscode-webview://1abcdefghij2klmnopqrstuvwxyz",
    ] {
        assert!(matches(app, app), "{app}");
        assert_eq!(Pattern::parse(app).unwrap().to_string(), app);
        assert!(!Pattern::parse(app).unwrap().is_insecure());
        for other in [&app[..app.len() - 1], &format!("{app}x"), &format!("x{app}"), "https://localhost", "null"] {
            assert!(!matches(app, other), "{app} {other}");
        }
        assert!(!matches("http://localhost", app) && !matches("https://*.localhost", app), "{app}");
    }
}

#[test]
fn an_exact_pattern_matches_its_own_bytes_only() {
    let pattern = "https://app.example.com";
    assert!(matches(pattern, "https://app.example.com"));
    for other in [
        "http://app.example.com",
        "https://app.example.com:443",
        "https://app.example.com:8443",
        "https://app.example.com.",
        "https://example.com",
        "https://x.app.example.com",
        "https://xapp.example.com",
        "https://app.example.com.evil.com",
        "https://app.example.comevil.com",
        "https://app-example.com",
    ] {
        assert!(!matches(pattern, other), "{other}");
    }
}

#[test]
fn a_subdomain_wildcard_matches_any_depth_but_neither_the_bare_domain_nor_lookalikes() {
    let pattern = "https://*.example.com";
    assert!(matches(pattern, "https://a.example.com"));
    assert!(matches(pattern, "https://a.b.c.example.com"));
    for other in [
        "https://example.com",
        "https://evilexample.com",
        "https://a.evilexample.com",
        "https://example.com.evil.com",
        "https://a.example.com.evil.com",
        "https://a.example.com:8443",
        "http://a.example.com",
        "https://.example.com",
    ] {
        assert!(!matches(pattern, other), "{other}");
    }
}

#[test]
fn a_port_wildcard_matches_every_port_and_none() {
    for origin in ["http://localhost", "http://localhost:1", "http://localhost:3000", "http://localhost:65535"] {
        assert!(matches("http://localhost:*", origin), "{origin}");
    }
    for other in ["https://localhost:3000", "http://localhost.evil.com:3000", "http://a.localhost:3000"] {
        assert!(!matches("http://localhost:*", other), "{other}");
    }
    assert!(matches("http://[::1]:*", "http://[::1]:5173"));
}

#[test]
fn both_wildcards_combine() {
    let pattern = "https://*.example.com:*";
    assert!(matches(pattern, "https://a.b.example.com"));
    assert!(matches(pattern, "https://a.example.com:8443"));
    assert!(!matches(pattern, "https://example.com:8443"));
}

#[test]
fn each_flaw_is_refused_with_its_reason_and_fix() {
    for (entry, reason, mend) in [
        ("null", "every sandboxed frame", "serve the page over http or https"),
        ("file:", "no origin of its own", "serve the page over http or https"),
        ("file:///home/me/page.html", "no origin of its own", "serve the page over http or https"),
        ("File://", "no origin of its own", "serve the page over http or https"),
        ("", "has no scheme", "write scheme, host"),
        ("app.example.com", "has no scheme", "write `https://app.example.com`"),
        ("localhost:3000", "has no scheme", "write `http://localhost:3000`"),
        ("*.example.com", "has no scheme", "write `https://*.example.com`"),
        ("*://app.example.com", "wildcard as its scheme", "one entry for https"),
        ("http*://app.example.com", "wildcard as its scheme", "one entry for https"),
        ("ws://app.example.com", "no origin of their own", "remove it"),
        ("data://x", "no origin of their own", "remove it"),
        ("htps://app.example.com", "misspelt", "write https://"),
        ("chrome-extension://*", "compared byte for byte", "one entry for each"),
        ("tauri://", "no origin that an extension or an app", "tauri://localhost"),
        ("tauri://localhost/", "trailing slash", "write `tauri://localhost`"),
        ("Tauri://localhost", "upper-case", "write `tauri://localhost`"),
        ("tauri://a:b@localhost", "holds a user name", "write `tauri://localhost`"),
        (" https://app.example.com", "white space", "write `https://app.example.com`"),
        ("https://bücher.example", "outside ASCII", "punycode"),
        ("https://a:b@app.example.com", "`…@app.example.com` holds a user name", "write `https://app.example.com`"),
        ("https://app.example.com/", "trailing slash", "write `https://app.example.com`"),
        ("https://App.example.com:443/x", "path", "write `https://app.example.com`"),
        ("https://app.example.com?x", "path", "write `https://app.example.com`"),
        ("https://App.example.com", "upper-case", "write `https://app.example.com`"),
        ("HTTPS://app.example.com", "upper-case", "write `https://app.example.com`"),
        ("https://*", "wildcard in the midst", "`*` alone for every origin"),
        ("https://*example.com", "wildcard in the midst", "whole first label"),
        ("https://app-*.example.com", "wildcard in the midst", "whole first label"),
        ("https://*.*.example.com", "wildcard in the midst", "whole first label"),
        ("https://a.*.example.com", "wildcard in the midst", "whole first label"),
        ("https://*.1.2.3.4", "wildcard before an IP", "name each address"),
        ("http://*.[::1]", "wildcard before an IP", "name each address"),
        ("https://1.2.3", "IP address in a form", "four decimal numbers"),
        ("https://[0:0:0:0:0:0:0:1]:8080", "IP address in a form", "write `https://[::1]:8080`"),
        ("https://[::1", "IP address in a form", "in brackets"),
        ("https://", "no valid host", "write scheme, host"),
        ("https://*.", "no valid host", "write scheme, host"),
        ("https://a..example.com", "no valid host", "write scheme, host"),
        ("https://a b.example.com", "white space", "write scheme, host"),
        ("https://app.example.com:443", "default port", "write `https://app.example.com`"),
        ("http://app.example.com:80", "default port", "write `http://app.example.com`"),
        ("https://app.example.com:", "no valid port", "write `https://app.example.com`"),
        ("https://app.example.com:0", "no valid port", "from 1 to 65535"),
        ("https://app.example.com:08443", "no valid port", "from 1 to 65535"),
        ("https://app.example.com:65536", "no valid port", "from 1 to 65535"),
        ("https://app.example.com:8*", "no valid port", "from 1 to 65535"),
    ] {
        let refused = Pattern::parse(entry).expect_err(entry);
        assert!(refused.reason.contains(reason), "{entry}: {}", refused.reason);
        assert!(refused.mend.contains(mend), "{entry}: {}", refused.mend);
    }
}

#[test]
fn a_wildcard_over_a_public_suffix_is_refused() {
    for base in [
        "com",
        "co.uk",
        "github.io",
        "vercel.app",
        "pages.dev",
        "ck",
        "kawasaki.jp",
        "xn--p1ai",
        "xn--55qx5d.cn",
        "internal",
        "com.",
    ] {
        for entry in [format!("https://*.{base}"), format!("https://*.{base}:*")] {
            let refused = Pattern::parse(&entry).expect_err(&entry);
            assert!(refused.reason.contains("public suffix"), "{entry}: {}", refused.reason);
        }
    }
    for entry in ["https://*.example.com", "https://*.me.github.io", "http://*.localhost:*", "https://*.a.internal"] {
        assert!(Pattern::parse(entry).is_ok(), "{entry}");
    }
}

#[test]
fn http_is_secure_on_loopback_hosts_only() {
    for entry in ["http://app.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]:*"] {
        assert!(Pattern::parse(entry).unwrap().is_insecure(), "{entry}");
    }
    for entry in [
        "https://app.example.com",
        "http://localhost:*",
        "http://app.localhost",
        "http://*.localhost",
        "http://127.0.0.1:3000",
        "http://127.9.9.9",
        "http://[::1]:*",
    ] {
        assert!(!Pattern::parse(entry).unwrap().is_insecure(), "{entry}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_panic_and_printed_unchanged(
        text in r"\PC{0,24}|(https?|[a-zA-Z*-]{1,5})://(\*\.)?[a-zA-Z0-9.*:_@/\[\]-]{0,20}(:[0-9*]{0,6})?",
    ) {
        match Pattern::parse(&text) {
            Ok(pattern) => prop_assert_eq!(pattern.to_string(), text),
            Err(refused) => prop_assert!(!refused.reason.is_empty() && !refused.mend.is_empty()),
        }
    }

    #[test]
    fn a_proposed_spelling_is_always_accepted(text in r" ?(HTTPS?://|https?://)?(a:b@)?[a-zA-Z*.]{1,12}(:[0-9*]{0,5})?/?") {
        if let Err(refused) = Pattern::parse(&text)
            && let Some(meant) = refused.mend.strip_prefix("write `http").and_then(|rest| rest.strip_suffix('`'))
        {
            prop_assert!(Pattern::parse(&format!("http{meant}")).is_ok(), "{}", meant);
        }
    }
}
