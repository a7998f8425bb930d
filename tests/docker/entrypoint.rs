//! What the image makes of its variables, and of files that are mounted.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::engine::{Container, attempt, client, docker, images, until};

const IMAGE: &str = "monaccode/astromesh:latest";

/// Runs the image to its end: exit code, and both streams.
fn run(arguments: &[&str]) -> (i32, String) {
    images();
    let output = attempt("docker", &[&["run", "--rm"], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_role_without_a_profile_is_refused_with_those_there_are() {
    let variables = ["-e", "ASTROMESH_ROLE=full", "-e", "ASTROMESH_MESH_ENABLED=true", IMAGE];
    let (code, said) = run(&variables);
    assert_eq!(code, 1, "{said}");
    let expected = "[entrypoint] ERROR: Profile not found: /etc/astromesh/profiles/mesh-full.yaml\n\
                    [entrypoint] Available profiles:\nfull.yaml\ngateway.yaml\ninference.yaml\n\
                    mesh-gateway.yaml\nmesh-inference.yaml\nmesh-worker.yaml\nworker.yaml\n";
    assert_eq!(said, expected);
}

#[test]
#[ignore = "needs a Docker engine"]
fn without_generation_there_has_to_be_a_file() {
    let (code, said) = run(&["-e", "ASTROMESH_AUTO_CONFIG=false", IMAGE]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.starts_with(
            "[entrypoint] ERROR: ASTROMESH_AUTO_CONFIG=false but no config found at \
             /etc/astromesh/runtime.yaml\n"
        ),
        "{said}"
    );
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn variables_end_up_in_the_file_and_the_port_moves_everything() {
    let container = Container::start(&[
        "-e",
        "ASTROMESH_ROLE=worker",
        "-e",
        "ASTROMESH_MESH_ENABLED=true",
        "-e",
        "ASTROMESH_NODE_NAME=here",
        "-e",
        "ASTROMESH_SEEDS=http://one:9000,http://two:9000/",
        "-e",
        "ASTROMESH_PORT=9000",
        IMAGE,
    ]);
    // Alone as long as no seed answers, it is not ready, but it lives and can be asked.
    until("the daemon answers on its port", async || {
        attempt("docker", &["exec", &container.0, "astromeshctl", "mesh", "status"])
            .status
            .success()
    })
    .await;
    assert!(
        container.logs().contains(
            "[entrypoint] Generated /etc/astromesh/runtime.yaml (role=worker, mesh=true)\n"
        ),
        "{}",
        container.logs()
    );
    let shown = container.exec(&["cat", "/etc/astromesh/runtime.yaml"]);
    for line in ["port: 9000", "node_name: here", "http://one:9000", "http://two:9000"] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    let nodes = container.exec(&["astromeshctl", "--json", "mesh", "nodes"]);
    assert!(nodes.contains(":9000\""), "gossip and HTTP moved together: {nodes}");
    assert_eq!(container.exec(&["id", "-un"]), "astromesh", "it is not root");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_node_is_healthy_and_stops_in_order() {
    let container = Container::start(&["-e", "ASTROMESH_PORT=8100", IMAGE]);
    until("the container is healthy", async || container.health() == "healthy").await;
    docker(&["stop", "-t", "40", &container.0]);
    assert_eq!(container.exit_code(), "0", "{}", container.logs());
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_mounted_file_is_used_and_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runtime.yaml");
    let text = "spec:\n  api: {port: 8200}\n  mesh: {enabled: true, node_name: mounted}\n";
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.display();
    for (mode, variable) in [("ro", "ASTROMESH_AUTO_CONFIG=false"), ("rw", "ASTROMESH_ROLE=worker")]
    {
        let mount = format!("{path}:/etc/astromesh/runtime.yaml:{mode}");
        let container = Container::start(&["-v", &mount, "-e", variable, IMAGE]);
        until("the node with the mounted file answers", async || {
            attempt("docker", &["exec", &container.0, "astromeshctl", "status"]).status.success()
        })
        .await;
        let logs = container.logs();
        assert!(
            logs.contains("[entrypoint] Using mounted config at /etc/astromesh/runtime.yaml"),
            "{logs}"
        );
        let status = container.exec(&["astromeshctl", "--json", "status"]);
        assert!(status.contains("\"mounted\""), "{status}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_published_port_serves_the_agents_of_the_image() {
    let container = Container::start(&["-p", "127.0.0.1::8000", IMAGE]);
    let published = docker(&["port", &container.0, "8000/tcp"]);
    let url = format!("http://{published}/v1/agents/echo/run");
    let body = serde_json::json!({"query": "hello"});
    until("an agent answers", async || {
        let answer = client().post(&url).json(&body).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}
