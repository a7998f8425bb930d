//! The agents of this node, from the files of its configuration directory.
//!
//! Owns what is listed, shown and run. A broken file is listed as a draft with its problems and
//! never keeps the others from loading. Does not change after loading: a reload makes a new one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::file::{self, AgentFile, Candidate, Program, Reading, Work};
use super::providers::Providers;
use super::records::Records;
use super::run::Agent;
use super::servers::ModelServer;
use super::source::{self, Findings, content_of};
use super::tools::Toolbox;
use super::types::{AgentStatus, AgentSummary, ProviderList, RunRequest, RunResponse};
use super::{Offer, UpstreamUrl};
use crate::config::Problem;
use crate::model::{
    Access, ChatModel, ModelError, anthropic::Anthropic, echo::Echo, mesh::Mesh, ollama::Ollama,
    openai::OpenAi,
};

/// The most agent files a node reads.
pub const FILES_MAX: usize = 1_000;

const FILE_ENDING: &str = ".agent.yaml";

/// Whether a file of this name holds an agent.
fn is_agent(name: &str) -> bool {
    name.ends_with(FILE_ENDING)
}

/// The agents of this node.
#[derive(Debug, Default)]
pub struct Registry {
    /// Sorted by name.
    entries: Vec<Entry>,
    providers: Providers,
}

/// In what two registries differ; each list of names is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// New agents.
    pub added: Vec<String>,
    /// Agents that are gone.
    pub removed: Vec<String>,
    /// Agents whose file, or a provider that it refers to, says something else.
    pub changed: Vec<String>,
    /// Whether the providers do.
    pub providers: bool,
}

#[derive(Debug)]
struct Entry {
    summary: AgentSummary,
    document: Option<Value>,
    /// Tells whether the file says something else than before.
    content: u64,
    /// Present exactly when the status is `deployed`.
    deployed: Option<Deployed>,
}

#[derive(Debug)]
struct Deployed {
    max_concurrent: u32,
    is_idempotent: bool,
    /// Names of the providers that it refers to.
    providers: Vec<String>,
    place: Place,
}

/// Who runs an agent.
#[derive(Debug)]
enum Place {
    Here(Box<Agent>),
    Upstream(Arc<UpstreamUrl>),
}

/// What an agent needs to serve a request.
#[derive(Debug)]
pub struct Needs<'a> {
    /// Its name.
    pub agent: &'a str,
    /// The models it asks, in this order.
    pub models: Vec<&'a dyn ChatModel>,
    /// The names of its tools.
    pub tools: Vec<&'a str>,
    /// The process of its own that serves it.
    pub upstream: Option<&'a UpstreamUrl>,
}

/// Why a run gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No agent of this name serves requests here. The caller's mistake, or a draft.
    #[error("no agent of this name serves requests on this node")]
    UnknownAgent,
    /// No model answered.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The agent's own file failed at run time, such as a prompt that exceeds its bounds.
    #[error("{0}")]
    Internal(String),
}

impl Registry {
    /// Reads `agents/*.agent.yaml` below this directory, and the `providers*.yaml` in it to which
    /// they may refer; a missing directory holds no agents. What is wrong is not logged here.
    ///
    /// Models are asked through `access`. Reads files synchronously: call it at start and on reload, not for a request.
    #[must_use]
    pub fn load(config_dir: &Path, access: &Access) -> (Self, Findings) {
        let mut findings = Findings::default();
        let mut entries: Vec<Entry> = Vec::new();
        let mut claimed: HashMap<String, String> = HashMap::new();
        let providers = Providers::load(config_dir, &mut findings);
        for path in source::files(&config_dir.join("agents"), is_agent, FILES_MAX, &mut findings) {
            let name = source::name(&path);
            let stem = name.strip_suffix(FILE_ENDING).unwrap_or(&name).to_owned();
            let shown = format!("agents/{name}");
            let text = source::text(&path);
            let mut reading = match &text {
                Ok(text) => file::read(&shown, text, &providers),
                Err(error) => Reading::unreadable(&shown, error),
            };
            if let Some(name) = &reading.name {
                match claimed.get(name) {
                    Some(first) => reading.claim_again(&shown, first),
                    None => drop(claimed.insert(name.clone(), shown.clone())),
                }
            }
            match &reading.agent {
                Ok(file) if file.unused.is_empty() => {}
                Ok(file) => findings.warnings.push(format!(
                    "{shown}: this version does not act on {}",
                    file.unused.join(", ")
                )),
                Err(problems) => findings.found(config_dir, problems),
            }
            let content = content_of(text.as_deref().unwrap_or_default());
            entries.push(Entry::new(reading, stem, content, access));
        }
        // Of two entries with one name, the one that serves requests comes first.
        entries.sort_by_cached_key(|entry| (entry.summary.name.clone(), entry.deployed.is_none()));
        (Self { entries, providers }, findings)
    }

