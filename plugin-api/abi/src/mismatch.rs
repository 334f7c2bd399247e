//! What differs between two layouts, in words for those who have to do something about it.

use crate::layout::{Field, Kind, Shape};
use abi_stable::{
    abi_stability::abi_checking::{AbiInstability, AbiInstabilityErrors},
    std_types::UTypeId,
    type_layout::{TLFieldOrFunction, TypeLayout},
};
use core::fmt;
use std::collections::HashMap;

/// One thing that differs between the contract of this host and a driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The type and its field, method or variant: `Source::tables`, `Reply.body`.
    pub place: String,
    /// What differs there.
    pub difference: Difference,
    /// What this host has there.
    pub expected: String,
    /// What the driver has there.
    pub found: String,
    /// How one comes there from the root module, the place left out; empty when it is not about a type.
    pub path: Vec<String>,
    /// How much more the driver's type has than the host's, in fields or variants.
    pub(crate) growth: isize,
}

/// A kind of [`Mismatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Difference {
    /// Another `abi_stable`.
    AbiStable,
    /// A library of another host.
    Library,
    /// Another major contract.
    Major,
    /// A library without layouts.
    NoLayout,
    /// The driver has a field or method that the host has not, before others or in a type that must not grow.
    Added,
    /// The driver lacks a field or method that each version has.
    Removed,
    /// A field or method of another name at the same place.
    Renamed,
    /// The same fields or methods in another order.
    Reordered,
    /// A field's type.
    Type,
    /// A function's parameters or result.
    Signature,
    /// An enum's variants.
    Variant,
    /// Where the fields begin that may be missing.
    Prefix,
    /// How many bytes a type has.
    Size,
    /// To how many bytes a type is aligned.
    Alignment,
    /// A type is a struct here and an enum there, or is laid out by other rules.
    Representation,
    /// What a trait object must be able to do.
    Demands,
    /// Each side has something new that the other has not.
    GrownApart,
    /// Something else that `abi_stable` looks at.
    Other,
}

impl Mismatch {
    pub(crate) fn new(
        difference: Difference,
        place: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (expected, found) = (expected.into(), found.into());
        Self { place: place.to_owned(), difference, expected, found, path: Vec::new(), growth: 0 }
    }
}

/// In one line, without what is expected and found.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, .. } = self;
        match self.difference {
            Difference::AbiStable => write!(f, "it is made with another {place}"),
            Difference::Library => f.write_str("it is a library of another host"),
            Difference::Major => write!(f, "{place} has another major version"),
            Difference::NoLayout => f.write_str("it carries no layout of its types"),
            Difference::Added => write!(f, "{place} is new in the driver, and not at an end where it might be"),
            Difference::Removed => write!(f, "{place} is missing in the driver"),
            Difference::Renamed => write!(f, "{place} has another name in the driver"),
            Difference::Reordered => write!(f, "the order is another in the driver from {place} on"),
            Difference::Type => write!(f, "{place} is of another type in the driver"),
            Difference::Signature => write!(f, "{place} takes or returns something else in the driver"),
            Difference::Variant => write!(f, "the variants are others in the driver from {place} on"),
            Difference::Prefix => write!(f, "what each version of {place} has ends elsewhere in the driver"),
            Difference::Size => write!(f, "{place} has another size in the driver"),
            Difference::Alignment => write!(f, "{place} is aligned otherwise in the driver"),
            Difference::Representation => write!(f, "{place} is laid out by other rules in the driver"),
            Difference::Demands => write!(f, "{place} asks for other traits in the driver"),
            Difference::GrownApart => write!(f, "each side has what the other lacks: the driver {place}"),
            Difference::Other => write!(f, "{place} differs in the driver"),
        }
    }
}

/// All that differs, what comes first in the contract first. What is a consequence of something else is left out: a
/// struct's size when a field's type differs, say. Fields behind the end of the other side's prefix type are no difference.
pub(crate) fn differences(ours: &'static TypeLayout, theirs: &'static TypeLayout) -> Vec<Mismatch> {
    let mut walk = Walk::default();
    let _ = walk.types(ours, theirs);
    if let (true, Some(more), Some(less)) = (walk.found.is_empty(), &walk.driver_has_more, &walk.host_has_more) {
        let found = Mismatch::new(Difference::GrownApart, more, less.as_str(), more.as_str());
        walk.found.push(found);
    }
    walk.found
}

