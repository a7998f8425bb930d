//! The built-in tools outside of any agent, for whoever wants to know what one does.
//!
//! Each has its default configuration, and with it the same limits as in an agent that sets none.

use serde_json::Value;

use super::{BUILTIN_NAMES, Builtin, HttpRequestSettings, Toolbox};
use crate::agent::file::ToolBlock;
use crate::agent::types::{ToolAnswer, ToolSchema};

/// Every built-in tool.
#[derive(Debug)]
pub struct BuiltinTools(Toolbox);

impl Default for BuiltinTools {
    fn default() -> Self {
        let block =
            |builtin| ToolBlock { builtin, description: None, parameters: None, rate_limit: None };
        let all = [
            Builtin::DatetimeNow,
            Builtin::JsonTransform,
            Builtin::HttpRequest(HttpRequestSettings::default()),
        ];
        assert_eq!(all.len(), BUILTIN_NAMES.len(), "every built-in tool can be tried");
        Self(Toolbox::new(all.map(block).into()))
    }
}

impl BuiltinTools {
    /// What a model is told of each.
    #[must_use]
    pub fn list(&self) -> Vec<ToolSchema> {
        let schema = |spec: &crate::model::ToolSpec| ToolSchema {
            name: spec.name.clone(),
            description: spec.description.clone(),
            parameters: spec.parameters.clone(),
        };
        self.0.specs().iter().map(schema).collect()
    }

    /// Calls one; `None` when there is none of this name. Wrong arguments and failures are told in
    /// the answer.
    pub async fn call(&self, name: &str, arguments: &Value) -> Option<ToolAnswer> {
        self.0.specs().iter().find(|spec| spec.name == name)?;
        let observation = self.0.call(name, arguments).await;
        Some(ToolAnswer {
            tool: name.to_owned(),
            result: observation.body,
            status: if observation.succeeded { "ok" } else { "failed" }.to_owned(),
        })
    }
}
