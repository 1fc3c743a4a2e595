//! Reads the body of a request strictly: no object has a duplicate name, and nothing is nested too deeply. Pure.
//!
//! serde_json takes the last of two equal names, other parsers take the first: the gateway and the upstream would see two
//! different requests.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::cursor::{Cursor, NotJson, Value};
use super::{Kind, Path};

/// The deepest nesting of objects and arrays. It bounds the reader's stack; tool schemas, the deepest values that clients
/// send, need a fraction of it.
const MAX_DEPTH: usize = 64;

/// Why a body is refused as JSON. Its `Display` is for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Defect {
    Empty,
    NotUtf8 {
        /// Byte offset.
        offset: usize,
    },
    Syntax(String),
    Duplicate {
        path: String,
    },
    TooDeep {
        path: String,
    },
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::Empty => f.write_str("the body is empty: send a JSON object"),
            Defect::NotUtf8 { offset } => write!(f, "the body is not UTF-8 at byte {offset}: send JSON in UTF-8"),
            Defect::Syntax(what) => write!(f, "the body is not JSON: {what}"),
            Defect::Duplicate { path } => write!(f, "{path}: this name appears twice in its object: send it once"),
            Defect::TooDeep { path } => write!(f, "{path}: nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

/// Reads the body of a request forward, and checks all of it.
pub(crate) struct Checker<'a> {
    cursor: Cursor<'a>,
    /// The number of objects and arrays around the current place.
    depth: usize,
    /// The names that the surrounding objects have had so far, those of the innermost one last. Only the first [`FEW`] of
    /// each object are here.
    names: Vec<Cow<'a, str>>,
}

/// The number of names of one object that are compared one by one.
const FEW: usize = 12;

/// Checks that a body is one JSON value; `read` reads it.
///
/// # Errors
/// The first defect, or the one that `read` returns.
pub(crate) fn check<'a, T>(
    body: &'a [u8],
    read: impl FnOnce(&mut Checker<'a>) -> Result<T, Defect>,
) -> Result<T, Defect> {
    if body.trim_ascii().is_empty() {
        return Err(Defect::Empty);
    }
    let text = std::str::from_utf8(body).map_err(|error| Defect::NotUtf8 { offset: error.valid_up_to() })?;
    let mut checker = Checker { cursor: Cursor::strict(text), depth: 0, names: Vec::with_capacity(16) };
    let read = read(&mut checker)?;
    checker.step(Cursor::end)?;
    Ok(read)
}

impl<'a> Checker<'a> {
    /// Returns the type of the next value.
    pub(crate) fn kind(&mut self) -> Result<Kind, Defect> {
        self.step(Cursor::kind)
    }

    /// Returns the position of the next value, in bytes.
    pub(crate) fn position(&mut self) -> usize {
        self.cursor.position()
    }

    /// Reads the next value, of any type. `path` is its place.
    pub(crate) fn value(&mut self, path: &Path<'_>) -> Result<Value<'a>, Defect> {
        match self.kind()? {
            Kind::Object => self.object(path, |checker, path, _| checker.value(path).map(drop)),
            Kind::Array => self.array(path, |checker, path| checker.value(path).map(drop)),
            _ => self.step(Cursor::value),
        }
    }

    /// Reads the object that is the next value; `each` reads the value of each member, and gets its path and name.
    pub(crate) fn object(
        &mut self,
        path: &Path<'_>,
        mut each: impl FnMut(&mut Self, &Path<'_>, &str) -> Result<(), Defect>,
    ) -> Result<Value<'a>, Defect> {
        let start = self.enter(path)?;
        let mut members = self.step(Cursor::object)?;
        let first = self.names.len();
        // hashed with a random key: a client cannot make its names collide
        let mut more: Option<HashSet<Cow<'a, str>>> = None;
        while let Some(name) = self.step(|cursor| members.next(cursor))? {
            let path = Path::Member(path, &name);
            if self.names[first..].contains(&name) || more.as_ref().is_some_and(|more| more.contains(&name)) {
                return Err(Defect::Duplicate { path: path.written() });
            }
            if self.names.len() - first < FEW {
                self.names.push(name.clone());
            } else {
                more.get_or_insert_default().insert(name.clone());
            }
            each(self, &path, &name)?;
        }
        self.names.truncate(first);
        Ok(self.leave(start))
    }

    /// Reads the array that is the next value; `each` reads each element, and gets its path.
    pub(crate) fn array(
        &mut self,
        path: &Path<'_>,
        mut each: impl FnMut(&mut Self, &Path<'_>) -> Result<(), Defect>,
    ) -> Result<Value<'a>, Defect> {
        let start = self.enter(path)?;
        let mut elements = self.step(Cursor::array)?;
        let mut index = 0;
        while self.step(|cursor| elements.next(cursor))? {
            each(self, &Path::Element(path, index))?;
            index += 1;
        }
        Ok(self.leave(start))
    }

    fn enter(&mut self, path: &Path<'_>) -> Result<usize, Defect> {
        if self.depth == MAX_DEPTH {
            return Err(Defect::TooDeep { path: path.written() });
        }
        self.depth += 1;
        Ok(self.position())
    }

    fn leave(&mut self, start: usize) -> Value<'a> {
        self.depth -= 1;
        self.cursor.since(start)
    }

    fn step<T>(&mut self, step: impl FnOnce(&mut Cursor<'a>) -> Result<T, NotJson>) -> Result<T, Defect> {
        step(&mut self.cursor).map_err(|NotJson| syntax(self.cursor.text()))
    }
}

/// Returns the defect of a text that is not JSON, in serde_json's words, with line and column.
#[cold]
fn syntax(text: &str) -> Defect {
    let error = serde_json::from_str::<Discarded>(text).err();
    Defect::Syntax(error.map_or_else(|| "it cannot be read".to_owned(), |error| error.to_string()))
}

/// Any value, of which nothing is stored. Unlike `IgnoredAny`, it decodes strings and numbers.
struct Discarded;

impl<'de> Deserialize<'de> for Discarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Discard;

        impl<'de> Visitor<'de> for Discard {
            type Value = Discarded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Discarded, A::Error> {
                while map.next_entry::<Cow<'_, str>, Discarded>()?.is_some() {}
                Ok(Discarded)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Discarded, A::Error> {
                while seq.next_element::<Discarded>()?.is_some() {}
                Ok(Discarded)
            }

            fn visit_str<E>(self, _: &str) -> Result<Discarded, E> {
                Ok(Discarded)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Discarded, E> {
                Ok(Discarded)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Discarded, E> {
                Ok(Discarded)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Discarded, E> {
                Ok(Discarded)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Discarded, E> {
                Ok(Discarded)
            }

            fn visit_unit<E>(self) -> Result<Discarded, E> {
                Ok(Discarded)
            }
        }

        deserializer.deserialize_any(Discard)
    }
}
