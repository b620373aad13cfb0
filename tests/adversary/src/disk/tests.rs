//! The disk by itself: what a cut leaves of each operation, and that the faults are what they say.

use holdfast_vault::state::{Disk, StateError};

use super::*;

const OLD: &[u8] = b"old";

fn long(byte: u8) -> Vec<u8> {
    vec![byte; 9000]
}

fn write(disk: &SimDisk, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    StateDoor::open(disk).replace(name, bytes)
}

fn read(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    StateDoor::open(disk).read(name).unwrap()
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all_wherever_the_power_goes() {
    let mut outcomes = [0, 0];
    let mut reached = 0;
    for (cut, after, seed) in (0..6).flat_map(|cut| (0..200).map(move |seed| (cut, seed % 2 == 0, seed))) {
        let disk = SimDisk::new();
        write(&disk, "a", OLD).unwrap();
        disk.plan(cut, Fault::Cut { after });
        let done = write(&disk, "a", &long(7));
        reached += u64::from(disk.is_off());
        disk.reboot(seed);
        let found = read(&disk, "a").unwrap();
        assert!(found == OLD || found == long(7), "cut at {cut}, seed {seed}: {} bytes", found.len());
        assert!(done.is_err() || found == long(7), "cut at {cut}, seed {seed}: it was said to be done");
        outcomes[usize::from(found == OLD)] += 1;
    }
    // Five steps: create, write, sync, rename, sync the folder.
    assert_eq!(reached, 5 * 200);
    assert!(outcomes.iter().all(|times| *times > 100), "{outcomes:?}");
}

#[test]
fn without_syncs_a_file_is_not_replaced_whole() {
    let torn = (0..200).filter(|seed| {
        let disk = SimDisk::new();
        write(&disk, "a", OLD).unwrap();
        let unsynced = |platter: &mut Platter| {
            let file = platter.create("b")?;
            platter.write(file, 0, &long(7))?;
            platter.rename("b", "a")
        };
        disk.door().with(unsynced).unwrap();
        assert_eq!(read(&disk, "a").unwrap(), long(7));
        disk.reboot(*seed);
        read(&disk, "a").is_none_or(|found| found != OLD && found != long(7))
    });
    let torn = torn.count();
    assert!(torn > 30, "{torn}");
}

#[test]
fn a_removed_file_stays_away_once_that_is_said() {
    let mut back = 0;
    for (cut, seed) in (0..3).flat_map(|cut| (0..100).map(move |seed| (cut, seed))) {
        let disk = SimDisk::new();
        write(&disk, "a", OLD).unwrap();
        disk.plan(cut, Fault::Cut { after: false });
        let removed = StateDoor::open(&disk).remove("a");
        disk.reboot(seed);
        let found = read(&disk, "a");
        assert!(removed.is_err() || found.is_none());
        assert!(found.is_none_or(|found| found == OLD));
        back += u64::from(disk.snapshot().file("a").is_some());
    }
    assert!(back > 50, "{back}");
}

#[test]
fn a_killed_program_holds_nothing_and_the_kernel_keeps_what_it_wrote() {
    let disk = SimDisk::new();
    let door = disk.door();
    let unsynced = |platter: &mut Platter| platter.create("a").and_then(|file| platter.write(file, 0, OLD));
    door.with(unsynced).unwrap();
    disk.kill();
    assert!(door.with(|platter| platter.remove("a")).is_err());
    assert!(Door::at(&door.path("a")).unwrap().0.with(|_| Ok(())).is_err());
    assert_eq!(read(&disk, "a").unwrap(), OLD);
    assert!((0..50).any(|seed| {
        let copy = SimDisk::new();
        copy.door().with(unsynced).unwrap();
        copy.kill();
        copy.reboot(seed);
        read(&copy, "a").is_none()
    }));
}

#[test]
fn a_sync_that_failed_forgets_and_the_next_one_says_that_all_is_well() {
    let disk = SimDisk::new();
    let door = disk.door();
    let file = door.with(|platter| platter.create("a").and_then(|file| platter.sync_folder().map(|()| file))).unwrap();
    disk.plan(0, Fault::SyncFails { forgets: true });
    door.with(|platter| platter.write(file, 0, b"lost")).unwrap();
    assert!(door.with(|platter| platter.sync_file(file)).is_err());
    door.with(|platter| platter.write(file, 4, b" kept")).unwrap();
    door.with(|platter| platter.sync_file(file)).unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"lost kept");
    disk.reboot(0);
    assert_eq!(read(&disk, "a").unwrap(), b"\0\0\0\0 kept");
    assert_eq!(disk.tally().failed_syncs, 1);

    disk.plan(0, Fault::SyncFails { forgets: false });
    assert!(write(&disk, "b", OLD).is_err());
    write(&disk, "b", OLD).unwrap();
    disk.reboot(0);
    assert_eq!(read(&disk, "b").unwrap(), OLD);
}

