//! What is read from agent files, and what is said about broken ones.

use std::path::Path;

use astromesh::agent::Registry;
use astromesh::agent::types::{AgentStatus, AgentSummary};
use astromesh::config::Origin;
use serde_json::json;

use crate::support::{load, registry};

const ECHO: &str = "{model: {primary: {provider: echo}}}";

fn summary(registry: &Registry, name: &str) -> AgentSummary {
    registry.list().into_iter().find(|summary| summary.name == name).unwrap()
}

fn error_of(spec: &str) -> String {
    let registry = registry(&[("a", &format!("metadata: {{name: a}}\nspec:\n{spec}\n"))]);
    let summary = summary(&registry, "a");
    assert_eq!(summary.status, AgentStatus::Draft, "{spec}");
    summary.error.unwrap()
}

#[test]
fn every_shipped_sample_is_deployed() {
    let registry = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"));
    for summary in registry.list() {
        assert_eq!(summary.error, None, "{}", summary.name);
    }
    assert_eq!(registry.served_names(), ["assistant", "echo", "local", "researcher"]);
    let providers = registry.providers();
    assert_eq!((providers.problems, providers.providers.len()), (vec![], 3));
}

#[test]
fn a_missing_directory_holds_no_agents() {
    let directory = tempfile::TempDir::new().unwrap();
    assert_eq!(load(directory.path()).list(), []);
}

#[test]
fn names_that_begin_with_a_dot_are_passed_over() {
    let directory = tempfile::TempDir::new().unwrap();
    let agents = directory.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    // What an editor leaves while it has a file open: a link to nothing.
    std::os::unix::fs::symlink("somebody@host.1", agents.join(".#a.agent.yaml")).unwrap();
    std::fs::write(agents.join(".a.agent.yaml"), "}").unwrap();
    assert_eq!(load(directory.path()).list(), []);
}

#[test]
fn every_documented_key_is_accepted() {
    let text = r#"
apiVersion: astromesh/v1
kind: Agent
metadata: {name: full, version: 1.2, namespace: team, labels: {a: b}}
spec:
  identity: {display_name: F, description: d, avatar: x}
  model:
    routing: {strategy: quality_first, health_check_interval: 30}
    default: {candidates: [{source: openai, model: m, endpoint: "http://h/v1"}], strategy: round_robin}
    roles: {planner: {candidates: []}}
    primary: {provider: azure_openai, model: m, endpoint: "https://h/v1?api-version=1", api_key: k, parameters: {top_p: 1}, temperature: 0.1, max_tokens: 5, timeout: 3}
    fallback: {provider: echo, parameters: {delay_ms: 0}}
    extra: {more: {provider: echo}, local: {provider: ollama, parameters: {num_ctx: 8192}}, gpu: {provider: vllm, model: org/m, endpoint: "http://h:1"}}
  prompts: {system: "Hi {{ a }}", templates: {x: "y"}}
  orchestration: {pattern: react, max_iterations: 3, role_map: {}, narrate: true, max_repairs: 1, timeout: 3, timeout_seconds: 3}
  program: p
  tools:
    - {name: datetime_now, type: builtin, description: d, parameters: {timezone: {type: string}}, config: {}, permissions: [], rate_limit: {window_seconds: 60, max_calls: 10}, requires_approval: false}
    - {name: http_request, type: builtin, config: {allow_localhost: false, timeout_seconds: 1, max_response_bytes: 10}}
  memory: {conversational: {backend: redis}}
  knowledge: {pipeline: p}
  guardrails: {input: []}
  permissions: {allowed_actions: []}
  output_schema: {type: object}
  chain: {mode: sequential}
  channels: [{type: whatsapp, config: {access_token: secret-1}}]
  observability: {}
"#;
    let registry = registry(&[("x", text)]);
    let summary = summary(&registry, "full");
    assert_eq!(summary.error, None);
    assert_eq!((summary.version.as_str(), summary.namespace.as_str()), ("1.2", "team"));
    assert!(registry.serves("full"));
    let document = registry.document("full").unwrap();
    assert_eq!(document["spec"]["model"]["primary"]["api_key"], "***");
    assert_eq!(document["spec"]["model"]["primary"]["endpoint"], "https://h/v1?***");
    assert_eq!(document["spec"]["channels"][0]["config"]["access_token"], "***");
    assert_eq!(document["spec"]["prompts"]["system"], "Hi {{ a }}");
}

