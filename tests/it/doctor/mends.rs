//! The mends are right: each language's own reader takes them, and real nginx that is so mended lets the page through.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use browser::request::Credentials;
use doctor::mend::{Needs, Target};
use doctor::plan::Input;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{PAGE, finding, post, report};
use crate::support::gateway::Directory;
use crate::support::ports::free_port;
use crate::support::soon;

/// With what is hardest to quote.
fn needs() -> Needs {
    Needs {
        origin: "http://[::1]:3000".into(),
        method: "PA'T`CH".into(),
        headers: vec!["authorization".into(), "x-o'clock".into(), "x-`tick`".into(), "x-100%".into()],
        expose: vec!["x-request-id".into(), "x-#1".into()],
        credentials: true,
        preflight: true,
    }
}

/// Whether this program takes the file.
async fn takes(program: &str, args: &[&str], name: &str, text: &str) {
    let directory = Directory::new();
    let file = directory.0.join(name);
    fs::write(&file, text).unwrap();
    let command = Command::new(program).args(args).arg(&file).stdin(Stdio::null()).output();
    let done = soon(command).await.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program}: {}\n{text}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn javascript_and_python_take_their_mends() {
    takes("node", &["--check"], "mend.js", &Target::Express.mend(&needs()).unwrap()).await;
    for target in [Target::Fastapi, Target::Flask] {
        let check = ["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"];
        takes("python3", &check, "mend.py", &target.mend(&needs()).unwrap()).await;
    }
}

#[tokio::test]
async fn nginx_takes_its_mend_whatever_is_in_it() {
    let mut nginx = Nginx::new();
    if !nginx.is_installed().await {
        eprintln!("skipped: nginx is not installed");
        return;
    }
    nginx.configure(Some(&Target::Nginx.mend(&needs()).unwrap()), "return 200");
    nginx.check().await;
}

#[tokio::test]
async fn nginx_so_mended_lets_the_page_through_and_no_other() {
    let mut nginx = Nginx::new();
    if !nginx.is_installed().await {
        eprintln!("skipped: nginx is not installed");
        return;
    }
    let input = |url: &str| {
        let mut input = post(url);
        input.headers.push("authorization: Bearer x".into());
        Input { credentials: Some(Credentials::Include), ..input }
    };
    // behind it stands what refuses everyone without a key, as applications do
    nginx.configure(None, "return 401");
    let url = nginx.start().await;
    let before = report(input(&url), false).await;
    assert_eq!(before["code"], "PreflightMissingAllowOriginHeader", "{before:#}");
    assert_eq!(before["block"]["server"], "nginx");
    let mend = |report: &Value| {
        let mends = report["block"]["mends"].as_array().unwrap().clone();
        mends.iter().find(|mend| mend["target"] == "nginx").unwrap()["text"].as_str().unwrap().to_owned()
    };

    let mut mended = Nginx::new();
    mended.configure(Some(&mend(&before)), "return 401");
    let url = mended.start().await;
    let after = report(input(&url), true).await;
    assert_eq!(after["verdict"], "allowed", "{after:#}");
    for id in [
        "origin-reflected",
        "vary-origin-missing",
        "errors-without-cors",
        "preflight-rate-limited",
        "cors-headers-doubled",
    ] {
        assert!(finding(&after, id).is_null(), "{:#}", after["findings"]);
    }
    let stranger = Input { origin: Some("https://evil.example".into()), ..input(&url) };
    assert_eq!(report(stranger, false).await["verdict"], "blocked", "only {PAGE} is allowed");
}

/// nginx with one location; it ends when this is dropped.
struct Nginx {
    directory: Directory,
    running: Option<Child>,
    port: u16,
}

impl Nginx {
    fn new() -> Self {
        Self { directory: Directory::new(), running: None, port: 0 }
    }

    async fn is_installed(&self) -> bool {
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().await.is_ok()
    }

    /// The mend stands where its comments say it belongs.
    fn configure(&mut self, mend: Option<&str>, answer: &str) {
        let (http, location) = mend.map_or(("", ""), |mend| mend.split_once("# in location").unwrap());
        let location = location.split_once('\n').map_or("", |(_, rest)| rest);
        self.port = free_port();
        let text = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\n\
             scgi_temp_path scgi;\n{http}\nserver {{\nlisten 127.0.0.1:{};\nlocation / {{\n{location}\n{answer};\n}}\n}}\n}}\n",
            self.port
        );
        fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.0.join("nginx.conf")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nginx");
        let place: &Path = &self.directory.0;
        command
            .arg("-p")
            .arg(place)
            .arg("-c")
            .arg(self.file())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn check(&self) {
        let done = soon(self.command().arg("-t").output()).await.unwrap();
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    }

    async fn start(&mut self) -> String {
        self.check().await;
        self.running = Some(self.command().spawn().unwrap());
        let address = format!("127.0.0.1:{}", self.port);
        // it says nothing when it listens
        soon(async {
            while TcpStream::connect(&address).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        format!("http://{address}/v1/chat")
    }
}
