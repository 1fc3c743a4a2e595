//! What each route answers, what only the admin listener does, and what the command says before it listens.

use std::fs;

use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::certs;
use crate::support::child::{ALLOWED, Child, Plan, chat, post, with};
use crate::support::client::{empty, full, get, request, text};
use crate::support::gateway::Directory;
use crate::support::ports::free_port;
use crate::support::process::{Server, root};
use crate::support::soon;

#[tokio::test]
async fn models_are_listed_with_price_and_context() {
    let more = "[[models]]\nname = \"bare\"\nupstream = \"demo\"\nupstream_model = \"hidden\"\n";
    let child = Child::start(Plan { more, ..Plan::default() }).await;
    let mut client = soon(child.target.h2()).await;
    let response = soon(client.send_request(get("/v1/models"))).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    let list: Value = serde_json::from_str(&text(response).await).unwrap();
    let model = |id: &str, context: Value, input: Value, output: Value| {
        json!({
            "id": id, "object": "model", "created": 0, "owned_by": "demo", "context": context,
            "input_price": input, "output_price": output,
        })
    };
    let demo = model("demo", json!(8192), json!("0.27"), json!("1.10"));
    let bare = model("bare", Value::Null, Value::Null, Value::Null);
    assert_eq!(list, json!({ "object": "list", "data": [demo, bare] }));
}

