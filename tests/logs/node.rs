//! Starts a daemon, asks it, and reads what it logs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that any single wait may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A daemon to be; everything of it is in a directory of its own.
pub(crate) struct Plan {
    pub(crate) directory: tempfile::TempDir,
    /// Words before the daemon.
    pub(crate) prefix: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

impl Plan {
    /// `log` is what stands in `spec.log`, in one line of YAML.
    pub(crate) fn new(log: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = Self { directory, prefix: Vec::new(), variables: Vec::new() };
        let runtime = format!("spec:\n  api: {{host: 127.0.0.1}}\n  log: {log}\n");
        fs::create_dir(plan.path("agents")).unwrap();
        fs::write(plan.path("runtime.yaml"), runtime).unwrap();
        plan.agent("echo", "{provider: echo}");
        plan
    }

    pub(crate) fn agent(&self, name: &str, model: &str) {
        let text = format!(
            "apiVersion: astromesh/v1\nkind: Agent\nmetadata: {{name: {name}}}\n\
             spec: {{model: {{primary: {model}}}}}\n"
        );
        fs::write(self.path(&format!("agents/{name}.agent.yaml")), text).unwrap();
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the daemon with mounts of its own, which this script makes; `false` where that is not
    /// allowed.
    pub(crate) fn with_mounts(&mut self, script: &str) -> bool {
        let mut attempt = Command::new("unshare");
        attempt.args(["--mount", "mount", "-t", "tmpfs", "t", "/mnt"]);
        if !attempt.output().is_ok_and(|done| done.status.success()) {
            println!("SKIPPED: this needs the right to mount");
            return false;
        }
        let script = format!("set -e; {script}; exec \"$@\"");
        self.prefix = ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).into();
        true
    }

    /// The command that starts the daemon, with only the variables of the plan.
    pub(crate) fn command(&self) -> Command {
        let daemon = env!("CARGO_BIN_EXE_astromeshd").to_owned();
        let config = self.directory.path().display().to_string();
        let flags = ["--config", &config, "--port", "0"].map(str::to_owned);
        let words: Vec<_> = self.prefix.iter().cloned().chain([daemon]).chain(flags).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("XDG_RUNTIME_DIR", self.directory.path());
        command.envs(self.variables.iter().cloned());
        command
    }

    /// The file that standard error goes to.
    pub(crate) fn console(&self) -> PathBuf {
        self.path("console")
    }

    /// Runs a daemon that does not start.
    pub(crate) fn refused(&self) -> Output {
        self.command().stderr(Stdio::piped()).output().unwrap()
    }

    pub(crate) fn start(self) -> Node {
        let console = File::create(self.console()).unwrap();
        let child = self.command().stderr(console).spawn().unwrap();
        Node { plan: self, child, address: None }
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Node {
    pub(crate) plan: Plan,
    pub(crate) child: Child,
    address: Option<SocketAddr>,
}

impl Node {
    /// A daemon that was started otherwise.
    pub(crate) const fn of(plan: Plan, child: Child) -> Self {
        Self { plan, child, address: None }
    }

    /// What is on the console.
    pub(crate) fn console(&self) -> String {
        fs::read_to_string(self.plan.console()).unwrap()
    }

    /// Waits for a line on the console that contains this.
    pub(crate) fn console_with(&self, part: &str) -> String {
        let what = format!("no line with {part:?}");
        wait_for(&what, || {
            self.console().lines().find(|line| line.contains(part)).map(str::to_owned)
        })
    }

    /// A file of the log, in the directory `log` of the plan.
    pub(crate) fn log_file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.plan.path("log").join(name)).ok()
    }

    /// Says where the daemon listens, when its console does not.
    pub(crate) fn listens_at(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    pub(crate) fn address(&mut self) -> SocketAddr {
        if self.address.is_none() {
            let line = self.console_with("serving");
            self.address = Some(address_in(&line));
        }
        self.address.unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn run_echo(&mut self) {
        let answer = self.ask("POST", "/v1/agents/echo/run", "", r#"{"query": "hello"}"#);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    /// Runs the command line against this daemon.
    pub(crate) fn ctl(&mut self, arguments: &[&str]) -> Output {
        let url = format!("http://{}", self.address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_astromeshctl"));
        command.args(arguments).env_clear().env("ASTROMESH_DAEMON_URL", url);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// A number on the page of metrics.
    pub(crate) fn metric(&mut self, name: &str) -> u64 {
        let page = self.ask("GET", "/metrics", "", "");
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Ends the daemon as an administrator would, after which all of its log is written.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        wait_for("the daemon does not end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already gone in tests that end it.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
        if std::thread::panicking() {
            let console = self.console();
            let lines = console.lines().map(|line| line.chars().take(200).collect::<String>());
            println!("--- console:\n{}", lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The address in a line such as `serving http=127.0.0.1:1234`, or in JSON.
pub(crate) fn address_in(line: &str) -> SocketAddr {
    let start = line.find("127.0.0.1:").unwrap();
    let text = line[start..].trim_end_matches(|end: char| !end.is_ascii_digit());
    text.split_whitespace().next().unwrap().parse().unwrap()
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(GLANCE);
    }
}

/// Each line as the object it must be.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let object = |line| match serde_json::from_str(line) {
        Ok(object @ Value::Object(_)) => object,
        other => panic!("{other:?}: {line}"),
    };
    text.lines().map(object).collect()
}

/// Those objects whose message this is.
pub(crate) fn with_message<'a>(
    objects: &'a [Value],
    message: &'a str,
) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["message"] == message)
}

/// A journal that keeps what it is sent.
pub(crate) struct Journal {
    socket: UnixDatagram,
    text: String,
}

impl Journal {
    /// At `socket` in this directory.
    pub(crate) fn at(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, text: String::new() }
    }

    /// Waits for the entry whose message contains this.
    pub(crate) fn entry_with(&mut self, part: &str) -> Vec<String> {
        let mut bytes = [0; 1 << 16];
        loop {
            let length = self.socket.recv(&mut bytes).unwrap();
            let entry = String::from_utf8_lossy(&bytes[..length]).into_owned();
            self.text.push_str(&entry);
            let lines: Vec<_> = entry.lines().map(str::to_owned).collect();
            if lines[0].starts_with("MESSAGE=") && lines[0].contains(part) {
                return lines;
            }
        }
    }

    /// All that came.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// A node whose console is this journal, and the lines of its entry `node: serving`.
pub(crate) fn start_in(journal: &mut Journal, plan: Plan) -> (Node, Vec<String>) {
    File::create(plan.console()).unwrap();
    let stream = journal_stream(&plan.console());
    let mut node = plan.variable("JOURNAL_STREAM", &stream).start();
    let serving = journal.entry_with("node: serving");
    let address = serving.iter().find_map(|line| line.strip_prefix("ASTROMESH_HTTP=")).unwrap();
    node.listens_at(address.parse().unwrap());
    (node, serving)
}

/// What systemd would say in `JOURNAL_STREAM` of this file.
pub(crate) fn journal_stream(file: &Path) -> String {
    let found = fs::metadata(file).unwrap();
    format!("{}:{}", found.dev(), found.ino())
}

/// A script for [`Plan::with_mounts`]: the journal in this directory is that of the system.
pub(crate) fn mount_journal(directory: &Path) -> String {
    format!(
        "mount -t tmpfs t /run; mkdir -p /run/systemd/journal; mount --bind {} /run/systemd/journal",
        directory.display()
    )
}
