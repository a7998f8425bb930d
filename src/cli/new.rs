//! `new`: files to begin with.
//!
//! Owns the text of a new agent file. What it writes has been read as the daemon reads it; refuses to
//! write what a daemon would not run.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::Failure;
use super::files::{self, Existing, MODE_OPEN, NewFile};
use super::output::{Format, Output, Stream};
use crate::config::{Problem, yaml};
use crate::node::check;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Write an agent file
    Agent(AgentArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  astromeshctl new agent helper
  astromeshctl new agent clerk --provider openai --model gpt-4o --tools datetime_now,http_request
  astromeshctl new agent local --provider vllm --endpoint http://gpu-1:9000 --model org/m")]
pub(super) struct AgentArgs {
    /// What requests call it: letters, digits, dots, dashes, underscores
    name: String,

    /// Who answers for it
    #[arg(long, value_enum, default_value_t = Provider::Ollama)]
    provider: Provider,

    /// The provider's name of the model [default: one that the provider is known to have]
    #[arg(long)]
    model: Option<String>,

    /// Base URL of the provider's API; needed where it says so above
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// How it thinks
    #[arg(long, value_name = "PATTERN", default_value = "react")]
    orchestration: String,

    /// Built-in tools, with commas between them: `astromeshctl tools list` shows them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tools: Vec<String>,

    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// Directory for the file
    #[arg(long, value_name = "DIR", default_value = "./config/agents")]
    output_dir: PathBuf,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Where models are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Provider {
    /// Repeats the question; needs nothing
    Echo,
    /// OpenAI; the key in `OPENAI_API_KEY`
    Openai,
    /// Anthropic; the key in `ANTHROPIC_API_KEY`
    Anthropic,
    /// Ollama, where `OLLAMA_HOST` of the daemon says, else on its host
    Ollama,
    /// vLLM; needs --endpoint and --model
    Vllm,
    /// The server of llama.cpp; needs --endpoint and --model
    Llamacpp,
    /// Text Generation Inference; needs --endpoint and --model
    #[value(name = "hf_tgi")]
    HfTgi,
    /// Whichever node of the mesh serves the model; needs --model
    Mesh,
    /// Any server that speaks the OpenAI protocol; needs --endpoint, with /v1, and --model
    #[value(name = "openai_compat")]
    OpenaiCompat,
}

impl Provider {
    /// What an agent file calls it.
    const fn kind(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Mesh => "mesh",
            Self::OpenaiCompat => "openai_compat",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::Llamacpp => "llamacpp",
            Self::HfTgi => "hf_tgi",
        }
    }

    /// Whether only its user knows where it is.
    pub(super) const fn needs_endpoint(self) -> bool {
        matches!(self, Self::Vllm | Self::Llamacpp | Self::HfTgi | Self::OpenaiCompat)
    }

    /// Whether only its user knows which models it has.
    pub(super) const fn needs_model(self) -> bool {
        self.needs_endpoint() || matches!(self, Self::Mesh)
    }

    /// The model taken when none is named.
    pub(super) const fn model(self) -> Option<&'static str> {
        match self {
            Self::Openai => Some("gpt-4o-mini"),
            Self::Anthropic => Some("claude-haiku-5-5"),
            Self::Ollama => Some("llama3.1:8b"),
            Self::Echo
            | Self::Vllm
            | Self::Llamacpp
            | Self::HfTgi
            | Self::Mesh
            | Self::OpenaiCompat => None,
        }
    }

    /// The variable with the key, where one is needed.
    pub(super) const fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::Openai => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Echo
            | Self::Ollama
            | Self::Vllm
            | Self::Llamacpp
            | Self::HfTgi
            | Self::Mesh
            | Self::OpenaiCompat => None,
        }
    }
}

/// What is to be in an agent file.
#[derive(Debug)]
pub(super) struct Agent<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) provider: Provider,
    pub(super) model: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) orchestration: &'a str,
    pub(super) tools: &'a [String],
}