#[tokio::test]
async fn one_model_is_an_object_of_the_list_and_its_name_may_hold_slashes() {
    let more = "[[models]]\nname = \"org/model\"\nupstream = \"demo\"\n";
    let child = Child::start(Plan { more, ..Plan::default() }).await;
    let mut client = soon(child.target.h2()).await;
    let mut ask = async |method: &'static str, path: &str| {
        let response = soon(client.send_request(request(method, path, empty()))).await.unwrap();
        (response.status().as_u16(), text(response).await)
    };
    let (status, list) = ask("GET", "/v1/models").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(status, 200);
    for (path, at) in [("/v1/models/demo", 0), ("/v1/models/org/model", 1), ("/v1/models/org%2Fmodel", 1)] {
        let (status, model) = ask("GET", path).await;
        assert_eq!((status, serde_json::from_str::<Value>(&model).unwrap()), (200, list["data"][at].clone()), "{path}");
    }
    assert_eq!(ask("HEAD", "/v1/models/demo").await, (200, String::new()));
    for path in ["/v1/models/none", "/v1/models/demo/", "/v1/models/%ff"] {
        let (status, body) = ask("GET", path).await;
        assert!(status == 404 && body.contains("model_not_found"), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_path_that_is_nearly_right_is_404_and_the_error_names_the_route() {
    let child = Child::start(Plan::default()).await;
    let mut client = soon(child.target.h2()).await;
    for path in ["/v1/chat/completions/", "/v1//chat/completions", "//v1/chat/completions", "/chat/completions"] {
        let asked = request("POST", path, full(chat(false, json!({})).to_string()));
        let response = soon(client.send_request(asked)).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let body = text(response).await;
        assert!(body.contains("did you mean /v1/chat/completions?"), "{body}");
    }
}

#[tokio::test]
async fn a_doubled_content_type_is_json_if_each_of_its_values_is() {
    let child = Child::start(Plan::default()).await;
    let mut client = soon(child.target.h2()).await;
    for (types, status) in [
        (&["application/json, application/json"][..], 200),
        (&["application/json", "application/json; charset=utf-8"], 200),
        (&["application/json, text/plain"], 415),
        (&["application/json", "text/plain"], 415),
        (&["application/json,"], 415),
        (&[], 415),
    ] {
        let mut asked = request("POST", "/v1/chat/completions", full(chat(false, json!({})).to_string()));
        for value in types {
            asked.headers_mut().append("content-type", value.parse().unwrap());
        }
        let response = soon(client.send_request(asked)).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{types:?}");
    }
}

#[tokio::test]
async fn the_short_form_answers_briefly() {
    let child = Child::start(Plan::default()).await;
    let mut client = soon(child.target.h2()).await;
    let short = json!({ "messages": [{ "role": "user", "content": "Hi" }], "model": "demo" }).to_string();
    let request = with(request("POST", "/v1/chat", full(short)), "content-type", "application/json");
    let response = soon(client.send_request(request)).await.unwrap();
    assert_eq!(response.headers()["tokenway-attempts"], "1");
    let answer: Value = serde_json::from_str(&text(response).await).unwrap();
    let mut keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["content", "model", "usage"]);
    assert_eq!(answer["model"], "demo");
    assert!(!answer["content"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn paths_are_exact_and_a_wrong_method_is_told_the_right_ones() {
    let child = Child::start(Plan::default()).await;
    let mut client = soon(child.target.h2()).await;
    for path in ["/v1/models/", "//v1/models", "/v1", "/V1/models", "/v1/chat/completions/", "/v1/models%2f", "/"] {
        let response = soon(client.send_request(get(path))).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // the query is no part of a path
    assert_eq!(soon(client.send_request(get("/healthz?a=b"))).await.unwrap().status(), StatusCode::OK);
    for path in ["/healthz", "/v1/models", "/nowhere"] {
        let response = soon(client.send_request(get(path))).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
        ("DELETE", "/v1/chat", "POST, OPTIONS"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("PUT", "/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let response = soon(client.send_request(request(method, path, empty()))).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &allow.parse().unwrap())
        );
        let response = soon(client.send_request(request("OPTIONS", path, empty()))).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::NO_CONTENT, &allow.parse().unwrap())
        );
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let child = Child::start(Plan::default()).await;
    for path in ["/healthz", "/v1/models", "/nowhere"] {
        let mut client = soon(child.target.h1()).await;
        let got = soon(client.send_request(with(get(path), "x-request-id", "one"))).await.unwrap();
        let (status, length) = (got.status(), got.headers()["content-length"].clone());
        assert_eq!(length, text(got).await.len().to_string());
        let head = with(request("HEAD", path, empty()), "x-request-id", "one");
        let head = soon(client.send_request(head)).await.unwrap();
        assert_eq!((head.status(), &head.headers()["content-length"]), (status, &length), "{path}");
        assert_eq!(text(head).await, "");
    }
}

#[tokio::test]
async fn a_request_id_is_the_clients_own_where_it_is_harmless_and_reaches_upstream_log_and_error() {
    let child = Child::start(Plan::default()).await;
    let mut client = soon(child.target.h2()).await;
    let good = "page-7.a_b:C";
    let response = soon(client.send_request(with(post(&chat(false, json!({}))), "x-request-id", good))).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], good);
    assert_eq!(child.demo.requests()[0].headers["x-request-id"], good);
    child.logged(good).await;

    let long = "a".repeat(129);
    for bad in ["two words", "quote\"", "<b>", "", long.as_str()] {
        let response = soon(client.send_request(with(get("/nowhere"), "x-request-id", bad))).await.unwrap();
        let given = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(given != bad && given.starts_with("req_"), "{given}");
        let error: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(error["error"]["request_id"], given);
        child.logged(&given).await;
    }
}

#[tokio::test]
async fn admin_routes_are_on_the_admin_listener_alone() {
    let child = Child::start(Plan::default()).await;
    let mut client = soon(child.target.h2()).await;
    for path in ["/metrics", "/readyz", "/", "/dashboard.mjs", "/dashboard.css"] {
        let response = soon(client.send_request(get(path))).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path} is public");
    }
    let tcp = tokio::net::TcpStream::connect(&child.admin).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tcp);
    let (mut admin, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/v1/models", 404),
        ("/v1/chat/completions", 404),
    ] {
        let request = Request::get(path).header("host", &child.admin).header("origin", ALLOWED).body(empty()).unwrap();
        let response = soon(admin.send_request(request)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{path}");
        text(response).await;
    }
}

/// Exit status, stdout, stderr.
async fn tokenway(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    let output = soon(command.args(arguments).kill_on_drop(true).output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A directory with a certificate and this configuration.
fn configured(text: &str) -> (Directory, String) {
    let directory = Directory::new();
    certs::write(&directory.0);
    let file = directory.0.join("tokenway.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (directory, file)
}

fn good(listen: &str) -> String {
    format!(
        "[server]\nlisten = \"{listen}\"\nadmin = \"127.0.0.1:0\"\ncertificate = \"leaf.pem\"\nprivate_key = \"leaf.key\"\n\
         [[upstreams]]\nname = \"u\"\nbase_url = \"http://127.0.0.1:9/v1\"\n[[models]]\nname = \"m\"\nupstream = \"u\"\n"
    )
}

#[tokio::test]
async fn check_says_whether_a_file_is_good() {
    let (_directory, file) = configured(&good("127.0.0.1:0"));
    let (status, out, err) = tokenway(&["check", "--config", &file]).await;
    assert_eq!((status, out.lines().next(), err.as_str()), (0, Some("ok"), ""));
    let (status, out, _) = tokenway(&["check", "--config", &file, "--json"]).await;
    assert_eq!((status, &serde_json::from_str::<Value>(&out).unwrap()["ok"]), (0, &json!(true)));
    let missing = root().join("no-such-file.toml");
    let (status, out, err) = tokenway(&["check", "--config", missing.to_str().unwrap()]).await;
    assert_eq!((status, out.as_str()), (64, ""));
    assert!(err.contains("cannot be read"), "{err}");
}

#[tokio::test]
async fn a_wrong_configuration_is_64_with_every_problem_its_place_and_the_mend() {
    let wrong = good("127.0.0.1:0")
        .replace("[[models]]", "[cors]\norigins = [\"https://a.example/\", \"null\"]\n[[models]]")
        .replace("[[upstreams]]", "drain = \"soon\"\nlisen = 1\n[[upstreams]]")
        .replace("upstream = \"u\"", "upstream = \"nobody\"");
    let (_directory, file) = configured(&wrong);
    for arguments in [&["check", "--config", &file][..], &["serve", "--config", &file], &["--config", &file]] {
        let (status, out, err) = tokenway(arguments).await;
        assert_eq!((status, out.as_str()), (64, ""), "{arguments:?}: {err}");
        for place in ["server.drain", "server.lisen", "cors.origins[0]", "cors.origins[1]", "models[0].upstream"] {
            let line = err.lines().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{place} in {err}"));
            assert!(line.len() > place.len() + 30, "no reason or no mend: {line}");
        }
        assert!(!err.contains("listening on"), "{err}");
    }
}

#[tokio::test]
async fn wrong_usage_is_64_and_help_is_0() {
    for arguments in
        [&["--no-such-flag"][..], &["no-such-command"], &["check"], &["demo-upstream", "--first-token", "soon"]]
    {
        let (status, out, err) = tokenway(arguments).await;
        assert_eq!((status, out.as_str()), (64, ""), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
    for command in ["serve", "check", "demo-upstream"] {
        let (status, out, _) = tokenway(&[command, "--help"]).await;
        assert_eq!(status, 0, "{command}");
        assert!(out.contains("Example"), "{command} --help shows no example: {out}");
    }
}

#[tokio::test]
async fn a_taken_port_is_1_and_names_the_key_and_the_mend() {
    let address = format!("127.0.0.1:{}", free_port());
    let taken = TcpListener::bind(&address).await.unwrap();
    let (_directory, file) = configured(&good(&address));
    let (status, out, err) = tokenway(&["serve", "--config", &file]).await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("server.listen") && err.contains(&address), "{err}");
    assert!(!err.contains("listening on"), "{err}");
    drop(taken);
    // as it stands, once the port is free
    Server::tokenway(["serve", "--config", &file]).said("listening on https://").await;
}
