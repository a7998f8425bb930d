//! The answers for a new configuration: from flags, and for the rest from somebody at a terminal.
//!
//! Owns the questions, their defaults and the checks of answers, each at once. Refuses to go on for
//! ever with somebody who cannot answer.

use std::io::{BufRead, Write};

use clap::ValueEnum;
use serde_json::Value;

use super::{Answers, Args, Mesh, Role, setting};
use crate::cli::failure::Failure;
use crate::cli::new::{Agent, Provider};
use crate::config::{self, Problems};

/// How often a question is asked again.
const TRIES_MAX: usize = 10;

/// What the flags say, and defaults.
pub(super) fn from_flags(args: &Args) -> Result<Answers, Failure> {
    let answers = given(args)?;
    check_flags(args, answers.role, Some(answers.provider))?;
    Ok(answers)
}

/// Refuses flags that nothing would come of; `provider` is `None` while it is not known.
fn check_flags(args: &Args, role: Role, provider: Option<Provider>) -> Result<(), Failure> {
    let of_model = [("--model", args.model.is_some()), ("--endpoint", args.endpoint.is_some())];
    let is_echo = provider == Some(Provider::Echo);
    let mut flags = of_model.into_iter().chain([("--provider", args.provider.is_some())]);
    let message = if !role.has_agents() {
        flags.find(|(_, is_given)| *is_given).map(|(flag, _)| {
            format!("{flag} is for agents, which role {} has none of: leave it out", role.name())
        })
    } else {
        of_model.into_iter().find(|(_, is_given)| *is_given && is_echo).map(|(flag, _)| {
            format!("{flag} means nothing to echo: add --provider, such as openai_compat")
        })
    };
    message.map_or(Ok(()), |message| Err(Failure::Usage { message }))
}

fn given(args: &Args) -> Result<Answers, Failure> {
    let seeds =
        args.seeds.as_deref().map(seeds).transpose().map_err(|problems| usage(&problems))?;
    let name = args.name.as_deref().map(name).transpose().map_err(|problems| usage(&problems))?;
    let port = args.port.as_deref().map(port).transpose().map_err(|problems| usage(&problems))?;
    let is_meshed = args.mesh || seeds.is_some();
    if name.is_some() && !is_meshed {
        let message = "--name is the name in a mesh: add --mesh or --seeds".to_owned();
        return Err(Failure::Usage { message });
    }
    Ok(Answers {
        role: args.role.unwrap_or(Role::Full),
        mesh: is_meshed.then(|| Mesh { name, seeds: seeds.unwrap_or_default() }),
        port: port.unwrap_or(PORT),
        provider: args.provider.unwrap_or(Provider::Echo),
        model: args.model.clone(),
        endpoint: args.endpoint.clone(),
        env_file: args.env_file,
    })
}

/// Somebody who can be asked.
#[derive(Debug)]
pub(super) struct Asker<R, W> {
    answers: R,
    questions: W,
}

impl<R: BufRead, W: Write> Asker<R, W> {
    pub(super) const fn new(answers: R, questions: W) -> Self {
        Self { answers, questions }
    }

    /// Asks for what the flags do not say.
    pub(super) fn ask(&mut self, args: &Args) -> Result<Answers, Failure> {
        let given = given(args)?;
        let role = match args.role {
            Some(role) => role,
            None => self.choice("Role of this node", &Role::Full)?,
        };
        check_flags(args, role, args.provider)?;
        let mesh = match given.mesh {
            Some(mesh) => Some(mesh),
            None if self.yes("Part of a mesh?", role != Role::Full)? => {
                Some(Mesh { name: None, seeds: Vec::new() })
            }
            None => None,
        };
        let mesh = mesh.map(|mesh| self.mesh(args, mesh)).transpose()?;
        let port = match args.port {
            Some(_) => given.port,
            None => self.question("Port of HTTP and gossip", &PORT.to_string(), |text| {
                port(text).map_err(|problems| advice(&problems))
            })?,
        };
        let mut answers = Answers { role, mesh, port, ..given };
        if role.has_agents() {
            self.model(args, &mut answers)?;
        }
        Ok(answers)
    }

