//! The layouts of the contract's types, as `abi_stable` keeps them, read into what can be printed and compared.

use abi_stable::{
    std_types::UTypeId,
    type_layout::{TLData, TLField, TLFunction, TLPrimitive, TypeLayout},
};
use core::fmt::Write as _;
use std::collections::{BTreeMap, HashSet};

/// Every type that can be reached from this one and is more than a primitive: a line a type, and beneath it a line a
/// field. Types are sorted by name, so that nothing moves but what changes. The contract's own, `ModuleRef::LAYOUT`, is
/// kept in `tests/golden`.
pub fn text(root: &'static TypeLayout) -> String {
    let mut blocks = BTreeMap::new();
    let (mut seen, mut next) = (HashSet::<UTypeId>::new(), vec![root]);
    while let Some(layout) = next.pop() {
        if !seen.insert(layout.get_utypeid()) {
            continue;
        }
        let shape = Shape::of(layout);
        next.extend(shape.phantoms());
        let mut lines = String::new();
        for field in &shape.fields {
            let _ = writeln!(lines, "    {}", field.line());
            next.extend(field.layouts());
        }
        let (package, version) = layout.package_and_version();
        if shape.kind == Kind::Primitive || shape.base() == "PhantomData" {
            continue;
        }
        // Of the contract's own package the version is what grows.
        let of = if package == env!("CARGO_PKG_NAME") { package.to_string() } else { format!("{package} {version}") };
        let title = format!("{} ({of}) {}\n", shape.name(), shape.head());
        let _ = blocks.insert(title, lines);
    }
    blocks.into_iter().map(|(title, lines)| title + &lines).collect()
}

/// A type and all that depends on how it lies in memory.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) layout: &'static TypeLayout,
    pub(crate) kind: Kind,
    /// Fields of a struct, of all variants of an enum in turn, functions of a module, methods of a trait.
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing is known of what is inside.
    Opaque,
    Primitive,
    Struct,
    Union,
    /// The variants, as `Name=discriminant`, and whether more may come.
    Enum(Vec<String>, bool),
    /// So many fields are in every version; those behind may be missing.
    Prefix(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) layout: &'static TypeLayout,
    pub(crate) functions: Vec<TLFunction>,
    /// Of a function its signature, else the type's name.
    pub(crate) ty: String,
    /// Which lifetimes stand where.
    pub(crate) lifetimes: String,
    /// Where it lies, where that is a matter of sizes and alignments alone.
    offset: Option<usize>,
    /// Of a prefix type: whether it can be read.
    accessible: Option<bool>,
}

impl Shape {
    pub(crate) fn of(layout: &'static TypeLayout) -> Self {
        let (kind, fields, accessible) = match layout.data() {
            TLData::Opaque => (Kind::Opaque, Vec::new(), None),
            TLData::Primitive(_) => (Kind::Primitive, Vec::new(), None),
            TLData::Struct { fields } => (Kind::Struct, fields.to_vec(), None),
            TLData::Union { fields } => (Kind::Union, fields.to_vec(), None),
            TLData::Enum(of) => {
                let discriminants = format!("{:?}", of.discriminants);
                let discriminants = discriminants.trim_matches(|c| c == '[' || c == ']').split(", ");
                let variants = of.variant_names_iter().zip(discriminants).map(|(name, d)| format!("{name}={d}"));
                (Kind::Enum(variants.collect(), of.exhaustiveness.is_exhaustive()), of.fields.to_vec(), None)
            }
            TLData::PrefixType(of) => {
                let kind = Kind::Prefix(usize::from(of.first_suffix_field));
                (kind, of.fields.to_vec(), Some(of.accessible_fields))
            }
        };
        let mut end = 0;
        let fields = fields.into_iter().enumerate().map(|(i, field)| {
            let mut field = Field::of(field);
            if matches!(kind, Kind::Struct | Kind::Prefix(_)) {
                let align = field.layout.alignment();
                let at = (end + align - 1) / align * align;
                end = at + field.layout.size();
                field.offset = Some(at);
            }
            field.accessible = accessible.map(|which| which.at(i).is_accessible());
            field
        });
        Self { layout, fields: fields.collect(), kind }
    }

