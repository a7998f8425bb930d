//! Whether this node takes work.

use serde::Serialize;

use super::Doctor;

/// One thing that must be so before a node takes work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its name.
    pub name: &'static str,
    /// Why it is not so; `None` when it is.
    pub lacks: Option<String>,
}

impl Doctor {
    /// Everything that must be so before this node takes work. Cheap, and asks nobody.
    #[must_use]
    pub fn readiness(&self) -> Vec<Condition> {
        // Whoever asks has reached the listener.
        let http = Condition { name: "http", lacks: None };
        let is_draining = self.load.is_draining();
        // A node that stops leaves its mesh; that is no second reason.
        let mesh = if is_draining { None } else { self.mesh_lacks() };
        vec![
            http,
            Condition { name: "mesh", lacks: mesh },
            Condition {
                name: "draining",
                lacks: is_draining.then(|| {
                    "this node is stopping: it finishes what it has and takes nothing new"
                        .to_owned()
                }),
            },
        ]
    }

    fn mesh_lacks(&self) -> Option<String> {
        let mesh = self.mesh.as_ref()?;
        if mesh.directory().snapshot().local_has_left() {
            return Some("this node has left the mesh; restart it to join again".to_owned());
        }
        let joining = mesh.joining();
        if joining.is_settled() {
            return None;
        }
        let unasked = joining.seeds.iter().filter(|seed| seed.last.is_none()).count();
        Some(format!(
            "not joined yet: {unasked} of {} seeds are still to be asked",
            joining.seeds.len()
        ))
    }
}