impl Agent<'_> {
    /// The text of the file, if a daemon would run what it says.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let lacks_endpoint = self.provider.needs_endpoint() && self.endpoint.is_none();
        if lacks_endpoint || (self.provider.needs_model() && self.model.is_none()) {
            let kind = self.provider.kind();
            let endpoint = if self.provider.needs_endpoint() { "--endpoint URL and " } else { "" };
            let message = format!("{kind} needs {endpoint}--model NAME");
            return Err(Failure::Usage { message });
        }
        let text = self.write();
        match check::agent(&text) {
            Ok(()) => Ok(text),
            Err(problems) => {
                // The remedies are for files that are there.
                let line = |problem: &Problem| {
                    Problem { remedy: String::new(), ..problem.clone() }.advice()
                };
                let lines: Vec<_> = problems.list().iter().map(line).collect();
                Err(Failure::Usage { message: lines.join("\n") })
            }
        }
    }

    /// What is wrong with an endpoint, as a daemon would say.
    pub(super) fn check_endpoint(provider: Provider, endpoint: &str) -> Result<(), String> {
        let agent = Agent {
            name: "a",
            description: "",
            provider,
            model: Some("m"),
            endpoint: Some(endpoint),
            orchestration: "react",
            tools: &[],
        };
        check::agent(&agent.write()).map_err(|problems| {
            let advice: Vec<_> =
                problems.list().iter().map(|problem| problem.what.as_str()).collect();
            advice.join("; ")
        })
    }

    fn write(&self) -> String {
        let mut text = format!(
            "# The name below, not that of the file, is the one in POST /v1/agents/NAME/run.\n\
             apiVersion: astromesh/v1\nkind: Agent\nmetadata:\n  name: {}\n  version: \"0.1.0\"\n\
             spec:\n",
            scalar(self.name)
        );
        if !self.description.is_empty() {
            let description = scalar(self.description);
            let _infallible = writeln!(text, "  identity:\n    description: {description}");
        }
        text.push_str("  model:\n    primary:\n");
        let settings = [
            ("provider", Some(self.provider.kind())),
            ("endpoint", self.endpoint),
            ("model", self.model.or_else(|| self.provider.model())),
        ];
        for (key, value) in settings {
            if let Some(value) = value {
                let _infallible = writeln!(text, "      {key}: {}", scalar(value));
            }
        }
        if let Some(variable) = self.provider.key_variable() {
            let _infallible = writeln!(
                text,
                "      api_key_env: {variable}   # the name of the variable; never the key itself"
            );
        }
        text.push_str(
            "  prompts:\n    # A Jinja template; its variables are the keys of `context` in the \
             request.\n    system: |\n      You are a helpful assistant. Answer briefly.\n",
        );
        let _infallible = writeln!(
            text,
            "  orchestration:\n    pattern: {}\n    max_iterations: 10            \
             # calls of the model in one run, at most",
            scalar(self.orchestration)
        );
        if !self.tools.is_empty() {
            text.push_str("  tools:\n");
        }
        for tool in self.tools {
            let _infallible = writeln!(text, "    - name: {}\n      type: builtin", scalar(tool));
        }
        text
    }
}

/// Text as YAML on one line.
pub(super) fn scalar(text: &str) -> String {
    let json = || Value::from(text).to_string();
    if text.contains(char::is_control) {
        return json();
    }
    yaml::write(&text).map_or_else(|_| json(), |yaml| yaml.trim_end().to_owned())
}

pub(super) fn run(output: &Output, command: &Command) -> Result<(), Failure> {
    let Command::Agent(args) = command;
    let agent = Agent {
        name: &args.name,
        description: &args.description,
        provider: args.provider,
        model: args.model.as_deref(),
        endpoint: args.endpoint.as_deref(),
        orchestration: &args.orchestration,
        tools: &args.tools,
    };
    // First, as the name becomes part of the path.
    let text = agent.text()?;
    let path = args.output_dir.join(format!("{}.agent.yaml", args.name));
    let file = NewFile { path, text, mode: MODE_OPEN };
    files::write(std::slice::from_ref(&file), Existing::from_force(args.force))?;
    let path = file.path.display();
    if output.format == Format::Json {
        return output.json(&json!({"written": [path.to_string()]}).to_string());
    }
    let key = args.provider.key_variable().map_or_else(String::new, |variable| {
        format!("\n  put the key into the variable {variable} of the daemon")
    });
    output.line(
        Stream::Stdout,
        &format!(
            "wrote {path}\n\nNext:{key}\n  restart or reload the daemon that reads {}\n  \
             astromeshctl run {} \"hello\"",
            args.output_dir.display(),
            args.name
        ),
    )
}
