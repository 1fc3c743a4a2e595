//! Every request head that hyper's parser accepts is checked, routed and placed without a panic, and CORS is decided.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use tokenway::gateway::head;
use tokenway::gateway::routes::Route;
use tokenway::stream::log::cursor;

fn parts(bytes: &[u8]) -> Option<http::request::Parts> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(bytes).ok()?;
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let (name, value) = (HeaderName::try_from(field.name).ok()?, HeaderValue::try_from(field.value).ok()?);
        headers.append(name, value);
    }
    let built = Request::builder().method(request.method?).uri(request.path?).body(()).ok()?;
    let mut parts = built.into_parts().0;
    parts.headers = headers;
    Some(parts)
}

fuzz_target!(|bytes: &[u8]| {
    let Some(parts) = parts(bytes) else { return };
    let route = Route::of(parts.uri.path(), families::ALL);
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let _ = head::client_address(peer, &parts.headers, &[]);
    let _ = cursor::place(&parts.headers, parts.uri.query());
    let _ = tokenway::media_type::require_json(&parts);
    let _ = tokenway::cache::directives::RequestCacheControl::of(&parts.headers);
    let _ = route.methods();
});
