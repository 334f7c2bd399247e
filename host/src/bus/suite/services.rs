//! Services: names, life, who knows whom, who is wanted.

use super::*;
use crate::bus::{PublishError, RegisterError, SubscribeOptions};
use std::sync::Mutex;

in_both_worlds! {
    a_second_of_a_name_is_refused_and_the_first_unharmed
    a_node_stops_and_starts_again
    congress_03_a_service_that_unregisters_takes_nobody_along
    first_and_last_subscribers_are_told_at_once
    an_offered_table_is_met_by_patterns_and_comes_when_wanted
    what_a_service_says_of_itself_is_true
    congress_23_tables_and_methods_can_be_found
}

async fn a_second_of_a_name_is_refused_and_the_first_unharmed(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let refused = world.last().register("web").unwrap_err();
    let at = (world.nodes.len() > 1).then(|| "n0".to_owned());
    assert_eq!(refused, RegisterError::AlreadyExists { name: "web".to_owned(), at: at.clone() });
    let place = at.map(|node| format!(" on node {node}")).unwrap_or_default();
    assert_eq!(refused.to_string(), format!("a service named \"web\" already exists{place}"));
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    assert_eq!(
        world.last().register("a b").unwrap_err().to_string(),
        "\"a b\" can't name a service: use words of A-Z a-z 0-9 _ - joined by dots, 255 characters at most"
    );
}

async fn a_node_stops_and_starts_again(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let node = world.first();
    node.stop();
    node.stop();
    let late = node.register("late").unwrap();
    for stopped in [&service, &late] {
        let refused = stopped.snapshot("t", shape(true), &batches([(2, 2)]), 0).unwrap_err();
        assert!(matches!(refused, PublishError::Stopped(_)), "{refused}");
    }
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    service.stop();
    node.start();
    node.start();
    publish(&late, "t", &[(3, 3)]);
    assert!(service.snapshot("t", shape(true), &batches([(2, 2)]), 0).is_err(), "it was stopped on its own");
    service.start();
    publish(&service, "t", &[(2, 2)]);
    consumer.sees("web/t", &[(2, 2)]).await;
    node.wait().await;
}

async fn congress_03_a_service_that_unregisters_takes_nobody_along(world: World) {
    let service = world.service("web").await;
    let mut all: Vec<(Service, Consumer)> = Vec::new();
    for n in 0..6 {
        let reader = world.last().register(&format!("reader{n}")).unwrap();
        let options = SubscribeOptions { owner: Some(reader.name().to_owned()), ..SubscribeOptions::default() };
        let subscription = world.last().subscribe_with(address("web/t"), options).unwrap();
        all.push((reader, Consumer::new(subscription)));
    }
    publish(&service, "t", &[(1, 1)]);
    for (_, consumer) in &mut all {
        consumer.sees("web/t", &[(1, 1)]).await;
    }
    let (gone, consumer) = all.remove(2);
    drop((gone, consumer));
    publish(&service, "t", &[(2, 2)]);
    for (_, consumer) in &mut all {
        consumer.sees("web/t", &[(2, 2)]).await;
    }
}

type Told = Arc<Mutex<Vec<(String, bool)>>>;

fn listening(service: &Service) -> Told {
    let told = Told::default();
    let heard = Arc::clone(&told);
    service.on_interest(move |table, wanted| heard.lock().unwrap().push((table.to_owned(), wanted)));
    told
}

async fn first_and_last_subscribers_are_told_at_once(world: World) {
    let service = world.service("web").await;
    let told = listening(&service);
    let pair = |table: &str, wanted| (table.to_owned(), wanted);
    let one = world.last().subscribe(address("web/t"));
    let two = world.last().subscribe(address("web/t"));
    until(|| *told.lock().unwrap() == [pair("t", true)]).await;
    let third = world.last().subscribe(address("web/u"));
    until(|| *told.lock().unwrap() == [pair("t", true), pair("u", true)]).await;
    assert!(service.is_wanted("t"));
    drop(one);
    drop(two);
    until(|| told.lock().unwrap().len() == 3).await;
    assert_eq!(told.lock().unwrap()[2], pair("t", false));
    assert!(!service.is_wanted("t") && service.is_wanted("u"));
    // One who asks later is told what is wanted already.
    let later = listening(&service);
    assert_eq!(*later.lock().unwrap(), [pair("u", true)]);
    drop(third);
    until(|| !service.is_wanted("u")).await;
}

