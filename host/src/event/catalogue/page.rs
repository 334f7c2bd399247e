//! The catalogue as a page to read.

use super::{Catalogue, EventType, Kind};
use std::fmt::Write as _;

/// The page, in Markdown: every type with its number, its base, its fields, and what its origin is.
#[must_use]
pub fn page(catalogue: &Catalogue) -> String {
    let mut page = "# Events\n\nEvery type of event that a host knows by itself, as `busway event types` shows them. The host's own \
                    may be named without `busway.`; a number means all types that have it, a base all that are of it.\n"
        .to_owned();
    let all = catalogue.all();
    let mut roots: Vec<&EventType> = all.iter().map(|one| &**one).filter(|one| one.base.is_none()).collect();
    while let Some(one) = roots.pop() {
        section(&mut page, one);
        let mut of: Vec<&EventType> =
            all.iter().map(|other| &**other).filter(|other| other.base.as_ref() == Some(&one.name)).collect();
        of.sort_by_key(|one| std::cmp::Reverse((one.id.unwrap_or(u32::MAX), one.name.clone())));
        roots.extend(of);
    }
    page
}

fn section(page: &mut String, one: &EventType) {
    let number = one.id.map(|id| format!(" ({id})")).unwrap_or_default();
    let _ = writeln!(page, "\n## {}{number}\n\n{}\n", one.name, one.about);
    let what = match one.role {
        super::Role::Event => "",
        super::Role::Base => "a base: it is not published, and who subscribes to it gets all that are of it",
        super::Role::Raw => "subscribed to only: what comes is in no envelope",
    };
    let base = one.base.as_ref().map(|base| format!("of `{base}`")).unwrap_or_default();
    let message = one.message.map(|message| format!("message {message}")).unwrap_or_default();
    let origin = if one.origin.is_empty() { String::new() } else { format!("origin: {}", one.origin) };
    for line in [base, message, origin, what.to_owned()].iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(page, "- {line}");
    }
    if one.fields.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n| field | what it may be | what it says |\n|---|---|---|");
    for field in &one.fields {
        let kind = match &field.kind {
            Kind::OneOf(names) => {
                names.iter().map(|(name, number)| format!("`{name}` ({number})")).collect::<Vec<_>>().join(", ")
            }
            kind => kind.to_string(),
        };
        let required = if field.required { ", required" } else { "" };
        let _ = writeln!(page, "| `{}` | {kind}{required} | {} |", field.name, field.about);
    }
}
