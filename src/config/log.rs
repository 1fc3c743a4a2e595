//! `[log]`, as it is written and checked. Pure.

settings::section! {
    /// The log, on stderr. See docs/OPERATIONS.md.
    pub(super) struct Written {
        /// "text" for people, "json" for machines. One line for each request.
        format: Format = "text";
    }
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Text, for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

settings::words!(Format { Text = "text", Json = "json" }, "write one of the two, in quotes");

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Written {
    /// Returns the checked section.
    pub(super) fn resolve(&self) -> Log {
        Log { json: self.format.value == Format::Json }
    }
}
