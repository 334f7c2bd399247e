//! Tiny libraries in C, each with a constructor that does something no driver may.

use std::path::Path;
use std::process::Command;

/// A library that is compiled when it is put somewhere.
#[derive(Debug, Clone)]
pub struct Animal {
    id: String,
    source: String,
    note: bool,
}

impl Animal {
    /// One whose constructor runs these C statements.
    #[must_use]
    pub fn constructed(id: &str, statements: &str) -> Self {
        let headers = ["signal", "stdio", "stdlib", "string", "unistd", "sys/resource", "fcntl"];
        let headers: String = headers.iter().map(|name| format!("#include <{name}.h>\n")).collect();
        let source = format!("{headers}__attribute__((constructor)) static void run(void) {{ {statements} }}\n");
        Self { id: id.to_owned(), source, note: true }
    }

    /// One of other C source.
    #[must_use]
    pub fn source(id: &str, source: &str) -> Self {
        Self { id: id.to_owned(), source: source.to_owned(), note: true }
    }

    /// Without a note.
    #[must_use]
    pub fn noteless(self) -> Self {
        Self { note: false, ..self }
    }

    /// Compiles it to a file.
    ///
    /// # Panics
    ///
    /// When the C compiler fails: cargo needs one as well, for linking.
    pub fn put(&self, path: &Path) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, library) = (folder.path().join("animal.c"), folder.path().join("animal.so"));
        let note = if self.note { note(&self.id) } else { String::new() };
        std::fs::write(&source, note + &self.source).expect("writable");
        let output = Command::new("cc").args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output();
        let output = output.expect("there is a C compiler");
        assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::copy(&library, path.with_extension("new")).expect("the plugin directory is writable");
        std::fs::rename(path.with_extension("new"), path).expect("the plugin directory is writable");
    }
}

/// A note as a driver's: nothing in the bytes tells this library from one.
fn note(id: &str) -> String {
    let json = format!(
        "{{\"id\":\"{id}\",\"version\":\"1.0.0\",\"contract\":\"1.0.0\",\"sdk\":\"none\",\"abi_stable\":\"0.11.3\",\
         \"target\":\"any\",\"panic\":\"unwind\"}}"
    );
    let length = u32::try_from(json.len()).expect("a short text").to_le_bytes();
    let bytes = b"BUSWAY\0\x01".iter().chain(&length).chain(json.as_bytes());
    let bytes: Vec<String> = bytes.map(u8::to_string).collect();
    format!(
        "__attribute__((section(\".busway\"), used)) static const unsigned char note[] = {{{}}};\n",
        bytes.join(",")
    )
}
