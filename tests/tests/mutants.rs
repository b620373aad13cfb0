//! Each patch in `tests/mutants` takes one defence away from a scratch copy of the sources; the test that it names must fail.
//!
//! `./dev test mutants` runs those whose crates changed since the base (`origin/main`, or else the commit before), and all
//! of them under `--all` or where there is no base. The copy has a target folder of its own, which stays for the next run:
//! in a shared one, cargo would take a mutant's objects for those of the real sources. It begins with what the packages of
//! others were built to beside this test, since no patch changes those.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

/// A patch and the test that it must make fail.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mutant {
    name: String,
    test: Test,
    /// What the patch changes, from the root.
    files: BTreeSet<String>,
}

/// The test that a mutant must make fail, as `cargo test` selects it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    package: String,
    /// The file in the package's `tests`; its library when there is none.
    file: Option<String>,
    filter: String,
}

/// How a run of the named test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed(u32),
    TestFailed,
    NoSuchTest,
    /// It did not compile, was killed or ran over its time: no test failed, whatever the defence does.
    Broke(String),
}

/// A copy of the sources that may be damaged.
struct Scratch {
    tree: PathBuf,
    target: PathBuf,
    files: BTreeSet<String>,
    /// Held until the end, so that a second run waits.
    _lock: File,
}

