//! The JSON parsers: tolerant for events, strict for requests. Pure.
//!
//! [`cursor`] reads JSON forward; [`check`] reads a request's body with it, and names the place of a mistake; [`fold`] compares names
//! without regard to case.

pub(crate) mod check;
pub(crate) mod cursor;
pub(crate) mod fold;

use std::fmt;

/// A JSON value's type, as in error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// Returns the type of a JSON value without white space around it.
    pub(crate) fn of(value: &str) -> Self {
        match value.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        })
    }
}

/// A place in a JSON text, written `messages[2].content`. It is a list on the reader's stack and allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Top,
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// Returns the path as bounded text, because a client chooses the names.
    pub(crate) fn written(&self) -> String {
        const LONGEST: usize = 200;
        let mut text = self.to_string();
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        text
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Top => Ok(()),
            Path::Element(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Member(parent, name) if !is_plain(name) => write!(f, "{parent}[{name:?}]"),
            Path::Member(Path::Top, name) => f.write_str(name),
            Path::Member(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests;
