//! `deny.toml` held against what is really built: bans, licences, sources, and duplicate versions, whose list only shrinks.
//!
//! cargo-deny reads the same file and knows more forms of it; it takes minutes to build, so this test needs nothing but
//! cargo. What it does not understand in the file, it refuses.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A package that is built, in any feature set, for tests too, on any of the platforms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
}

#[test]
fn duplicate_versions_are_exactly_the_listed_ones() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Package { name, version } in built() {
        versions.entry(name).or_default().push(version);
    }
    let older = |(name, mut found): (String, Vec<String>)| {
        found.sort_by_key(|version| order(version));
        found.pop();
        found.into_iter().map(move |version| format!("{name}@{version}"))
    };
    let found: BTreeSet<String> = versions.into_iter().flat_map(older).collect();
    let listed: BTreeSet<String> = strings(&deny()["bans"]["skip"]).into_iter().collect();
    let added: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        added.is_empty(),
        "new duplicates of a newer version; use one version instead of adding to deny.toml: {added:?}"
    );
    assert!(gone.is_empty(), "no duplicates any more; take them from [bans] skip in deny.toml: {gone:?}");
}

#[test]
fn nothing_banned_is_built() {
    let banned: Vec<String> = strings(&deny()["bans"]["deny"]);
    assert!(!banned.is_empty());
    let found: Vec<_> = built().into_iter().filter(|package| banned.contains(&package.name)).collect();
    assert!(found.is_empty(), "banned in deny.toml: {found:?}");
}

#[test]
fn every_licence_is_allowed_and_every_source_is_the_registry() {
    let deny = deny();
    let allowed: BTreeSet<String> = strings(&deny["licenses"]["allow"]).into_iter().collect();
    assert_eq!(deny["sources"]["unknown-registry"].as_str(), Some("deny"));
    assert_eq!(deny["sources"]["unknown-git"].as_str(), Some("deny"));
    let described = metadata();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for package in built() {
        let about = &described[&package];
        let Some(source) = about["source"].as_str() else { continue };
        if source != "registry+https://github.com/rust-lang/crates.io-index" {
            wrong.push(format!("{package:?} comes from {source}"));
        }
        let licence = about["license"].as_str().unwrap_or("no licence");
        match accepted(licence, &allowed) {
            Some(taken) => used.extend(taken),
            None => wrong.push(format!("{package:?} is under {licence}")),
        }
    }
    assert!(wrong.is_empty(), "not allowed by deny.toml:\n{}", wrong.join("\n"));
    let unused: Vec<_> = allowed.difference(&used).collect();
    assert!(unused.is_empty(), "allowed in deny.toml and needed by nothing: {unused:?}");
}

#[test]
fn no_manifest_asks_for_any_version() {
    assert_eq!(deny()["bans"]["wildcards"].as_str(), Some("deny"));
    let root_manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let mut tables = vec![root_manifest["workspace"]["dependencies"].as_table().unwrap().clone()];
    for member in root_manifest["workspace"]["members"].as_array().unwrap() {
        let path = root().join(member.as_str().unwrap()).join("Cargo.toml");
        let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
        tables.extend(sections.iter().filter_map(|section| manifest.get(*section)?.as_table().cloned()));
    }
    for (name, wanted) in tables.iter().flatten() {
        let version = wanted.as_str().or_else(|| wanted.get("version")?.as_str());
        let ours = wanted.get("path").is_some() || wanted.get("workspace").is_some();
        assert!(ours || version.is_some_and(|version| !version.contains('*')), "{name} has no version: {wanted}");
        assert!(wanted.get("git").is_none(), "{name} comes from git");
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    for (text, good) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("(ISC AND GPL-3.0) OR GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("no licence", false),
    ] {
        assert_eq!(accepted(text, &allowed).is_some(), good, "{text}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn deny() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

/// The texts of a list, whose entries are texts or tables with `crate`.
fn strings(list: &toml::Value) -> Vec<String> {
    let text = |entry: &toml::Value| entry.as_str().or_else(|| entry.get("crate")?.as_str()).unwrap().to_owned();
    list.as_array().unwrap().iter().map(text).collect()
}

/// What cargo builds for the platforms in `deny.toml`, by `cargo tree`: the metadata also lists what no feature turns on.
fn built() -> BTreeSet<Package> {
    let targets = strings(&deny()["graph"]["targets"]);
    assert_eq!(deny()["graph"]["all-features"].as_bool(), Some(true));
    let mut packages = BTreeSet::new();
    for target in &targets {
        let text = cargo(&[
            "tree",
            "--workspace",
            "--all-features",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--target",
            target,
        ]);
        packages.extend(text.lines().filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some(Package { name: name.into(), version: rest.split(' ').next()?.into() })
        }));
    }
    assert!(packages.len() > 100, "cargo tree lists only {} packages", packages.len());
    packages
}

fn metadata() -> BTreeMap<Package, Value> {
    let parsed: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--all-features"])).unwrap();
    let text = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    let keyed =
        |package: &Value| (Package { name: text(package, "name"), version: text(package, "version") }, package.clone());
    parsed["packages"].as_array().unwrap().iter().map(keyed).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).arg("--locked").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A sort key for versions: the numbers, then whether it is a release.
fn order(version: &str) -> (Vec<u64>, bool) {
    let plain = version.split('+').next().unwrap_or(version);
    let (numbers, pre) = plain.split_once('-').map_or((plain, ""), |(numbers, pre)| (numbers, pre));
    (numbers.split('.').map(|number| number.parse().unwrap()).collect(), pre.is_empty())
}

/// The licences that make an SPDX expression acceptable, or `None`. `/` is the old form of `OR`.
fn accepted(expression: &str, allowed: &BTreeSet<String>) -> Option<Vec<String>> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let result = any_of(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "cannot read the licence expression {expression:?}");
    result
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut result = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        let other = all_of(words, at, allowed);
        result = result.or(other);
    }
    result
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut result = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        let other = one(words, at, allowed);
        result = result.zip(other).map(|(left, right)| [left, right].concat());
    }
    result
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> Option<Vec<String>> {
    if words.get(*at) == Some(&"(") {
        *at += 1;
        let inner = any_of(words, at, allowed);
        assert_eq!(words.get(*at), Some(&")"), "unbalanced licence expression");
        *at += 1;
        return inner;
    }
    let mut name = Vec::new();
    while let Some(word) = words.get(*at).filter(|word| !["AND", "OR", ")"].contains(*word)) {
        name.push(*word);
        *at += 1;
    }
    let name = name.join(" ");
    allowed.contains(&name).then(|| vec![name])
}
