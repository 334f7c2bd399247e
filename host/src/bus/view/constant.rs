//! Values in views.

use super::fault::example;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A value that a column's values are compared with, or masked by: a JSON truth value, number or text. What it means is
/// for the column to say: a text may be a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Constant(Kind);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Bool(bool),
    Whole(i128),
    /// Its bits, with one zero and one NaN.
    Float(u64),
    Text(String),
}

/// Why some JSON is no [`Constant`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} can't be compared with: give true, false, a number or a text (for null ask is_null or not_null)")]
pub struct BadConstant(String);

/// Of two encodings of one type, which compare as the values do.
pub(super) fn logical(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, values) => logical(values),
        _ => kind,
    }
}

/// What JSON has no form of its own for, and texts stand for.
fn is_time(kind: &DataType) -> bool {
    use DataType::{Date32, Date64, Time32, Time64, Timestamp};
    matches!(kind, Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..))
}

/// Whether there are constants of a type, and which comparisons they allow: being equal, and being less or greater.
pub(super) fn compares(kind: &DataType) -> (bool, bool) {
    let kind = logical(kind);
    let orders = kind.is_integer() || kind.is_floating() || kind.is_decimal() || is_time(kind) || kind.is_string();
    (orders || *kind == DataType::Boolean, orders)
}

impl Constant {
    /// What a text in a query means as a value of a column's type, alone in an array: `5`, `2.5`, `true`,
    /// `2024-05-06T07:08:09Z`.
    ///
    /// # Errors
    ///
    /// What to give instead.
    pub(crate) fn value_of(text: &str, kind: &DataType) -> Result<ArrayRef, &'static str> {
        let read = || {
            let constant = match logical(kind) {
                DataType::Boolean => text.parse::<bool>().ok()?.into(),
                kind if kind.is_integer() => Self(Kind::Whole(text.parse().ok()?)),
                kind if kind.is_floating() => text.parse::<f64>().ok()?.into(),
                _ => Self::from(text),
            };
            constant.array(kind)
        };
        read().ok_or_else(|| example(kind))
    }

    /// The value as one of a column's type, alone in an array. `None`: it is none, or none exactly.
    pub(super) fn array(&self, kind: &DataType) -> Option<ArrayRef> {
        let value = logical(kind);
        let text = match &self.0 {
            Kind::Bool(value) if *kind == DataType::Boolean => value.to_string(),
            Kind::Whole(number) if value.is_integer() || value.is_floating() || value.is_decimal() => {
                number.to_string()
            }
            Kind::Float(bits) if value.is_floating() || value.is_decimal() => f64::from_bits(*bits).to_string(),
            Kind::Text(text) if value.is_string() || is_time(value) || value.is_decimal() => text.clone(),
            _ => return None,
        };
        let array = strict(&text_array(&text), value)?;
        if !is_exact(&text, &array, value) {
            return None;
        }
        strict(&array, kind)
    }
}

fn text_array(text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

/// What can't be cast is nothing, not null.
fn strict(array: &ArrayRef, kind: &DataType) -> Option<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, kind, &options).ok().filter(|array| !array.is_null(0))
}

/// Whether nothing was rounded off: who asks for half a cent must not be given whole ones.
fn is_exact(text: &str, array: &ArrayRef, kind: &DataType) -> bool {
    let printed = || {
        strict(array, &DataType::Utf8).map(|a| a.as_any().downcast_ref::<StringArray>().map(|a| a.value(0).to_owned()))
    };
    let finest = match kind {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        DataType::Date32 => return printed().flatten().is_some_and(|printed| printed == text),
        kind if kind.is_decimal() => {
            return printed().flatten().is_some_and(|printed| digits(&printed) == digits(text));
        }
        _ => return true,
    };
    // What nanoseconds don't reach is centuries away: there nobody asks for parts of a second.
    let Some(fine) = strict(&text_array(text), &finest) else { return true };
    cast(array, &finest).is_ok_and(|same| same.to_data() == fine.to_data())
}

/// A decimal number without what does not change it.
fn digits(number: &str) -> &str {
    let number = number.strip_prefix('+').unwrap_or(number);
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Self {
        Self(Kind::Bool(value))
    }
}

impl From<i64> for Constant {
    fn from(value: i64) -> Self {
        Self(Kind::Whole(value.into()))
    }
}

impl From<u64> for Constant {
    fn from(value: u64) -> Self {
        Self(Kind::Whole(value.into()))
    }
}

/// NaN and infinities have no JSON: a view with one can't be written down.
impl From<f64> for Constant {
    fn from(value: f64) -> Self {
        Self(Kind::Float(if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits()))
    }
}

