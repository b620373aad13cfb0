//! The authority, contexts and client certificates on disk.

use std::os::unix::fs::MetadataExt;

use holdfast_api::Role;
use holdfast_provisioning::certificate::{CLIENT_VALID_MS, parse_client, validity};
use holdfast_provisioning::context::SeenAtPairing;
use holdfast_types::Millis;
use tempfile::TempDir;

use super::*;
use crate::exit::Exit;
use crate::terminal::Script;

/// A folder with an authority whose passphrase lies beside it.
pub(crate) fn with_authority() -> (TempDir, Home, Authority) {
    let (dir, home) = empty();
    let args = NewPassphraseArgs { danger_no_passphrase: true, ..NewPassphraseArgs::default() };
    let (authority, is_new) = home.authority_or_new(&args, &mut Script::answering(&[])).unwrap();
    assert!(is_new);
    (dir, home, authority)
}

fn empty() -> (TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("holdfast"));
    (dir, home)
}

/// A context of that authority with a key and a certificate of ours.
pub(crate) fn put_context(home: &Home, authority: &Authority, name: &str, address: &str) -> Context {
    let (client_certificate, client_key) = home.make_client(name, authority).unwrap();
    let context = Context {
        name: name.to_owned(),
        address: address.parse().unwrap(),
        box_name: BoxName([1; 32]),
        box_key: P256Public([2; 33]),
        authority: authority.public(),
        client_certificate,
        client_key,
        seen: SeenAtPairing { endorsement_key: "e".into(), attestation_key: "a".into(), tier: "A".into() },
    };
    let mut contexts = home.contexts().unwrap();
    contexts.put(context.clone()).unwrap();
    contexts.select(name).unwrap();
    home.save(&contexts).unwrap();
    context
}

#[test]
fn the_authority_opens_with_its_passphrase_only() {
    let (_dir, home) = empty();
    let args = NewPassphraseArgs::default();
    let mut script = Script { secrets: vec!["correct horse", "correct horse"], ..Script::answering(&[]) };
    let (authority, is_new) = home.authority_or_new(&args, &mut script).unwrap();
    assert!(is_new);
    assert_eq!(home.authority_public().unwrap(), Some(authority.public()));
    let mut script = Script { secrets: vec!["correct horse", "wrong horse"], ..Script::answering(&[]) };
    let (again, is_new) = home.authority_or_new(&args, &mut script).unwrap();
    assert_eq!((again.public(), is_new), (authority.public(), false));
    let told = home.authority(&args.known, &mut script).unwrap_err().told();
    assert_eq!(told, "the authority does not open: the passphrase is wrong");
}

#[test]
fn a_passphrase_is_long_and_said_twice() {
    let (_dir, home) = empty();
    for (secrets, expected) in [
        (vec!["short"], "the passphrase is too short"),
        (vec!["correct horse", "correct house"], "the two passphrases differ"),
    ] {
        let mut script = Script { secrets, ..Script::answering(&[]) };
        let told = home.authority_or_new(&NewPassphraseArgs::default(), &mut script).unwrap_err().told();
        assert!(told.contains(expected), "{told}");
        assert!(home.authority_pem().unwrap().is_none());
    }
}

#[test]
fn another_authority_never_takes_the_place_of_one_that_is_kept() {
    let (_dir, home, _) = with_authority();
    let other = Authority::create(&mut OsRng).unwrap();
    assert_eq!(home.keep_authority(&other, "correct horse").unwrap_err().exit(), Exit::Refused);
}

#[test]
fn what_is_kept_is_for_its_owner_only() {
    let (dir, home, authority) = with_authority();
    put_context(&home, &authority, "box-7f3a", "127.0.0.1");
    let mut folders = vec![dir.path().join("holdfast")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
            files += 1;
        }
    }
    assert_eq!(files, 7);
}

#[test]
fn no_box_is_a_state_with_a_remedy() {
    let (_dir, home) = empty();
    for boxes in [Boxes::Selected, Boxes::All, Boxes::Named(vec!["box-1".into()])] {
        let failure = home.names(&boxes).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotPaired, "{failure}");
        assert!(failure.told().contains("holdfast "), "{failure}");
    }
}

#[test]
fn a_certificate_is_renewed_for_the_same_key_and_role() {
    let (_dir, home, authority) = with_authority();
    let context = put_context(&home, &authority, "box-7f3a", "127.0.0.1");
    let before = home.certificate(&context).unwrap();
    assert!(!home.wants_renewal(&context).unwrap());
    home.renew(&context, &authority).unwrap();
    let after = home.certificate(&context).unwrap();
    assert_eq!(public_key(&after).unwrap(), public_key(&before).unwrap());
    let [one, two] = [&before, &after].map(|der| parse_client(der).unwrap());
    assert_eq!((one.role, &one.name), (Role::Admin, &two.name));
    assert_ne!(one.serial, two.serial);
    let other = Authority::create(&mut OsRng).unwrap();
    assert_eq!(home.renew(&context, &other).unwrap_err().exit(), Exit::NotPaired);
}

#[test]
fn a_certificate_that_ends_soon_is_renewed_without_a_question_where_that_is_possible() {
    let (_dir, home, authority) = with_authority();
    let context = put_context(&home, &authority, "box-7f3a", "127.0.0.1");
    let issued = Millis(now().0 - CLIENT_VALID_MS * 3 / 4);
    let key = public_key(&home.certificate(&context).unwrap()).unwrap();
    let old = authority.issue_client("owner", Role::Admin, &key, issued, &mut OsRng).unwrap();
    keep(&home.path_of(&context.client_certificate), &old).unwrap();
    assert!(home.wants_renewal(&context).unwrap());
    home.renew_in_time("box-7f3a", &mut Script::answering(&[])).unwrap();
    let renewed = validity(&home.certificate(&context).unwrap()).unwrap();
    assert!(renewed.until > validity(&old).unwrap().until);
    keep(&home.path_of(&context.client_certificate), &old).unwrap();
    std::fs::remove_file(home.dir.join(OPEN_PASSPHRASE)).unwrap();
    let mut script = Script::answering(&[]);
    home.renew_in_time("box-7f3a", &mut script).unwrap();
    assert!(
        script.seen[0].contains("ends in 22 days: renew it with holdfast context renew box-7f3a"),
        "{:?}",
        script.seen
    );
    // Who has no authority asks its owner.
    std::fs::remove_file(home.dir.join(AUTHORITY_CERTIFICATE)).unwrap();
    let mut script = Script::answering(&[]);
    home.renew_in_time("box-7f3a", &mut script).unwrap();
    assert!(script.seen[0].contains("holdfast context request box-7f3a --out"), "{:?}", script.seen);
}

#[test]
fn no_order_is_signed_by_an_authority_that_does_not_own_the_box() {
    let (_dir, home, authority) = with_authority();
    put_context(&home, &authority, "mine", "127.0.0.1");
    let other = Authority::create(&mut OsRng).unwrap();
    let mut contexts = home.contexts().unwrap();
    let theirs = Context { name: "theirs".into(), authority: other.public(), ..contexts.get("mine").unwrap().clone() };
    contexts.put(theirs).unwrap();
    home.save(&contexts).unwrap();
    let open = |name: &str| home.authority_of(name, &PassphraseArgs::default(), &mut Script::answering(&[]));
    assert_eq!(open("mine").unwrap().public(), authority.public());
    let failure = open("theirs").unwrap_err();
    assert_eq!(failure.exit(), Exit::NotPaired);
    assert!(failure.told().contains(&other.id()) && failure.told().contains(&authority.id()), "{failure}");
}
