//! A typed reader of TOML tables that goes on after a mistake, so that all of them are reported at once. Pure.
//!
//! The keys that are asked for are the keys that there are: what is left at the end of a section is unknown.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Field, Mistake, Place, Problem, Problems, State, nearest, quoted};
use super::values::{Bounded, Value, kind};

/// Reads a whole document with `read`. Where the text is no TOML, its syntax errors are the problems and `None` is returned.
pub(super) fn document<T>(text: &str, problems: &mut Problems, read: fn(&mut Section<'_, '_>) -> T) -> Option<T> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = Place { key: String::new(), line: None, state: State::Written };
        return Some(Section { text, place, entries: table.into_inner(), known: Vec::new(), problems }.finish(read));
    }
    for error in errors {
        let line = error.span().map(|span| line_of(text, span.start));
        // One slip often raises several errors on its line; the first tells it. `Error`'s own Display would show the line itself.
        if problems.0.iter().all(|problem| problem.line != line) {
            let (reason, mend) = (format!("is not TOML: {}", error.message()), "mend the syntax".to_owned());
            problems.0.push(Problem { key: String::new(), line, reason, mend });
        }
    }
    None
}

/// One table while it is read. `'i` is the text, `'p` the list of problems.
pub(super) struct Section<'i, 'p> {
    text: &'i str,
    place: Place,
    entries: DeTable<'i>,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'i> Section<'i, '_> {
    /// The value of `key`, or the default where it is absent. One that cannot be read is reported, and the default stands in.
    pub(super) fn or<T: Value>(&mut self, key: &'static str, default: T) -> Field<T> {
        match self.take(key) {
            None => Field { value: default, place: self.absent(key) },
            Some((place, value)) => match T::read(value.get_ref()) {
                Ok(value) => Field { value, place },
                Err(mistake) => Field { value: default, place: self.unreadable(place, mistake) },
            },
        }
    }

    /// The same, with a value outside `bounds` reported as well.
    pub(super) fn within<T: Bounded>(&mut self, key: &'static str, default: T, bounds: RangeInclusive<T>) -> Field<T> {
        let field = self.or(key, default);
        if bounds.contains(&field.value) {
            return field;
        }
        let mend = format!("write a value from {} to {}", bounds.start().show(), bounds.end().show());
        let mistake = Mistake::new(format!("{} is out of range", field.value.show()), mend);
        Field { value: default, place: self.unreadable(field.place, mistake) }
    }

    /// The value of a key that must be there; `mend` says what to write.
    pub(super) fn required<T: Value + Default>(&mut self, key: &'static str, mend: &str) -> Field<T> {
        let field = self.or(key, T::default());
        if field.is_written() {
            return field;
        }
        let place = self.unreadable(field.place, Mistake::new("is missing", mend));
        Field { value: field.value, place }
    }

    /// A list of strings, each with its own place; empty where the key is absent.
    pub(super) fn strings(&mut self, key: &'static str) -> Field<Vec<Field<String>>> {
        let Some((place, value)) = self.take(key) else {
            return Field { value: Vec::new(), place: self.absent(key) };
        };
        let DeValue::Array(items) = value.get_ref() else {
            let mistake = Mistake::new(
                format!("must be a list, not {}", kind(value.get_ref())),
                "write it in square brackets, such as [\"…\"]",
            );
            return Field { value: Vec::new(), place: self.unreadable(place, mistake) };
        };
        let read = |(i, item): (usize, &Spanned<DeValue<'i>>)| {
            let place = self.written(format!("{}[{i}]", place.key), item);
            match String::read(item.get_ref()) {
                Ok(value) => Field { value, place },
                Err(mistake) => Field { value: String::new(), place: self.unreadable(place, mistake) },
            }
        };
        Field { value: items.iter().enumerate().map(read).collect(), place }
    }

    /// True where `key` holds a list: for keys that take a word or a list.
    pub(super) fn holds_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// The table under `key`, read with `read`; an absent one is read as empty, so that its defaults hold.
    pub(super) fn section<T>(&mut self, key: &'static str, read: fn(&mut Section<'i, '_>) -> T) -> T {
        let (place, entries) = match self.take(key) {
            None => (self.absent(key), DeTable::new()),
            Some((place, value)) => match value.into_inner() {
                DeValue::Table(entries) => (place, entries),
                other => {
                    let reason = format!("must be a section, not {}", kind(&other));
                    let mend = format!("write [{}] on a line of its own", place.key);
                    (self.unreadable(place, Mistake::new(reason, mend)), DeTable::new())
                }
            },
        };
        self.child(place, entries).finish(read)
    }

    /// The same, where the table itself says something by being there.
    pub(super) fn section_if_written<T>(
        &mut self,
        key: &'static str,
        read: fn(&mut Section<'i, '_>) -> T,
    ) -> Option<T> {
        match self.entries.contains_key(key) {
            true => Some(self.section(key, read)),
            false => {
                self.known.push(key);
                None
            }
        }
    }

    /// The tables under `[[key]]`, each read with `read`.
    pub(super) fn sections<T>(&mut self, key: &'static str, read: fn(&mut Section<'i, '_>) -> T) -> Field<Vec<T>> {
        let Some((mut place, value)) = self.take(key) else {
            return Field { value: Vec::new(), place: self.absent(key) };
        };
        let mend = format!("write [[{}]] on a line of its own before the keys of each", place.key);
        let items = match value.into_inner() {
            DeValue::Array(items) => items,
            other => {
                let mistake = Mistake::new(format!("must be a list of sections, not {}", kind(&other)), mend);
                return Field { value: Vec::new(), place: self.unreadable(place, mistake) };
            }
        };
        let mut values = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let item_place = self.written(format!("{}[{i}]", place.key), item);
            match item.get_ref() {
                DeValue::Table(entries) => values.push(self.child(item_place, entries.clone()).finish(read)),
                other => {
                    let mistake = Mistake::new(format!("must be a section, not {}", kind(other)), mend.clone());
                    place.state = self.unreadable(item_place, mistake).state;
                }
            }
        }
        Field { value: values, place }
    }

    /// Reports a key that is refused wherever it is written. It is never proposed.
    pub(super) fn refuse(&mut self, key: &'static str, reason: &str, mend: &str) {
        if let Some((place, _)) = self.take(key) {
            self.problems.report(&place, Mistake::new(reason, mend));
        }
        self.known.retain(|known| *known != key);
    }

    /// Reports a key or a section that is written with its old name.
    pub(super) fn renamed(&mut self, old: &'static str, new: &str) {
        self.refuse(old, "has a new name", &format!("write `{new}`"));
    }

    /// Reads the section, then reports every key that nothing asked for.
    fn finish<T>(mut self, read: fn(&mut Section<'i, '_>) -> T) -> T {
        let value = read(&mut self);
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

    fn take(&mut self, key: &'static str) -> Option<(Place, Spanned<DeValue<'i>>)> {
        self.known.push(key);
        let value = self.entries.remove(key)?;
        Some((self.written(self.path(key), &value), value))
    }

    /// Reports what cannot be read; its place asks for no further reports.
    fn unreadable(&mut self, place: Place, mistake: Mistake) -> Place {
        self.problems.report(&place, mistake);
        Place { state: State::Unreadable, ..place }
    }

    fn written(&self, key: String, value: &Spanned<DeValue<'i>>) -> Place {
        Place { key, line: Some(line_of(self.text, value.span().start)), state: State::Written }
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

/// The line, from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    memchr::memchr_iter(b'\n', &text.as_bytes()[..offset.min(text.len())]).count() + 1
}
