//! Calls between services and nodes.

use super::*;
use crate::bus::{CallError, Fault, Pattern, Target};
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};

in_both_worlds! {
    a_call_is_answered_and_ping_echoes
    congress_15_who_is_not_there_fails_at_once
    errors_keep_their_type
    congress_18_delivery_is_retried_execution_is_not
    the_deadline_is_kept_and_late_answers_are_dropped
    who_goes_cancels
    any_and_all_of_an_address
    commands_and_broadcasts
    nodes_answer_too
    a_panic_is_that_calls_alone
    a_table_is_asked_of_all_who_publish_it
    stopped_services_take_no_calls_and_outstanding_work_is_waited_for
}

/// A service that answers with what it is asked for.
async fn echo(world: &World, name: &str) -> Service {
    let service = world.service(name).await;
    let own = name.to_owned();
    service.method("who", "its name", move |_| {
        let own = own.clone();
        async move { Ok(json!(own)) }
    });
    service
}

async fn a_call_is_answered_and_ping_echoes(world: World) {
    let _service = echo(&world, "web").await;
    let args = json!({"a": [1, null, "ä"]});
    assert_eq!(world.last().call("web", "ping", args.clone()).await, Ok(args));
    assert_eq!(world.last().call("web", "who", Value::Null).by("me").await, Ok(json!("web")));
    assert_eq!(world.first().call("web", "who", Value::Null).local().await, Ok(json!("web")));
    if world.nodes.len() > 1 {
        let far = world.last().call("web", "who", Value::Null).local().await.unwrap_err();
        assert!(far.to_string().starts_with("service \"web\" on this node is not there"), "{far}");
    }
}

async fn congress_15_who_is_not_there_fails_at_once(world: World) {
    let _service = echo(&world, "web").await;
    let begun = tokio::time::Instant::now();
    let nobody = world.last().call("wen", "who", Value::Null).await.unwrap_err();
    assert_eq!(nobody, CallError::NotFound { what: "service \"wen\"".to_owned(), there: vec!["web".to_owned()] });
    assert_eq!(nobody.to_string(), "service \"wen\" is not there: there are web");
    assert!(world.last().call(Target::Any("x".to_owned()), "who", Value::Null).await.is_err());
    assert!(world.last().call(Target::Node("x".to_owned()), "ping", Value::Null).await.is_err());
    assert!(world.last().command("wen", "who", Value::Null).is_err());
    assert!(world.last().request(address("wen/t"), Default::default(), Duration::from_secs(9)).await.is_err());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

async fn errors_keep_their_type(world: World) {
    let service = echo(&world, "web").await;
    let fault = Fault { data: json!({"row": 3}), ..Fault::new("no_such_row", "row 3 is not there") };
    let answer = fault.clone();
    service.method("fail", "", move |_| {
        let answer = answer.clone();
        async move { Err(answer) }
    });
    assert_eq!(world.last().call("web", "fail", Value::Null).await, Err(CallError::Failed(fault)));
    let unknown = world.last().call("web", "fall", Value::Null).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "service \"web\" has no method \"fall\": it has fail, get_last_published_data_with_seqnum, get_snapshot, held, \
         info, methods, ping, published, status, subscribers, subscriptions, who"
    );
    publish(&service, "t", &[(1, 5)]);
    let last = "get_last_published_data_with_seqnum";
    let table = json!({"table": "t"});
    assert_eq!(world.last().call("web", last, table.clone()).await, Ok(json!([1, [{"id": 1, "v": 5}]])));
    assert_eq!(world.last().call("web", "get_snapshot", table).await, Ok(json!([{"id": 1, "v": 5}])));
    let wrong = |args| world.last().call("web", "get_snapshot", args);
    assert_eq!(wrong(json!(7)).await.unwrap_err().to_string(), "get_snapshot takes {\"table\": NAME}");
    assert_eq!(
        wrong(json!({"table": "x"})).await.unwrap_err().to_string(),
        "service \"web\" has no table \"x\" now: it has t"
    );
}

fn counting(service: &Service, method: &str, takes: Duration) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    service.method(method, "", move |_| {
        let counted = Arc::clone(&counted);
        async move {
            let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(takes).await;
            Ok(json!(n))
        }
    });
    count
}

async fn congress_18_delivery_is_retried_execution_is_not(world: World) {
    let service = echo(&world, "web").await;
    let count = counting(&service, "count", Duration::from_millis(700));
    for n in 1..=40 {
        assert_eq!(world.last().call("web", "count", Value::Null).retries(20).await, Ok(json!(n)));
    }
    assert_eq!(count.load(Ordering::SeqCst), 40);
}

async fn the_deadline_is_kept_and_late_answers_are_dropped(world: World) {
    let service = echo(&world, "web").await;
    counting(&service, "slow", Duration::from_secs(20));
    let begun = tokio::time::Instant::now();
    let late = world.last().call("web", "slow", Value::Null).deadline(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(late.to_string(), "service \"web\" did not answer \"slow\" within 2s");
    assert!(begun.elapsed() < Duration::from_secs(3));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.last().call("web", "who", Value::Null).await, Ok(json!("web")));
}

