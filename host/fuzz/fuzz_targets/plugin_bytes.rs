//! A plugin's bytes: whatever they are, the look at them ends, and takes no more memory than they do.
//!
//! In `host/`, with cargo-fuzz installed:
//!
//! ```sh
//! mkdir -p fuzz/corpus/plugin_bytes          # what it finds on the way; not kept
//! cargo +nightly fuzz run plugin_bytes fuzz/corpus/plugin_bytes fuzz/seeds/plugin_bytes -- -max_len=1048576
//! ```
//!
//! The seeds are tiny libraries, and some with something wrong; `fuzz/seeds.py` makes them, and `tests/features/bytes.rs`
//! knows what the host says of each. What ends the fuzzer lies in `fuzz/artifacts/plugin_bytes` then, and belongs among them
//! once it is mended.
#![no_main]

use busway::plugin::facts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = facts(bytes) {
        let text = error.to_string();
        assert!(!text.is_empty() && text.len() < 4096, "{text}");
    }
});
