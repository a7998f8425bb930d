//! Which events are logged: a level for our code, others for some of its modules.
//!
//! Owns the translation to targets, the filter that `ASTROMESH_LOG` may put in its place, and the
//! change of all that while the process runs. Knows no module by name: whoever sets levels does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Registry, reload};

/// Stands for all code that is not ours.
pub const LIBRARIES: &str = "libraries";

/// The level of libraries unless told otherwise.
const LIBRARIES_LEVEL: Level = Level::WARN;

/// The least severe events that are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// Of our modules.
    pub level: Level,
    /// Of those modules that have one of their own, by name; [`LIBRARIES`] is all other code.
    pub modules: BTreeMap<String, Level>,
}

impl Levels {
    fn filter(&self) -> Targets {
        let libraries = self.modules.get(LIBRARIES).copied().unwrap_or(LIBRARIES_LEVEL);
        let ours = self.modules.iter().filter(|(module, _)| *module != LIBRARIES);
        let ours = ours.map(|(module, level)| (format!("astromesh::{module}"), *level));
        Targets::new()
            .with_default(libraries)
            .with_target("astromesh", self.level)
            .with_targets(ours)
    }
}

/// What is logged now.
#[derive(Debug)]
struct State {
    /// As configured.
    configured: Levels,
    /// As set since.
    levels: Levels,
    /// `ASTROMESH_LOG`, in the place of the levels until they are set.
    environment: Option<Targets>,
    filter: String,
}

/// Changes what is logged; clones change the same.
#[derive(Debug, Clone)]
pub(super) struct Switch {
    state: Arc<Mutex<State>>,
    handle: reload::Handle<Targets, Registry>,
}

impl Switch {
    /// The layer that leaves out what is not logged, and the switch.
    pub(super) fn new(
        configured: Levels,
        environment: Option<Targets>,
    ) -> (reload::Layer<Targets, Registry>, Self) {
        let targets = environment.clone().unwrap_or_else(|| configured.filter());
        let filter = targets.to_string();
        let (layer, handle) = reload::Layer::new(targets);
        let levels = configured.clone();
        let state = Arc::new(Mutex::new(State { configured, levels, environment, filter }));
        (layer, Self { state, handle })
    }

    /// The levels, and the filter they come to.
    pub(super) fn now(&self) -> (Levels, String) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.levels.clone(), state.filter.clone())
    }

    /// Changes the levels; from now on they count, and not `ASTROMESH_LOG`.
    pub(super) fn change(&self, change: impl FnOnce(&mut Levels)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.levels);
        let targets = state.levels.filter();
        self.apply(&mut state, targets);
    }

    /// Back to what is configured, or to `ASTROMESH_LOG`.
    pub(super) fn reset(&self, configured: Option<Levels>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(configured) = configured {
            state.configured = configured;
        }
        state.levels = state.configured.clone();
        let targets = state.environment.clone().unwrap_or_else(|| state.levels.filter());
        self.apply(&mut state, targets);
    }

    fn apply(&self, state: &mut State, targets: Targets) {
        state.filter = targets.to_string();
        // It fails when the subscriber is gone, and with it everything there was to filter.
        self.handle.reload(targets).unwrap_or(());
    }
}

/// A filter such as `info,astromesh::gossip=debug`.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Targets, String> {
    text.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
}
