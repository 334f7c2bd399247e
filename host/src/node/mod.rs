//! The life of a host process: builds the rooms in order, and stops them in reverse.

mod builder;
mod check;
mod introspection;
mod lock;

pub use builder::Builder;
pub use check::{Finding, check};
pub use lock::{Lock, LockError};

use crate::bus::{Bus, RegisterError};
use crate::config::{Config, ConfigError, OnConflict, TrustPolicy};
use crate::datasource::secret::{KeyError, Keyring};
use crate::datasource::store::{OpenError, SqliteStore, StoreError};
use crate::datasource::{Datasources, Refusal};
use crate::event::producers::{Container, Producers};
use crate::event::{Archive, ArchiveError, Events, Monitor, RegisterTypeError, SessionLimits};
use crate::http::{Happenings, Server, ServerError};
use crate::plugin::{
    Catalog, ChildVetter, Control, Executor, FileState, Stage, StageError, TRUST_LIST, Trust, VetterError, Watch,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Graceful stop takes no longer.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Files that are still being copied are not waited for longer, where something depends on all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a node did not start. What was begun is undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration can't be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another host has the state directory, or it can't be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No copies of plugins can be made.
    #[error("staging plugins: {0}")]
    Stage(#[from] StageError),
    /// No plugin can be tried before it is loaded.
    #[error(transparent)]
    Vetter(#[from] VetterError),
    /// A port or socket can't be had.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The records of the datasources can't be read.
    #[error("the datasources' records: {0}")]
    Store(#[from] StoreError),
    /// They can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key that opens what is secret in them can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration's datasources can't be kept.
    #[error(transparent)]
    Datasource(#[from] Refusal),
    /// Two files claim one driver id, and the configuration says that this ends the start.
    #[error("BadConfig: there is a driver loaded already with the driver name of {driver}: {}", files.join(", "))]
    BadConfig {
        /// The driver's id.
        driver: String,
        /// The files that claim it.
        files: Vec<String>,
    },
    /// What happens can't be kept.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Two things of one name.
    #[error(transparent)]
    Name(#[from] RegisterError),
}

/// A running host.
#[derive(Debug)]
pub struct Node {
    bus: Bus,
    catalog: Arc<Catalog>,
    datasources: Datasources,
    events: Events,
    container: Container,
    producers: Producers,
    archive: Option<Arc<Archive>>,
    control: Control,
    file: Option<PathBuf>,
    server: Server,
    reloading: JoinHandle<()>,
    introspection: JoinHandle<()>,
    /// The last thing to go: the next host may start then.
    _lock: Lock,
}

/// What came of a configuration that was read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// How many datasources changed.
    pub datasources: usize,
    /// Types of events that were not taken: drivers have their names.
    pub types_refused: Vec<RegisterTypeError>,
}

impl Node {
    /// Starts a host: takes the state directory, opens the doors, loads what lies in the plugin directories, and begins
    /// to run the datasources. Returns when the plugins that were there are loaded or refused.
    ///
    /// Plugins are tried in child processes first, for which [`child_main_if_asked`](crate::child_main_if_asked) must have
    /// been called, or another program named in the configuration.
    ///
    /// # Errors
    ///
    /// What kept it from starting; nothing is left running.
    pub async fn start(config: &Config) -> Result<Self, NodeError> {
        Self::start_with(config, Some(config.socket())).await
    }

    /// A host within another program, to be described first. It listens nowhere unless told to.
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn start_with(config: &Config, socket: Option<PathBuf>) -> Result<Self, NodeError> {
        config.check()?;
        let state = config.state_dir();
        let lock = Lock::take(&state)?;
        let stage = Stage::new(state.join("staged"))?;
        let vetter = Arc::new(ChildVetter::new(&config.plugins.vet, &state.join("vet"))?);
        let server = Server::bind(config, socket)?;
        let bus = Bus::new(&config.node_name());
        let events = Events::new(config.events.settings(config.bus_id(), bus.node()));
        let archive = match config.events.durable {
            true => Some(Arc::new(Archive::start(&events, &state, config.events.durable_events)?)),
            false => None,
        };
        let container = Container::new(&events);
        config.events.bring(&events)?;
        let catalog = Arc::new(Catalog::new(&config.log.filter));
        let mut producers = Producers::start(&events, &bus, &catalog);
        let (store, keyring) = records(&state).await?;
        let emit = Some(producers.sources());
        let datasources = Datasources::start(&bus, &catalog, store, keyring, state.join("tables"), emit).await?;
        producers.follow(&datasources);
        datasources.follow_file(&config.datasource).await?;
        let tenants = datasources.clone();
        let executor = Executor::new(config.plugins.settings(), stage, &state, vetter, Arc::clone(&catalog), tenants);
        let mut executor = executor.trusting(trust(config)).writing_down(&state);
        let control = executor.control();
        let watch = Watch::new(config.plugins.scan_interval);
        let directories = config.plugins.directories.clone();
        // Watched before the first look: what changes in between rings.
        watch.follow(&directories).await;
        let mut first = executor.settle().await;
        if config.plugins.on_conflict == OnConflict::Fail {
            // Files that came a moment ago are looked at again before it is known what they are.
            let begun = Instant::now();
            while let Some(pause) = first.filter(|_| begun.elapsed() < PATIENCE) {
                tokio::time::sleep(pause).await;
                first = executor.settle().await;
            }
            if let Some(error) = conflict(&catalog) {
                server.stop().await;
                datasources.stop(STOP_LIMIT).await;
                return Err(error);
            }
        }
        container.ready(started(&catalog, &datasources));
        let reloading = tokio::spawn(executor.run(watch, first));
        let introspection = introspection::start(&bus, Arc::clone(&catalog), datasources.clone())?;
        let (bus_too, known) = (bus.clone(), Arc::clone(&catalog));
        let monitor = Monitor::new(&events, SessionLimits::default());
        monitor.keep_tidy();
        let happenings = Happenings { events: events.clone(), archive: archive.clone(), monitor };
        let server =
            server.serve(bus_too, known, datasources.clone(), happenings, control.clone(), config.file.clone());
        let file = config.file.clone();
        container.active();
        Ok(Self {
            bus,
            catalog,
            datasources,
            events,
            container,
            producers,
            archive,
            control,
            file,
            server,
            reloading,
            introspection,
            _lock: lock,
        })
    }

    /// The bus: to subscribe from within the process.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// What happens: to publish and to listen from within the process.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What became of the plugin files.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// To reload plugins, to go back, and to ask why.
    #[must_use]
    pub fn plugins(&self) -> &Control {
        &self.control
    }

    /// Reads the configuration file again and follows its datasources and its types of events. `None`: it was started without
    /// a file. What the file says of anything else holds from the next start on. A type of events whose name a driver has
    /// is left out, and said; it keeps nothing else from being followed.
    ///
    /// # Errors
    ///
    /// When the file is wrong, or its datasources can't be kept; nothing is changed then.
    pub async fn reload_configuration(&self) -> Result<Option<Followed>, NodeError> {
        let Some(file) = self.file.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let config = Config::read(&file)?;
            config.check()?;
            Ok::<_, ConfigError>(config)
        });
        let config = read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let types_refused = config.events.bring(&self.events)?;
        let datasources = self.datasources.follow_file(&config.datasource).await?.len();
        Ok(Some(Followed { datasources, types_refused }))
    }

    /// The TCP address that is listened on.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.server.tcp()
    }

    /// The unix socket that is listened on.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.server.socket()
    }

    /// Stops in the reverse order of the start, within [`STOP_LIMIT`].
    pub async fn stop(self) {
        self.reloading.abort();
        let begun = tokio::time::Instant::now();
        // Before the doors close: who listens there hears of it.
        self.container.ends();
        tokio::task::yield_now().await;
        self.server.stop().await;
        self.datasources.stop(STOP_LIMIT.saturating_sub(begun.elapsed())).await;
        self.introspection.abort();
        drop(self.producers);
        // Last of all: it keeps what was said of the end.
        if let Some(archive) = self.archive {
            archive.stop().await;
        }
    }
}

