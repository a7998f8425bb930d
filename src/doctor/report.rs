//! What the doctor says: checks by name, each with its remedy.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `GET /v1/system/doctor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether every check is `ok`.
    pub healthy: bool,
    /// By name, in the order in which they are worth reading.
    pub checks: IndexMap<String, Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// How it went.
    pub status: Status,
    /// What was found, for people.
    pub message: String,
    /// Ours: what to do; there whenever the status is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Ours: what was found, for programs.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, but not as it should, or not for long.
    Degraded,
    /// It does not work.
    Error,
    /// Something that it needs is missing.
    Unavailable,
    /// Somebody does not answer.
    Unreachable,
}

impl Status {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Error => "error",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn ok(message: impl Into<String>) -> Self {
        Self { status: Status::Ok, message: message.into(), remedy: None, values: Map::new() }
    }

    /// Something is wrong, and this is what to do.
    #[must_use]
    pub fn bad(status: Status, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, remedy: Some(remedy.into()), ..Self::ok(message) }
    }

    /// The same with a value for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }
}

impl Report {
    /// A report of these checks. Of several with one name each later one gets a number.
    #[must_use]
    pub fn of(checks: Vec<(String, Check)>) -> Self {
        let healthy = checks.iter().all(|(_, check)| check.status == Status::Ok);
        let mut named = IndexMap::with_capacity(checks.len());
        for (name, check) in checks {
            let mut key = name.clone();
            let mut number = 2;
            while named.contains_key(&key) {
                key = format!("{name} ({number})");
                number += 1;
            }
            named.insert(key, check);
        }
        Self { healthy, checks: named }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_json_has_the_known_shape_and_keeps_checks_of_one_name_apart() {
        let bad = || Check::bad(Status::Unreachable, "no answer", "start it").with("port", 7);
        let report = Report::of(vec![
            ("runtime".to_owned(), Check::ok("runs")),
            ("member:a".to_owned(), bad()),
            ("member:a".to_owned(), bad()),
        ]);
        let json = serde_json::to_value(&report).unwrap();
        let second = json!({"status": "unreachable", "message": "no answer", "remedy": "start it", "port": 7});
        assert_eq!(
            json,
            json!({"healthy": false, "checks": {
                "runtime": {"status": "ok", "message": "runs"},
                "member:a": second, "member:a (2)": second,
            }})
        );
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}