/// What the checker says, for what the walk does not see.
pub(crate) fn of_checker(errors: &AbiInstabilityErrors) -> Mismatch {
    let last = errors.errors.iter().rev().find(|error| !error.errs.is_empty());
    let mut path: Vec<String> = last.map_or_else(Vec::new, |error| {
        let names = error.stack_trace.iter().map(|at| match &at.expected {
            TLFieldOrFunction::Field(field) => field.name().to_owned(),
            TLFieldOrFunction::Function(function) => function.name.to_string(),
        });
        names.collect()
    });
    let place = path.pop().unwrap_or_else(|| crate::layout::name(errors.interface));
    let (expected, found) = match last.and_then(|error| error.errs.last()) {
        Some(AbiInstability::Name(v)) => (v.expected.to_string(), v.found.to_string()),
        Some(AbiInstability::Package(v)) => (v.expected.to_string(), v.found.to_string()),
        Some(AbiInstability::PackageVersion(v)) => (v.expected.to_string(), v.found.to_string()),
        Some(AbiInstability::NonZeroness(v)) => (format!("nonzero: {}", v.expected), format!("nonzero: {}", v.found)),
        _ => ("see the whole report".to_owned(), "see the whole report".to_owned()),
    };
    Mismatch { path, ..Mismatch::new(Difference::Other, &place, expected, found) }
}

#[derive(Default)]
struct Walk {
    /// Whether the two were found to differ; none while it is being found out.
    seen: HashMap<(UTypeId, UTypeId), Option<bool>>,
    path: Vec<String>,
    found: Vec<Mismatch>,
    /// The first type of which one side has fields that the other may lack.
    driver_has_more: Option<String>,
    host_has_more: Option<String>,
}

impl Walk {
    fn put(&mut self, mismatch: Mismatch) {
        self.found.push(Mismatch { path: self.path.clone(), ..mismatch });
    }

    /// Whether they differ.
    fn types(&mut self, ours: &'static TypeLayout, theirs: &'static TypeLayout) -> bool {
        let pair = (ours.get_utypeid(), theirs.get_utypeid());
        if let Some(known) = self.seen.get(&pair) {
            return known.unwrap_or(false);
        }
        let _ = self.seen.insert(pair, None);
        let before = self.found.len();
        let (ours, theirs) = (Shape::of(ours), Shape::of(theirs));
        let inner = self.inside(&ours, &theirs);
        if !inner && self.found.len() == before {
            self.outside(&ours, &theirs);
        }
        let differ = inner || self.found.len() > before;
        let _ = self.seen.insert(pair, Some(differ));
        differ
    }

    fn inside(&mut self, ours: &Shape, theirs: &Shape) -> bool {
        let mut differ = false;
        for (mine, other) in ours.phantoms().into_iter().zip(theirs.phantoms()) {
            differ |= self.types(mine, other);
        }
        match (&ours.kind, &theirs.kind) {
            (Kind::Enum(mine, _), Kind::Enum(other, _)) if mine != other => {
                self.variants(ours, mine, other);
                true
            }
            (Kind::Enum(..), Kind::Enum(..))
            | (Kind::Struct, Kind::Struct)
            | (Kind::Union, Kind::Union)
            | (Kind::Prefix(_), Kind::Prefix(_)) => self.fields(ours, theirs) || differ,
            _ => differ,
        }
    }

    /// Of two types that have the same inside.
    fn outside(&mut self, ours: &Shape, theirs: &Shape) {
        let (mine, other) = (ours.layout, theirs.layout);
        let name = ours.name();
        // A type of abi_stable's or of the standard library is told by the field that has it.
        let place = if ours.is_own() { None } else { self.path.pop() };
        let at = place.clone().unwrap_or_else(|| name.clone());
        let mut put = |difference, expected: String, found: String| {
            let path = self.path.clone();
            self.found.push(Mismatch { path, ..Mismatch::new(difference, &at, expected, found) });
        };
        match (&ours.kind, &theirs.kind) {
            (Kind::Prefix(a), Kind::Prefix(b)) if a != b => {
                let last = |shape: &Shape, n: &usize| {
                    let last = n.checked_sub(1).and_then(|i| shape.fields.get(i)).map_or("nothing", |field| field.name);
                    format!("every version has all to {last}")
                };
                put(Difference::Prefix, last(ours, a), last(theirs, b));
            }
            (Kind::Prefix(_), Kind::Prefix(_)) => {}
            _ if mine.alignment() != other.alignment() => {
                let said = |n: usize| format!("{name}, aligned to {n} bytes");
                put(Difference::Alignment, said(mine.alignment()), said(other.alignment()));
            }
            _ if mine.size() != other.size() => {
                let said = |n: usize| format!("{name}, {n} bytes");
                put(Difference::Size, said(mine.size()), said(other.size()));
            }
            _ => {}
        }
        if ours.demands() != theirs.demands() {
            put(Difference::Demands, ours.demands(), theirs.demands());
        }
        let rules = |shape: &Shape| {
            let more = matches!(shape.kind, Kind::Enum(_, false));
            let kind = match shape.kind {
                Kind::Opaque => "an opaque type",
                Kind::Primitive => "a primitive",
                Kind::Struct => "a struct",
                Kind::Union => "a union",
                Kind::Enum(..) if more => "an enum that may grow",
                Kind::Enum(..) => "an enum",
                Kind::Prefix(_) => "a type that may grow",
            };
            format!("{kind}, repr {:?}", shape.layout.repr_attr())
        };
        if rules(ours) != rules(theirs) {
            put(Difference::Representation, rules(ours), rules(theirs));
        }
        self.path.extend(place);
    }

