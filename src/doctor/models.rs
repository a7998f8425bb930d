//! The model servers whose models this node serves: what each said last.

use super::report::{Check, Status};
use crate::inference::Served;
use crate::inference::served::Said;

/// A row for each of them. They are asked all the time, so that nothing is asked here.
pub(super) fn checks(served: &Served) -> Vec<(String, Check)> {
    let row = |server: &Said| (format!("model_server:{}", server.provider), check(server));
    served.servers().iter().map(row).collect()
}

fn check(server: &Said) -> Check {
    let check = match &server.said {
        Ok(models) => Check::ok(format!("answers; models served: {}", models.len()))
            .with("models", models.clone()),
        Err(why) => Check::bad(
            Status::Unreachable,
            why.clone(),
            "start the model server, or mend endpoint and key of the provider; it is asked again \
             every 2 to 30 s, and served as soon as it answers",
        ),
    };
    check.with("endpoint", server.endpoint.as_str())
}
