//! What the benchmarks share. Contenders take turns, round by round, so that whatever else the machine does falls on all
//! of them alike; what counts is the median.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How many rounds: as many as asked under `cargo bench`, otherwise (`cargo test --benches`) one, to see that it runs.
pub(crate) fn rounds(asked: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") { asked } else { 1 }
}

/// The time of some work, and what it made: dropped when the caller likes.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let made = work();
    (began.elapsed(), made)
}

/// The median; of an even number the upper one.
///
/// # Panics
///
/// When there is none.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median time of each contender in seconds. Each measures itself, and is run once before it counts.
pub(crate) fn medians<const N: usize>(asked: usize, mut contenders: [&mut dyn FnMut() -> Duration; N]) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=rounds(asked) {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let time = contender().as_secs_f64();
            if round > 0 {
                times.push(time);
            }
        }
    }
    times.map(median)
}

/// A ratio beside the least or most it may be.
pub(crate) fn judged(ratio: f64, met: bool, target: &str) -> String {
    let digits = if ratio < 10.0 { 2 } else { 0 };
    format!("{ratio:.digits$}x ({target}: {})", if met { "met" } else { "MISSED" })
}

/// Builds the driver in release mode and answers its library. Together with the host: then the crates that both depend on
/// are those that are built already.
///
/// # Panics
///
/// When it does not build.
pub(crate) fn driver() -> PathBuf {
    let target = std::env::current_exe().expect("a program has a path");
    let target = target.ancestors().nth(3).expect("target/<profile>/deps/<bench>");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "busway", "--package", "busway-bench-driver"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the driver does not build");
    let name = format!("{}busway_bench_driver{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    target.join("release").join(name)
}
