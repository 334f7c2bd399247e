//! Where a datasource is in its life, and how it gets elsewhere.

/// Where a datasource is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Its record says that it shall not run.
    Disabled,
    /// No driver of its id serves.
    #[default]
    Waiting,
    /// Its driver was asked for a source.
    Opening,
    /// It is polled, and its last poll was good.
    Running,
    /// It is polled, and its last poll failed as a whole or for some tables; the tables stay as they were.
    Degraded,
    /// It could not be opened, or its code failed; tried again after a while.
    Failed,
    /// A call of it does not come back; nothing more is asked of it before its driver is replaced.
    Hung,
    /// The host is stopping, or it was removed.
    Stopped,
}

/// What happens to a datasource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It shall run.
    Enabled,
    /// It shall not.
    Disabled,
    /// No driver of its id serves, or the one that does is about to be asked.
    NoSource,
    /// Its driver is asked for a source.
    Opening,
    /// A poll ended, and every table is well.
    Well,
    /// A poll ended, and something is not well; or a change of its configuration can't be applied.
    Unwell,
    /// It can't be opened, or its code failed.
    Lost,
    /// A call of it does not come back.
    Hung,
    /// It ends for good.
    Stopped,
}

impl Phase {
    /// Where it is after that. What can't happen where it is changes nothing.
    #[must_use]
    pub(crate) const fn after(self, event: Event) -> Self {
        match (self, event) {
            // Nothing comes after the end.
            (Self::Stopped, _) | (_, Event::Stopped) => Self::Stopped,
            (_, Event::Disabled) | (Self::Disabled, _) if !matches!(event, Event::Enabled) => Self::Disabled,
            (Self::Disabled, _) => Self::Waiting,
            (_, Event::Enabled | Event::Disabled) => self,
            (_, Event::NoSource) => Self::Waiting,
            (_, Event::Opening) => Self::Opening,
            // A poll's end is news only of a source that is there.
            (Self::Opening | Self::Running | Self::Degraded, Event::Well) => Self::Running,
            (Self::Opening | Self::Running | Self::Degraded, Event::Unwell) => Self::Degraded,
            (_, Event::Well | Event::Unwell) => self,
            (_, Event::Lost) => Self::Failed,
            (_, Event::Hung) => Self::Hung,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Waiting => "waiting for driver",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Hung => "hung",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 8] = [
        Phase::Disabled,
        Phase::Waiting,
        Phase::Opening,
        Phase::Running,
        Phase::Degraded,
        Phase::Failed,
        Phase::Hung,
        Phase::Stopped,
    ];
    const EVENTS: [Event; 9] = [
        Event::Enabled,
        Event::Disabled,
        Event::NoSource,
        Event::Opening,
        Event::Well,
        Event::Unwell,
        Event::Lost,
        Event::Hung,
        Event::Stopped,
    ];

    /// The whole table, one line a phase, one column an event.
    #[test]
    fn the_table_of_all_ways() {
        let letter = |phase: Phase| match phase {
            Phase::Stopped => 'S',
            other => other.as_str().chars().next().unwrap(),
        };
        let line = |phase: Phase| EVENTS.iter().map(|event| letter(phase.after(*event))).collect::<String>();
        let table: Vec<String> = PHASES.into_iter().map(line).collect();
        // Enabled, Disabled, NoSource, Opening, Well, Unwell, Lost, Hung, Stopped; degraded and disabled are both d.
        assert_eq!(
            table,
            [
                "wdddddddS", // disabled
                "wdwowwfhS", // waiting
                "odwordfhS", // opening
                "rdwordfhS", // running
                "ddwordfhS", // degraded
                "fdwofffhS", // failed
                "hdwohhfhS", // hung
                "SSSSSSSSS", // stopped
            ]
        );
        assert_eq!(Phase::Running.after(Event::Unwell), Phase::Degraded);
        assert_eq!(Phase::Running.after(Event::Disabled), Phase::Disabled);
    }
}
