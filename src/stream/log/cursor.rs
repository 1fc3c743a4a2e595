//! The place from which a reader continues: `Last-Event-ID`, or `?from=` where a client cannot set headers. Pure.

use http::HeaderMap;
use http::header::HeaderName;

use crate::error::{Code, Reject};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Returns the number of the last event that the reader has: 0 before the first. Returns `None` if the request names no
/// place: then it gets all events.
///
/// Both ways may be used at once: an `EventSource` that was opened with `?from=` also sends `Last-Event-ID` when it
/// reconnects, because it cannot change its URL. The header is then the newer value.
///
/// # Errors
/// `invalid_request` if a place is not a number, is named twice, or if the header names an event before the one in the URL,
/// which cannot be the last one of this reader.
pub fn place(headers: &HeaderMap, query: Option<&str>) -> Result<Option<u64>, Reject> {
    let header = in_header(headers)?;
    let url = in_query(query.unwrap_or_default())?;
    match (header, url) {
        (Some(last), Some(from)) if last < from => {
            Err(invalid(format!("`Last-Event-ID: {last}` contradicts `from={from}`, which is later: send one of them")))
        }
        (Some(last), _) => Ok(Some(last)),
        (None, from) => Ok(from),
    }
}

/// Returns the refusal of a place that the stream has not reached.
pub fn too_large(place: u64, last: u64) -> Reject {
    invalid(format!("the stream has no event {place}: its last one so far is {last}; is the id of another stream?"))
}

fn in_header(headers: &HeaderMap) -> Result<Option<u64>, Reject> {
    let mut lines = headers.get_all(LAST_EVENT_ID).iter();
    match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => Err(invalid("the header `last-event-id` is sent more than once".to_owned())),
        // WHATWG HTML §9.2.2: an empty last event ID is no last event ID
        (Some(only), None) if only.is_empty() => Ok(None),
        (Some(only), None) => number(only.as_bytes(), "the header `last-event-id`").map(Some),
        (None, _) => Ok(None),
    }
}

fn in_query(query: &str) -> Result<Option<u64>, Reject> {
    let mut values = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "from").then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(invalid("`from` is given more than once".to_owned())),
        (Some(only), None) => number(only.as_bytes(), "`from`").map(Some),
        (None, _) => Ok(None),
    }
}

/// Parses digits only. A number beyond 64 bits is beyond every stream, so it becomes the largest number.
fn number(text: &[u8], name: &str) -> Result<u64, Reject> {
    let wrong = || invalid(format!("{name}: expected the id of an event of this stream, a whole number from 0"));
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    Ok(text.parse().unwrap_or(u64::MAX))
}

fn invalid(message: String) -> Reject {
    Reject::new(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LAST_EVENT_ID, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn of(lines: &[&str], query: &str) -> Option<Option<u64>> {
        place(&headers(lines), Some(query)).ok()
    }

    #[test]
    fn a_reader_that_names_no_place_wants_all() {
        assert_eq!(place(&HeaderMap::new(), None), Ok(None));
        assert_eq!(of(&[""], "token=x&fromage=3"), Some(None));
    }

    #[test]
    fn the_header_and_the_url_name_the_last_event_that_the_reader_has() {
        assert_eq!(of(&["17"], ""), Some(Some(17)));
        assert_eq!(of(&[], "a=b&from=17"), Some(Some(17)));
        assert_eq!(of(&[], "from=0"), Some(Some(0)));
    }

    #[test]
    fn an_event_source_that_was_opened_in_the_middle_goes_on_from_its_last_event() {
        assert_eq!(of(&["17"], "from=17"), Some(Some(17)));
        assert_eq!(of(&["23"], "from=17"), Some(Some(23)));
        assert_eq!(of(&["16"], "from=17"), None, "it cannot have seen that one last");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for wrong in ["-1", "+1", "1.0", "0x1", "1 ", "st_5", "req_1:5", "١"] {
            let refused = place(&headers(&[]), Some(&format!("from={wrong}")));
            assert!(refused.is_err_and(|reject| reject.code == Code::InvalidRequest), "{wrong}");
            assert_eq!(wrong.is_ascii().then(|| of(&[wrong], "")).flatten(), None, "{wrong}");
        }
        assert_eq!(of(&[], "from"), None);
        assert_eq!(of(&[], "from=%31"), None);
        assert_eq!(of(&["1", "1"], ""), None);
        assert_eq!(of(&[], "from=1&from=1"), None);
    }

    #[test]
    fn a_number_beyond_all_numbers_is_beyond_every_stream() {
        assert_eq!(of(&["99999999999999999999999"], ""), Some(Some(u64::MAX)));
    }

    proptest! {
        #[test]
        fn every_number_is_read_as_itself(last: u64, from: u64) {
            let (earlier, later) = (last.min(from), last.max(from));
            prop_assert_eq!(of(&[&later.to_string()], &format!("from={earlier}")), Some(Some(later)));
        }

        #[test]
        fn no_query_makes_it_panic(query in ".{0,40}") {
            let _ = place(&HeaderMap::new(), Some(&query));
        }
    }
}
