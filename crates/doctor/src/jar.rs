//! The cookie jar of the browser that the doctor imitates. The user's cookies belong to the host of the URL. Pure.

use browser::cookie::{Context, CookieOutcome, SetCookie};
use browser::head::ResponseHead;
use http::HeaderValue;
use http::header::SET_COOKIE;
use url::Url;

/// The cookies that a browser has, with their values. They are never shown.
pub struct Jar {
    cookies: Vec<Cookie>,
}

struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    /// The host that set it.
    host: String,
    rule: Rule,
}

/// What decides where a cookie is sent.
enum Rule {
    /// A cookie of `--header 'cookie: …'`: its attributes are unknown. It is sent to its host only, and not over plain HTTP if it belongs to an https URL.
    Given { over_tls: bool },
    /// The attributes of its `Set-Cookie` line.
    Set(SetCookie),
}

impl Jar {
    /// The user's cookies, which belong to the host of this URL.
    pub fn of(header: Option<&HeaderValue>, url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let over_tls = url.scheme() == "https";
        let pairs = header.map_or(&b""[..], HeaderValue::as_bytes).split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let cookies = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair_of(pair);
            Cookie { name, value, host: host.to_owned(), rule: Rule::Given { over_tls } }
        });
        Self { cookies: cookies.collect() }
    }

    /// Stores the cookies of a response, as far as a browser stores them.
    pub fn store(&mut self, response: &ResponseHead, context: &Context<'_>) {
        let Some(host) = context.url.host_str() else { return };
        for line in response.headers.get_all(SET_COOKIE) {
            let Some(mut set) = SetCookie::parse(line.as_bytes()) else { continue };
            let outcome = set.outcome(context);
            if matches!(outcome, CookieOutcome::Rejected(_)) {
                continue;
            }
            set.path.get_or_insert_with(|| default_path(context.url));
            let pair = line.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
            let (name, value) = pair_of(pair.trim_ascii());
            self.cookies.retain(|cookie| !cookie.is_replaced_by(&name, host, &set));
            if outcome != CookieOutcome::Removed {
                self.cookies.push(Cookie { name, value, host: host.to_owned(), rule: Rule::Set(set) });
            }
        }
    }

    /// The header `cookie` of a request; `None` if no cookie is sent.
    pub fn header(&self, context: &Context<'_>) -> Option<HeaderValue> {
        let pairs: Vec<Vec<u8>> =
            self.cookies.iter().filter(|cookie| cookie.is_sent(context)).map(Cookie::pair).collect();
        let mut value = HeaderValue::from_bytes(&pairs.join(&b"; "[..])).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The names of the cookies that a request with these credentials does not carry, although the jar has them.
    pub fn withheld(&self, context: &Context<'_>) -> Vec<String> {
        let withheld = self.cookies.iter().filter(|cookie| !cookie.is_sent(context));
        withheld.map(|cookie| String::from_utf8_lossy(&cookie.name).into_owned()).collect()
    }
}

impl Cookie {
    fn is_sent(&self, context: &Context<'_>) -> bool {
        let same_host = context.url.host_str() == Some(&self.host);
        match &self.rule {
            Rule::Given { over_tls } => context.credentials && same_host && (!over_tls || context.is_secure()),
            Rule::Set(set) => {
                (same_host || set.domain.is_some())
                    && matches!(set.outcome(context), CookieOutcome::Stored | CookieOutcome::Partitioned)
            }
        }
    }

    /// RFC 6265bis §5.7, step 22: the same name, domain and path. The domain and path of a cookie of the user are not known.
    fn is_replaced_by(&self, name: &[u8], host: &str, new: &SetCookie) -> bool {
        self.name == name
            && match &self.rule {
                Rule::Given { .. } => self.host == host,
                Rule::Set(old) => {
                    let domain = |set: &SetCookie, host: &str| set.domain.clone().unwrap_or_else(|| host.to_owned());
                    old.path == new.path
                        && old.domain.is_some() == new.domain.is_some()
                        && domain(old, &self.host) == domain(new, host)
                }
            }
    }

    fn pair(&self) -> Vec<u8> {
        match self.name.is_empty() {
            true => self.value.clone(),
            false => [&self.name, &b"="[..], &self.value].concat(),
        }
    }
}

/// Name and value; without `=`, the pair is the value of a cookie without a name.
fn pair_of(pair: &[u8]) -> (Vec<u8>, Vec<u8>) {
    match pair.iter().position(|b| *b == b'=') {
        Some(equals) => (pair[..equals].trim_ascii().to_vec(), pair[equals + 1..].trim_ascii().to_vec()),
        None => (Vec::new(), pair.to_vec()),
    }
}

