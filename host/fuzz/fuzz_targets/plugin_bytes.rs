//! A plugin's bytes: whatever they are, the look at them ends, and takes no more memory than they do.
//!
//! `cargo +nightly fuzz run plugin_bytes fuzz/corpus/plugin_bytes -- -max_len=1048576`, in `host/`; a good seed is any small
//! stripped library with a section `.busway`.
#![no_main]

use busway::plugin::facts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = facts(bytes) {
        let text = error.to_string();
        assert!(!text.is_empty() && text.len() < 4096, "{text}");
    }
});
