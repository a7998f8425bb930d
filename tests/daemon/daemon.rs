//! Starts daemons, asks them, and cleans up after them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that any single wait may take; far above what is expected, since machines are noisy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A user without rights, when the tests run as root.
const NOBODY: u32 = 65_534;

/// Waits until there is a value.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A directory that holds a configuration, and all that its daemon writes.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    /// `spec` is what stands below `spec:`, as YAML in braces without the braces.
    pub(crate) fn new(spec: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("agents")).unwrap();
        let spec = format!("spec: {{api: {{host: 127.0.0.1}}, {spec}}}\n");
        fs::write(directory.path().join("runtime.yaml"), spec).unwrap();
        Self { directory }
    }

    pub(crate) fn agent(self, name: &str, spec: &str) -> Self {
        let text = format!(
            "apiVersion: astromesh/v1\nkind: Agent\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        fs::write(self.path().join(format!("agents/{name}.agent.yaml")), text).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path().join("astromeshd.pid")
    }

    /// The daemon on any free port, with its own PID file.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.bare_command();
        command.args(["--port", "0", "--pid-file"]).arg(self.pid_file());
        command
    }

    /// The daemon with its configuration, and nothing of the surroundings.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_astromeshd"));
        command.arg("--config").arg(self.path());
        clean(&mut command);
        command
    }

    pub(crate) fn start(&self) -> Daemon {
        self.spawn(&mut self.command())
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Daemon {
        let path = self.path().join("log");
        let log = File::create(&path).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        Daemon { child, log: path }
    }

    /// Gives all of it to a user without rights, and has the daemon run as that user.
    pub(crate) fn as_ordinary_user(&self, command: &mut Command) {
        if !rustix::process::getuid().is_root() {
            return;
        }
        for path in [self.path().to_owned(), self.path().join("agents")] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
}

fn clean(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASTROMESH_")) {
        command.env_remove(name);
    }
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
}

/// Runs to its end; exit code and standard error.
pub(crate) fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.stderr(Stdio::piped()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line with this text.
    pub(crate) fn says(&self, text: &str) {
        let started = Instant::now();
        while !self.log().contains(text) {
            assert!(started.elapsed() < PATIENCE, "does not say {text:?}:\n{}", self.log());
            std::thread::sleep(GLANCE);
        }
    }

    /// Where HTTP is served, once it is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.says("serving http=");
        let log = self.log();
        let (_, rest) = log.split_once("serving http=").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "does not end:\n{}", self.log());
            std::thread::sleep(GLANCE);
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
        if std::thread::panicking() {
            println!("--- log:\n{}", self.log());
        }
    }
}

/// Sends a request; its answer is still to be read.
pub(crate) fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: daemon\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The whole answer, head and body.
pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn get(at: SocketAddr, path: &str) -> String {
    answer(ask(at, "GET", path, ""))
}
