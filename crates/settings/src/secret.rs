//! Secrets: never in the file, never in a message. Pure.

use std::fmt;

use crate::problem::Mistake;

/// A secret that no `Debug` shows; [`Secret::expose`] says where it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Reads a key that is sent in a header, from the content of a variable or a file. Line ends after it are not part of it.
    ///
    /// # Errors
    /// What is wrong, without a byte of it.
    pub fn parse(written: &[u8]) -> Result<Self, Mistake> {
        let end = written.iter().rposition(|b| !b"\r\n".contains(b)).map_or(0, |last| last + 1);
        let key = &written[..end];
        if key.is_empty() {
            return Err(Mistake::new("is empty", "put the provider's key there"));
        }
        // RFC 9110 §11.2: a token68 is visible ASCII. Spaces come from `Bearer ` or from a whole `NAME=value` line.
        if !key.iter().all(u8::is_ascii_graphic) {
            let mend = "put the key alone there, on one line: no spaces, no `Bearer`, no quotes";
            return Err(Mistake::new("holds a byte that no key has", mend));
        }
        Ok(Self(key.iter().copied().map(char::from).collect()))
    }

    /// The secret itself: only for the place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_trailing_line_end_is_no_part_of_the_key() {
        assert_eq!(Secret::parse(b"sk-canary\r\n"), Ok(Secret::new("sk-canary".into())));
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        for bad in
            [&b""[..], b"\n", b"Bearer sk-canary", b"sk-canary\nsecond", b" sk-canary", b"sk-canary\xff", b"a\0b"]
        {
            assert!(Secret::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_a_header_value_and_no_message_shows_it(written: Vec<u8>, tail in "[ \\n]{0,2}") {
            let written = [b"canary".as_slice(), &written, tail.as_bytes()].concat();
            let shown = match Secret::parse(&written) {
                Ok(secret) => {
                    prop_assert!(http::HeaderValue::from_str(secret.expose()).is_ok());
                    format!("{secret:?}")
                }
                Err(mistake) => format!("{mistake:?}"),
            };
            prop_assert!(!shown.contains("canary"));
        }
    }
}
