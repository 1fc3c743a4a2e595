//! Where the results go: the table to stdout, the documents to files.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::args::Args;
use crate::config::Env;
use crate::report::document::Document;
use crate::report::terminal::Style;

/// The files that were asked for, open before anything is measured: an hour's results must not be lost to a typing error.
pub(super) struct Output {
    json: Option<Place>,
    html: Option<Place>,
    style: Style,
}

enum Place {
    Stdout,
    File(PathBuf, File),
}

impl Output {
    /// # Errors
    /// One line: a file that cannot be written.
    pub(super) fn open(args: &Args, env: Env<'_>) -> Result<Self, String> {
        let open = |flag: &str, path: &Option<PathBuf>| path.as_deref().map(|path| Place::open(flag, path)).transpose();
        Ok(Self { json: open("--json", &args.json)?, html: open("--html", &args.html)?, style: style(env) })
    }

    /// Writes all of it; without a table where there is nothing to put in it.
    ///
    /// # Errors
    /// One line: what could not be written.
    pub(super) fn write(self, document: &Document, table: bool) -> Result<(), String> {
        let stdout_is_taken = [&self.json, &self.html].into_iter().any(|place| matches!(place, Some(Place::Stdout)));
        if table && !stdout_is_taken {
            Place::Stdout.write(&document.terminal(self.style))?;
        }
        if let Some(place) = self.json {
            place.write(&document.json())?;
        }
        if let Some(place) = self.html {
            place.write(&document.html())?;
        }
        Ok(())
    }
}

/// As wide as the shell says, in colour on a terminal unless NO_COLOR is set (no-color.org).
fn style(env: Env<'_>) -> Style {
    let usual = Style::default();
    let width = env("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(usual.width);
    let plain = env("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style { width, colour: !plain && io::stdout().is_terminal() }
}

impl Place {
    fn open(flag: &str, path: &Path) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Place::Stdout);
        }
        let file = File::create(path);
        let file =
            file.map_err(|error| format!("{flag} {}: {error}; name a file that can be written", path.display()))?;
        Ok(Place::File(path.to_owned(), file))
    }

    fn write(self, text: &str) -> Result<(), String> {
        let (name, written) = match self {
            Place::Stdout => ("standard output".to_owned(), io::stdout().write_all(text.as_bytes())),
            Place::File(path, mut file) => (path.display().to_string(), file.write_all(text.as_bytes())),
        };
        written.map_err(|error| format!("{name}: {error}"))
    }
}
