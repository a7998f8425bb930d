//! Which models this node serves now, and where: a table that is swapped as a whole.
//!
//! Owns the choice between two servers that have the same model: the first by name. Never holds more
//! than [`MODELS_MAX`] models.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Its models by their names in the mesh, or why it does not say what it has.
    said: Mutex<Result<Vec<String>, String>>,
}

impl Server {
    pub(super) fn new(place: ModelServer) -> Self {
        let said = Mutex::new(Err("it was not asked yet".to_owned()));
        Self { place, doubted: Notify::new(), said }
    }

    /// It said this.
    pub(super) fn has_said(&self, said: Result<Vec<String>, String>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
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

/// What a server said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The name of the provider.
    pub provider: String,
    /// Where its API is.
    pub endpoint: String,
    /// Its models, or why it does not say what it has.
    pub said: Result<Vec<String>, String>,
}

/// What a node serves.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By the names that they have in the mesh.
    pub(super) models: BTreeMap<String, Model>,
    /// All servers, those included that do not answer.
    pub(super) servers: Vec<Arc<Server>>,
}

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
        self.receiver.borrow().models.get(models::name(model)).cloned()
    }

    /// How requests for a model are handled, by its entry among the agents; `None` when this node does
    /// not serve it.
    #[must_use]
    pub fn offer(&self, entry: &str) -> Option<Offer> {
        let model = models::of_entry(entry)?;
        let is_served = self.receiver.borrow().models.contains_key(model);
        is_served.then(|| Offer { is_idempotent: true, ..Offer::default() })
    }

    /// Their names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.receiver.borrow().models.keys().cloned().collect()
    }

    /// What each server said last.
    #[must_use]
    pub fn servers(&self) -> Vec<Said> {
        let table = Arc::clone(&self.receiver.borrow());
        let said = |server: &Arc<Server>| Said {
            provider: server.place.name.clone(),
            endpoint: server.place.shown(),
            said: server.said.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        table.servers.iter().map(said).collect()
    }

    /// Waits until there are other models than when this was called last, or this was made; for ever
    /// when there will be none.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
