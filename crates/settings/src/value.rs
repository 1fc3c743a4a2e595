//! Types that a key can have, and the readers of the common ones. Pure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::field::{Field, Place};
use crate::problem::{Mistake, Problems, quoted};
use crate::section::written;
use crate::units::{format_duration, format_size, parse_duration, parse_size};
use crate::{Json, Toml};

/// A type that a TOML value can be read as.
pub trait Value: Sized {
    /// What can be written, as a noun for the reference: `duration`.
    const TYPE: &'static str;

    /// Reads the value. A message may repeat what is written only where that can never be a secret.
    ///
    /// # Errors
    /// What is wrong, and the mend.
    fn read(value: &Toml<'_>) -> Result<Self, Mistake>;

    /// Reads a value whose parts have places of their own: a list.
    ///
    /// # Errors
    /// What is wrong with the value as a whole. Mistakes in its parts are reported to `at`.
    fn read_parts(value: &Toml<'_>, _at: &mut At<'_>) -> Result<Self, Mistake> {
        Self::read(value)
    }

    /// The JSON Schema of what can be written.
    fn schema() -> Json;
}

/// A type whose values can have bounds.
pub trait Bounded: Value + PartialOrd + Copy {
    /// How the value is written in the file.
    fn show(self) -> String;
}

/// The place of a value while its parts are read.
pub struct At<'a> {
    pub(crate) text: &'a str,
    pub(crate) place: &'a Place,
    pub(crate) problems: &'a mut Problems,
}

/// A list of strings, each with its own place.
pub type Strings = Vec<Field<String>>;

/// A table of strings under names that the user chooses, in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entries(pub Vec<(String, Field<String>)>);

/// A number of bytes, written `"4MiB"` or as a plain integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvName(pub String);

impl EnvName {
    /// How a message names the variable. Only capitals are shown (POSIX.1-2017 §8.1: what portable names are made of):
    /// anything else may be the key itself, pasted in the wrong place.
    pub fn shown(&self) -> String {
        match self.0.bytes().any(|b| b.is_ascii_lowercase()) {
            true => "the variable that it names".to_owned(),
            false => format!("the variable {}", self.0),
        }
    }
}

/// What the value is, in words, for a value of the wrong type. Never its content.
pub fn kind(value: &Toml<'_>) -> &'static str {
    match value {
        Toml::String(_) => "a string",
        Toml::Integer(_) => "an integer",
        Toml::Float(_) => "a number with a point",
        Toml::Boolean(_) => "true or false",
        Toml::Datetime(_) => "a date",
        Toml::Array(_) => "a list",
        Toml::Table(_) => "a table",
    }
}

/// The text of a string.
///
/// # Errors
/// The value is no string; the mend is `mend`.
pub fn string<'v>(value: &'v Toml<'_>, mend: &str) -> Result<&'v str, Mistake> {
    value.as_str().ok_or_else(|| Mistake::new(format!("must be a string, not {}", kind(value)), mend))
}

/// The number in an integer or in a number with a point.
///
/// # Errors
/// The value is no number; the mend is `mend`.
pub fn number(value: &Toml<'_>, mend: &str) -> Result<f64, Mistake> {
    let digits = match value {
        Toml::Float(float) => float.as_str(),
        Toml::Integer(integer) => integer.as_str(),
        _ => return Err(Mistake::new(format!("must be a number, not {}", kind(value)), mend)),
    };
    digits.parse().map_err(|_| Mistake::new("is out of range", mend))
}

fn whole_number(value: &Toml<'_>) -> Result<u64, Mistake> {
    let mend = "write a whole number, without quotes";
    let Some(integer) = value.as_integer() else {
        return Err(Mistake::new(format!("must be a whole number, not {}", kind(value)), mend));
    };
    // No legal value is near 2⁶⁴: what does not fit is negative or absurd.
    u64::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| Mistake::new(format!("{} is out of range", quoted(&integer.to_string())), mend))
}

