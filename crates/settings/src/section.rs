//! A typed reader of TOML tables that goes on after a mistake, so that all of them are reported at once. Pure.
//!
//! The keys that are read are the keys that exist: what is left at the end of a section is unknown.

use toml::Spanned;
use toml::de::DeTable;

use crate::Toml;
use crate::declare::{Key, Table};
use crate::field::{Field, Place, State};
use crate::problem::{Mistake, Problem, Problems, nearest, quoted};
use crate::value::{At, Bounded, Value, kind};

/// Reads a whole document. Where the text is no TOML, its syntax errors are the problems and `None` is returned.
pub fn document<T: Table>(text: &str, problems: &mut Problems) -> Option<T> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = Place { key: String::new(), line: None, state: State::Written };
        return Some(Section { text, place, entries: table.into_inner(), known: Vec::new(), problems }.finish());
    }
    for error in errors {
        let line = error.span().map(|span| line_of(text, span.start));
        // One slip often raises several errors on its line; the first names it. `Error`'s own Display would show the line itself.
        if problems.0.iter().all(|problem| problem.line != line) {
            let (reason, mend) = (format!("is not TOML: {}", error.message()), "mend the syntax".to_owned());
            problems.0.push(Problem { key: String::new(), line, reason, mend });
        }
    }
    None
}

/// One table while it is read. `'i` is the text, `'p` the list of problems.
pub struct Section<'i, 'p> {
    text: &'i str,
    place: Place,
    entries: DeTable<'i>,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'i> Section<'i, '_> {
    /// The value of a key with a default. One that cannot be read is reported, and the default is used.
    pub fn with_default<T: Value>(&mut self, key: &Key) -> Field<T> {
        self.read(key.name, || key.default_value())
    }

    /// The same, with a value outside of the key's bounds reported as well.
    pub fn bounded<T: Bounded>(&mut self, key: &Key) -> Field<T> {
        let field = self.with_default(key);
        let (least, most) = key.bound_values();
        if least <= field.value && field.value <= most {
            return field;
        }
        let mend = format!("write a value from {} to {}", least.show(), most.show());
        let mistake = Mistake::new(format!("{} is out of range", field.value.show()), mend);
        Field { value: key.default_value(), place: self.problems.unreadable(field.place, mistake) }
    }

    /// The value of a key without a default, or the empty value.
    pub fn optional<T: Value + Default>(&mut self, key: &Key) -> Field<T> {
        self.read(key.name, T::default)
    }

    /// The value of a key that must be written; `mend` says what to write.
    pub fn required<T: Value + Default>(&mut self, key: &Key, mend: &str) -> Field<T> {
        let field: Field<T> = self.optional(key);
        if field.is_written() {
            return field;
        }
        let place = self.problems.unreadable(field.place, Mistake::new("is missing", mend));
        Field { value: field.value, place }
    }

    fn read<T: Value>(&mut self, key: &'static str, default: impl FnOnce() -> T) -> Field<T> {
        let Some((place, value)) = self.take(key) else {
            return Field { value: default(), place: self.absent(key) };
        };
        let mut at = At { text: self.text, place: &place, problems: self.problems };
        match T::read_parts(value.get_ref(), &mut at) {
            Ok(value) => Field { value, place },
            Err(mistake) => Field { value: default(), place: self.problems.unreadable(place, mistake) },
        }
    }

    /// The table under `key`; an absent one is read as empty, so that its defaults hold.
    pub fn table<T: Table>(&mut self, key: &'static str) -> T {
        let (place, entries) = match self.take(key) {
            None => (self.absent(key), DeTable::new()),
            Some((place, value)) => match value.into_inner() {
                Toml::Table(entries) => (place, entries),
                other => {
                    let reason = format!("must be a section, not {}", kind(&other));
                    let mend = format!("write [{}] on a line of its own", place.key);
                    (self.problems.unreadable(place, Mistake::new(reason, mend)), DeTable::new())
                }
            },
        };
        self.child(place, entries).finish()
    }

    /// The same, where the table itself says something by being there.
    pub fn table_if_written<T: Table>(&mut self, key: &'static str) -> Option<T> {
        match self.entries.contains_key(key) {
            true => Some(self.table(key)),
            false => {
                self.known.push(key);
                None
            }
        }
    }

    /// The tables under `[[key]]`.
    pub fn tables<T: Table>(&mut self, key: &'static str) -> Field<Vec<T>> {
        let Some((mut place, value)) = self.take(key) else {
            return Field { value: Vec::new(), place: self.absent(key) };
        };
        let mend = format!("write [[{}]] on a line of its own before the keys of each", place.key);
        let items = match value.into_inner() {
            Toml::Array(items) => items,
            other => {
                let mistake = Mistake::new(format!("must be a list of sections, not {}", kind(&other)), mend);
                return Field { value: Vec::new(), place: self.problems.unreadable(place, mistake) };
            }
        };
        let mut values = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let item_place = written(self.text, format!("{}[{i}]", place.key), item);
            match item.get_ref() {
                Toml::Table(entries) => values.push(self.child(item_place, entries.clone()).finish()),
                other => {
                    let mistake = Mistake::new(format!("must be a section, not {}", kind(other)), mend.clone());
                    place.state = self.problems.unreadable(item_place, mistake).state;
                }
            }
        }
        Field { value: values, place }
    }

