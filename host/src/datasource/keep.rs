//! Last tables on disk: served after a start until the source has been read.
//!
//! A folder for each datasource, a file for each table: an Arrow stream whose schema says what the table is. Files are
//! written beside and renamed, so that there is always a whole one, and only the host's user reads them.

use crate::bus::TableView;
use crate::table::Shape;
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};
use busway_plugin_api::table::Batches;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The key in a schema's metadata under which the table is described.
const TABLE: &str = "busway.table";

#[derive(Debug, Serialize, Deserialize)]
struct Described {
    table: String,
    key: Vec<String>,
    topic: Option<String>,
    description: String,
    as_of: Option<Timestamp>,
}

/// A table as it was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) table: String,
    pub(super) shape: Shape,
    pub(super) rows: Batches,
    pub(super) as_of: Option<Timestamp>,
}

/// Where the tables of all datasources are kept.
#[derive(Debug)]
pub(super) struct Keep {
    folder: PathBuf,
    /// Whose turn it is to write a datasource's files, and whether it was removed: a runner that has not ended yet keeps no
    /// more of it then.
    turns: Mutex<BTreeMap<Uuid, Arc<Mutex<bool>>>>,
}

impl Keep {
    /// In that folder, which is made when there is something to keep.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, turns: Mutex::default() }
    }

    fn of(&self, datasource: Uuid) -> PathBuf {
        self.folder.join(datasource.to_string())
    }

    pub(super) fn turn(&self, datasource: Uuid) -> Arc<Mutex<bool>> {
        Arc::clone(self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(datasource).or_default())
    }

    /// Keeps a table as it is when it is its turn, if it is there; on the disk when this returns. Waits for the disk, but for
    /// no other datasource's.
    pub(super) fn save(
        &self,
        datasource: Uuid,
        view: impl FnOnce() -> Option<Arc<TableView>>,
    ) -> io::Result<Option<Arc<TableView>>> {
        let turn = self.turn(datasource);
        let forgotten = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if *forgotten {
            return Ok(None);
        }
        // Not before: another may have kept a later state while this one waited.
        let Some(view) = view() else { return Ok(None) };
        self.write(datasource, &view)?;
        Ok(Some(view))
    }

    fn write(&self, datasource: Uuid, view: &TableView) -> io::Result<()> {
        let folder = self.of(datasource);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let shape = &view.shape;
        let described = Described {
            table: view.address.table().to_owned(),
            key: shape.key.clone(),
            topic: shape.topic.clone(),
            description: shape.description.clone(),
            as_of: view.as_of,
        };
        let mut metadata = shape.schema.metadata().clone();
        metadata.insert(TABLE.to_owned(), serde_json::to_string(&described)?);
        let schema = Arc::new(Schema::clone(&shape.schema).with_metadata(metadata));
        let file = tempfile::NamedTempFile::new_in(&folder)?;
        let broken = |error: ArrowError| io::Error::other(error.to_string());
        let mut writer = StreamWriter::try_new(BufWriter::new(file), &schema).map_err(broken)?;
        for batch in view.rows.batches() {
            writer.write(&batch.with_schema(Arc::clone(&schema)).map_err(broken)?).map_err(broken)?;
        }
        let mut buffered = writer.into_inner().map_err(broken)?;
        buffered.flush()?;
        let file = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(name(view.address.table()))).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    }

    /// Keeps a table no more.
    pub(super) fn drop_table(&self, datasource: Uuid, table: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.of(datasource).join(name(table))))
    }

    /// What is kept of a datasource. A file that can't be read is left out, and told of in the log.
    pub(super) fn load(&self, datasource: Uuid) -> Vec<Kept> {
        let Ok(entries) = fs::read_dir(self.of(datasource)) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let one = |path: PathBuf| match read(&path) {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a kept table can't be read: it is not served");
                None
            }
        };
        paths.filter(|path| path.extension().is_some_and(|e| e == "arrow")).filter_map(one).collect()
    }

    /// Nothing is kept of a datasource any more.
    pub(super) fn forget(&self, datasource: Uuid) {
        let turn = self.turn(datasource);
        let mut forgotten = turn.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten = true;
        self.remove(datasource);
    }

    /// What was kept of a datasource is gone; it may keep something again.
    pub(super) fn clear(&self, datasource: Uuid) {
        let turn = self.turn(datasource);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove(datasource);
    }

    fn remove(&self, datasource: Uuid) {
        if let Err(error) = absent_is_fine(fs::remove_dir_all(self.of(datasource))) {
            tracing::warn!(%datasource, %error, "kept tables can't be removed");
        }
    }

    /// Removes what is kept of any but these.
    pub(super) fn retain(&self, datasources: &BTreeSet<Uuid>) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let ids = entries.filter_map(|entry| Uuid::try_parse(entry.ok()?.file_name().to_str()?).ok());
        ids.filter(|id| !datasources.contains(id)).for_each(|id| self.remove(id));
    }
}

