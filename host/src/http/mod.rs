//! HTTP on loopback and a unix socket: the predecessor's paths under `/v1`, and any service's tables as rows and streams.

mod backup;
mod body;
mod calls;
mod configuration;
mod datasources;
mod error;
mod etag;
mod events;
mod extract;
mod guard;
mod json;
mod log;
mod metrics;
mod monitor;
mod outbox;
mod overview;
mod plugins;
mod predecessor;
mod publication;
mod push;
mod rows;
mod server;
mod services;
mod session;
mod status;
mod stream;
mod versions;

pub use server::{Server, ServerError};

use crate::bus::Bus;
use crate::datasource::Datasources;
use crate::event::{Archive, Events, Monitor, Publisher};
use crate::plugin::{Catalog, Control};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use session::Sessions;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// What happens, and those who keep it for others.
#[derive(Debug, Clone)]
pub(crate) struct Happenings {
    pub(crate) events: Events,
    /// Over restarts, if that is wanted.
    pub(crate) archive: Option<Arc<Archive>>,
    pub(crate) monitor: Monitor,
}

/// What the handlers look at.
#[derive(Debug, Clone)]
struct State {
    bus: Bus,
    catalog: Arc<Catalog>,
    datasources: Datasources,
    happenings: Happenings,
    /// Who publishes for all clients without a name of their own.
    publisher: Arc<Publisher>,
    plugins: Control,
    sessions: Sessions,
    /// Of events, and who among them confirms what went well.
    streams: events::Streams,
    consumers: events::Consumers,
    /// The configuration file that the host was started with.
    file: Option<Arc<PathBuf>>,
    /// Since when it answers.
    started: jiff::Timestamp,
    /// Turns true when the host stops: streams end then.
    stopping: watch::Receiver<bool>,
}

fn router(state: State) -> Router {
    Router::new()
        .route("/", get(versions::all))
        .route("/v1", get(versions::current))
        .route("/v1/", get(versions::current))
        .route("/v1/system/drivers", get(predecessor::drivers))
        .route("/v1/system/drivers/{driver}", get(predecessor::driver))
        .route("/v1/data-sources", get(datasources::list).post(datasources::create))
        .route(
            "/v1/data-sources/{ds}",
            get(datasources::get).patch(datasources::change).delete(datasources::remove).post(predecessor::act),
        )
        .route("/v1/orphans", get(datasources::orphans).post(datasources::prune))
        .route("/v1/data-sources/{ds}/status", get(status::of_datasource))
        .route("/v1/data-sources/{ds}/actions", get(predecessor::actions))
        .route("/v1/data-sources/{ds}/schema", get(predecessor::schema))
        .route("/v1/data-sources/{ds}/tables", get(predecessor::tables))
        .route("/v1/data-sources/{ds}/tables/{table}", get(predecessor::table))
        .route("/v1/data-sources/{ds}/tables/{table}/spec", get(predecessor::spec))
        .route(
            "/v1/data-sources/{ds}/tables/{table}/rows",
            get(rows::of_datasource)
                .put(push::replace)
                .patch(push::change)
                .layer(DefaultBodyLimit::max(publication::MOST_BYTES)),
        )
        .route("/v1/data-sources/{ds}/webhook", post(push::webhook))
        .route("/v1/data-sources/{ds}/tables/{table}/webhook", post(push::webhook_of_table))
        .route("/v1/config/diff", get(configuration::diff))
        .route("/v1/config/reload", post(configuration::reload))
        .route("/v1/plugins/reload", post(plugins::reload))
        .route("/v1/plugins/history", get(plugins::history))
        .route("/v1/plugins/quarantine", get(plugins::quarantine))
        .route("/v1/plugins/quarantine/{sha256}", delete(plugins::release))
        .route("/v1/drivers/{driver}/rollback", post(plugins::rollback))
        .route("/v1/drivers/{driver}/explanation", get(plugins::explain))
        .route(backup::PATH, get(backup::get))
        .route("/v1/events", get(events::list).post(events::publish))
        .route("/v1/events/stream", get(events::stream))
        .route("/v1/events/consumers/{consumer}", post(events::confirm))
        .route("/v1/events/subscriptions", get(events::subscriptions))
        .route("/v1/events/types", get(events::types))
        .route("/v1/events/types/{type}", get(events::one_type))
        .route("/v1/events/sessions/{session}", get(monitor::get).post(monitor::subscribe).delete(monitor::end))
        .route("/v1/events/sessions/{session}/{subscription}", delete(monitor::unsubscribe))
        .route("/metrics", get(metrics::get))
        .route("/v1/log-filter", get(log::get).put(log::put))
        .route("/v1/services", get(services::list))
        .route("/v1/services/{service}/tables", get(services::tables))
        .route("/v1/services/{service}/tables/{table}/rows", get(rows::of_service))
        .route("/v1/services/{service}/tables/{table}/stream", get(stream::one))
        .route("/v1/stream", get(stream::many))
        .route("/v1/services/{service}/calls/{method}", post(calls::service))
        .route("/v1/addresses/{address}/calls/{method}", post(calls::any))
        .route("/v1/node", get(overview::node))
        .route("/v1/nodes", get(overview::nodes))
        .route("/v1/nodes/{node}/calls/{method}", post(calls::node))
        .route("/v1/subscriptions", get(overview::subscriptions))
        .route("/v1/resync", post(overview::resync))
        .route("/v1/services/{service}/calls/{id}/answer", post(session::answer))
        .route("/v1/services/{service}/session", post(session::open))
        .route(
            "/v1/services/{service}/tables/{table}",
            put(publication::put)
                .patch(publication::patch)
                .delete(publication::delete)
                .layer(DefaultBodyLimit::max(publication::MOST_BYTES)),
        )
        .route("/v1/services/{service}/actions/{action}", post(services::execute))
        .fallback(versions::no_path)
        .layer(DefaultBodyLimit::max(error::MOST_BYTES))
        .method_not_allowed_fallback(error::no_method)
        .with_state(state)
}