#[test]
fn a_sync_that_lied_is_found_out_by_a_reboot() {
    let lost = (0..50).filter(|seed| {
        let disk = SimDisk::new();
        disk.plan(0, Fault::SyncLies);
        write(&disk, "a", &long(7)).unwrap();
        assert_eq!(disk.tally().lied_syncs, 1);
        disk.reboot(*seed);
        read(&disk, "a").unwrap() != long(7)
    });
    let lost = lost.count();
    assert!(lost > 20, "{lost}");
}

#[test]
fn a_full_disk_takes_nothing_new_and_a_read_only_one_nothing_at_all() {
    let disk = SimDisk::new();
    write(&disk, "a", OLD).unwrap();
    disk.plan(1, Fault::Full);
    let refused = write(&disk, "a", &long(7)).unwrap_err();
    assert!(matches!(&refused, StateError::Write { err, .. } if err.kind() == io::ErrorKind::StorageFull));
    StateDoor::open(&disk).remove("a").unwrap();
    disk.mend();
    write(&disk, "a", OLD).unwrap();
    disk.plan(0, Fault::ReadOnly);
    assert!(StateDoor::open(&disk).remove("a").is_err());
    assert!(write(&disk, "a", b"new").is_err());
    disk.reboot(1);
    assert!(write(&disk, "a", b"new").is_err(), "a reboot mends no disk");
    assert_eq!(read(&disk, "a").unwrap(), OLD);
    assert_eq!((disk.tally().full, disk.tally().read_only), (1, 3));
}

#[test]
fn copies_are_put_back_whole_or_mixed_and_never_change() {
    let disk = SimDisk::new();
    write(&disk, "a", b"a1").unwrap();
    write(&disk, "b", b"b1").unwrap();
    let first = disk.snapshot();
    write(&disk, "a", b"a2").unwrap();
    write(&disk, "c", b"c2").unwrap();
    let second = disk.snapshot();
    assert!(disk.copy().same_as(&second) && !first.same_as(&second));
    disk.restore(&first.with(&second, |name| name == "a"));
    assert_eq!((read(&disk, "a").unwrap(), read(&disk, "b").unwrap()), (b"a2".to_vec(), b"b1".to_vec()));
    assert_eq!(disk.copy().names().collect::<Vec<_>>(), ["a", "b"]);
    disk.restore(&second.with(&first, |name| name == "c"));
    assert_eq!(disk.copy().names().collect::<Vec<_>>(), ["a", "b"]);
    disk.reboot(3);
    assert_eq!(read(&disk, "a").unwrap(), b"a2");
    assert!(disk.corrupt("a", 4) && !disk.corrupt("none", 4));
    assert_ne!(read(&disk, "a").unwrap(), b"a2");
    assert_eq!((first.file("a").unwrap(), second.file("a").unwrap()), (b"a1".to_vec(), b"a2".to_vec()));
}

#[test]
fn files_swapped_under_a_program_leave_it_those_that_it_holds() {
    let disk = SimDisk::new();
    write(&disk, "a", b"a1").unwrap();
    let first = disk.snapshot();
    write(&disk, "a", b"a2").unwrap();
    let door = disk.door();
    let held = door.with(|platter| Ok(platter.find("a").unwrap())).unwrap();
    disk.swap(&first);
    assert_eq!(read(&disk, "a").unwrap(), b"a1");
    door.with(|platter| platter.write(held, 0, b"a3").and_then(|()| platter.sync_file(held))).unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"a1");
    assert!(disk.overwrite(&disk.snapshot(), "a") && !disk.overwrite(&first, "b"));
    disk.reboot(1);
    assert_eq!(read(&disk, "a").unwrap(), b"a1");
}

#[test]
fn one_seed_is_one_outcome() {
    let play = |seed| {
        let disk = SimDisk::new();
        let steps = |platter: &mut Platter| {
            let file = platter.create("a")?;
            (0..20).try_for_each(|at| platter.write(file, at * 700, &long(at as u8)))?;
            platter.rename("a", "b")
        };
        disk.door().with(steps).unwrap();
        disk.reboot(seed);
        (disk.snapshot(), disk.tally())
    };
    let mut torn = 0;
    for seed in 0..100 {
        let (first, second) = (play(seed), play(seed));
        assert!(first.0.same_as(&second.0) && first.1 == second.1, "seed {seed}");
        torn += first.1.torn;
    }
    assert!(torn > 100, "{torn}");
}
