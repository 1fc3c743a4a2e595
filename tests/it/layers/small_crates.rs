//! The rules, applied to crates of a few lines.

use super::sources::Sources;
use super::{breaches, file_cycles, impurities};

fn of(files: &[(&str, &str)]) -> Sources {
    let lib =
        ("lib.rs", "// leaves: none\npub mod error;\npub mod models;\n// rooms\npub mod stream;\npub mod server;\n");
    let all = files.iter().chain([&lib]);
    Sources::new(&all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
}

#[test]
fn an_import_of_a_room_is_found_in_each_way_of_writing_it() {
    for text in [
        "use crate::server::Thing;",
        "use crate::{error::E, server::{accept}};",
        "fn f() { crate::server::start() }",
        "use super::super::server::Thing;",
        "mod inner { use super::super::super::server::Thing; }",
    ] {
        let sources = of(&[("error.rs", ""), ("server/mod.rs", ""), ("models/mod.rs", ""), ("models/table.rs", text)]);
        assert_eq!(breaches(&sources), ["models::table is of a leaf, but imports server"], "{text}");
    }
    let fine = "use crate::error::E; use super::row; #[cfg(test)] mod tests { use crate::server::Thing; }";
    let files = [("error.rs", ""), ("server/mod.rs", ""), ("models/row.rs", ""), ("models/table.rs", fine)];
    assert!(breaches(&of(&files)).is_empty());
}

#[test]
fn a_file_of_no_leaf_and_no_room_is_found() {
    assert_eq!(breaches(&of(&[("stray.rs", "")])), ["stray is no leaf and no room of src/lib.rs"]);
    assert!(breaches(&of(&[("main.rs", "mod cli;"), ("cli/mod.rs", "use super::Args;")])).is_empty());
}

#[test]
fn a_file_that_only_tests_declare_may_import_anything() {
    let files = [
        ("server/mod.rs", ""),
        ("models/mod.rs", "#[cfg(test)] mod tests;\n#[cfg(test)]\n#[path = \"more_tests.rs\"]\nmod more;"),
        ("models/tests.rs", "use crate::server::Thing;"),
        ("models/more_tests.rs", "use crate::server::Thing;"),
    ];
    assert!(breaches(&of(&files)).is_empty());
}

#[test]
fn an_import_of_a_room_below_is_found() {
    let files = [
        ("stream/mod.rs", ""),
        ("stream/a.rs", "use crate::server::x::X;"),
        ("stream/b.rs", "use crate::models::M;"),
        ("server/mod.rs", ""),
        ("server/x.rs", "use crate::stream::b::B;"),
        ("models.rs", "use crate::error::E;"),
        ("error.rs", ""),
    ];
    assert_eq!(breaches(&of(&files)), ["stream::a imports server::x, which is below it"]);
}

#[test]
fn a_cycle_of_files_is_found_also_through_an_export() {
    let files = [
        ("stream/mod.rs", "pub use a::A;"),
        ("stream/a.rs", "use super::b::B;"),
        ("stream/b.rs", "use super::c::C;"),
        ("stream/c.rs", "use super::A;"),
    ];
    let cycle = [("a", "b"), ("b", "c"), ("c", "a")];
    let cycle = cycle.map(|(one, next)| format!("stream::{one} imports stream::{next}, which leads back to it"));
    assert_eq!(file_cycles(&of(&files)), cycle);
    assert!(file_cycles(&of(&files[..3])).is_empty());
    let leaves = [("error.rs", "use crate::models::M;"), ("models.rs", "use crate::error::E;")];
    assert_eq!(file_cycles(&of(&leaves)).len(), 2);
}

#[test]
fn a_pure_file_that_is_not_is_found() {
    for (text, named) in [
        ("use tokio::time::Instant;", "tokio::time::Instant"),
        ("use std::{net::IpAddr, sync::{Arc, Mutex}};", "std::sync::Mutex"),
        ("use std::time; fn f() { time::Instant::now(); }", "std::time::Instant::now"),
        ("fn f() { std::fs::read(\"x\"); }", "std::fs::read"),
    ] {
        let named = format!("server::x is pure, but names {named}");
        for pure in ["//! What. Pure.\n", "//! What.\n//! Pure: in and out.\n"] {
            let itself = format!("{pure}{text}");
            assert!(impurities(&of(&[("server/x.rs", itself.as_str())])).contains(&named), "{text}");
        }
        assert!(impurities(&of(&[("server/x.rs", text)])).is_empty());
        // so is all that is below it, also below a crate
        for above in ["server/mod.rs", "lib.rs"] {
            let sources = of(&[("server/x.rs", text), (above, "//! Pure.")]);
            assert_eq!(impurities(&sources).contains(&named), above != "lib.rs", "{above}");
        }
    }
    let prints = "//! Pure.\nfn f() { println!() }";
    assert_eq!(impurities(&of(&[("error.rs", prints)])), ["error is pure, but calls println!"]);
    let fine = "//! Pure.\nuse std::net::IpAddr; use std::sync::Arc; use std::time::Duration;";
    assert!(impurities(&of(&[("error.rs", fine)])).is_empty());
}
