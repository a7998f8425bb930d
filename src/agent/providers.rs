//! The providers of this node, from the `providers*.yaml` of its configuration directory.
//!
//! Owns their merge: the files in the order of their names, the later of two providers with one name
//! wins. A file with a problem counts as if it were not there; its problems are kept and told.

use std::path::Path;

use super::file::{self, Provider};
use super::servers::{ListProtocol, ModelServer};
use super::source::{self, Findings};
use super::types::ProviderList;
use crate::model::{Key, ollama};

/// The most provider files a node reads.
const FILES_MAX: usize = 32;

/// The providers of this node.
#[derive(Debug, Default)]
pub(super) struct Providers {
    /// Sorted by name, which is unique.
    list: Vec<Provider>,
    /// For each broken file all that is wrong with it, a line for each problem.
    broken: Vec<String>,
}

impl Providers {
    /// Reads the files of this directory.
    pub(super) fn load(config_dir: &Path, findings: &mut Findings) -> Self {
        let mut providers = Self::default();
        for path in source::files(config_dir, Self::is_file, FILES_MAX, findings) {
            let shown = source::name(&path);
            let read =
                source::text(&path).map_err(|error| vec![file::problem(&shown, None, error)]);
            match read.and_then(|text| file::read_providers(&shown, &text)) {
                Ok(found) => {
                    findings.warnings.extend(found.iter().filter_map(Provider::oddity));
                    providers.merge(found, findings);
                }
                Err(problems) => {
                    let lines: Vec<String> = problems.iter().map(file::one_line).collect();
                    providers.broken.push(lines.join("\n"));
                    findings.found(config_dir, &problems);
                }
            }
        }
        providers
    }

    /// Whether a file of this name holds providers.
    pub(super) fn is_file(name: &str) -> bool {
        name.starts_with("providers") && name.ends_with(".yaml")
    }

    /// Tells whether these are others than before.
    pub(super) fn content(&self) -> Vec<(&str, u64)> {
        self.list.iter().map(|provider| (provider.name.as_str(), provider.content)).collect()
    }

    /// The provider of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Provider> {
        self.position(name).ok().and_then(|index| self.list.get(index))
    }

    /// Those whose models may be served, and the Ollama of the environment if no file speaks of it.
    /// The text says why that cannot be found.
    pub(super) fn servers(&self) -> (Vec<ModelServer>, Option<String>) {
        let mut servers: Vec<_> = self.list.iter().filter_map(Provider::server).collect();
        if std::env::var_os(ollama::HOST_VARIABLE).is_none_or(|host| host.is_empty()) {
            return (servers, None);
        }
        let api = match ollama::base_url() {
            Ok(url) => file::openai_url_of_ollama(url),
            Err(what) => return (servers, Some(what)),
        };
        if !self.list.iter().any(|provider| provider.decides_on(&api)) {
            servers.push(ModelServer {
                name: ollama::HOST_VARIABLE.to_owned(),
                list: ListProtocol::Ollama,
                api,
                key: Key::None,
                models: Vec::new(),
            });
        }
        (servers, None)
    }

    /// Why a name is not found, and what to do.
    pub(super) fn why_not(&self) -> String {
        let known: Vec<&str> = self.list.iter().map(|provider| provider.name.as_str()).collect();
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        let broken = if self.broken.is_empty() {
            ""
        } else {
            "; a providers file is broken, `astromeshctl providers list` says how"
        };
        format!("no provider of this name in providers*.yaml ({known}{broken})")
    }

    /// All that is wrong with the files, each as one text of a line a problem.
    pub(super) fn problems(&self) -> &[String] {
        &self.broken
    }

    /// As they are listed; `used_by` names the agents that refer to one.
    pub(super) fn summaries(&self, used_by: impl Fn(&str) -> Vec<String>) -> ProviderList {
        ProviderList {
            providers: self
                .list
                .iter()
                .map(|provider| provider.summary(used_by(&provider.name)))
                .collect(),
            problems: self.broken.clone(),
        }
    }

    fn merge(&mut self, found: Vec<Provider>, findings: &mut Findings) {
        for provider in found {
            match self.position(&provider.name) {
                Ok(index) => {
                    let earlier = &mut self.list[index];
                    findings.warnings.push(format!(
                        "{}: {} has a provider `{}` too; the later file wins",
                        provider.file, earlier.file, provider.name
                    ));
                    *earlier = provider;
                }
                Err(index) => self.list.insert(index, provider),
            }
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|provider| provider.name.as_str().cmp(name))
    }
}