    /// The type's name without its parameters.
    pub(crate) fn base(&self) -> &'static str {
        self.layout.name()
    }

    /// The type's name; of a trait's functions the trait's.
    pub(crate) fn name(&self) -> String {
        name(self.layout)
    }

    /// Whether its fields are the methods of a trait.
    pub(crate) fn is_trait(&self) -> bool {
        trait_of(self.layout).is_some()
    }

    /// How one speaks of a field of it.
    pub(crate) fn place(&self, field: &str) -> String {
        let between = if self.is_trait() || matches!(self.kind, Kind::Enum(..)) { "::" } else { "." };
        format!("{}{between}{field}", self.name())
    }

    /// Types that belong to it though no field says so: what a pointer points to.
    pub(crate) fn phantoms(&self) -> Vec<&'static TypeLayout> {
        self.layout.phantom_fields().iter().map(|field| field.layout()).collect()
    }

    /// Whether it is the contract's, not `abi_stable`'s or the standard library's.
    pub(crate) fn is_own(&self) -> bool {
        self.layout.package().as_str() == env!("CARGO_PKG_NAME")
    }

    /// What it asks for beside its fields: the traits of what a trait object holds.
    pub(crate) fn demands(&self) -> String {
        let checks = self.layout.extra_checks().map_or_else(String::new, |checks| checks.to_string());
        let tag = Some(self.layout.tag().to_string()).filter(|tag| tag != "null").unwrap_or_default();
        let said = checks.split_whitespace().chain(tag.split_whitespace());
        let titles = ["RequiredTraits", "Auto", "Impld", "traits:", "traits:<no_traits>"];
        let all: Vec<&str> = said.filter(|word| !titles.contains(word)).collect();
        all.join("+")
    }

    /// All of it but its fields and, of what may grow, the size.
    fn head(&self) -> String {
        let layout = self.layout;
        let kind = match &self.kind {
            Kind::Opaque => "opaque".to_owned(),
            Kind::Primitive => "primitive".to_owned(),
            Kind::Struct => "struct".to_owned(),
            Kind::Union => "union".to_owned(),
            Kind::Enum(variants, exhaustive) => {
                format!("enum [{}]{}", variants.join(" "), if *exhaustive { "" } else { " may grow" })
            }
            Kind::Prefix(fields) => format!("prefix of {fields}"),
        };
        let size = match self.kind {
            Kind::Prefix(_) => String::new(),
            _ => format!(" size={}", layout.size()),
        };
        let niche = if layout.is_nonzero() { " nonzero" } else { "" };
        let more = self.demands();
        let more = if more.is_empty() { more } else { format!(" demands={more}") };
        format!("{kind}{size} align={} repr={:?}{niche}{more}", layout.alignment(), layout.repr_attr())
    }
}

impl Field {
    fn of(field: TLField) -> Self {
        let functions: Vec<TLFunction> = field.function_range().iter().collect();
        let ty = match functions.as_slice() {
            [one] if field.is_function() => signature(one),
            [] => name(field.layout()),
            some => {
                let inside: Vec<String> = some.iter().map(signature).collect();
                format!("{} of {}", name(field.layout()), inside.join(", "))
            }
        };
        let mut lifetimes = format!("{:?}", field.lifetime_indices());
        for function in &functions {
            let _ = write!(lifetimes, ";{:?}", function.paramret_lifetime_indices);
        }
        let lifetimes = brief(&lifetimes);
        Self { name: field.name(), layout: field.layout(), functions, ty, lifetimes, offset: None, accessible: None }
    }

    fn line(&self) -> String {
        let mut line = format!("{}: {}", self.name, self.ty);
        if let Some(at) = self.offset {
            let _ = write!(line, " at={at}");
        }
        let _ = write!(line, " size={} align={}", self.layout.size(), self.layout.alignment());
        match self.accessible {
            Some(true) => line.push_str(" readable"),
            Some(false) => line.push_str(" hidden"),
            None => {}
        }
        if !self.lifetimes.is_empty() {
            let _ = write!(line, " lifetimes={}", self.lifetimes);
        }
        line
    }

