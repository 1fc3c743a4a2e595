//! `x-request-id`: the client's own if it is valid, else 128 random bits.

use std::cell::RefCell;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The name of the header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: 1 to 128 letters, digits and `-_.:`.
#[derive(Debug, Clone)]
pub struct RequestId {
    text: Arc<str>,
    header: HeaderValue,
}

impl RequestId {
    /// Returns the client's id, if it is one line of allowed characters, else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(X_REQUEST_ID).iter();
        match (lines.next(), lines.next()) {
            (Some(only), None) if is_harmless(only.as_bytes()) => {
                // allowed bytes are ASCII
                Self { text: String::from_utf8_lossy(only.as_bytes()).into(), header: only.clone() }
            }
            _ => Self::random(),
        }
    }

    /// Makes an id of 128 random bits: `req_` and 32 hexadecimal digits.
    pub fn random() -> Self {
        let mut text = *b"req_00000000000000000000000000000000";
        let bits = POOL.with_borrow_mut(Pool::take);
        for (digits, byte) in text[4..].chunks_exact_mut(2).zip(bits) {
            digits[0] = HEX[usize::from(byte >> 4)];
            digits[1] = HEX[usize::from(byte & 15)];
        }
        let header = HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("req_0"));
        Self { text: String::from_utf8_lossy(&text).into(), header }
    }

    /// Returns the id as text.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Returns the id as a header value.
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 4096], used: 4096 }) };
}

/// Random bytes of one thread, so that one system call serves 256 ids.
struct Pool {
    bytes: [u8; 4096],
    used: usize,
}

impl Pool {
    /// Takes bytes that were not used before.
    fn take(&mut self) -> [u8; 16] {
        if self.used == self.bytes.len() {
            // without randomness ids may repeat, which is no reason to refuse a request
            let _ = getrandom::fill(&mut self.bytes);
            self.used = 0;
        }
        let mut bits = [0; 16];
        bits.copy_from_slice(&self.bytes[self.used..][..16]);
        self.used += 16;
        bits
    }
}

fn is_harmless(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(values: &[&'static str]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_static(value));
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_clients_own_id_is_used() {
        assert_eq!(&*of(&["3f2a-77_x.y:z"]).text(), "3f2a-77_x.y:z");
    }

    #[test]
    fn an_id_that_could_forge_a_log_line_or_is_given_twice_is_replaced() {
        let long: &'static str = Box::leak("a".repeat(129).into());
        for bad in [&["a b"][..], &["a\"b"], &[""], &[long], &["a", "b"], &[]] {
            let id = of(bad);
            assert!(id.text().starts_with("req_") && id.text().len() == 36, "{bad:?}");
            assert_eq!(id.header().as_bytes(), id.text().as_bytes());
        }
        assert_ne!(of(&[]).text(), of(&[]).text());
    }

    #[test]
    fn random_ids_are_hexadecimal_and_never_the_same() {
        // more than one pool of random bytes
        let ids: HashSet<_> = (0..1000).map(|_| RequestId::random().text()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let digits = id.strip_prefix("req_").unwrap();
            assert!(digits.len() == 32 && digits.bytes().all(|digit| b"0123456789abcdef".contains(&digit)), "{id}");
        }
    }
}
