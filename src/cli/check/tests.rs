//! The output of the command for good and bad files.

use std::net::SocketAddr;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::*;
use tempfile::TempDir;

const GOOD: &str = "[server]\nplaintext = true\n[cors]\norigins = [\"https://app.example.com\"]\n\
    [[upstreams]]\nname = \"up\"\nbase_url = \"https://up.example/v1\"\napi_key_env = \"KEY\"\n\
    [[models]]\nname = \"m\"\nupstream = \"up\"\ninput_price = 0.5\noutput_price = 1\n[routing]\ndefault = \"m\"\n";

/// Returns exit status, stdout and stderr for a file with this text.
fn checked(text: &str, json: bool) -> (u8, String, String) {
    checked_in(&TempDir::new().unwrap(), text, json)
}

/// Returns the same, for a file in a directory with other files.
fn checked_in(dir: &TempDir, text: &str, json: bool) -> (u8, String, String) {
    run_in(dir, text, json, false)
}

fn run_in(dir: &TempDir, text: &str, json: bool, live: bool) -> (u8, String, String) {
    let file = dir.path().join("tokenway.toml");
    std::fs::write(&file, text).unwrap();
    let args = Args { config: Some(file), schema: false, json, live };
    let env = |name: &str| match name {
        "KEY" => Some("sk-canary".to_owned()),
        "SECRET" => Some("canary-0123456789abcdef0123456789".to_owned()),
        _ => None,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = check(&args, &env, &mut out, &mut err).unwrap();
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    assert!(!out.contains("canary") && !err.contains("canary"));
    (status, out, err)
}

#[test]
fn the_smallest_file_says_what_is_on_anyway() {
    let (status, out, err) = checked(GOOD, false);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(out, include_str!("smallest.txt"));
}

#[test]
fn a_file_with_everything_is_summed_up_in_100_columns() {
    let dir = TempDir::new().unwrap();
    let key = |number| tokenway::auth::key::Key::from_random([number; 32]).hash();
    let keys =
        format!("[[keys]]\nname = \"a\"\nsha256 = \"{}\"\n[[keys]]\nname = \"b\"\nsha256 = \"{}\"\n", key(1), key(2));
    std::fs::write(dir.path().join("keys.toml"), keys).unwrap();
    let (status, out, err) = checked_in(&dir, include_str!("everything.toml"), false);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(out, include_str!("everything.txt"));
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");

    let (_, out, _) = checked_in(&dir, include_str!("everything.toml"), true);
    let summary: Value = serde_json::from_str(&out).unwrap();
    for (place, value) in [
        ("/fallbacks/large", json!(["middle", "small"])),
        ("/hedge", json!("800ms")),
        ("/trusted_proxies", json!(["10.0.0.0/8", "fd00::/8"])),
        ("/credentials", json!(true)),
        ("/keys", json!(2)),
        ("/limits/requests_per_minute", json!(120)),
        (
            "/limits/models/large",
            json!({ "requests_per_minute": 1, "burst": 0, "tokens_per_minute": 0, "concurrent_streams": 1 }),
        ),
        ("/budget", json!({ "dollars_per_day": "2.50", "over_budget": "cheap" })),
        ("/cache", json!({ "ttl": "30m", "max_bytes": "64MiB", "scope": "shared", "replay": "paced" })),
        ("/redis", json!("rediss://redis.example:6380/2")),
        ("/stream/heartbeat", json!("10s")),
        ("/resume/grace", json!("1m")),
    ] {
        assert_eq!(summary.pointer(place), Some(&value), "{place}");
    }
}

#[test]
fn what_auto_means_is_shown() {
    let second = "[[models]]\nname = \"n\"\nupstream = \"up\"\n[routing.auto]\neasy = \"m\"\nhard = \"n\"\n";
    let good = GOOD.replace("default = \"m\"", "default = \"auto\"") + second;
    let (_, out, err) = checked(&format!("{good}classifier = \"m\""), false);
    assert!(out.contains("auto      m or n, decided by m (speculative, within 1500ms), default\n"), "{out}{err}");
    let (_, out, _) = checked(&format!("{good}mode = \"rules\""), false);
    assert!(out.contains("auto      m or n, decided by the rules, default\n"), "{out}");
    let (_, out, _) = checked(&format!("{good}classifier = \"m\""), true);
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(summary["default_model"], "auto");
    assert_eq!(summary["auto"], json!({ "easy": "m", "hard": "n", "classifier": "m", "mode": "speculative" }));
}

#[test]
fn warnings_are_shown_and_are_no_failure() {
    let (status, out, _) = checked(&GOOD.replace("\"https://app.example.com\"", ""), false);
    assert_eq!(status, 0);
    assert!(out.ends_with("\nwarning   cors.origins is empty: every cross-origin page is refused\n"), "{out}");
}

#[test]
fn problems_go_to_stderr_one_a_line_with_status_64() {
    let (status, out, err) = checked(&GOOD.replace("plaintext = true", "plaintext = 1\nhost = []"), false);
    assert_eq!((status, out.as_str()), (64, ""));
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines.iter().any(|line| line.contains("tokenway.toml: line 2: server.plaintext: must be")), "{err}");
    assert!(
        lines.iter().any(|line| line.contains("tokenway.toml: line 3: server.host: is no known key; write `hosts`")),
        "{err}"
    );
}

