//! Batches that break their promises: each is an error of its table, never a crash.

use crate::support::OnDrop;
use busway_plugin_api::abi::abi_stable::std_types::RVec;
use busway_plugin_api::abi::{ArrowArray, RawArray, TableData, TableUpdate};
use busway_plugin_api::arrow_schema::{DataType, Field, Fields};
use busway_plugin_api::prelude::*;
use busway_plugin_api::table::schema;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An array made by hand. What it points to lives until it is released.
struct Hand {
    length: i64,
    nulls: i64,
    offset: i64,
    buffers: Vec<Option<Vec<u64>>>,
    n_buffers: Option<i64>,
    no_buffers: bool,
    shift: usize,
    children: Vec<Option<Hand>>,
    n_children: Option<i64>,
    dictionary: Option<Box<Hand>>,
    released: bool,
}

/// What it owns, freed by `release`.
struct Private {
    _memory: Vec<Option<Vec<u64>>>,
    buffers: Vec<*const c_void>,
    children: Vec<*mut RawArray>,
    dictionary: *mut RawArray,
    _count: Option<OnDrop>,
}

unsafe extern "C" fn release(array: *mut RawArray) {
    // SAFETY: made by `Hand::raw`, and released once.
    unsafe {
        let private = Box::from_raw((*array).private_data.cast::<Private>());
        for child in private.children.iter().chain([&private.dictionary]).filter(|child| !child.is_null()) {
            let mut child = Box::from_raw(*child);
            // One that is marked as released is freed by nobody else here.
            child.release = Some(release);
            release(&mut *child);
        }
        (*array).release = None;
    }
}

impl Hand {
    fn new(length: i64, buffers: Vec<Option<Vec<u64>>>) -> Self {
        Self {
            length,
            nulls: 0,
            offset: 0,
            buffers,
            n_buffers: None,
            no_buffers: false,
            shift: 0,
            children: vec![],
            n_children: None,
            dictionary: None,
            released: false,
        }
    }

    fn raw(self, count: Option<OnDrop>) -> RawArray {
        let shift = self.shift;
        let at =
            |b: &Option<Vec<u64>>| b.as_ref().map_or(null(), |b| b.as_ptr().cast::<u8>().wrapping_add(shift).cast());
        let boxed = |hand: Hand| Box::into_raw(Box::new(hand.raw(None)));
        let mut private = Box::new(Private {
            buffers: self.buffers.iter().map(at).collect(),
            _memory: self.buffers,
            children: self.children.into_iter().map(|child| child.map_or(null_mut(), boxed)).collect(),
            dictionary: self.dictionary.map_or(null_mut(), |hand| boxed(*hand)),
            _count: count,
        });
        RawArray {
            length: self.length,
            null_count: self.nulls,
            offset: self.offset,
            n_buffers: self.n_buffers.unwrap_or(private.buffers.len() as i64),
            n_children: self.n_children.unwrap_or(private.children.len() as i64),
            buffers: if self.no_buffers { null_mut() } else { private.buffers.as_mut_ptr() },
            children: if private.children.is_empty() { null_mut() } else { private.children.as_mut_ptr() },
            dictionary: private.dictionary,
            release: (!self.released).then_some(release),
            private_data: Box::into_raw(private).cast(),
        }
    }
}

/// A table of one column, by hand.
fn table(rows: i64, column: Hand) -> Hand {
    Hand { children: vec![Some(column)], ..Hand::new(rows, vec![None]) }
}

fn ints() -> Hand {
    Hand::new(4, vec![None, Some(vec![1, 2, 3, 4])])
}

/// 32-bit offsets, and 64 bytes of characters.
fn text(rows: i64, offsets: &[i32]) -> Hand {
    let pair = |pair: &[i32]| u64::from(pair[0] as u32) | u64::from(*pair.get(1).unwrap_or(&0) as u32) << 32;
    Hand::new(rows, vec![None, Some(offsets.chunks(2).map(pair).collect()), Some(vec![0x6161_6161_6161_6161; 8])])
}