#[test]
fn every_defence_is_missed_by_a_test() {
    let mutants = mutants();
    assert!(!mutants.is_empty(), "no mutants: this test would prove nothing");
    let changed = changed_files();
    let (chosen, left_out): (Vec<_>, Vec<_>) = mutants.into_iter().partition(|mutant| is_due(mutant, changed.as_ref()));
    for mutant in &left_out {
        println!("{}: left out, {} did not change (--all runs it)", mutant.name, mutant.test.package);
    }
    if chosen.is_empty() {
        return;
    }
    let scratch = Scratch::new();
    // The tests without a patch come first, each once: their builds serve all mutants.
    let mut unharmed = BTreeMap::new();
    for Mutant { test, .. } in &chosen {
        unharmed.entry(test).or_insert_with(|| scratch.run(test));
    }
    let mut wrong = Vec::new();
    for mutant in &chosen {
        let started = Instant::now();
        let verdict = scratch.verdict(mutant, &unharmed[&mutant.test]);
        let said = verdict.clone().map_or_else(
            |why| format!("WRONG: {}", why.lines().next().unwrap_or_default()),
            |how| format!("caught, {how}"),
        );
        println!("{}: {said} ({:.1} s)", mutant.name, started.elapsed().as_secs_f64());
        wrong.extend(verdict.err().map(|why| format!("{}: {why}", mutant.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_outcome_is_told_from_what_cargo_prints() {
    let ok = "test result: ok. 0 passed; 0 failed; 0 ignored\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
    assert_eq!(outcome(Some(0), ok, ""), Outcome::Passed(2));
    assert_eq!(outcome(Some(0), "test result: ok. 0 passed; 0 failed; 0 ignored\n", ""), Outcome::NoSuchTest);
    assert_eq!(outcome(Some(101), "test result: FAILED. 0 passed; 1 failed; 0 ignored\n", ""), Outcome::TestFailed);
    assert!(
        matches!(outcome(Some(101), ok, "error[E0425]: cannot find\n"), Outcome::Broke(why) if why.contains("E0425"))
    );
    assert!(matches!(outcome(Some(124), ok, ""), Outcome::Broke(_)));
    assert!(matches!(outcome(None, ok, ""), Outcome::Broke(_)));
}

#[test]
fn a_mutant_is_due_when_its_crate_changed_or_nobody_can_say() {
    let text = "must fail: holdfast-core qbft::x\nWhy.\n--- a/agent/core/src/a.rs\n+++ b/agent/core/src/a.rs\n";
    let mutant = read_patch("m.patch", text);
    assert_eq!(mutant.test, Test { package: "holdfast-core".into(), file: None, filter: "qbft::x".into() });
    assert_eq!(mutant.files, BTreeSet::from(["agent/core/src/a.rs".to_owned()]));
    for (changed, due) in [
        (Some(""), false),
        (Some("agent/core/src/b.rs"), true),
        (Some("agent/core/tests/c.rs"), true),
        (Some("agent/corel/src/b.rs"), false),
        (Some("tests/mutants/m.patch"), true),
        (Some("tests/mutants/other.patch"), false),
        (Some("tests/tests/mutants.rs"), true),
        (None, true),
    ] {
        let changed = changed.map(|file| BTreeSet::from([file.to_owned()]));
        assert_eq!(is_due(&mutant, changed.as_ref()), due, "{changed:?}");
    }
}

#[test]
fn a_patch_names_a_test_of_the_library_or_of_a_file() {
    let command = |line: &str| read_test(line).map(|test| test.to_string());
    assert_eq!(command("must fail: a lease::x").unwrap(), "cargo test -p a --lib lease::x");
    assert_eq!(command("must fail: a --test cluster x").unwrap(), "cargo test -p a --test cluster x");
    for wrong in ["must fail: a", "must fail: a --release x", "must fail: a b c", "fails: a b"] {
        assert_eq!(command(wrong), None, "{wrong}");
    }
}

impl Scratch {
    /// Brings `.dev/mutants/tree` to the state of the sources, what is not committed yet included.
    fn new() -> Self {
        let folder = root().join(".dev/mutants");
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let files = String::from_utf8(listed.stdout).unwrap();
        let files = files.split('\0').filter(|file| !file.is_empty() && root().join(file).is_file());
        let files: BTreeSet<String> = files.map(str::to_owned).collect();
        assert!(files.contains("Cargo.lock"), "git lists no sources: this test would prove nothing");
        let scratch = Self { tree: folder.join("tree"), target: folder.join("target"), files, _lock: lock };
        scratch.take_built();
        scratch.remove_strangers(&scratch.tree);
        scratch.restore(&scratch.files);
        scratch
    }

    /// Begins a new target folder with what the packages of others were built to for this test and those beside it. What
    /// cargo cannot use of it, because it was built with other features, it builds again.
    fn take_built(&self) {
        if self.target.exists() {
            return;
        }
        let program = std::env::current_exe().unwrap();
        let built = program.ancestors().nth(2).unwrap();
        let is_foreign = |name: &str| !OURS.iter().any(|ours| name.trim_start_matches("lib").starts_with(ours));
        for (part, prefix) in [(".fingerprint", ""), ("build", ""), ("deps", "lib")] {
            let names = fs::read_dir(built.join(part)).unwrap().map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| name.into_string().unwrap());
            let taken = names.filter(|name| name.starts_with(prefix) && is_foreign(name));
            let into = self.target.join("debug").join(part);
            fs::create_dir_all(&into).unwrap();
            // With its times, by which cargo decides.
            let copied = Command::new("cp")
                .args(["--archive", "--reflink=auto", "--target-directory"])
                .arg(into)
                .args(taken)
                .current_dir(built.join(part))
                .status();
            assert!(copied.unwrap().success(), "cannot copy {part} of {}", built.display());
        }
    }

    /// Copies what differs, and leaves the rest alone with its times, by which cargo decides what to build again.
    fn restore<'a>(&self, files: impl IntoIterator<Item = &'a String>) {
        for file in files {
            let (from, to) = (root().join(file), self.tree.join(file));
            let wanted = fs::read(&from).unwrap();
            if fs::read(&to).ok().as_ref() != Some(&wanted) {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(&to, wanted).unwrap();
                fs::set_permissions(&to, fs::metadata(&from).unwrap().permissions()).unwrap();
            }
        }
    }

    fn remove_strangers(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                self.remove_strangers(&path);
            } else if !self.files.contains(path.strip_prefix(&self.tree).unwrap().to_str().unwrap()) {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn run(&self, test: &Test) -> Outcome {
        let started = Instant::now();
        let output = Command::new("timeout")
            .arg(TIME_MAX_S)
            .arg(env!("CARGO"))
            .args(["test", "--locked", "--all-features", "--package", &test.package])
            .args(BESIDE.iter().flat_map(|package| ["--package", *package]))
            .args(test.targets())
            .arg(&test.filter)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // The same few crates are built again for each patch, wherever else that may not be worth its disk.
            .env("CARGO_INCREMENTAL", "1")
            .env("HOLDFAST_SHARED", shared())
            .output()
            .unwrap();
        println!("  {} {}: {:.1} s", test.package, test.filter, started.elapsed().as_secs_f64());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        outcome(output.status.code(), &text(&output.stdout), &text(&output.stderr))
    }

    /// How the mutant was caught, or why this run proves nothing or shows a defence that nobody misses.
    fn verdict(&self, mutant: &Mutant, before: &Outcome) -> Result<&'static str, String> {
        let test = format!("`{}`", mutant.test);
        match before {
            Outcome::Passed(_) => {}
            Outcome::NoSuchTest => return Err(format!("{test} selects no test")),
            Outcome::TestFailed => return Err(format!("{test} fails without the patch as well")),
            Outcome::Broke(why) => return Err(format!("{test} breaks without the patch as well: {why}")),
        }
        self.apply(mutant)?;
        let outcome = self.run(&mutant.test);
        self.restore(&mutant.files);
        match outcome {
            Outcome::TestFailed => Ok("by a failed test"),
            Outcome::Passed(_) | Outcome::NoSuchTest => Err(format!("nothing fails in {test}")),
            Outcome::Broke(why) => Err(format!("{test} breaks instead of failing: {why}")),
        }
    }

    fn apply(&self, mutant: &Mutant) -> Result<(), String> {
        let is_test = |file: &str| file.split('/').any(|part| part == "tests" || part == "tests.rs");
        if let Some(file) = mutant.files.iter().find(|file| !self.files.contains(*file) || is_test(file)) {
            return Err(format!("changes {file}, which is a test or no source of ours"));
        }
        let before = self.contents(mutant);
        // The copy lies inside the repository, where git would take the paths for those of the whole and skip them.
        let ceiling = self.tree.parent().unwrap();
        let applied = Command::new("git")
            .arg("apply")
            .arg(root().join("tests/mutants").join(&mutant.name))
            .current_dir(&self.tree)
            .env("GIT_CEILING_DIRECTORIES", ceiling)
            .output()
            .unwrap();
        if !applied.status.success() {
            let why = String::from_utf8_lossy(&applied.stderr).trim().to_owned();
            return Err(format!("does not apply, so make it again: {why}"));
        }
        let unchanged = self.contents(mutant) == before;
        if unchanged { Err("changes nothing".into()) } else { Ok(()) }
    }

    fn contents(&self, mutant: &Mutant) -> BTreeMap<String, Vec<u8>> {
        mutant.files.iter().map(|file| (file.clone(), fs::read(self.tree.join(file)).unwrap())).collect()
    }
}

fn mutants() -> Vec<Mutant> {
    let entries = fs::read_dir(root().join("tests/mutants")).unwrap().map(|entry| entry.unwrap().path());
    let patches = entries.filter(|path| path.extension().is_some_and(|extension| extension == "patch"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut mutants: Vec<_> =
        patches.map(|path| read_patch(&name(&path), &fs::read_to_string(&path).unwrap())).collect();
    mutants.sort_by_key(|mutant| (mutant.test.clone(), mutant.name.clone()));
    mutants
}

fn read_patch(name: &str, text: &str) -> Mutant {
    let test = text
        .lines()
        .next()
        .and_then(read_test)
        .unwrap_or_else(|| panic!("{name}: the first line is `must fail: CRATE [--test FILE] TESTNAME-FILTER`"));
    let files: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(str::to_owned).collect();
    assert!(!files.is_empty(), "{name} changes no file");
    Mutant { name: name.to_owned(), test, files }
}

fn read_test(line: &str) -> Option<Test> {
    let words: Vec<&str> = line.strip_prefix("must fail: ")?.split_whitespace().collect();
    let (package, file, filter) = match words[..] {
        [package, filter] => (package, None, filter),
        [package, "--test", file, filter] => (package, Some(file.to_owned()), filter),
        _ => return None,
    };
    Some(Test { package: package.to_owned(), file, filter: filter.to_owned() })
}

impl Test {
    /// What is built for it.
    fn targets(&self) -> Vec<&str> {
        self.file.as_ref().map_or_else(|| vec!["--lib"], |file| vec!["--test", file])
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo test -p {} {} {}", self.package, self.targets().join(" "), self.filter)
    }
}

fn outcome(code: Option<i32>, stdout: &str, stderr: &str) -> Outcome {
    let results = || stdout.lines().filter_map(|line| line.strip_prefix("test result: "));
    let passed = |line: &str| line.strip_prefix("ok. ")?.split(' ').next()?.parse::<u32>().ok();
    match (code, results().filter_map(passed).sum()) {
        (Some(0), 0) => Outcome::NoSuchTest,
        (Some(0), tests) => Outcome::Passed(tests),
        (Some(101), _) if results().any(|line| line.starts_with("FAILED. ")) => Outcome::TestFailed,
        _ => {
            let last: Vec<&str> = stderr.lines().rev().take(LINES_SHOWN).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            Outcome::Broke(format!("exit code {code:?}\n{}", last.join("\n")))
        }
    }
}

/// Whether this run is about the mutant: something in its crates changed, or itself, or this runner.
fn is_due(mutant: &Mutant, changed: Option<&BTreeSet<String>>) -> bool {
    let Some(changed) = changed else { return true };
    let folder = |file: &String| format!("{}/", file.split_once("/src/").map_or(file.as_str(), |(folder, _)| folder));
    let own = ["tests/tests/mutants.rs".to_owned(), format!("tests/mutants/{}", mutant.name)];
    let mut places = mutant.files.iter().map(folder).chain(own);
    places.any(|place| changed.iter().any(|file| file.starts_with(&place)))
}

/// The files that differ from the base, committed or not. `None` when all mutants are due.
fn changed_files() -> Option<BTreeSet<String>> {
    if std::env::var_os("HOLDFAST_TEST_ALL").is_some() {
        return None;
    }
    let words = |output: Output| String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let head = words(git(&["rev-parse", "HEAD"]));
    let merge_base = git(&["merge-base", "HEAD", "origin/main"]);
    let previous = git(&["rev-parse", "--verify", "--quiet", "HEAD~"]);
    let base = [merge_base, previous].into_iter().filter(|output| output.status.success()).map(words);
    let base = base.into_iter().find(|base| *base != head)?;
    let listed = [git(&["diff", "--name-only", &base]), git(&["ls-files", "--others", "--exclude-standard"])];
    Some(listed.into_iter().flat_map(|output| words(output).lines().map(str::to_owned).collect::<Vec<_>>()).collect())
}

fn git(arguments: &[&str]) -> Output {
    Command::new("git").args(arguments).current_dir(root()).output().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Where tests find the vectors that lie beside the repository: the copy has no such neighbour.
fn shared() -> PathBuf {
    std::env::var_os("HOLDFAST_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from)
}

/// For one test with its build; a mutant may well loop for ever.
const TIME_MAX_S: &str = "300";
/// Selected beside the package of the test: a package by itself has those of others built with fewer features, hence once
/// more. With these, their features are, but for a few, those of the whole workspace; no other set breaks anything.
const BESIDE: &[&str] = &["holdfast-bls", "holdfast-vault", "holdfastd", "netlab"];
/// How the names of our own packages begin, and those of what they are built to.
const OURS: &[&str] = &["holdfast", "netlab"];
/// Of what cargo says about a test that broke.
const LINES_SHOWN: usize = 20;
