//! What operators ask of the executor, and what it answers.

use super::super::catalog::{FileState, FileView};
use super::super::record::{Entry, Journal, Quarantined};
use super::report::Report;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Why an order was not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No such driver.
    #[error("no driver {0:?} serves, and no file claims it: busway plugin list shows what there is")]
    NoDriver(String),
    /// There is nothing to go back to.
    #[error(
        "driver {driver:?} can't be rolled back: no copy is kept of bytes that served well before {sha256:.12}; copy the file that \
         is to serve over {file}"
    )]
    NoCopy {
        /// Its id.
        driver: String,
        /// What serves.
        sha256: String,
        /// From which file.
        file: String,
    },
    /// No such bytes are in quarantine.
    #[error("no bytes in quarantine begin with {0:?}: busway plugin list shows what is held back, and by which hash")]
    NotQuarantined(String),
    /// Several are.
    #[error("several bytes in quarantine begin with {0:?}: give more of the hash")]
    Ambiguous(String),
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Loads and reloads that ended since it was asked for, in their order.
    pub reports: Vec<Report>,
    /// The files in question that do not serve, and why.
    pub troubles: Vec<FileView>,
}

impl Answer {
    /// Whether all is as the files want it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.troubles.is_empty() && self.reports.iter().all(|report| report.outcome.is_good())
    }
}

/// What operators ask.
#[derive(Debug)]
pub(super) enum Order {
    Reload { driver: Option<String>, accept_errors: bool, reply: oneshot::Sender<Result<Answer, OrderError>> },
    Rollback { driver: String, reply: oneshot::Sender<Result<Answer, OrderError>> },
    Release { sha256: String, reply: oneshot::Sender<Result<Quarantined, OrderError>> },
    Quarantine { reply: oneshot::Sender<Vec<(String, Quarantined)>> },
    Explain { driver: String, reply: oneshot::Sender<Vec<String>> },
}

/// Somebody who waits until what was ordered is over.
#[derive(Debug)]
pub(super) struct Waiter {
    /// None: all.
    pub(super) driver: Option<String>,
    pub(super) reports: Vec<Report>,
    pub(super) reply: oneshot::Sender<Result<Answer, OrderError>>,
}

impl Waiter {
    pub(super) fn minds(&self, driver: &str) -> bool {
        self.driver.as_deref().is_none_or(|id| id == driver)
    }

    pub(super) fn answer(self, files: Vec<FileView>) {
        let bad = |file: &FileView| file.state != FileState::Serving && file.state != FileState::Missing;
        let mine = |file: &FileView| match (&self.driver, &file.driver) {
            (None, _) => true,
            (Some(id), Some(driver)) => id == driver,
            (Some(_), None) => false,
        };
        let troubles = files.into_iter().filter(|file| bad(file) && mine(file)).collect();
        let _ = self.reply.send(Ok(Answer { reports: self.reports, troubles }));
    }
}

/// The way to give orders. Clones are the same.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) journal: Arc<Journal>,
}

impl Control {
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, OrderError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).map_err(|_| OrderError::Stopping)?;
        answer.await.map_err(|_| OrderError::Stopping)
    }

    /// Looks at the directories now, tries again what was put off, and waits until all of that is over: the probation of
    /// what takes over, too. Of one driver, or of all.
    ///
    /// # Errors
    ///
    /// When no file claims the id, or the host is stopping.
    pub async fn reload(&self, driver: Option<&str>, accept_errors: bool) -> Result<Answer, OrderError> {
        let driver = driver.map(str::to_owned);
        self.ask(|reply| Order::Reload { driver, accept_errors, reply }).await?
    }

    /// Puts the copy that served well before back in charge, and the bytes that serve now into quarantine.
    ///
    /// # Errors
    ///
    /// When there is nothing to go back to.
    pub async fn rollback(&self, driver: &str) -> Result<Answer, OrderError> {
        let driver = driver.to_owned();
        self.ask(|reply| Order::Rollback { driver, reply }).await?
    }

    /// Lets bytes out of quarantine, by the beginning of their hash.
    ///
    /// # Errors
    ///
    /// When none or several are meant.
    pub async fn release(&self, sha256: &str) -> Result<Quarantined, OrderError> {
        let sha256 = sha256.to_owned();
        self.ask(|reply| Order::Release { sha256, reply }).await?
    }

    /// The bytes in quarantine, by their hash.
    ///
    /// # Errors
    ///
    /// When the host is stopping.
    pub async fn quarantine(&self) -> Result<Vec<(String, Quarantined)>, OrderError> {
        self.ask(|reply| Order::Quarantine { reply }).await
    }

    /// Why a driver is served as it is, one sentence each.
    ///
    /// # Errors
    ///
    /// When the host is stopping.
    pub async fn explain(&self, driver: &str) -> Result<Vec<String>, OrderError> {
        let driver = driver.to_owned();
        self.ask(|reply| Order::Explain { driver, reply }).await
    }

    /// What happened, the oldest first; of one driver, or of all. Reads a file.
    #[must_use]
    pub fn history(&self, driver: Option<&str>) -> Vec<Entry> {
        let mut entries = self.journal.read();
        entries.retain(|entry| driver.is_none_or(|id| entry.is_of(id)));
        entries
    }
}
