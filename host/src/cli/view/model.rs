//! What the live view shows: changed by events and keys alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::feed::FeedEvent;
use super::news::{self, Line};
use super::tables::{Happening, Kind, Tables, is_measurement, number, text};
use crate::cli::replica::{Change, Replica, RowKey};
use crate::cli::table_name::TableName;

/// How long a row that is new or changed stands out.
pub(super) const FLASH: Duration = Duration::from_millis(1500);
/// How many lines of news are kept.
const LOG: usize = 500;
/// How many measurements are kept for a sparkline.
const HISTORY: usize = 120;

/// When something happened: since the view began, and by the wall's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// Since the view began.
    pub(super) since: Duration,
    /// `HH:MM:SS`.
    pub(super) clock: String,
}

/// A line of news with its time.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// When.
    pub(super) at: Moment,
    /// What.
    pub(super) line: Line,
}

/// What a row's flash says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flash {
    /// It is new.
    Added,
    /// It changed.
    Updated,
}

/// The last measurements of an interface, bytes a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    /// Coming in.
    pub(super) received: VecDeque<f64>,
    /// Going out.
    pub(super) sent: VecDeque<f64>,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// What this is: a word for the header.
    pub(super) title: String,
    /// Where the host is.
    pub(super) address: String,
    /// The tables.
    pub(super) tables: Tables,
    /// The news, oldest first.
    pub(super) log: VecDeque<Entry>,
    /// The interfaces' traffic.
    pub(super) traffic: BTreeMap<String, Traffic>,
    /// The processors' load in percent.
    pub(super) cpu: VecDeque<f64>,
    /// Why the host is away, if it is.
    pub(super) away: Option<String>,
    /// Whether it ever was there.
    pub(super) connected: bool,
    /// The first row that the main pane shows.
    pub(super) scroll: usize,
    selected: Option<TableName>,
    flashes: BTreeMap<TableName, BTreeMap<RowKey, (Flash, Duration)>>,
    changed: BTreeMap<TableName, Duration>,
}

impl Model {
    /// Nothing yet.
    pub(super) fn new(title: &str, address: &str) -> Self {
        Self { title: title.to_owned(), address: address.to_owned(), ..Self::default() }
    }

    /// Takes an event in.
    pub(super) fn apply(&mut self, event: FeedEvent, at: &Moment) {
        match event {
            FeedEvent::Connected => {
                self.away = None;
                self.connected = true;
            }
            FeedEvent::Away(why) => self.away = Some(why),
            event => {
                if let Some(happening) = self.tables.apply(event) {
                    self.take(&happening, at);
                }
            }
        }
    }

    /// The table that the main pane shows: the chosen one, else the processes, else any.
    pub(super) fn selected(&self) -> Option<(&TableName, &Replica)> {
        let chosen = self.selected.as_ref().and_then(|name| Some((name, self.tables.get(name)?)));
        chosen.or_else(|| self.tables.called("processes", &[])).or_else(|| {
            let first = self.tables.names().into_iter().next()?;
            Some((first, self.tables.get(first)?))
        })
    }

    /// Shows the table that is `by` further on in the list.
    pub(super) fn select(&mut self, by: isize) {
        let names = self.tables.names();
        let Some(shown) = self.selected().map(|(name, _)| name) else { return };
        let at = names.iter().position(|name| *name == shown).unwrap_or_default();
        let next = at as isize + by;
        self.selected = names.get(next.rem_euclid(names.len().max(1) as isize) as usize).map(|name| (*name).clone());
        self.scroll = 0;
    }

    /// Moves the main pane's rows.
    pub(super) fn scroll(&mut self, by: isize) {
        let last = self.selected().map_or(0, |(_, replica)| replica.len().saturating_sub(1));
        self.scroll = self.scroll.saturating_add_signed(by).min(last);
    }

    /// Whether that row stands out at that time.
    pub(super) fn flash(&self, name: &TableName, key: &RowKey, now: Duration) -> Option<Flash> {
        let (flash, since) = self.flashes.get(name)?.get(key)?;
        (now.saturating_sub(*since) < FLASH).then_some(*flash)
    }

    /// Whether that table changed a moment ago.
    pub(super) fn changed_lately(&self, name: &TableName, now: Duration) -> bool {
        self.changed.get(name).is_some_and(|since| now.saturating_sub(*since) < FLASH)
    }

    fn take(&mut self, happening: &Happening, at: &Moment) {
        let name = &happening.name;
        let key: Vec<String> = self.tables.get(name).map(|replica| replica.key().to_vec()).unwrap_or_default();
        for line in news::lines(happening, &key) {
            self.log.push_back(Entry { at: at.clone(), line });
        }
        self.log.drain(..self.log.len().saturating_sub(LOG));
        if happening.kind == Kind::Went {
            self.flashes.remove(name);
            self.changed.remove(name);
            return;
        }
        if !happening.changes.is_empty() {
            self.changed.insert(name.clone(), at.since);
        }
        if let Some(replica) = self.tables.get(name) {
            let flashes = self.flashes.entry(name.clone()).or_default();
            flashes.retain(|_, (_, since)| at.since.saturating_sub(*since) < FLASH);
            for change in &happening.changes {
                let flash = match change {
                    Change::Added(_) => Flash::Added,
                    // Nearly every row of a table of measurements changes all the time.
                    Change::Updated { .. } if !is_measurement(name, change) => Flash::Updated,
                    Change::Updated { .. } | Change::Removed(_) => continue,
                };
                flashes.insert(replica.key_of(change.row()), (flash, at.since));
            }
        }
        self.measure(&happening.name.clone());
    }

