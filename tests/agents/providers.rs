//! What agents inherit from the providers that they refer to.

use astromesh::agent::types::{AgentStatus, ProviderSummary};
use astromesh::agent::{Differences, Registry};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Server, load, run, words};

/// A registry from these providers files and an agent `a` with these models, in flow style.
fn registry(files: &[(&str, &str)], model: &str) -> Registry {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let agents = directory.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    let text = format!("metadata: {{name: a}}\nspec:\n  model: {model}\n");
    std::fs::write(agents.join("a.agent.yaml"), text).unwrap();
    load(directory.path())
}

fn error_of(registry: &Registry) -> String {
    let summary = registry.list().remove(0);
    assert_eq!(summary.status, AgentStatus::Draft);
    summary.error.unwrap()
}

fn providers(registry: &Registry) -> Vec<ProviderSummary> {
    let list = registry.providers();
    assert_eq!(list.problems, Vec::<String>::new());
    list.providers
}

#[tokio::test]
async fn a_block_inherits_what_it_does_not_say_itself() {
    let server = Server::start(vec![words("hello")]).await;
    let file = format!(
        "kind: ProviderConfig\nspec:\n  providers:\n    p: {{type: openai_compat, \
         endpoint: \"http://{}/v1\", models: [first, second], api_key: from-file}}\n",
        server.address
    );
    let rows = [
        ("{primary: {providerRef: p}}", "first", "Bearer from-file"),
        ("{primary: {providerRef: p, model: own}}", "own", "Bearer from-file"),
        ("{default: {candidates: [{providerRef: p, api_key: k}]}}", "first", "Bearer k"),
        ("{extra: {x: {providerRef: p, source: openai}}}", "first", "Bearer from-file"),
    ];
    for (model, asked, key) in rows {
        let registry = registry(&[("providers.yaml", &file)], model);
        let answer = run(&registry, "q").await;
        assert_eq!(answer.answer, "hello", "{model}");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.body["model"], asked, "{model}");
        assert_eq!(seen.headers["authorization"], key, "{model}");
    }
}

#[tokio::test]
async fn servers_that_speak_the_openai_protocol_are_asked_below_v1() {
    let server = Server::start(vec![words("hello")]).await;
    for kind in ["vllm", "llamacpp", "hf_tgi"] {
        for path in ["", "/", "/v1", "/v1/"] {
            let file = format!(
                "spec: {{providers: {{p: {{type: {kind}, endpoint: \"http://{}{path}\", models: [org/m]}}}}}}",
                server.address
            );
            let registry = registry(&[("providers.yaml", &file)], "{primary: {providerRef: p}}");
            let answer = run(&registry, "q").await;
            assert_eq!(answer.usage.unwrap().by_model[0].provider, "openai_compat");
            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.path, "/v1/chat/completions", "{kind} {path}");
            assert_eq!(seen.body["model"], "org/m");
            assert_eq!(seen.headers.get("authorization"), None);
        }
    }
}

#[test]
fn a_server_that_is_nowhere_is_a_warning_and_a_problem_of_who_refers_to_it() {
    let file = "spec: {providers: {gpu: {type: vllm, models: [m]}, known: {type: echo}}}";
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("providers.yaml"), file).unwrap();
    let (_, findings) = Registry::load(directory.path(), &astromesh::model::Access::unused());
    let what = "missing; write http://HOST:PORT, where the model server listens";
    assert_eq!(findings.warnings, [format!("providers.yaml: gpu.endpoint: {what}")]);

    let files = [("providers.yaml", file)];
    assert!(registry(&files, "{primary: {providerRef: known}}").serves("a"));
    let error = error_of(&registry(&files, "{primary: {providerRef: gpu}}"));
    assert!(error.ends_with(&format!("primary.endpoint: {what}")), "{error}");
    let azure = error_of(&registry(&[], "{primary: {provider: azure_openai, model: m}}"));
    assert!(azure.contains("primary.endpoint: missing; write https://RESOURCE.openai"), "{azure}");
    let own = "{primary: {providerRef: gpu, endpoint: 'http://h:1'}}";
    assert!(registry(&files, own).serves("a"));
}

#[test]
fn an_own_key_variable_replaces_a_key_of_the_provider() {
    let file = "spec: {providers: {p: {endpoint: \"http://127.0.0.1:1/v1\", api_key: hush}}}";
    let model = "{primary: {providerRef: p, api_key_env: ASTROMESH_TEST_UNSET}}";
    let registry = registry(&[("providers.yaml", file)], model);
    let document = registry.document("a").unwrap();
    assert_eq!(document["spec"]["model"]["primary"].get("api_key"), None);
    assert!(registry.serves("a"));
    assert!(!format!("{registry:?}").contains("hush"));
}

