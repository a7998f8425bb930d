//! Talks to the Docker engine, waits, and cleans up.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that any single wait may take; far above what is expected, since machines are noisy.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Runs a program and says what it said, or panics with that.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = attempt(program, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}\n{said}\n{complaint}");
    said.trim().to_owned()
}

pub(crate) fn attempt(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(root()).output().unwrap()
}

pub(crate) fn docker(arguments: &[&str]) -> String {
    run("docker", arguments)
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Makes the images once, with the binaries of this build.
pub(crate) fn images() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let binaries = PathBuf::from(env!("CARGO_BIN_EXE_astromeshd"));
        let script = root().join("tests/docker/images.sh");
        run(&script.display().to_string(), &[&binaries.parent().unwrap().display().to_string()]);
    });
}

/// A recipe that is up; down again, volumes included, when dropped.
pub(crate) struct Recipe {
    file: &'static str,
}

impl Recipe {
    /// `docker compose -f recipes/FILE up -d`, with the services after it if there are any.
    pub(crate) fn up(file: &'static str, services: &[&str]) -> Self {
        images();
        let recipe = Self { file };
        recipe.down();
        recipe.compose(&[&["up", "-d"], services].concat());
        recipe
    }

    pub(crate) fn compose(&self, arguments: &[&str]) -> String {
        let file = format!("recipes/{}", self.file);
        // Version 2 is a part of the client, version 1 a program of its own.
        let is_plugin = attempt("docker", &["compose", "version"]).status.success();
        let (program, first) = if is_plugin {
            ("docker", vec!["compose", "-f", &file])
        } else {
            ("docker-compose", vec!["-f", file.as_str()])
        };
        run(program, &[&first, arguments].concat())
    }

    /// The containers of a service, in order of their ids.
    pub(crate) fn containers(&self, service: &str) -> Vec<String> {
        let mut ids: Vec<String> =
            self.compose(&["ps", "-q", service]).lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    fn down(&self) {
        self.compose(&["down", "-v", "--timeout", "1"]);
    }
}

impl Drop for Recipe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.compose(&["ps"]));
            println!("{}", self.compose(&["logs", "--no-color", "--tail=60", "gateway"]));
        }
        self.down();
    }
}

/// A container of its own, removed when dropped.
pub(crate) struct Container(pub(crate) String);

impl Container {
    /// `docker run -d` with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        images();
        Self(docker(&[&["run", "-d"], arguments].concat()))
    }

    /// What it has written so far, both streams.
    pub(crate) fn logs(&self) -> String {
        let output = attempt("docker", &["logs", &self.0]);
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }

    pub(crate) fn exec(&self, command: &[&str]) -> String {
        docker(&[&["exec", self.0.as_str()], command].concat())
    }

    /// `starting`, `healthy` or `unhealthy`.
    pub(crate) fn health(&self) -> String {
        docker(&["inspect", "-f", "{{.State.Health.Status}}", &self.0])
    }

    /// Waits for its end and says with which code.
    pub(crate) fn exit_code(&self) -> String {
        docker(&["wait", &self.0])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.0]);
    }
}

pub(crate) fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().unwrap()
}

/// The JSON at a URL; `None` when nobody answers, or without JSON.
pub(crate) async fn json(url: &str) -> Option<Value> {
    client().get(url).send().await.ok()?.json().await.ok()
}

/// Waits until `condition` holds and says how long that took.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(GLANCE).await;
    }
    println!("{what}: {:.1} s", started.elapsed().as_secs_f64());
    started.elapsed()
}
