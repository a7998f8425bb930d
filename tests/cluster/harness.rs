//! Starts nodes, watches their views, and cleans up after them.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest that any single wait may take; far above what is expected, since machines are noisy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// What a node is started with.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) seeds: Vec<String>,
    pub(crate) mesh: bool,
    pub(crate) agents: Vec<(String, String)>,
    /// More files of the configuration directory, by name.
    pub(crate) files: Vec<(String, String)>,
    /// `spec.services` and `spec.peers`.
    pub(crate) services: Value,
    pub(crate) peers: Value,
    /// Merged over `spec.mesh`.
    pub(crate) mesh_keys: Value,
    /// Merged over `spec`.
    pub(crate) spec_keys: Value,
    /// Words before the daemon, such as `ip netns exec NAME`.
    pub(crate) prefix: Vec<String>,
    /// More flags of the daemon.
    pub(crate) flags: Vec<String>,
    /// Its environment variables, beside those of this process.
    pub(crate) variables: Vec<(String, String)>,
}

impl Spec {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: free_port(),
            seeds: Vec::new(),
            mesh: true,
            agents: Vec::new(),
            files: Vec::new(),
            services: json!({}),
            peers: json!([]),
            mesh_keys: json!({}),
            spec_keys: json!({}),
            prefix: Vec::new(),
            flags: Vec::new(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub(crate) fn seeds(mut self, seeds: &[String]) -> Self {
        self.seeds = seeds.to_vec();
        self
    }

    pub(crate) fn echo_agent(self, name: &str, delay_ms: u64) -> Self {
        let document = format!(
            "apiVersion: astromesh/v1\nkind: Agent\nmetadata:\n  name: {name}\nspec:\n  model:\n    \
             primary:\n      provider: echo\n      parameters:\n        delay_ms: {delay_ms}\n"
        );
        self.agent_file(name, &document)
    }

    pub(crate) fn agent_file(mut self, stem: &str, text: &str) -> Self {
        self.agents.push((stem.to_owned(), text.to_owned()));
        self
    }

    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    pub(crate) fn mesh_key(mut self, key: &str, value: Value) -> Self {
        self.mesh_keys[key] = value;
        self
    }

    pub(crate) fn spec_key(mut self, key: &str, value: Value) -> Self {
        self.spec_keys[key] = value;
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the configuration directory.
    fn write(&self, directory: &Path) {
        let mut mesh = json!({"enabled": self.mesh, "node_name": self.name, "seeds": self.seeds});
        for (key, value) in self.mesh_keys.as_object().unwrap() {
            mesh[key] = value.clone();
        }
        let mut runtime = json!({
            "apiVersion": "astromesh/v1", "kind": "RuntimeConfig",
            "metadata": {"name": self.name},
            "spec": {
                "pid_file": "astromeshd.pid",
                "api": {"host": self.host, "port": self.port}, "mesh": mesh,
                "services": self.services, "peers": self.peers,
            }
        });
        for (key, value) in self.spec_keys.as_object().unwrap() {
            runtime["spec"][key] = value.clone();
        }
        fs::create_dir_all(directory.join("agents")).unwrap();
        // JSON is YAML.
        fs::write(directory.join("runtime.yaml"), runtime.to_string()).unwrap();
        for (stem, text) in &self.agents {
            fs::write(directory.join(format!("agents/{stem}.agent.yaml")), text).unwrap();
        }
        for (name, text) in &self.files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    pub(crate) fn start(self) -> Node {
        let directory = tempfile::tempdir().unwrap();
        self.write(directory.path());
        let child = spawn(&self, directory.path());
        Node { spec: self, directory, child, errors_expected: false }
    }
}

fn spawn(spec: &Spec, directory: &Path) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut words = spec.prefix.clone();
    words.extend([env!("CARGO_BIN_EXE_astromeshd").to_owned()]);
    words.extend(["--config".to_owned(), directory.display().to_string()]);
    words.extend(spec.flags.iter().cloned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    for (name, _) in std::env::vars().filter(|(name, _)| is_of_daemons(name)) {
        command.env_remove(name);
    }
    command.envs(spec.variables.iter().map(|(name, value)| (name, value)));
    command.spawn().unwrap()
}

/// Whether a variable of this process would change what a daemon does.
fn is_of_daemons(name: &str) -> bool {
    name.starts_with("ASTROMESH_") || name.starts_with("OTEL_")
}

/// A running daemon; killed when dropped.
pub(crate) struct Node {
    pub(crate) spec: Spec,
    directory: tempfile::TempDir,
    child: Child,
    errors_expected: bool,
}

impl Node {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.spec.url())
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn config_dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "{} does not end:\n{}", self.name(), self.log());
            std::thread::sleep(GLANCE);
        }
    }

    /// Starts the daemon again, in the same directory.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.spec, self.directory.path());
    }

    /// The log may hold errors: the test provokes them.
    pub(crate) fn expect_errors(&mut self) {
        self.errors_expected = true;
    }

    /// `GET /v1/mesh/state`; `None` while the node does not answer.
    pub(crate) async fn state(&self) -> Option<Value> {
        let response = client().get(self.url("/v1/mesh/state")).send().await.ok()?;
        response.json().await.ok()
    }

    /// `GET` as JSON.
    pub(crate) async fn get(&self, path: &str) -> Value {
        client().get(self.url(path)).send().await.unwrap().json().await.unwrap()
    }

    /// `POST` of JSON; status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = client().post(self.url(path)).json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// One of the gossip counters.
    pub(crate) async fn counter(&self, name: &str) -> u64 {
        self.get("/v1/system/status").await["mesh"]["counters"][name].as_u64().unwrap()
    }

    /// Name and status of every member in this node's view, sorted.
    pub(crate) async fn view(&self) -> Vec<(String, String)> {
        let Some(state) = self.state().await else { return Vec::new() };
        let nodes = state["nodes"].as_array().cloned().unwrap_or_default();
        let mut view: Vec<_> =
            nodes.iter().map(|node| (text(&node["name"]), text(&node["status"]))).collect();
        view.sort();
        view
    }

    pub(crate) async fn status_of(&self, name: &str) -> Option<String> {
        self.view().await.into_iter().find(|(other, _)| other == name).map(|(_, status)| status)
    }

    pub(crate) async fn id(&self) -> String {
        text(&self.state().await.unwrap()["this_node"])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already gone in tests that end it; a stopped process has to be killed all the same.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
        let log = self.log();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            println!("--- log of {}:\n{}", self.spec.name, tail.join("\n"));
        } else if !self.errors_expected {
            let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
            assert!(errors.is_empty(), "{} logged errors: {errors:?}", self.spec.name);
        }
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// A client that gives up soon: a stopped node never answers.
pub(crate) fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().unwrap()
}

