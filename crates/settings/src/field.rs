//! A value with the place it was read from. Pure.

/// Where a value is written, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The key path.
    pub key: String,
    /// The line, from 1; for an absent key that of its section, if that is written.
    pub line: Option<usize>,
    /// Whether a usable value is written there.
    pub state: State,
}

impl Place {
    /// A place in no file, for a value that is read by itself.
    pub(crate) fn nowhere() -> Self {
        Self { key: String::new(), line: None, state: State::Written }
    }
}

/// What is written at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A value that was read.
    Written,
    /// Nothing: the default applies.
    Absent,
    /// A value that could not be read, or nothing where a value is required. The problem is reported already.
    Unreadable,
}

/// A value and where it came from. Compares by value alone.
#[derive(Debug, Clone)]
pub struct Field<T> {
    /// The value as read, or the default.
    pub value: T,
    /// Where it is written.
    pub place: Place,
}

impl<T> Field<T> {
    /// True where the operator wrote this value, readable or not.
    pub fn is_written(&self) -> bool {
        self.place.state != State::Absent
    }

    /// True unless a value is written that could not be read.
    pub fn is_readable(&self) -> bool {
        self.place.state != State::Unreadable
    }

    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        Field { value: f(self.value), place: self.place }
    }
}

impl<T: PartialEq> PartialEq for Field<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> std::ops::Deref for Field<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
