//! The error that a driver's methods return.

use crate::abi::Status;
use crate::message::ErrorBody;
use std::fmt;

/// Why a driver could not do what it was asked: a message for operators, and, if it helps, a code for programs.
///
/// Any error converts with `?`; its chain of causes goes into the message, and the place of the `?` is kept.
///
/// ```
/// # use busway_plugin_api::Error;
/// fn size(path: &str) -> Result<u64, Error> {
///     if path.is_empty() {
///         return Err(Error::new("the path is empty").code("empty_path"));
///     }
///     Ok(std::fs::metadata(path)?.len())
/// }
/// assert_eq!(size("").unwrap_err().to_string(), "the path is empty");
/// assert!(size("/no/such").unwrap_err().place().unwrap().contains(".rs:"));
/// ```
#[derive(Debug, Clone)]
pub struct Error {
    status: Status,
    body: ErrorBody,
}

impl Error {
    /// An error with this message.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_status(Status::FAILED, message)
    }

    /// One whose cause may pass by itself: a retry may help.
    #[track_caller]
    pub fn transient(message: impl Into<String>) -> Self {
        let mut error = Self::new(message);
        error.body.transient = true;
        error
    }

    /// The request is wrong, and nothing was changed. It carries no place: it is about what came, not about the source.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::from_parts(Status::INVALID, ErrorBody::new(message))
    }

    /// The work was cancelled.
    #[track_caller]
    pub fn cancelled() -> Self {
        Self::with_status(Status::CANCELLED, "cancelled")
    }

    /// One with a status of the contract.
    #[track_caller]
    pub fn with_status(status: Status, message: impl Into<String>) -> Self {
        let place = std::panic::Location::caller().to_string();
        Self { status, body: ErrorBody { place: Some(place), ..ErrorBody::new(message) } }
    }

    /// One as it crossed from the other side.
    pub fn from_parts(status: Status, body: ErrorBody) -> Self {
        Self { status, body }
    }

    /// With a short stable word for programs.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.body.code = Some(code.into());
        self
    }

    /// With the place it is about instead of the place it was made: a file and line of data, say.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.body.place = Some(place.into());
        self
    }

    /// With several findings.
    #[must_use]
    pub fn problems(mut self, problems: Vec<String>) -> Self {
        self.body.problems = problems;
        self
    }

    /// The message alone.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.body.message
    }

    /// Where it was made, or what it is about.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.body.place.as_deref()
    }

    /// Whether a retry may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.body.transient
    }

    /// Its status in the contract.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// As it crosses.
    #[must_use]
    pub fn body(&self) -> &ErrorBody {
        &self.body
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.body.message)?;
        for (i, problem) in self.body.problems.iter().enumerate() {
            write!(f, "{} {problem}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl<E: std::error::Error> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Many errors already end with their cause's text.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self::new(message)
    }
}