/// A port that is free for TCP and UDP on loopback right now, and that no other node of this process
/// was given. Below the range from which the kernel takes ports for outgoing connections, which
/// would otherwise take one before the node binds it.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id()
            .wrapping_mul(131)
            .wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if is_free {
            return port;
        }
    }
}

/// Waits until `condition` holds and says how long that took.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(GLANCE).await;
    }
    started.elapsed()
}

/// Waits until every node holds all the others alive, and nobody else.
pub(crate) async fn until_whole(nodes: &[&Node]) -> Duration {
    let mut whole: Vec<(String, String)> =
        nodes.iter().map(|node| (node.name().to_owned(), "alive".to_owned())).collect();
    whole.sort();
    until("every view holds all nodes alive", async || {
        for node in nodes {
            if node.view().await != whole {
                return false;
            }
        }
        true
    })
    .await
}

/// Waits until every one of `nodes` sees `name` with this status.
pub(crate) async fn until_seen(nodes: &[&Node], name: &str, status: &str) -> Duration {
    until(&format!("{name} is {status} everywhere"), async || {
        for node in nodes {
            if node.status_of(name).await.as_deref() != Some(status) {
                return false;
            }
        }
        true
    })
    .await
}

/// Waits until a node counts one run of its own.
pub(crate) async fn until_one_runs(node: &Node) {
    until("the run has begun", async || {
        let state = node.state().await.unwrap();
        let own = state["nodes"].as_array().unwrap().iter().find(|own| own["name"] == node.name());
        own.is_some_and(|own| own["load"]["active_requests"] == 1)
    })
    .await;
}

/// Waits until all nodes name the same leader, which is one of them, and returns its id.
pub(crate) async fn until_one_leader(nodes: &[&Node]) -> String {
    let mut leader = String::new();
    until("one leader in all views", async || {
        let mut leaders = Vec::new();
        let mut ids = Vec::new();
        for node in nodes {
            let Some(state) = node.state().await else { return false };
            leaders.push(text(&state["leader_id"]));
            ids.push(text(&state["this_node"]));
        }
        leaders.dedup();
        leader.clone_from(&leaders[0]);
        leaders.len() == 1 && ids.contains(&leader)
    })
    .await;
    leader
}

/// A gateway without agents and workers that join through it, all alive in all views.
pub(crate) async fn mesh(workers: Vec<Spec>) -> Vec<Node> {
    let gateway = Spec::new("gateway");
    let seeds = [gateway.url()];
    let mut nodes = vec![gateway.start()];
    nodes.extend(workers.into_iter().map(|worker| worker.seeds(&seeds).start()));
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    nodes
}
