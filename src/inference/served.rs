//! Which models this node serves now, and where: a table that is swapped as a whole.
//!
//! Owns the choice between two servers that have the same model: the first by name. Never holds more
//! than [`MODELS_MAX`] models.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::agent::{ModelServer, Offer};
use crate::directory::models;

/// The most models that a node serves.
pub const MODELS_MAX: usize = 256;

/// A model server, and the bell that has it asked at once.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub place: ModelServer,
    pub(super) doubted: Notify,
}

impl Server {
    pub(super) fn new(place: ModelServer) -> Self {
        Self { place, doubted: Notify::new() }
    }

    /// Somebody could not reach it: it is asked what it has before its time.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }
}

/// A model at a server.
#[derive(Debug, Clone)]
pub struct Model {
    /// The server that has it.
    pub server: Arc<Server>,
    /// What the server calls it.
    pub name: String,
}

/// The models that a node serves, by the names that they have in the mesh.
pub(super) type Table = BTreeMap<String, Model>;

/// The models that this node serves, as they are now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Served {
    receiver: watch::Receiver<Arc<Table>>,
}

impl Default for Served {
    /// None, for ever.
    fn default() -> Self {
        Self { receiver: watch::channel(Arc::default()).1 }
    }
}

impl Served {
    pub(super) fn new() -> (watch::Sender<Arc<Table>>, Self) {
        let (sender, receiver) = watch::channel(Arc::default());
        (sender, Self { receiver })
    }

    /// The model of this name, if this node serves it.
    #[must_use]
    pub fn get(&self, model: &str) -> Option<Model> {
        self.receiver.borrow().get(models::name(model)).cloned()
    }

    /// How requests for a model are handled, by its entry among the agents; `None` when this node does
    /// not serve it.
    #[must_use]
    pub fn offer(&self, entry: &str) -> Option<Offer> {
        let model = models::of_entry(entry)?;
        let is_served = self.receiver.borrow().contains_key(model);
        is_served.then(|| Offer { is_idempotent: true, ..Offer::default() })
    }

    /// Their names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.receiver.borrow().keys().cloned().collect()
    }

    /// Waits until there are other models than when this was called last, or this was made; for ever
    /// when there will be none.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
