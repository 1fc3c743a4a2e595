//! The modules of one crate, what each imports, and which of them say that they are pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::scan::{File, scan};

/// The sources of one crate.
pub struct Sources {
    /// Modules that `lib.rs` declares below its comment `// leaves`.
    pub leaves: Vec<String>,
    /// Modules that `lib.rs` declares below its comment `// rooms`, in this order.
    pub rooms: Vec<String>,
    /// Modules that `main.rs` declares: they import the library by its name.
    pub binary: Vec<String>,
    /// Files by module path, such as `stream::relay`. The module of a directory is its `mod.rs`; that of `lib.rs` is "".
    pub files: BTreeMap<String, Source>,
}

/// The place of a module in `lib.rs`. A module imports only modules of smaller places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a leaf.
    Leaf,
    /// In this room, counted from the top.
    Room(usize),
    /// In the binary.
    Binary,
}

/// One file.
pub struct Source {
    pub says: File,
    /// Its module doc says `Pure.` or `Pure:`. That covers the modules below it, too.
    pub calls_itself_pure: bool,
}

impl Sources {
    /// Reads pairs of path below `src/` and text.
    pub fn new(texts: &[(String, String)]) -> Self {
        let (mut leaves, mut rooms, mut binary) = (Vec::new(), Vec::new(), Vec::new());
        let mut files = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (path, text) in texts {
            let mut group = if path == "main.rs" { &mut binary } else { &mut Vec::new() };
            for line in text.lines().filter(|_| path == "lib.rs" || path == "main.rs") {
                if line.starts_with("// leaves") {
                    group = &mut leaves;
                } else if line.starts_with("// rooms") {
                    group = &mut rooms;
                }
                let declared = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ");
                group.extend(declared.and_then(|name| name.strip_suffix(';')).map(str::to_owned));
            }
            let module = module_of(path);
            let says = scan(text);
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory).replace('/', "::");
            for (name, file) in &says.test_modules {
                tests.insert(match file {
                    Some(file) => join(&directory, file.trim_end_matches(".rs")),
                    None => join(&module, name),
                });
            }
            let doc = text.lines().take_while(|line| line.starts_with("//!"));
            let calls_itself_pure = doc.flat_map(str::split_whitespace).any(|word| word == "Pure." || word == "Pure:");
            files.insert(module, Source { says, calls_itself_pure });
        }
        files.retain(|module, _| !tests.iter().any(|test| is_in(module, test)));
        Self { leaves, rooms, binary, files }
    }

    /// Reads the files below this directory.
    pub fn read(src: &Path) -> Self {
        let mut texts = Vec::new();
        collect(src, src, &mut texts);
        for (path, text) in &mut texts {
            if path == "lib.rs" && text.starts_with("#![doc = include_str!(\"../README.md\")]") {
                let readme = fs::read_to_string(src.join("../README.md")).unwrap();
                *text = readme.lines().map(|line| format!("//! {line}\n")).chain([text.clone()]).collect();
            }
        }
        Self::new(&texts)
    }

    /// The other files of the crate that a file names.
    pub fn imports<'a>(&'a self, module: &'a str) -> impl Iterator<Item = String> + 'a {
        let paths = self.files[module].says.paths.iter();
        paths.filter_map(|path| self.resolve(module, path, 8)).filter(move |target| target != module)
    }

    /// The place of a module; `None` if `lib.rs` and `main.rs` do not declare the module that it is in.
    pub fn place(&self, module: &str) -> Option<Place> {
        let top = module.split("::").next().unwrap_or(module);
        let is_in = |group: &[String]| group.iter().position(|name| name == top);
        let (leaf, binary) = (is_in(&self.leaves).map(|_| Place::Leaf), is_in(&self.binary).map(|_| Place::Binary));
        leaf.or(is_in(&self.rooms).map(Place::Room)).or(binary).or((top == "main").then_some(Place::Binary))
    }

    /// Whether a module, or one above it, calls itself pure.
    pub fn is_pure(&self, module: &str) -> bool {
        let pure = self.files.iter().filter(|(_, source)| source.calls_itself_pure);
        pure.into_iter().any(|(above, _)| above.is_empty() || is_in(module, above))
    }

    /// The file in which a path ends; `None` if that is not in this crate.
    fn resolve(&self, module: &str, path: &[String], hops: u8) -> Option<String> {
        let mut here: Vec<&str> = module.split("::").filter(|segment| !segment.is_empty()).collect();
        let mut rest = path;
        match path[0].as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => drop(here.pop()),
            // `use child::Item`
            child if self.files.contains_key(&join(module, child)) => here.push(child),
            _ => return None,
        }
        rest = &rest[1..];
        while let Some(segment) = rest.first() {
            let below = join(&here.join("::"), segment);
            if segment == "super" {
                here.pop();
            } else if self.files.contains_key(&below) {
                here.push(segment);
            } else {
                break;
            }
            rest = &rest[1..];
        }
        let reached = here.join("::");
        let export = rest.first().and_then(|name| self.files.get(&reached)?.says.exports.get(name));
        match export {
            Some(export) if hops > 0 => self.resolve(&reached, export, hops - 1).or(Some(reached)),
            _ => Some(reached).filter(|reached| !reached.is_empty()),
        }
    }
}

fn collect(src: &Path, directory: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(src).unwrap().to_str().unwrap();
        if path.is_dir() {
            collect(src, &path, texts);
        } else if name.ends_with(".rs") {
            texts.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// `stream/relay.rs` → `stream::relay`, `stream/mod.rs` → `stream`, `lib.rs` → "".
fn module_of(path: &str) -> String {
    let module = path.trim_end_matches(".rs").replace('/', "::");
    let module = module.strip_suffix("::mod").unwrap_or(&module);
    if module == "lib" { String::new() } else { module.to_owned() }
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// The path is this one or below it.
pub fn is_in(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
