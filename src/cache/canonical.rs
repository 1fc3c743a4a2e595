//! The canonical form of a request body: identical requests have the same form, so a cache key is made of it. Pure.
//!
//! White space, the order of members, the spelling of numbers (`1`, `1.0`, `10e-1`) and of escapes (`\u0041` and `A`) make
//! no difference. Everything else does: unknown members, `null` compared to a missing member, and `user`, because an app may
//! use it to separate the answers of its users. Only three members are left out:
//!
//! - `model`, because the key names the model that answers;
//! - `stream` and `stream_options`, because the same cached answer can be sent as a stream or whole, with its usage or
//!   without.
//!
//! A body that has no canonical form is not cached.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Top-level members that do not change the answer.
const LEFT_OUT: [&str; 3] = ["model", "stream", "stream_options"];

/// The deepest nesting that is read. A request is refused elsewhere long before it is as deep.
const MAX_DEPTH: usize = 128;

/// Returns the canonical form of a request's body, itself JSON. Returns `None` if it has none (a number with an exponent
/// that is too large, or a duplicate name), or if the answer must not come from a cache: `store: true` asks the provider to
/// store the completion, and a cached answer would not do that.
pub fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    let mut writer = Writer { text: body, at: 0, out: Vec::with_capacity(body.len()) };
    writer.skip_space();
    if writer.peek() != Some(b'{') {
        return None;
    }
    writer.object(0, |name, value| match name {
        b"\"store\"" if value == b"true" => Member::Refuse,
        name if LEFT_OUT
            .iter()
            .any(|out| name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")) == Some(out.as_bytes())) =>
        {
            Member::Drop
        }
        _ => Member::Keep,
    })?;
    writer.skip_space();
    (writer.at == body.len()).then_some(writer.out)
}

/// What happens to a member.
enum Member {
    Keep,
    Drop,
    Refuse,
}

/// Reads JSON at `at`, and writes it to `out` in canonical form. Returns `None` for text that is not JSON.
struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        self.skip_space();
        match self.peek()? {
            b'{' => self.object(depth, |_, _| Member::Keep),
            b'[' => self.array(depth),
            b'"' => {
                let text = self.string()?;
                self.out.extend_from_slice(&text);
                Some(())
            }
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    /// Reads an object. `judge` receives each member's canonical name, quotes included, and its canonical value.
    fn object(&mut self, depth: usize, judge: impl Fn(&[u8], &[u8]) -> Member) -> Option<()> {
        let depth = (depth < MAX_DEPTH).then_some(depth + 1)?;
        let begin = self.out.len();
        let mut members: Vec<(Cow<'a, [u8]>, Range<usize>)> = Vec::new();
        self.at += 1;
        self.skip_space();
        if !self.eat(b'}') {
            loop {
                self.skip_space();
                let name = self.string()?;
                self.skip_space();
                self.eat(b':').then_some(())?;
                let start = self.out.len();
                self.value(depth)?;
                match judge(&name, &self.out[start..]) {
                    Member::Keep => members.push((name, start..self.out.len())),
                    Member::Drop => self.out.truncate(start),
                    Member::Refuse => return None,
                }
                self.skip_space();
                if self.eat(b'}') {
                    break;
                }
                self.eat(b',').then_some(())?;
            }
        }
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let mut sorted = Vec::with_capacity(self.out.len() - begin + 2);
        sorted.push(b'{');
        for (number, (name, value)) in members.into_iter().enumerate() {
            if number > 0 {
                sorted.push(b',');
            }
            sorted.extend_from_slice(&name);
            sorted.push(b':');
            sorted.extend_from_slice(&self.out[value]);
        }
        sorted.push(b'}');
        self.out.truncate(begin);
        self.out.extend_from_slice(&sorted);
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let depth = (depth < MAX_DEPTH).then_some(depth + 1)?;
        self.at += 1;
        self.out.push(b'[');
        self.skip_space();
        if !self.eat(b']') {
            loop {
                self.value(depth)?;
                self.skip_space();
                if self.eat(b']') {
                    break;
                }
                self.eat(b',').then_some(())?;
                self.out.push(b',');
            }
        }
        self.out.push(b']');
        Some(())
    }

    /// Reads a string with its quotes. A string without escapes has one spelling already (RFC 8259 §7).
    fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let start = self.at;
        self.eat(b'"').then_some(())?;
        let mut escaped = false;
        loop {
            self.at += memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            if self.eat(b'"') {
                break;
            }
            escaped = true;
            self.at += 2;
        }
        let raw = self.text.get(start..self.at)?;
        if !escaped {
            return Some(Cow::Borrowed(raw));
        }
        let text: String = serde_json::from_slice(raw).ok()?;
        serde_json::to_vec(&text).ok().map(Cow::Owned)
    }

    /// Writes a number as `digits`, or `digits e exponent`, where the digits neither begin nor end with zeros: exact for
    /// every size.
    fn number(&mut self) -> Option<()> {
        let negative = self.eat(b'-');
        let whole = self.some_digits()?;
        if whole.len() > 1 && whole[0] == b'0' {
            return None;
        }
        let fraction = if self.eat(b'.') { self.some_digits()? } else { &[] };
        let mut exponent: i64 = 0;
        if self.eat(b'e') || self.eat(b'E') {
            let minus = self.eat(b'-');
            if !minus {
                self.eat(b'+');
            }
            let digits = self.some_digits()?;
            let digits = &digits[digits.iter().take_while(|digit| **digit == b'0').count()..];
            // a larger exponent does not fit, and no such number is useful
            (digits.len() <= 17).then_some(())?;
            exponent = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
            if minus {
                exponent = -exponent;
            }
        }
        exponent -= i64::try_from(fraction.len()).ok()?;
        let start = self.out.len();
        let leading = whole.iter().chain(fraction).take_while(|digit| **digit == b'0').count();
        self.out.extend(whole.iter().chain(fraction).skip(leading));
        while self.out.len() > start && self.out.last() == Some(&b'0') {
            self.out.pop();
            exponent += 1;
        }
        if self.out.len() == start {
            // zero has no sign
            self.out.push(b'0');
            return Some(());
        }
        if negative {
            self.out.insert(start, b'-');
        }
        if exponent != 0 {
            self.out.extend_from_slice(format!("e{exponent}").as_bytes());
        }
        Some(())
    }

    /// Reads one or more digits, as in the grammar of RFC 8259 §6. Returns `None` if there are none.
    fn some_digits(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(&rest[..count])
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then_some(())?;
        self.at += word.len();
        self.out.extend_from_slice(word);
        Some(())
    }

    fn skip_space(&mut self) {
        // RFC 8259 §2
        let space = self.text.get(self.at..).unwrap_or_default().iter();
        self.at += space.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests;
