//! What a publisher shows of a table to each kind of receiver.

use super::pattern::Pattern;
use super::view::{View, ViewError};
use crate::table::Shape;
use serde::{Deserialize, Serialize};

/// Views of a table by receiver. A receiver is the service that subscribes; whoever subscribes as nobody in particular has
/// the empty name, which only `#` meets. The first entry that meets it counts; who meets none is shown nothing.
///
/// A function of rows alone, so it is applied alike to states and steps: the predecessor's `prepush_processor`, which saw
/// each push once for all and could tell different stories. It travels with the table to other nodes of the bus, and is
/// applied before anything is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy {
    entries: Vec<(Pattern, View)>,
}

impl Policy {
    /// One that shows nobody anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever the pattern meets, and no entry before it, sees `view`.
    #[must_use]
    pub fn to(mut self, receivers: Pattern, view: View) -> Self {
        self.entries.push((receivers, View { through: None, ..view }));
        self
    }

    /// What a receiver sees; `None`: nothing.
    #[must_use]
    pub fn view_for(&self, receiver: Option<&str>) -> Option<&View> {
        let name = receiver.unwrap_or_default();
        self.entries.iter().find(|(receivers, _)| receivers.matches(name)).map(|(_, view)| view)
    }

    /// Whether a view is one that some receiver may have: of what it is shown, or of part of it.
    pub(crate) fn allows(&self, view: &View) -> bool {
        let shown = view.through.as_deref().unwrap_or(view);
        self.entries.iter().any(|(_, entry)| entry.is_everything() || entry == shown)
    }

    /// Whether all its views fit a table.
    pub(crate) fn check(&self, shape: &Shape) -> Result<(), ViewError> {
        self.entries.iter().try_for_each(|(_, view)| view.bind(shape).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_meets_counts_and_who_meets_none_sees_nothing() {
        let policy = Policy::new()
            .to("admin.*".parse().unwrap(), View::default())
            .to("reader".parse().unwrap(), View::default().columns(["id"]));
        assert!(policy.view_for(Some("admin.x")).unwrap().is_everything());
        assert_eq!(policy.view_for(Some("reader")), Some(&View::default().columns(["id"])));
        assert_eq!(policy.view_for(Some("other")), None);
        assert_eq!(policy.view_for(None), None);
        assert!(policy.to("#".parse().unwrap(), View::default()).view_for(None).is_some());
    }
}
