//! Polls that are asked for: which one is waited for, and what becomes of a long one.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::wait_for;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A host with a datasource `web` whose polls begin and end as the test says. The first one ends by itself.
struct Gated {
    host: Host,
    gate: PathBuf,
}

impl Gated {
    fn start(poll: &str) -> Self {
        let bed = Bed::new();
        Fixture::new().rename_into(&bed.plugin("libfixture.so"));
        let host = bed.start("");
        host.wait_plugin("libfixture.so", "serving");
        let gate = host.path("gate");
        std::fs::create_dir(&gate).unwrap();
        let gated = Self { host, gate };
        gated.end(1);
        gated.create("web", json!({"gate": gated.gate, "poll_time": poll}));
        gated.host.wait_datasource("web", "running");
        gated
    }

    fn create(&self, name: &str, config: Value) {
        let (status, body) = self.host.post("/v1/data-sources", &json!({"name": name, "driver": ID, "config": config}));
        assert_eq!(status, 201, "{body}");
    }

    fn refresh(&self) {
        assert_eq!(self.host.post("/v1/data-sources/web?action=request-refresh", &json!({})), (200, Value::Null));
    }

    fn end(&self, poll: u64) {
        std::fs::write(self.gate.join(format!("end-{poll}")), "").unwrap();
    }

    fn has_begun(&self, poll: u64) -> bool {
        self.gate.join(format!("began-{poll}")).exists()
    }

    fn wait_begun(&self, poll: u64) {
        wait_for(&format!("poll {poll} to begin"), || if self.has_begun(poll) { Ok(()) } else { Err("no".to_owned()) });
    }

    fn status(&self, name: &str) -> Value {
        self.host.get(&format!("/v1/data-sources/{name}/status")).1
    }
}

#[test]
fn a_refresh_that_is_waited_for_is_a_poll_that_began_after_it_was_asked_for() {
    let gated = Gated::start("0");
    gated.refresh();
    gated.wait_begun(2);
    let waiting = "/v1/data-sources/web?action=request-refresh&wait=true";
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| gated.host.post(waiting, &json!({})));
        let told = scope.spawn(|| gated.host.run(&["datasource", "refresh", "web", "--wait"]));
        // Both have time to ask; would they come later, they would hear of a later poll all the same.
        for _ in 0..50 {
            assert_eq!(gated.status("web")["number_of_updates"], "1");
        }
        gated.end(2);
        gated.wait_begun(3);
        wait_for("poll 2 to be counted", || match gated.status("web")["number_of_updates"].clone() {
            n if n == "2" => Ok(()),
            n => Err(n.to_string()),
        });
        assert!(!answer.is_finished() && !told.is_finished(), "poll 2 began before it was asked for");
        gated.end(3);
        // Who came later is told of this one.
        gated.end(4);
        let (status, body) = answer.join().unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(body["polls"].as_u64().unwrap() >= 3 && body["rows"] == 4, "{body}");
        assert_eq!(told.join().unwrap().out, "web was polled: 4 rows\n");
    });
}

#[test]
fn a_refresh_that_is_waited_for_tells_how_the_poll_ended() {
    let gated = Gated::start("0");
    let asked = |more: &str| {
        let (status, body) = gated.host.post(&format!("/v1/data-sources/web?action=request-refresh{more}"), &json!({}));
        let error = &body["error"];
        (status, error["error_data"]["kind"].clone(), error["message"].clone())
    };
    assert_eq!(
        asked("&wait=true&deadline=50ms"),
        (504, json!("timed_out"), json!("no poll of web ended within 50ms: it may yet"))
    );
    gated.end(2);
    assert_eq!(
        asked("&wait=maybe"),
        (400, json!("BadQuery"), json!("the query can't be read: wait is true or false, not \"maybe\""))
    );
    gated.create("bad", json!({"fault": "poll_panic", "after": 1, "poll_time": 0}));
    gated.host.wait_datasource("bad", "running");
    let (status, body) = gated.host.post("/v1/data-sources/bad?action=request-refresh&wait=true", &json!({}));
    let text = body["error"]["message"].as_str().unwrap();
    assert_eq!((status, &body["error"]["error_data"]["kind"]), (502, &json!("poll_failed")), "{body}");
    assert!(text.starts_with("bad was polled, and that failed: panicked: "), "{text}");
}

#[test]
fn fault17_a_refresh_longer_than_the_interval_is_one_poll_that_ends() {
    let gated = Gated::start("50ms");
    gated.refresh();
    gated.wait_begun(2);
    // It lasts while another datasource of that interval is polled five times, and is asked for again.
    gated.create("beside", json!({"poll_time": "50ms"}));
    wait_for("five polls beside it", || match gated.status("beside")["polls"].as_u64().unwrap() {
        n if n >= 5 => Ok(()),
        n => Err(n.to_string()),
    });
    gated.refresh();
    assert!(!gated.has_begun(3), "one poll at a time");
    let status = gated.status("web");
    assert_eq!((&status["number_of_updates"], &status["failed_polls"]), (&json!("1"), &json!(0)));
    gated.end(2);
    gated.wait_begun(3);
    let status = wait_for("poll 2 to count", || match gated.status("web") {
        status if status["number_of_updates"] == "2" => Ok(status),
        status => Err(status.to_string()),
    });
    assert_eq!((&status["failed_polls"], &status["last_error"]), (&json!(0), &json!("None")), "it was not killed");
    (3..200).for_each(|poll| gated.end(poll));
}
