//! Agent files, `agents/NAME.agent.yaml`, and the provider files that they refer to: from text to
//! what a run needs, or to everything that is wrong with the text.
//!
//! Owns the documented keys and their limits. Refuses undocumented keys, and parts that this
//! version does not run where leaving them out would change what the agent does (patterns, tools,
//! providers). Other documented parts are accepted and named in a warning. Driven by the registry.

mod kind;
mod model;
mod provider;
mod section;
mod tools;
mod upstream;

use serde_json::Value;

use super::prompt::Prompt;
use super::providers::Providers;
use super::{CONCURRENT_MAX, UpstreamUrl};
use crate::config::{Problem, secret, yaml};
use section::{Path, Problems, Section};

pub(in crate::agent) use section::{one_line, problem};

pub(in crate::agent) use kind::openai_url_of_ollama;
pub(in crate::agent) use model::Candidate;
pub(in crate::agent) use provider::{Provider, read as read_providers};
pub(in crate::agent) use tools::ToolBlock;

/// The largest agent file, in bytes.
pub(in crate::agent) const FILE_BYTES_MAX: usize = 256 * 1024;

/// The longest agent name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The most model calls one run may be given.
const ITERATIONS_MAX: u64 = 100;
const ITERATIONS_DEFAULT: u64 = 10;

/// The pattern that is built, and the others that are documented.
const PATTERN: &str = "react";
const PATTERNS_NOT_BUILT: &[&str] =
    &["plan_and_execute", "parallel_fan_out", "pipeline", "supervisor", "swarm", "glyph"];

/// Keys of `spec` that are accepted and have no effect yet.
const SPEC_KEYS_UNUSED: &[&str] = &[
    "memory",
    "guardrails",
    "channels",
    "knowledge",
    "permissions",
    "chain",
    "output_schema",
    "observability",
    "program",
];

/// A file that can be run.
#[derive(Debug)]
pub(in crate::agent) struct AgentFile {
    pub(in crate::agent) work: Work,
    /// 0 means no limit.
    pub(in crate::agent) max_concurrent: u32,
    pub(in crate::agent) is_idempotent: bool,
    /// Keys that the file has and this version does not act on.
    pub(in crate::agent) unused: Vec<String>,
}

/// Who does what the agent does.
#[derive(Debug)]
pub(in crate::agent) enum Work {
    /// This node.
    Program(Box<Program>),
    /// A process of its own.
    Upstream(UpstreamUrl),
}

/// What a run on this node needs.
#[derive(Debug)]
pub(in crate::agent) struct Program {
    /// To be tried in this order; never empty.
    pub(in crate::agent) candidates: Vec<Candidate>,
    pub(in crate::agent) prompt: Prompt,
    pub(in crate::agent) max_iterations: u64,
    /// Names of the providers that the candidates refer to.
    pub(in crate::agent) providers: Vec<String>,
    /// Names are unique.
    pub(in crate::agent) tools: Vec<ToolBlock>,
}

/// What could be read of a file, whether it can be run or not.
#[derive(Debug)]
pub(in crate::agent) struct Reading {
    /// `metadata.name`, if it is a name.
    pub(in crate::agent) name: Option<String>,
    /// Where that stands.
    name_line: Option<usize>,
    pub(in crate::agent) version: String,
    pub(in crate::agent) namespace: String,
    /// The whole document with its secrets blanked, if the text is YAML.
    pub(in crate::agent) document: Option<Value>,
    /// The agent, or all that is wrong, which is never empty. Files are named as they were given.
    pub(in crate::agent) agent: Result<AgentFile, Vec<Problem>>,
}

impl Reading {
    /// A file of which nothing can be read.
    pub(in crate::agent) fn unreadable(file: &str, why: impl Into<String>) -> Self {
        Self::broken(vec![problem(file, None, why)])
    }

    fn broken(problems: Vec<Problem>) -> Self {
        Self {
            name: None,
            name_line: None,
            version: "0.1.0".to_owned(),
            namespace: "default".to_owned(),
            document: None,
            agent: Err(problems),
        }
    }

    /// Another file has the same `metadata.name`.
    pub(in crate::agent) fn claim_again(&mut self, file: &str, first: &str) {
        let what = format!("is the name of {first} too; rename one");
        let value = self.name.as_ref().map(|name| format!("{name:?}"));
        let key = "metadata.name".to_owned();
        self.agent = Err(vec![Problem { key, value, ..problem(file, self.name_line, what) }]);
    }
}

/// Reads the text of an agent file; `file` is how messages name it.
pub(in crate::agent) fn read(file: &str, text: &str, providers: &Providers) -> Reading {
    let document = match document(file, text) {
        Ok(document) => document,
        Err(problems) => return Reading::broken(problems),
    };
    let mut problems = Problems::new(file, &document);
    let mut reading = Reading::unreadable(file, "holds no agent");
    let agent = Section::new(document.value(), Path::default(), &mut problems)
        .and_then(|top| read_document(&top, providers, &mut reading, &mut problems));
    let problems = problems.into_list();
    match agent {
        Some(agent) if problems.is_empty() => reading.agent = Ok(agent),
        Some(_) | None => {
            assert!(!problems.is_empty(), "a file without an agent has a problem");
            reading.agent = Err(problems);
        }
    }
    reading.name_line = Some(document.line("metadata.name"));
    reading.document = Some(secret::without_secrets(document.value().clone()));
    reading
}

/// The text as YAML; the error says where it is none.
fn document(file: &str, text: &str) -> Result<yaml::Document, Vec<Problem>> {
    yaml::Document::parse(text).map_err(|error| {
        let what = format!("not readable as YAML: {}", error.message);
        vec![problem(file, error.line, what)]
    })
}

