//! Whom a key concerns, among any number of patterns.

use super::pattern::{Pattern, words};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Values by pattern: finds those whose patterns match a key without looking at the others.
///
/// A trie of words, walked with all its places that the key's words so far lead to. A place is there once at most, so a
/// key costs its words times the places, and those are no more than the trie has: no pattern makes it explode.
#[derive(Debug, Clone)]
pub struct Matcher<T> {
    root: Node<T>,
    /// Pairs of a pattern and a value.
    len: usize,
}

#[derive(Debug, Clone)]
struct Node<T> {
    named: HashMap<Box<str>, Node<T>>,
    star: Option<Box<Node<T>>>,
    hash: Option<Box<Node<T>>>,
    /// The values of the pattern that ends here.
    values: BTreeSet<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { named: HashMap::new(), star: None, hash: None, values: BTreeSet::new() }
    }
}

impl<T> Default for Matcher<T> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<T: Ord> Matcher<T> {
    /// One without patterns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value under a pattern; answers whether it was not there under this very pattern.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> bool {
        let mut node = &mut self.root;
        for word in pattern.words() {
            node = match word {
                "*" => node.star.get_or_insert_default(),
                "#" => node.hash.get_or_insert_default(),
                _ => node.named.entry(word.into()).or_default(),
            };
        }
        let new = node.values.insert(value);
        self.len += usize::from(new);
        new
    }

    /// Takes a value from under a pattern, and gives the memory back; answers whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, value: &T) -> bool {
        let removed = self.root.remove(pattern.words(), value);
        self.len -= usize::from(removed);
        removed
    }

    /// How many pairs of a pattern and a value there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls with each value of which a pattern matches the key, in order, each once.
    pub fn for_each<'a>(&'a self, key: &str, mut call: impl FnMut(&'a T)) {
        let mut found = Vec::new();
        self.walk(key, |values| found.extend(values));
        found.sort_unstable();
        found.dedup();
        found.into_iter().for_each(&mut call);
    }

    /// The values of which a pattern matches the key.
    #[must_use]
    pub fn matches(&self, key: &str) -> BTreeSet<T>
    where
        T: Clone,
    {
        let mut found = BTreeSet::new();
        self.for_each(key, |value| _ = found.insert(value.clone()));
        found
    }

    /// Finds the places where a pattern ends that matches. Answers how many places were looked at in all.
    fn walk<'a>(&'a self, key: &str, mut found: impl FnMut(&'a BTreeSet<T>)) -> usize {
        let mut places = Places { next: Vec::new(), hashes: Vec::new(), known: HashSet::new() };
        places.enter(&self.root);
        let mut here = Vec::new();
        let mut looked = 0;
        for word in words(key) {
            std::mem::swap(&mut here, &mut places.next);
            places.next.clear();
            // Those that this word leads to begin with the next.
            let hashes = places.hashes.len();
            looked += here.len() + hashes;
            for at in 0..here.len() + hashes {
                let node = if at < hashes { places.hashes[at] } else { here[at - hashes] };
                if let Some(node) = node.named.get(word) {
                    places.enter(node);
                }
                if let Some(node) = node.star.as_deref().filter(|_| !word.is_empty()) {
                    places.enter(node);
                }
            }
        }
        places.next.into_iter().chain(places.hashes).for_each(|node| found(&node.values));
        looked
    }
}

/// Where a walk is. A named word's or `*`'s place is entered from one place alone, so it can't be there twice.
struct Places<'a, T> {
    next: Vec<&'a Node<T>>,
    /// Places of `#`: it takes every word, so once reached they stay.
    hashes: Vec<&'a Node<T>>,
    known: HashSet<*const Node<T>>,
}

impl<'a, T> Places<'a, T> {
    fn enter(&mut self, node: &'a Node<T>) {
        self.next.push(node);
        let mut node = node;
        while let Some(hash) = node.hash.as_deref() {
            if !self.known.insert(hash) {
                return;
            }
            self.hashes.push(hash);
            node = hash;
        }
    }
}

