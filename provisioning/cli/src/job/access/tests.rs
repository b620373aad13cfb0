//! A second person: from his request to the boxes that he reaches.

use std::path::PathBuf;

use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::certificate::public_key;
use tempfile::TempDir;

use super::*;
use crate::args::Format;
use crate::exit::Exit;
use crate::home::tests::{put_context, with_authority};
use crate::terminal::Script;
use crate::world::now;
use crate::world::played::play;

fn run(
    answers: &[bool],
    act: impl FnOnce(&mut World<'_>) -> Result<(), Failure>,
) -> (String, Script, Result<(), Failure>) {
    let mut script = Script::answering(answers);
    // The certificates of these tests count by this machine's clock.
    let (written, result) = play(Vec::new(), (Boxes::Selected, Format::Table), &mut script, |world| {
        world.now = now();
        act(world)
    });
    (written, script, result)
}

/// The owner of two boxes, and somebody with a folder of his own.
struct People {
    _dir: TempDir,
    owner: Home,
    authority: Authority,
    other: Home,
    files: PathBuf,
    _owner_dir: TempDir,
}

impl People {
    fn new() -> Self {
        let (owner_dir, owner, authority) = with_authority();
        for (name, address) in [("attic", "192.168.1.57"), ("cellar", "192.168.1.58")] {
            put_context(&owner, &authority, name, address);
        }
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let other = Home::at(dir.path().join("holdfast"));
        Self { _dir: dir, owner, authority, other, files, _owner_dir: owner_dir }
    }

    /// A request of the other, certified by the owner: the file that he hands back.
    fn access(&self, name: &str, role: Role, out: &str) -> PathBuf {
        let csr = self.files.join(format!("{out}.csr"));
        run(&[], |world| request(world, &self.other, name, Some(&csr))).2.unwrap();
        let out = self.files.join(out);
        let passphrase = PassphraseArgs::default();
        run(&[], |world| issue(world, &self.owner, ("bob", role), Some(&csr), &out, &passphrase)).2.unwrap();
        assert!(!out.join("client.key").exists(), "the key of a request left its machine");
        out.join(ACCESS)
    }

    fn add(&self, name: Option<&str>, file: &Path, answers: &[bool]) -> (String, Script, Result<(), Failure>) {
        let job = AddJob { name: name.map(str::to_owned), file: file.to_owned(), address: None, key: None };
        run(answers, |world| add(world, &self.other, &job))
    }
}

#[test]
fn a_request_is_certified_and_makes_the_boxes_known() {
    let people = People::new();
    let file = people.access("attic", Role::Operator, "bob");
    let (written, script, result) = people.add(None, &file, &[true]);
    result.unwrap();
    assert!(written.contains("attic, cellar: you are bob, operator"), "{written}");
    assert!(script.seen[0].contains(&people.authority.id()), "{:?}", script.seen);
    for name in ["attic", "cellar"] {
        let context = people.other.context(name).unwrap();
        let owners = people.owner.context(name).unwrap();
        assert_eq!((context.authority, &context.seen), (people.authority.public(), &owners.seen));
        assert_eq!((context.box_name, context.box_key, &context.address), {
            (owners.box_name, owners.box_key, &owners.address)
        });
        // It connects only when it is asked something, but what it needs is there.
        people.other.session(name).unwrap();
    }
    assert_eq!(people.other.names(&Boxes::Selected).unwrap(), ["attic"]);
}

#[test]
fn an_authority_that_nobody_confirms_is_not_believed() {
    let people = People::new();
    let file = people.access("attic", Role::Reader, "bob");
    let (_, _, result) = people.add(Some("attic"), &file, &[false]);
    assert_eq!(result.unwrap_err().exit(), Exit::Refused);
    assert!(people.other.contexts().unwrap().all().is_empty());
    // The key still waits for its certificate.
    people.add(Some("attic"), &file, &[true]).2.unwrap();
}

#[test]
fn a_certificate_is_followed_by_another_for_the_same_key() {
    let people = People::new();
    people.add(None, &people.access("attic", Role::Reader, "first"), &[true]).2.unwrap();
    let key = |name: &str| people.other.requested_key(name).unwrap().public();
    let before = key("attic");
    // By the same authority, so nothing is asked.
    people.add(None, &people.access("attic", Role::Admin, "second"), &[]).2.unwrap();
    assert_eq!((key("attic"), key("cellar")), (before, before));
}

#[test]
fn a_box_that_changed_hands_is_taken_up_after_a_question() {
    let people = People::new();
    people.add(None, &people.access("attic", Role::Reader, "first"), &[true]).2.unwrap();
    let before = people.other.context("attic").unwrap();
    let (_dir, next_owner, next) = with_authority();
    for name in ["attic", "cellar"] {
        put_context(&next_owner, &next, name, "192.168.1.57");
    }
    let later = People { owner: next_owner, authority: next, ..people };
    let file = later.access("attic", Role::Reader, "next");
    let (_, script, result) = later.add(None, &file, &[true]);
    result.unwrap();
    assert!(script.seen[0].contains("attic belonged to the authority"), "{:?}", script.seen);
    let after = later.other.context("attic").unwrap();
    assert_eq!((after.authority, &after.address), (later.authority.public(), &before.address));
    assert_ne!(after.client_certificate, before.client_certificate);
}

#[test]
fn what_does_not_fit_is_said_and_not_kept() {
    let people = People::new();
    let file = people.access("attic", Role::Reader, "bob");
    let (_, _, result) = people.add(Some("loft"), &file, &[]);
    assert!(result.unwrap_err().told().contains("it names: attic, cellar"));
    let elsewhere = People { other: Home::at(people.files.join("elsewhere")), ..people };
    let (_, _, result) = elsewhere.add(Some("attic"), &file, &[]);
    assert!(result.unwrap_err().told().contains("the key of this certificate is not here"));
    // Somebody else's attic is another box.
    let (_dir, stranger, of_stranger) = with_authority();
    put_context(&stranger, &of_stranger, "attic", "10.0.0.1");
    let mut contexts = stranger.contexts().unwrap();
    let other_box = Context { box_name: holdfast_types::BoxName([9; 32]), ..contexts.get("attic").unwrap().clone() };
    contexts.put(other_box).unwrap();
    stranger.save(&contexts).unwrap();
    let people = People { other: stranger, ..elsewhere };
    let file = people.access("attic", Role::Reader, "again");
    let (_, _, result) = people.add(Some("attic"), &file, &[]);
    assert_eq!(result.unwrap_err().exit(), Exit::Refused);
    assert_eq!(people.other.context("attic").unwrap().address.to_string(), "10.0.0.1:4443");
}

#[test]
fn a_key_that_is_made_for_somebody_goes_with_its_certificate() {
    let people = People::new();
    let out = people.files.join("bob");
    let passphrase = PassphraseArgs::default();
    let (written, _, result) =
        run(&[], |world| issue(world, &people.owner, ("bob", Role::Reader), None, &out, &passphrase));
    result.unwrap();
    let certificate = std::fs::read(out.join("client.der")).unwrap();
    let who = parse_client(&certificate).unwrap();
    assert_eq!((who.name.as_str(), who.role), ("bob", Role::Reader));
    assert!(written.contains(&who.serial_text()) && written.contains("attic, cellar"), "{written}");
    let key = out.join("client.key");
    let made = TlsKey::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    assert_eq!(made.public(), public_key(&certificate).unwrap());
    let job = AddJob { name: None, file: out.join(ACCESS), address: None, key: Some(key) };
    run(&[true], |world| add(world, &people.other, &job)).2.unwrap();
}

#[test]
fn a_request_of_another_program_is_taken() {
    let people = People::new();
    let csr = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bob.csr");
    let (out, passphrase) = (people.files.join("bob"), PassphraseArgs::default());
    run(&[], |world| issue(world, &people.owner, ("bob", Role::Reader), Some(&csr), &out, &passphrase)).2.unwrap();
    assert_eq!(std::fs::read(out.join("authority.der")).unwrap(), people.authority.certificate().to_vec());
}
