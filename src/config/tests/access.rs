//! `[access]`: which settings are refused, where, and which are accepted.

use std::fs;

use super::{Pieces, assert_problem};
use crate::auth::caller::Kind;
use crate::auth::claims::Claims;
use crate::auth::key::Key;
use crate::auth::token_key::SigningKey;
use crate::config::Config;
use settings::Problems;
use tempfile::TempDir;

const SECRET: &str = "canary-0123456789abcdef0123456789";

fn parse(access: &str, dir: &TempDir) -> Result<Config, Problems> {
    let rest = format!("{access}\n[cors]\ncredentials = true\norigins = [\"https://a.example\"]");
    let env = |name: &str| match name {
        "TOKENWAY_TOKEN_SECRET" | "TOKENWAY_SESSION_SECRET" | "OLD" => Some(SECRET.to_owned()),
        "SHORT" => Some("canary".to_owned()),
        "WORDS" => Some("canary with spaces and more than thirty two bytes".to_owned()),
        _ => None,
    };
    Config::parse(&Pieces { rest: &rest, ..Pieces::default() }.text(), dir.path(), &env)
}

#[test]
fn each_kind_is_taken_with_what_it_needs() {
    let dir = TempDir::new().unwrap();
    let key = Key::from_random([7; 32]);
    let keys = format!("[[keys]]\nname = \"bot\"\nsha256 = \"{}\"\nmodels = [\"m\", \"gone\"]\n", key.hash());
    fs::write(dir.path().join("keys.toml"), keys).unwrap();
    let config = parse("[access]\naccept = [\"key\", \"token\", \"session\"]", &dir).unwrap();
    assert_eq!(config.warnings, ["access.keys_file allows the key bot to use `gone`, which is not a configured model"]);
    let caller = config.access.keys.find(key.expose(), std::net::Ipv4Addr::LOCALHOST.into(), 0).unwrap();
    assert_eq!(caller.kind(), &Kind::Key { name: "bot".into() });
    let claims: Claims = serde_json::from_str(r#"{"sub":"ann","exp":900}"#).unwrap();
    let token = SigningKey::from_secret(SECRET.as_bytes()).unwrap().sign(&claims).unwrap();
    assert!(config.access.tokens.check(&token, None, 500).is_ok());
    assert!(config.access.sessions.is_some());
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn nothing_is_read_of_what_is_not_taken() {
    let dir = TempDir::new().unwrap();
    let config = parse("[access]\nkeys_file = \"none.toml\"\ntoken_secret_env = \"UNSET\"", &dir).unwrap();
    assert!(config.access.accept.is_open() && config.access.sessions.is_none());
}

#[test]
fn a_public_key_is_used_alone_unless_the_secret_is_written_as_well() {
    let dir = TempDir::new().unwrap();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    fs::write(dir.path().join("public.pem"), pair.public_key_pem()).unwrap();
    let claims: Claims = serde_json::from_str(r#"{"sub":"ann","exp":900}"#).unwrap();
    let by_key = SigningKey::from_pem(pair.serialize_pem().as_bytes()).unwrap().sign(&claims).unwrap();
    let by_secret = SigningKey::from_secret(SECRET.as_bytes()).unwrap().sign(&claims).unwrap();
    let taken = |more: &str| {
        let access = format!("[access]\naccept = [\"token\"]\ntoken_public_key_file = \"public.pem\"\n{more}");
        let tokens = parse(&access, &dir).unwrap().access.tokens;
        [&by_key, &by_secret].map(|token| tokens.check(token, None, 500).is_ok())
    };
    assert_eq!(taken(""), [true, false]);
    assert_eq!(taken("token_secret_env = \"TOKENWAY_TOKEN_SECRET\""), [true, true]);
}

#[test]
fn every_problem_of_access_names_its_key_and_the_mend() {
    let dir = TempDir::new().unwrap();
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let hash = Key::from_random([7; 32]).hash();
    for (name, text) in [
        ("private.pem", private.as_str()),
        ("jwks.json", "{\"keys\":[]}"),
        ("clear.toml", "[[keys]]\nname = \"a\"\nsha256 = \"tw_canary\"\n"),
        ("twice.toml", &format!("[[keys]]\nname = \"a\"\nsha256 = \"{hash}\"\n").repeat(2)),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let keys = |access: &str| {
        let problems = parse(&format!("[access]\n{access}"), &dir).map(|_| ()).expect_err(access);
        let shown = problems.to_string();
        assert!(!shown.contains("canary"), "{shown}");
        problems.0.into_iter().map(|problem| (problem.key.clone(), problem.to_string())).collect::<Vec<_>>()
    };
    for (access, key, words) in [
        ("accept = [\"keys\"]", "access.accept[0]", "write \"key\""),
        ("accept = [\"cookie\"]", "access.accept[0]", "\"key\", \"token\" or \"session\""),
        ("accept = [\"token\", \"token\"]", "access.accept[1]", "twice"),
        ("accept = \"key\"", "access.accept", "must be a list"),
        ("accept = [\"key\"]", "access.keys_file", "cannot be read"),
        ("accept = [\"key\"]\nkeys_file = \"clear.toml\"", "access.keys_file", "line 3 of that file"),
        ("token_secret = \"canary\"", "access.token_secret", "never stand in the file"),
        ("session_secret = \"canary\"", "access.session_secret", "never stand in the file"),
        ("accept = [\"token\"]\ntoken_secret_env = \"UNSET\"", "access.token_secret_env", "UNSET is not set"),
        ("accept = [\"token\"]\ntoken_secret_env = \"SHORT\"", "access.token_secret_env", "fewer than 32 bytes"),
        ("accept = [\"token\"]\ntoken_secret_env = \"WORDS\"", "access.token_secret_env", "without spaces"),
        (
            "accept = [\"token\"]\ntoken_public_key_file = \"private.pem\"",
            "access.token_public_key_file",
            "private key",
        ),
        ("accept = [\"token\"]\ntoken_public_key_file = \"none\"", "access.token_public_key_file", "cannot be read"),
        (
            "accept = [\"token\"]\ntoken_jwks_file = \"jwks.json\"\ntoken_audience = \"a\"",
            "access.token_jwks_file",
            "no signing key",
        ),
        ("token_max_age = \"25h\"", "access.token_max_age", "from 1s to 24h"),
        ("accept = [\"session\"]\nsession_secret_env = \"UNSET\"", "access.session_secret_env", "UNSET is not set"),
        ("accept = [\"session\"]\nsession_secret_env = \"SHORT\"", "access.session_secret_env", "32 bytes"),
        (
            "accept = [\"session\"]\nsession_secret_previous_env = \"UNSET\"",
            "access.session_secret_previous_env",
            "UNSET is not set",
        ),
        (
            "accept = [\"session\"]\nsession_secret_previous_env = \"SHORT\"",
            "access.session_secret_previous_env",
            "32 bytes",
        ),
        ("session_ttl = \"0s\"", "access.session_ttl", "from 1s to 720h"),
        ("same_site = \"strict\"", "access.same_site", "\"none\" or \"lax\""),
        ("acept = []", "access.acept", "write `accept`"),
    ] {
        let found = keys(access);
        assert!(found.len() == 1 && found[0].0 == key && found[0].1.contains(words), "{access}: {found:?}");
    }
    assert_eq!(keys("accept = [\"key\"]\nkeys_file = \"twice.toml\"").len(), 2);
}

#[test]
fn sessions_without_credentials_in_cors_are_a_contradiction() {
    let rest = "[access]\naccept = [\"session\"]\ntoken_secret_env = \"KEY\"\nsession_secret_env = \"KEY\"\n\
                [cors]\norigins = [\"https://a.example\"]";
    let problems = Pieces { rest, ..Pieces::default() }.parse().map(|_| ()).unwrap_err();
    assert!(
        problems.to_string().contains("access.accept: accepts sessions, but cors.credentials is false"),
        "{problems}"
    );
    assert_problem(&Pieces { rest: "[access]\naccept = 5", ..Pieces::default() }, "access.accept", "must be a list");
}
