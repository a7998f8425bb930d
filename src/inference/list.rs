//! What a model server says it has.
//!
//! Owns the bounds on that answer and the rule which of the models are served.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::served::MODELS_MAX;
use crate::agent::{ListProtocol, ModelServer};
use crate::directory::models;
use crate::model::{Cause, causes, ollama, openai};

/// Time for a server to list its models.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest list that is read, in bytes.
const LIST_BYTES_MAX: usize = 1024 * 1024;

/// What a server has: by the names in the mesh what it calls its models, and what is odd about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) models: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

/// Why a server did not say what it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct NoList {
    /// Nothing listens there: no answer to a second question is to be waited for.
    pub(super) is_gone: bool,
    what: String,
}

/// Asks a server for its models.
pub(super) async fn ask(http: &Client, server: &ModelServer) -> Result<Listed, NoList> {
    let said = |what: String| NoList { is_gone: false, what };
    let failed = |error: reqwest::Error| {
        if error.is_timeout() {
            return said(format!("no answer within {} s", LIST_TIMEOUT.as_secs()));
        }
        let causes = causes(&error);
        match causes.kind {
            Cause::Refused => NoList { is_gone: true, what: "nothing listens there".to_owned() },
            Cause::NameUnknown | Cause::Other => said(causes.text),
        }
    };
    let mut request = http.get(server.list_url()).timeout(LIST_TIMEOUT);
    if let Some(key) = server.key().map_err(said)? {
        request = request.bearer_auth(key);
    }
    let mut response = request.send().await.map_err(failed)?;
    match response.status() {
        status if status.is_success() => {}
        // It has no list: then the file's is all there is.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
            if !server.models.is_empty() =>
        {
            return Ok(choose(server.models.clone(), &[]));
        }
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(said(format!(
                "HTTP {}: check api_key_env of the provider",
                status.as_u16()
            )));
        }
        status => {
            return Err(said(format!(
                "HTTP {} to GET {}: check endpoint, or name its models as models",
                status.as_u16(),
                server.list_url().path()
            )));
        }
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > LIST_BYTES_MAX {
            return Err(said(format!("its list of models is longer than {LIST_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    let names = read(server.list, &bytes)
        .map_err(|error| said(format!("its list of models cannot be read: {error}")))?;
    Ok(choose(names, &server.models))
}

fn read(protocol: ListProtocol, bytes: &[u8]) -> serde_json::Result<Vec<String>> {
    match protocol {
        ListProtocol::Ollama => ollama::listed(bytes),
        ListProtocol::OpenAi => openai::listed(bytes),
    }
}

/// Whether the file lets a model be served: any, if it names none.
pub(super) fn is_wanted(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| models::name(wanted) == models::name(name))
}

/// Those of the names that are wanted, all if none is named, and that can be announced.
fn choose(names: Vec<String>, wanted: &[String]) -> Listed {
    let mut listed = Listed::default();
    let mut left_out = 0_usize;
    for name in names {
        let known_as = models::name(&name);
        if !is_wanted(&name, wanted) {
            continue;
        }
        if !models::is_name(known_as) {
            left_out += 1;
        } else if listed.models.len() < MODELS_MAX || listed.models.contains_key(known_as) {
            listed.models.insert(known_as.to_owned(), name);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        listed.warnings.push(format!(
            "{left_out} models are not served: a name has 1 to {} bytes, no control characters and is not \
             `..`; a node serves {MODELS_MAX}",
            models::NAME_BYTES_MAX
        ));
    }
    let has = |wanted: &&String| !listed.models.contains_key(models::name(wanted));
    let missing: Vec<&str> = wanted.iter().filter(has).map(String::as_str).collect();
    if !missing.is_empty() {
        listed.warnings.push(format!("it does not have {}", missing.join(", ")));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_file_limits_what_the_server_has_and_odd_names_are_left_out() {
        let long = "m".repeat(models::NAME_BYTES_MAX + 1);
        let all = ["llama3:latest", "qwen3:8b", &long];
        type Row<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], usize);
        let rows: [Row<'_>; 3] = [
            ("all", &[], &[("llama3", "llama3:latest"), ("qwen3:8b", "qwen3:8b")], 1),
            ("one", &["llama3"], &[("llama3", "llama3:latest")], 0),
            ("one that is not there", &["qwen3:8b", "phi4"], &[("qwen3:8b", "qwen3:8b")], 1),
        ];
        for (name, wanted, expected, warnings) in rows {
            let listed = choose(owned(&all), &owned(wanted));
            let models: Vec<_> =
                listed.models.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!(models, expected, "{name}");
            assert_eq!(listed.warnings.len(), warnings, "{name}: {:?}", listed.warnings);
        }
    }

    #[test]
    fn of_too_many_models_the_first_are_taken() {
        let many = (0..MODELS_MAX + 3).map(|number| format!("m{number}")).collect();
        let listed = choose(many, &[]);
        assert_eq!((listed.models.len(), listed.warnings.len()), (MODELS_MAX, 1));
    }

    #[test]
    fn both_kinds_of_lists_are_read() {
        let ollama = br#"{"models": [{"name": "a:1", "size": 7}]}"#;
        assert_eq!(read(ListProtocol::Ollama, ollama).unwrap(), ["a:1"]);
        let openai = br#"{"object": "list", "data": [{"id": "b", "object": "model"}]}"#;
        assert_eq!(read(ListProtocol::OpenAi, openai).unwrap(), ["b"]);
        assert!(read(ListProtocol::OpenAi, ollama).is_err());
    }
}
