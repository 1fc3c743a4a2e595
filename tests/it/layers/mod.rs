//! The order of the layers, and the purity of pure files: read from the source, as `src/lib.rs` and the files state them.

mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use scan::{File, scan};

use crate::support::process::root;

/// Files and directories of `src/` that decide and do nothing else. A file that calls itself pure is one, too.
const PURE: [&str; 14] = [
    "caller",
    "error",
    "routes",
    "cors",
    "browser",
    "route",
    "chat",
    "limit",
    "head",
    "stream::framer",
    "stream::event",
    "stream::tally",
    "server::h2_frames",
    "server::backoff",
];

/// What a pure file must not name: clocks, locks, tasks, sockets, files, the environment, randomness.
const IMPURE: [&str; 26] = [
    "tokio",
    "tokio_util",
    "tokio_rustls",
    "tokio_stream",
    "hyper",
    "hyper_util",
    "futures_util",
    "socket2",
    "getrandom",
    "prometheus",
    "tracing",
    "arc_swap",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::*",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
];

/// The same for macros: what a pure file would say, it returns.
const IMPURE_MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// The crate as its source says it.
struct Sources {
    /// The modules of `lib.rs`, from the lowest.
    layers: Vec<String>,
    /// By module path, such as `stream::relay`; the module of a directory is its `mod.rs`.
    files: BTreeMap<String, Source>,
}

struct Source {
    says: File,
    calls_itself_pure: bool,
}