async fn who_goes_cancels(world: World) {
    struct Ended(Arc<AtomicUsize>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let service = echo(&world, "web").await;
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (starts, ends) = (Arc::clone(&begun), Arc::clone(&ended));
    service.method("forever", "", move |_| {
        starts.fetch_add(1, Ordering::SeqCst);
        let guard = Ended(Arc::clone(&ends));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(Value::Null)
        }
    });
    let call = tokio::spawn(world.last().call("web", "forever", Value::Null).into_future());
    until(|| begun.load(Ordering::SeqCst) == 1).await;
    call.abort();
    // A lost cancellation is made good by the deadline of the call, at the latest.
    until(|| ended.load(Ordering::SeqCst) == 1).await;
    service.wait().await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

async fn any_and_all_of_an_address(world: World) {
    let (a, b) = (echo(&world, "a").await, echo(&world, "b").await);
    a.listen("workers.red").unwrap();
    b.listen("workers.blue").unwrap();
    let all: Pattern = "workers.*".parse().unwrap();
    let ask = || world.last().call_all(&all, "who", Value::Null, Duration::from_secs(30));
    let mut replies = ask().await;
    while replies.len() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        replies = ask().await;
    }
    let answers: Vec<_> = replies.into_iter().map(|reply| (reply.service, reply.node, reply.result)).collect();
    let one = |name: &str| (name.to_owned(), "n0".to_owned(), Ok(json!(name)));
    assert_eq!(answers, [one("a"), one("b")]);
    assert_eq!(world.last().call(Target::Any("workers.blue".to_owned()), "who", Value::Null).await, Ok(json!("b")));
    b.listen("workers.red").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let who = world.last().call(Target::Any("workers.red".to_owned()), "who", Value::Null).await.unwrap();
        seen.insert(who.as_str().unwrap().to_owned());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let nobody: Pattern = "nobody.#".parse().unwrap();
    assert!(world.last().call_all(&nobody, "who", Value::Null, Duration::from_secs(1)).await.is_empty());
}

async fn commands_and_broadcasts(world: World) {
    let (a, b) = (echo(&world, "a").await, echo(&world, "b").await);
    let (on_a, on_b) = (counting(&a, "note", Duration::ZERO), counting(&b, "note", Duration::ZERO));
    b.method("note2", "", |_| async { Err(Fault::new("no", "not today")) });
    world.last().command("a", "note", Value::Null).unwrap();
    until(|| on_a.load(Ordering::SeqCst) == 1).await;
    assert_eq!(world.last().broadcast(&"#".parse().unwrap(), "note", &Value::Null), 2);
    until(|| on_a.load(Ordering::SeqCst) == 2 && on_b.load(Ordering::SeqCst) == 1).await;
    assert_eq!(
        world.last().broadcast(&"#".parse().unwrap(), "note2", &Value::Null),
        2,
        "who can't is told all the same"
    );
    let counts: Vec<Arc<AtomicUsize>> = (world.nodes.iter())
        .map(|node| {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            node.method("note", "", move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Ok(Value::Null) }
            });
            count
        })
        .collect();
    until(|| world.last().nodes().len() == world.nodes.len()).await;
    assert_eq!(world.last().broadcast_nodes("note", &Value::Null), world.nodes.len());
    until(|| counts.iter().all(|count| count.load(Ordering::SeqCst) == 1)).await;
}

async fn nodes_answer_too(world: World) {
    until(|| world.last().nodes().len() == world.nodes.len()).await;
    for node in &world.nodes {
        let target = || Target::Node(node.node().to_owned());
        assert_eq!(world.last().call(target(), "ping", json!([1])).await, Ok(json!([1])));
        let status = world.last().call(target(), "status", Value::Null).await.unwrap();
        assert_eq!((&status["node"], &status["running"]), (&json!(node.node()), &json!(true)));
        let unknown = world.last().call(target(), "pong", Value::Null).await.unwrap_err();
        assert!(
            unknown.to_string().ends_with("has no method \"pong\": it has nodes, ping, services, status"),
            "{unknown}"
        );
    }
}

async fn a_panic_is_that_calls_alone(world: World) {
    let service = echo(&world, "web").await;
    service.method("boom", "", |_| async { panic!("on purpose") });
    let error = world.last().call("web", "boom", Value::Null).await.unwrap_err();
    assert_eq!(error, CallError::Failed(Fault::new("panicked", "service \"web\" panicked while it answered \"boom\"")));
    assert_eq!(world.last().call("web", "who", Value::Null).await, Ok(json!("web")));
}

async fn a_table_is_asked_of_all_who_publish_it(world: World) {
    let (a, b) = (echo(&world, "a").await, echo(&world, "b").await);
    publish(&a, "t", &[(1, 1)]);
    b.offer("t").unwrap();
    let selector = || "*/t".parse::<crate::bus::Selector>().unwrap();
    let ask = || world.last().request(selector(), Default::default(), Duration::from_secs(3));
    let mut replies = Vec::new();
    while replies.len() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        replies = ask().await.unwrap_or_default();
    }
    let told: Vec<_> = replies.iter().map(|r| (r.address.to_string(), r.table.as_ref().map(|t| rows(t)))).collect();
    assert_eq!(told, [("a/t".to_owned(), Some([(1, 1)].into())), ("b/t".to_owned(), None)]);
}

async fn stopped_services_take_no_calls_and_outstanding_work_is_waited_for(world: World) {
    let service = echo(&world, "web").await;
    let count = counting(&service, "slow", Duration::from_secs(5));
    let call = tokio::spawn(world.last().call("web", "slow", Value::Null).retries(20).into_future());
    until(|| count.load(Ordering::SeqCst) == 1).await;
    service.stop();
    let begun = tokio::time::Instant::now();
    let refused = world.last().call("web", "who", Value::Null).await.unwrap_err();
    assert_eq!(refused, CallError::Stopped { service: "web".to_owned() });
    service.wait().await;
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(call.await.unwrap(), Ok(json!(1)), "what ran was let run");
    service.start();
    assert_eq!(world.last().call("web", "who", Value::Null).await, Ok(json!("web")));
}
