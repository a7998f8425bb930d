//! The tool `datetime_now`: the present, in a time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{Finding, text};

pub(super) const DESCRIPTION: &str = "The current date and time, in UTC or in a given time zone.";

pub(super) fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "description": "IANA name such as Europe/Berlin; UTC if left out.",
            },
        },
    })
}

pub(super) fn call(arguments: &Map<String, Value>) -> Result<Finding, String> {
    at(Timestamp::now(), text(arguments, "timezone")?.unwrap_or("UTC"))
}

fn at(now: Timestamp, name: &str) -> Result<Finding, String> {
    let zone = TimeZone::get(name).map_err(|_| {
        format!("unknown time zone {name:?}; use an IANA name such as Europe/Berlin, or UTC")
    })?;
    let now = now.to_zoned(zone);
    Ok(Finding::of(json!({
        "datetime": now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "date": now.strftime("%Y-%m-%d").to_string(),
        "time": now.strftime("%H:%M:%S").to_string(),
        "weekday": now.strftime("%A").to_string(),
        "timezone": name,
        "timestamp": now.timestamp().as_second(),
    })))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::at;

    #[test]
    fn the_time_is_that_of_the_zone() {
        let noon = Timestamp::from_second(1_751_371_200).unwrap();
        let data = at(noon, "Asia/Tokyo").unwrap().data;
        assert_eq!(data["datetime"], "2025-07-01T21:00:00+09:00");
        assert_eq!(data["weekday"], "Tuesday");
        assert_eq!(data["timestamp"], 1_751_371_200);
    }

    #[test]
    fn an_unknown_zone_is_named_in_the_error() {
        let error = at(Timestamp::UNIX_EPOCH, "Mars/Base").unwrap_err();
        assert!(error.contains("Mars/Base"), "{error}");
    }
}
