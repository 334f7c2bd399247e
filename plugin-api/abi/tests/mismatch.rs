//! What is said of each kind of break: a golden text each.

use crate::contracts as c;
use crate::golden;
use abi_stable::type_layout::TypeLayout;
use busway_abi::{abi_stable, compare, Difference, Incompatible, VERSION};

/// All that is said but for `abi_stable`'s own report, as if today's contract were 1.0.0.
pub(crate) fn said(refused: &Incompatible) -> String {
    let explanation = refused.explanation();
    assert!(explanation.lines().count() <= 5, "{explanation}");
    assert_eq!(refused.to_string().lines().count(), 1, "{refused}");
    let detail = refused.detail.split("\nabi_stable's report:\n").next().unwrap();
    let detail = if detail.is_empty() { String::new() } else { format!("\nin full:\n{detail}") };
    format!("in a line:\n{refused}\n\nin five:\n{explanation}\n{detail}").replace(VERSION, "1.0.0")
}

fn refused(ours: &'static TypeLayout, layout: &'static TypeLayout, theirs: &str) -> Incompatible {
    compare(ours, Some(layout), theirs).unwrap_err()
}

#[test]
fn each_kind_of_break_is_told_in_five_lines() {
    use Difference as D;
    let plain = c::plain::LAYOUT;
    for (name, ours, layout, theirs, difference, place) in [
        ("field-added", plain, c::field_added::LAYOUT, "1.900.0", D::Added, "Reply.place"),
        ("field-removed", plain, c::field_removed::LAYOUT, VERSION, D::Removed, "Reply.body"),
        ("field-type", plain, c::field_type::LAYOUT, VERSION, D::Type, "Reply.body"),
        ("field-renamed", plain, c::field_renamed::LAYOUT, "1.900.0", D::Renamed, "Reply.body"),
        ("fields-reordered", plain, c::fields_reordered::LAYOUT, VERSION, D::Reordered, "Reply.status"),
        ("function-added", plain, c::function_added::LAYOUT, "1.900.0", D::Added, "Module.attach"),
        ("function-removed", plain, c::function_removed::LAYOUT, VERSION, D::Removed, "Module.control"),
        ("function-arguments", plain, c::function_arguments::LAYOUT, VERSION, D::Signature, "Module.open"),
        (
            "function-parameter-renamed",
            plain,
            c::function_parameter_renamed::LAYOUT,
            "1.900.1",
            D::Signature,
            "Module.open",
        ),
        ("prefix-moved", plain, c::prefix_moved::LAYOUT, "1.900.0", D::Prefix, "Module"),
        ("method-added", plain, c::method_added::LAYOUT, "1.900.0", D::Added, "Source::intruder"),
        // The host is the newer one that broke it.
        ("method-missing", c::method_added::LAYOUT, plain, "0.9.0", D::Removed, "Source::intruder"),
        ("method-arguments", plain, c::method_arguments::LAYOUT, VERSION, D::Signature, "Source::poll"),
        ("method-returns", plain, c::method_returns::LAYOUT, VERSION, D::Signature, "Source::tables"),
        ("methods-reordered", plain, c::methods_reordered::LAYOUT, VERSION, D::Reordered, "Source::tables"),
        ("variant-added", plain, c::variant_added::LAYOUT, VERSION, D::Variant, "Colour::Blue"),
        ("variant-missing", c::variant_added::LAYOUT, plain, VERSION, D::Variant, "Colour::Blue"),
        ("variant-numbered", plain, c::variant_numbered::LAYOUT, VERSION, D::Variant, "Colour::Green"),
        ("size", c::opaque_four::LAYOUT, c::opaque_six::LAYOUT, VERSION, D::Size, "Reply.body"),
        ("alignment", plain, c::alignment::LAYOUT, VERSION, D::Alignment, "Reply"),
        ("demands", plain, c::demands::LAYOUT, VERSION, D::Demands, "Opened.source"),
        ("representation", plain, c::kind::LAYOUT, VERSION, D::Representation, "Colour"),
        ("grown-apart", c::grown_module::LAYOUT, c::grown_source::LAYOUT, "1.900.0", D::GrownApart, "Source::news"),
    ] {
        let refused = refused(ours, layout, theirs);
        let first = &refused.mismatches[0];
        assert_eq!((first.difference, first.place.as_str()), (difference, place), "{name}: {:#?}", refused.mismatches);
        assert_eq!(refused.theirs.as_deref(), Some(theirs));
        let report = refused.detail.split("\nabi_stable's report:\n").nth(1).unwrap();
        assert!(report.contains("Compared <this>"), "{name}: {report}");
        golden::check(name, &said(&refused));
    }
}

#[test]
fn several_breaks_are_all_in_the_full_report() {
    let refused = refused(c::field_type::LAYOUT, c::method_added::LAYOUT, VERSION);
    let places: Vec<&str> = refused.mismatches.iter().map(|mismatch| mismatch.place.as_str()).collect();
    assert_eq!(places, ["Reply.body", "Source::intruder"]);
    golden::check("several", &said(&refused));
}

#[test]
fn no_layout_is_told_as_well() {
    let refused = compare(c::plain::LAYOUT, None, VERSION).unwrap_err();
    assert_eq!(refused.mismatches[0].difference, Difference::NoLayout);
    golden::check("no-layout", &said(&refused));
}

/// What may be added is no break, whichever side has it.
#[test]
fn growth_behind_the_end_fits_both_ways() {
    for (ours, layout) in [
        (c::plain::LAYOUT, c::plain::LAYOUT),
        (c::plain::LAYOUT, c::grown::LAYOUT),
        (c::grown::LAYOUT, c::plain::LAYOUT),
        (c::grown_source::LAYOUT, c::grown::LAYOUT),
    ] {
        assert_eq!(compare(ours, Some(layout), "1.900.0"), Ok(()));
    }
}