impl Sources {
    /// From pairs of path below `src/` and text.
    fn new(texts: &[(String, String)]) -> Self {
        let mut layers = Vec::new();
        let mut files = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (path, text) in texts {
            if path == "lib.rs" {
                let declared = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
                layers.extend(declared.map(str::to_owned));
                continue;
            }
            if path == "main.rs" {
                continue;
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
            let calls_itself_pure = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .any(|line| line.split_whitespace().any(|word| word == "Pure."));
            files.insert(module, Source { says, calls_itself_pure });
        }
        files.retain(|module, _| !tests.iter().any(|test| is_in(module, test)));
        Self { layers, files }
    }

    fn of_this_crate() -> Self {
        let src = root().join("src");
        let mut texts = Vec::new();
        collect(&src, &src, &mut texts);
        Self::new(&texts)
    }

    /// Every path of a file that leads to another file of the crate: the file.
    fn imports<'a>(&'a self, module: &'a str) -> impl Iterator<Item = String> + 'a {
        let paths = self.files[module].says.paths.iter();
        paths.filter_map(|path| self.resolve(module, path, 8)).filter(move |target| target != module)
    }

    /// The file in which a path ends; `None` for what is not of this crate.
    fn resolve(&self, module: &str, path: &[String], hops: u8) -> Option<String> {
        let mut here: Vec<&str> = module.split("::").collect();
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

    fn layer(&self, module: &str) -> Option<usize> {
        let top = module.split("::").next()?;
        self.layers.iter().position(|layer| layer == top)
    }

    /// Each import of a later layer.
    fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for module in self.files.keys() {
            let Some(own) = self.layer(module) else {
                breaches.push(format!("{module} is not in the list of src/lib.rs"));
                continue;
            };
            let later = self.imports(module).filter(|target| self.layer(target).is_none_or(|layer| layer > own));
            breaches.extend(later.map(|target| format!("{module} imports {target}, which is a later layer")));
        }
        breaches
    }

    /// Each cycle of files of one directory. Between a directory's `mod.rs` and its files there may be one: they are
    /// one module to the rest, and the files may use its types.
    fn cycles(&self) -> Vec<String> {
        let is_parent =
            |parent: &str, child: &str| child.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"));
        let edges: BTreeMap<&str, BTreeSet<String>> = self
            .files
            .keys()
            .map(|module| {
                let near = self.imports(module).filter(|target| {
                    self.layer(target) == self.layer(module) && !is_parent(target, module) && !is_parent(module, target)
                });
                (module.as_str(), near.collect())
            })
            .collect();
        let mut cycles = BTreeSet::new();
        for module in edges.keys() {
            let mut trail = vec![(*module).to_owned()];
            walk(&edges, &mut trail, &mut cycles);
        }
        cycles.into_iter().collect()
    }

    /// Each name in a pure file that is not pure.
    fn impurities(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (module, source) in &self.files {
            if !source.calls_itself_pure && !PURE.iter().any(|pure| is_in(module, pure)) {
                continue;
            }
            for path in &source.says.paths {
                let path = path.join("::");
                if IMPURE.iter().any(|impure| is_in(&path, impure)) {
                    found.push(format!("{module} is pure, but names {path}"));
                }
            }
            let macros = source.says.macros.iter().filter(|name| IMPURE_MACROS.contains(&name.as_str()));
            found.extend(macros.map(|name| format!("{module} is pure, but calls {name}!")));
        }
        found
    }
}

fn walk(edges: &BTreeMap<&str, BTreeSet<String>>, trail: &mut Vec<String>, cycles: &mut BTreeSet<String>) {
    for next in &edges[trail[trail.len() - 1].as_str()] {
        if *next == trail[0] {
            // each cycle is told once, from its first name on
            if trail.iter().all(|module| trail[0] <= *module) {
                cycles.insert(format!("{} imports itself through {}", trail[0], trail[1..].join(", ")));
            }
        } else if !trail.contains(next) {
            trail.push(next.clone());
            walk(edges, trail, cycles);
            trail.pop();
        }
    }
}

fn collect(src: &Path, directory: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(src, &path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
            texts.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// `stream/relay.rs` → `stream::relay`, `stream/mod.rs` → `stream`.
fn module_of(path: &str) -> String {
    let module = path.trim_end_matches(".rs").replace('/', "::");
    module.strip_suffix("::mod").map(str::to_owned).unwrap_or(module)
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// The path is this one or below it.
fn is_in(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn no_file_imports_from_a_later_layer() {
    let sources = Sources::of_this_crate();
    assert!(sources.layers.len() > 10 && sources.files.len() > 60, "the source was not found");
    let breaches = sources.breaches();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn no_files_of_a_directory_import_each_other() {
    let cycles = Sources::of_this_crate().cycles();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

#[test]
fn pure_files_touch_no_clock_lock_task_socket_or_file() {
    let sources = Sources::of_this_crate();
    for pure in PURE {
        assert!(sources.files.keys().any(|module| is_in(module, pure)), "{pure} is gone: take it off the list");
    }
    let impurities = sources.impurities();
    assert!(impurities.is_empty(), "{}", impurities.join("\n"));
}

/// A byte of the upstream is framed once on each path, direct, resumable, coalesced or cached: no other file has a framer.
#[test]
fn events_are_framed_and_read_where_they_come_in_and_nowhere_else() {
    let sources = Sources::of_this_crate();
    for once in ["sse::framer", "families::chat::event::Inspector"] {
        let uses = |source: &Source| source.says.paths.iter().any(|path| is_in(&path.join("::"), once));
        // the commands are clients
        let gateway = sources.files.iter().filter(|(module, _)| !is_in(module, "cli"));
        let users: Vec<&String> = gateway.filter(|(_, source)| uses(source)).map(|(module, _)| module).collect();
        assert_eq!(users, ["stream::feed"], "{once}");
    }
}

mod on_small_crates {
    use super::Sources;

    fn of(files: &[(&str, &str)]) -> Sources {
        let lib = ("lib.rs", "pub mod error;\npub mod stream;\npub mod server;\n");
        let texts: Vec<_> =
            files.iter().chain([&lib]).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Sources::new(&texts)
    }

    #[test]
    fn an_import_of_a_later_layer_is_found_in_each_way_of_writing_it() {
        for text in [
            "use crate::server::Thing;",
            "use crate::{error::E, server::{accept}};",
            "fn f() { crate::server::start() }",
            "use super::super::server::Thing;",
            "mod inner { use super::super::super::server::Thing; }",
        ] {
            let sources =
                of(&[("error.rs", ""), ("server/mod.rs", ""), ("stream/mod.rs", ""), ("stream/relay.rs", text)]);
            assert_eq!(sources.breaches(), ["stream::relay imports server, which is a later layer"], "{text}");
        }
        let fine = "use crate::error::E; use super::framer; #[cfg(test)] mod tests { use crate::server::Thing; }";
        let files = [("error.rs", ""), ("server/mod.rs", ""), ("stream/framer.rs", ""), ("stream/relay.rs", fine)];
        assert!(of(&files).breaches().is_empty());
    }

    #[test]
    fn a_file_of_no_layer_is_found() {
        assert_eq!(of(&[("stray.rs", "")]).breaches(), ["stray is not in the list of src/lib.rs"]);
    }

    #[test]
    fn a_file_that_only_tests_declare_may_import_anything() {
        let files = [
            ("server/mod.rs", ""),
            ("stream/mod.rs", "#[cfg(test)] mod tests;\n#[cfg(test)]\n#[path = \"more_tests.rs\"]\nmod more;"),
            ("stream/tests.rs", "use crate::server::Thing;"),
            ("stream/more_tests.rs", "use crate::server::Thing;"),
        ];
        assert!(of(&files).breaches().is_empty());
    }

    #[test]
    fn a_cycle_is_found_also_through_an_export() {
        let files = [
            ("stream/mod.rs", "pub use a::A;"),
            ("stream/a.rs", "use super::b::B;"),
            ("stream/b.rs", "use super::c::C;"),
            ("stream/c.rs", "use super::A;"),
        ];
        assert_eq!(of(&files).cycles(), ["stream::a imports itself through stream::b, stream::c"]);
        assert!(of(&files[..3]).cycles().is_empty());
    }

    #[test]
    fn a_pure_file_that_is_not_is_found() {
        for (text, named) in [
            ("use tokio::time::Instant;", "tokio::time::Instant"),
            ("use std::{net::IpAddr, sync::{Arc, Mutex}};", "std::sync::Mutex"),
            ("use std::time; fn f() { time::Instant::now(); }", "std::time::Instant::now"),
            ("fn f() { std::fs::read(\"x\"); }", "std::fs::read"),
        ] {
            let named = format!("error is pure, but names {named}");
            assert!(of(&[("error.rs", text)]).impurities().contains(&named), "{text}");
            let itself = format!("//! What. Pure.\n{text}");
            assert_eq!(of(&[("server/x.rs", itself.as_str())]).impurities().len(), 1, "{text}");
            assert!(of(&[("server/x.rs", text)]).impurities().is_empty());
        }
        assert_eq!(of(&[("error.rs", "fn f() { println!() }")]).impurities(), ["error is pure, but calls println!"]);
        let fine = "use std::net::IpAddr; use std::sync::Arc; use std::time::Duration;";
        assert!(of(&[("error.rs", fine)]).impurities().is_empty());
    }
}
