//! Tokens as a backend mints them: the examples, run as they stand.

use tokio::process::Command;

use super::{Guarded, bearer, from_page, with_all};
use crate::support::client::get;
use crate::support::edge::{ORIGIN, Version};
use crate::support::process::{SECRETS, root};
use crate::support::soon;

#[tokio::test]
async fn what_the_examples_and_the_command_mint_is_taken() {
    let guarded = Guarded::start().await;
    let tokenway = env!("CARGO_BIN_EXE_tokenway");
    let commands: [&[&str]; 3] = [
        &["python3", "examples/mint_token.py", "user-17", "300", ORIGIN],
        &["node", "examples/mint-token.mjs", "user-17", "300", ORIGIN],
        &[tokenway, "token", "mint", "--sub", "user-17", "--ttl", "5m", "--origin", ORIGIN],
    ];
    for words in commands {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(root()).envs(SECRETS).kill_on_drop(true);
        let output = soon(command.output()).await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let minted = String::from_utf8(output.stdout).unwrap();
        let authorization = bearer(minted.trim_end());
        let mut client = guarded.edge.client(Version::Http2).await;
        let headers = [("authorization", authorization.as_str())];
        assert_eq!(client.send(from_page(get("/v1/models"), &headers)).await.status(), 200, "{words:?}");
        // it is for pages of that origin
        assert_eq!(client.send(with_all(get("/v1/models"), &headers)).await.status(), 401, "{words:?}");
    }
}