    fn mesh(&mut self, args: &Args, mesh: Mesh) -> Result<Mesh, Failure> {
        let seeds = match args.seeds {
            Some(_) => mesh.seeds,
            None => self.question(
                "URLs of nodes to join through, such as http://gateway:8000 (none: the first node)",
                "",
                |text| seeds(text).map_err(|problems| advice(&problems)),
            )?,
        };
        let name = match mesh.name {
            Some(name) => Some(name),
            None => {
                let host = config::defaults().mesh.node_name;
                let answer = self.question("Name of this node", &host, |text| {
                    name(text).map_err(|problems| advice(&problems))
                })?;
                // Left out, it follows the host.
                Some(answer).filter(|answer| *answer != host)
            }
        };
        Ok(Mesh { name, seeds })
    }

    fn model(&mut self, args: &Args, answers: &mut Answers) -> Result<(), Failure> {
        if args.provider.is_none() {
            answers.provider = self.choice("Provider of the model", &Provider::Echo)?;
        }
        check_flags(args, answers.role, Some(answers.provider))?;
        let needed = |text: &str| match text {
            "" => Err("it is needed for this provider".to_owned()),
            text => Ok(text.to_owned()),
        };
        if answers.provider.needs_endpoint() && args.endpoint.is_none() {
            let provider = answers.provider;
            let endpoint = self.question("Base URL of its API", "", |text| {
                let endpoint = needed(text)?;
                Agent::check_endpoint(provider, &endpoint)?;
                Ok(endpoint)
            })?;
            answers.endpoint = Some(endpoint);
        }
        if answers.provider.needs_model() && args.model.is_none() {
            answers.model = Some(self.question("Name of the model", "", needed)?);
        }
        if answers.provider.key_variable().is_some() && !args.env_file {
            answers.env_file = self.yes("Write a file .env for its key?", true)?;
        }
        Ok(())
    }

    fn choice<T: ValueEnum>(&mut self, question: &str, default: &T) -> Result<T, Failure> {
        let name = |value: &T| {
            value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let names: Vec<_> = T::value_variants().iter().map(name).collect();
        let question = format!("{question} ({})", names.join(", "));
        self.question(&question, &name(default), |text| {
            T::from_str(text, true).map_err(|_| format!("write one of {}", names.join(", ")))
        })
    }

    fn yes(&mut self, question: &str, default: bool) -> Result<bool, Failure> {
        self.question(question, if default { "yes" } else { "no" }, |text| {
            match text.to_ascii_lowercase().as_str() {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err("write yes or no".to_owned()),
            }
        })
    }

    /// Asks until the answer can be read; an empty one is the default.
    fn question<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        for _ in 0..TRIES_MAX {
            self.say(&format!("{question}{shown}: "))?;
            let mut line = String::new();
            match self.answers.read_line(&mut line) {
                // The end of the input, by Ctrl-D for one.
                Ok(0) => return Err(Failure::Interrupted),
                Ok(_) => {}
                Err(error) => {
                    let cause = error.to_string();
                    return Err(Failure::Local { doing: "read the answer", cause });
                }
            }
            let answer = line.trim();
            match read(if answer.is_empty() { default } else { answer }) {
                Ok(value) => return Ok(value),
                Err(advice) => self.say(&format!("  {advice}\n"))?,
            }
        }
        let message = format!("no answer to: {question}; flags say it too, see --help");
        Err(Failure::Usage { message })
    }

    fn say(&mut self, text: &str) -> Result<(), Failure> {
        let said = self.questions.write_all(text.as_bytes()).and_then(|()| self.questions.flush());
        said.map_err(|error| Failure::Local { doing: "ask", cause: error.to_string() })
    }
}

/// The port where none is named.
const PORT: u64 = 8_000;

