//! What may be typed.

use clap::Parser as _;

use super::*;
use crate::exit::Exit;

fn plan(words: &str) -> Result<Plan, Failure> {
    let typed = ["holdfast", "--home", "/nowhere"].into_iter().chain(words.split_whitespace());
    Plan::of(Raw::try_parse_from(typed).unwrap_or_else(|err| panic!("{words}: {err}")))
}

fn refusal(words: &str) -> String {
    let failure = plan(words).map(|plan| format!("{:?}", plan.job)).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage, "{failure}");
    failure.told()
}

fn unreadable(words: &str) -> String {
    let typed = ["holdfast"].into_iter().chain(words.split_whitespace());
    let error = Raw::try_parse_from(typed).unwrap_err();
    assert_eq!(error.exit_code(), Exit::Usage as i32);
    error.to_string()
}

#[test]
fn what_is_for_one_box_is_refused_for_many() {
    for words in ["reset --all", "config edit --all", "cluster show --context a --context b", "reboot --all"] {
        assert!(refusal(words).contains("one box at a time"), "{words}");
    }
    for words in ["status --all", "drain --context a --context b", "reset --context a", "vault status --all"] {
        assert!(plan(words).is_ok(), "{words}");
    }
}

#[test]
fn arguments_are_checked_before_a_box_is_asked() {
    assert!(refusal("beacon add ftp://node").contains("http:// or https://"));
    assert!(refusal("beacon test http://").contains("no URL"));
    assert!(refusal("pair https://box").contains("no address of a box"));
    assert!(refusal("pair box --name ../x").contains("no name for a box"));
    assert!(refusal("vault retire 0x12").contains("expected 48 bytes"));
    assert!(refusal("vault approve-firmware --pcr7 12").contains("expected 32 bytes"));
}

#[test]
fn an_import_says_what_is_known_of_the_history() {
    let said = |words: &str| match plan(&format!("cluster import lock --keystores keys {words}")).unwrap().job {
        Job::Cluster(ClusterJob::Import(job)) => job.history,
        other => panic!("{other:?}"),
    };
    assert_eq!(said("--history h.json"), HistorySaid::File("h.json".into()));
    assert_eq!(said("--never-signed"), HistorySaid::NeverSigned);
    assert_eq!(said("--danger-no-history"), HistorySaid::Lost);
    let none = unreadable("cluster import lock --keystores keys");
    assert!(none.contains("--history <FILE>|--never-signed|--danger-no-history"), "{none}");
    unreadable("cluster import lock --keystores keys --never-signed --history h.json");
}

#[test]
fn validators_are_listed_as_an_order_wants_them() {
    let [one, two] = [format!("0x{}", "22".repeat(48)), format!("0x{}", "11".repeat(48))];
    let job = plan(&format!("vault retire {one} {two} {one}")).unwrap().job;
    let Job::Vault(VaultJob::Retire { validators, .. }) = job else { panic!("{job:?}") };
    assert_eq!(validators, [ValidatorPublic([0x11; 48]), ValidatorPublic([0x22; 48])]);
}

#[test]
fn what_goes_against_each_other_is_wrong_usage() {
    unreadable("status --all --context a");
    unreadable("status -o xml");
    unreadable("discover --for 3");
    unreadable("authority issue alice --out a");
    unreadable("authority import a --passphrase-file p --danger-no-passphrase");
    unreadable("logs -n 0");
    unreadable("nonsense");
}
