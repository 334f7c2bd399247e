//! A record as a store keeps it: JSON, whose options are sealed as a whole.

use super::{ManagedBy, Record};
use crate::config::Datasource;
use crate::datasource::secret::{Keyring, SealError};
use crate::datasource::store::Document;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;
use zeroize::Zeroizing;

/// The form's number; one who meets a later one does not guess.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Body {
    form: u32,
    driver: String,
    description: String,
    enabled: bool,
    addresses: BTreeSet<String>,
    poll_ms: u64,
    deadline_ms: u64,
    max_rows: Option<usize>,
    max_bytes: Option<usize>,
    persist_data: bool,
    managed_by: String,
    created: Timestamp,
    changed: Timestamp,
    secret: BTreeSet<String>,
    /// Which of them is secret may change with the driver: none is in clear.
    options: String,
}

/// What the store is to keep.
///
/// # Errors
///
/// When the options can't be sealed.
pub(in crate::datasource) fn write(record: &Record, keyring: &Keyring) -> Result<Document, SealError> {
    let spec = &record.spec;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let options = Zeroizing::new(Value::Object(spec.options.clone()).to_string());
    let body = Body {
        form: FORM,
        driver: spec.driver.clone(),
        description: spec.description.clone(),
        enabled: spec.enabled,
        addresses: spec.addresses.clone(),
        poll_ms: milliseconds(spec.poll),
        deadline_ms: milliseconds(spec.deadline),
        max_rows: spec.max_rows,
        max_bytes: spec.max_bytes,
        persist_data: spec.persist_data,
        managed_by: record.managed_by.as_str().to_owned(),
        created: record.created,
        changed: record.changed,
        secret: record.secret.clone(),
        options: keyring.seal(record.id.as_bytes(), options.as_bytes())?,
    };
    let body = serde_json::to_string(&body).unwrap_or_default();
    Ok(Document { id: record.id, name: record.name.clone(), revision: record.revision, body })
}

/// What the store has kept. One that can't be read in full has its fault.
pub(in crate::datasource) fn read(document: Document, keyring: &Keyring) -> Record {
    let Document { id, name, revision, body } = document;
    // Who manages it is in clear, and is read whatever else can't be: the configuration file is to have its own back.
    let mut managed_by = ManagedBy::Unknown;
    let body: Body = match serde_json::from_str::<Value>(&body).and_then(|value| {
        managed_by = value["managed_by"].as_str().map_or(ManagedBy::Unknown, ManagedBy::of);
        match value["form"].as_u64() {
            Some(form) if form > u64::from(FORM) => Err(serde::de::Error::custom(format!(
                "it has form {form}, and this host reads up to {FORM}: a newer one wrote it"
            ))),
            _ => serde_json::from_value(value),
        }
    }) {
        Ok(body) => body,
        Err(error) => {
            let (never, secret, spec) = (Timestamp::UNIX_EPOCH, BTreeSet::new(), Datasource::new(""));
            let fault = Some(format!("the record can't be read: {error}"));
            return Record { id, name, spec, secret, managed_by, created: never, changed: never, revision, fault };
        }
    };
    let options = keyring.open_sealed(id.as_bytes(), &body.options).map_err(|e| e.to_string());
    let options = options.and_then(|plain| {
        // What it holds is not for an error's text.
        serde_json::from_slice::<Map<String, Value>>(&plain).map_err(|_| "they are no options".to_owned())
    });
    let (options, fault) = match options {
        Ok(options) => (options, None),
        Err(error) => (Map::new(), Some(format!("the record's options can't be read: {error}"))),
    };
    let spec = Datasource {
        driver: body.driver,
        description: body.description,
        enabled: body.enabled,
        addresses: body.addresses,
        poll: Duration::from_millis(body.poll_ms),
        deadline: Duration::from_millis(body.deadline_ms),
        max_rows: body.max_rows,
        max_bytes: body.max_bytes,
        persist_data: body.persist_data,
        options,
    };
    let Body { secret, created, changed, .. } = body;
    Record { id, name, spec, secret, managed_by, created, changed, revision, fault }
}
