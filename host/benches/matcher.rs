//! Finding the subscriptions that a key concerns, beside a look at each of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use busway::bus::{Matcher, Pattern};
use measure::{median, medians, time};
use std::hint::black_box;

const KEYS: usize = 200;

fn main() {
    println!("Matcher::for_each beside a scan with Pattern::matches, {KEYS} keys a round");
    for count in [10, 1_000, 100_000] {
        compare(&format!("{count} mixed"), (0..count).map(mixed).collect(), count);
    }
    compare("10000 that begin with #", (0..10_000).map(hashed).collect(), 10_000);
}

/// What subscriptions look like: three in four name a service's table, the others leave a word or more open.
fn mixed(i: usize) -> Pattern {
    let (region, service) = (i % 20, i / 8);
    let text = match i % 8 {
        6 => format!("region-{region}.service-{service}.*"),
        7 if i % 16 == 7 => format!("#.service-{service}.table-{}", i % 6),
        7 => format!("region-{region}.service-{service}.#"),
        table => format!("region-{region}.service-{service}.table-{table}"),
    };
    text.parse().unwrap()
}

/// Nothing to go by at the beginning.
fn hashed(i: usize) -> Pattern {
    let text = match i % 3 {
        0 => format!("#.service-{}.table-{}", i / 3, i % 5),
        1 => format!("#.service-{}.#", i / 3),
        _ => format!("#.service-{}.*", i / 3),
    };
    text.parse().unwrap()
}

fn compare(what: &str, patterns: Vec<Pattern>, count: usize) {
    // One in four names a service that nobody asked for.
    let keys: Vec<String> = (0..KEYS)
        .map(|i| {
            let i = i * 7919 % (count + count / 3 + 1);
            format!("region-{}.service-{}.table-{}", i % 20, i / 8, i % 6)
        })
        .collect();
    let fill = || {
        let mut matcher = Matcher::new();
        patterns.iter().enumerate().for_each(|(i, pattern)| _ = matcher.insert(pattern, i));
        matcher
    };
    let matcher = fill();
    let walk = || {
        let mut found = 0;
        keys.iter().for_each(|key| matcher.for_each(black_box(key), |value| found += *value + 1));
        found
    };
    let scan = || {
        let matching = |key: &str, sum: &mut usize| {
            let all = patterns.iter().enumerate();
            all.filter(|(_, pattern)| pattern.matches(key)).for_each(|(i, _)| *sum += i + 1);
        };
        let mut found = 0;
        keys.iter().for_each(|key| matching(black_box(key), &mut found));
        found
    };
    assert_eq!(walk(), scan());
    let each = keys.iter().map(|key| matcher.matches(key).len()).sum::<usize>() as f64 / KEYS as f64;
    let [walked, scanned] = medians(11, [&mut || time(|| black_box(walk())).0, &mut || time(|| black_box(scan())).0])
        .map(|seconds| seconds * 1e9 / KEYS as f64);
    let mut removals = Vec::new();
    let [filled] = medians(
        5,
        [&mut || {
            let (took, mut matcher) = time(fill);
            let gone = time(|| patterns.iter().enumerate().for_each(|(i, pattern)| _ = matcher.remove(pattern, &i))).0;
            assert!(matcher.is_empty());
            removals.push(gone.as_secs_f64());
            took
        }],
    );
    let one = |seconds: f64| seconds * 1e9 / count as f64;
    println!(
        "  {what}: {walked:.0} ns a key, scan {scanned:.0} ns: {:.1}x; {each:.2} found a key; insert {:.0} ns, remove \
         {:.0} ns",
        scanned / walked,
        one(filled),
        one(median(removals)),
    );
}
