//! The playground: one page, served from another origin than the gateway, that streams from it as any web page would.

use std::io;

use http::{HeaderValue, Uri};
use tokio::net::TcpListener;

use super::pages::{Page, Site};
use crate::drain::Drain;

const PAGE: &str = include_str!("../../web/playground.html");
const STYLE: &str = include_str!("../../web/playground.css");
/// Stands in the page where the settings go.
const SETTINGS: &str = "{{settings}}";

/// Serves the playground until draining begins. `gateway_url` is the gateway's origin, `https://localhost:8443`.
///
/// # Errors
/// `gateway_url` is not the origin of an http or https URL.
pub async fn serve(listener: TcpListener, gateway_url: String, drain: Drain) -> io::Result<()> {
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
    site.serve(listener, drain.begun).await;
    Ok(())
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
        "/sse.mjs" => include_str!("../../web/sse.mjs"),
        "/timeline.mjs" => include_str!("../../web/timeline.mjs"),
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
