//! Model servers: the providers of a node whose models it may serve to the mesh.
//!
//! Owns where such a server lists its models and takes chats. Asks nothing itself.

use reqwest::Url;

use crate::model::Key;

/// A model server that a provider stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelServer {
    /// The name of the provider.
    pub name: String,
    /// How it lists its models.
    pub list: ListProtocol,
    /// Base URL of its OpenAI-compatible API, usually ending in `/v1`.
    pub api: Url,
    /// The key that goes with each request.
    pub key: Key,
    /// The models that may be served, by the names that the server knows; all of them when empty.
    pub models: Vec<String>,
}

/// How a server lists its models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListProtocol {
    /// `GET /api/tags`, beside the OpenAI-compatible API.
    Ollama,
    /// `GET /models` of the OpenAI-compatible API.
    OpenAi,
}

impl ModelServer {
    /// Whether it is the same one under the same name, though the key, and which models may be served,
    /// may be others.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.list, &self.api) == (&other.name, other.list, &other.api)
    }

    /// The key, read anew each time.
    ///
    /// # Errors
    /// The variable that should hold it is not set.
    pub fn key(&self) -> Result<Option<String>, String> {
        self.key.value().map_err(|name| {
            format!(
                "the environment variable {name} is not set: set it in the daemon's environment, or name \
                 another one as api_key_env of the provider"
            )
        })
    }

    /// Where its models are listed.
    #[must_use]
    pub fn list_url(&self) -> Url {
        match self.list {
            ListProtocol::Ollama => below(&self.api, 1, &["api", "tags"]),
            ListProtocol::OpenAi => below(&self.api, 0, &["models"]),
        }
    }

    /// Where it takes chats.
    #[must_use]
    pub fn chat_url(&self) -> Url {
        below(&self.api, 0, &["chat", "completions"])
    }

    /// As it may be told: a query may hold a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut url = self.api.clone();
        url.set_query(None);
        url.to_string()
    }
}

/// The URL of a path below another, of which the last `up` segments are left out. A query stays.
fn below(api: &Url, up: usize, path: &[&str]) -> Url {
    let mut url = api.clone();
    // Fails only for URLs that cannot have a path; no file may name such a one.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
        for _ in 0..up {
            segments.pop();
        }
        segments.extend(path);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_chats_are_below_the_api() {
        let rows = [
            (ListProtocol::Ollama, "http://h:1/v1", "/api/tags", "/v1/chat/completions"),
            (ListProtocol::Ollama, "http://h:1/o/v1/", "/o/api/tags", "/o/v1/chat/completions"),
            (ListProtocol::OpenAi, "http://h:1/v1", "/v1/models", "/v1/chat/completions"),
            (ListProtocol::OpenAi, "http://h:1/v1?k=1", "/v1/models", "/v1/chat/completions"),
        ];
        for (list, api, listed_at, chats_at) in rows {
            let api = Url::parse(api).unwrap();
            let (name, key, models) = ("a".to_owned(), Key::None, Vec::new());
            let server = ModelServer { name, list, api, key, models };
            assert_eq!(server.list_url().path(), listed_at);
            assert_eq!(server.chat_url().path(), chats_at);
            assert!(!server.shown().contains('?'));
        }
    }
}
