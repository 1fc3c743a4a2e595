mod both_halves;
mod cookies;
mod redirects;
mod preflights;
mod requests;
mod responses;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::head::ResponseHead;
use super::origin::PageOrigin;
use super::quirks::Browser;
use super::request::{Credentials, PageRequest, Request};

const PAGE: &str = "https://app.example.com";
const URL: &str = "https://api.example.net/v1/chat";

/// A response with these lines.
fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers }
}

/// `fetch(URL)` of a page of `PAGE`, by the standard.
fn page() -> PageRequest {
    PageRequest {
        browser: Browser::Standard,
        ..PageRequest::get(URL.parse().unwrap(), PageOrigin::parse(PAGE).unwrap())
    }
}

fn with_headers(lines: &[(&str, &str)]) -> PageRequest {
    let headers = lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    PageRequest { headers, ..page() }
}

fn with_credentials() -> PageRequest {
    PageRequest { credentials: Credentials::Include, ..page() }
}

fn request(page: &PageRequest) -> Request {
    Request::new(page).unwrap()
}
