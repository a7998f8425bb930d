//! JSON that users give on the command line: as it is, or in a file.

use std::fs::File;
use std::io::Read;

use serde_json::{Map, Value};

use super::failure::Failure;

/// The largest file read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A JSON object, given as text or as the name of a file; `what` names it in errors.
pub(super) fn object(given: &str, what: &str) -> Result<Map<String, Value>, Failure> {
    let read;
    let text = if given.trim_start().starts_with(['{', '[']) {
        given
    } else {
        read = file(given, what)?;
        &read
    };
    let usage = |problem: String| Failure::Usage {
        message: format!("the {what}: no JSON object: {problem}"),
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(usage("write {\"name\": value}".to_owned())),
        Err(error) => Err(usage(error.to_string())),
    }
}

fn file(path: &str, what: &str) -> Result<String, Failure> {
    let usage = |problem: &str| Failure::Usage {
        message: format!("the {what}: cannot read the file {path}: {problem}"),
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| usage(&error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(usage(&format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
