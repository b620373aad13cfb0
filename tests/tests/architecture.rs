//! The crate graph and the imports that ARCHITECTURE.md allows, held against every `Cargo.toml` and source file.
//!
//! The tables below are the committed list. An edge is a dependency or a build dependency between crates of the workspace;
//! tests may reach further, so edges of dev-dependencies have a column of their own.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod tree;

use std::collections::BTreeSet;
use std::process::Command;

use tree::{manifests, root, sources, without_tests_and_comments};

/// One crate of the workspace: folder, package, what it may depend on, and what its tests may use besides.
/// A crate that does not exist yet may stand here; one that exists must. `*` allows every crate but `holdfast-tests`.
const CRATES: &[(&str, &str, &str, &str)] = &[
    ("agent/types", "types", "", ""),
    ("agent/eth", "eth", "types", ""),
    ("agent/bls", "bls", "types", ""),
    ("agent/cluster", "cluster", "types eth bls", ""),
    ("agent/wire", "wire", "types eth", "bls"),
    ("agent/core", "core", "types eth bls cluster wire", ""),
    ("agent/dkg", "dkg", "types bls cluster wire", "dkg-secret"),
    ("agent/dkg/secret", "dkg-secret", "types eth bls", ""),
    ("agent/evidence", "evidence", "types", ""),
    ("agent/health", "health", "types hal", "hal-sim hal-linux"),
    ("agent/vault/client", "vault-client", "types eth evidence", ""),
    (
        "agent/vault",
        "vault",
        "types eth bls dkg-secret evidence vault-client hal hal-tpm",
        "hal-sim cluster test-operator",
    ),
    ("agent/api", "api", "types", ""),
    (
        "agent/daemon",
        "d",
        "types eth bls cluster wire core dkg evidence health vault-client helper-client api provisioning hal hal-linux",
        "hal-sim helper",
    ),
    ("agent/helper/client", "helper-client", "", ""),
    ("agent/helper", "helper", "types evidence helper-client hal hal-linux", "hal-sim"),
    ("hal", "hal", "types", ""),
    ("hal/tpm", "hal-tpm", "types hal", ""),
    ("hal/linux", "hal-linux", "types hal", ""),
    ("hal/sim", "hal-sim", "types hal evidence", ""),
    ("provisioning", "provisioning", "types api evidence", ""),
    ("provisioning/cli", "cli", "types api cluster evidence provisioning", ""),
    ("provisioning/screen", "screen", "types api", ""),
    ("image/builder", "image", "types evidence", ""),
    ("tests", "tests", "*", "*"),
    ("tests/operator", "test-operator", "*", "*"),
    ("tests/adversary", "adversary", "*", "*"),
    ("tests/netlab", "netlab", "", ""),
];

/// What the sources of a folder never name, outside of tests.
const NEVER_NAMED: &[(&str, &[&str])] = &[
    ("agent/core", SANS_IO),
    ("agent/dkg", SANS_IO),
    ("agent/health", SANS_IO),
    ("agent/health", &["holdfast_hal_linux", "holdfast_hal_tpm"]),
    ("agent/core", &["holdfast_hal"]),
    ("agent/dkg", &["holdfast_hal"]),
    ("agent/types", &["blst", "tokio", "std::fs", "std::net", "std::process", "Instant", "SystemTime", "rand"]),
    ("agent/bls", &["tokio", "std::fs", "std::net", "std::process", "std::thread", "Instant", "SystemTime", "OsRng"]),
    ("agent/vault", &["tokio", "prost", "serde_json", "libp2p", "reqwest", "std::net"]),
    ("hal/src", &["tss_esapi", "rppal", "nix"]),
    ("hal/linux", &["tss_esapi"]),
];

const SANS_IO: &[&str] = &[
    "tokio",
    "libp2p",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "rand",
    "rand_core",
    "getrandom",
    "OsRng",
];

/// What the vault is never built from, at any depth. (`serde_json` comes in through the hex forms of `ethereum_ssz`; that no
/// source of the vault names it is checked above.)
const NEVER_IN_VAULT: &[&str] = &[
    "async-std",
    "axum",
    "futures-executor",
    "h2",
    "hickory-proto",
    "holdfast-cluster",
    "holdfast-core",
    "holdfast-wire",
    "hyper",
    "libp2p",
    "mio",
    "prost",
    "quinn",
    "reqwest",
    "rustls",
    "rustls-webpki",
    "socket2",
    "tokio",
    "tonic",
];