#[test]
fn of_two_files_with_one_name_in_them_the_later_wins() {
    let first = "spec: {providers: {p: {type: echo, models: [one]}, q: {type: echo}}}";
    let second = "spec: {providers: {p: {type: echo, models: [two]}}}";
    let files = [("providers.yaml", first), ("providers.zz.yaml", second), ("provider.yaml", "[")];
    let registry = registry(&files, "{primary: {providerRef: p}, fallback: {providerRef: p}}");
    let providers = providers(&registry);
    let names: Vec<_> = providers.iter().map(|one| (one.name.as_str(), &*one.file)).collect();
    assert_eq!(names, [("p", "providers.zz.yaml"), ("q", "providers.yaml")]);
    assert_eq!(providers[0].models, ["two"]);
    assert_eq!((&providers[0].used_by, &providers[1].used_by), (&vec!["a".to_owned()], &vec![]));
}

#[test]
fn keys_are_told_by_their_variable_and_never_shown() {
    let file = "spec: {providers: {
        literal: {type: openai, endpoint: \"http://h/v1?key=hush\", api_key: hush},
        path: {endpoint: \"http://h/v1\", api_key_env: PATH},
        unset: {endpoint: \"http://h/v1\", api_key_env: ASTROMESH_TEST_UNSET},
        open: {endpoint: \"http://h/v1\"},
        plain: {endpoint: \"http://api.openai.com/v1\"},
        zanthropic: {type: anthropic},
        zopenai: {}}}";
    let registry = registry(&[("providers.yaml", file)], "{primary: {provider: echo}}");
    let list = serde_json::to_value(registry.providers()).unwrap();
    assert!(!list.to_string().contains("hush"), "{list}");
    let rows = list["providers"].as_array().unwrap().iter();
    let keys: Vec<_> = rows
        .map(|one| json!([one["name"], one["api_key_env"], one["api_key_set"].is_boolean()]))
        .collect();
    assert_eq!(
        keys,
        [
            json!(["literal", null, true]),
            json!(["open", null, false]),
            json!(["path", "PATH", true]),
            json!(["plain", null, false]),
            json!(["unset", "ASTROMESH_TEST_UNSET", true]),
            json!(["zanthropic", "ANTHROPIC_API_KEY", true]),
            json!(["zopenai", "OPENAI_API_KEY", true]),
        ]
    );
    assert_eq!(list["providers"][0]["api_key_set"], true);
    assert_eq!(list["providers"][2]["api_key_set"], true);
    assert_eq!(list["providers"][4]["api_key_set"], false);
}

#[test]
fn what_cannot_be_resolved_makes_the_agent_a_draft_that_says_why() {
    let file = "spec: {providers: {known: {type: echo}, old: {type: litellm}}}";
    let one = |model: &str| error_of(&registry(&[("providers.yaml", file)], model));
    let unknown = one("{primary: {providerRef: nobody}}");
    let expected = "agents/a.agent.yaml:3: spec.model.primary.providerRef: \"nobody\": no provider \
                    of this name in providers*.yaml (known: known, old)";
    assert_eq!(unknown, expected);
    let not_built = one("{primary: {providerRef: old}}");
    assert!(not_built.contains("its type \"litellm\" in providers.yaml: not built"), "{not_built}");
    assert!(not_built.contains("write type: openai_compat"), "{not_built}");
    assert!(one("{primary: {providerRef: [x]}}").contains("must be text"));
}

#[test]
fn a_broken_file_counts_as_missing_and_all_its_problems_are_told() {
    let broken = "\
kind: ProviderConfig
spec:
  providers:
    p:
      type: openay
      endpoint: localhost
      models: gpt
      api_key_env: ''
      key: x
    'a b': {}
    q:
  rooting: {}
";
    let good = "spec: {providers: {good: {type: echo}}}";
    let files = [("providers.yaml", broken), ("providers2.yaml", good)];
    let registry = registry(&files, "{primary: {providerRef: p}}");
    let error = error_of(&registry);
    assert!(error.contains("(known: good; a providers file is broken"), "{error}");
    let problems = registry.provider_problems().join("\n");
    let expected = [
        "providers.yaml:12: spec.rooting: unknown key",
        "providers.yaml:9: spec.providers.p.key: unknown key",
        "providers.yaml:6: spec.providers.p.endpoint: \"localhost\": must be a URL",
        "providers.yaml:8: spec.providers.p.api_key_env: ***: must be the NAME of a variable",
        "providers.yaml:5: spec.providers.p.type: \"openay\": must be one of openai_compat",
        "providers.yaml:7: spec.providers.p.models: \"gpt\": must be a list",
        "providers.yaml:10: spec.providers.a b: a name has",
        "providers.yaml:11: spec.providers.q: is empty",
    ];
    for part in expected {
        assert!(problems.contains(part), "{part}\n--- is not in ---\n{problems}");
    }
    assert_eq!(problems.lines().count(), expected.len(), "{problems}");
    let list = "spec: {providers: [{name: p, api_key: hush}]}";
    let problems = self::registry(&[("providers.yaml", list)], "{primary: {provider: echo}}")
        .provider_problems()
        .join("\n");
    assert!(problems.contains("\"api_key\":\"***\""), "{problems}");
    assert_eq!(registry.providers().providers.len(), 1);
}

#[test]
fn documented_keys_are_accepted_and_unreadable_files_named() {
    let whole = "apiVersion: astromesh/v1\nkind: ProviderConfig\nmetadata: {name: x}\nspec:\n  \
                 providers:\n    v: {type: vllm, endpoint: \"http://h\", models: [], \
                 health_check_interval: 30, endpoint_name: e, contract: c}\n  routing: \
                 {default_strategy: cost_optimized, fallback_enabled: true, circuit_breaker: {}}\n";
    let files = [("providers.a.yaml", whole), ("providers.b.yaml", "# nothing\n")];
    assert_eq!(providers(&registry(&files, "{primary: {provider: echo}}")).len(), 1);
    let unreadable = registry(&[("providers.c.yaml", "a: [1")], "{primary: {provider: echo}}");
    assert!(unreadable.provider_problems()[0].starts_with("providers.c.yaml:"));
    assert!(unreadable.serves("a"));
}

#[test]
fn an_agent_differs_when_its_provider_does_even_in_nothing_but_the_key() {
    let providers = |key: &str, other: &str| {
        format!(
            "kind: ProviderConfig\nspec:\n  providers:\n    p: {{type: openai_compat, endpoint: \
             \"http://127.0.0.1:1/v1\", models: [m], api_key: {key}}}\n    other: {{models: [{other}]}}\n"
        )
    };
    let with = |text: &str| registry(&[("providers.yaml", text)], "{primary: {providerRef: p}}");
    let old = with(&providers("one", "a"));
    let other = with(&providers("one", "b"));
    let keyed = with(&providers("two", "a"));

    let unused = old.differences(&other);
    assert!(unused.providers && unused.changed.is_empty(), "{unused:?}");
    let used = old.differences(&keyed);
    assert!(used.providers && used.changed == ["a"], "{used:?}");
    assert_eq!(old.differences(&with(&providers("one", "a"))), Differences::default());
}

#[test]
fn models_of_local_servers_are_served_and_of_others_that_speak_openai_if_the_file_says_so() {
    let file = "spec: {providers: {
        a: {type: ollama, endpoint: 'http://h:1/api', models: [m]},
        b: {type: vllm, endpoint: 'http://h:2'},
        c: {type: hf_tgi, endpoint: 'http://h:3/v1', serve: false},
        d: {endpoint: 'http://h:4/v1', api_key: hush},
        e: {endpoint: 'http://h:5/v1?token=hush', serve: true, api_key: hush},
        f: {type: anthropic}, g: {type: echo}, h: {type: mesh}}}";
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("providers.yaml"), file).unwrap();
    let (registry, findings) = Registry::load_providers(directory.path());
    assert_eq!(findings.problems, []);
    let (servers, _) = registry.model_servers();
    // The host of the tests may have an Ollama of its own.
    let servers = servers.iter().filter(|server| server.name != "OLLAMA_HOST");
    let told: Vec<_> = servers.map(|server| (server.name.as_str(), server.shown())).collect();
    let expected = [("a", "http://h:1/v1"), ("b", "http://h:2/v1"), ("e", "http://h:5/v1")];
    assert_eq!(told, expected.map(|(name, api)| (name, api.to_owned())));
    assert!(
        !format!("{registry:?}").contains("api_key")
            && !told.iter().any(|(_, api)| api.contains("hush"))
    );
}

