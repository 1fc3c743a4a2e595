//! The playground: one page, served from another origin than the gateway, that streams from it as any web page would.

use std::io;

use http::{HeaderValue, Uri};
use prometheus::IntCounterVec;
use tokio::net::TcpListener;

use super::pages::{Page, Site};
use crate::drain::Drain;

const PAGE: &str = include_str!("../../web/playground.html");
const STYLE: &str = include_str!("../../web/playground.css");
/// The placeholder for the settings in the page.
const SETTINGS: &str = "{{settings}}";

/// Serves the playground until draining begins. `gateway_url` is the gateway's origin, `https://localhost:8443`.
///
/// # Errors
/// `gateway_url` is not the origin of an http or https URL, or the accept loop failed again and again.
pub async fn serve(
    listener: TcpListener,
    gateway_url: String,
    restarts: IntCounterVec,
    drain: Drain,
) -> io::Result<()> {
    let gateway = origin(&gateway_url).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("playground: `{gateway_url}` is not a gateway URL; write it like https://localhost:8443"),
        )
    })?;
    let page = page(&gateway);
    let site = Site {
        security_policy: security_policy(&gateway),
        route: move |path: &str| match path {
            "/" => Some(Page::ok("text/html; charset=utf-8", page.clone())),
            "/playground.css" => Some(Page::ok("text/css; charset=utf-8", [super::pages::STYLE, STYLE].concat())),
            _ => script(path).map(|script| Page::ok("text/javascript; charset=utf-8", script)),
        },
    };
    site.serve("playground", listener, restarts, drain.begun).await.map_err(io::Error::other)
}

/// The page with the gateway's URL in its settings: JSON in a script element that is not run.
pub fn page(gateway_url: &str) -> String {
    // `<` would end the element (`</script>`) or change how it is parsed (`<!--`): HTML Living Standard §4.12.1.3
    let settings = serde_json::json!({ "gateway": gateway_url }).to_string().replace('<', "\\u003c");
    PAGE.replacen(SETTINGS, &settings, 1)
}

fn script(path: &str) -> Option<&'static str> {
    Some(match path {
        "/playground.mjs" => include_str!("../../web/playground.mjs"),
        "/chat.mjs" => include_str!("../../web/chat.mjs"),
        "/cors.mjs" => include_str!("../../web/cors.mjs"),
        "/network.mjs" => include_str!("../../web/network.mjs"),
        "/timeline.mjs" => include_str!("../../web/timeline.mjs"),
        "/tokenway.js" => include_str!("../../web/tokenway.js"),
        _ => return None,
    })
}

/// `scheme://authority` of the URL, if it is one that a page can fetch from and a policy can name.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    // RFC 3986 lets `;`, `,` and `'` stand in a host; in a policy they would end the directive or quote a keyword
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let authority = uri.authority()?.as_str();
    (authority.chars().all(plain) && matches!(uri.path(), "" | "/") && uri.query().is_none())
        .then(|| format!("{scheme}://{authority}"))
}

/// Nothing may be loaded from elsewhere, nothing inline is run, and the gateway is the only host to connect to.
fn security_policy(gateway: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src {gateway}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // `origin` let only printable ASCII through
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pages::testing::{assert_whole, body, get, header, listener, restarts, status};
    use super::*;

    /// What a browser takes for the settings: everything up to the end tag.
    fn settings(page: &str) -> &str {
        page.split_once("id=\"settings\">").unwrap().1.split_once("</script").unwrap().0
    }

    #[tokio::test]
    async fn the_page_and_all_that_it_names_are_served() {
        let (listener, address) = listener().await;
        let drain = Drain::default();
        let server = tokio::spawn(serve(listener, "https://localhost:8443".into(), restarts(), drain.clone()));
        assert_whole(address).await;
        assert_eq!(status(&get(address, "/metrics").await), 404);

        let page = get(address, "/").await;
        assert_eq!(settings(body(&page)), r#"{"gateway":"https://localhost:8443"}"#);
        let policy = header(&page, "content-security-policy");
        assert!(policy.contains("connect-src https://localhost:8443;"), "{policy}");

        drain.begun.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_gateway_that_is_no_origin_is_refused_by_name() {
        let (listener, _) = listener().await;
        let error = serve(listener, "localhost:8443".into(), restarts(), Drain::default()).await.unwrap_err();
        assert!(error.to_string().contains("`localhost:8443`"), "{error}");
    }

    #[test]
    fn an_origin_is_taken_with_or_without_its_slash() {
        assert_eq!(origin("https://localhost:8443/").as_deref(), Some("https://localhost:8443"));
        assert_eq!(origin("http://[::1]:80").as_deref(), Some("http://[::1]:80"));
        for url in ["ftp://a", "https://a/v1", "https://a?b", "https://u@a", "https://a;script-src", "//a", ""] {
            assert_eq!(origin(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_url_ends_the_settings_or_changes_them(url in any::<String>().prop_map(|s| s + "</script><!--<script>{{settings}}")) {
            let page = page(&url);
            let value: serde_json::Value = serde_json::from_str(settings(&page)).unwrap();
            prop_assert_eq!(value["gateway"].as_str(), Some(url.as_str()));
        }

        #[test]
        fn no_url_adds_a_directive_to_the_policy(host in "[ -~]{1,20}") {
            if let Some(gateway) = origin(&format!("https://{host}")) {
                let policy = security_policy(&gateway);
                prop_assert_eq!(policy.to_str().unwrap().split(';').count(), 8);
                prop_assert!(!gateway.contains([' ', ',', '\'']));
            }
        }
    }
}
