//! Tables of decisions, and what holds of all.

use super::*;
use proptest::prelude::*;

fn claim(path: &str, id: &str, sha256: &str) -> Claim {
    Claim { path: path.into(), id: id.into(), version: "1.0.0".into(), sha256: sha256.into() }
}

fn of(claims: &[Claim]) -> Inputs {
    Inputs { claims: claims.to_vec(), ..Inputs::default() }
}

impl Inputs {
    fn serving(mut self, path: &str, sha256: &str) -> Self {
        self.serving.insert("x".into(), Serving { path: path.into(), sha256: sha256.into() });
        self
    }

    fn served(mut self, path: &str, good: &[&str]) -> Self {
        let good = good.iter().map(|sha256| KeptCopy { sha256: (*sha256).into(), version: "1.0.0".into() }).collect();
        self.served.insert("x".into(), Served { path: path.into(), good });
        self
    }

    fn barred(mut self, sha256: &str) -> Self {
        self.barred.insert(sha256.into(), "it panicked".into());
        self
    }

    fn unclear(mut self, path: &str, unclear: Unclear) -> Self {
        self.unclear.insert(path.into(), unclear);
        self
    }

    fn renew(mut self) -> Self {
        self.renew.insert("x".into());
        self
    }

    fn named(mut self, path: &str) -> Self {
        self.named.insert("x".into(), path.into());
        self
    }
}

/// The decision about `x` in one word, with the bytes it is about.
fn decided(inputs: &Inputs) -> String {
    match &plan(inputs).decisions["x"] {
        Decision::Do(Step::Load { claim }) => format!("load {} {}", claim.path.display(), claim.sha256),
        Decision::Do(Step::Reload { claim }) => format!("reload {} {}", claim.path.display(), claim.sha256),
        Decision::Do(Step::Adopt { claim }) => format!("adopt {} {}", claim.path.display(), claim.sha256),
        Decision::Do(Step::Restore { claim }) => format!("restore {} {}", claim.path.display(), claim.sha256),
        Decision::Do(Step::Stop { .. }) => "stop".to_owned(),
        Decision::Keep => "keep".to_owned(),
        Decision::HeldBack(claim) => format!("held back {}", claim.sha256),
        Decision::Conflict => "conflict".to_owned(),
        Decision::Missing => "missing".to_owned(),
        Decision::Wait => "wait".to_owned(),
    }
}

fn conflicts(inputs: &Inputs) -> Vec<(String, Vec<String>)> {
    let text = |path: &PathBuf| path.display().to_string();
    plan(inputs).conflicts.iter().map(|(path, others)| (text(path), others.iter().map(text).collect())).collect()
}

#[test]
fn a_single_claimant_is_loaded_and_its_new_bytes_are_a_reload() {
    let one = of(&[claim("a.so", "x", "1")]);
    assert_eq!(decided(&one), "load a.so 1");
    assert_eq!(conflicts(&one), []);
    assert_eq!(decided(&one.clone().serving("a.so", "1")), "keep");
    assert_eq!(decided(&of(&[claim("a.so", "x", "2")]).serving("a.so", "1")), "reload a.so 2");
    let mut busy = one;
    busy.busy.insert("x".into());
    assert_eq!(decided(&busy), "wait");
}

#[test]
fn inv04_two_claimants_and_no_history_none_is_loaded_and_both_are_named() {
    let two = of(&[claim("a.so", "x", "1"), claim("b.so", "x", "2")]);
    assert_eq!(decided(&two), "conflict");
    assert_eq!(conflicts(&two), [("a.so".into(), vec!["b.so".into()]), ("b.so".into(), vec!["a.so".into()])]);
    assert_eq!(decided(&two.clone().named("b.so")), "load b.so 2", "the configuration names the file");
    assert_eq!(conflicts(&two.clone().named("b.so")), [("a.so".into(), vec!["b.so".into()])]);
    // One that may not be loaded is no claimant.
    assert_eq!(decided(&two.clone().barred("1")), "load b.so 2");
    assert_eq!(conflicts(&two.barred("1")), []);
}

#[test]
fn inv04_who_served_before_a_restart_serves_again() {
    let two = of(&[claim("a.so", "x", "1"), claim("b.so", "x", "2")]).served("b.so", &["2"]);
    assert_eq!(decided(&two), "load b.so 2");
    assert_eq!(conflicts(&two), [("a.so".into(), vec!["b.so".into()])]);
}

#[test]
fn inv04_the_one_that_serves_stays_and_the_other_is_the_conflict() {
    let two = of(&[claim("a.so", "x", "1"), claim("b.so", "x", "2")]).serving("b.so", "2");
    assert_eq!(decided(&two), "keep");
    assert_eq!(conflicts(&two), [("a.so".into(), vec!["b.so".into()])]);
    let new = of(&[claim("a.so", "x", "1"), claim("b.so", "x", "3")]).serving("b.so", "2");
    assert_eq!(decided(&new), "reload b.so 3");
    assert_eq!(decided(&two.named("a.so")), "reload a.so 1", "the configuration names the other");
}