/// RFC 6265bis §5.1.4, "default-path".
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(last) => url.path()[..last].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use browser::origin::PageOrigin;
    use browser::quirks::Browser;
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "https://app.example";

    /// What the jar sends to a URL, if a page of [`PAGE`] asks with credentials.
    fn sent(jar: &Jar, url: &str) -> String {
        let (url, page) = (Url::parse(url).unwrap(), PageOrigin::parse(PAGE).unwrap());
        let header = jar.header(&context(&url, &page, true));
        header.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    fn context<'a>(url: &'a Url, page: &'a PageOrigin, credentials: bool) -> Context<'a> {
        Context { url, page, credentials, browser: Browser::Chromium, third_parties_blocked: false }
    }

    fn given(cookies: &str, url: &str) -> Jar {
        Jar::of(Some(&HeaderValue::from_str(cookies).unwrap()), &Url::parse(url).unwrap())
    }

    fn set(jar: &mut Jar, lines: &[&str], url: &str) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let (url, page) = (Url::parse(url).unwrap(), PageOrigin::parse(PAGE).unwrap());
        jar.store(&ResponseHead { status: StatusCode::FOUND, headers }, &context(&url, &page, true));
    }

    #[test]
    fn a_given_cookie_is_sent_to_the_host_of_the_url_only() {
        let jar = given("a=1; b=2", "https://api.example/v1");
        for (url, expected) in [
            ("https://api.example/other", "a=1; b=2"),
            ("https://api.example:8443/", "a=1; b=2"),
            ("http://api.example/", ""),
            ("https://sub.api.example/", ""),
            ("https://evil.example/", ""),
        ] {
            assert_eq!(sent(&jar, url), expected, "{url}");
        }
        assert_eq!(sent(&given("a=1", "http://localhost/"), "http://localhost:81/x"), "a=1");
    }

    #[test]
    fn a_cookie_of_a_response_is_sent_where_its_attributes_allow() {
        let mut jar = given("a=1", "https://api.example/v1/chat");
        let lines = [
            "host=h; SameSite=None; Secure; Path=/",
            "wide=w; SameSite=None; Secure; Path=/; Domain=api.example",
            "deep=d; SameSite=None; Secure",
            "lax=l; SameSite=Lax; Secure; Path=/",
            "foreign=f; SameSite=None; Secure; Domain=evil.example",
        ];
        set(&mut jar, &lines, "https://api.example/v1/chat");
        for (url, expected) in [
            ("https://api.example/", "a=1; host=h; wide=w"),
            ("https://api.example/v1/next", "a=1; host=h; wide=w; deep=d"),
            ("https://eu.api.example/", "wide=w"),
            ("https://evil.example/", ""),
            ("http://api.example/", ""),
        ] {
            assert_eq!(sent(&jar, url), expected, "{url}");
        }
    }

    #[test]
    fn a_response_replaces_and_removes_cookies() {
        let mut jar = given("a=1; b=2", "https://api.example/");
        set(
            &mut jar,
            &["a=3; SameSite=None; Secure; Path=/", "b=; Max-Age=0; SameSite=None; Secure"],
            "https://api.example/",
        );
        assert_eq!(sent(&jar, "https://api.example/"), "a=3");
    }

    #[test]
    fn without_credentials_nothing_is_sent_and_nothing_stored() {
        let (url, page) = (Url::parse("https://api.example/").unwrap(), PageOrigin::parse(PAGE).unwrap());
        let mut jar = given("a=1", url.as_str());
        let headers = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("b=2; SameSite=None; Secure"))]);
        jar.store(&ResponseHead { status: StatusCode::OK, headers }, &context(&url, &page, false));
        assert_eq!(jar.header(&context(&url, &page, false)), None);
        assert_eq!(sent(&jar, "https://api.example/"), "a=1");
    }

    proptest! {
        #[test]
        fn no_cookie_without_a_domain_leaves_its_host(line in "[a-z=; ]{0,40}", host in "[a-z]{1,8}\\.example") {
            let mut jar = given("session=canary", "https://api.example/");
            set(&mut jar, &[&format!("{line}; SameSite=None; Secure")], "https://api.example/");
            prop_assume!(host != "api.example" && !line.contains("domain"));
            prop_assert_eq!(sent(&jar, &format!("https://{host}/")), "");
        }
    }
}
