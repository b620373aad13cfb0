use std::fs;

use holdfast_types::Millis;

use super::audit::LINES_MAX;
use super::*;

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(&dir.path().join("state")).unwrap();
    (dir, folder)
}

fn again(folder: Folder) -> Folder {
    let dir = folder.dir.clone();
    drop(folder);
    Folder::open(&dir).unwrap()
}

fn entry(request: &str) -> AuditEntry {
    AuditEntry {
        number: 0,
        at: Timestamp(Millis(1_795_779_617_123)),
        by: "ada (admin, 0x01)".to_owned(),
        from: "192.0.2.1:4711".to_owned(),
        request: request.to_owned(),
        status: 200,
        problem: None,
    }
}

#[test]
fn an_empty_folder_has_defaults_and_nothing_else() {
    let (_dir, folder) = folder();
    assert_eq!(folder.configuration().unwrap(), Configuration::default());
    assert_eq!(folder.history().unwrap().entries, []);
    assert_eq!((folder.lock().unwrap(), folder.owner().unwrap()), (None, None));
    assert_eq!((folder.revocations().unwrap(), folder.unconfirmed().unwrap()), (Vec::new(), None));
    assert_eq!(folder.audit(0, 10).unwrap(), []);
}

#[test]
fn what_is_kept_is_there_after_a_restart_until_it_is_forgotten() {
    let (_dir, folder) = folder();
    let configuration = Configuration { nickname: "north".to_owned(), ..Configuration::default() };
    let owner = Owner { authority: vec![1], box_certificate: vec![2] };
    let at = Timestamp(Millis(1000));
    let revocation = Revocation { serial: "0x01".to_owned(), at, by: "ada".to_owned() };
    let unconfirmed = Unconfirmed { before: Configuration::default(), confirm_by: at };
    folder.keep_configuration(&configuration).unwrap();
    folder.keep_owner(&owner).unwrap();
    folder.keep_lock(b"{}").unwrap();
    folder.keep_revocations(vec![revocation.clone()]).unwrap();
    folder.keep_unconfirmed(Some(&unconfirmed)).unwrap();
    folder.append_audit(entry("PUT /v1/configuration")).unwrap();

    let folder = again(folder);
    assert_eq!(folder.configuration().unwrap(), configuration);
    assert_eq!(folder.owner().unwrap(), Some(owner));
    assert_eq!(folder.lock().unwrap().as_deref(), Some(b"{}".as_slice()));
    assert_eq!(folder.revocations().unwrap(), [revocation]);
    assert_eq!(folder.unconfirmed().unwrap(), Some(unconfirmed));

    folder.forget().unwrap();
    let folder = again(folder);
    assert_eq!(folder.configuration().unwrap(), Configuration::default());
    assert_eq!((folder.lock().unwrap(), folder.owner().unwrap()), (None, None));
    assert_eq!((folder.revocations().unwrap(), folder.unconfirmed().unwrap()), (Vec::new(), None));
    assert_eq!(folder.audit(0, 10).unwrap().len(), 1, "who reset the box is still told");
}

#[test]
fn a_damaged_file_is_named_with_what_helps() {
    let (_dir, folder) = folder();
    fs::write(folder.path("configuration.json"), "{\"nickname\": 7}").unwrap();
    let error = folder.configuration().unwrap_err().to_string();
    assert!(error.contains("configuration.json: correct it, or remove it"), "{error}");
    fs::write(folder.path("revocations.json"), "[").unwrap();
    let error = folder.revocations().unwrap_err().to_string();
    assert!(error.contains("revocations.json: write it anew"), "{error}");
    fs::write(folder.path("configuration.json"), vec![b' '; 300_000]).unwrap();
    assert!(folder.configuration().unwrap_err().to_string().contains("is larger than 262144 bytes"));
    fs::write(folder.path("owner/box.der"), [0]).unwrap();
    assert!(matches!(folder.owner(), Err(FolderError::HalfOwner { .. })));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Folder::open(&dir.path().join("file/state")).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the state folder ") && error.contains("file/state"), "{error}");
}

#[test]
fn entries_are_numbered_over_restarts_and_read_by_number() {
    let (_dir, folder) = folder();
    folder.append_audit(entry("one")).unwrap();
    folder.append_audit(entry(&"x".repeat(10_000))).unwrap();
    let folder = again(folder);
    assert_eq!(folder.append_audit(entry("three")).unwrap().number, 3);
    let entries = folder.audit(1, 1).unwrap();
    assert_eq!((entries.len(), entries[0].number, entries[0].request.len()), (1, 2, 512));
    assert_eq!(folder.audit(2, 10).unwrap()[0].request, "three");
}

#[test]
fn half_a_line_is_cut_off_and_a_damaged_one_left_out() {
    let (_dir, folder) = folder();
    folder.append_audit(entry("one")).unwrap();
    folder.append_audit(entry("two")).unwrap();
    let path = folder.path("audit.jsonl");
    let text = fs::read_to_string(&path).unwrap().replacen("\"number\":1", "\"nmbr\":1", 1);
    fs::write(&path, text + "{\"number\":3,\"at\":\"2026-").unwrap();
    let folder = again(folder);
    assert_eq!(folder.append_audit(entry("three")).unwrap().number, 3);
    let found: Vec<_> = folder.audit(0, 10).unwrap().into_iter().map(|entry| entry.request).collect();
    assert_eq!(found, ["two", "three"]);
}

#[test]
fn the_oldest_entries_are_dropped_and_never_all() {
    let (_dir, folder) = folder();
    let line = |number| serde_json::to_string(&AuditEntry { number, ..entry("many") }).unwrap() + "\n";
    let lines = |numbers: std::ops::RangeInclusive<u64>| numbers.map(line).collect::<String>();
    let max = LINES_MAX as u64;
    fs::write(folder.path("audit-older.jsonl"), lines(1..=max)).unwrap();
    fs::write(folder.path("audit.jsonl"), lines(max + 1..=2 * max)).unwrap();
    let folder = again(folder);
    assert_eq!(folder.audit(0, usize::MAX).unwrap().len(), 10_000);
    assert_eq!(folder.append_audit(entry("one more")).unwrap().number, 2 * max + 1);
    let kept = folder.audit(0, usize::MAX).unwrap();
    assert_eq!((kept.len(), kept[0].number), (LINES_MAX + 1, max + 1));
}

#[test]
fn starts_are_counted_and_a_lost_count_begins_anew() {
    let (_dir, folder) = folder();
    assert_eq!(folder.count_start().unwrap(), 1);
    let folder = again(folder);
    assert_eq!(folder.count_start().unwrap(), 2);
    fs::write(folder.path("starts.json"), "?").unwrap();
    assert_eq!(folder.count_start().unwrap(), 1);
}