#[test]
fn every_edge_between_crates_is_listed() {
    let manifests = manifests();
    assert!(manifests.len() >= 15, "found only {} crates: this test would prove nothing", manifests.len());
    let mut wrong = Vec::new();
    for (folder, manifest) in &manifests {
        let name = manifest["package"]["name"].as_str().unwrap();
        let Some((_, short, normal, dev)) = CRATES.iter().find(|(listed, ..)| listed == folder) else {
            wrong.push(format!("{folder} is not in the list of crates"));
            continue;
        };
        if name != full_name(short) {
            wrong.push(format!("{folder} holds {name}, the list says {}", full_name(short)));
        }
        for edge in edges(manifest, &["dependencies", "build-dependencies"]) {
            if !allows(normal, &edge) {
                wrong.push(format!("{name} depends on {edge}"));
            }
        }
        for edge in edges(manifest, &["dev-dependencies"]) {
            if !allows(normal, &edge) && !allows(dev, &edge) {
                wrong.push(format!("tests of {name} depend on {edge}"));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the architecture does not list:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_takes_the_lints_and_versions_of_the_workspace() {
    for (folder, manifest) in manifests() {
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{folder}: [lints] workspace = true");
        assert!(
            manifest["package"]["edition"].get("workspace").is_some() || folder == "tests/netlab",
            "{folder}: edition"
        );
    }
}

#[test]
fn sources_name_nothing_that_their_crate_must_not_know() {
    let mut read = 0;
    let mut wrong = Vec::new();
    for (folder, names) in NEVER_NAMED {
        for file in sources(&root().join(folder)) {
            read += 1;
            let code = without_tests_and_comments(&std::fs::read_to_string(&file).unwrap());
            wrong.extend(
                names.iter().filter(|name| mentions(&code, name)).map(|name| format!("{}: {name}", file.display())),
            );
        }
    }
    assert!(read > 20, "read only {read} files: this test would prove nothing");
    assert!(wrong.is_empty(), "named although the house style forbids it:\n{}", wrong.join("\n"));
}

#[test]
fn the_vault_is_built_without_network_code() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "holdfast-vault", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--all-features", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("holdfast-vault") && names.contains("blst"), "unexpected output of cargo tree: {text}");
    let found: Vec<_> =
        names.iter().filter(|name| NEVER_IN_VAULT.contains(name) || name.starts_with("libp2p-")).collect();
    assert!(found.is_empty(), "the vault is built from {found:?}");
}

#[test]
fn the_checks_of_this_file_see_what_they_look_for() {
    let code = "use std::{collections::BTreeMap, fs};\nlet x = std::net::TcpStream::y; let hash_map = Instants;";
    assert!(mentions(code, "std::fs") && mentions(code, "std::net"));
    assert!(!mentions(code, "std::env") && !mentions(code, "Instant") && !mentions(code, "map"));
    let file =
        "use tokio::net; // prost\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {\n use rand::x;\n}\nuse nix;\n";
    let kept = without_tests_and_comments(file);
    assert!(
        mentions(&kept, "tokio") && mentions(&kept, "nix") && !mentions(&kept, "prost") && !mentions(&kept, "rand")
    );
    assert!(allows("types eth", "holdfast-eth") && !allows("types eth", "holdfast-bls"));
    assert!(!allows("*", "holdfast-tests"));
}

fn full_name(short: &str) -> String {
    match short {
        "d" => "holdfastd".into(),
        "netlab" => short.into(),
        _ => format!("holdfast-{short}"),
    }
}

fn allows(list: &str, edge: &str) -> bool {
    edge != "holdfast-tests" && list.split(' ').any(|short| short == "*" || full_name(short) == edge)
}

/// The crates of ours in these sections, those for one platform included.
fn edges(manifest: &toml::Table, sections: &[&str]) -> BTreeSet<String> {
    let platforms = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = std::iter::once(manifest).chain(platforms.filter_map(toml::Value::as_table));
    let sections = tables.flat_map(|table| sections.iter().filter_map(|name| table.get(*name)?.as_table()));
    let package = |(key, value): (&String, &toml::Value)| {
        value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned()
    };
    sections
        .flat_map(|section| section.iter().map(package))
        .filter(|name| name.starts_with("holdfast") || name == "netlab")
        .collect()
}

/// Whether code names `word`: as a whole word or path, or as a member of a `std::{…}` group.
fn mentions(code: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let whole = code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(in_word)
            && !code[at + word.len()..].chars().next().is_some_and(in_word)
    });
    whole
        || word.strip_prefix("std::").is_some_and(|module| {
            code.split("std::{").skip(1).any(|group| {
                let members = group.split("};").next().unwrap_or("").split([',', '{', '}']);
                members.map(str::trim).any(|member| member == module || member.starts_with(&format!("{module}::")))
            })
        })
}
