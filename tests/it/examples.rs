//! What the development default prints, done as it is printed.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::gateway::Directory;
use crate::support::process::Server;
use crate::support::soon;

/// The development default's ports are fixed, so that what is printed can be copied. No other test uses them; whoever
/// else runs this test, or the default itself, on this machine is waited for.
async fn until_the_ports_are_free() {
    let free = async {
        for port in [8443, 8444, 9443] {
            while TcpListener::bind(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let patience = Duration::from_secs(120);
    tokio::time::timeout(patience, free)
        .await
        .expect("ports 8443, 8444 and 9443 must be free: stop what listens there");
}

#[tokio::test]
async fn the_printed_curl_line_streams_as_it_stands() {
    let directory = Directory::new();
    until_the_ports_are_free().await;
    let mut server = Server::tokenway_in(&directory.0, [] as [&str; 0]);
    server.said("A real provider: ").await;
    let said = server.output();
    // from `curl` to the first line that does not go on
    let mut lines = said.iter().skip_while(|line| !line.trim_start().starts_with("curl ")).map(String::as_str);
    let mut command = String::new();
    for line in &mut lines {
        command = command + line + "\n";
        if !line.ends_with('\\') {
            break;
        }
    }
    assert!(command.contains("--cacert") && !command.contains(" -k"), "{command}");

    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(&directory.0).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon(shell.output()).await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}\n{err}");
    let text: String = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert!(text.split_whitespace().count() > 10, "{out}");
    assert!(out.ends_with("data: [DONE]\n\n"), "{out}");

    // another start uses the same certificate, which the browser was told to trust
    let ca = std::fs::read(directory.0.join("certs/ca.pem")).unwrap();
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    let mut again = Server::tokenway_in(&directory.0, ["serve"]);
    again.said("A real provider: ").await;
    assert_eq!(std::fs::read(directory.0.join("certs/ca.pem")).unwrap(), ca);
}
