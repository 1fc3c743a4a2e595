//! Finds the request to examine in a HAR file (HTTP Archive 1.2). Pure.

use bytes::Bytes;
use serde::Deserialize;

use super::{Pasted, only_page_headers};
use crate::text::plural;

/// Finds a request in a HAR file: the one for `url` if that is given; else the first that failed without a response, as blocked
/// requests do; else the first with `Origin`; else the first. Preflights are ignored, because the doctor sends its own.
///
/// # Errors
/// It is no HAR file, or the request is not in it, in one line.
pub fn parse(text: &[u8], url: Option<&str>) -> Result<Pasted, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let archive: Archive = serde_json::from_slice(text)
        .map_err(|error| format!("it is no HAR file (line {}): save it from the network panel as HAR", error.line()))?;
    let entries = archive.log.entries;
    let total = entries.len();
    let mut calls: Vec<(usize, Entry)> = entries
        .into_iter()
        .enumerate()
        .filter(|(_, entry)| !entry.request.method.eq_ignore_ascii_case("OPTIONS"))
        .collect();
    let place = match url {
        Some(url) => calls.iter().position(|(_, entry)| entry.request.url == url),
        None => (calls.iter().position(|(_, entry)| entry.response.status == 0 && entry.is_a_call()))
            .or_else(|| calls.iter().position(|(_, entry)| entry.request.header("origin").is_some()))
            .or_else(|| (!calls.is_empty()).then_some(0)),
    };
    let (place, Entry { request, .. }) = match (place, url) {
        (Some(place), _) => calls.swap_remove(place),
        (None, Some(url)) => {
            return Err(format!("it has {}, and none is for {url}", plural(total as u64, "request", "requests")));
        }
        (None, None) => return Err("there is no request in it".to_owned()),
    };
    let mut notes = Vec::new();
    if total > 1 {
        notes.push(format!("request {} of the {total} in the HAR file; name another by its URL", place + 1));
    }
    let headers = request.headers.into_iter().map(|header| (header.name, header.value)).collect();
    Ok(only_page_headers(Pasted {
        url: request.url,
        method: Some(request.method),
        headers,
        body: request.post_data.and_then(|data| data.text).map(Bytes::from),
        with_credentials: !request.cookies.is_empty(),
        notes,
        ..Pasted::default()
    }))
}

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Request,
    #[serde(default)]
    response: Response,
    /// A field of Chromium.
    #[serde(default, rename = "_resourceType")]
    resource_type: Option<String>,
}

impl Entry {
    /// Whether a script sent it; an unknown type counts as yes.
    fn is_a_call(&self) -> bool {
        self.resource_type.as_deref().is_none_or(|kind| matches!(kind, "fetch" | "xhr" | "eventsource" | "other"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    #[serde(default)]
    cookies: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    post_data: Option<PostData>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.as_str())
    }
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize, Default)]
struct Response {
    #[serde(default)]
    status: i32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn entry(method: &str, url: &str, status: i32, headers: &Value) -> Value {
        json!({ "request": { "method": method, "url": url, "headers": headers, "cookies": [] }, "response": { "status": status } })
    }

    fn har(entries: Value) -> Vec<u8> {
        json!({ "log": { "version": "1.2", "entries": entries } }).to_string().into_bytes()
    }

    #[test]
    fn a_failed_request_is_preferred() {
        let origin = json!([{ "name": "Origin", "value": "https://app.example" }]);
        let text = har(json!([
            entry("GET", "https://app.example/", 200, &json!([])),
            entry("POST", "https://api.example/ok", 200, &origin),
            entry("OPTIONS", "https://api.example/v1", 0, &origin),
            entry("POST", "https://api.example/v1", 0, &origin),
        ]));
        let pasted = parse(&text, None).unwrap();
        assert_eq!((pasted.url.as_str(), pasted.method.as_deref()), ("https://api.example/v1", Some("POST")));
        assert_eq!(pasted.origin.as_deref(), Some("https://app.example"));
        assert_eq!(pasted.notes, ["request 4 of the 4 in the HAR file; name another by its URL"]);
        assert_eq!(parse(&text, Some("https://api.example/ok")).unwrap().url, "https://api.example/ok");
        let missing = parse(&text, Some("https://api.example/none")).unwrap_err();
        assert_eq!(missing, "it has 4 requests, and none is for https://api.example/none");
    }

    #[test]
    fn the_body_the_cookies_and_the_page_s_headers_are_used() {
        let text = har(json!([{ "request": {
            "method": "POST", "url": "https://api.example/v1",
            "headers": [
                { "name": ":authority", "value": "api.example" },
                { "name": "content-type", "value": "application/json" },
                { "name": "sec-fetch-mode", "value": "cors" },
                { "name": "user-agent", "value": "Mozilla/5.0" },
                { "name": "referer", "value": "https://app.example/chat?x=1" },
            ],
            "cookies": [{ "name": "session", "value": "secret" }],
            "postData": { "mimeType": "application/json", "text": "{\"stream\":true}" },
        }, "response": { "status": 200 } }]));
        let pasted = parse(&text, None).unwrap();
        assert_eq!(pasted.headers, [("content-type".to_owned(), "application/json".to_owned())]);
        assert_eq!(pasted.body.as_deref(), Some(&b"{\"stream\":true}"[..]));
        assert!(pasted.with_credentials && pasted.notes.is_empty());
        assert_eq!(pasted.origin.as_deref(), Some("https://app.example"));
    }

    #[test]
    fn each_mistake_is_one_line() {
        for (text, said) in [
            (&b"<html>"[..], "it is no HAR file (line 1)"),
            (b"{\"log\":{}}", "it is no HAR file"),
            (b"{\"log\":{\"entries\":[]}}", "there is no request in it"),
        ] {
            let error = parse(text, None).unwrap_err();
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(text in any::<Vec<u8>>()) {
            let _ = parse(&text, None);
        }
    }
}