/// The drivers and datasources that are there.
fn started(catalog: &Catalog, datasources: &Datasources) -> Vec<String> {
    let drivers = catalog.drivers().into_iter().map(|generation| generation.info.id.clone());
    drivers.chain(datasources.list().into_iter().map(|view| view.record.name.clone())).collect()
}

/// Whom the configuration trusts.
fn trust(config: &Config) -> Trust {
    match config.plugins.trust {
        TrustPolicy::Any => Trust::any(),
        TrustPolicy::Listed => Trust::listed(config.state_dir().join(TRUST_LIST)),
    }
}

/// The first driver id that several files claim.
fn conflict(catalog: &Catalog) -> Option<NodeError> {
    let files = catalog.files();
    let driver = files.iter().find(|file| file.state == FileState::Conflict)?.driver.clone().unwrap_or_default();
    let claims = files.iter().filter(|file| file.driver.as_deref() == Some(&driver));
    let files = claims.map(|file| file.path.display().to_string()).collect();
    Some(NodeError::BadConfig { driver, files })
}

/// The records of a state directory, and the key to what is secret in them.
async fn records(state: &Path) -> Result<(Arc<SqliteStore>, Keyring), NodeError> {
    let state = state.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let keyring = Keyring::open(&state)?;
        Ok((Arc::new(SqliteStore::open(&state)?), keyring))
    });
    opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Where the plugins of a built checkout lie: beside the program.
#[must_use]
pub fn beside_the_program() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_path_buf)
}