fn port(text: &str) -> Result<u64, Problems> {
    let port = setting("--port", "spec.api.port", text)?;
    Ok(port.as_u64().unwrap_or(PORT))
}

fn name(text: &str) -> Result<String, Problems> {
    setting("--name", "spec.mesh.node_name", text).map(|name| text_of(&name))
}

fn seeds(text: &str) -> Result<Vec<String>, Problems> {
    let seeds = setting("--seeds", "spec.mesh.seeds", text)?;
    Ok(seeds.as_array().into_iter().flatten().map(text_of).collect())
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn usage(problems: &Problems) -> Failure {
    Failure::Usage { message: problems.to_string() }
}

fn advice(problems: &Problems) -> String {
    let advice: Vec<_> = problems.list().iter().map(config::Problem::advice).collect();
    advice.join("\n  ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        Flags::try_parse_from([&["init"], flags].concat()).unwrap().args
    }

    /// The answers, and what was shown.
    fn asked(flags: &[&str], lines: &str) -> (Result<Answers, Failure>, String) {
        let mut shown = Vec::new();
        let answers = Asker::new(lines.as_bytes(), &mut shown).ask(&args(flags));
        (answers, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn empty_answers_are_the_defaults() {
        let (answers, shown) = asked(&[], "\n\n\n\n");
        assert_eq!(answers.unwrap(), from_flags(&args(&[])).unwrap());
        assert_eq!(
            shown,
            "Role of this node (full, gateway, worker, inference) [full]: Part of a mesh? [no]: \
             Port of HTTP and gossip [8000]: Provider of the model (echo, openai, anthropic, \
             ollama, vllm, llamacpp, hf_tgi, mesh, openai_compat) [echo]: "
        );
    }

    #[test]
    fn a_wrong_answer_is_told_and_asked_again() {
        let lines =
            "boss\nworker\ny\ngateway:8000\nhttp://gateway:8000\nnode-1\n0\n9000\nopenai\n\n";
        let (answers, shown) = asked(&[], lines);
        assert_eq!(
            answers.unwrap(),
            Answers {
                role: Role::Worker,
                mesh: Some(Mesh {
                    name: Some("node-1".to_owned()),
                    seeds: vec!["http://gateway:8000".to_owned()]
                }),
                port: 9000,
                provider: Provider::Openai,
                model: None,
                endpoint: None,
                env_file: true,
            }
        );
        for advice in [
            "  write one of full, gateway, worker, inference\n",
            "; write http://gateway:8000\n",
            "spec.api.port: is out of range 1 to 65535 (got 0); ",
        ] {
            assert!(shown.contains(advice), "{advice:?} is missing in:\n{shown}");
        }
    }

    #[test]
    fn an_endpoint_is_checked_as_soon_as_it_is_written() {
        let lines = "\n\n\nvllm\n\ngpu:9000\nhttp://me:hush@gpu\nhttp://gpu:9000\nm\n";
        let (answers, shown) = asked(&[], lines);
        assert_eq!(answers.unwrap().endpoint.as_deref(), Some("http://gpu:9000"));
        for advice in ["  it is needed", "  must be a URL such as", "  must not hold a user"] {
            assert!(shown.contains(advice), "{advice:?} is missing in:\n{shown}");
        }
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn what_flags_say_is_not_asked() {
        let flags = ["--role", "gateway", "--seeds", "http://a:1", "--name", "g", "--port", "81"];
        let (answers, shown) = asked(&flags, "");
        assert_eq!(answers.unwrap(), from_flags(&args(&flags)).unwrap());
        assert_eq!(shown, "");
    }

    #[test]
    fn nobody_is_asked_for_ever() {
        let (answers, _) = asked(&[], &"boss\n".repeat(100));
        assert!(matches!(answers, Err(Failure::Usage { .. })), "{answers:?}");
        let (answers, _) = asked(&[], "worker\n");
        assert!(matches!(answers, Err(Failure::Interrupted)), "{answers:?}");
    }
}
