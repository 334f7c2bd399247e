//! The check of a view against a table's columns.

use super::bound::{Asked, Bound, Check, Instead, Shown, Topics};
use super::cells::{Counts, bytes};
use super::constant::{compares, logical};
use super::fault::{ViewError, ViewFault};
use super::{Comparison, Condition, Constant, Mask, View};
use crate::table::Shape;
use arrow_schema::{DataType, Field, Schema};
use busway_plugin_api::options::nearest;
use std::sync::Arc;

impl View {
    /// The view of a table of this shape, before any row: pass it the table's state with [`Bound::begin`], then its steps.
    ///
    /// # Errors
    ///
    /// When it does not fit, with everything that is wrong.
    pub fn bind(&self, shape: &Shape) -> Result<Bound, ViewError> {
        let mut bind = Bind { shape, faults: Vec::new() };
        let topics = self.topics.as_ref().and_then(|topics| {
            let column = bind.topic_column()?;
            Some(Topics { column, chosen: topics.iter().cloned().collect() })
        });
        let checks: Vec<Check> = self.only.iter().filter_map(|condition| bind.check(condition)).collect();
        let shown = bind.shown(self);
        if !bind.faults.is_empty() {
            return Err(ViewError { faults: bind.faults });
        }
        let seen = match &shown {
            None => shape.clone(),
            Some(shown) => bind.seen(shown),
        };
        // Without a key, what is not shown may be all that two rows differ in.
        let told_apart = |shown: &Vec<Shown>| {
            let whole = |i| shown.iter().any(|s| s.column == i && matches!(s.instead, None | Some(Instead::Hash)));
            (0..shape.schema.fields().len()).all(whole)
        };
        let folds = shape.key.is_empty() && !shown.as_ref().is_none_or(told_apart);
        Ok(Bound {
            shape: seen,
            of: Arc::clone(&shape.schema),
            topics,
            checks,
            shown,
            counts: folds.then(Counts::default),
        })
    }
}

struct Bind<'a> {
    shape: &'a Shape,
    faults: Vec<ViewFault>,
}

