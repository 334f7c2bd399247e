//! What comes from elsewhere: it says itself whose it is, and is nothing of this host's.

use super::Events;
use super::draft::Draft;
use super::envelope::EventError;
use serde_json::Value;

impl Events {
    /// An event in the making, of a CloudEvent in JSON that another system sends. Any type may be told of: the predecessor's
    /// services told of them all. Who tells is what can't be made up: neither this host's own source, name as a sender, or
    /// node, nor another bus.
    ///
    /// # Errors
    ///
    /// As [`Draft::of_json`], or it says that it is of this host or of another bus.
    pub fn foreign(&self, event: Value) -> Result<Draft, EventError> {
        let draft = Draft::of_json(self.catalogue(), event, self.settings().strict)?;
        let (settings, own) = (self.settings(), &*self.inner.source);
        let ours = |attribute: &'static str, value: Option<&str>, own: &str| match value {
            Some(value) if value == own => Err(EventError::NotTheHost { attribute, value: value.to_owned() }),
            _ => Ok(()),
        };
        if let Some(bus) = draft.said("buswaybus").filter(|bus| *bus != settings.bus_id) {
            return Err(EventError::OtherBus { bus: bus.into_owned(), own: settings.bus_id.clone() });
        }
        ours("source", draft.source(), own)?;
        ours("sender", draft.said("sender").as_deref(), &settings.node)?;
        ours("buswaynode", draft.said("buswaynode").as_deref(), &settings.node)?;
        Ok(draft)
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::quiet;
    use super::super::{Delivery, How, Listening, PublishError, Settings, Subscription, Topics};
    use super::*;
    use serde_json::json;

    fn event(kind: &str, more: &[(&str, &str)]) -> Value {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/x", "type": kind, "subject": "o"});
        more.iter().for_each(|(name, value)| event[*name] = json!(value));
        event
    }

    #[test]
    fn nobody_else_is_this_host() {
        let events = quiet();
        for (attribute, value, text) in [
            (
                "source",
                "/busway/node",
                "\"source\" is \"/busway/node\", and that is this host itself: say who you are, or leave that to the host with \
                 {\"type\": …, \"origin\": …, \"data\": {…}}",
            ),
            (
                "sender",
                "node",
                "\"sender\" is \"node\", and that is this host itself: say who you are, or leave that to the host with \
                 {\"type\": …, \"origin\": …, \"data\": {…}}",
            ),
            (
                "buswaynode",
                "node",
                "\"buswaynode\" is \"node\", and that is this host itself: say who you are, or leave that to the host with \
                 {\"type\": …, \"origin\": …, \"data\": {…}}",
            ),
            (
                "buswaybus",
                "other",
                "\"buswaybus\" is \"other\", and this is bus \"busway\": what happens there is told there; leave it out of what \
                 is of no bus",
            ),
        ] {
            for kind in ["busway.PluginLifecycleEvent", "com.example.door"] {
                let refused = events.publish_json(event(kind, &[(attribute, value)]), How::default()).unwrap_err();
                assert_eq!(refused.to_string(), text);
            }
        }
        assert_eq!(events.position(), 0, "nobody was told");
        // Another node of this bus may be handed on.
        let other = [("source", "/busway/beta"), ("buswaybus", "busway"), ("buswaynode", "beta"), ("sender", "beta")];
        events.publish_json(event("busway.ScheduleEvent", &other), How::default()).unwrap();
    }

    /// CloudEvents' attributes may be numbers, and names may look like them.
    #[test]
    fn nobody_else_is_this_host_in_numbers() {
        let events = Events::new(Settings { bus_id: "5".to_owned(), node: "7".to_owned(), ..Settings::default() });
        for (attribute, value) in [("sender", json!(7)), ("buswaynode", json!(7)), ("buswaybus", json!(6))] {
            let mut event = event("com.example.door", &[]);
            event[attribute] = value;
            let refused = events.publish_json(event, How::default());
            assert!(
                matches!(
                    refused,
                    Err(PublishError::Event(EventError::NotTheHost { .. } | EventError::OtherBus { .. }))
                ),
                "{attribute}"
            );
        }
        let own = event("com.example.door", &[("buswaybus", "5"), ("buswaynode", "8")]);
        events.publish_json(own, How::default()).unwrap();
    }

    /// What the catalogue has is told by its whole name; what others have looks like it at most.
    #[test]
    fn others_types_are_none_of_the_catalogue_s() {
        let events = quiet();
        let of = |of: &str| {
            let topics = Some(Topics::new(events.catalogue(), Some(of), None).unwrap());
            events.subscribe(&Listening { topics, ..Listening::default() })
        };
        let kinds = |subscription: &Subscription| {
            let next = || match subscription.try_next()? {
                Delivery::Event(taken) => Some((taken.event().kind.to_string(), taken.event().of.is_some())),
                gap => panic!("{gap:?}"),
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let schedules = ["2001", "ScheduleEvent", "TriggerEvent"].map(of);
        let others = [("2001", "%32001"), ("door opened", "door opened"), ("a.b+", "a/b%2B"), ("a.*.#", "a/%2A/%23")];
        let listening = others.map(|(_, topic)| of(topic));
        for kind in ["2001", "ScheduleEvent", "TriggerEvent", "1116", "4001", "door opened", "a.b+", "a.*.#"] {
            let foreign = event(kind, &[]);
            events.publish_json(foreign.clone(), How::default()).unwrap();
        }
        for (subscription, (kind, _)) in listening.iter().zip(others) {
            assert_eq!(kinds(subscription), [(kind.to_owned(), false)]);
        }
        events.publish_json(event("busway.ScheduleEvent", &[]), How::default()).unwrap();
        for subscription in &schedules {
            assert_eq!(kinds(subscription), [("busway.ScheduleEvent".to_owned(), true)]);
        }
        let strict = |kind: &str| Draft::of_json(events.catalogue(), event(kind, &[]), true).unwrap_err().to_string();
        let text =
            "there is no event type \"2001\", did you mean \"busway.ScheduleEvent\"?: busway event types lists them";
        assert_eq!(strict("2001"), text);
    }

    #[test]
    fn who_listens_to_another_s_thing_may_say_it_as_it_is() {
        let events = quiet();
        let topics = Some(Topics::new(events.catalogue(), None, Some("front door")).unwrap());
        let subscription = events.subscribe(&Listening { topics, ..Listening::default() });
        events.publish_json(event("com.example.door", &[("subject", "front door")]), How::default()).unwrap();
        let Some(Delivery::Event(taken)) = subscription.try_next() else { panic!("it is not told") };
        assert_eq!(taken.event().to_json()["subject"], "front door");
    }
}
