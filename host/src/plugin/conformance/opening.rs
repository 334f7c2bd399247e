//! Checks of what a driver says of itself, and of which options it opens with.

use super::bench::{Bench, told};
use super::{Checked, Finding};
use crate::plugin::driver::CallError;
use busway_plugin_api::info::OptionInfo;
use serde_json::{Map, Value, json};

/// An option that nobody has.
const UNKNOWN: &str = "busway_conformance_unknown";
/// What must not be repeated when it is no secret's value.
const UNTOLD: &str = "busway-conformance-untold";

pub(super) fn describe_again(bench: &Bench<'_>) -> Checked {
    bench.step("when it was described again");
    for _ in 0..3 {
        let again = bench.driver.describe().map_err(|error| told("it describes itself only once", &error))?;
        if again != bench.info {
            return Err(format!("it describes itself otherwise when asked again: {}", differs(&bench.info, &again)));
        }
    }
    Ok(Finding::passed())
}

/// The first thing that is different.
fn differs(one: &impl serde::Serialize, other: &impl serde::Serialize) -> String {
    let (one, other) = (json!(one), json!(other));
    let of = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (one, other) = (of(&one), of(&other));
    let names = one.keys().chain(other.keys());
    let first = names.into_iter().find(|name| one.get(*name) != other.get(*name));
    first.map_or_else(
        || "in its order".to_owned(),
        |name| {
            let said = |map: &Map<String, Value>| map.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
            format!("{name} was {}, then {}", said(&one), said(&other))
        },
    )
}

pub(super) fn options_unknown(bench: &Bench<'_>) -> Checked {
    let mut options = bench.options.clone();
    options.insert(UNKNOWN.to_owned(), true.into());
    let without = "so an operator's slip of the pen goes unnoticed";
    refused(bench, &options, UNKNOWN, || {
        format!("it opens with option {UNKNOWN:?}, which it does not have, {without}")
    })?;
    Ok(Finding::passed())
}

pub(super) fn options_missing(bench: &Bench<'_>) -> Checked {
    let required: Vec<&OptionInfo> = bench.info.options.iter().filter(|option| option.required).collect();
    if required.is_empty() {
        return Ok(Finding::skipped("it requires no option"));
    }
    for option in required {
        let mut options = bench.options.clone();
        options.remove(&option.name);
        let name = &option.name;
        refused(bench, &options, name, || format!("it opens without option {name:?}, which it declares as required"))?;
    }
    Ok(Finding::passed())
}

pub(super) fn options_type(bench: &Bench<'_>) -> Checked {
    let mut tried = false;
    for option in &bench.info.options {
        let wrong = match option.kind.as_str() {
            "string" => json!([UNTOLD]),
            "integer" | "number" | "boolean" | "array" | "object" => json!(UNTOLD),
            _ => continue,
        };
        tried = true;
        let (name, kind) = (&option.name, &option.kind);
        let mut options = bench.options.clone();
        options.insert(name.clone(), wrong.clone());
        let opened = || format!("it opens with {wrong} for option {name:?}, which it declares as {kind}");
        let error = refused(bench, &options, name, opened)?;
        if option.secret && error.to_string().contains(UNTOLD) {
            return Err(format!("it repeats the value of option {name:?}, which it declares as secret: {error}"));
        }
    }
    Ok(if tried { Finding::passed() } else { Finding::skipped("it has no option of one type") })
}

/// These options must be refused by an error that names the one that is wrong.
fn refused(
    bench: &Bench<'_>,
    options: &Map<String, Value>,
    name: &str,
    opened: impl FnOnce() -> String,
) -> Result<CallError, String> {
    let error = match bench.try_open(options) {
        Ok(session) => {
            session.end()?;
            return Err(opened());
        }
        Err(error) => error,
    };
    if error.is_code_fault() {
        return Err(told(&format!("it does not refuse what is wrong with option {name:?}"), &error));
    }
    if !error.to_string().contains(name) {
        return Err(format!("it refuses what is wrong with option {name:?} without naming it: {error}"));
    }
    Ok(error)
}

pub(super) fn open_close(bench: &Bench<'_>) -> Checked {
    // In standby, and without a single poll.
    bench.open()?.end()?;
    let session = bench.serve()?;
    let tables = session.tables()?;
    let mut found: Vec<String> = tables.iter().flat_map(|table| table.problems()).collect();
    let declared = bench.info.tables.iter().map(|table| &table.name);
    let missing = declared.filter(|name| !tables.iter().any(|table| table.name == **name));
    found
        .extend(missing.map(|name| format!("table {name:?}, which every source is to have, is none of this source's")));
    if !found.is_empty() {
        return Err(format!("its tables break the rules: {}", found.join("; ")));
    }
    session.end()?;
    Ok(Finding::passed())
}

#[cfg(test)]
mod tests {
    use super::super::report::Outcome;
    use super::super::{Assignment, perform};
    use super::*;
    use crate::plugin::driver::{Call, Driver, HostCalls, Source};
    use busway_plugin_api::abi::Status;
    use busway_plugin_api::info::{DriverInfo, TableInfo};
    use busway_plugin_api::message::{
        AttachRequest, CallHead, ErrorBody, ExecuteRequest, OpenRequest, PollRequest, SelfTestRequest, StateBody,
        SubscribedRequest, WebhookRequest,
    };
    use busway_plugin_api::options::problems;
    use busway_plugin_api::table::Update;
    use std::sync::Arc;

    /// Which options it opens with.
    struct Lax(fn(&DriverInfo, &OpenRequest) -> Result<(), CallError>);

