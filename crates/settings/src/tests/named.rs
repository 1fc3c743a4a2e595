//! Files and variables that a configuration names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path as FilePath;

use tempfile::TempDir;

use super::read;
use crate::{EnvName, Problems, Resolver};

/// What a route's key file holds, with the problems and the warnings.
fn content(dir: &FilePath, key_file: &str) -> (Option<Vec<u8>>, String, Vec<String>) {
    let file = read(&format!("[[routes]]\nname = \"x\"\nkey_file = \"{key_file}\""));
    let mut resolver = Resolver::new(dir, &|_| None, Problems::default());
    let path = &file.routes[0].key_file;
    let content = resolver.file(path);
    resolver.warn_if_world_readable(path);
    let (problems, warnings) = resolver.finish();
    (content, problems.to_string(), warnings)
}

#[test]
fn a_file_is_found_beside_the_configuration() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("key"), "sk").unwrap();
    fs::set_permissions(dir.path().join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(content(dir.path(), "key"), (Some(b"sk".to_vec()), String::new(), Vec::new()));
    fs::set_permissions(dir.path().join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(content(dir.path(), "key").2[0].starts_with("routes[0].key_file names a file that every user"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_unless_the_name_may_be_a_key() {
    let dir = TempDir::new().unwrap();
    let shown = content(dir.path(), "keys/one.pem").1;
    assert!(shown.contains("keys/one.pem, which cannot be read: No such file"), "{shown}");
    let hidden = content(dir.path(), "sk-proj-4fQx").1;
    assert!(hidden.contains("names a file that cannot be read") && !hidden.contains("sk-proj"), "{hidden}");
}

#[test]
fn a_file_without_end_is_not_read_to_the_end() {
    let (content, problems, _) = content(FilePath::new("/"), "/dev/zero");
    assert!(content.is_none() && problems.contains("larger than 4 MiB"), "{problems}");
}

#[test]
fn a_message_names_a_variable_only_where_it_cannot_be_a_key() {
    let variables = |name: &str| (name == "SET").then(|| "x".to_owned());
    let resolver = Resolver::new(FilePath::new(""), &variables, Problems::default());
    assert_eq!(resolver.variable(&EnvName("SET".into())).as_deref(), Some("x"));
    assert_eq!(resolver.variable(&EnvName("UNSET".into())), None);
    assert_eq!(EnvName("UNSET".into()).shown(), "the variable UNSET");
    assert_eq!(EnvName("skcanary".into()).shown(), "the variable that it names");
}