#[test]
fn json_is_one_object_for_good_and_bad() {
    let good: Value = serde_json::from_str(&checked(GOOD, true).1).unwrap();
    assert_eq!(good["ok"], true);
    assert_eq!(good["upstreams"][0], json!({ "name": "up", "base_url": "https://up.example/v1", "key": true }));
    assert_eq!(good["access"], json!([]));
    assert_eq!((&good["default_model"], &good["origins"][0]), (&json!("m"), &json!("https://app.example.com")));
    let (status, out, _) = checked(&GOOD.replace("[routing]", "[rooting]"), true);
    let bad: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &bad["ok"], &bad["error"]["code"]), (64, &json!(false), &json!("usage")));
    assert!(bad["error"]["message"].as_str().unwrap().ends_with("tokenway.toml: 1 problem"), "{bad}");
    assert_eq!(
        (&bad["problems"][0]["key"], &bad["problems"][0]["mend"]),
        (&json!("rooting"), &json!("write `routing`"))
    );
}

/// Runs `check --live` with an upstream at this URL.
fn asked_live(base_url: &str, json: bool) -> (u8, String, String) {
    run_in(&TempDir::new().unwrap(), &GOOD.replace("https://up.example/v1", base_url), json, true)
}

#[test]
fn live_says_where_there_is_no_connection_and_why() {
    // bound, so that no other process takes it, and without a listener
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let free = taken.local_addr().unwrap().as_socket().unwrap();
    let (status, out, err) = asked_live(&format!("http://{free}/v1"), false);
    assert!(
        out.contains(&format!("live      m: up fails: {free}: connection refused; nothing listens there")),
        "{out}"
    );
    assert_eq!((status, err.as_str()), (1, "tokenway: 1 of 1 model gave no complete stream: m\n"));
    // RFC 6761 §6.4: this name never resolves
    let (_, out, _) = asked_live("https://tokenway.invalid/v1", false);
    assert!(out.contains("m: up fails: tokenway.invalid:443: no such host; check the host of base_url"), "{out}");

    let (_, out, _) = asked_live(&format!("http://{free}/v1"), true);
    let summary: Value = serde_json::from_str(&out).unwrap();
    let error = summary["live"][0]["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("{free}: connection refused; ")), "{error}");
}

#[test]
fn live_distinguishes_plaintext_from_a_refused_connection() {
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = plain.accept().unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // until the client has closed
        let _ = io::copy(&mut socket, &mut io::sink());
    });
    let (_, out, _) = asked_live(&format!("https://{address}/v1"), false);
    assert!(out.contains(&format!("{address}: what answers there does not speak TLS; begin base_url with")), "{out}");
    server.join().unwrap();
}

#[test]
fn the_schema_is_printed_without_a_file_and_on_one_line_for_machines() {
    let printed = |json| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { config: None, schema: true, json, live: false };
        assert_eq!((check(&args, &|_| None, &mut out, &mut err).unwrap(), err.len()), (0, 0));
        String::from_utf8(out).unwrap()
    };
    let (people, machines) = (printed(false), printed(true));
    assert!(people == include_str!("../../../tokenway.schema.json"));
    assert_eq!((people.lines().count() > 100, machines.lines().count()), (true, 1));
    let schema: Value = serde_json::from_str(&machines).unwrap();
    assert_eq!(schema, serde_json::from_str::<Value>(&people).unwrap());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn help_shows_an_example() {
    let mut command = <Args as ClapArgs>::augment_args(clap::Command::new("check"));
    assert!(command.render_long_help().to_string().contains("tokenway check --config tokenway.toml"));
}
