//! Driver `system`: this machine's load, as live tables.
use busway_plugin_api::prelude::*;

/// No options yet.
#[derive(Deserialize, JsonSchema)]
struct Options {}

#[derive(Serialize, Deserialize)]
struct Load {
    one: f64,
}

struct System;

impl Driver for System {
    const ID: &'static str = "system";
    type Options = Options;
    type Source = PollSource;

    fn open(_: Options, context: Context) -> Result<PollSource, Error> {
        Ok(PollSource::new(context).table(TableSpec::of::<Load>("load"), |_| {
            let text = std::fs::read_to_string("/proc/loadavg")?;
            let one = text.split(' ').next().unwrap_or_default().parse()?;
            Ok(vec![Load { one }])
        }))
    }
}

export_driver!(System);
