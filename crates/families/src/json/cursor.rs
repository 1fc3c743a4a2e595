//! A pull parser of JSON (RFC 8259): one pass, and no allocation except for a name with escapes. Pure.
//!
//! The caller asks for the expected next item: a member's name, an element, a whole value. Values that it does not need are
//! skipped, but always validated.

use std::borrow::Cow;
use std::ops::Range;

use super::Kind;

/// The deepest nesting of objects and arrays: serde_json's own limit.
const MAX_DEPTH: usize = 128;

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

/// A position in a JSON text, from which it is read forward.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// The number of objects and arrays around the position.
    depth: usize,
    strict: bool,
}

/// The members of an object whose first brace was read.
#[derive(Debug)]
pub(crate) struct Members {
    begun: bool,
}

/// The elements of an array whose first bracket was read.
#[derive(Debug)]
pub(crate) struct Elements {
    begun: bool,
}

/// A value as it is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// The value, without white space around it.
    pub(crate) text: &'a str,
    /// Its position, in bytes from the beginning of the whole text.
    pub(crate) start: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of a text. It accepts what `serde_json::value::RawValue` accepts: also half of a surrogate pair,
    /// and numbers beyond the range of a double. It also accepts `NaN`, `Infinity` and `-Infinity`, which Python writes by default.
    pub(crate) fn lenient(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, strict: false }
    }

    /// Starts within an object, at the value of one of its members, and accepts the same.
    pub(crate) fn within_object(text: &'a str) -> (Self, Members) {
        (Self { depth: 1, ..Self::lenient(text) }, Members { begun: true })
    }

    /// Starts at the beginning of a text. It accepts what `serde_json::Value` accepts.
    pub(crate) fn strict(text: &'a str) -> Self {
        Self { strict: true, ..Self::lenient(text) }
    }

    /// Returns the whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the type of the next value, by its first byte.
    pub(crate) fn kind(&mut self) -> Result<Kind, NotJson> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'N' | b'I') if !self.strict => Ok(Kind::Number),
            _ => Err(NotJson),
        }
    }

    /// Returns the position of the next value, in bytes.
    pub(crate) fn position(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// Enters the object that is the next value.
    pub(crate) fn object(&mut self) -> Result<Members, NotJson> {
        self.enter(b'{').map(|()| Members { begun: false })
    }

    /// Enters the array that is the next value.
    pub(crate) fn array(&mut self) -> Result<Elements, NotJson> {
        self.enter(b'[').map(|()| Elements { begun: false })
    }

    /// Enters the next value if it is an object, else skips it.
    pub(crate) fn object_or_skip(&mut self) -> Result<Option<Members>, NotJson> {
        match self.kind()? {
            Kind::Object => self.object().map(Some),
            _ => self.value().map(|_| None),
        }
    }

    /// Enters the next value if it is an array, else skips it.
    pub(crate) fn array_or_skip(&mut self) -> Result<Option<Elements>, NotJson> {
        match self.kind()? {
            Kind::Array => self.array().map(Some),
            _ => self.value().map(|_| None),
        }
    }

    /// Reads the string that is the next value. Returns the text between its quotation marks, as it is spelled.
    pub(crate) fn string(&mut self) -> Result<&'a str, NotJson> {
        self.skip_space();
        let start = self.at + 1;
        self.skip_string()?;
        Ok(&self.text[start..self.at - 1])
    }

    /// Skips the next value, of any type.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, NotJson> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Object => {
                let mut members = self.object()?;
                while members.next(self)?.is_some() {
                    self.value()?;
                }
            }
            Kind::Array => {
                let mut elements = self.array()?;
                while elements.next(self)? {
                    self.value()?;
                }
            }
            Kind::String => drop(self.skip_string()?),
            Kind::Number => self.number()?,
            Kind::Boolean if self.byte() == Some(b't') => self.literal("true")?,
            Kind::Boolean => self.literal("false")?,
            Kind::Null => self.literal("null")?,
        }
        Ok(self.since(start))
    }

    /// Returns the value that begins at `start` and was just read.
    pub(crate) fn since(&self, start: usize) -> Value<'a> {
        Value { text: &self.text[start..self.at], start }
    }

    /// Checks that nothing but white space follows.
    pub(crate) fn end(&mut self) -> Result<(), NotJson> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(NotJson) }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.byte() != Some(byte) {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self, open: u8) -> Result<(), NotJson> {
        self.skip_space();
        self.eat(open)?;
        if self.depth == MAX_DEPTH {
            return Err(NotJson);
        }
        self.depth += 1;
        Ok(())
    }

    /// Reads the separator of two members or elements, or the end of the last one. Returns true if there is another.
    fn is_followed(&mut self, begun: &mut bool, close: u8) -> Result<bool, NotJson> {
        self.skip_space();
        let is_first = !std::mem::replace(begun, true);
        match self.byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(NotJson),
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), NotJson> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(())
    }

    /// Skips the string that begins here. Returns true if it has escapes. RFC 8259 §7.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, NotJson> {
        self.eat(b'"')?;
        self.skip_plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.skip_escapes().map(|()| true)
    }

    /// Skips the rest of a string, from its first escape on.
    #[inline(never)]
    fn skip_escapes(&mut self) -> Result<(), NotJson> {
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                // the end of the text, or a control character
                _ => return Err(NotJson),
            }
            self.skip_plain();
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn skip_plain(&mut self) {
        self.at += plain_len(&self.text.as_bytes()[self.at..]);
    }

    /// Skips a number. RFC 8259 §6.
    fn number(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'I') if !self.strict => return self.literal("Infinity"),
            Some(b'N') if !self.strict && self.at == start => return self.literal("NaN"),
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut is_vast = self.at - start > f64::MAX_10_EXP as usize;
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
            is_vast = true;
        }
        if self.strict && is_vast && !self.text[start..self.at].parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(NotJson);
        }
        Ok(())
    }

    /// Skips at least one digit.
    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NotJson) }
    }

    /// Skips an escape. RFC 8259 §7.
    fn escape(&mut self) -> Result<(), NotJson> {
        self.at += 2;
        match self.text.as_bytes().get(self.at - 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.code_unit()? {
                0xd800..=0xdbff if self.strict => {
                    self.eat(b'\\')?;
                    self.eat(b'u')?;
                    let low = self.code_unit()?;
                    if matches!(low, 0xdc00..=0xdfff) { Ok(()) } else { Err(NotJson) }
                }
                0xdc00..=0xdfff if self.strict => Err(NotJson),
                _ => Ok(()),
            },
            _ => Err(NotJson),
        }
    }

    fn code_unit(&mut self) -> Result<u32, NotJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(NotJson)?;
        self.at += 4;
        let digit = |unit: u32, digit: &u8| Some(unit << 4 | char::from(*digit).to_digit(16)?);
        digits.iter().try_fold(0, digit).ok_or(NotJson)
    }
}