#[test]
fn all_problems_of_a_file_are_told_with_their_lines() {
    let text = "\
metadata:
  name: bad
  colour: red
spec:
  model:
    primary:
      provider: onnx
      timeout: soon
  orchestration:
    pattern: swarm
    max_iterations: 0
  tools:
    - name: sql_query
      type: builtin
    - name: search
      type: mcp_stdio
  prompts:
    system: '{% if %}'
";
    let registry =
        registry(&[("some", text), ("good", &format!("metadata: {{name: good}}\nspec: {ECHO}"))]);
    assert_eq!(registry.served_names(), ["good"]);
    let summary = summary(&registry, "bad");
    assert_eq!(summary.status, AgentStatus::Draft);
    assert!(!registry.serves("bad"));
    assert_eq!(registry.document("bad").unwrap()["metadata"]["colour"], "red");
    let error = summary.error.unwrap();
    let expected = [
        "agents/some.agent.yaml:3: metadata.colour: unknown key",
        "agents/some.agent.yaml:7: spec.model.primary.provider: \"onnx\": not built in this version; use a model server",
        "agents/some.agent.yaml:8: spec.model.primary.timeout: \"soon\": must be a number of seconds",
        "agents/some.agent.yaml:10: spec.orchestration.pattern: \"swarm\": not built in this version, which runs react",
        "agents/some.agent.yaml:11: spec.orchestration.max_iterations: 0: must be",
        "agents/some.agent.yaml:13: spec.tools[0].name: \"sql_query\"",
        "agents/some.agent.yaml:16: spec.tools[1].type: \"mcp_stdio\"",
        "agents/some.agent.yaml:18: spec.prompts.system: no valid template",
    ];
    for part in expected {
        assert!(error.contains(part), "{part}\n--- is not in ---\n{error}");
    }
    assert_eq!(error.lines().count(), 8, "{error}");
}

