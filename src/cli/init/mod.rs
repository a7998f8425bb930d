//! `init`: the configuration of a first node, from a few answers.
//!
//! Owns the questions and what follows from the answers. Refuses to write what a daemon would not
//! read, to replace files unless told to, and to take keys: those go where only the daemon reads them.

mod ask;
mod text;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::Failure;
use super::files::{self, Existing, MODE_OPEN, MODE_SECRET, NewFile};
use super::new::{Agent, Provider};
use super::output::{Format, Output, Stream};
use crate::config::{self, Problems};
use ask::Asker;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  astromeshctl init                                       asks
  astromeshctl init --role worker --seeds http://gateway:8000 --non-interactive
  astromeshctl init --role gateway --mesh --output-dir /etc/astromesh --non-interactive")]
pub(super) struct Args {
    /// What the node does
    #[arg(long, value_enum)]
    role: Option<Role>,

    /// Take part in a mesh
    #[arg(long)]
    mesh: bool,

    /// Base URLs of nodes to join through, with commas between them; implies --mesh
    #[arg(long, value_name = "URLS")]
    seeds: Option<String>,

    /// Name of the node in the mesh [default: the name of the host, found out at each start]
    #[arg(long)]
    name: Option<String>,

    /// Port of HTTP and gossip [default: 8000]
    #[arg(long)]
    port: Option<String>,

    /// Who answers for the sample agent; echo needs nothing [default: echo]
    #[arg(long, value_enum)]
    provider: Option<Provider>,

    /// The provider's name of the model
    #[arg(long)]
    model: Option<String>,

    /// Base URL of the provider's API; needed where it says so above
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Write a file `.env` for keys, readable by its owner alone
    #[arg(long)]
    env_file: bool,

    /// Ask nothing: what no flag says has its default
    #[arg(long)]
    non_interactive: bool,

    /// Directory for the files
    #[arg(long, value_name = "DIR", default_value = "./config")]
    output_dir: PathBuf,

    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Everything on one node
    Full,
    /// HTTP API and channels, no agents of its own
    Gateway,
    /// Runs agents with their tools and memory
    Worker,
    /// Serves models
    Inference,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Inference => "inference",
        }
    }

    /// Whether agents run there.
    const fn has_agents(self) -> bool {
        matches!(self, Self::Full | Self::Worker)
    }
}

/// What is known once all is asked.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    role: Role,
    /// Name and seeds; `None` without a mesh.
    mesh: Option<Mesh>,
    port: u64,
    provider: Provider,
    model: Option<String>,
    endpoint: Option<String>,
    env_file: bool,
}

impl Answers {
    /// The model of the sample agent, where some Ollama has to get it first.
    fn pulled_model(&self) -> Option<&str> {
        let is_pulled = matches!(self.provider, Provider::Ollama | Provider::Mesh);
        let model = self.model.as_deref().or_else(|| self.provider.model());
        model.filter(|_| is_pulled && self.role.has_agents())
    }

    /// Whether no other node has to reach this one.
    fn is_alone(&self) -> bool {
        self.role == Role::Full && self.mesh.is_none()
    }
}

/// The sample agent that asks a model.
const ASSISTANT: &str = "assistant";

#[derive(Debug, PartialEq, Eq)]
struct Mesh {
    name: Option<String>,
    seeds: Vec<String>,
}

pub(super) fn run(output: &Output, args: &Args) -> Result<(), Failure> {
    let is_asking =
        !args.non_interactive && io::stdin().is_terminal() && output.is_terminal(Stream::Stderr);
    let answers = if is_asking {
        Asker::new(io::stdin().lock(), io::stderr().lock()).ask(args)?
    } else {
        ask::from_flags(args)?
    };
    let files = new_files(&args.output_dir, &answers)?;
    // Keys that are filled in are never replaced, by no flag.
    let (kept, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.mode == MODE_SECRET && file.path.exists());
    files::write(&files, Existing::from_force(args.force))?;
    let paths = |files: &[NewFile]| -> Vec<_> {
        files.iter().map(|file| file.path.display().to_string()).collect()
    };
    let (written, kept) = (paths(&files), paths(&kept));
    if output.format == Format::Json {
        let directory = args.output_dir.display().to_string();
        let answer = json!({"directory": directory, "written": written, "kept": kept});
        return output.json(&answer.to_string());
    }
    let lines = |word: &str, paths: &[String]| -> String {
        paths.iter().map(|path| format!("{word} {path}\n")).collect()
    };
    let said = lines("wrote", &written) + &lines("kept", &kept);
    output.line(Stream::Stdout, &format!("{said}{}", next(&args.output_dir, &answers)))
}

/// The value of a key as a flag says it.
fn setting(flag: &'static str, path: &str, text: &str) -> Result<Value, Problems> {
    config::read_value(flag, path, text)
}

fn new_files(directory: &Path, answers: &Answers) -> Result<Vec<NewFile>, Failure> {
    let open =
        |name: &str, text: String| NewFile { path: directory.join(name), text, mode: MODE_OPEN };
    let mut files = vec![open(config::FILE_NAME, text::runtime(answers)?)];
    if answers.role.has_agents() {
        files.push(open("agents/echo.agent.yaml", text::ECHO_AGENT.to_owned()));
        if answers.provider != Provider::Echo {
            let agent = Agent {
                name: ASSISTANT,
                description: "Answers questions.",
                provider: answers.provider,
                model: answers.model.as_deref(),
                endpoint: answers.endpoint.as_deref(),
                orchestration: "react",
                tools: &["datetime_now".to_owned()],
            };
            files.push(open("agents/assistant.agent.yaml", agent.text()?));
        }
    }
    if answers.env_file {
        let path = directory.join(".env");
        files.push(NewFile { path, text: text::env_file(answers), mode: MODE_SECRET });
    }
    Ok(files)
}

/// What to do now.
fn next(directory: &Path, answers: &Answers) -> String {
    let directory = directory.display();
    let mut lines = Vec::new();
    match &answers.mesh {
        None if answers.role == Role::Full => {}
        None => lines.push(format!(
            "list the other nodes under spec.peers in {directory}/{}",
            config::FILE_NAME
        )),
        Some(mesh) if mesh.seeds.is_empty() => lines.push(format!(
            "other nodes join with: astromeshctl init --seeds http://THIS-HOST:{}",
            answers.port
        )),
        Some(_) => {}
    }
    if let Some(variable) = answers.provider.key_variable().filter(|_| answers.role.has_agents()) {
        lines.push(if answers.env_file {
            format!(
                "write the key into {directory}/.env, without the # before {variable}, and: \
                 set -a; . {directory}/.env; set +a"
            )
        } else {
            format!("export {variable}=…, the key of the model provider")
        });
    }
    if let Some(model) = answers.pulled_model() {
        let place = if answers.provider == Provider::Mesh { " on an inference node" } else { "" };
        lines.push(format!("ollama pull {model}{place}"));
    }
    if !answers.is_alone() {
        lines.push(
            "there is no authentication: start it in a network that you trust only".to_owned(),
        );
    }
    lines.push(format!("astromeshd --config {directory} --check"));
    lines.push(format!("astromeshd --config {directory}"));
    if answers.role.has_agents() {
        let url = match answers.port {
            8000 => String::new(),
            port => format!("--url http://localhost:{port} "),
        };
        let agent = if answers.provider == Provider::Echo { "echo" } else { ASSISTANT };
        lines.push(format!("astromeshctl {url}run {agent} \"hello\""));
    }
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("\nNext:{lines}")
}