    /// Adds what `name` measures to the histories.
    fn measure(&mut self, name: &TableName) {
        let interfaces = self.tables.called("interfaces", &["name", "received_bytes_per_second"]);
        if let Some((_, replica)) = interfaces.filter(|(interfaces, _)| *interfaces == name) {
            let known: Vec<&str> = replica.rows().map(|row| text(row, "name")).collect();
            self.traffic.retain(|interface, _| known.contains(&interface.as_str()));
            for row in replica.rows() {
                let traffic = self.traffic.entry(text(row, "name").to_owned()).or_default();
                remember(&mut traffic.received, number(row, "received_bytes_per_second"));
                remember(&mut traffic.sent, number(row, "sent_bytes_per_second"));
            }
        }
        let load = self.tables.called("load", &["cpu_percent"]);
        if let Some((_, replica)) = load.filter(|(load, _)| *load == name)
            && let Some(row) = replica.rows().next()
        {
            remember(&mut self.cpu, number(row, "cpu_percent"));
        }
    }
}

fn remember(history: &mut VecDeque<f64>, value: f64) {
    history.push_back(value);
    if history.len() > HISTORY {
        history.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::{snapshot, step};
    use super::*;
    use serde_json::json;

    fn at(milliseconds: u64) -> Moment {
        Moment { since: Duration::from_millis(milliseconds), clock: "12:00:00".to_owned() }
    }

    fn shown(model: &Model) -> String {
        model.selected().unwrap().0.to_string()
    }

    #[test]
    fn processes_are_shown_until_another_table_is_chosen() {
        let mut model = Model::new("top", "here");
        assert!(model.selected().is_none());
        model.select(1);
        for (service, table) in [("_host", "tables"), ("files", "orders"), ("system", "processes")] {
            model.apply(snapshot(service, table, &[], json!([])), &at(0));
        }
        assert_eq!(shown(&model), "system/processes");
        model.select(1);
        assert_eq!(shown(&model), "_host/tables", "hidden ones are last");
        model.select(1);
        assert_eq!(shown(&model), "files/orders", "and after the last comes the first");
        model.apply(FeedEvent::Gone(TableName::new("files", "orders")), &at(0));
        assert_eq!(shown(&model), "system/processes", "one that is gone can't be shown");
        model.select(-1);
        assert_eq!(shown(&model), "_host/tables");
    }

    #[test]
    fn a_new_row_flashes_for_a_moment() {
        let mut model = Model::new("top", "here");
        model.apply(snapshot("a", "b", &["id"], json!([{"id": 1}])), &at(0));
        let flash = |model: &Model, id: i64, now: u64| {
            let (name, replica) = model.selected().unwrap();
            let row = json!({"id": id});
            model.flash(name, &replica.key_of(row.as_object().unwrap()), at(now).since)
        };
        assert_eq!(flash(&model, 1, 0), None, "what was there at first is not new");
        model.apply(step("a", "b", 1, json!({"added": [{"id": 2}]})), &at(1000));
        assert_eq!(flash(&model, 2, 1100), Some(Flash::Added));
        assert_eq!(flash(&model, 2, 2500), None);
        assert_eq!(model.log.back().unwrap().line.text, "id=2");
    }

    #[test]
    fn histories_grow_with_every_measurement_and_no_further() {
        let mut model = Model::new("top", "here");
        let rows = |rate: f64| json!([{"name": "eth0", "received_bytes_per_second": rate, "sent_bytes_per_second": 1}]);
        for rate in 0..200 {
            model.apply(snapshot("system", "interfaces", &["name"], rows(f64::from(rate))), &at(0));
        }
        let traffic = &model.traffic["eth0"];
        assert_eq!((traffic.received.len(), traffic.received.back()), (HISTORY, Some(&199.0)));
        model.apply(snapshot("system", "interfaces", &["name"], json!([])), &at(0));
        model.apply(snapshot("odd", "interfaces", &["name"], json!([{"name": 7}])), &at(0));
        assert_eq!(model.traffic.len(), 1, "a table without rows has no columns either: nothing is measured");
    }

    #[test]
    fn a_host_that_is_away_leaves_what_was_last_known() {
        let mut model = Model::new("top", "here");
        model.apply(FeedEvent::Connected, &at(0));
        model.apply(snapshot("a", "b", &["id"], json!([{"id": 1}])), &at(0));
        model.apply(FeedEvent::Away("it closed the stream".to_owned()), &at(1));
        assert!(model.away.is_some() && model.selected().is_some());
        model.apply(FeedEvent::Connected, &at(2));
        assert!(model.away.is_none());
    }

    #[test]
    fn the_log_and_the_scroll_have_ends() {
        let mut model = Model::new("top", "here");
        model.apply(snapshot("a", "b", &["id"], json!([{"id": 1}])), &at(0));
        for from in 1..700 {
            model.apply(step("a", "b", from, json!({"added": [{"id": from + 1}]})), &at(0));
        }
        assert_eq!(model.log.len(), LOG);
        model.scroll(10_000);
        assert_eq!(model.scroll, 699);
        model.scroll(-20_000);
        assert_eq!(model.scroll, 0);
    }
}