impl From<&str> for Constant {
    fn from(value: &str) -> Self {
        Self(Kind::Text(value.to_owned()))
    }
}

impl From<String> for Constant {
    fn from(value: String) -> Self {
        Self(Kind::Text(value))
    }
}

impl TryFrom<Value> for Constant {
    type Error = BadConstant;

    fn try_from(value: Value) -> Result<Self, BadConstant> {
        match &value {
            Value::Bool(value) => Ok((*value).into()),
            Value::String(text) => Ok(text.as_str().into()),
            Value::Number(number) => {
                let whole = number.as_i64().map(Self::from).or_else(|| number.as_u64().map(Self::from));
                whole.or_else(|| number.as_f64().map(Self::from)).ok_or_else(|| BadConstant(value.to_string()))
            }
            _ => Err(BadConstant(value.to_string())),
        }
    }
}

impl From<Constant> for Value {
    fn from(constant: Constant) -> Self {
        match constant.0 {
            Kind::Bool(value) => value.into(),
            Kind::Whole(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => Self::Null,
            },
            Kind::Float(bits) => f64::from_bits(bits).into(),
            Kind::Text(text) => text.into(),
        }
    }
}

/// As JSON.
impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bool(value) => value.fmt(f),
            Kind::Whole(number) => number.fmt(f),
            Kind::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Kind::Text(text) => write!(f, "{text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_cast::display::array_value_to_string;

    #[test]
    fn a_constant_is_a_value_of_the_columns_type_or_none() {
        use DataType::*;
        let [seconds, zoned] = [None, Some("UTC".into())].map(|zone| Timestamp(TimeUnit::Second, zone));
        let names = Dictionary(Box::new(Int32), Box::new(Utf8));
        for (constant, kind, expected) in [
            (Constant::from(true), Boolean, Some("true")),
            (true.into(), Utf8, None),
            ("true".into(), Boolean, None),
            (5i64.into(), Int8, Some("5")),
            (500i64.into(), Int8, None),
            ((-1i64).into(), UInt64, None),
            (u64::MAX.into(), UInt64, Some("18446744073709551615")),
            (u64::MAX.into(), Int64, None),
            (2.5.into(), Int64, None),
            ("5".into(), Int64, None),
            (5i64.into(), Float64, Some("5.0")),
            (0.1.into(), Float32, Some("0.1")),
            (0.5.into(), Float16, Some("0.5")),
            ((-0.0).into(), Float64, Some("0.0")),
            ("x".into(), Utf8, Some("x")),
            ("x".into(), Utf8View, Some("x")),
            ("x".into(), names, Some("x")),
            (5i64.into(), Utf8, None),
            ("1.5".into(), Decimal128(6, 2), Some("1.50")),
            (1.5.into(), Decimal128(6, 2), Some("1.50")),
            (7i64.into(), Decimal128(6, 2), Some("7.00")),
            ("1.505".into(), Decimal128(6, 2), None),
            ("123456.5".into(), Decimal128(6, 2), None),
            ("2024-05-06T07:08:09Z".into(), zoned.clone(), Some("2024-05-06T07:08:09Z")),
            ("2024-05-06T09:08:09+02:00".into(), zoned.clone(), Some("2024-05-06T07:08:09Z")),
            ("2024-05-06T07:08:09".into(), seconds.clone(), Some("2024-05-06T07:08:09")),
            ("2024-05-06T07:08:09.5".into(), seconds.clone(), None),
            ("yesterday".into(), seconds, None),
            (1_700_000_000i64.into(), zoned, None),
            ("2024-05-06".into(), Date32, Some("2024-05-06")),
            ("2024-05-06T07:08:09".into(), Date32, None),
            ("07:08:09".into(), Time32(TimeUnit::Second), Some("07:08:09")),
            ("07:08:09.5".into(), Time32(TimeUnit::Second), None),
            ("x".into(), Binary, None),
        ] {
            let array = constant.array(&kind);
            assert!(array.as_ref().is_none_or(|a| *a.data_type() == kind));
            let text = array.map(|array| array_value_to_string(&array, 0).unwrap());
            assert_eq!(text.as_deref(), expected, "{constant} as {kind}");
        }
    }

    #[test]
    fn written_as_json_and_read_back() {
        for text in ["true", "-7", "18446744073709551615", "2.5", "\"x\""] {
            let constant: Constant = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&constant).unwrap(), text);
            assert_eq!(constant.to_string(), text);
        }
        assert_eq!(
            serde_json::from_str::<Constant>("[1]").unwrap_err().to_string(),
            "[1] can't be compared with: give true, false, a number or a text (for null ask is_null or not_null)"
        );
    }
}
