//! `tokenway check --live`: it asks for few tokens, leaves a stream that goes on, says which model it asks, and names what is
//! special about an upstream.

use std::sync::{Arc, Mutex};

use demo_upstream::{Demo, Fault, Knobs};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::gateway::Directory;
use crate::support::scripted::Scripted;
use crate::support::soon;

/// Runs it with one model for each address; status, stdout, stderr.
async fn check_live(addresses: &[String], flags: &[&str]) -> (i32, String, String) {
    let directory = Directory::new();
    let file = directory.0.join("tokenway.toml");
    let model = |(number, address): (usize, &String)| {
        format!(
            "[[upstreams]]\nname = \"up{number}\"\nbase_url = \"http://{address}/v1\"\n\
             [[models]]\nname = \"m{number}\"\nupstream = \"up{number}\"\n"
        )
    };
    let models: String = addresses.iter().enumerate().map(model).collect();
    std::fs::write(&file, format!("[server]\nplaintext = true\n{models}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    let output = soon(command.args(["check", "--live", "--config"]).arg(&file).args(flags).output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A demo upstream with this fault.
async fn demo(fault: Option<Fault>) -> Demo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Demo::start(listener, Knobs { fault, tokens: Some(500), ..Knobs::default() }).unwrap()
}

/// An upstream that answers each body with these bytes; the bodies that came.
async fn scripted(answer: fn(&Value) -> String) -> (Scripted, Arc<Mutex<Vec<Value>>>) {
    let bodies = Arc::<Mutex<Vec<Value>>>::default();
    let all = Arc::clone(&bodies);
    let scripted = Scripted::start(move |mut socket: TcpStream| {
        let all = Arc::clone(&all);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = socket.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
            socket.read_exact(&mut body).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let text = answer(&body);
            all.lock().unwrap().push(body);
            // check leaves a stream that goes on
            let _ = socket.write_all(text.as_bytes()).await;
        }
    })
    .await;
    (scripted, bodies)
}

fn stream(events: usize) -> String {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{}{}",
        event.repeat(events),
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
    )
}

#[tokio::test]
async fn few_tokens_are_asked_for_and_each_place_of_usage_is_named() {
    let faults = [
        (None, vec![]),
        (Some(Fault::UsageInChoice), vec!["usage-in-choice"]),
        (Some(Fault::UsageXGroq), vec!["usage-in-x-groq"]),
        (Some(Fault::UsageBesideReasoning), vec!["reasoning-beside-completion"]),
        (Some(Fault::UsageTimings), vec!["timings"]),
        (Some(Fault::NoUsage), vec!["no-usage"]),
        (Some(Fault::RefusesStreamOptions), vec!["refuses-stream-options"]),
    ];
    let mut demos = Vec::new();
    for (fault, _) in &faults {
        demos.push(demo(*fault).await);
    }
    let addresses: Vec<String> = demos.iter().map(|demo| demo.addr.to_string()).collect();
    let (status, out, err) = check_live(&addresses, &["--json"]).await;
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 0, "{out}{err}");
    for (number, (fault, expected)) in faults.iter().enumerate() {
        let live = &document["live"][number];
        let ids: Vec<&str> = live["quirks"].as_array().unwrap().iter().map(|q| q["id"].as_str().unwrap()).collect();
        assert_eq!((&ids, &live["end"]), (expected, &json!("whole")), "{fault:?}: {live:#}");
        // a role, sixteen tokens, a finish reason and a usage at most
        assert!(live["events"].as_u64().unwrap() <= 19, "{live}");
        // stdout is one document, and stderr says meanwhile which model is asked
        assert!(err.contains(&format!("asking m{number} at up{number}")), "{err}");
    }
    for body in demos[0].requests().iter().map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()) {
        assert_eq!(body["max_tokens"], 16, "{body}");
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_is_left_and_said_so_in_the_line_of_its_model() {
    let (endless, _) = scripted(|_| stream(100_000)).await;
    let (status, out, err) = check_live(&[endless.address.to_string()], &[]).await;
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let line = out.lines().find(|line| line.starts_with("live      m0: up0 streams, first token after ")).unwrap();
    assert!(line.ends_with("65 events, left before its end"), "{line}");
    assert!(out.contains("quirk     m0: it sends more than the tokens that were asked for; check left\n"), "{out}");
}

#[tokio::test]
async fn an_upstream_that_refuses_a_name_of_the_bound_is_asked_with_the_other_one() {
    let (strict, bodies) = scripted(|body| match body.get("max_tokens") {
        None => stream(3),
        Some(_) => {
            let error = r#"{"error":{"message":"Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#;
            format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{error}",
                error.len()
            )
        }
    })
    .await;
    let (status, out, _) = check_live(&[strict.address.to_string()], &["--json"]).await;
    let document: Value = serde_json::from_str(&out).unwrap();
    let ids: Vec<&Value> = document["live"][0]["quirks"].as_array().unwrap().iter().map(|quirk| &quirk["id"]).collect();
    assert_eq!((status, &ids[..]), (0, &[&json!("refuses-max-tokens"), &json!("no-usage")][..]), "{document:#}");
    let bodies = bodies.lock().unwrap();
    assert_eq!((&bodies[0]["max_tokens"], &bodies[1]["max_completion_tokens"]), (&json!(16), &json!(16)));
    assert_eq!(bodies.len(), 2);
}