    /// All types that it names.
    pub(crate) fn layouts(&self) -> Vec<&'static TypeLayout> {
        let mut all = vec![self.layout];
        for function in &self.functions {
            all.extend(function.param_type_layouts.iter().map(|get| get()));
            all.extend(function.return_type_layout().map(|get| get()));
        }
        all
    }
}

/// The lifetimes in `abi_stable`'s account of them, which has some thirty words for one.
fn brief(lifetimes: &str) -> String {
    let words = lifetimes.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ';'));
    let mut all = String::new();
    let mut parameter = false;
    for word in words {
        match word {
            "Param" => parameter = true,
            number if parameter => {
                parameter = false;
                let _ = write!(all, "{number},");
            }
            "STATIC" | "Static" => all.push_str("static,"),
            "ANONYMOUS" | "Anonymous" => all.push_str("_,"),
            _ => {}
        }
    }
    let _ = all.pop();
    all
}

/// A function's parameters with their names, which are part of the contract too, and what it returns; a method as one
/// writes it.
pub(crate) fn signature(function: &TLFunction) -> String {
    let mut names = function.param_names.as_str().split(&[',', ';'][..]);
    let (mut params, mut method) = (Vec::new(), false);
    for get in function.param_type_layouts.iter() {
        let (ty, param) = (name(get()), names.next().unwrap_or_default());
        params.push(match (param, get().name()) {
            ("_self", base) => {
                method = true;
                match base {
                    "RRef" => "&self".to_owned(),
                    "RMut" => "&mut self".to_owned(),
                    _ => format!("self: {ty}"),
                }
            }
            // Of a trait's methods the names are not kept.
            ("", _) => ty,
            _ if method => ty,
            (param, _) => format!("{param}: {ty}"),
        });
    }
    let returned = function.return_type_layout().map_or_else(String::new, |get| format!(" -> {}", name(get())));
    let qualifier = if function.fn_qualifs.is_unsafe() && !method { "unsafe " } else { "" };
    format!("{qualifier}fn({}){returned}", params.join(", "))
}

/// The trait whose functions this type holds.
fn trait_of(layout: &'static TypeLayout) -> Option<String> {
    let path = layout.mod_path().to_string();
    let last = path.rsplit("::").next()?.strip_suffix("_trait")?;
    if layout.name() == "VTable" {
        Some(last.to_owned())
    } else {
        None
    }
}

/// A type's name with its parameters.
pub(crate) fn name(layout: &'static TypeLayout) -> String {
    named(layout, 8)
}

fn named(layout: &'static TypeLayout, depth: usize) -> String {
    if depth == 0 {
        return "…".to_owned();
    }
    if let Some(of) = trait_of(layout) {
        return of;
    }
    let types: Vec<String> = parameters(layout).into_iter().map(|inner| named(inner, depth - 1)).collect();
    let inner = types.join(", ");
    if let TLData::Primitive(primitive) = layout.data() {
        match primitive {
            TLPrimitive::SharedRef => return format!("&{inner}"),
            TLPrimitive::MutRef => return format!("&mut {inner}"),
            TLPrimitive::ConstPtr => return format!("*const {inner}"),
            TLPrimitive::MutPtr => return format!("*mut {inner}"),
            TLPrimitive::Array => return layout.full_type().to_string(),
            _ => {}
        }
    }
    let lifetimes = layout.generics().lifetimes().map(|_| "'_".to_owned());
    let all: Vec<String> = lifetimes.chain(types).collect();
    if all.is_empty() {
        layout.name().to_owned()
    } else {
        format!("{}<{}>", layout.name(), all.join(", "))
    }
}

/// A type's parameters. Some types of `abi_stable` do not tell theirs: there a field does.
fn parameters(layout: &'static TypeLayout) -> Vec<&'static TypeLayout> {
    let told = layout.generics().type_params();
    if !told.is_empty() {
        return told.iter().map(|get| get()).collect();
    }
    let first = layout.get_fields().and_then(|fields| fields.get(0)).map(|field| field.layout());
    match (layout.name(), first) {
        ("ROption", Some(first)) => vec![first],
        ("RObjectVtable", Some(marker)) => parameters(marker).pop().into_iter().collect(),
        ("RVec" | "RSlice" | "RRef" | "RMut" | "RObject", Some(pointer)) => parameters(pointer),
        _ => Vec::new(),
    }
}