/// A file's name for any table's: that may have letters a file system has not, and too many of them.
fn name(table: &str) -> String {
    let hash = Sha256::digest(table.as_bytes());
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.arrow")
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn read(path: &Path) -> io::Result<Kept> {
    let broken = |error: ArrowError| io::Error::other(error.to_string());
    let reader = StreamReader::try_new(BufReader::new(File::open(path)?), None).map_err(broken)?;
    let mut metadata = reader.schema().metadata().clone();
    let described = metadata.remove(TABLE).ok_or_else(|| io::Error::other("it does not say which table it is"))?;
    let Described { table, key, topic, description, as_of } = serde_json::from_str(&described)?;
    let schema = Arc::new(Schema::clone(&reader.schema()).with_metadata(metadata));
    let batches = reader.map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec()));
    let batches = batches.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    let shape = Shape::new(Arc::clone(&schema), key).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(Kept { table, shape: Shape { topic, description, ..shape }, rows: Batches { schema, batches }, as_of })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Address, Bus};
    use busway_plugin_api::TableSpec;
    use std::os::unix::fs::PermissionsExt;

    #[derive(Serialize, Deserialize)]
    struct Row {
        id: i64,
        name: Option<String>,
    }

    fn view(table: &str, rows: &[Row]) -> Arc<TableView> {
        let bus = Bus::new("alpha");
        let service = bus.register("web").unwrap();
        service.publish(&TableSpec::of::<Row>(table).key(["id"]).describe("Rows"), rows).unwrap();
        bus.table(&Address::new("web", table).unwrap()).unwrap()
    }

    #[test]
    fn a_table_is_as_it_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path().join("tables"));
        let id = Uuid::new_v4();
        assert!(keep.load(id).is_empty());
        let long = "ä".repeat(127);
        let rows = [Row { id: 1, name: Some("one".to_owned()) }, Row { id: 2, name: None }];
        for (table, rows) in [("rows", &rows[..]), (&long, &rows[..1]), ("none", &[])] {
            keep.save(id, || Some(view(table, rows))).unwrap();
        }
        let mut kept = keep.load(id);
        kept.sort_by(|a, b| a.table.cmp(&b.table));
        let seen: Vec<(&str, usize)> = kept.iter().map(|k| (k.table.as_str(), k.rows.num_rows())).collect();
        assert_eq!(seen, [("none", 0), ("rows", 2), (&long, 1)]);
        let wanted = view("rows", &rows);
        assert_eq!(kept[1].shape, *wanted.shape);
        assert!(kept[1].as_of.is_some());
        let file = fs::read_dir(folder.path().join("tables").join(id.to_string())).unwrap().next().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        keep.drop_table(id, "rows").unwrap();
        keep.drop_table(id, "rows").unwrap();
        assert_eq!(keep.load(id).len(), 2);
        fs::write(file.path(), b"no table").unwrap();
        assert!(keep.load(id).len() < 3, "one that is damaged is left out");
    }

    #[test]
    fn what_was_removed_is_kept_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path().join("tables"));
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let table = view("rows", &[]);
        keep.save(one, || Some(Arc::clone(&table))).unwrap();
        keep.save(two, || Some(Arc::clone(&table))).unwrap();
        keep.forget(one);
        keep.save(one, || Some(Arc::clone(&table))).unwrap();
        assert!(keep.load(one).is_empty());
        keep.retain(&BTreeSet::from([one]));
        assert!(keep.load(two).is_empty());
    }

    #[test]
    fn what_waits_for_its_turn_is_kept_as_it_is_then() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Arc::new(Keep::new(folder.path().to_owned()));
        let id = Uuid::new_v4();
        let bus = Bus::new("alpha");
        let service = bus.register("web").unwrap();
        let put = |rows: &[Row]| drop(service.publish(&TableSpec::of::<Row>("t").key(["id"]), rows).unwrap());
        let now = || bus.table(&Address::new("web", "t").unwrap());
        put(&[]);
        let turn = keep.turn(id);
        let held = turn.lock().unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| keep.save(id, now).unwrap());
            // Others are not held up.
            keep.save(Uuid::new_v4(), now).unwrap();
            put(&[Row { id: 1, name: None }]);
            drop(held);
            assert_eq!(slow.join().unwrap().unwrap().rows.num_rows(), 1);
        });
        assert_eq!(keep.load(id)[0].rows.num_rows(), 1);
    }
}