    struct Nothing;

    impl Driver for Lax {
        fn describe(&self) -> Result<DriverInfo, CallError> {
            let option = |name: &str, kind: &str, required: bool, secret: bool| json!({"name": name, "type": kind, "required": required, "secret": secret});
            let options = [
                option("path", "string", true, false),
                option("rows", "integer", false, false),
                option("key", "string", false, true),
                option("any", "any", false, false),
            ];
            let info = json!({"id": "lax", "version": "1.0.0", "contract": "1.0.0", "options": options});
            Ok(serde_json::from_value(info).unwrap())
        }

        fn attach(&self, _: Arc<dyn HostCalls>, _: &AttachRequest) -> Result<(), CallError> {
            Ok(())
        }

        fn open(&self, request: &OpenRequest, _: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
            (self.0)(&self.describe()?, request)?;
            Ok(Arc::new(Nothing))
        }

        fn set_log_filter(&self, _: &str) -> Result<(), CallError> {
            Ok(())
        }

        fn self_test(&self, _: &SelfTestRequest) -> Result<(), CallError> {
            Ok(())
        }
    }

    impl Source for Nothing {
        fn tables(&self, _: CallHead) -> Result<Vec<TableInfo>, CallError> {
            Ok(Vec::new())
        }
        fn poll(&self, _: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError> {
            Ok(Vec::new())
        }
        fn subscribed(&self, _: Call<'_, SubscribedRequest>) -> Result<(), CallError> {
            Ok(())
        }
        fn webhook(&self, _: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError> {
            Ok(Vec::new())
        }
        fn execute(&self, _: Call<'_, ExecuteRequest>) -> Result<Value, CallError> {
            Ok(Value::Null)
        }
        fn pause(&self, _: CallHead) -> Result<(), CallError> {
            Ok(())
        }
        fn resume(&self, _: CallHead) -> Result<(), CallError> {
            Ok(())
        }
        fn activate(&self, _: CallHead) -> Result<(), CallError> {
            Ok(())
        }
        fn export_state(&self, _: CallHead) -> Result<Option<StateBody>, CallError> {
            Ok(None)
        }
        fn import_state(&self, _: Call<'_, StateBody>) -> Result<(), CallError> {
            Ok(())
        }
        fn cancel(&self, _: Option<&[u64]>) {}
        fn close(&self, _: CallHead) -> Result<(), CallError> {
            Ok(())
        }
    }

    /// All that is wrong, as the library for drivers refuses it; but for what is left out.
    fn strict(info: &DriverInfo, request: &OpenRequest, except: &str) -> Result<(), CallError> {
        let mut found = problems(&info.options, &request.options);
        found.retain(|problem| except.is_empty() || !problem.contains(except));
        if found.is_empty() {
            return Ok(());
        }
        Err(CallError::of(Status::INVALID, ErrorBody { problems: found, ..ErrorBody::new("the options are wrong") }))
    }

    fn found(check: &str, opens: fn(&DriverInfo, &OpenRequest) -> Result<(), CallError>) -> String {
        let Value::Object(options) = json!({"path": "/srv"}) else { unreachable!() };
        let driver: Arc<dyn Driver> = Arc::new(Lax(opens));
        let finding = perform(&driver, &Assignment { check: check.to_owned(), options }, &|_| ());
        assert_eq!(finding.outcome == Outcome::Passed, finding.reason.is_none(), "{finding:?}");
        finding.reason.unwrap_or_default()
    }

    #[test]
    fn who_refuses_all_passes() {
        for check in ["options_unknown", "options_missing", "options_type", "open_close"] {
            assert_eq!(found(check, |info, request| strict(info, request, "")), "", "{check}");
        }
    }

    #[test]
    fn who_opens_with_anything_fails_each() {
        assert_eq!(
            found("options_unknown", |info, request| strict(info, request, "unknown")),
            "it opens with option \"busway_conformance_unknown\", which it does not have, so an operator's slip of the pen goes \
             unnoticed"
        );
        assert_eq!(
            found("options_missing", |info, request| strict(info, request, "missing")),
            "it opens without option \"path\", which it declares as required"
        );
        assert_eq!(
            found("options_type", |info, request| strict(info, request, "a whole number")),
            "it opens with \"busway-conformance-untold\" for option \"rows\", which it declares as integer"
        );
        assert_eq!(found("nonsense", |_, _| Ok(())), "there is no check \"nonsense\": the child is of another build");
    }

    #[test]
    fn a_refusal_names_the_option_keeps_secrets_and_is_no_panic() {
        let bare: fn(&DriverInfo, &OpenRequest) -> _ = |_, _| Err(CallError::new(Status::FAILED, "bad options"));
        assert_eq!(
            found("options_missing", bare),
            "it refuses what is wrong with option \"path\" without naming it: bad options"
        );
        let panics: fn(&DriverInfo, &OpenRequest) -> _ = |_, _| Err(CallError::new(Status::PANICKED, "panicked: path"));
        assert_eq!(
            found("options_missing", panics),
            "it does not refuse what is wrong with option \"path\", as its code panicked: panicked: path"
        );
        let tells: fn(&DriverInfo, &OpenRequest) -> _ = |info, request| {
            strict(info, request, "")
                .map_err(|error| CallError::new(Status::INVALID, format!("{error} {}", json!(request.options))))
        };
        let told = found("options_type", tells);
        assert!(told.starts_with("it repeats the value of option \"key\", which it declares as secret: "), "{told}");
    }
}