#[test]
fn inv04_an_id_whose_file_is_gone_goes_to_the_only_other_claimant() {
    assert_eq!(decided(&of(&[claim("a.so", "x", "2")]).serving("gone.so", "1")), "reload a.so 2");
    assert_eq!(decided(&of(&[]).serving("gone.so", "1")), "missing");
    let stop = Inputs { stop_missing: true, ..of(&[]).serving("gone.so", "1") };
    assert_eq!(decided(&stop), "stop");
    let two = of(&[claim("a.so", "x", "2"), claim("b.so", "x", "3")]).serving("gone.so", "1");
    assert_eq!(decided(&two), "missing");
    assert_eq!(conflicts(&two).len(), 2);
}

#[test]
fn inv04_nobody_takes_the_place_of_a_file_that_is_being_written() {
    let writing = of(&[claim("b.so", "x", "2")]).unclear("a.so", Unclear::Incomplete);
    assert_eq!(decided(&writing.clone().serving("a.so", "1")), "wait");
    assert_eq!(decided(&writing.clone().served("a.so", &[])), "wait");
    assert_eq!(conflicts(&writing.serving("a.so", "1")), [("b.so".into(), vec!["a.so".into()])]);
}

#[test]
fn a_file_that_was_renamed_is_no_reload() {
    assert_eq!(decided(&of(&[claim("b.so", "x", "1")]).serving("a.so", "1")), "adopt b.so 1");
    let two = of(&[claim("a.so", "x", "1"), claim("b.so", "x", "1")]).serving("a.so", "1");
    assert_eq!(decided(&two.named("b.so")), "adopt b.so 1");
}

#[test]
fn inv05_bytes_that_failed_are_held_back_and_what_was_there_serves() {
    let failed = of(&[claim("a.so", "x", "2")]).barred("2");
    assert_eq!(decided(&failed.clone().serving("a.so", "1")), "held back 2");
    // At a start the kept copy serves instead.
    assert_eq!(decided(&failed.clone().served("a.so", &["1"])), "restore a.so 1");
    assert_eq!(decided(&failed.clone().served("a.so", &["2", "1"])), "restore a.so 1");
    assert_eq!(decided(&failed.served("a.so", &["2"])), "held back 2");
    let garbage = of(&[]).served("a.so", &["1"]);
    assert_eq!(decided(&garbage.clone().unclear("a.so", Unclear::Refused)), "restore a.so 1");
    assert_eq!(decided(&garbage.clone().unclear("a.so", Unclear::Incomplete)), "restore a.so 1");
    assert_eq!(decided(&garbage.clone().unclear("a.so", Unclear::Changing)), "wait");
    assert_eq!(decided(&garbage), "keep", "a file that is gone is not served at a start");
}

#[test]
fn inv05_new_bytes_at_a_start_prove_themselves_beside_the_good_ones() {
    let new = of(&[claim("a.so", "x", "2")]).served("a.so", &["1"]);
    assert_eq!(decided(&new), "restore a.so 1");
    assert_eq!(decided(&new.serving("a.so", "1")), "reload a.so 2");
    assert_eq!(decided(&of(&[claim("a.so", "x", "2")]).served("a.so", &["1", "2"])), "load a.so 2", "known as good");
    assert_eq!(decided(&of(&[claim("a.so", "x", "2")]).served("a.so", &[])), "load a.so 2");
    // Under another name, too.
    let renamed = of(&[claim("b.so", "x", "2")]).served("a.so", &["1"]);
    assert_eq!(decided(&renamed), "restore a.so 1");
    assert_eq!(decided(&renamed.serving("a.so", "1")), "reload b.so 2");
}

#[test]
fn a_rollback_is_the_former_copy_until_the_file_holds_something_else() {
    let rolled = of(&[claim("a.so", "x", "2")]).barred("2").served("a.so", &["2", "1"]);
    assert_eq!(decided(&rolled.clone().serving("a.so", "2")), "restore a.so 1");
    assert_eq!(decided(&rolled.serving("a.so", "1")), "held back 2");
    let only = of(&[claim("a.so", "x", "2")]).barred("2").served("a.so", &["2"]).serving("a.so", "2");
    assert_eq!(decided(&only), "keep", "there is nothing to go back to");
    let next = of(&[claim("a.so", "x", "3")]).barred("2").served("a.so", &["2", "1"]).serving("a.so", "2");
    assert_eq!(decided(&next), "reload a.so 3");
}

