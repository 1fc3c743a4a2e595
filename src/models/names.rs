//! Names of models and upstreams in the configuration. Pure.

use std::collections::HashMap;

use serde_json::json;
use settings::{Field, Json, Mistake, Resolver, Toml, Value, nearest, quoted, string};

/// The model name for automatic selection. No model may have it.
pub const AUTO: &str = "auto";
/// The metrics' label for everything that is not configured. No model may have it.
const OTHER: &str = "other";

/// The name of a model or an upstream: headers, logs and metrics contain it unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name(pub String);

impl Value for Name {
    const TYPE: &'static str = "name";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        let mend = "write 1 to 128 visible ASCII characters without spaces: the name is used in headers and metrics";
        let text = string(value, "write the name in quotes")?;
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Mistake::new(format!("{} is not a usable name", quoted(text)), mend));
        }
        if [AUTO, OTHER].contains(&text) {
            return Err(Mistake::new(format!("{} is a reserved name", quoted(text)), "choose another name"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[!-~]{1,128}$", "not": { "enum": [AUTO, OTHER] } })
    }
}

/// The names of all models or all upstreams, in the order of the file.
pub struct Names<'n> {
    what: &'static str,
    known: Vec<&'n str>,
    /// False if a name could not be read: then no name can be called unknown.
    complete: bool,
}

impl<'n> Names<'n> {
    /// Collects the names of `all`, each of which is a `what`.
    pub fn new<T>(what: &'static str, all: &'n Field<Vec<T>>, name: fn(&T) -> &Field<Name>) -> Self {
        Self {
            what,
            known: all.value.iter().map(|item| name(item).value.0.as_str()).collect(),
            complete: all.is_readable() && all.value.iter().all(|item| name(item).is_readable()),
        }
    }

    /// Whether nothing has this name, and all names could be read.
    pub fn lacks(&self, name: &str) -> bool {
        self.complete && !self.known.contains(&name)
    }

    /// Returns the index of `name` in the list, or reports at `field` that nothing has that name.
    pub fn find<T>(&self, name: &str, field: &Field<T>, resolver: &mut Resolver<'_>) -> Option<usize> {
        let found = self.known.iter().position(|known| *known == name);
        if found.is_none() && self.complete {
            let mend = match nearest(name, self.known.iter().copied()) {
                Some(meant) => format!("write `{meant}`"),
                None if self.known.is_empty() => format!("add [[{}s]]", self.what),
                None if name == AUTO => format!("add [routing.auto], or {}", self.choice()),
                None => self.choice(),
            };
            let mistake = Mistake::new(format!("no {} has the name {}", self.what, quoted(name)), mend);
            resolver.report(&field.place, mistake);
        }
        found
    }

    /// Returns the names that can be written instead. Duplicate names are reported elsewhere.
    fn choice(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in &self.known {
            if !names.contains(name) {
                names.push(name);
            }
        }
        match &names[..] {
            [only] => format!("write `{only}`"),
            names => format!("write one of {}", names.join(", ")),
        }
    }
}

/// Reports each duplicate name.
pub fn check_unique<'n>(names: impl Iterator<Item = &'n Field<Name>>, resolver: &mut Resolver<'_>) {
    let mut seen: HashMap<&str, Option<usize>> = HashMap::new();
    for name in names.filter(|name| name.is_readable()) {
        if let Some(line) = seen.insert(&name.value.0, name.place.line) {
            let first = line.map_or(String::new(), |line| format!(" (line {line})"));
            let reason = format!("`{}` is taken{first}", name.value.0);
            resolver.report(&name.place, Mistake::new(reason, "choose another name"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_headers_and_labels() {
        let read = |text: &str| Name::read(Toml::parse(text).unwrap().get_ref());
        assert!(read("\"meta-llama/Llama-3.1:free\"").is_ok());
        for bad in ["\"\"", "\"a b\"", "\"ä\"", "\"a\\nb\"", "\"auto\"", "\"other\"", "5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
