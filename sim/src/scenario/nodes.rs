//! Which nodes a line of a scenario file means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Some nodes of a mesh.
#[derive(Debug, Clone, PartialEq)]
pub enum Nodes {
    /// These: `3` or `[1, 2]`.
    These(Vec<usize>),
    /// From one to another, both included: `0-4`.
    Range(usize, usize),
    /// `all` of those that the file starts with.
    All,
    /// So many, drawn anew for each seed: `3 random`.
    Random(usize),
    /// This share, drawn anew for each seed: `30 %`.
    Share(f64),
    /// The nodes of a group.
    Group(String),
}

impl Nodes {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        if text == "all" {
            return Self::All;
        }
        if let Some(share) = text.strip_suffix('%').and_then(|share| share.trim().parse().ok()) {
            return Self::Share(share);
        }
        if let Some(count) = text.strip_suffix("random").and_then(number) {
            return Self::Random(count);
        }
        if let Some((first, last)) = text.split_once('-')
            && let (Some(first), Some(last)) = (number(first), number(last))
        {
            return Self::Range(first, last);
        }
        Self::Group(text.to_owned())
    }

    /// What is wrong with it in a mesh of so many nodes, some of which may join later.
    pub(super) fn problem(&self, nodes: usize, groups: &BTreeMap<String, Self>) -> Option<String> {
        let highest = match self {
            Self::These(these) => these.iter().max().copied(),
            Self::Range(first, last) if first > last => {
                return Some(format!("{first}-{last} runs backwards"));
            }
            Self::Range(_, last) => Some(*last),
            Self::All => None,
            Self::Random(count) => count.checked_sub(1),
            Self::Share(share) => {
                let is_share = (0.0..=100.0).contains(share);
                return (!is_share).then(|| format!("{share} % is no share"));
            }
            Self::Group(name) => {
                let is_known = groups.contains_key(name);
                return (!is_known).then(|| format!("there is no group `{name}`"));
            }
        };
        let is_beyond = highest.is_some_and(|highest| highest >= nodes);
        is_beyond.then(|| format!("`{self}`: there are only {nodes} nodes"))
    }
}

/// The groups of a scenario file, drawn for one seed.
#[derive(Debug)]
pub(super) struct Drawn {
    nodes: usize,
    groups: BTreeMap<String, Vec<usize>>,
}

impl Drawn {
    /// Draws the groups in the order of their names; what is drawn for one is in no other.
    pub(super) fn new(
        nodes: usize,
        groups: &BTreeMap<String, Nodes>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let mut drawn = Self { nodes, groups: BTreeMap::new() };
        for (name, wanted) in groups {
            let taken: BTreeSet<usize> = drawn.groups.values().flatten().copied().collect();
            let members = drawn.pick(wanted, &taken, rng);
            drawn.groups.insert(name.clone(), members);
        }
        drawn
    }

    /// The nodes that are meant.
    pub(super) fn of(&self, wanted: &Nodes, rng: &mut fastrand::Rng) -> Vec<usize> {
        self.pick(wanted, &BTreeSet::new(), rng)
    }

    fn pick(&self, wanted: &Nodes, taken: &BTreeSet<usize>, rng: &mut fastrand::Rng) -> Vec<usize> {
        let mut draw = |count: usize| {
            let free = (0..self.nodes).filter(|node| !taken.contains(node));
            let mut free: Vec<usize> = free.collect();
            rng.shuffle(&mut free);
            free.truncate(count);
            free.sort_unstable();
            free
        };
        match wanted {
            Nodes::These(these) => these.clone(),
            Nodes::Range(first, last) => (*first..=*last).collect(),
            Nodes::All => (0..self.nodes).collect(),
            Nodes::Random(count) => draw(*count),
            Nodes::Share(share) => draw((self.nodes as f64 * share / 100.0).round() as usize),
            Nodes::Group(name) => self.groups.get(name).cloned().unwrap_or_default(),
        }
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodesVisitor)
    }
}

struct NodesVisitor;

impl<'de> de::Visitor<'de> for NodesVisitor {
    type Value = Nodes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a node, a list of nodes, `0-4`, `all`, `3 random`, `30 %` or a group")
    }

    fn visit_u64<E: de::Error>(self, node: u64) -> Result<Nodes, E> {
        usize::try_from(node).map(|node| Nodes::These(vec![node])).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Nodes, E> {
        Ok(Nodes::parse(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Nodes, A::Error> {
        let mut these = Vec::new();
        while let Some(node) = list.next_element()? {
            these.push(node);
        }
        Ok(Nodes::These(these))
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::These(these) => write!(formatter, "{these:?}"),
            Self::Range(first, last) => write!(formatter, "{first}-{last}"),
            Self::All => formatter.write_str("all"),
            Self::Random(count) => write!(formatter, "{count} random"),
            Self::Share(share) => write!(formatter, "{share} %"),
            Self::Group(name) => formatter.write_str(name),
        }
    }
}

impl Serialize for Nodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::These(these) => these.serialize(serializer),
            Self::Range(..) | Self::All | Self::Random(_) | Self::Share(_) | Self::Group(_) => {
                serializer.collect_str(self)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_in_six_ways() {
        for (text, expected) in [
            ("all", Nodes::All),
            ("0-4", Nodes::Range(0, 4)),
            ("30 %", Nodes::Share(30.0)),
            ("2.5%", Nodes::Share(2.5)),
            ("3 random", Nodes::Random(3)),
            ("the-sick", Nodes::Group("the-sick".to_owned())),
        ] {
            assert_eq!(Nodes::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn groups_are_drawn_apart() {
        let groups = BTreeMap::from([
            ("a".to_owned(), Nodes::Random(4)),
            ("b".to_owned(), Nodes::Share(40.0)),
        ]);
        for seed in 0..50 {
            let drawn = Drawn::new(10, &groups, &mut fastrand::Rng::with_seed(seed));
            let all: BTreeSet<usize> = drawn.groups.values().flatten().copied().collect();
            assert_eq!(all.len(), 8, "{drawn:?}");
        }
    }
}