async fn an_offered_table_is_met_by_patterns_and_comes_when_wanted(world: World) {
    let service = world.service("web").await;
    let told = listening(&service);
    service.offer("lazy").unwrap();
    until(|| world.last().services(false).contains(&"web".to_owned())).await;
    let mut consumer = Consumer::to(world.last(), "#/*");
    until(|| told.lock().unwrap().contains(&("lazy".to_owned(), true))).await;
    publish(&service, "lazy", &[(1, 1)]);
    consumer.sees("web/lazy", &[(1, 1)]).await;
}

async fn what_a_service_says_of_itself_is_true(world: World) {
    let service = world.service("web").await;
    let reader = world.last().register("reader").unwrap();
    publish(&service, "t", &[(1, 1)]);
    let options = SubscribeOptions { owner: Some("reader".to_owned()), ..SubscribeOptions::default() };
    let mut consumer = Consumer::new(world.last().subscribe_with(address("web/t"), options).unwrap());
    consumer.sees("web/t", &[(1, 1)]).await;
    let ask = |service: &str, method: &str| {
        let call = world.last().call(service, method, serde_json::Value::Null);
        async move { call.await.unwrap() }
    };
    until(|| world.last().nodes().len() == world.nodes.len()).await;
    let info = ask("reader", "info").await;
    let info = crate::bus::ServiceInfo::from_json(&info).unwrap();
    assert_eq!((info.service_id.as_str(), info.node_id.as_str()), ("reader", world.last().node()));
    assert_eq!(info.subscribed_tables, [("web".to_owned(), "t".to_owned())]);
    let info = crate::bus::ServiceInfo::from_json(&ask("web", "info").await).unwrap();
    assert_eq!((info.published_tables, info.node_id.as_str()), (vec!["t".to_owned()], "n0"));
    assert!(info.rpc_endpoints_info.contains(&"ping".to_owned()));
    let held = &ask("reader", "held").await[0];
    assert_eq!((&held["service"], &held["table"], &held["to"]), (&"web".into(), &"t".into(), &1.into()));
    assert_eq!(held["instance"], serde_json::json!(service.instance()));
    assert_eq!(held["node"], "n0");
    let subscribers = ask("web", "subscribers").await;
    assert_eq!((&subscribers[0]["service"], &subscribers[0]["node"]), (&"reader".into(), &world.last().node().into()));
    assert_eq!(ask("reader", "subscriptions").await, serde_json::json!([["web", "t"]]));
    assert_eq!(ask("web", "published").await[0]["rows"], 1);
    assert_eq!(ask("web", "status").await["state"], "running");
    drop(reader);
}

async fn congress_23_tables_and_methods_can_be_found(world: World) {
    let service = world.service("web").await;
    service.method("double", "twice a number", |call| async move { Ok(call.args) });
    publish(&service, "t", &[(1, 1)]);
    let methods = world.last().call("web", "methods", serde_json::Value::Null).await.unwrap();
    assert!(
        methods.as_array().unwrap().contains(&serde_json::json!({"name": "double", "description": "twice a number"}))
    );
    let mut replies = Vec::new();
    while replies.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let tables: crate::bus::Selector = "web/#".parse().unwrap();
        let asked = world.last().request(tables, crate::bus::View::default(), Duration::from_secs(30));
        replies = asked.await.unwrap_or_default();
    }
    assert_eq!(replies[0].address.to_string(), "web/t");
    assert_eq!(rows(replies[0].table.as_ref().unwrap()), [(1, 1)].into());
}