impl Bind<'_> {
    fn fault<T>(&mut self, fault: ViewFault) -> Option<T> {
        self.faults.push(fault);
        None
    }

    fn column(&mut self, part: &'static str, name: &str) -> Option<usize> {
        if let Ok(column) = self.shape.schema.index_of(name) {
            return Some(column);
        }
        let columns: Vec<String> = self.shape.schema.fields().iter().map(|f| f.name().clone()).collect();
        let nearest = nearest(name, columns.iter().map(String::as_str)).map(str::to_owned);
        self.fault(ViewFault::Unknown { part, column: name.to_owned(), nearest, columns })
    }

    fn topic_column(&mut self) -> Option<usize> {
        let found = self.shape.topic.as_ref().and_then(|topic| self.shape.schema.index_of(topic).ok());
        let Some(column) = found else { return self.fault(ViewFault::NoTopic) };
        let field = self.shape.schema.field(column);
        let kind = logical(field.data_type());
        // Those that there are constants of have a text.
        if !compares(kind).0 {
            return self.fault(ViewFault::TopicType { column: field.name().clone(), kind: kind.clone() });
        }
        Some(column)
    }

    fn check(&mut self, condition: &Condition) -> Option<Check> {
        let column = self.column("only", &condition.column)?;
        let field = self.shape.schema.field(column);
        let (name, kind) = (field.name().clone(), field.data_type().clone());
        let (equals, orders) = compares(&kind);
        let fits = match &condition.is {
            Comparison::IsNull | Comparison::NotNull => true,
            Comparison::Eq(_) | Comparison::Ne(_) | Comparison::In(_) => equals,
            _ => orders,
        };
        if !fits {
            return self.fault(ViewFault::Operator { column: name, kind, operator: condition.is.name() });
        }
        let mut constants = condition.is.constants().into_iter().filter_map(|value| {
            let found = value.array(&kind).and_then(|value| bytes(&value).ok());
            found.or_else(|| self.fault(value_fault("only", field, value)))
        });
        let asked = match &condition.is {
            Comparison::IsNull => Asked::Null(true),
            Comparison::NotNull => Asked::Null(false),
            Comparison::In(_) => Asked::In(constants.collect()),
            Comparison::Eq(_) => Asked::Compared(std::cmp::Ordering::is_eq, constants.next()?),
            Comparison::Ne(_) => Asked::Compared(std::cmp::Ordering::is_ne, constants.next()?),
            Comparison::Lt(_) => Asked::Compared(std::cmp::Ordering::is_lt, constants.next()?),
            Comparison::Le(_) => Asked::Compared(std::cmp::Ordering::is_le, constants.next()?),
            Comparison::Gt(_) => Asked::Compared(std::cmp::Ordering::is_gt, constants.next()?),
            Comparison::Ge(_) => Asked::Compared(std::cmp::Ordering::is_ge, constants.next()?),
        };
        Some(Check { column, asked })
    }

    /// The columns to show; `None`: as they are.
    fn shown(&mut self, view: &View) -> Option<Vec<Shown>> {
        let mut masks = vec![None; self.shape.schema.fields().len()];
        for (name, mask) in &view.mask {
            let Some(column) = self.column("mask", name) else { continue };
            if self.shape.key.contains(name) {
                self.faults.push(ViewFault::KeyMasked { column: name.clone() });
            }
            masks[column] = self.instead(column, mask);
        }
        if let Some(columns) = &view.columns {
            if columns.is_empty() {
                return self.fault(ViewFault::NoColumns);
            }
            let missing: Vec<&String> = self.shape.key.iter().filter(|key| !columns.contains(key)).collect();
            self.faults.extend(missing.into_iter().map(|column| ViewFault::KeyDropped { column: column.clone() }));
        } else if view.mask.is_empty() {
            return None;
        }
        let mut shown: Vec<Shown> = Vec::new();
        let all: Vec<String> = self.shape.schema.fields().iter().map(|f| f.name().clone()).collect();
        for name in view.columns.as_ref().unwrap_or(&all) {
            let Some(column) = self.column("columns", name) else { continue };
            if view.columns.is_some() && shown.iter().any(|other| other.column == column) {
                self.faults.push(ViewFault::Twice { column: name.clone() });
            }
            shown.push(Shown { column, instead: masks[column].clone() });
        }
        Some(shown)
    }

    fn instead(&mut self, column: usize, mask: &Mask) -> Option<Instead> {
        let field = self.shape.schema.field(column);
        match mask {
            Mask::Null => Some(Instead::Null),
            Mask::Hash => Some(Instead::Hash),
            Mask::Constant(value) => match value.array(field.data_type()) {
                Some(value) => Some(Instead::Constant(value)),
                None => self.fault(value_fault("mask", field, value)),
            },
        }
    }

    /// The shape of what is shown.
    fn seen(&self, shown: &[Shown]) -> Shape {
        let field = |shown: &Shown| {
            let field = self.shape.schema.field(shown.column).clone();
            match shown.instead {
                None | Some(Instead::Constant(_)) => field,
                Some(Instead::Null) => field.with_nullable(true),
                Some(Instead::Hash) => field.with_data_type(DataType::Utf8),
            }
        };
        let fields: Vec<Field> = shown.iter().map(field).collect();
        let schema = Schema::new_with_metadata(fields, self.shape.schema.metadata().clone());
        let as_it_is = |topic: &String| {
            let plain = |s: &Shown| s.instead.is_none() && self.shape.schema.field(s.column).name() == topic;
            shown.iter().any(plain)
        };
        let topic = self.shape.topic.clone().filter(as_it_is);
        Shape { schema: Arc::new(schema), topic, ..self.shape.clone() }
    }
}

fn value_fault(part: &'static str, field: &Field, value: &Constant) -> ViewFault {
    ViewFault::Value { part, column: field.name().clone(), kind: field.data_type().clone(), value: value.clone() }
}
