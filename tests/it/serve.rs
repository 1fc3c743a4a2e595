//! What `serve` says where it cannot start, and when it has.

use tokio::process::Command;

use crate::support::gateway::Directory;
use crate::support::process::Server;
use crate::support::soon;

/// Exit status and stderr.
async fn refused(command: &str, file: &str) -> (Option<i32>, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tokenway"));
    process.args([command, "--config", file]).kill_on_drop(true);
    let output = soon(process.output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_wrong_configuration_is_told_in_the_words_of_check() {
    let directory = Directory::new();
    let file = directory.0.join("mine.toml");
    std::fs::write(&file, "[server]\nlisten = 1\n[[upstream]]\n").unwrap();
    let nowhere = directory.0.join("nowhere.toml");
    for file in [file.to_str().unwrap(), nowhere.to_str().unwrap()] {
        let told = refused("serve", file).await;
        assert_eq!(told, refused("check", file).await);
        assert_eq!(told.0, Some(64));
        assert!(
            told.1.lines().count() > 0 && told.1.lines().all(|line| line.starts_with(&format!("{file}: "))),
            "{}",
            told.1
        );
    }
}

#[tokio::test]
async fn an_open_gateway_says_so_once_and_where_the_dashboard_is() {
    let directory = Directory::new();
    let file = directory.0.join("mine.toml");
    let text = "[server]\nplaintext = true\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
        [[upstreams]]\nname = \"up\"\nbase_url = \"http://127.0.0.1:9/v1\"\n[[models]]\nname = \"m\"\nupstream = \"up\"\n";
    std::fs::write(&file, text).unwrap();
    let mut server = Server::tokenway(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]);
    server.said("admin on http://").await;
    server.signal("TERM");
    server.ended().await;
    let said = server.output().join("\n");
    assert_eq!(said.matches("access.accept is empty").count(), 1, "{said}");
    assert!(said.contains("(the dashboard; /metrics, /readyz)"), "{said}");
}