    /// Reports a key that is refused wherever it is written. It is never proposed.
    fn refuse(&mut self, key: &'static str, reason: &str, mend: &str) {
        if let Some((place, _)) = self.take(key) {
            self.problems.report(&place, Mistake::new(reason, mend));
        }
        self.known.retain(|known| *known != key);
    }

    /// Reports a secret that is written into the file.
    pub fn secret(&mut self, key: &'static str, mend: &str) {
        self.refuse(key, "secrets never stand in the file", mend);
    }

    /// Reports a key or a section that is written with its old name.
    pub fn renamed(&mut self, old: &'static str, new: &str) {
        self.refuse(old, "has a new name", &format!("write `{new}`"));
    }

    /// Reads the section, then reports every key that nothing asked for.
    fn finish<T: Table>(mut self) -> T {
        let value = T::read(&mut self);
        for (key, _) in std::mem::take(&mut self.entries) {
            let what = if self.place.key.is_empty() { "section" } else { "key" };
            let mend = match nearest(key.get_ref(), self.known.iter().copied()) {
                Some(meant) => format!("write `{meant}`"),
                None => format!("remove it: here are {}", self.known.join(", ")),
            };
            let place = Place {
                key: self.path(key.get_ref()),
                line: Some(line_of(self.text, key.span().start)),
                state: State::Written,
            };
            self.problems.report(&place, Mistake::new(format!("is no known {what}"), mend));
        }
        value
    }

    fn child(&mut self, place: Place, entries: DeTable<'i>) -> Section<'i, '_> {
        Section { text: self.text, place, entries, known: Vec::new(), problems: self.problems }
    }

    fn take(&mut self, key: &'static str) -> Option<(Place, Spanned<Toml<'i>>)> {
        self.known.push(key);
        let value = self.entries.remove(key)?;
        Some((written(self.text, self.path(key), &value), value))
    }

    fn absent(&self, key: &str) -> Place {
        Place { key: self.path(key), line: self.place.line, state: State::Absent }
    }

    /// The path of a key of this section; a key that is no bare key is quoted.
    fn path(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let key = if bare && key.len() <= 60 { key.to_owned() } else { quoted(key) };
        if self.place.key.is_empty() { key } else { format!("{}.{key}", self.place.key) }
    }
}

/// The place of a value that is written.
pub(crate) fn written(text: &str, key: String, value: &Spanned<Toml<'_>>) -> Place {
    Place { key, line: Some(line_of(text, value.span().start)), state: State::Written }
}

/// The line, from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    memchr::memchr_iter(b'\n', &text.as_bytes()[..offset.min(text.len())]).count() + 1
}
