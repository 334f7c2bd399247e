//! Why a datasource was not created, changed or removed. Nothing was changed then.

use super::secret::SealError;
use super::store::StoreError;
use crate::config::NameError;
use serde_json::{Value, json};

/// Why a datasource was not created, changed or removed. Nothing was changed, except as [`Store`](Self::Store) says.
///
/// The names are the predecessor's where it has one for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not of the form that it must have; everything at once.
    #[error("Invalid datasource: {}", .0.join("; "))]
    InvalidRequest(Vec<String>),
    /// The name can't be one.
    #[error("{0}")]
    InvalidDatasourceName(#[from] NameError),
    /// There is a record, or a live service, of that name.
    #[error("Datasource already in use with name {name}{}", if *.service { ": it is a live service's" } else { "" })]
    DatasourceNameInUse {
        /// The name.
        name: String,
        /// Whether it is a service's that is no datasource.
        service: bool,
    },
    /// No record has that name or id.
    #[error("Datasource not found {0}")]
    DatasourceNotFound(String),
    /// No driver of that id serves.
    #[error("Invalid driver: {driver}: {why}")]
    InvalidDriver {
        /// The driver's id.
        driver: String,
        /// What there is instead.
        why: String,
    },
    /// Options that the driver does not have, or values that they can't have; missing ones as well, if any.
    #[error("Invalid driver options: {}", .0.join("; "))]
    InvalidDriverOption(Vec<String>),
    /// Nothing but options that must be set is missing.
    #[error("Missing required config options: {}", .0.join("; "))]
    MissingRequiredConfigOptions(Vec<String>),
    /// It can't be put on the bus.
    #[error("Datasource could not be created on the DSE: {0}")]
    DatasourceCreationError(String),
    /// The configuration file says what it is: that is where to change it.
    #[error("Datasource {0} is managed by the configuration file: change it there, and reload the file")]
    DatasourceManagedByFile(String),
    /// What is kept of it can't be read, so what would be left of it is not known.
    #[error("Datasource {name} can't be changed: {fault}; mend that, or set its whole config anew, or remove it")]
    DatasourceUnreadable {
        /// The datasource.
        name: String,
        /// Why it can't be read.
        fault: String,
    },
    /// Somebody else changed it first.
    #[error("Datasource {name} is at revision {found}, not {expected}: read it again, and decide anew")]
    DatasourceRevisionConflict {
        /// The datasource.
        name: String,
        /// The revision that the change was made for.
        expected: u64,
        /// The revision there is.
        found: u64,
    },
    /// It has the name that another had when it was read.
    #[error(
        "Datasource {0} is another than the one that was read: that was removed, and this one made under its name; read it \
         again, and decide anew"
    )]
    DatasourceReplaced(String),
    /// The store can't be used now.
    #[error("The datasources can't be changed now: {0}; those that run go on")]
    Store(StoreError),
    /// Which drivers there are is not known for now.
    #[error("Which drivers there are is not known for now, so none can be said to be gone: {0}")]
    DriversNotKnown(String),
    /// Its options can't be sealed.
    #[error("The datasource can't be kept: {0}")]
    Seal(#[from] SealError),
}

impl Refusal {
    /// A stable word for programs: the name of the error.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "InvalidDatasource",
            Self::InvalidDatasourceName(_) => "InvalidDatasourceName",
            Self::DatasourceNameInUse { .. } => "DatasourceNameInUse",
            Self::DatasourceNotFound(_) => "DatasourceNotFound",
            Self::InvalidDriver { .. } => "InvalidDriver",
            Self::InvalidDriverOption(_) => "InvalidDriverOption",
            Self::MissingRequiredConfigOptions(_) => "MissingRequiredConfigOptions",
            Self::DatasourceCreationError(_) => "DatasourceCreationError",
            Self::DatasourceManagedByFile(_) => "DatasourceManagedByFile",
            Self::DatasourceRevisionConflict { .. } => "DatasourceRevisionConflict",
            Self::DatasourceReplaced(_) => "DatasourceReplaced",
            Self::DatasourceUnreadable { .. } => "DatasourceUnreadable",
            Self::Store(_) => "StoreUnavailable",
            Self::DriversNotKnown(_) => "DriversNotKnown",
            Self::Seal(_) => "SealFailed",
        }
    }

    /// A stable number for programs, which is the HTTP status too.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::InvalidRequest(_)
            | Self::InvalidDatasourceName(_)
            | Self::InvalidDriver { .. }
            | Self::InvalidDriverOption(_)
            | Self::MissingRequiredConfigOptions(_) => 400,
            Self::DatasourceNotFound(_) => 404,
            Self::DatasourceNameInUse { .. }
            // The predecessor answers 400 to all that go wrong late: here it is that another has the name by now.
            | Self::DatasourceCreationError(_)
            | Self::DatasourceReplaced(_)
            | Self::DatasourceManagedByFile(_)
            | Self::DatasourceUnreadable { .. }
            | Self::DatasourceRevisionConflict { .. } => 409,
            Self::Store(_) | Self::Seal(_) | Self::DriversNotKnown(_) => 503,
        }
    }

    /// What it adds for programs: the kind, and each problem alone.
    #[must_use]
    pub fn data(&self) -> Value {
        let mut data = json!({"kind": self.kind()});
        match self {
            Self::InvalidRequest(problems)
            | Self::InvalidDriverOption(problems)
            | Self::MissingRequiredConfigOptions(problems) => data["problems"] = json!(problems),
            Self::DatasourceRevisionConflict { expected, found, .. } => {
                data["expected"] = json!(expected);
                data["found"] = json!(found);
            }
            _ => {}
        }
        data
    }

    /// A store's error about the record of that name.
    pub(super) fn of_store(name: &str, error: StoreError) -> Self {
        match error {
            StoreError::NameInUse { name } => Self::DatasourceNameInUse { name, service: false },
            StoreError::NotFound { .. } => Self::DatasourceNotFound(name.to_owned()),
            StoreError::Conflict { expected, found, .. } => {
                Self::DatasourceRevisionConflict { name: name.to_owned(), expected, found }
            }
            error @ StoreError::TooLarge { .. } => Self::InvalidRequest(vec![error.to_string()]),
            other => Self::Store(other),
        }
    }
}