impl Value for bool {
    const TYPE: &'static str = "`true` or `false`";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("must be true or false, not {}", kind(value)), "write it without quotes");
        value.as_bool().ok_or_else(wrong)
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Value for String {
    const TYPE: &'static str = "string";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        string(value, "write it in quotes").map(str::to_owned)
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Value for Strings {
    const TYPE: &'static str = "list of strings";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        Self::read_parts(value, &mut At { text: "", place: &Place::nowhere(), problems: &mut Problems::default() })
    }

    fn read_parts(value: &Toml<'_>, at: &mut At<'_>) -> Result<Self, Mistake> {
        let Toml::Array(items) = value else {
            let reason = format!("must be a list, not {}", kind(value));
            return Err(Mistake::new(reason, "write it in square brackets, such as [\"…\"]"));
        };
        let read = |(i, item): (usize, &toml::Spanned<Toml<'_>>)| {
            let place = written(at.text, format!("{}[{i}]", at.place.key), item);
            match String::read(item.get_ref()) {
                Ok(value) => Field { value, place },
                Err(mistake) => Field { value: String::new(), place: at.problems.unreadable(place, mistake) },
            }
        };
        Ok(items.iter().enumerate().map(read).collect())
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

impl Value for Entries {
    const TYPE: &'static str = "table of strings";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        Self::read_parts(value, &mut At { text: "", place: &Place::nowhere(), problems: &mut Problems::default() })
    }

    fn read_parts(value: &Toml<'_>, at: &mut At<'_>) -> Result<Self, Mistake> {
        let Toml::Table(members) = value else {
            let reason = format!("must be a table, not {}", kind(value));
            return Err(Mistake::new(reason, "write it in braces, such as { \"name\" = \"value\" }"));
        };
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by_key(|(name, _)| name.span().start);
        let read = |(name, item): (&toml::Spanned<_>, &toml::Spanned<Toml<'_>>)| {
            let name: &str = AsRef::<str>::as_ref(name.get_ref());
            let place = written(at.text, format!("{}.{}", at.place.key, quoted_if_needed(name)), item);
            let field = match String::read(item.get_ref()) {
                Ok(value) => Field { value, place },
                Err(mistake) => Field { value: String::new(), place: at.problems.unreadable(place, mistake) },
            };
            (name.to_owned(), field)
        };
        Ok(Self(members.into_iter().map(read).collect()))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// Returns a name as it is written in a key path (TOML 1.0, keys).
fn quoted_if_needed(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { format!("{name:?}") }
}

impl Value for PathBuf {
    const TYPE: &'static str = "path";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        string(value, "write the file's path in quotes").map(Self::from)
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Value for u64 {
    const TYPE: &'static str = "whole number";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        whole_number(value)
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Value for usize {
    const TYPE: &'static str = u64::TYPE;

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let wrong = |_| Mistake::new("is too large a number", "write a smaller one");
        whole_number(value)?.try_into().map_err(wrong)
    }

    fn schema() -> Json {
        u64::schema()
    }
}

impl Value for Duration {
    const TYPE: &'static str = "duration";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        parse_duration(string(value, "write a number and a unit in quotes, such as \"15s\"")?)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" })
    }
}

impl Value for Size {
    const TYPE: &'static str = "size";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        match value {
            Toml::Integer(_) => usize::read(value).map(Size),
            _ => parse_size(string(value, "write it in quotes, such as \"4MiB\", or as a number of bytes")?).map(Size),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^[0-9]+(B|KiB|MiB|GiB)$", "minimum": 0 })
    }
}

impl Value for SocketAddr {
    const TYPE: &'static str = "address and port";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write an IP address and a port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
        let text = string(value, mend)?;
        text.parse().map_err(|_| {
            let reason = format!("{} is not an address to listen on", quoted(text));
            match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
                Some(("", Ok(port))) => Mistake::new(reason, format!("write \"0.0.0.0:{port}\" for every address")),
                Some(("localhost", Ok(port))) => Mistake::new(reason, format!("write \"127.0.0.1:{port}\"")),
                _ => Mistake::new(reason, mend),
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": ":[0-9]+$" })
    }
}

impl Value for EnvName {
    const TYPE: &'static str = "environment variable";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write the variable's name, such as \"GLOBAL_API_KEY\", never the key itself";
        let text = string(value, mend)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(legal) {
            // Not shown: what is no variable name may be the key, pasted in the wrong place.
            return Err(Mistake::new("is not the name of an environment variable", mend));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" })
    }
}

impl<T: Value> Value for Option<T> {
    const TYPE: &'static str = T::TYPE;

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        T::read(value).map(Some)
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl Bounded for usize {
    fn show(self) -> String {
        self.to_string()
    }
}

impl Bounded for Duration {
    fn show(self) -> String {
        format_duration(self)
    }
}

impl Bounded for Size {
    fn show(self) -> String {
        format_size(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` as a TOML value, read as `T`.
    fn read<T: Value>(text: &str) -> Result<T, Mistake> {
        T::read(Toml::parse(text).unwrap().get_ref())
    }

    #[test]
    fn a_size_is_a_plain_number_of_bytes_or_a_text() {
        assert_eq!(read::<Size>("4096").unwrap(), Size(4096));
        assert_eq!(read::<Size>("\"4KiB\"").unwrap(), Size(4096));
    }

    #[test]
    fn an_address_without_a_host_is_mended() {
        let mend = |text| read::<SocketAddr>(text).unwrap_err().mend;
        assert!(mend("\":8443\"").contains("0.0.0.0:8443"));
        assert!(mend("\"localhost:8443\"").contains("\"127.0.0.1:8443\""));
        assert!(mend("\"example.com\"").contains("an IP address and a port"));
    }
}
