//! The points of the house style that a command can check and the compiler does not. Each allowance only shrinks: one that
//! is no longer needed, or is larger than needed, fails as well.
//!
//! Like all of `tree` these checks are no parser: they rest on the layout that the suite `fmt` holds.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tree::{manifests, root, rust_files, sources, without_tests_and_comments};

/// Lines of a function, its signature and braces included. Tests are functions too.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file of code, the tests in it included.
const FILE_LINES_MAX: usize = 600;

/// Functions that are longer, as `path::name`, and by how much they may be. Empty, and meant to stay so.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];
/// Files that are longer.
const LONG_FILES: &[(&str, usize)] = &[];
/// Files in which a `Result` has a bare text as its error, and how often: reasons that a human reads and no code tells apart.
const ERRORS_AS_TEXT: &[(&str, usize)] = &[];
/// Crates in which a reviewed `unsafe` may stand.
const UNSAFE_CRATES: &[&str] = &["agent/bls", "agent/vault", "hal/linux", "hal/tpm", "tests/adversary", "tests/netlab"];

/// What no code of ours says outside of tests, and what to do instead.
const NEVER_IN_CODE: &[(&str, &str)] = &[
    (".unwrap()", "an error, or an `expect` that states the invariant"),
    ("todo!(", "the whole thing, or an error that says what is left out"),
    ("unimplemented!(", "the whole thing, or an error that says what is left out"),
    ("dbg!(", "tracing"),
    ("unbounded_channel", "a channel with a bound that says why"),
    ("unbounded()", "a channel with a bound that says why"),
    ("mpsc::channel()", "sync_channel: the standard library's channel() has no bound"),
];

/// What no file says at all, tests included.
const NEVER_ANYWHERE: &[(&str, &str)] =
    &[("#[ignore", "a test that runs, or none"), ("TODO", "an issue"), ("FIXME", "an issue"), ("XXX", "an issue")];

#[test]
fn functions_fit_a_screen() {
    let mut found = BTreeMap::new();
    for (path, text) in all_files() {
        for (name, lines) in functions(&text).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX) {
            found.insert(format!("{path}::{name}"), lines);
        }
    }
    assert_ratchet("lines of a function", FUNCTION_LINES_MAX, &found, LONG_FUNCTIONS);
}

#[test]
fn files_are_read_in_one_sitting() {
    let counted = code_files().into_iter().map(|(path, text)| (path, text.lines().count()));
    let found = counted.filter(|(_, lines)| *lines > FILE_LINES_MAX).collect();
    assert_ratchet("lines of a file", FILE_LINES_MAX, &found, LONG_FILES);
}

#[test]
fn code_never_says_what_the_style_forbids() {
    let mut wrong = Vec::new();
    for (path, text) in code_files() {
        let code = without_tests_and_comments(&text);
        wrong.extend(forbidden(&path, &code, NEVER_IN_CODE));
    }
    // This file has to name what it looks for.
    for (path, text) in all_files().into_iter().filter(|(path, _)| path != "tests/tests/tidy.rs") {
        wrong.extend(forbidden(&path, &text, NEVER_ANYWHERE));
    }
    assert!(wrong.is_empty(), "the house style wants it otherwise:\n{}", wrong.join("\n"));
}

#[test]
fn errors_are_not_texts() {
    let counted = code_files().into_iter().map(|(path, text)| {
        let found = errors_as_text(&without_tests_and_comments(&text));
        (path, found)
    });
    let found = counted.filter(|(_, count)| *count > 0).collect();
    assert_ratchet("errors of type String in a file", 0, &found, ERRORS_AS_TEXT);
}

