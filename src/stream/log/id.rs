//! The id of a resumable stream: 128 random bits, which cannot be guessed. Pure.

use std::fmt;
use std::str::FromStr;

/// The prefix of the text form. It makes an id recognizable in a log or a bug report.
const PREFIX: &str = "st_";

/// The id of one stream. As text, `st_` and 32 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(u128);

/// The text is not an id of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl StreamId {
    /// Makes an id of these bits. They must come from the system's randomness, because an id gives access to its stream.
    pub fn from_bits(bits: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bits))
    }
}

impl FromStr for StreamId {
    type Err = NotAnId;

    /// Reads exactly what `Display` writes: an id has one spelling.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAnId)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 32 || !digits.bytes().all(is_digit) {
            return Err(NotAnId);
        }
        u128::from_str_radix(digits, 16).map(Self).map_err(|_| NotAnId)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:032x}", self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bits: [u8; 16]) {
            let id = StreamId::from_bits(bits);
            prop_assert_eq!(id.to_string().len(), 35);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn whatever_is_read_has_one_spelling(text in "(st_)?[0-9a-fA-F+-]{30,34}|.{0,40}") {
            if let Ok(id) = text.parse::<StreamId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn nearly_an_id_is_none() {
        let zeros = "0".repeat(31);
        for text in [
            "",
            "st_",
            &format!("st_{zeros}"),
            &format!("st_{zeros}00"),
            &format!("st_{zeros}A"),
            &format!("st_+{zeros}"),
            &format!("ST_{zeros}0"),
        ] {
            assert_eq!(text.parse::<StreamId>(), Err(NotAnId), "{text}");
        }
    }
}
