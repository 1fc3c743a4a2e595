//! The `cache-control` of a request (RFC 9111 §5.2.1). Pure.

use std::time::Duration;

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// The supported directives. `max-stale` has no effect, because stale answers are never cached. Unknown directives are
/// ignored (§5.2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCacheControl {
    /// Nothing of the request or the answer is stored, and no cached answer is used.
    pub no_store: bool,
    /// A new answer is requested. It may be cached.
    pub no_cache: bool,
    /// Only a cached answer is accepted.
    pub only_if_cached: bool,
    /// The maximum age of a cached answer. An invalid number of seconds counts as 0 (§4.2.1: treat as stale what is
    /// invalid).
    pub max_age: Option<Duration>,
    /// The answer must stay fresh for at least this time.
    pub min_fresh: Option<Duration>,
}

impl RequestCacheControl {
    /// Reads all `cache-control` lines of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, value) in Directives(line.as_bytes()) {
                directives.read(&name.to_ascii_lowercase(), value);
            }
        }
        directives
    }

    /// Whether an entry of this age is accepted, if entries are cached for `ttl`.
    pub fn accept(&self, age: Duration, ttl: Duration) -> bool {
        let fresh_for = ttl.saturating_sub(age);
        !self.no_store
            && !self.no_cache
            && !fresh_for.is_zero()
            && self.max_age.is_none_or(|most| age < most.saturating_add(Duration::from_secs(1)) && !most.is_zero())
            && self.min_fresh.is_none_or(|least| fresh_for >= least)
    }

    fn read(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => {
                let age = seconds(value).unwrap_or_default();
                self.max_age = Some(self.max_age.map_or(age, |other| other.min(age)));
            }
            b"min-fresh" => self.min_fresh = self.min_fresh.max(Some(seconds(value).unwrap_or(Duration::MAX))),
            _ => {}
        }
    }
}

/// Parses `delta-seconds` (§1.2.2). A number that is too large becomes the largest one.
fn seconds(value: &[u8]) -> Option<Duration> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    digits.then(|| Duration::from_secs(value.iter().fold(0, add)))
}

/// The directives of one line: name and value, without the quotes of the value. A comma within quotes is part of the value.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.0.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        let end = end.unwrap_or(self.0.len());
        let directive = self.0[..end].trim_ascii();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        let equals = directive.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&directive[..at], directive[at + 1..].trim_ascii()),
            None => (directive, &b""[..]),
        };
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some((name.trim_ascii(), bare.unwrap_or(value)))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn parse(lines: &[&'static str]) -> RequestCacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        RequestCacheControl::of(&headers)
    }

    #[test]
    fn directives_are_found_in_any_case_place_and_line() {
        let none = RequestCacheControl::default();
        assert_eq!(parse(&[]), none);
        assert_eq!(parse(&["NO-Store"]), RequestCacheControl { no_store: true, ..none });
        assert_eq!(
            parse(&["foo=\"a, no-store, \\\" b\", no-cache ,,", " only-if-cached"]),
            RequestCacheControl { no_cache: true, only_if_cached: true, ..none }
        );
        assert_eq!(parse(&["no-storeroom, max-stale=5, private"]), none);
    }

    #[test]
    fn an_age_that_is_no_number_is_none_at_all() {
        let age = |line| parse(&[line]).max_age.map(|age| age.as_secs());
        assert_eq!(age("max-age=60"), Some(60));
        assert_eq!(age("max-age=\"60\""), Some(60));
        assert_eq!(age("max-age=60, max-age=5"), Some(5));
        assert_eq!(age("max-age=99999999999999999999999"), Some(u64::MAX));
        for wrong in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=soon"] {
            assert_eq!(age(wrong), Some(0), "{wrong}");
        }
    }

    #[test]
    fn an_entry_will_do_while_it_is_fresh_and_as_young_as_asked() {
        let accepted = |line, age, ttl| parse(&[line]).accept(Duration::from_secs(age), Duration::from_secs(ttl));
        assert!(accepted("", 59, 60) && !accepted("", 60, 60) && !accepted("", 61, 60));
        assert!(accepted("max-age=10", 10, 60) && !accepted("max-age=10", 11, 60) && !accepted("max-age=0", 0, 60));
        assert!(accepted("min-fresh=10", 50, 60) && !accepted("min-fresh=10", 51, 60));
        assert!(!accepted("no-cache", 0, 60) && !accepted("no-store", 0, 60) && accepted("only-if-cached", 0, 60));
        assert!(!accepted("min-fresh=never", 0, 60));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_and_a_plain_no_store_is_always_seen(
            before in "[ -~]{0,20}",
            rest in "(, *[a-z=0-9]{0,8}){0,3}",
        ) {
            let mut headers = HeaderMap::new();
            headers.append(CACHE_CONTROL, HeaderValue::from_str(&before).unwrap());
            headers.append(CACHE_CONTROL, HeaderValue::from_str(&format!("no-store{rest}")).unwrap());
            prop_assert!(RequestCacheControl::of(&headers).no_store);
        }
    }
}
