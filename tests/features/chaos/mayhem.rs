//! What people and their tools do to a plugin directory.

use busway_tests::fixture::Fixture;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A die that falls alike for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.roll() % most as u64).unwrap()
    }

    pub(super) fn pause(&mut self, most_ms: usize) {
        let pause = self.below(most_ms + 1);
        std::thread::park_timeout(Duration::from_millis(pause as u64));
    }
}

/// The good builds' revisions are up to this.
pub(super) const GOOD: u32 = 6;
/// The datasources make this one panic when it is in charge: it may be seen until it is taken back.
pub(super) const PANICS: u32 = 950;

/// Builds of a driver: those that may serve, and those of which nobody must see a row.
pub(super) struct Builds {
    good: Vec<Fixture>,
    bad: Vec<(&'static str, Fixture)>,
    made: usize,
}

impl Builds {
    pub(super) fn of(id: &str) -> Self {
        let build = |revision: u32| Fixture::new().id(id).revision(revision);
        let bad = vec![
            ("one that panics in charge", build(PANICS)),
            ("one that panics in open", build(960).fault("open", "panic")),
            ("one that panics in poll", build(961).fault("poll", "panic")),
            ("one that fails to open", build(962).fault("open", "error")),
            ("one that panics in describe", build(963).fault("describe", "panic")),
        ];
        Self { good: (1..=GOOD).map(build).collect(), bad, made: 0 }
    }

