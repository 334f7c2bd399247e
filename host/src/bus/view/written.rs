//! Conditions as they are written down.

use super::constant::{BadConstant, Constant};
use super::{Comparison, Condition};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A condition in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    column: String,
    operator: Operator,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    IsNull,
    NotNull,
}

/// Why what is written is no condition.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadCondition {
    #[error("the condition on {column:?}: {why}")]
    Constant { column: String, why: BadConstant },
    #[error("the condition on {column:?} lacks its value: give one (for null ask is_null or not_null)")]
    NoValue { column: String },
    #[error("the condition on {column:?} asks \"in\", which takes a list of values: {value} is none")]
    NoList { column: String, value: Value },
    #[error("the condition on {column:?} asks for null or not: leave out its value {value}")]
    Needless { column: String, value: Value },
}

impl TryFrom<Written> for Condition {
    type Error = BadCondition;

    fn try_from(written: Written) -> Result<Self, BadCondition> {
        let Written { column, operator, value } = written;
        let constant =
            |value| Constant::try_from(value).map_err(|why| BadCondition::Constant { column: column.clone(), why });
        let comparison = match operator {
            Operator::Eq => Comparison::Eq,
            Operator::Ne => Comparison::Ne,
            Operator::Lt => Comparison::Lt,
            Operator::Le => Comparison::Le,
            Operator::Gt => Comparison::Gt,
            Operator::Ge => Comparison::Ge,
            Operator::In => {
                let is = match value {
                    Some(Value::Array(values)) => {
                        Comparison::In(values.into_iter().map(constant).collect::<Result<_, _>>()?)
                    }
                    Some(value) => return Err(BadCondition::NoList { column, value }),
                    None => return Err(BadCondition::NoValue { column }),
                };
                return Ok(Self { column, is });
            }
            Operator::IsNull | Operator::NotNull => {
                if let Some(value) = value {
                    return Err(BadCondition::Needless { column, value });
                }
                let is = if matches!(operator, Operator::IsNull) { Comparison::IsNull } else { Comparison::NotNull };
                return Ok(Self { column, is });
            }
        };
        let Some(value) = value else { return Err(BadCondition::NoValue { column }) };
        let is = comparison(constant(value)?);
        Ok(Self { column, is })
    }
}

impl From<Condition> for Written {
    fn from(condition: Condition) -> Self {
        let (operator, value) = match condition.is {
            Comparison::Eq(value) => (Operator::Eq, Some(value.into())),
            Comparison::Ne(value) => (Operator::Ne, Some(value.into())),
            Comparison::Lt(value) => (Operator::Lt, Some(value.into())),
            Comparison::Le(value) => (Operator::Le, Some(value.into())),
            Comparison::Gt(value) => (Operator::Gt, Some(value.into())),
            Comparison::Ge(value) => (Operator::Ge, Some(value.into())),
            Comparison::In(values) => (Operator::In, Some(values.into_iter().map(Value::from).collect())),
            Comparison::IsNull => (Operator::IsNull, None),
            Comparison::NotNull => (Operator::NotNull, None),
        };
        Self { column: condition.column, operator, value }
    }
}

#[cfg(test)]
mod tests {
    use crate::bus::view::{Comparison, Constant, Mask, View};
    use serde_json::json;

    #[test]
    fn a_view_is_json_and_everything_is_the_shortest() {
        assert_eq!(serde_json::to_value(View::default()).unwrap(), json!({}));
        assert!(serde_json::from_str::<View>("{}").unwrap().is_everything());
        let view = View::everything()
            .topics(["D", "E"])
            .only("load", Comparison::Gt(2.5.into()))
            .only("name", Comparison::In([Constant::from("a"), 7i64.into()].into()))
            .only("gone", Comparison::IsNull)
            .columns(["name", "load"])
            .mask("user", Mask::Hash)
            .mask("secret", Mask::Null)
            .mask("level", Mask::Constant(0i64.into()));
        let written = json!({
            "topics": ["D", "E"],
            "only": [
                {"column": "load", "operator": "gt", "value": 2.5},
                {"column": "name", "operator": "in", "value": [7, "a"]},
                {"column": "gone", "operator": "is_null"},
            ],
            "columns": ["name", "load"],
            "mask": {"level": {"constant": 0}, "secret": "null", "user": "hash"},
        });
        assert_eq!(serde_json::to_value(&view).unwrap(), written);
        assert_eq!(serde_json::from_value::<View>(written).unwrap(), view);
        assert_eq!(view.only[1].to_string(), "name in 7 \"a\"");
    }

    #[test]
    fn what_is_none_says_why() {
        for (written, why) in [
            (
                json!({"topcis": []}),
                "unknown field `topcis`, expected one of `topics`, `only`, `columns`, `mask`, `through`",
            ),
            (
                json!({"only": [{"column": "a", "operator": "like", "value": "x"}]}),
                "unknown variant `like`, expected one of `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in`, `is_null`, `not_null`",
            ),
            (
                json!({"only": [{"column": "a", "operator": "eq", "value": null}]}),
                "the condition on \"a\" lacks its value: give one (for null ask is_null or not_null)",
            ),
            (
                json!({"only": [{"column": "a", "operator": "eq", "value": {"x": 1}}]}),
                "the condition on \"a\": {\"x\":1} can't be compared with: give true, false, a number or a text (for null \
                 ask is_null or not_null)",
            ),
            (
                json!({"only": [{"column": "a", "operator": "in", "value": 5}]}),
                "the condition on \"a\" asks \"in\", which takes a list of values: 5 is none",
            ),
            (
                json!({"only": [{"column": "a", "operator": "in"}]}),
                "the condition on \"a\" lacks its value: give one (for null ask is_null or not_null)",
            ),
            (
                json!({"only": [{"column": "a", "operator": "not_null", "value": false}]}),
                "the condition on \"a\" asks for null or not: leave out its value false",
            ),
            (
                json!({"only": [{"column": "a", "operator": "is_null", "values": 1}]}),
                "unknown field `values`, expected one of `column`, `operator`, `value`",
            ),
            (json!({"mask": {"a": "zero"}}), "unknown variant `zero`, expected one of `null`, `constant`, `hash`"),
        ] {
            assert_eq!(serde_json::from_value::<View>(written).unwrap_err().to_string(), why);
        }
    }
}