#[test]
fn each_mistake_is_named() {
    let rows = [
        ("no model", "  prompts: {}", "spec.model: no model"),
        ("empty model", "  model: {}", "spec.model: no model"),
        ("slash means litellm", "  model: {primary: {model: org/m}}", "litellm"),
        ("provider reference", "  model: {primary: {providerRef: x}}", "there are none"),
        ("endpoint", "  model: {primary: {endpoint: localhost}}", "must be a URL"),
        ("unknown provider", "  model: {primary: {provider: x}}", "this version has openai_compat"),
        ("no endpoint", "  model: {primary: {provider: vllm, model: m}}", "write http://HOST:PORT"),
        (
            "no model",
            "  model: {primary: {provider: llamacpp, endpoint: 'http://h:1'}}",
            "primary.model: missing; write the name",
        ),
        (
            "foreign parameter",
            "  model: {primary: {provider: ollama, parameters: {response_format: json}}}",
            "response_format: \"json\": is no parameter of this provider; write format",
        ),
        (
            "system",
            "  model: {primary: {provider: anthropic, parameters: {system: x}}}",
            "system: \"x\": is set by astromesh",
        ),
        (
            "options",
            "  model: {primary: {provider: ollama, parameters: {options: 1}}}",
            "options: 1: must be a mapping",
        ),
        (
            "name",
            "  model: {primary: {provider: mesh, model: \"..\"}}",
            "model: \"..\": no node can serve a model of this name",
        ),
        ("reserved", "  model: {primary: {parameters: {stream: true}}}", "is set by astromesh"),
        (
            "strategy",
            "  model: {primary: {provider: echo}, routing: {strategy: x}}",
            "must be one of cost_optimized",
        ),
        (
            "delay",
            "  model: {primary: {provider: echo, parameters: {delay_ms: 600001}}}",
            "delay_ms: 600001",
        ),
        (
            "tool twice",
            "  model: {primary: {provider: echo}}\n  tools: [{name: datetime_now, type: builtin}, {name: datetime_now, type: builtin}]",
            "spec.tools[1].name",
        ),
        (
            "tool type",
            "  model: {primary: {provider: echo}}\n  tools: [{name: datetime_now}]",
            "type: missing; write type: builtin",
        ),
        (
            "tool config",
            "  model: {primary: {provider: echo}}\n  tools: [{name: datetime_now, type: builtin, config: {a: 1}}]",
            "config.a",
        ),
        (
            "unknown key",
            "  model: {primary: {provider: echo}}\n  promts: {}",
            "spec.promts: unknown key",
        ),
        ("not a mapping", "  model: gpt", "must be a mapping"),
    ];
    for (name, spec, expected) in rows {
        let error = error_of(spec);
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn each_mistake_in_a_model_block_has_its_remedy() {
    let rows = [
        (
            "field of the request",
            "  model: {primary: {provider: ollama, num_ctx: 8192}}",
            "num_ctx: unknown key; if it is a field of the request, such as num_ctx or top_p, write it in parameters",
        ),
        ("empty name", "  model: {primary: {model: ''}}", "model: \"\": is empty"),
        ("empty key", "  model: {primary: {api_key: ' '}}", "api_key: ***: is empty"),
        ("variable", "  model: {primary: {api_key: '${KEY}'}}", "write api_key_env: NAME"),
        ("lines", "  model: {primary: {api_key: \"a\\nb\"}}", "api_key: ***: must be a key on one"),
    ];
    for (name, spec, expected) in rows {
        let error = error_of(spec);
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_secret_is_never_repeated() {
    let error =
        error_of("  model: {primary: {api_key: {x: hush}, endpoint: 'http://me:hush@h/v1'}}");
    assert!(error.contains("api_key: ***"), "{error}");
    assert!(!error.contains("hush"), "{error}");
    for spec in [
        "  model: {primary: [{api_key: hush}]}",
        "  model: {primary: {api_key: [hush], endpoint: 'http://me:hu/sh@h/v1'}}",
        "  model: [{secret: 4711, api_key: hush}]",
        "  model: {primary: {endpoint: 'ftp://h/v1?key=hush'}}",
        "  model: {primary: {endpoint: 'h/v1?key=hush'}}",
        "  model: {primary: {api_key_env: sk-hush}}",
        "  model: {primary: [{api_key_env: sk-hush}]}",
    ] {
        let error = error_of(spec);
        assert!(error.contains("***"), "{error}");
        let is_told = ["hush", "hu/sh", "4711"].iter().any(|secret| error.contains(secret));
        assert!(!is_told, "{error}");
    }
}

#[test]
fn unreadable_files_are_drafts_named_by_their_file() {
    let large = format!("# {}\n", "x".repeat(256 * 1024));
    let registry = registry(&[
        ("syntax", "metadata: {name: a\nspec"),
        ("list", "- a"),
        ("name", &format!("metadata: {{name: 'a b'}}\nspec: {ECHO}")),
        ("large", &large),
    ]);
    for name in ["syntax", "list", "name", "large"] {
        let summary = summary(&registry, name);
        assert_eq!(summary.status, AgentStatus::Draft);
        assert!(summary.error.unwrap().contains(&format!("agents/{name}.agent.yaml")));
    }
    assert_eq!(registry.list().len(), 4);
    assert_eq!(registry.document("syntax"), None);
}

#[test]
fn of_two_files_with_one_name_the_second_is_a_draft_that_names_the_first() {
    let text = format!("metadata: {{name: twin, version: '1'}}\nspec: {ECHO}");
    let registry = registry(&[("b", &text.replace("'1'", "'2'")), ("a", &text)]);
    let list = serde_json::to_value(registry.list()).unwrap();
    assert_eq!(
        list[0],
        json!({"name": "twin", "version": "1", "namespace": "default", "status": "deployed"})
    );
    assert_eq!(list[1]["version"], "2");
    assert!(list[1]["error"].as_str().unwrap().contains("agents/a.agent.yaml"), "{list}");
    assert_eq!(registry.served_names(), ["twin"]);
    assert_eq!(registry.document("twin").unwrap()["metadata"]["version"], "1");
}

#[test]
fn problems_name_file_line_key_and_value_and_oddities_are_warnings() {
    let directory = tempfile::TempDir::new().unwrap();
    let agents = directory.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    let write = |stem: &str, text: &str| {
        std::fs::write(agents.join(format!("{stem}.agent.yaml")), text).unwrap();
    };
    let model = "spec:\n  model: {primary: {provider: echo}}\n";
    write("a", &format!("metadata: {{name: same}}\n{model}  memory: {}\n", "{}"));
    write("b", &format!("metadata:\n  name: same\n{model}"));
    write("c", &format!("metadata: {{name: c}}\n{model}  max_concurrent: -1\n"));
    let (registry, findings) =
        Registry::load(directory.path(), &astromesh::model::Access::unused());

    let found = |problem: &astromesh::config::Problem| {
        let Origin::File { path, line } = &problem.origin else { panic!("{problem}") };
        let name = path.strip_prefix(&agents).unwrap().to_str().unwrap().to_owned();
        (name, *line, problem.key.clone(), problem.value.clone())
    };
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(
        findings.problems.iter().map(found).collect::<Vec<_>>(),
        [
            ("b.agent.yaml".to_owned(), Some(2), "metadata.name".to_owned(), value("\"same\"")),
            ("c.agent.yaml".to_owned(), Some(4), "spec.max_concurrent".to_owned(), value("-1")),
        ]
    );
    assert_eq!(
        findings.warnings,
        ["agents/a.agent.yaml: this version does not act on spec.memory"]
    );
    assert_eq!(registry.served_names(), ["same"]);
}

#[test]
fn registries_differ_by_what_their_files_say() {
    let text = |name: &str, more: &str| {
        format!(
            "metadata: {{name: {name}}}\nspec:\n  model: {{primary: {{provider: echo}}}}{more}\n"
        )
    };
    let old = registry(&[
        ("a", &text("a", "")),
        ("b", &text("b", "")),
        ("c", &text("c", "")),
        ("d", "broken: [\n"),
    ]);
    let new = registry(&[
        ("moved", &text("a", "")),
        ("b", &text("b", "\n  max_concurrent: 1")),
        ("d", &text("d", "")),
        ("e", &text("e", "")),
    ]);

    let differences = old.differences(&new);

    assert_eq!(differences.added, ["e"]);
    assert_eq!(differences.removed, ["c"]);
    assert_eq!(differences.changed, ["b", "d"]);
}