fn read_document(
    top: &Section<'_>,
    providers: &Providers,
    reading: &mut Reading,
    problems: &mut Problems<'_>,
) -> Option<AgentFile> {
    top.only_keys(&["apiVersion", "kind", "metadata", "spec"], problems);
    top.choice("apiVersion", &["astromesh/v1"], problems);
    top.choice("kind", &["Agent"], problems);
    match top.section("metadata", problems) {
        Some(metadata) => read_metadata(&metadata, reading, problems),
        None if top.value("metadata").is_none() => {
            problems.add(&Path::default().key("metadata").key("name"), None, "missing");
        }
        None => {}
    }
    let Some(spec) = top.section("spec", problems) else {
        if top.value("spec").is_none() {
            problems.add(
                &Path::default().key("spec"),
                None,
                "missing; it needs at least model or upstream",
            );
        }
        return None;
    };
    read_spec(&spec, providers, problems)
}

fn read_metadata(metadata: &Section<'_>, reading: &mut Reading, problems: &mut Problems<'_>) {
    metadata.only_keys(&["name", "version", "namespace", "labels"], problems);
    match metadata.string("name", problems) {
        Some(name) if is_name(name) => reading.name = Some(name.to_owned()),
        Some(_) => {
            let remedy =
                format!("must be 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes, underscores");
            metadata.wrong("name", &remedy, problems);
        }
        None if metadata.value("name").is_none() => metadata.wrong("name", "missing", problems),
        None => {}
    }
    match metadata.value("version") {
        Some(Value::String(version)) => version.clone_into(&mut reading.version),
        // `version: 1.0` is a number in YAML; everybody means the text.
        Some(Value::Number(version)) => reading.version = version.to_string(),
        Some(_) => metadata.wrong("version", "must be text such as \"0.1.0\"", problems),
        None => {}
    }
    if let Some(namespace) = metadata.string("namespace", problems) {
        namespace.clone_into(&mut reading.namespace);
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn read_spec(
    spec: &Section<'_>,
    providers: &Providers,
    problems: &mut Problems<'_>,
) -> Option<AgentFile> {
    let mut known = vec![
        "identity",
        "model",
        "prompts",
        "orchestration",
        "tools",
        "upstream",
        "max_concurrent",
        "idempotent",
    ];
    known.extend(SPEC_KEYS_UNUSED);
    spec.only_keys(&known, problems);
    if let Some(identity) = spec.section("identity", problems) {
        identity.only_keys(&["display_name", "description", "avatar"], problems);
    }
    let max_concurrent =
        spec.integer("max_concurrent", (0, CONCURRENT_MAX.into()), problems).unwrap_or(0);
    let is_idempotent = spec.boolean("idempotent", problems).unwrap_or(false);
    let work = if spec.value("upstream").is_some() {
        upstream::read(spec, problems).map(Work::Upstream)
    } else {
        read_program(spec, providers, problems).map(|program| Work::Program(Box::new(program)))
    };
    let unused = SPEC_KEYS_UNUSED
        .iter()
        .filter(|key| spec.value(key).is_some())
        .map(|key| format!("spec.{key}"))
        .collect();
    Some(AgentFile {
        work: work?,
        max_concurrent: u32::try_from(max_concurrent).unwrap_or(CONCURRENT_MAX),
        is_idempotent,
        unused,
    })
}

fn read_program(
    spec: &Section<'_>,
    providers: &Providers,
    problems: &mut Problems<'_>,
) -> Option<Program> {
    let model::Models { candidates, providers } = model::read(spec, providers, problems);
    let prompt = read_prompt(spec, problems);
    let max_iterations = read_orchestration(spec, problems);
    let tools = tools::read(spec, problems);
    Some(Program { candidates, providers, prompt: prompt?, max_iterations, tools })
}

fn read_prompt(spec: &Section<'_>, problems: &mut Problems<'_>) -> Option<Prompt> {
    let Some(prompts) = spec.section("prompts", problems) else {
        return Some(Prompt::none());
    };
    prompts.only_keys(&["system", "templates"], problems);
    prompts.section("templates", problems);
    let Some(system) = prompts.string("system", problems) else {
        return Some(Prompt::none());
    };
    Prompt::new(system)
        .map_err(|error| {
            let remedy = format!("no valid template: {error}");
            problems.add(&prompts.path.key("system"), None, &remedy);
        })
        .ok()
}

fn read_orchestration(spec: &Section<'_>, problems: &mut Problems<'_>) -> u64 {
    let Some(orchestration) = spec.section("orchestration", problems) else {
        return ITERATIONS_DEFAULT;
    };
    orchestration.only_keys(
        &[
            "pattern",
            "max_iterations",
            "role_map",
            "narrate",
            "max_repairs",
            "timeout",
            "timeout_seconds",
        ],
        problems,
    );
    match orchestration.string("pattern", problems) {
        Some(PATTERN) | None => {}
        Some(pattern) if PATTERNS_NOT_BUILT.contains(&pattern) => {
            let remedy = format!("not built in this version, which runs {PATTERN}");
            orchestration.wrong("pattern", &remedy, problems);
        }
        Some(_) => {
            let remedy = format!("unknown pattern; this version runs {PATTERN}");
            orchestration.wrong("pattern", &remedy, problems);
        }
    }
    orchestration
        .integer("max_iterations", (1, ITERATIONS_MAX), problems)
        .unwrap_or(ITERATIONS_DEFAULT)
}