#[test]
fn what_speaks_no_openai_cannot_be_served() {
    for (block, expected) in [
        ("type: anthropic, serve: true", "p.serve: true: only servers that speak the OpenAI"),
        ("type: mesh, serve: true", "p.serve: true: only servers that speak the OpenAI"),
        ("serve: perhaps", "p.serve: \"perhaps\": must be true or false"),
    ] {
        let file = format!("spec: {{providers: {{p: {{{block}}}}}}}");
        let registry = registry(&[("providers.yaml", &file)], "{primary: {provider: echo}}");
        let problems = registry.provider_problems().join("\n");
        assert!(problems.contains(expected), "{block}: {problems}");
    }
}

#[test]
fn a_model_of_the_mesh_has_a_name_and_no_place() {
    let provider = ("providers.yaml", "spec: {providers: {p: {type: mesh, models: [m]}}}");
    assert!(registry(&[provider], "{primary: {providerRef: p}}").serves("a"));
    for (block, expected) in [
        ("{provider: mesh}", "primary.model: missing"),
        ("{provider: mesh, model: m, endpoint: 'http://h:1'}", "primary.endpoint: has no meaning"),
        ("{provider: mesh, model: m, api_key_env: K}", "primary.api_key_env: has no meaning"),
        ("{provider: mesh, model: m, api_key: hush}", "primary.api_key: has no meaning"),
    ] {
        let error = error_of(&registry(&[], &format!("{{primary: {block}}}")));
        assert!(error.contains(expected) && !error.contains("hush"), "{block}: {error}");
    }
}
