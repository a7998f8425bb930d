//! A daemon that answers canned JSON, and the command line pointed at it.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// How it answers one method and path; the last of several answers is repeated.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) target: &'static str,
    pub(crate) status: u16,
    pub(crate) bodies: Vec<String>,
    pub(crate) delay: Duration,
}

impl Route {
    pub(crate) fn ok(target: &'static str, body: &str) -> Self {
        Self { target, status: 200, bodies: vec![body.to_owned()], delay: Duration::ZERO }
    }

    pub(crate) fn error(target: &'static str, status: u16, body: &str) -> Self {
        Self { status, ..Self::ok(target, body) }
    }
}

#[derive(Debug)]
struct Script {
    routes: Vec<(Route, AtomicUsize)>,
    seen: Mutex<Vec<(String, String)>>,
}

/// Answers on a port of this host, mostly a free one, until dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    script: Arc<Script>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Daemon {
    pub(crate) fn start(routes: Vec<Route>) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), routes)
    }

    pub(crate) fn start_at(at: SocketAddr, routes: Vec<Route>) -> Self {
        let routes = routes.into_iter().map(|route| (route, AtomicUsize::new(0))).collect();
        let script = Arc::new(Script { routes, seen: Mutex::new(Vec::new()) });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let (sender, receiver) = mpsc::channel();
        let state = Arc::clone(&script);
        runtime.spawn(async move {
            let listener = TcpListener::bind(at).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, Router::new().fallback(answer).with_state(state)).await.unwrap();
        });
        let address = receiver.recv().unwrap();
        Self { address, script, runtime: Some(runtime) }
    }

    /// Runs the command line with these arguments, pointed here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        run_with(&format!("http://{}", self.address), arguments, "")
    }

    pub(crate) fn run_with_stdin(&self, arguments: &[&str], stdin: &str) -> Outcome {
        run_with(&format!("http://{}", self.address), arguments, stdin)
    }

    /// `METHOD /path` and body of each request so far.
    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        self.script.seen.lock().unwrap().clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(script): State<Arc<Script>>, request: Request) -> Response {
    let target = format!("{} {}", request.method(), request.uri().path());
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 22).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    script.seen.lock().unwrap().push((target.clone(), body));
    let Some((route, calls)) = script.routes.iter().find(|(route, _)| route.target == target)
    else {
        return (StatusCode::NOT_FOUND, "no such route").into_response();
    };
    tokio::time::sleep(route.delay).await;
    let index = calls.fetch_add(1, Ordering::Relaxed).min(route.bodies.len() - 1);
    let status = StatusCode::from_u16(route.status).unwrap();
    let headers = [("content-type", "application/json"), ("x-astromesh-node", "worker-1")];
    (status, headers, route.bodies[index].clone()).into_response()
}

/// What a run of the command line left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command line against `url`, with nothing else of our environment.
pub(crate) fn run_with(url: &str, arguments: &[&str], stdin: &str) -> Outcome {
    use std::io::Write as _;

    let mut child = command(url).args(arguments).spawn().unwrap();
    // A command that needs no stdin may be gone before it is written.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Outcome {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// The command line with all three streams piped, not yet started.
pub(crate) fn command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_astromeshctl"));
    command
        .env_clear()
        .env("ASTROMESH_DAEMON_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
