//! `x-request-id`: the client's own where it can be trusted to be one, else 128 random bits.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: 1 to 128 letters, digits and `-_.:`.
#[derive(Debug, Clone)]
pub struct RequestId {
    text: Arc<str>,
    header: HeaderValue,
}

impl RequestId {
    /// The client's, if it is one line of harmless characters, else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(X_REQUEST_ID).iter();
        match (lines.next(), lines.next()) {
            (Some(only), None) if is_harmless(only.as_bytes()) => {
                // harmless bytes are ASCII
                Self { text: String::from_utf8_lossy(only.as_bytes()).into(), header: only.clone() }
            }
            _ => Self::random(),
        }
    }

    /// 128 random bits.
    pub fn random() -> Self {
        let mut bits = [0; 16];
        // without randomness an id may repeat: no reason to refuse a request
        let _ = getrandom::fill(&mut bits);
        let text = format!("req_{:032x}", u128::from_be_bytes(bits));
        let header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("req_0"));
        Self { text: text.into(), header }
    }

    /// As text.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// As a header value.
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

fn is_harmless(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_static(value));
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_clients_own_id_is_kept() {
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
}