impl<T: Ord> Node<T> {
    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.star.is_none() && self.hash.is_none() && self.values.is_empty()
    }

    fn remove<'a>(&mut self, mut words: impl Iterator<Item = &'a str>, value: &T) -> bool {
        let Some(word) = words.next() else { return self.values.remove(value) };
        if let "*" | "#" = word {
            let place = if word == "*" { &mut self.star } else { &mut self.hash };
            let removed = place.as_deref_mut().is_some_and(|node| node.remove(words, value));
            if place.as_deref().is_some_and(Self::is_empty) {
                *place = None;
            }
            return removed;
        }
        let Some(node) = self.named.get_mut(word) else { return false };
        let removed = node.remove(words, value);
        if node.is_empty() {
            self.named.remove(word);
            if self.named.len() < self.named.capacity() / 4 {
                self.named.shrink_to(self.named.len() * 2);
            }
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as it is written down. Exponential, but who would mistrust it?
    fn naive(pattern: &[&str], key: &[&str]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&"#", rest)) => (0..=key.len()).any(|taken| naive(rest, &key[taken..])),
            Some((word, rest)) => key.split_first().is_some_and(|(of_key, key)| {
                (word == of_key || (*word == "*" && !of_key.is_empty())) && naive(rest, key)
            }),
        }
    }

    /// d6cage's rule for one pattern. What follows a `#` is sought at each of the key's words, but the word that it is
    /// found at is not taken: it is compared with the pattern's next word again. Only a pattern's end is treated apart.
    fn of_d6cage(pattern: &[&str], key: &[&str], after_hash: bool) -> bool {
        let Some((word, rest)) = pattern.split_first() else { return false };
        let ends = rest.iter().all(|word| *word == "#");
        let is = |of_key: &str| *word != "#" && (*word == "*" || *word == of_key);
        if after_hash {
            let found = |at: usize| match *word {
                "#" => of_d6cage(rest, &key[at..], true),
                _ => is(key[at]) && of_d6cage(rest, &key[at..], false),
            };
            return (0..key.len()).any(found) || (ends && is(key[key.len() - 1]));
        }
        match key {
            _ if *word == "#" => ends || of_d6cage(rest, key, true),
            [only] => is(only) && ends,
            _ => is(key[0]) && of_d6cage(rest, &key[1..], false),
        }
    }

    /// All sequences of 1 to 4 words.
    fn sequences<'a>(alphabet: &[&'a str]) -> Vec<Vec<&'a str>> {
        let mut all: Vec<Vec<&str>> = vec![Vec::new()];
        let mut last = 0;
        for _ in 0..4 {
            let longer = all[last..].iter().flat_map(|s| alphabet.iter().map(|w| [s.as_slice(), &[*w]].concat()));
            let longer: Vec<_> = longer.collect();
            last = all.len();
            all.extend(longer);
        }
        all.split_off(1)
    }

    fn parsed(pattern: &[&str]) -> Pattern {
        pattern.join(".").parse().unwrap()
    }

    /// All keys of 0 to 4 words that can be told apart as texts: one empty word is the text of none.
    fn keys() -> Vec<Vec<&'static str>> {
        let mut keys = sequences(&["a", "b", ""]);
        keys.retain(|key| key != &[""]);
        keys.push(Vec::new());
        keys
    }

    #[test]
    fn patterns_and_matchers_agree_with_the_rule_on_every_short_pattern_and_key() {
        let patterns = sequences(&["a", "b", "*", "#"]);
        assert_eq!((patterns.len(), keys().len()), (340, 120));
        let mut together = Matcher::new();
        let mut alone = Vec::new();
        for (i, words) in patterns.iter().enumerate() {
            assert!(together.insert(&parsed(words), i));
            alone.push(Matcher::new());
            alone[i].insert(&parsed(words), ());
        }
        for key in keys() {
            let text = key.join(".");
            let mut expected = BTreeSet::new();
            for (i, words) in patterns.iter().enumerate() {
                let matches = naive(words, &key);
                assert_eq!(parsed(words).matches(&text), matches, "{words:?} {key:?}");
                assert_eq!(!alone[i].matches(&text).is_empty(), matches, "{words:?} {key:?}, alone");
                expected.extend(matches.then_some(i));
            }
            assert_eq!(together.matches(&text), expected, "{key:?}");
        }
    }

    /// The predecessor's router, by family: how many patterns and keys there are, and how many of them it got wrong.
    #[test]
    fn the_482_keys_that_d6cage_misrouted_are_right() {
        let (mut cases, mut wrong) = ([0; 3], [0; 3]);
        for words in sequences(&["a", "b", "*", "#"]) {
            let family = match words.iter().filter(|word| **word == "#").count() {
                0 => 0,
                1 if words.last() == Some(&"#") => 0,
                1 => 1,
                _ => 2,
            };
            let mut matcher = Matcher::new();
            matcher.insert(&parsed(&words), ());
            for key in sequences(&["a", "b"]) {
                let (text, right) = (key.join("."), naive(&words, &key));
                cases[family] += 1;
                wrong[family] += usize::from(of_d6cage(&words, &key, false) != right);
                assert_eq!(parsed(&words).matches(&text), right, "{words:?} {key:?}");
                assert_eq!(!matcher.matches(&text).is_empty(), right, "{words:?} {key:?}");
            }
        }
        // Without `#` or with one at the end; one elsewhere; several.
        assert_eq!(cases, [4800, 3060, 2340]);
        assert_eq!(wrong, [0, 320, 162]);
        // The two it is known by.
        assert!(!of_d6cage(&["#", "a", "b"], &["x", "a", "b"], false));
        assert!(of_d6cage(&["#", "a", "a"], &["a"], false));
    }

    proptest! {
        #[test]
        fn a_matcher_is_the_list_of_its_patterns_and_empty_when_all_are_gone(
            acts in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(0usize..5, 1..7), 0u8..3), 1..60),
            keys in prop::collection::vec(prop::collection::vec(0usize..4, 0..8), 1..10),
        ) {
            let mut list: BTreeSet<(Pattern, u8)> = BTreeSet::new();
            let mut matcher = Matcher::new();
            for (add, words, value) in acts {
                let words: Vec<&str> = words.into_iter().map(|i| ["a", "bb", "c", "*", "#"][i]).collect();
                let Ok(pattern) = words.join(".").parse::<Pattern>() else { continue };
                if add {
                    prop_assert_eq!(matcher.insert(&pattern, value), list.insert((pattern, value)));
                } else {
                    // Else hardly any removal would find what it names.
                    let known = list.iter().nth(usize::from(value)).cloned();
                    let (pattern, value) = known.unwrap_or((pattern, value));
                    prop_assert_eq!(matcher.remove(&pattern, &value), list.remove(&(pattern, value)));
                }
                prop_assert_eq!(matcher.len(), list.len());
            }
            for key in keys {
                let key: Vec<&str> = key.into_iter().map(|i| ["a", "bb", "b", ""][i]).collect();
                let text = key.join(".");
                let key: Vec<&str> = words(&text).collect();
                let meant = |pattern: &Pattern| naive(&pattern.words().collect::<Vec<_>>(), &key);
                let expected: BTreeSet<u8> = list.iter().filter(|(p, _)| meant(p)).map(|(_, v)| *v).collect();
                let scanned: BTreeSet<u8> = list.iter().filter(|(p, _)| p.matches(&text)).map(|(_, v)| *v).collect();
                let mut visited = Vec::new();
                matcher.for_each(&text, |value| visited.push(*value));
                prop_assert_eq!(&visited, &expected.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(scanned, expected);
            }
            for (pattern, value) in &list {
                prop_assert!(matcher.remove(pattern, value));
            }
            prop_assert!(matcher.is_empty() && matcher.root.is_empty());
        }
    }

    #[test]
    fn no_pattern_makes_a_walk_explode() {
        let key = vec!["a"; 1000].join(".");
        let mut matcher = Matcher::new();
        matcher.insert(&parsed(&["#", "a", "#", "a", "#", "a", "#", "b"]), 1);
        let mut found = 0;
        let looked = matcher.walk(&key, |values| found += values.len());
        // Three named places and four of `#` at most for each word; as many ways to get there as 1000 over 3, 166 million.
        assert!((1000..=8 * 1000).contains(&looked), "{looked}");
        assert_eq!(found, 0);
        matcher.insert(&parsed(&["#", "a", "#", "a", "#", "a", "#", "a"]), 2);
        let looked = matcher.walk(&key, |values| found += values.len());
        assert!(looked <= 9 * 1000, "{looked}");
        assert_eq!(found, 1);
        assert!(!"#.a.#.a.#.a.#.b".parse::<Pattern>().unwrap().matches(&key));
    }

    #[test]
    fn a_walk_passes_by_what_can_not_match() {
        let mut matcher = Matcher::new();
        for i in 0..10_000 {
            matcher.insert(&format!("#.service-{i}.rows").parse().unwrap(), i);
        }
        let mut found: Vec<&i32> = Vec::new();
        let looked = matcher.walk("region.service-77.rows", |values| found.extend(values));
        assert_eq!(found, [&77]);
        assert!(looked <= 6, "{looked}");
    }

    #[test]
    fn what_is_removed_gives_its_memory_back() {
        let mut matcher = Matcher::new();
        let pattern = |i: usize| format!("service-{i}.*.rows").parse::<Pattern>().unwrap();
        for i in 0..10_000 {
            matcher.insert(&pattern(i), i);
        }
        let most = matcher.root.named.capacity();
        for i in 10..10_000 {
            assert!(matcher.remove(&pattern(i), &i));
            assert!(!matcher.remove(&pattern(i), &i));
        }
        assert_eq!((matcher.len(), matcher.root.named.len()), (10, 10));
        assert!(matcher.root.named.capacity() < most / 100);
        assert_eq!(matcher.matches("service-3.x.rows"), BTreeSet::from([3]));
    }

    #[test]
    fn a_value_under_several_patterns_comes_once_and_goes_from_each_by_itself() {
        let mut matcher = Matcher::new();
        let [both, one] = ["#", "a.*"].map(|p| p.parse::<Pattern>().unwrap());
        assert!(matcher.insert(&both, "x") && matcher.insert(&one, "x") && !matcher.insert(&one, "x"));
        let mut seen = Vec::new();
        matcher.for_each("a.b", |value| seen.push(*value));
        assert_eq!(seen, ["x"]);
        assert!(matcher.remove(&both, &"x"));
        assert_eq!(matcher.matches("a.b"), BTreeSet::from(["x"]));
        assert_eq!(matcher.matches("a"), BTreeSet::new());
    }
}
