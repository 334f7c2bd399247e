//! The note: what a plugin's file says of its driver, and whether that can work here.

use super::error::BytesError;
use super::words::readable;
use busway_plugin_api::abi::{self, read_note};
use busway_plugin_api::info::is_driver_id;
use serde::{Deserialize, Serialize};

/// Notes have some hundred bytes.
const MAX_BYTES: usize = 4096;

/// The note, read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The driver's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The contract it was built with.
    pub contract: String,
    /// What it was built with on top of the contract.
    #[serde(default)]
    pub sdk: String,
    /// The `abi_stable` it was built with.
    pub abi_stable: String,
    /// The target it was built for.
    #[serde(default)]
    pub target: String,
    /// `unwind` or `abort`.
    #[serde(default)]
    pub panic: String,
}

/// Reads the note's section, and checks what it says.
pub(super) fn read(section: &[u8]) -> Result<Note, BytesError> {
    if section.len() > MAX_BYTES {
        return Err(BytesError::BadNote(format!("it has {} bytes, {MAX_BYTES} at most are read", section.len())));
    }
    let json = read_note(section).map_err(|e| BytesError::BadNote(e.to_string()))?;
    // What it is angry about may be all of it.
    let bad = |error: serde_json::Error| BytesError::BadNote(readable(error.to_string().as_bytes()));
    let note: Note = serde_json::from_str(json).map_err(bad)?;
    check(&note)?;
    Ok(note)
}

fn check(note: &Note) -> Result<(), BytesError> {
    if !is_driver_id(&note.id) {
        return Err(BytesError::Note(format!("{:?} is no driver id", readable(note.id.as_bytes()))));
    }
    let major = |version: &str| version.split('.').next().and_then(|n| n.parse::<u64>().ok());
    let (theirs, ours) = (major(&note.contract), major(abi::VERSION));
    if theirs != ours {
        let advice =
            if theirs > ours { "use a newer host" } else { "rebuild the driver with a newer busway-plugin-api" };
        return Err(BytesError::Contract { theirs: note.contract.clone(), ours: abi::VERSION, advice });
    }
    if note.abi_stable != abi::ABI_STABLE {
        return Err(BytesError::AbiStable { theirs: note.abi_stable.clone(), ours: abi::ABI_STABLE });
    }
    if note.panic == "abort" {
        return Err(BytesError::Panics(note.panic.clone()));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that can work here.
    pub(in super::super) fn note() -> Note {
        Note {
            id: "a".into(),
            version: "1".into(),
            contract: "1.4.0".into(),
            sdk: String::new(),
            abi_stable: "0.11.3".into(),
            target: String::new(),
            panic: "unwind".into(),
        }
    }

    #[test]
    fn notes_that_can_not_work_here() {
        let note = note();
        assert_eq!(check(&note), Ok(()));
        for (changed, text) in [
            (Note { id: "A b".into(), ..note.clone() }, "its note is not valid: \"A b\" is no driver id"),
            (
                Note { contract: "2.0.0".into(), ..note.clone() },
                "it speaks contract 2.0.0, this host 1.0.0: use a newer host",
            ),
            (
                Note { contract: "0.9.0".into(), ..note.clone() },
                "it speaks contract 0.9.0, this host 1.0.0: rebuild the driver with a newer busway-plugin-api",
            ),
            (
                Note { abi_stable: "0.12.0".into(), ..note.clone() },
                "it is built with abi_stable 0.12.0, the contract with 0.11.3: rebuild it with that version",
            ),
            (
                Note { panic: "abort".into(), ..note.clone() },
                "it is built with panic = \"abort\", so a panic in it would end the host: build it with panic = \
                 \"unwind\"",
            ),
        ] {
            assert_eq!(check(&changed).map_err(|e| e.to_string()), Err(text.to_owned()));
        }
    }
}