    /// All that would be wrong with this text as the file of an agent, in a directory without
    /// providers.
    #[must_use]
    pub fn problems_of(text: &str) -> Vec<Problem> {
        file::read("new.agent.yaml", text, &Providers::default()).agent.err().unwrap_or_default()
    }

    /// Reads the providers alone, for a node that runs no agents but serves models.
    #[must_use]
    pub fn load_providers(config_dir: &Path) -> (Self, Findings) {
        let mut findings = Findings::default();
        let providers = Providers::load(config_dir, &mut findings);
        (Self { entries: Vec::new(), providers }, findings)
    }

    /// The model servers whose models this node may serve; the text says what is wrong with
    /// `OLLAMA_HOST`.
    #[must_use]
    pub fn model_servers(&self) -> (Vec<ModelServer>, Option<String>) {
        self.providers.servers()
    }

    /// Whether a file in `agents` has the name of one that holds an agent.
    #[must_use]
    pub fn is_agent_file(path: &Path) -> bool {
        is_agent(&source::name(path))
    }

    /// Whether a file of the directory has the name of one that holds providers.
    #[must_use]
    pub fn is_providers_file(path: &Path) -> bool {
        Providers::is_file(&source::name(path))
    }

    /// In what a newer registry differs from this one.
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Differences {
        let mut differences = Differences {
            providers: self.providers.content() != newer.providers.content(),
            ..Differences::default()
        };
        for entry in newer.entries_by_name() {
            let name = &entry.summary.name;
            match self.entry(name) {
                None => differences.added.push(name.clone()),
                Some(old) if self.content(old) != newer.content(entry) => {
                    differences.changed.push(name.clone());
                }
                Some(_) => {}
            }
        }
        let gone = self.entries_by_name().map(|entry| &entry.summary.name);
        differences.removed = gone.filter(|name| newer.entry(name).is_none()).cloned().collect();
        differences
    }

    /// All that an agent was made of: its file, and the providers that it refers to.
    fn content(&self, entry: &Entry) -> (u64, AgentStatus, Vec<Option<u64>>) {
        let names = entry.deployed.iter().flat_map(|deployed| &deployed.providers);
        let content = |name: &String| self.providers.get(name).map(|provider| provider.content);
        (entry.content, entry.summary.status, names.map(content).collect())
    }

