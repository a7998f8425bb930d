//! Tests that help, examples and `docs/cli.md` keep up with the command line as it is.

use clap::{Command, CommandFactory};

use super::Cli;

const DOCUMENT: &str = include_str!("../../docs/cli.md");

/// Commands whose flags are told elsewhere.
const FLAGS_ELSEWHERE: [&str; 1] = ["daemon"];

/// Each command that does something, with the words that call it.
fn commands() -> Vec<(String, Command)> {
    let mut command = Cli::command();
    command.build();
    let mut found = Vec::new();
    collect(&command, "", &mut found);
    assert!(found.len() > 20, "the command line has commands");
    found
}

fn collect(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    for below in command.get_subcommands() {
        let words = format!("{words} {}", below.get_name()).trim_start().to_owned();
        if below.get_name() == "help" {
            continue;
        }
        if below.has_subcommands() {
            collect(below, &words, found);
        } else {
            found.push((words, below.clone()));
        }
    }
}

/// What stands under "Examples:" in the help of a command.
fn examples(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

/// The words of a line as a shell would cut them, up to a pipe, a redirection or a remark.
fn words(line: &str) -> Vec<String> {
    let line = line.split("  ").next().unwrap_or_default();
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut is_word = false;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.push(character),
            (None, '\'' | '"') => (quote, is_word) = (Some(character), true),
            (None, ' ') => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            (None, '|' | '>') => break,
            (None, _) => {
                word.push(character);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// Fails with all problems at once.
fn check(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn each_command_says_what_it_does_and_has_an_example() {
    let mut problems = Vec::new();
    for (name, command) in commands() {
        if command.get_about().is_none() {
            problems.push(format!("{name}: no help; write a doc comment"));
        }
        let call = format!("astromeshctl {name}");
        if !examples(&command).iter().any(|line| line.contains(&call)) {
            problems
                .push(format!("{name}: no example; write after_help = \"Examples:\\n  {call} …\""));
        }
    }
    check(&problems);
}

#[test]
fn examples_are_lines_that_can_be_typed() {
    let mut problems = Vec::new();
    let mut all = commands();
    all.push((String::new(), Cli::command()));
    let mut seen = 0;
    for (name, command) in all {
        for example in examples(&command) {
            // What is piped in, or another program, is not ours.
            let Some(start) = example.find("astromeshctl ") else { continue };
            if start > 0 && !example[..start].ends_with("| ") {
                continue;
            }
            seen += 1;
            let parsed = Cli::command().try_get_matches_from(words(&example[start..]));
            // `--version` ends the parsing too, and is fine.
            if let Some(error) = parsed.err().filter(|error| error.exit_code() != 0) {
                problems.push(format!("{name}: {example}: {error}"));
            }
        }
    }
    assert!(seen > 40, "only {seen} examples were found");
    check(&problems);
}

#[test]
fn the_document_names_each_command_and_each_flag() {
    let mut problems = Vec::new();
    for (name, command) in commands() {
        let is_named = DOCUMENT.contains(&format!("`{name}"))
            || DOCUMENT.contains(&format!("$ astromeshctl {name}"));
        if !is_named {
            problems.push(format!("docs/cli.md: name the command `{name}`"));
        }
        if FLAGS_ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let own = command.get_arguments().filter(|argument| !argument.is_hide_set());
        for flag in own.filter_map(clap::Arg::get_long) {
            let is_there = ["`", " ", "]", "|", "\n"]
                .iter()
                .any(|end| DOCUMENT.contains(&format!("`--{flag}{end}")));
            if !is_there {
                problems.push(format!("docs/cli.md: explain `--{flag}` of `{name}`"));
            }
        }
    }
    check(&problems);
}

#[test]
fn lines_are_cut_as_a_shell_does() {
    assert_eq!(words("a 'b c' \"\" d\"e\" | f"), ["a", "b c", "", "de"]);
    assert_eq!(words("a b > c"), ["a", "b"]);
    assert_eq!(words("a b  what it means"), ["a", "b"]);
}