    fn variants(&mut self, ours: &Shape, mine: &[String], other: &[String]) {
        let at = mine.iter().zip(other).take_while(|(a, b)| a == b).count();
        let said = |all: &[String]| all.get(at).map_or_else(|| "no such variant".to_owned(), Clone::clone);
        let bare = |all: &[String]| all.get(at).and_then(|v| v.split('=').next()).unwrap_or_default().to_owned();
        let place = if mine.len() > other.len() || other.len() <= at { bare(mine) } else { bare(other) };
        let mismatch = Mismatch::new(Difference::Variant, &ours.place(&place), said(mine), said(other));
        self.put(Mismatch { growth: less(other.len(), mine.len()), ..mismatch });
    }

    fn fields(&mut self, ours: &Shape, theirs: &Shape) -> bool {
        let before = self.found.len();
        let mut differ = self.names(ours, theirs);
        let by_place = matches!(ours.kind, Kind::Enum(..));
        for (i, mine) in ours.fields.iter().enumerate() {
            let other = theirs.fields.get(i).filter(|other| by_place || other.name == mine.name);
            let other = other.or_else(|| theirs.fields.iter().find(|other| other.name == mine.name));
            if let Some(other) = other {
                differ |= self.field(ours, mine, other);
            }
        }
        differ || self.found.len() > before
    }

    /// Which fields there are, and in which order: the first thing about that which differs.
    fn names(&mut self, ours: &Shape, theirs: &Shape) -> bool {
        let (mine, other) = (&ours.fields, &theirs.fields);
        let has = |fields: &[Field], name: &str| fields.iter().any(|field| field.name == name);
        let common = mine.len().min(other.len());
        let at = mine.iter().zip(other).take_while(|(a, b)| a.name == b.name).count();
        let line = |field: Option<&Field>| field.map_or_else(|| "nothing".to_owned(), line);
        let (expected, found) = (mine.get(at), other.get(at));
        let put = |walk: &mut Self, difference, field: &Field| {
            let mismatch = Mismatch::new(difference, &ours.place(field.name), line(expected), line(found));
            walk.put(Mismatch { growth: less(other.len(), mine.len()), ..mismatch });
            true
        };
        if at < common {
            return match (expected, found) {
                (Some(e), Some(f)) => match (has(other, e.name), has(mine, f.name)) {
                    (true, true) => put(self, Difference::Reordered, e),
                    (true, false) => put(self, Difference::Added, f),
                    (false, true) => put(self, Difference::Removed, e),
                    (false, false) => put(self, Difference::Renamed, e),
                },
                _ => false,
            };
        }
        // One has all that the other has, and perhaps more behind it.
        let needed = match (&ours.kind, &theirs.kind) {
            (Kind::Prefix(a), Kind::Prefix(b)) => Some((*a).max(*b)),
            _ => None,
        };
        match (expected, found) {
            (Some(e), None) if needed.map_or(true, |needed| common < needed) => put(self, Difference::Removed, e),
            (None, Some(f)) if needed.map_or(true, |needed| common < needed) => put(self, Difference::Added, f),
            (Some(e), None) => {
                let _ = self.host_has_more.get_or_insert_with(|| ours.place(e.name));
                false
            }
            (None, Some(f)) => {
                let _ = self.driver_has_more.get_or_insert_with(|| ours.place(f.name));
                false
            }
            _ => false,
        }
    }

    fn field(&mut self, of: &Shape, mine: &Field, other: &Field) -> bool {
        let place = of.place(mine.name);
        if mine.ty != other.ty || mine.lifetimes != other.lifetimes {
            let functions = !mine.functions.is_empty() && !other.functions.is_empty();
            let difference = if functions { Difference::Signature } else { Difference::Type };
            let mut said = (line(mine), line(other));
            if said.0 == said.1 {
                said.0.push_str(&format!(" with lifetimes {}", mine.lifetimes));
                said.1.push_str(&format!(" with lifetimes {}", other.lifetimes));
            }
            self.put(Mismatch::new(difference, &place, said.0, said.1));
            return true;
        }
        // What `abi_stable` puts between the contract's types tells nobody anything.
        let told = of.is_own() && !matches!(mine.name, "_sabi_tys" | "_sabi_vtable" | "obj" | "_marker");
        if told {
            self.path.push(place);
        }
        let mut differ = false;
        for (a, b) in mine.layouts().into_iter().zip(other.layouts()) {
            differ |= self.types(a, b);
        }
        if told {
            let _ = self.path.pop();
        }
        differ
    }
}

fn less(a: usize, b: usize) -> isize {
    a as isize - b as isize
}

fn line(field: &Field) -> String {
    format!("{}: {}", field.name, field.ty)
}
