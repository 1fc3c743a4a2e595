//! Merges `Vary` (RFC 9110 §12.5.5). Pure.

use http::header::{HeaderMap, HeaderValue, VARY};

/// Adds the members of `list`, a comma-separated list of field names, to `Vary`. The result is one line with each member once,
/// the existing ones first and in their order. An existing `*` covers everything and is not changed.
pub(super) fn add(headers: &mut HeaderMap, list: &'static str) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static(list));
        return;
    }
    let mut members: Vec<&[u8]> = Vec::new();
    let written = headers.get_all(VARY).iter().map(HeaderValue::as_bytes);
    for member in written.chain([list.as_bytes()]).flat_map(|line| line.split(|b| *b == b',')) {
        let member = member.trim_ascii();
        if member == b"*" {
            return;
        }
        if !member.is_empty() && !members.iter().any(|known| known.eq_ignore_ascii_case(member)) {
            members.push(member);
        }
    }
    let merged = HeaderValue::from_bytes(&members.join(&b", "[..])).expect("parts of header values");
    headers.insert(VARY, merged);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(lines: &[&str], list: &'static str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, line.parse().unwrap());
        }
        add(&mut headers, list);
        headers.get_all(VARY).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn members_are_added_once_and_the_others_stay() {
        assert_eq!(after(&[], "Origin"), ["Origin"]);
        assert_eq!(after(&["Accept-Encoding"], "Origin"), ["Accept-Encoding, Origin"]);
        assert_eq!(after(&["accept", "ORIGIN ,, origin"], "Origin"), ["accept, ORIGIN"]);
        assert_eq!(after(&[""], "Origin"), ["Origin"]);
        assert_eq!(after(&["X-Origin"], "Origin, Accept"), ["X-Origin, Origin, Accept"]);
    }

    #[test]
    fn a_star_stays_as_it_is() {
        assert_eq!(after(&["*"], "Origin"), ["*"]);
        assert_eq!(after(&["Accept", "*"], "Origin"), ["Accept", "*"]);
    }

    proptest! {
        #[test]
        fn any_bytes_survive(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..4)) {
            let lines: Vec<_> = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(VARY, line.clone());
            }
            add(&mut headers, "Origin");
            let split = |headers: &HeaderMap| -> Vec<Vec<u8>> {
                let lines = headers.get_all(VARY).iter().map(|line| line.as_bytes().to_ascii_lowercase());
                lines.flat_map(|line| line.split(|b| *b == b',').map(|m| m.trim_ascii().to_vec()).collect::<Vec<_>>()).collect()
            };
            let members = split(&headers);
            let has = |name: &[u8]| members.iter().filter(|m| *m == name).count();
            prop_assert!(has(b"origin") == 1 || has(b"*") > 0);
            for line in &lines {
                for member in line.as_bytes().split(|b| *b == b',').map(|m| m.trim_ascii().to_ascii_lowercase()) {
                    prop_assert!(member.is_empty() || has(&member) > 0);
                }
            }
        }
    }
}
