//! Rules that the compiler does not check: leaves import no room, rooms import only those above them, no files of a room import each
//! other, and a module that says `Pure.` is pure. The test reads the sources.

mod scan;
mod small_crates;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use crate::support::process::root;
use sources::{Place, Sources, is_in};

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

/// Macros that a pure file must not call.
const IMPURE_MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Imports of a room by a leaf, and of a room by one above it in `lib.rs`. Without them no cycle of rooms exists, of any length.
fn breaches(sources: &Sources) -> Vec<String> {
    let mut found = BTreeSet::new();
    for module in sources.files.keys().filter(|module| !module.is_empty()) {
        let own = sources.place(module);
        if own.is_none() {
            found.insert(format!("{module} is no leaf and no room of src/lib.rs"));
        }
        let below = sources.imports(module).filter(|target| sources.place(target) > own);
        found.extend(below.map(|target| match own {
            Some(Place::Leaf) => format!("{module} is of a leaf, but imports {target}"),
            _ => format!("{module} imports {target}, which is below it"),
        }));
    }
    found.into_iter().collect()
}

/// Imports by which a file reaches itself through other files of its room, or a leaf through other leaves. A cycle between a
/// directory's `mod.rs` and its files is allowed: they are one module to the rest, and the files may use its types.
fn file_cycles(sources: &Sources) -> Vec<String> {
    let mut edges = Edges::new();
    for module in sources.files.keys().filter(|module| !module.is_empty()) {
        let near = sources.imports(module).filter(|target| {
            sources.place(target) == sources.place(module) && !is_in(target, module) && !is_in(module, target)
        });
        edges.insert(module.clone(), near.collect());
    }
    let closes = |begin: &String, end: &&String| reached(&edges, end).contains(begin);
    let all = edges.iter().flat_map(|(begin, ends)| {
        ends.iter()
            .filter(|end| closes(begin, end))
            .map(move |end| format!("{begin} imports {end}, which leads back to it"))
    });
    all.collect()
}

/// From each file to those that it imports.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// A file and all that it imports, directly or through others.
fn reached<'a>(edges: &'a Edges, begin: &'a String) -> BTreeSet<&'a String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![begin]);
    while let Some(one) = next.pop() {
        if reached.insert(one) {
            next.extend(&edges[one]);
        }
    }
    reached
}

/// Impure names in pure files.
fn impurities(sources: &Sources) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (module, source) in sources.files.iter().filter(|(module, _)| sources.is_pure(module)) {
        let name = if module.is_empty() { "lib" } else { module };
        let paths = source.says.paths.iter().map(|path| path.join("::"));
        let impure = paths.filter(|path| IMPURE.iter().any(|impure| is_in(path, impure)));
        found.extend(impure.map(|path| format!("{name} is pure, but names {path}")));
        let macros = source.says.macros.iter().filter(|name| IMPURE_MACROS.contains(&name.as_str()));
        found.extend(macros.map(|called| format!("{name} is pure, but calls {called}!")));
    }
    found.into_iter().collect()
}

/// The modules that cut bytes into events.
fn framers(sources: &Sources) -> Vec<&str> {
    let frames = |path: &Vec<String>| is_in(&path.join("::"), "sse::framer");
    let framers = sources.files.iter().filter(|(_, source)| source.says.paths.iter().any(frames));
    framers.map(|(module, _)| module.as_str()).collect()
}

static GATEWAY: LazyLock<Sources> = LazyLock::new(|| {
    let sources = Sources::read(&root().join("src"));
    assert!(
        sources.leaves.len() > 5 && sources.rooms.len() > 10 && sources.files.len() > 60,
        "the sources were not found"
    );
    sources
});

#[test]
fn leaves_import_no_room_and_rooms_only_those_above_them() {
    let breaches = breaches(&GATEWAY);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn no_files_of_a_room_import_each_other() {
    let cycles = file_cycles(&GATEWAY);
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

#[test]
fn events_are_framed_in_one_module_and_travel_as_values_from_there() {
    // a stream that an upstream sends instead of a whole answer is joined where it is framed, and travels no further
    assert_eq!(framers(&GATEWAY), ["stream::conversion", "stream::feed"]);
}

#[test]
fn pure_modules_touch_no_clock_lock_task_socket_or_file() {
    let mut found = impurities(&GATEWAY);
    let mut crates = 0;
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let entry = entry.unwrap();
        let sources = Sources::read(&entry.path().join("src"));
        crates += usize::from(sources.is_pure(""));
        found.extend(impurities(&sources).iter().map(|said| format!("{}: {said}", entry.file_name().display())));
    }
    assert!(crates >= 4, "{crates} crates say that they are pure");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
