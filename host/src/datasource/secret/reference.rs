//! References to secrets that are kept elsewhere: `${env:NAME}` and `${file:/absolute/path}` within the strings of options.
//! `$${` is a plain `${`.

use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is referred to has at most so many bytes.
const LARGEST: usize = 64 * 1024;

/// A reference that leads nowhere. No value is told: what is between braces is named only where it is a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceProblem {
    /// Neither of the two.
    #[error(
        "{place}: after ${{ comes env:NAME or file:/PATH, and then a brace that closes it; a plain ${{ is written $${{"
    )]
    Malformed {
        /// Where in the options, as a JSON pointer.
        place: String,
    },
    /// No such variable.
    #[error("{place}: the environment variable {name} is not set for the host, or is no text")]
    NotSet {
        /// Where in the options.
        place: String,
        /// The variable.
        name: String,
    },
    /// A path that depends on where the host was started.
    #[error("{place}: the path {} does not begin with a slash: name the file in full", path.display())]
    Relative {
        /// Where in the options.
        place: String,
        /// The path.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("{place}: the file {} can't be read: {reason}", path.display())]
    Unreadable {
        /// Where in the options.
        place: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// More than a secret.
    #[error("{place}: the file {} has more than 65536 bytes: a secret is shorter", path.display())]
    TooLarge {
        /// Where in the options.
        place: String,
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("{place}: the file {} is no text in UTF-8", path.display())]
    NoText {
        /// Where in the options.
        place: String,
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file that may be referred to: a regular one, and of a long one only enough to see that it is too long.
///
/// # Errors
///
/// What the system says, or that it is no regular file.
pub fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe without a writer would keep us waiting for ever.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::with_capacity(LARGEST + 1);
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts values in place of all references in the strings of `options`, however deep; names of fields are left alone, and so
/// is what comes out of a reference. Of a file's text the last line break is dropped.
///
/// # Errors
///
/// All references that lead nowhere, in the options' order.
pub fn resolve(
    options: &Value,
    env: &dyn Fn(&str) -> Option<String>,
    file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Value, Vec<ReferenceProblem>> {
    let mut resolver = Resolver { env, file, problems: Vec::new() };
    let resolved = resolver.value(options, "");
    if resolver.problems.is_empty() { Ok(resolved) } else { Err(resolver.problems) }
}

struct Resolver<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: Vec<ReferenceProblem>,
}

impl Resolver<'_> {
    fn value(&mut self, value: &Value, place: &str) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, place)),
            Value::Array(values) => {
                values.iter().zip(0..).map(|(value, at)| self.value(value, &format!("{place}/{at}"))).collect()
            }
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| {
                    let step = name.replace('~', "~0").replace('/', "~1");
                    (name.clone(), self.value(value, &format!("{place}/{step}")))
                })
                .collect(),
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str, place: &str) -> String {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                resolved.push_str(before);
                resolved.push_str("${");
                rest = after;
                continue;
            }
            resolved.push_str(before);
            let found = match after.split_once('}') {
                Some((reference, following)) => {
                    rest = following;
                    self.reference(reference, place)
                }
                None => {
                    rest = "";
                    Err(ReferenceProblem::Malformed { place: place.to_owned() })
                }
            };
            match found {
                Ok(value) => resolved.push_str(&value),
                Err(problem) => self.problems.push(problem),
            }
        }
        resolved.push_str(rest);
        resolved
    }

    fn reference(&self, reference: &str, place: &str) -> Result<String, ReferenceProblem> {
        let place = place.to_owned();
        match reference.split_once(':') {
            Some(("env", name)) if is_variable(name) => {
                (self.env)(name).ok_or_else(|| ReferenceProblem::NotSet { place, name: name.to_owned() })
            }
            Some(("file", path)) if !path.is_empty() => self.file(PathBuf::from(path), place),
            _ => Err(ReferenceProblem::Malformed { place }),
        }
    }

    fn file(&self, path: PathBuf, place: String) -> Result<String, ReferenceProblem> {
        if !path.is_absolute() {
            return Err(ReferenceProblem::Relative { place, path });
        }
        let bytes = match (self.file)(&path) {
            Ok(bytes) => bytes,
            Err(error) => return Err(ReferenceProblem::Unreadable { place, path, reason: error.to_string() }),
        };
        if bytes.len() > LARGEST {
            return Err(ReferenceProblem::TooLarge { place, path });
        }
        let Ok(mut text) = String::from_utf8(bytes) else { return Err(ReferenceProblem::NoText { place, path }) };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn resolved(options: &Value) -> Result<Value, Vec<String>> {
        let env = |name: &str| (name == "PASSWORD").then(|| "hunter2 ${env:PASSWORD}".to_owned());
        let file = |path: &Path| match path.to_str().unwrap() {
            "/run/token" => Ok(b"t0ken\n".to_vec()),
            "/run/lines" => Ok(b"one\r\n\r\n".to_vec()),
            "/run/large" => Ok(vec![b'x'; 64 * 1024 + 1]),
            "/run/full" => Ok(vec![b'x'; 64 * 1024]),
            "/run/bytes" => Ok(vec![0xff, b's', b'3', b'c', b'r', b'e', b't']),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        resolve(options, &env, &file).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn references_become_values_wherever_they_are() {
        assert_eq!(
            resolved(&json!({
                "password": "${env:PASSWORD}",
                "nested": [{"url": "http://me:${file:/run/token}@host/${env:PASSWORD}!"}, 5, null, true],
                "${env:PASSWORD}": "$${env:PASSWORD} costs $5, $ {env:X} {} $${",
                "lines": "${file:/run/lines}",
            })),
            Ok(json!({
                "password": "hunter2 ${env:PASSWORD}",
                "nested": [{"url": "http://me:t0ken@host/hunter2 ${env:PASSWORD}!"}, 5, null, true],
                "${env:PASSWORD}": "${env:PASSWORD} costs $5, $ {env:X} {} ${",
                "lines": "one\r\n",
            }))
        );
        assert_eq!(resolved(&json!("${file:/run/full}")).unwrap().as_str().unwrap().len(), 64 * 1024);
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_value() {
        let options = json!({
            "a": "${env:MISSING} and ${file:/no/such}",
            "b/c": ["${file:token}", {"~": "${file:/run/large}"}],
            "d": "${file:/run/bytes}",
            "e": "pass${word",
            "f": "pass${word}",
            "g": "${env:}${file:}${env:s3cret!}",
        });
        let malformed =
            "after ${ comes env:NAME or file:/PATH, and then a brace that closes it; a plain ${ is written $${";
        assert_eq!(
            resolved(&options).unwrap_err(),
            [
                "/a: the environment variable MISSING is not set for the host, or is no text".to_owned(),
                "/a: the file /no/such can't be read: entity not found".to_owned(),
                "/b~1c/0: the path token does not begin with a slash: name the file in full".to_owned(),
                "/b~1c/1/~0: the file /run/large has more than 65536 bytes: a secret is shorter".to_owned(),
                "/d: the file /run/bytes is no text in UTF-8".to_owned(),
                format!("/e: {malformed}"),
                format!("/f: {malformed}"),
                format!("/g: {malformed}"),
                format!("/g: {malformed}"),
                format!("/g: {malformed}"),
            ]
        );
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, vec![b'x'; 200_000]).unwrap();
        assert_eq!(read_limited(&path).unwrap().len(), 64 * 1024 + 1);
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert_eq!(read_limited(&pipe).unwrap_err().to_string(), "it is no regular file");
        assert_eq!(read_limited(folder.path()).unwrap_err().to_string(), "it is no regular file");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_can_be_written(text in "[${}a:env]{0,12}") {
            // A dollar sign before an escaped one is the only thing that needs care: each ${ is written $${.
            let written = text.replace("${", "$${");
            prop_assert_eq!(resolved(&json!(written)), Ok(json!(text)));
        }
    }
}
