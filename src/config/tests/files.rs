//! Certificates, keys and roots that the configuration names.

use std::fs;
use std::time::SystemTime;

use crate::config::Config;
use crate::server::local_ca;
use tempfile::TempDir;

/// Returns a directory with a valid local certificate and a key file.
fn with_files() -> TempDir {
    let dir = TempDir::new().unwrap();
    local_ca::ensure(dir.path(), SystemTime::now()).unwrap();
    fs::write(dir.path().join("key"), "sk-canary\n").unwrap();
    dir
}

const WITH_FILES: &str = "
[server]
certificate = \"localhost.pem\"
private_key = \"localhost.key\"
[[upstreams]]
name = \"up\"
base_url = \"https://up.example\"
api_key_file = \"key\"
ca_file = \"ca.pem\"
[[models]]
name = \"m\"
upstream = \"up\"
";

#[test]
fn files_are_found_beside_the_configuration() {
    let dir = with_files();
    fs::write(dir.path().join("tokenway.toml"), WITH_FILES).unwrap();
    let config = Config::load(&dir.path().join("tokenway.toml"), &|_| None).unwrap();
    assert_eq!(config.server.identity.as_ref().unwrap().chain.len(), 1);
    assert_eq!(config.server.hosts.names, ["localhost"]);
    assert_eq!(config.server.hosts.addresses.len(), 2);
    assert_eq!(config.upstreams[0].api_keys[0].expose(), "sk-canary");
    assert_eq!(config.upstreams[0].roots.as_ref().unwrap().0.len(), 1);
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn files_that_everybody_can_read_and_names_that_the_certificate_lacks_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;

    let dir = with_files();
    for (file, mode) in [("key", 0o644), ("localhost.key", 0o644)] {
        fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    let text = WITH_FILES.replace("[server]", "[server]\nhosts = [\"localhost\", \"api.example\"]");
    let warnings = Config::parse(&text, dir.path(), &|_| None).unwrap().warnings.join("\n");
    assert!(warnings.contains("server.private_key names a file that every user"), "{warnings}");
    assert!(warnings.contains("upstreams[0].api_key_file names a file that every user"), "{warnings}");
    assert!(warnings.contains("server.hosts[1] names api.example, which the certificate does not"), "{warnings}");
    assert!(!warnings.contains("canary"));
}

#[test]
fn bad_files_are_all_reported_at_once() {
    let dir = with_files();
    fs::copy(dir.path().join("key"), dir.path().join("localhost.key")).unwrap();
    fs::copy(dir.path().join("localhost.pem"), dir.path().join("key")).unwrap();
    fs::write(dir.path().join("ca.pem"), "canary").unwrap();
    let problems = Config::parse(WITH_FILES, dir.path(), &|_| None).unwrap_err();
    let keys: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["server.private_key", "upstreams[0].api_key_file", "upstreams[0].ca_file"], "{problems}");
    assert!(!problems.to_string().contains("canary") && !problems.to_string().contains("-----"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_systems_reason_and_the_mend() {
    let text = format!("{WITH_FILES}[access]\naccept = [\"key\"]\nkeys_file = \"my/keys.toml\"\n");
    let dir = with_files();
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let problems = Config::parse(&text, dir.path(), &|_| None).unwrap_err().to_string();
    for (file, mend) in [("ca.pem", "name a readable file"), ("my/keys.toml", "make it with `tokenway key new NAME")] {
        let file = dir.path().join(file);
        let expected = format!("names {}, which cannot be read: No such file or directory", file.display());
        let line = problems.lines().find(|line| line.contains(&expected));
        assert!(line.is_some_and(|line| line.contains(mend)), "{expected}: {problems}");
    }
}

#[test]
fn a_key_that_is_pasted_where_a_path_belongs_is_not_shown() {
    for key in
        ["sk-proj-4fQx", "canary-0123456789", "eyJhbGciOi.eyJzdWIiOi.canaryCANARY", "/cAn/ary+CANARY4567", "a.canary0"]
    {
        let text = WITH_FILES.replace("\"key\"", &format!("\"{key}\""));
        let problems = Config::parse(&text, with_files().path(), &|_| None).unwrap_err().to_string();
        assert!(problems.contains("names a file that cannot be read") && !problems.contains(key), "{problems}");
    }
}

#[test]
fn a_file_without_end_is_not_read_to_the_end() {
    let text = WITH_FILES.replace("\"ca.pem\"", "\"/dev/zero\"");
    let problems = Config::parse(&text, with_files().path(), &|_| None).unwrap_err();
    assert!(problems.to_string().contains("larger than 4 MiB"), "{problems}");
}