impl Members {
    /// Returns the next member's name; its value is next. Returns `None` behind the object's end.
    pub(crate) fn next<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, NotJson> {
        if !cursor.is_followed(&mut self.begun, b'}')? {
            return Ok(None);
        }
        cursor.skip_space();
        let start = cursor.at + 1;
        let has_escapes = cursor.skip_string()?;
        let raw = &cursor.text[start..cursor.at - 1];
        cursor.skip_space();
        cursor.eat(b':')?;
        Ok(Some(if has_escapes { unescaped(raw) } else { Cow::Borrowed(raw) }))
    }
}

impl Elements {
    /// Returns true if another element follows, which is the next value, and false behind the array's end.
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, NotJson> {
        cursor.is_followed(&mut self.begun, b']')
    }
}

impl<'a> Value<'a> {
    /// Returns its type.
    pub(crate) fn kind(self) -> Kind {
        Kind::of(self.text)
    }

    /// Returns the string, or `None` if the value is not a string.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        let raw = self.text.strip_prefix('"')?.strip_suffix('"')?;
        Some(if raw.contains('\\') { unescaped(raw) } else { Cow::Borrowed(raw) })
    }

    /// Returns its range in the whole text.
    pub(crate) fn place(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// Decodes a string. Half of a surrogate pair has no meaning: it stays as it is spelled.
#[cold]
fn unescaped(raw: &str) -> Cow<'_, str> {
    serde_json::from_str(&format!("\"{raw}\"")).map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// Returns how many of these bytes come before the first quotation mark, reverse solidus or control character: eight bytes
/// at a time.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH_BITS: u64 = ONES << 7;
    // the lowest high bit that is set belongs to the first byte below the bound; those above it may be wrong
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let special = (equal(word, b'"') | equal(word, b'\\') | below(word, b' ')) & HIGH_BITS;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    at + bytes[at..].iter().position(is_special).unwrap_or(bytes.len() - at)
}