#[test]
fn inv01_a_fresh_copy_is_of_the_bytes_that_serve_and_only_when_nothing_else_is_to_be_done() {
    let same = of(&[claim("a.so", "x", "1")]).serving("a.so", "1").served("a.so", &["1", "0"]);
    assert_eq!(decided(&same.clone().renew()), "reload a.so 1");
    assert_eq!(decided(&same.clone().renew().barred("1")), "restore a.so 0", "it is taken out anyway");
    let next = Inputs { claims: vec![claim("a.so", "x", "2")], ..same.clone() };
    assert_eq!(decided(&next.clone().renew()), "reload a.so 2", "other bytes are fresh");
    assert_eq!(decided(&next.renew().barred("2")), "restore a.so 1", "what the file holds is not to be loaded");
    let gone = Inputs { claims: vec![], ..same };
    assert_eq!(decided(&gone.clone().renew()), "restore a.so 1");
    assert_eq!(decided(&gone.clone().renew().unclear("a.so", Unclear::Refused)), "restore a.so 1");
    assert_eq!(decided(&gone.clone().renew().unclear("a.so", Unclear::Changing)), "wait");
    assert_eq!(decided(&Inputs { stop_missing: true, ..gone.renew() }), "stop");
    assert_eq!(decided(&of(&[]).serving("a.so", "1").renew()), "missing", "no copy is kept");
}

#[test]
fn why_is_said() {
    let held =
        of(&[claim("a.so", "x", "2"), claim("b.so", "x", "3")]).barred("2").served("a.so", &["1"]).serving("a.so", "1");
    assert_eq!(
        explain(&held, "x"),
        [
            "x is served from a.so, by bytes that it held before (1)",
            "a.so holds version 1.0.0 (2), which is held back: it panicked",
            "b.so holds version 1.0.0 (3), and does not serve: a.so claims x too",
            "copies that served well are kept of 1.0.0 (1)",
        ]
    );
    assert_eq!(
        explain(&Inputs::default(), "x"),
        ["nothing serves x", "no file claims it, and none ever served it here"]
    );
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let sha = || prop::sample::select(vec!["1", "2", "3"]);
    let path = || prop::sample::select(vec!["a.so", "b.so", "c.so"]);
    let unclear = prop::sample::select(vec![Unclear::Changing, Unclear::Incomplete, Unclear::Refused]);
    (
        prop::collection::btree_map(path(), sha(), 0..3),
        prop::option::of((path(), sha())),
        prop::option::of((path(), prop::collection::vec(sha(), 0..3))),
        prop::collection::btree_set(sha(), 0..3),
        prop::option::of(path()),
        prop::option::of((path(), unclear)),
        any::<(bool, bool)>(),
    )
        .prop_map(|(claims, serving, served, barred, named, unclear, (stop_missing, renew))| {
            let claims: Vec<Claim> = claims.into_iter().map(|(path, sha256)| claim(path, "x", sha256)).collect();
            let mut inputs = Inputs { stop_missing, ..of(&claims) };
            if let Some((path, sha256)) = serving {
                inputs = inputs.serving(path, sha256);
            }
            if let Some((path, good)) = served {
                inputs = inputs.served(path, &good);
            }
            if let Some(path) = named {
                inputs = inputs.named(path);
            }
            if let Some((path, unclear)) = unclear.filter(|(path, _)| claims.iter().all(|c| c.path != Path::new(path)))
            {
                inputs = inputs.unclear(path, unclear);
            }
            inputs.renew.extend(renew.then(|| "x".to_owned()));
            barred.into_iter().fold(inputs, Inputs::barred)
        })
}

/// What follows when a step was done well.
fn done(mut inputs: Inputs, step: &Step) -> Inputs {
    match step {
        Step::Load { claim } | Step::Reload { claim } | Step::Adopt { claim } | Step::Restore { claim } => {
            inputs.renew.remove(&claim.id);
            inputs.serving.insert(claim.id.clone(), Serving { path: claim.path.clone(), sha256: claim.sha256.clone() });
            let served =
                inputs.served.entry(claim.id.clone()).or_insert(Served { path: claim.path.clone(), good: vec![] });
            served.path.clone_from(&claim.path);
            served.good.retain(|good| good.sha256 != claim.sha256);
            served.good.insert(0, KeptCopy { sha256: claim.sha256.clone(), version: claim.version.clone() });
            served.good.truncate(2);
        }
        Step::Stop { id } => {
            inputs.serving.remove(id);
        }
    }
    inputs
}

proptest! {
    /// Nothing barred is ever begun, and doing what is planned comes to rest.
    #[test]
    fn inv03_plans_come_to_rest(inputs in inputs()) {
        let mut now = inputs;
        for _ in 0..6 {
            let planned = plan(&now);
            prop_assert_eq!(&planned, &plan(&now.clone()));
            let steps = planned.steps();
            for step in &steps {
                if let Step::Load { claim } | Step::Reload { claim } | Step::Restore { claim } = step {
                    prop_assert!(!now.barred.contains_key(&claim.sha256));
                    let other = |s: &Serving| s.sha256 != claim.sha256 || s.path != claim.path;
                    prop_assert!(now.renew.contains("x") || now.serving.get("x").is_none_or(other));
                }
            }
            if steps.is_empty() {
                return Ok(());
            }
            now = steps.iter().fold(now, done);
        }
        prop_assert!(false, "it goes round: {:?}", now);
    }

    /// What was written down says the same when it is read.
    #[test]
    fn plans_are_the_same_from_what_was_written_down(inputs in inputs()) {
        let text = serde_json::to_string(&inputs).unwrap();
        let read: Inputs = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(plan(&read), plan(&inputs));
    }
}