/// What importing and validating says; the memory is given back once, whatever that is.
fn import_as(kind: DataType, nullable: bool, batch: Hand) -> Result<Batches, String> {
    let released = Arc::new(AtomicUsize::new(0));
    let releases = Arc::clone(&released);
    let skipped = batch.released;
    let copied = batch.children.iter().flatten().any(|child| child.shift > 0);
    let count = OnDrop(Box::new(move || {
        releases.fetch_add(1, Ordering::SeqCst);
    }));
    let columns = schema([("c", kind, nullable)]);
    let mut update: TableUpdate = Update::bare("t", Change::Snapshot(Batches::empty(columns))).export().unwrap();
    let part: TableData = update.parts.pop().unwrap();
    // SAFETY: released once, on any thread; the promises that it breaks are those that importing has to look at.
    let batch = unsafe { ArrowArray::from_raw(batch.raw(Some(count))) };
    update.parts.push(TableData { schema: part.schema, batches: RVec::from(vec![batch]) });
    let imported = match Update::import(update).map(|update| update.change) {
        Ok(Change::Snapshot(rows)) => rows.validate().map(|()| rows).map_err(|e| format!("validate: {e}")),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.message.trim_start_matches("table \"t\": C Data interface error: ").to_owned()),
    };
    let held = imported.is_ok() && !copied;
    assert_eq!(released.load(Ordering::SeqCst), usize::from(!held && !skipped), "{imported:?}");
    imported
}

fn refused(kind: DataType, batch: Hand) -> String {
    import_as(kind, true, batch).unwrap_err()
}

fn int_table(change: impl FnOnce(&mut Hand)) -> Hand {
    let mut column = ints();
    change(&mut column);
    table(4, column)
}

#[test]
fn what_keeps_its_promises_is_taken() {
    assert_eq!(import_as(DataType::Int64, false, table(4, ints())).unwrap().num_rows(), 4);
    let sliced = Hand { offset: 2, ..table(2, ints()) };
    assert_eq!(import_as(DataType::Int64, false, sliced).unwrap().num_rows(), 2);
    assert_eq!(import_as(DataType::Utf8, false, table(2, text(2, &[1, 2, 4]))).unwrap().num_rows(), 2);
    let empty = Hand::new(2, vec![None, Some(vec![0, 0]), None]);
    assert_eq!(import_as(DataType::Utf8, false, table(2, empty)).unwrap().num_rows(), 2, "no texts, no characters");
}

#[test]
fn lengths_and_offsets() {
    let wrong = "the batch has a negative or overflowing length or offset";
    let cases: [fn(&mut Hand); 4] =
        [|c| c.length = -1, |c| c.offset = -1, |c| c.offset = i64::MAX, |c| (c.length, c.offset) = (i64::MIN, 1)];
    for change in cases {
        let told = refused(DataType::Int64, int_table(change));
        assert!(told == wrong || told == "the batch has a column shorter than the table", "{told}");
        let mut whole = table(4, ints());
        change(&mut whole);
        assert_eq!(refused(DataType::Int64, whole), wrong);
    }
    // Neither overflows by itself; counted in bytes or bits it would.
    for length in [i64::MAX - 1, i64::MAX / 8, i64::MAX / 64] {
        let told = refused(DataType::Int64, table(4, Hand { length, ..ints() }));
        assert_eq!(told, format!("the batch has {length} rows: too long for Int64"));
    }
    let (rows, length) = (1 << 40, 1 << 40);
    let told = refused(DataType::Int64, table(rows, Hand { length, ..ints() }));
    assert_eq!(told, "the batch has 1099511627776 rows: too long for Int64");
    assert_eq!(refused(DataType::Int64, table(5, ints())), "the batch has a column shorter than the table");
    let past = Hand { offset: 1, ..table(4, ints()) };
    assert_eq!(refused(DataType::Int64, past), "the batch has a column shorter than the table");
}

#[test]
fn null_counts() {
    let wrong = "the batch has an impossible null count";
    assert_eq!(refused(DataType::Int64, int_table(|c| c.nulls = -2)), wrong);
    assert_eq!(refused(DataType::Int64, int_table(|c| c.nulls = 5)), wrong);
    let told = refused(DataType::Int64, int_table(|c| c.nulls = 1));
    assert_eq!(told, "the batch has nulls, and no buffer that says where");
    let lie = |nulls| int_table(move |c| (c.nulls, c.buffers[0]) = (nulls, Some(vec![0b1101])));
    assert!(refused(DataType::Int64, lie(3)).starts_with("validate: "));
    assert!(import_as(DataType::Int64, true, lie(1)).is_ok());
    assert!(import_as(DataType::Int64, true, lie(-1)).is_ok());
    assert!(import_as(DataType::Int64, false, lie(-1)).unwrap_err().contains("declared as non-nullable"));
}

#[test]
fn rows_null_as_a_whole() {
    for nulls in [-1, 1, 0] {
        let mut whole = table(4, ints());
        (whole.nulls, whole.buffers[0]) = (nulls, Some(vec![0b1101]));
        let told = import_as(DataType::Int64, true, whole);
        assert_eq!(told.unwrap_err(), "the batch has a row that is null as a whole");
    }
    let mut none = table(4, ints());
    (none.nulls, none.buffers[0]) = (-1, Some(vec![0b1111]));
    assert!(import_as(DataType::Int64, true, none).is_ok());
}

