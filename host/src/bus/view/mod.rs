//! Views: which rows and columns of a table someone sees. A pure function of rows, applied alike to states and steps.
//!
//! The view of a step, applied to the view of a state, is the view of the state that the step leads to. So whoever
//! follows a table through a view sees at each moment the view of a state that the table had.

mod bind;
mod bound;
mod cells;
mod constant;
mod fault;
#[cfg(test)]
mod model;
mod written;

pub use bound::Bound;
pub use constant::{BadConstant, Constant};
pub use fault::{ViewError, ViewFault};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What to show of a table; by default everything. In this order: rows are chosen by their topics, then by conditions,
/// then columns are masked, then chosen.
///
/// Topics and conditions look at values before they are masked: who may write conditions can find a masked value out. So
/// bind a receiver's own view to the [shape](Bound::shape) of the view that is imposed on it, and let rows and steps pass
/// through the imposed one first.
///
/// Once [bound](View::bind) to a table's columns, it may be applied to rows and steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct View {
    /// Only rows of these topics, and those whose topic is null, which are for everyone. Compared whole, as text. `None`:
    /// all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<BTreeSet<String>>,
    /// Only rows of which all this is true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Condition>,
    /// Only these columns, in this order. `None`: all, as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// What to show instead of these columns' values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mask: BTreeMap<String, Mask>,
    /// The view that is looked at, instead of the table itself: what the publisher shows to this receiver. The bus puts it
    /// in; what is given here is not heeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Box<View>>,
}

/// Something that is true of a row or not. Written `{"column": "load", "operator": "gt", "value": 2.5}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "written::Written", into = "written::Written")]
pub struct Condition {
    /// The column it looks at.
    pub column: String,
    /// What must be true of its value.
    pub is: Comparison,
}

/// What a value is compared with. Of null only [`IsNull`](Self::IsNull) is true. Texts are compared byte by byte; NaN
/// equals itself and is greater than all numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Comparison {
    /// `eq`: equal.
    Eq(Constant),
    /// `ne`: not equal.
    Ne(Constant),
    /// `lt`: less.
    Lt(Constant),
    /// `le`: less or equal.
    Le(Constant),
    /// `gt`: greater.
    Gt(Constant),
    /// `ge`: greater or equal.
    Ge(Constant),
    /// `in`: one of these.
    In(BTreeSet<Constant>),
    /// `is_null`.
    IsNull,
    /// `not_null`.
    NotNull,
}

/// What is shown instead of a value. Written `"null"`, `{"constant": …}` or `"hash"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mask {
    /// Nothing. The column may then be null.
    Null,
    /// The same for all, null or not. Of the column's type.
    Constant(Constant),
    /// 32 hexadecimal digits; null stays null. Equal values of one type have equal ones, within this process: they are
    /// made under its secret, so that nobody can look a guess up.
    Hash,
}

impl View {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// What tells views apart in a place to resume from: 0 for everything, as it is. The same in every process.
    #[must_use]
    pub fn mark(&self) -> u64 {
        use std::hash::Hasher;
        if self.is_everything() {
            return 0;
        }
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write(&serde_json::to_vec(self).unwrap_or_default());
        hasher.finish().max(1)
    }

    /// Whether it shows everything, as it is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Only rows of these topics, besides those for everyone.
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.topics = Some(topics.into_iter().map(Into::into).collect());
        self
    }

    /// Only rows of which this, too, is true.
    #[must_use]
    pub fn only(mut self, column: impl Into<String>, is: Comparison) -> Self {
        self.only.push(Condition { column: column.into(), is });
        self
    }

    /// Only these columns, in this order.
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Something else instead of a column's values.
    #[must_use]
    pub fn mask(mut self, column: impl Into<String>, mask: Mask) -> Self {
        self.mask.insert(column.into(), mask);
        self
    }
}

impl Comparison {
    /// Its name where it is written down.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Eq(_) => "eq",
            Self::Ne(_) => "ne",
            Self::Lt(_) => "lt",
            Self::Le(_) => "le",
            Self::Gt(_) => "gt",
            Self::Ge(_) => "ge",
            Self::In(_) => "in",
            Self::IsNull => "is_null",
            Self::NotNull => "not_null",
        }
    }

    fn constants(&self) -> Vec<&Constant> {
        match self {
            Self::Eq(one) | Self::Ne(one) | Self::Lt(one) | Self::Le(one) | Self::Gt(one) | Self::Ge(one) => vec![one],
            Self::In(many) => many.iter().collect(),
            Self::IsNull | Self::NotNull => Vec::new(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.column, self.is.name())?;
        self.is.constants().iter().try_for_each(|constant| write!(f, " {constant}"))
    }
}
