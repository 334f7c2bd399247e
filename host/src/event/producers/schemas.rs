//! Tables with other columns, or another key.

use super::super::Publisher;
use super::super::catalogue::{SchemaChanged, SchemaChangedEvent};
use super::{next, own_up, tell};
use crate::bus::Reshaped;
use crate::happenings::Receiver;

/// Tells of tables that begin anew since they are others.
pub(super) async fn run(publisher: Publisher, mut reshaped: Receiver<Reshaped>) {
    let mut lost = 0;
    while let Some(Reshaped { address, table }) = next(&mut reshaped, &mut lost).await {
        own_up(&mut lost, "tables");
        let shape = &table.shape;
        let data = SchemaChanged {
            service: Some(address.service().to_owned()),
            table: Some(address.table().to_owned()),
            epoch: i64::try_from(table.epoch.0).ok(),
            columns: Some(shape.schema.fields().iter().map(|field| field.name().clone()).collect()),
        };
        let key = if shape.key.is_empty() { String::new() } else { format!("key: {}", shape.key.join(", ")) };
        let origin = format!("{}.{}", address.service(), address.table());
        tell::<SchemaChangedEvent>(&publisher, &origin, &data, &[("description", &key)]);
    }
}