    /// All agents, drafts included, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<AgentSummary> {
        self.entries.iter().map(|entry| entry.summary.clone()).collect()
    }

    /// The file of this agent as JSON, with `***` for secrets; drafts too, if they are YAML.
    #[must_use]
    pub fn document(&self, name: &str) -> Option<Value> {
        self.entry(name).and_then(|entry| entry.document.clone())
    }

    /// Whether [`Registry::document`] has one.
    #[must_use]
    pub fn has_document(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| entry.document.is_some())
    }

    /// The providers that agents of this node may refer to, and what is wrong with their files.
    #[must_use]
    pub fn providers(&self) -> ProviderList {
        self.providers.summaries(|provider| {
            let refers = |entry: &&Entry| {
                let deployed = entry.deployed.as_ref();
                deployed.is_some_and(|deployed| deployed.providers.iter().any(|to| to == provider))
            };
            self.entries.iter().filter(refers).map(|entry| entry.summary.name.clone()).collect()
        })
    }

    /// What is wrong with the providers files: for each broken one a text of a line a problem.
    #[must_use]
    pub fn provider_problems(&self) -> &[String] {
        self.providers.problems()
    }

    /// The names of the agents that serve requests, sorted.
    #[must_use]
    pub fn served_names(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| entry.deployed.is_some())
            .map(|entry| entry.summary.name.clone())
            .collect()
    }

    /// Whether an agent of this name serves requests here.
    #[must_use]
    pub fn serves(&self, name: &str) -> bool {
        self.deployed(name).is_some()
    }

    /// How requests for this agent are to be handled; `None` when it serves none here.
    #[must_use]
    pub fn offer(&self, name: &str) -> Option<Offer> {
        let deployed = self.deployed(name)?;
        Some(Offer {
            max_concurrent: deployed.max_concurrent,
            is_idempotent: deployed.is_idempotent,
            upstream: match &deployed.place {
                Place::Here(_) => None,
                Place::Upstream(url) => Some(Arc::clone(url)),
            },
        })
    }

    /// What each agent that serves requests needs, sorted by its name.
    pub fn needs(&self) -> impl Iterator<Item = Needs<'_>> {
        self.entries.iter().filter_map(|entry| {
            let (models, tools, upstream) = match &entry.deployed.as_ref()?.place {
                Place::Here(agent) => {
                    let models = agent.models.iter().map(AsRef::as_ref).collect();
                    let tools = agent.toolbox.specs().iter().map(|spec| spec.name.as_str());
                    (models, tools.collect(), None)
                }
                Place::Upstream(url) => (Vec::new(), Vec::new(), Some(url.as_ref())),
            };
            Some(Needs { agent: &entry.summary.name, models, tools, upstream })
        })
    }

    /// Runs an agent, and leaves a record of it. Dropping the future cancels the run and everything
    /// behind it.
    ///
    /// # Errors
    /// See [`RunError`]. Failing tools are no errors: the model is told of them. An agent with an
    /// upstream is not run by this node: whoever has its [`Offer`] relays the request, and asking
    /// for it here is [`RunError::Internal`].
    pub async fn run(
        &self,
        name: &str,
        request: RunRequest,
        records: &Records,
    ) -> Result<RunResponse, RunError> {
        match self.deployed(name).map(|deployed| &deployed.place) {
            Some(Place::Here(agent)) => agent.run(request, records).await,
            Some(Place::Upstream(url)) => Err(RunError::Internal(format!(
                "the agent is served by http://{}{}, and the request was not relayed there",
                url.authority,
                // A query may hold a secret.
                url.path.split('?').next().unwrap_or_default()
            ))),
            None => Err(RunError::UnknownAgent),
        }
    }

    /// One entry of each name: the one that serves requests, if there is such a one.
    fn entries_by_name(&self) -> impl Iterator<Item = &Entry> {
        self.entries.chunk_by(|a, b| a.summary.name == b.summary.name).filter_map(<[_]>::first)
    }

    /// The first entry of this name: the one that serves requests, if there is such a one.
    fn entry(&self, name: &str) -> Option<&Entry> {
        let index = self.entries.partition_point(|entry| entry.summary.name.as_str() < name);
        self.entries.get(index).filter(|entry| entry.summary.name == name)
    }

    fn deployed(&self, name: &str) -> Option<&Deployed> {
        self.entry(name)?.deployed.as_ref()
    }
}

impl Entry {
    fn new(reading: Reading, stem: String, content: u64, access: &Access) -> Self {
        let name = reading.name.unwrap_or(stem);
        let (status, error, deployed) = match reading.agent {
            Ok(file) => (AgentStatus::Deployed, None, Some(deploy(&name, file, access))),
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(file::one_line).collect();
                (AgentStatus::Draft, Some(lines.join("\n")), None)
            }
        };
        Self {
            summary: AgentSummary {
                name,
                version: reading.version,
                namespace: reading.namespace,
                status,
                error,
            },
            document: reading.document,
            content,
            deployed,
        }
    }
}

fn deploy(name: &str, file: AgentFile, access: &Access) -> Deployed {
    Deployed {
        max_concurrent: file.max_concurrent,
        is_idempotent: file.is_idempotent,
        providers: match &file.work {
            Work::Program(program) => program.providers.clone(),
            Work::Upstream(_) => Vec::new(),
        },
        place: match file.work {
            Work::Program(program) => Place::Here(Box::new(build(name, *program, access))),
            Work::Upstream(url) => Place::Upstream(Arc::new(url)),
        },
    }
}

fn build(name: &str, program: Program, access: &Access) -> Agent {
    let http = &access.client;
    let models = program
        .candidates
        .into_iter()
        .map(|candidate| -> Box<dyn ChatModel> {
            match candidate {
                Candidate::OpenAi(settings) => Box::new(OpenAi::new(http.clone(), settings)),
                Candidate::Anthropic(settings) => Box::new(Anthropic::new(http.clone(), settings)),
                Candidate::Ollama(settings) => Box::new(Ollama::new(http.clone(), settings)),
                Candidate::Mesh(settings) => Box::new(Mesh::new(access, settings)),
                Candidate::Echo { model, delay } => Box::new(Echo::new(model, delay)),
            }
        })
        .collect();
    Agent {
        name: name.to_owned(),
        models,
        prompt: program.prompt,
        max_iterations: program.max_iterations,
        toolbox: Toolbox::new(program.tools),
    }
}
