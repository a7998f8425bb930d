//! The providers of this node, from the `providers*.yaml` of its configuration directory.
//!
//! Owns their merge: the files in the order of their names, the later of two providers with one name
//! wins. A file with a problem counts as if it were not there; its problems are kept and told.

use std::path::Path;

use super::file::{self, Provider};
use super::source;
use super::types::ProviderList;

/// The most provider files a node reads.
const FILES_MAX: usize = 32;

/// The providers of this node.
#[derive(Debug, Default)]
pub(super) struct Providers {
    /// Sorted by name, which is unique.
    list: Vec<Provider>,
    /// For each broken file all that is wrong with it, a line for each problem.
    problems: Vec<String>,
}

impl Providers {
    /// Reads the files of this directory.
    pub(super) fn load(config_dir: &Path) -> Self {
        let mut providers = Self::default();
        let is_ours = |name: &str| name.starts_with("providers") && name.ends_with(".yaml");
        for path in source::files(config_dir, is_ours, FILES_MAX) {
            let shown = source::name(&path);
            let read = source::text(&path).map_err(|error| format!("{shown}: {error}"));
            match read.and_then(|text| file::read_providers(&shown, &text)) {
                Ok(found) => providers.merge(found),
                Err(problems) => {
                    tracing::warn!(
                        file = %shown, error = %problems,
                        "providers file is broken; none of its providers is used",
                    );
                    providers.problems.push(problems);
                }
            }
        }
        providers
    }

    /// The provider of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Provider> {
        self.position(name).ok().and_then(|index| self.list.get(index))
    }

    /// Why a name is not found, and what to do.
    pub(super) fn why_not(&self) -> String {
        let known: Vec<&str> = self.list.iter().map(|provider| provider.name.as_str()).collect();
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        let broken = if self.problems.is_empty() {
            ""
        } else {
            "; a providers file is broken, `astromeshctl providers list` says how"
        };
        format!("no provider of this name in providers*.yaml ({known}{broken})")
    }

    /// All that is wrong with the files, each as one text of a line a problem.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// As they are listed; `used_by` names the agents that refer to one.
    pub(super) fn summaries(&self, used_by: impl Fn(&str) -> Vec<String>) -> ProviderList {
        ProviderList {
            providers: self
                .list
                .iter()
                .map(|provider| provider.summary(used_by(&provider.name)))
                .collect(),
            problems: self.problems.clone(),
        }
    }

    fn merge(&mut self, found: Vec<Provider>) {
        for provider in found {
            match self.position(&provider.name) {
                Ok(index) => {
                    let earlier = &mut self.list[index];
                    tracing::warn!(
                        provider = %provider.name, file = %provider.file, earlier = %earlier.file,
                        "two files have a provider of this name; the later file wins",
                    );
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
