//! Real nginx with one location.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::gateway::Directory;
use super::ports::free_port;
use super::soon;

/// nginx with one location; it ends when this is dropped.
pub struct Nginx {
    directory: Directory,
    running: Option<Child>,
    port: u16,
}

impl Nginx {
    pub fn new() -> Self {
        Self { directory: Directory::new(), running: None, port: 0 }
    }

    /// The mend stands where its comments say it belongs.
    pub fn configure_mended(&mut self, mend: &str, answer: &str) {
        let (http, location) = mend.split_once("# in location").unwrap();
        let location = location.split_once('\n').map_or("", |(_, rest)| rest);
        self.configure(http, &format!("{location}\n{answer}"));
    }

    /// Sets the directives of `http` and of its one location.
    pub fn configure(&mut self, http: &str, location: &str) {
        self.port = free_port();
        let text = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\n\
             scgi_temp_path scgi;\n{http}\nserver {{\nlisten 127.0.0.1:{};\nlocation / {{\n{location};\n}}\n}}\n}}\n",
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

    pub async fn check(&self) {
        let done = soon(self.command().arg("-t").output()).await.unwrap();
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts it. Returns its URL, without a path.
    pub async fn start(&mut self) -> String {
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
        format!("http://{address}")
    }
}