#[test]
fn buffers() {
    for n in [0, 1, 3, -1, i64::MIN, i64::MAX] {
        let told = refused(DataType::Int64, int_table(|c| c.n_buffers = Some(n)));
        assert_eq!(told, format!("the batch has {n} buffers where Int64 has 2"));
    }
    assert_eq!(refused(DataType::Int64, int_table(|c| c.no_buffers = true)), "the batch has no buffers");
    let told = refused(DataType::Int64, int_table(|c| c.buffers[1] = None));
    assert_eq!(told, "the batch has no buffer 1 in a column of type Int64");
    let told = refused(DataType::Utf8, table(1, Hand { buffers: vec![None; 3], ..text(1, &[]) }));
    assert_eq!(told, "the batch has no buffer 1 in a column of type Utf8");
    let mut lost = text(1, &[0, 5]);
    lost.buffers[2] = None;
    assert_eq!(refused(DataType::Utf8, table(1, lost)), "the batch has texts, and no buffer that holds them");
    // Arrow copies what is not aligned.
    assert!(import_as(DataType::Int64, false, table(3, Hand { length: 3, shift: 4, ..ints() })).is_ok());
}

#[test]
fn children() {
    let kind = || DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int64, true)]));
    for n in [0, 2, -1, i64::MAX] {
        let inner = Hand { n_children: Some(n), ..table(4, ints()) };
        let told = refused(kind(), table(4, inner));
        assert_eq!(told, format!("the batch has {n} children where {} has 1", kind()));
        let told = refused(DataType::Int64, Hand { n_children: Some(n), ..table(4, ints()) });
        assert!(told.starts_with(&format!("the batch has {n} children where Struct(")), "{told}");
    }
    let none = Hand { n_children: Some(1), ..Hand::new(4, vec![None]) };
    assert!(refused(kind(), table(4, none)).contains("has 1 children where"), "the children's array is not there");
    let lost = Hand { children: vec![None], ..Hand::new(4, vec![None]) };
    assert_eq!(refused(kind(), table(4, lost)), "the batch has a child that is not there");
    let extra = int_table(|c| c.children.push(Some(ints())));
    assert_eq!(refused(DataType::Int64, extra), "the batch has 1 children where Int64 has 0");
    let short = table(4, Hand { length: 4, ..table(4, Hand { length: 3, ..ints() }) });
    assert_eq!(refused(kind(), short), "the batch has a column shorter than the table");
}

#[test]
fn released_arrays() {
    let gone = "the batch has already been released";
    assert_eq!(refused(DataType::Int64, int_table(|c| c.released = true)), gone);
    let mut whole = table(4, ints());
    whole.released = true;
    assert_eq!(refused(DataType::Int64, whole), gone);
}

#[test]
fn dictionaries() {
    let kind = || DataType::Dictionary(Box::new(DataType::Int64), Box::new(DataType::Utf8));
    let words = || Some(Box::new(text(2, &[0, 1, 2])));
    let keys = |keys: Vec<u64>| Hand { dictionary: words(), ..Hand::new(2, vec![None, Some(keys)]) };
    assert_eq!(import_as(kind(), false, table(2, keys(vec![1, 0]))).unwrap().num_rows(), 2);
    for bad in [2, u64::MAX, i64::MAX as u64] {
        assert!(refused(kind(), table(2, keys(vec![1, bad]))).starts_with("validate: "));
    }
    let told = refused(kind(), table(2, Hand { dictionary: None, ..keys(vec![0, 0]) }));
    assert_eq!(told, "the batch has no dictionary");
    let told = refused(DataType::Int64, table(2, keys(vec![0, 0])));
    assert_eq!(told, "the batch has a dictionary that its type does not have");
    let whole = Hand { dictionary: words(), ..table(4, ints()) };
    assert_eq!(refused(DataType::Int64, whole), "the batch has a dictionary that its type does not have");
    let inner = Hand { dictionary: Some(Box::new(text(2, &[0, 1, -1]))), ..keys(vec![1, 0]) };
    assert_eq!(refused(kind(), table(2, inner)), "the batch has negative or falling offsets");
    let inner = Hand { dictionary: Some(Box::new(Hand { length: -1, ..text(2, &[]) })), ..keys(vec![1, 0]) };
    assert_eq!(refused(kind(), table(2, inner)), "the batch has a negative or overflowing length or offset");
}

