//! Panics: a task that dies takes the process with it.
//!
//! No request makes the daemon panic, so the hook is tried in a process of its own: this test binary,
//! started again.

use std::collections::BTreeMap;
use std::process::Command;

use astromesh::telemetry::logging::levels::Levels;
use astromesh::telemetry::logging::{self, Format, Settings};
use astromesh::telemetry::panics;

use crate::daemon::outcome;

const VARIABLE: &str = "ASTROMESH_TEST_PANIC";

async fn fails() {
    tokio::task::yield_now().await;
    panic!("a task that fails");
}

/// The part that runs in the other process.
#[test]
fn in_another_process() {
    let Ok(case) = std::env::var(VARIABLE) else { return };
    let levels = Levels { level: tracing::Level::INFO, modules: BTreeMap::new() };
    let settings = Settings { format: Format::Text, levels, file: None };
    let logging = logging::start(settings).unwrap();
    panics::exit_on_panic(70, logging.log());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let task = fails();
        let joined = if case == "contained" {
            tokio::spawn(async { panics::contained(std::pin::pin!(task)).await.is_err() })
        } else {
            tokio::spawn(async {
                task.await;
                false
            })
        };
        assert!(joined.await.unwrap(), "the panic was contained");
    });
    std::process::exit(3);
}

#[test]
fn a_panic_in_a_task_ends_the_process_unless_it_is_contained() {
    for (case, expected) in [("task", 70), ("contained", 3)] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "panics::in_another_process", "--nocapture"]);
        let (code, errors) = outcome(command.env(VARIABLE, case));
        assert_eq!(code, Some(expected), "{case}: {errors}");
        let is_said = errors.contains("a task that fails (tests/daemon/panics.rs:")
            && errors.contains("internal error, the process ends");
        assert_eq!(is_said, case == "task", "{errors}");
    }
}
