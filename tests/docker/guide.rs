//! Types the commands of `docs/mesh-guide.md`, one after the other, as its reader would.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::engine::{images, root};

/// How long a reader would repeat a command that asks for what is still coming up.
const REPEATED_FOR: Duration = Duration::from_secs(60);

/// `docker compose` where Compose is a program of its own.
const COMPOSE: &str = "docker() { if [ \"$1\" = compose ] && ! command docker compose version \
                       >/dev/null 2>&1; then shift; docker-compose \"$@\"; else command docker \"$@\"; fi; }";

/// What stands after `$ ` in blocks of the console.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(|block| block.lines().filter_map(|line| line.strip_prefix("$ "))).collect()
}

#[test]
#[ignore = "needs a Docker engine"]
fn each_command_of_the_guide_works() {
    images();
    let page = std::fs::read_to_string(root().join("docs/mesh-guide.md")).unwrap();
    let commands = commands(&page);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let began = Instant::now();
        loop {
            let output = Command::new("bash")
                .args(["-c", &format!("{COMPOSE}; {command}")])
                .current_dir(root())
                .output()
                .unwrap();
            if output.status.success() {
                println!("$ {command}\n{}", String::from_utf8_lossy(&output.stdout));
                break;
            }
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(began.elapsed() < REPEATED_FOR, "$ {command}\n{complaint}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
