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
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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
#[derive(Debug, Clone)]
pub(super) struct Keep {
    folder: PathBuf,
}

/// Where the tables of one datasource are kept, if they are. It lives as long as somebody has something to keep there, also
/// when the datasource was removed.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// Whether they are to be kept: not any more when the record says so, or is gone.
    on: AtomicBool,
    /// Whose turn it is to write.
    pub(super) turn: Mutex<()>,
}

impl Keep {
    /// In that folder, which is made when there is something to keep.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A datasource's place: one for its whole life. Nothing is kept there before that is [turned](Place::turn) on.
    pub(super) fn place(&self, datasource: Uuid) -> Place {
        Place { folder: self.folder.join(datasource.to_string()), on: AtomicBool::new(false), turn: Mutex::default() }
    }

    /// Removes what is kept of any but these.
    pub(super) fn retain(&self, datasources: &BTreeSet<Uuid>) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let ids = entries.filter_map(|entry| Uuid::try_parse(entry.ok()?.file_name().to_str()?).ok());
        ids.filter(|id| !datasources.contains(id)).for_each(|id| self.place(id).clear());
    }
}

impl Place {
    /// From now on tables are kept, or not; answers whether they were. Waits for nobody: what is on the disk, or just being
    /// written, goes when it is [cleared](Self::clear).
    pub(super) fn turn(&self, on: bool) -> bool {
        self.on.swap(on, Ordering::SeqCst)
    }

    /// Keeps a table as it is when it is its turn, if it is there and to be kept; on the disk when this returns. Waits for the
    /// disk, but for no other datasource's.
    pub(super) fn save(&self, view: impl FnOnce() -> Option<Arc<TableView>>) -> io::Result<Option<Arc<TableView>>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.on.load(Ordering::SeqCst) {
            return Ok(None);
        }
        // Not before: another may have kept a later state while this one waited.
        let Some(view) = view() else { return Ok(None) };
        self.write(&view)?;
        Ok(Some(view))
    }

    fn write(&self, view: &TableView) -> io::Result<()> {
        let folder = &self.folder;
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
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
        let file = tempfile::NamedTempFile::new_in(folder)?;
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
        File::open(folder)?.sync_all()
    }

    /// Keeps a table no more.
    pub(super) fn drop_table(&self, table: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.folder.join(name(table))))
    }

    /// What is kept. A file that can't be read is left out, and told of in the log.
    pub(super) fn load(&self) -> Vec<Kept> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
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

    /// Removes what was kept, unless tables are to be kept again by now.
    pub(super) fn clear(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.on.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = absent_is_fine(fs::remove_dir_all(&self.folder)) {
            tracing::warn!(folder = %self.folder.display(), %error, "kept tables can't be removed");
        }
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

    /// One that is on.
    fn place(folder: &Path, datasource: Uuid) -> Arc<Place> {
        let place = Keep::new(folder.join("tables")).place(datasource);
        assert!(!place.turn(true));
        Arc::new(place)
    }

    #[test]
    fn a_table_is_as_it_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let id = Uuid::new_v4();
        let place = place(folder.path(), id);
        assert!(place.load().is_empty());
        let long = "ä".repeat(127);
        let rows = [Row { id: 1, name: Some("one".to_owned()) }, Row { id: 2, name: None }];
        for (table, rows) in [("rows", &rows[..]), (&long, &rows[..1]), ("none", &[])] {
            place.save(|| Some(view(table, rows))).unwrap();
        }
        let mut kept = place.load();
        kept.sort_by(|a, b| a.table.cmp(&b.table));
        let seen: Vec<(&str, usize)> = kept.iter().map(|k| (k.table.as_str(), k.rows.num_rows())).collect();
        assert_eq!(seen, [("none", 0), ("rows", 2), (&long, 1)]);
        let wanted = view("rows", &rows);
        assert_eq!(kept[1].shape, *wanted.shape);
        assert!(kept[1].as_of.is_some());
        let file = fs::read_dir(folder.path().join("tables").join(id.to_string())).unwrap().next().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        place.drop_table("rows").unwrap();
        place.drop_table("rows").unwrap();
        assert_eq!(place.load().len(), 2);
        fs::write(file.path(), b"no table").unwrap();
        assert!(place.load().len() < 3, "one that is damaged is left out");
    }

    #[test]
    fn what_is_turned_off_is_kept_no_more_whoever_was_about_to() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path().join("tables"));
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let table = view("rows", &[]);
        let (place, other) = (place(folder.path(), one), place(folder.path(), two));
        place.save(|| Some(Arc::clone(&table))).unwrap();
        other.save(|| Some(Arc::clone(&table))).unwrap();
        // Somebody took it before.
        let held = Arc::clone(&place);
        assert!(place.turn(false));
        assert!(held.save(|| Some(Arc::clone(&table))).unwrap().is_none());
        place.clear();
        assert!(!keep.folder.join(one.to_string()).exists());
        assert!(held.save(|| Some(Arc::clone(&table))).unwrap().is_none());
        assert!(place.load().is_empty());
        place.turn(true);
        held.save(|| Some(Arc::clone(&table))).unwrap();
        place.clear();
        assert_eq!(place.load().len(), 1, "what is kept again does not go");
        keep.retain(&BTreeSet::from([one]));
        assert_eq!((place.load().len(), other.load().len()), (1, 0));
    }

    #[test]
    fn what_waits_for_its_turn_is_kept_as_it_is_then() {
        let folder = tempfile::tempdir().unwrap();
        let (place, other) = (place(folder.path(), Uuid::new_v4()), place(folder.path(), Uuid::new_v4()));
        let bus = Bus::new("alpha");
        let service = bus.register("web").unwrap();
        let put = |rows: &[Row]| drop(service.publish(&TableSpec::of::<Row>("t").key(["id"]), rows).unwrap());
        let now = || bus.table(&Address::new("web", "t").unwrap());
        put(&[]);
        let held = place.turn.lock().unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| place.save(now).unwrap());
            // Others are not held up.
            other.save(now).unwrap();
            put(&[Row { id: 1, name: None }]);
            drop(held);
            assert_eq!(slow.join().unwrap().unwrap().rows.num_rows(), 1);
        });
        assert_eq!(place.load()[0].rows.num_rows(), 1);
    }
}
