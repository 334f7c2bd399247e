//! `GET /metrics`: what monitoring reads, in the OpenMetrics text format.
//!
//! Nothing is counted here: every number is the room's own, read when it is asked for. Names follow Prometheus' advice (base
//! units, `_total`), labels are ids and names that operators gave. A page costs what there is: datasources and tables.

use super::State;
use super::error::Error;
use crate::datasource::{Phase, View};
use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;

/// OpenMetrics 1.0's media type.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Label = (&'static str, String);

pub(super) async fn get(Extract(state): Extract<State>) -> Result<Response, Error> {
    // Of ten thousand datasources it is a page of megabytes.
    let page = tokio::task::spawn_blocking(move || {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page(state)));
        let mut page = String::new();
        text::encode(&mut page, &registry).map(|()| page)
    });
    match page.await {
        Ok(Ok(page)) => Ok(([(header::CONTENT_TYPE, FORMAT)], page).into_response()),
        Ok(Err(error)) => Err(Error::internal(&error)),
        Err(panic) => Err(Error::internal(&panic)),
    }
}

#[derive(Debug)]
struct Page(State);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.host(&mut families)?;
        self.plugins(&mut families)?;
        self.datasources(&mut families)?;
        self.bus(&mut families)
    }
}

impl Page {
    fn host(&self, families: &mut Families<'_>) -> fmt::Result {
        let labels = vec![
            ("contract", busway_plugin_api::abi::VERSION.to_owned()),
            ("node", self.0.bus.node().to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let info = Info::new(labels);
        info.encode(families.0.encode_descriptor(
            "busway_build",
            "The host that answers",
            None,
            info.metric_type(),
        )?)?;
        let started = self.0.started.as_second();
        families.gauge("busway_start_time", "Since when it answers, Unix time", Some(Unit::Seconds), started)?;
        if let Some(memory) = Memory::read() {
            let help = "Memory that the process has in RAM, all drivers' included";
            families.gauge("process_resident_memory", help, Some(Unit::Bytes), memory.resident)?;
            families.gauge("process_threads", "Threads of the process, all drivers' included", None, memory.threads)?;
        }
        Ok(())
    }

    fn plugins(&self, families: &mut Families<'_>) -> fmt::Result {
        let catalog = &self.0.catalog;
        let files = counted("state", catalog.files().iter().map(|file| file.state.as_str()));
        families.gauges("busway_plugin_files", "Files of the plugin directories", None, files)?;
        let unreadable = catalog.troubles().len();
        families.gauge(
            "busway_plugin_directories_unreadable",
            "Plugin directories that can't be read",
            None,
            unreadable,
        )?;
        let generations = catalog.generations();
        let states = counted("state", generations.iter().map(|generation| generation.state.as_str()));
        families.gauges("busway_generations", "Loaded copies of drivers", None, states)?;
        let retired = catalog.retired();
        let help = "Loaded copies of drivers that serve no more; a restart gives their memory back";
        families.gauge("busway_retired_generations", help, None, retired.generations)?;
        let help = "Libraries that are mapped and serve no more";
        families.gauge("busway_retired_generations_mapped", help, Some(Unit::Bytes), retired.bytes)?;
        let help = "plugins.retired_budget: with more than this a restart is advised";
        families.gauge("busway_retired_generations_budget", help, Some(Unit::Bytes), retired.budget)?;
        let serving = catalog.drivers();
        let numbers = serving.iter().map(|generation| {
            let labels = vec![("driver", generation.info.id.clone()), ("version", generation.info.version.clone())];
            (labels, generation.number)
        });
        families.gauges("busway_driver_generation", "The generation that serves a driver's id", None, numbers)?;
        let tallies = catalog.tallies();
        let ended = tallies.iter().flat_map(|(driver, tally)| {
            tally.outcomes.iter().map(|(outcome, count)| {
                (vec![("driver", driver.clone()), ("outcome", outcome.as_str().to_owned())], *count)
            })
        });
        families.counters("busway_reloads", "Loads and reloads that ended", ended)?;
        let of_driver = |driver: &String| vec![("driver", driver.clone())];
        let lost = tallies.iter().map(|(driver, tally)| (of_driver(driver), tally.gap));
        families.counters(
            "busway_reload_states_lost",
            "States of tables lost by reloads: a fault of the host",
            lost,
        )?;
        let doubled = tallies.iter().map(|(driver, tally)| (of_driver(driver), tally.dup));
        let help = "States of tables doubled by reloads: a fault of the host";
        families.counters("busway_reload_states_doubled", help, doubled)?;
        let reports = catalog.reports();
        let pauses = reports.iter().filter(|(_, report)| report.from.is_some()).map(|(driver, report)| {
            (of_driver(driver), std::time::Duration::from_micros(report.phases.pause_us).as_secs_f64())
        });
        let help = "How long the last reload left a datasource without a source in charge, at most";
        families.gauges("busway_reload_pause", help, Some(Unit::Seconds), pauses)
    }

    fn datasources(&self, families: &mut Families<'_>) -> fmt::Result {
        let all = self.0.datasources.list();
        let phases = counted("state", all.iter().map(|view| view.status.phase.as_str()));
        families.gauges("busway_datasources", "Datasources", None, phases)?;
        let named = |view: &View| vec![("datasource", view.record.name.clone())];
        let labels =
            |view: &View| vec![("datasource", view.record.name.clone()), ("driver", view.record.spec.driver.clone())];
        let up = all.iter().map(|view| (labels(view), u64::from(view.status.phase == Phase::Running)));
        families.gauges("busway_datasource_up", "Whether its last poll was good", None, up)?;
        let polls = all.iter().map(|view| (named(view), view.status.polls));
        families.counters("busway_datasource_polls", "Polls that were good", polls)?;
        let failures = all.iter().map(|view| (named(view), view.status.failures));
        families.counters("busway_datasource_failed_polls", "Polls that failed", failures)?;
        let writes = all.iter().map(|view| (named(view), view.status.writes));
        families.counters("busway_datasource_writes", "Writes of clients, and webhooks, that were taken", writes)?;
        let last = all.iter().filter_map(|view| Some((named(view), view.status.last_poll?.as_second())));
        let help = "When its last good poll ended, Unix time";
        families.gauges("busway_datasource_last_poll_time", help, Some(Unit::Seconds), last)
    }

    fn bus(&self, families: &mut Families<'_>) -> fmt::Result {
        let bus = &self.0.bus;
        let tables = bus.tables();
        let mut of: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for table in tables.iter().filter(|table| !table.address.service().starts_with('_')) {
            let (tables, rows) = of.entry(table.address.service()).or_default();
            (*tables, *rows) = (*tables + 1, *rows + table.rows.num_rows());
        }
        let of_service = |service: &str| vec![("service", service.to_owned())];
        families.gauge("busway_services", "Services on the bus, on all nodes", None, bus.services(false).len())?;
        let counts = of.iter().map(|(service, (tables, _))| (of_service(service), *tables));
        families.gauges("busway_tables", "Tables that are there", None, counts)?;
        let rows = of.iter().map(|(service, (_, rows))| (of_service(service), *rows));
        families.gauges("busway_rows", "Rows of these tables", None, rows)?;
        let subscriptions = bus.subscriptions();
        families.gauge("busway_subscriptions", "Subscriptions that are open", None, subscriptions.len())?;
        let waiting: usize = subscriptions.iter().map(|subscription| subscription.counters.bytes).sum();
        let help = "Steps that wait in subscribers' queues";
        families.gauge("busway_subscriptions_waiting", help, Some(Unit::Bytes), waiting)?;
        let late = subscriptions.iter().filter(|subscription| subscription.counters.late > 0).count();
        families.gauge("busway_subscriptions_late", "Subscriptions that can't keep up", None, late)
    }
}

/// How many of each there are.
fn counted<'a>(label: &'static str, words: impl Iterator<Item = &'a str>) -> Vec<(Vec<Label>, u64)> {
    let mut count: BTreeMap<&str, u64> = BTreeMap::new();
    words.for_each(|word| *count.entry(word).or_default() += 1);
    count.into_iter().map(|(word, count)| (vec![(label, word.to_owned())], count)).collect()
}

/// Writes families, each with its help and type.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: impl EncodeGaugeValue) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?)
    }

    fn gauges<V>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Vec<Label>, V)>,
    ) -> fmt::Result
    where
        ConstGauge<V>: EncodeMetric,
    {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.all(name, help, unit, MetricType::Gauge, values)
    }

    fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Vec<Label>, u64)>) -> fmt::Result {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.all(name, help, None, <ConstCounter<u64> as TypedMetric>::TYPE, values)
    }

    fn all<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        of: MetricType,
        values: impl Iterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), of)?;
        for (labels, metric) in values {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What the system says of this process.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    /// In bytes.
    resident: u64,
    threads: u64,
}

impl Memory {
    /// None where the system does not say.
    fn read() -> Option<Self> {
        Self::of(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    /// Linux writes `VmRSS:  1234 kB` and `Threads:  12` (proc_pid_status(5)).
    fn of(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self { resident: field("VmRSS")? * 1024, threads: field("Threads")? })
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn the_system_s_own_words_are_read() {
        let status = "Name:\tbusway\nVmRSS:\t    2048 kB\nRssAnon:\t 1 kB\nThreads:\t7\n";
        assert_eq!(Memory::of(status), Some(Memory { resident: 2048 * 1024, threads: 7 }));
        assert_eq!(Memory::of("Name:\tbusway\nThreads:\t7\n"), None);
    }
}
