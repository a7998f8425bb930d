//! Flags of the form `--name value`, each at most once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;

pub type Error = Box<dyn std::error::Error>;

#[derive(Debug)]
pub struct Arguments {
    given: BTreeMap<String, String>,
    rest: Vec<String>,
}

impl Arguments {
    pub fn new(words: impl Iterator<Item = String>) -> Self {
        let mut given = BTreeMap::new();
        let mut rest = Vec::new();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match (word.strip_prefix("--"), words.peek()) {
                (Some(name), Some(_)) => {
                    given.extend(words.next().map(|value| (name.to_owned(), value)));
                }
                _ => rest.push(word),
            }
        }
        Self { given, rest }
    }

    /// The value of a flag, which is then no longer left over.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    pub fn number<T: FromStr>(&mut self, name: &str, otherwise: T) -> Result<T, Error> {
        let Some(text) = self.take(name) else { return Ok(otherwise) };
        text.parse().map_err(|_| format!("--{name} {text} is no such number").into())
    }

    /// `--name HOST:PORT,HOST:PORT`, at least one.
    pub fn addresses(&mut self, name: &str) -> Result<Vec<SocketAddr>, Error> {
        let text = self.take(name).ok_or_else(|| format!("--{name} is missing"))?;
        let addresses = text.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
        addresses.map_err(|_| format!("--{name} {text} is no list of addresses").into())
    }

    /// Fails if something was given that nobody took.
    pub fn finish(self) -> Result<(), Error> {
        match self.given.keys().chain(&self.rest).next() {
            Some(name) => Err(format!("unknown: {name}").into()),
            None => Ok(()),
        }
    }
}