#[test]
fn texts() {
    let wrong = "the batch has negative or falling offsets";
    for offsets in [[0, 1, -1], [-1, 1, 2], [2, 1, 1], [i32::MIN, 0, 1]] {
        assert_eq!(refused(DataType::Utf8, table(2, text(2, &offsets))), wrong, "{offsets:?}");
        assert_eq!(refused(DataType::Binary, table(2, text(2, &offsets))), wrong, "{offsets:?}");
    }
    let told = refused(DataType::Utf8, table(2, text(2, &[0, 1, i32::MAX])));
    assert_eq!(told, "the batch has 2147483647 bytes of text");
    // The rows in use are fine, and arrow takes the last offset nevertheless.
    let behind = table(1, text(2, &[0, 1, -1]));
    assert_eq!(refused(DataType::Utf8, behind), wrong);
    for last in [u64::MAX, i64::MAX as u64, 1 << 40] {
        let large = Hand::new(1, vec![None, Some(vec![0, last]), Some(vec![0; 8])]);
        let told = refused(DataType::LargeUtf8, table(1, large));
        let bytes = format!("the batch has {last} bytes of text");
        assert_eq!(told, if last == u64::MAX { wrong.to_owned() } else { bytes });
    }
    let told = refused(DataType::Utf8, table(2, Hand { shift: 1, ..text(2, &[0, 0, 0]) }));
    assert_eq!(told, "the batch has misaligned offsets");
    // Found by the pass over the data.
    let told = refused(DataType::Utf8, table(3, text(3, &[0, 3, 1, 4])));
    assert!(told.starts_with("validate: "), "{told}");
    let mut latin = text(1, &[0, 2]);
    latin.buffers[2] = Some(vec![0xff61]);
    assert!(refused(DataType::Utf8, table(1, latin)).starts_with("validate: Invalid argument error: Invalid UTF8"));
}

#[test]
fn lists() {
    let kind = || DataType::new_list(DataType::Int64, true);
    let list = |offsets: &[i32]| {
        let mut list = text(2, offsets);
        list.buffers.truncate(2);
        table(2, Hand { children: vec![Some(ints())], ..list })
    };
    assert_eq!(import_as(kind(), false, list(&[0, 1, 4])).unwrap().num_rows(), 2);
    for offsets in [[0, 1, 5], [-1, 0, 1], [3, 2, 1], [0, 1, -1]] {
        assert_eq!(refused(kind(), list(&offsets)), "the batch has a column shorter than its lists say", "{offsets:?}");
    }
    assert!(refused(kind(), list(&[0, 4, 1])).starts_with("validate: "));
    assert!(refused(kind(), list(&[0, i32::MIN, 1])).starts_with("validate: "));
    let fixed = |n| DataType::new_fixed_size_list(DataType::Int64, n, true);
    let pairs = |rows| table(rows, Hand { children: vec![Some(ints())], ..Hand::new(rows, vec![None]) });
    assert_eq!(import_as(fixed(2), false, pairs(2)).unwrap().num_rows(), 2);
    assert_eq!(refused(fixed(2), pairs(3)), "the batch has a column shorter than its lists say");
    assert_eq!(refused(fixed(i32::MAX), pairs(1 << 40)), "the batch has a column shorter than its lists say");
}

#[test]
fn views() {
    let view = |length: u64| vec![length, 0];
    let views = |buffers: Vec<Option<Vec<u64>>>| {
        let mut all = vec![None, Some(view(16))];
        all.extend(buffers);
        table(1, Hand::new(1, all))
    };
    let long = Some(vec![0x6161_6161_6161_6161; 2]);
    let good = [None, Some(vec![0x6161_6161_0000_0010, 0]), long.clone(), Some(vec![16])];
    let good = Hand::new(1, good.to_vec());
    assert_eq!(import_as(DataType::Utf8View, false, table(1, good)).unwrap().num_rows(), 1);
    let lengths = "the batch has no lengths of its data buffers, or misaligned ones";
    assert_eq!(refused(DataType::Utf8View, views(vec![long.clone(), None])), lengths);
    let data = "the batch has a data buffer that is not there, or of negative length";
    assert_eq!(refused(DataType::Utf8View, views(vec![long.clone(), Some(vec![u64::MAX])])), data);
    assert_eq!(refused(DataType::Utf8View, views(vec![None, Some(vec![16])])), data);
    assert_eq!(refused(DataType::BinaryView, views(vec![])), "the batch has 2 buffers where BinaryView has 2");
    let mut many = views(vec![None]);
    many.children[0].as_mut().unwrap().n_buffers = Some(i64::MAX);
    assert!(refused(DataType::Utf8View, many).ends_with("buffers where Utf8View has 2"));
    // A view that points nowhere is found by the pass over the data.
    assert!(refused(DataType::Utf8View, views(vec![None])).starts_with("validate: "));
    assert!(refused(DataType::Utf8View, views(vec![long, Some(vec![8])])).starts_with("validate: "));
}
