//! `Error`: where it was made and what caused it.

use busway_plugin_api::Error;
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::ErrorBody;
use std::fmt;

#[derive(Debug)]
struct Layer(&'static str, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Layer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|inner| inner as _)
    }
}

fn chain(texts: &[&'static str]) -> Layer {
    let inner = (texts.len() > 1).then(|| Box::new(chain(&texts[1..])));
    Layer(texts[0], inner)
}

#[test]
fn a_question_mark_keeps_its_own_place() {
    fn fails() -> Result<(), Error> {
        Err(chain(&["deep"]))?;
        Ok(())
    }
    let line = line!() - 3;
    let error = fails().unwrap_err();
    assert_eq!(error.place(), Some(format!("{}:{line}:9", file!()).as_str()));
    assert_eq!(error.status(), Status::FAILED);
    assert!(!error.is_transient());
}

#[test]
fn a_question_mark_on_our_own_error_keeps_where_it_was_made() {
    fn inner() -> Result<(), Error> {
        Err(Error::transient("later").code("busy"))
    }
    let line = line!() - 2;
    fn outer() -> Result<(), Error> {
        inner()?;
        Ok(())
    }
    let error = outer().unwrap_err();
    assert_eq!(error.place(), Some(format!("{}:{line}:13", file!()).as_str()));
    assert!(error.is_transient());
    assert_eq!(error.body().code.as_deref(), Some("busy"));
}

#[test]
fn the_chain_of_causes_is_told_once() {
    let told = |texts: &[&'static str]| Error::from(chain(texts)).to_string();
    assert_eq!(told(&["can't read", "file x", "no such file"]), "can't read: file x: no such file");
    // Many errors end with their cause's text themselves.
    assert_eq!(told(&["can't read: no such file", "no such file"]), "can't read: no such file");
    assert_eq!(told(&["a: b", "b", "c"]), "a: b: c");
}

#[test]
fn problems_and_place_are_told() {
    let error = Error::with_status(Status::INVALID, "the options are wrong")
        .problems(vec!["no a".into(), "no b".into()])
        .at("data.csv:7");
    assert_eq!(error.to_string(), "the options are wrong: no a; no b");
    assert_eq!(error.body().to_string(), "the options are wrong: no a; no b (at data.csv:7)");
    let crossed = ErrorBody { place: None, ..error.body().clone() };
    assert_eq!(Error::from_parts(Status(-7), crossed).place(), None);
}