#[test]
fn unsafe_code_is_forbidden_in_all_crates_but_the_listed() {
    let mut roots = 0;
    for folder in manifests().keys() {
        let src = root().join(folder).join("src");
        let mut programs = rust_files(&src.join("bin"));
        programs.extend(["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().filter(|path| path.is_file()));
        assert!(!programs.is_empty(), "{folder} has no root");
        roots += programs.len();
        let forbids = |path: &Path| std::fs::read_to_string(path).unwrap().contains("#![forbid(unsafe_code)]");
        let all = programs.iter().all(|path| forbids(path));
        let allowed = UNSAFE_CRATES.contains(&folder.as_str());
        assert!(all || allowed, "a crate root of {folder} lacks #![forbid(unsafe_code)]");
        assert!(!(all && allowed), "{folder} forbids unsafe code: take it from UNSAFE_CRATES");
    }
    assert!(roots >= 15, "found only {roots} crate roots: this test would prove nothing");
}

#[test]
fn the_checks_of_this_file_see_what_they_look_for() {
    let text = "impl A {\n    pub(crate) async fn long(\n        a: u8,\n    ) -> u8\n    where\n        u8: Copy,\n    {\n        if a {\n        \
                }\n    }\n    fn declared(a: u8);\n    fn short() {}\n}\nunsafe extern \"C\" fn last() {\n}\n";
    let expected = [("long", 9), ("short", 1), ("last", 2)].map(|(name, lines)| (name.to_owned(), lines));
    assert_eq!(functions(text), expected);

    let code = "let a = b.unwrap();\nlet c = 1;\nlet (s, r) = mpsc::unbounded_channel();\n";
    let found = forbidden("x.rs", code, NEVER_IN_CODE);
    assert!(found.len() == 2 && found[0].starts_with("x.rs:1:") && found[1].starts_with("x.rs:3:"), "{found:?}");

    for (code, bad) in [
        ("fn a() -> Result<u8, String> {", true),
        ("fn a() -> Result<Vec<(u8, u8)>, String> {", true),
        ("fn a() -> Result<\n    BTreeMap<u8, u8>,\n    String,\n> {", true),
        ("fn a() -> Result<String, Error> {", false),
        ("fn a() -> Result<BTreeMap<u8, String>, Error> {", false),
        ("fn a() -> io::Result<String> {", false),
    ] {
        assert_eq!(errors_as_text(code), usize::from(bad), "{code}");
    }

    let found = BTreeMap::from([("a".to_owned(), 80)]);
    for (allowed, good) in [(&[("a", 80)][..], true), (&[], false), (&[("a", 90)], false), (&[("a", 79)], false)] {
        assert_eq!(off_the_ratchet(70, &found, allowed).is_empty(), good, "{allowed:?}");
    }
    assert!(!off_the_ratchet(70, &BTreeMap::new(), &[("gone", 80)]).is_empty());
}

/// The sources of every crate of the workspace without test modules, by their path in the repository.
fn code_files() -> Vec<(String, String)> {
    read(manifests().keys().flat_map(|folder| sources(&root().join(folder))))
}

/// Every file of every crate, tests included. A crate within another's folder is read once.
fn all_files() -> BTreeMap<String, String> {
    read(manifests().keys().flat_map(|folder| rust_files(&root().join(folder)))).into_iter().collect()
}

fn read(paths: impl Iterator<Item = PathBuf>) -> Vec<(String, String)> {
    let root = root();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    let files: Vec<_> = paths.map(named).collect();
    assert!(files.len() > 50, "read only {} files: this test would prove nothing", files.len());
    files
}

/// The functions of a file with their lengths in lines. One ends where a closing brace stands as far in as its first line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let signature_end = (first..lines.len()).find(|at| lines[*at].ends_with(['{', ';', '}'])).unwrap();
        let last = match lines[signature_end].chars().last() {
            Some(';') => continue,
            Some('}') => signature_end,
            _ => {
                (first..lines.len()).find(|at| lines[*at].strip_prefix(indent) == Some("}")).unwrap_or(lines.len() - 1)
            }
        };
        found.push((name.to_owned(), last + 1 - first));
    }
    found
}

/// The name when this line declares a function.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifier = |word: &str| {
        ["pub", "const", "async", "unsafe", "extern"].contains(&word)
            || word.starts_with("pub(")
            || word.starts_with('"')
    };
    let name = after.split(['(', '<']).next()?;
    (before.split_whitespace().all(qualifier) && !name.is_empty()).then_some(name)
}

fn forbidden(path: &str, text: &str, list: &[(&str, &str)]) -> Vec<String> {
    let report = |(number, line): (usize, &str)| {
        let (word, instead) = list.iter().find(|(word, _)| line.contains(word))?;
        Some(format!("{path}:{}: {word}: {instead}", number + 1))
    };
    text.lines().enumerate().filter_map(report).collect()
}

/// How often a `Result` has a bare text as its error.
fn errors_as_text(code: &str) -> usize {
    let code = code.replace("->", "  ");
    let is_text = |(at, opening): &(usize, &str)| type_arguments(&code[at + opening.len()..]).get(1) == Some(&"String");
    code.match_indices("Result<").filter(is_text).count()
}

/// Splits what follows an opening `<` at its outermost commas, up to its closing `>`.
fn type_arguments(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        let closes = matches!(c, '>' | ')' | ']');
        if depth == 0 && (closes || c == ',') {
            found.push(text[start..at].trim());
            start = at + 1;
        }
        match c {
            _ if closes && depth == 0 => break,
            '<' | '(' | '[' => depth += 1,
            _ => depth -= u32::from(closes),
        }
    }
    found
}

fn assert_ratchet(what: &str, limit: usize, found: &BTreeMap<String, usize>, allowed: &[(&str, usize)]) {
    let wrong = off_the_ratchet(limit, found, allowed);
    assert!(wrong.is_empty(), "more {what} than {limit}, or an allowance too many:\n{}", wrong.join("\n"));
}

/// What is above its allowance, or below, so that the allowance has to shrink.
fn off_the_ratchet(limit: usize, found: &BTreeMap<String, usize>, allowed: &[(&str, usize)]) -> Vec<String> {
    let allowance = |name: &str| allowed.iter().find(|(listed, _)| *listed == name).map_or(limit, |(_, most)| *most);
    let above = found.iter().filter(|(name, lines)| **lines > allowance(name));
    let above = above.map(|(name, lines)| format!("{name} has {lines}"));
    let below = allowed.iter().filter(|(name, lines)| found.get(*name).is_none_or(|found| found < lines));
    let below = below.map(|(name, lines)| format!("{name} no longer needs {lines}: lower or drop its allowance"));
    above.chain(below).collect()
}
