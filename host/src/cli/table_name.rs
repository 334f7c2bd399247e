//! Names of tables, and the references that people write for them.

use std::fmt;

use busway_plugin_api::options::nearest;

use super::client::Client;
use super::failure::Failure;

/// The service that describes the host itself.
pub(crate) const HOST: &str = "_host";

/// A table of a service, written `service/table`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableName {
    /// Who publishes it.
    pub(crate) service: String,
    /// Its name within that service.
    pub(crate) table: String,
}

impl TableName {
    /// The table of that service.
    pub(crate) fn new(service: impl Into<String>, table: impl Into<String>) -> Self {
        Self { service: service.into(), table: table.into() }
    }

    /// A table of the host itself.
    pub(crate) fn of_host(table: &str) -> Self {
        Self::new(HOST, table)
    }

    /// Whether it is one of those that are listed only when asked for.
    pub(crate) fn is_hidden(&self) -> bool {
        self.service.starts_with('_')
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.table)
    }
}

/// Every table that the host has, hidden ones too.
pub(crate) async fn known(client: &Client) -> Result<Vec<TableName>, Failure> {
    let tables = client.rows(&TableName::of_host("tables")).await?;
    let name =
        |row: &super::snapshot::Row| Some(TableName::new(row.get("service")?.as_str()?, row.get("table")?.as_str()?));
    Ok(tables.rows.iter().filter_map(name).collect())
}

/// The table that `reference` means: `service/table`, or a table's name alone if exactly one service has it.
pub(crate) async fn resolve(client: &Client, reference: &str) -> Result<TableName, Failure> {
    match reference.split_once('/') {
        Some((service, table)) => Ok(TableName::new(service, table)),
        None => choose(reference, &known(client).await?),
    }
}

/// Fails if the host does not list that table: a stream would wait for it in silence.
pub(crate) async fn ensure(client: &Client, name: &TableName) -> Result<(), Failure> {
    let known = known(client).await?;
    if known.contains(name) { Ok(()) } else { Err(no_table(name.to_string(), &known)) }
}

/// `failure`, or if it was a 404 for that table, one that knows the nearest name.
pub(crate) async fn explain(client: &Client, name: &TableName, failure: Failure) -> Failure {
    match failure {
        Failure::Refused { status: 404, .. } => {
            let known = known(client).await.unwrap_or_default();
            // The host lists it: then its own words tell more.
            if known.contains(name) { failure } else { no_table(name.to_string(), &known) }
        }
        other => other,
    }
}

fn choose(table: &str, known: &[TableName]) -> Result<TableName, Failure> {
    let mut found = known.iter().filter(|name| name.table == table);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(no_table(table.to_owned(), known)),
        (Some(_), Some(_)) => Err(Failure::Ambiguous {
            table: table.to_owned(),
            services: known.iter().filter(|name| name.table == table).map(|name| name.service.clone()).collect(),
        }),
    }
}

fn no_table(asked: String, known: &[TableName]) -> Failure {
    let full: Vec<String> = known.iter().map(TableName::to_string).collect();
    let near = if asked.contains('/') {
        let (_, table) = asked.split_once('/').unwrap_or_default();
        let elsewhere = || known.iter().find(|name| name.table == table).map(TableName::to_string);
        nearest(&asked, full.iter().map(String::as_str)).map(str::to_owned).or_else(elsewhere)
    } else {
        let near = nearest(&asked, known.iter().map(|name| name.table.as_str()));
        near.and_then(|near| known.iter().find(|name| name.table == near)).map(TableName::to_string)
    };
    Failure::NoTable { asked, nearest: near }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<TableName> {
        [("_host", "tables"), ("east", "orders"), ("system", "load"), ("west", "orders")]
            .map(|(service, table)| TableName::new(service, table))
            .to_vec()
    }

    #[test]
    fn a_name_alone_means_the_only_table_of_that_name() {
        assert_eq!(choose("load", &some()).unwrap(), TableName::new("system", "load"));
        assert_eq!(choose("tables", &some()).unwrap(), TableName::of_host("tables"));
        assert!(
            matches!(choose("orders", &some()), Err(Failure::Ambiguous { services, .. }) if services == ["east", "west"])
        );
    }

    #[test]
    fn the_nearest_name_is_offered_in_full() {
        let nearest = |asked: &str| match no_table(asked.to_owned(), &some()) {
            Failure::NoTable { nearest, .. } => nearest,
            other => panic!("{other}"),
        };
        assert_eq!(nearest("laod").as_deref(), Some("system/load"));
        assert_eq!(nearest("system/lod").as_deref(), Some("system/load"));
        assert_eq!(nearest("another/load").as_deref(), Some("system/load"));
        assert_eq!(nearest("nothing/alike"), None);
    }
}
