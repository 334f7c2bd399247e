//! Hands the target's name to the note: no other place knows it.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUSWAY_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
