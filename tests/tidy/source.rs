//! Reads Rust source just well enough for the rules of `tidy.rs`: which files there are, what is
//! code in them, and which paths that code names.
//!
//! Refuses to understand types or macros; a path is what is written as one.

use std::path::{Path, PathBuf};

/// A file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// From the top of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every file below the top of the repository with this extension, in the order of paths.
pub(crate) fn files(extension: &str) -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(top, extension, &mut found);
    found.sort();
    let file = |path: PathBuf| File {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(top).unwrap().to_str().unwrap().replace('\\', "/"),
    };
    found.into_iter().map(file).collect()
}

fn collect(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
}

/// The text with comments and the insides of literals blanked; lines stay where they are.
pub(crate) fn code(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let blanked = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !in_word) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_char_literal(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if blanked == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(blanked);
            code.extend(gone.chars().map(|gone| if gone == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut index = 0;
    while index < text.len() {
        if text[index..].starts_with("/*") {
            depth += 1;
            index += 2;
        } else if text[index..].starts_with("*/") {
            depth -= 1;
            index += 2;
            if depth == 0 {
                return index;
            }
        } else {
            index += text[index..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of the raw string at the front, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let opened = ["br", "cr", "r"].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    let inside = opened[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |index| index + end.len());
    Some(text.len() - inside.len() + length)
}

/// Length of the literal at the front that ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = true;
    for (index, character) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' {
            is_escaped = true;
        } else if character == quote {
            return index + 1;
        }
    }
    text.len()
}

/// Whether the apostrophe at the front opens a character and not a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// A path such as `crate::config::yaml`, and the line on which it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// Every path in the code, `{…}` of imports written out. A single word is a path too.
pub(crate) fn paths(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut named = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        index = if is_word(&tokens[index].path) {
            path(&tokens, index, "", &mut named)
        } else {
            index + 1
        };
    }
    named
}

/// Words, `::`, and single characters.
fn tokens(code: &str) -> Vec<Named> {
    let mut tokens: Vec<Named> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest
                .find(|other: char| !other.is_alphanumeric() && other != '_')
                .unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                length => length,
            };
            tokens.push(Named { line: number + 1, path: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Reads the path that starts at `index`, below `prefix`; returns the index behind it.
fn path(tokens: &[Named], mut index: usize, prefix: &str, named: &mut Vec<Named>) -> usize {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.path.as_str());
    let line = tokens[index].line;
    let mut path = prefix.to_owned();
    loop {
        if text(index) == "{" {
            index += 1;
            while !matches!(text(index), "}" | "") {
                let is_part = is_word(text(index)) || text(index) == "*";
                let is_new = matches!(text(index - 1), "{" | ",");
                index = if is_part && is_new {
                    self::path(tokens, index, &path, named)
                } else {
                    index + 1
                };
            }
            return index + 1;
        }
        if text(index) != "self" || path.is_empty() {
            let joint = if path.is_empty() { "" } else { "::" };
            path = format!("{path}{joint}{}", text(index));
        }
        index += 1;
        let goes_on = text(index) == "::"
            && (is_word(text(index + 1)) || matches!(text(index + 1), "{" | "*"));
        if !goes_on {
            named.push(Named { line, path });
            return index;
        }
        index += 1;
    }
}
