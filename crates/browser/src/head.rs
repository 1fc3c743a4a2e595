//! The head of a response as it was received.

use http::header::AsHeaderName;
use http::{HeaderMap, StatusCode};

/// The head of a response, unfiltered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// All header lines, in order for each name.
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// Fetch §2.2.2, "get": the values of all lines of this name, joined by `, `; `None` without a line.
    pub fn get(&self, name: impl AsHeaderName) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self.headers.get_all(name).iter().map(|value| trimmed(value.as_bytes())).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    }

    /// The lines of this name as `name: value`, in order.
    pub fn lines(&self, name: &'static str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect()
    }

    /// Fetch §2.2.2, "extract header list values" of a field that is a list of tokens (`#token`, RFC 9110 §5.6.1).
    ///
    /// # Errors
    /// The first member that is no token.
    pub fn tokens(&self, name: impl AsHeaderName) -> Result<Option<Vec<String>>, NotAToken> {
        let mut lines = self.headers.get_all(name).iter().peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let mut tokens = Vec::new();
        for member in lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(trimmed) {
            match std::str::from_utf8(member) {
                // RFC 9110 §5.6.1.2: recipients ignore empty members
                Ok("") => {}
                Ok(text) if member.iter().copied().all(is_token_byte) => tokens.push(text.to_owned()),
                _ => return Err(NotAToken(String::from_utf8_lossy(member).into_owned())),
            }
        }
        Ok(Some(tokens))
    }
}

/// A member of a list that is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAToken(pub String);

/// Removes tabs and spaces at both ends (RFC 9110 §5.5).
pub(super) fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !is_blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !is_blank(b)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// RFC 9110 §5.6.2, `tchar`.
pub(super) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