    /// A good one twice as often as not. Good ones come again; no bad one has the bytes of another, which would be known.
    fn any(&mut self, dice: &mut Dice) -> (&'static str, Vec<u8>) {
        if dice.below(3) > 0 {
            return ("a good build", self.good[dice.below(self.good.len())].bytes().to_vec());
        }
        self.made += 1;
        // The one that is found out last is the hardest.
        let (what, build) = &self.bad[dice.below(2 * self.bad.len()) * dice.below(2) % self.bad.len()];
        let own = format!("fixture panics, build {:05}", self.made);
        (what, build.clone().replace("fixture panics in an action", &own).bytes().to_vec())
    }
}

/// One file of the directory, and somebody who works on it.
pub(super) struct Worker {
    pub(super) dice: Dice,
    pub(super) builds: Builds,
    /// Where it lies.
    pub(super) file: PathBuf,
    /// Where links lead.
    pub(super) store: PathBuf,
    pub(super) done: usize,
}

impl Worker {
    /// Does something, and says what. Others may have the directory away from under it: then it fails.
    pub(super) fn work(&mut self) -> (String, io::Result<()>) {
        self.done += 1;
        let (what, bytes) = self.builds.any(&mut self.dice);
        let bytes = bytes.as_slice();
        let (file, dice) = (&self.file, &mut self.dice);
        let aside = self.store.join(format!("{}.so", self.done));
        let name = file.file_name().unwrap().to_str().unwrap();
        match dice.below(14) {
            0 | 1 => (format!("cp {what}"), fs::write(file, bytes)),
            2 | 3 => (format!("mv {what}"), moved(file, bytes)),
            4 => (format!("install {what}"), installed(file, bytes, dice)),
            5 => (format!("rsync --inplace {what}"), in_place(file, bytes, dice)),
            6 => {
                let most = dice.below(bytes.len());
                let cut = OpenOptions::new().write(true).open(file).and_then(|open| open.set_len(most as u64));
                (format!("truncate to {most}"), cut)
            }
            7 => {
                let garbage: Vec<u8> = (0..dice.below(1 << 16)).map(|_| dice.below(256).to_le_bytes()[0]).collect();
                (format!("{} bytes of garbage", garbage.len()), fs::write(file, garbage))
            }
            8 => {
                let linked =
                    fs::write(&aside, bytes).and_then(|()| gone(file)).and_then(|()| fs::hard_link(&aside, file));
                (format!("ln {what}"), linked)
            }
            9 => {
                let next = file.with_extension("link");
                let linked = fs::write(&aside, bytes).and_then(|()| gone(&next)).and_then(|()| symlink(&aside, &next));
                (format!("ln -sfn {what}"), linked.and_then(|()| fs::rename(&next, file)))
            }
            10 => (format!("..data of {what}"), swapped(file, name, bytes, self.done)),
            11 => ("rm".to_owned(), gone(file)),
            12 => (format!("a checksum that is not {what}'s"), belied(file, bytes, dice)),
            _ => {
                let mode = [0o000, 0o666, 0o222][dice.below(3)];
                (format!("chmod {mode:o} and back"), with_mode(file, mode, dice))
            }
        }
    }
}

/// Removes a file that may not be there.
fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn moved(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = file.with_extension("new");
    fs::write(&next, bytes)?;
    fs::rename(next, file)
}

fn installed(file: &Path, bytes: &[u8], dice: &mut Dice) -> io::Result<()> {
    gone(file)?;
    slowly(&mut OpenOptions::new().write(true).create_new(true).open(file)?, bytes, dice)
}

fn in_place(file: &Path, bytes: &[u8], dice: &mut Dice) -> io::Result<()> {
    let mut open = OpenOptions::new().write(true).create(true).truncate(false).open(file)?;
    slowly(&mut open, bytes, dice)?;
    open.set_len(bytes.len() as u64)
}

/// In pieces, with pauses between them: now and then longer than a file takes to settle.
fn slowly(open: &mut fs::File, bytes: &[u8], dice: &mut Dice) -> io::Result<()> {
    for piece in bytes.chunks(bytes.len() / 8 + 1) {
        open.write_all(piece)?;
        let most = if dice.below(8) == 0 { 400 } else { 20 };
        dice.pause(most);
    }
    Ok(())
}

/// As mounted configuration is changed: a folder beside, and a link to it that is swapped.
fn swapped(file: &Path, name: &str, bytes: &[u8], number: usize) -> io::Result<()> {
    let plugins = file.parent().unwrap();
    let (folder, data) = (format!("..{name}-{number}"), format!("..data-{name}"));
    fs::create_dir(plugins.join(&folder))?;
    fs::write(plugins.join(&folder).join(name), bytes)?;
    let next = plugins.join("..next").with_extension(name);
    gone(&next)?;
    symlink(&folder, &next)?;
    fs::rename(&next, plugins.join(&data))?;
    gone(&next)?;
    symlink(Path::new(&data).join(name), &next)?;
    fs::rename(&next, file)
}

fn belied(file: &Path, bytes: &[u8], dice: &mut Dice) -> io::Result<()> {
    let checksum = PathBuf::from(format!("{}.sha256", file.display()));
    fs::write(&checksum, format!("{:064}  {}\n", 1, file.display()))?;
    let written = fs::write(file, bytes);
    dice.pause(300);
    gone(&checksum).and(written)
}

fn with_mode(path: &Path, mode: u32, dice: &mut Dice) -> io::Result<()> {
    let before = fs::metadata(path)?.permissions();
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    dice.pause(400);
    fs::set_permissions(path, before)
}

/// Somebody who works on the directories.
pub(super) struct Janitor {
    pub(super) dice: Dice,
    pub(super) plugins: PathBuf,
    /// Where the host makes its private copies.
    pub(super) staged: PathBuf,
}

impl Janitor {
    pub(super) fn work(&mut self) -> (String, io::Result<()>) {
        let (plugins, staged, dice) = (&self.plugins, &self.staged, &mut self.dice);
        let aside = |path: &Path| path.with_extension("aside");
        match dice.below(5) {
            0 => {
                let removed = fs::remove_dir_all(plugins);
                dice.pause(400);
                ("rm -r, mkdir".to_owned(), fs::create_dir(plugins).and(removed))
            }
            1 => {
                let moved = fs::rename(plugins, aside(plugins));
                dice.pause(400);
                // Who installs something meanwhile makes no directory for it.
                ("mv of the directory and back".to_owned(), moved.and_then(|()| fs::rename(aside(plugins), plugins)))
            }
            2 => {
                let linked = fs::rename(plugins, aside(plugins)).and_then(|()| symlink(aside(plugins), plugins));
                dice.pause(400);
                let back = gone(plugins).and_then(|()| fs::rename(aside(plugins), plugins));
                ("the directory as a link".to_owned(), linked.and(back))
            }
            3 => {
                let mode = [0o000, 0o777][dice.below(2)];
                (format!("chmod {mode:o} of the directory and back"), with_mode(plugins, mode, dice))
            }
            // What a full disk does: nothing can be written there, whoever writes.
            _ => {
                let full = fs::rename(staged, aside(staged)).and_then(|()| fs::write(staged, ""));
                dice.pause(600);
                let back = gone(staged).and_then(|()| fs::rename(aside(staged), staged));
                ("no room for private copies".to_owned(), full.and(back))
            }
        }
    }
}
