//! A real ext4 on a loop device: filled, then made read-only by the kernel after an error. Needs root; one test in a process of
//! its own, since it mounts.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_hal::machine::Storage as _;
use holdfast_hal::storage::FilesystemReading;
use holdfast_hal_linux::Machine;
use tempfile::TempDir;

/// A mounted filesystem of 8 MiB, taken away at the end whatever happens.
struct Mounted {
    folder: TempDir,
}

impl Mounted {
    fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test mounts a loop device, which only root may: run it as root, or in a container that has /dev/loop-control"
        );
        let mounted = Self { folder: tempfile::tempdir().unwrap() };
        let image = mounted.folder.path().join("image");
        File::create(&image).unwrap().set_len(8 << 20).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        fs::create_dir(mounted.at()).unwrap();
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(mounted.at()));
        mounted
    }

    fn at(&self) -> PathBuf {
        self.folder.path().join("state folder")
    }

    fn read(&self) -> FilesystemReading {
        let mut machine = Machine::real().with_filesystem(self.at().to_str().unwrap(), true);
        machine.storage().filesystems.remove(0)
    }

    /// The kernel's own folder of this filesystem.
    fn kernel(&self) -> PathBuf {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let name = self.folder.path().to_str().unwrap();
        let line = mounts.lines().find(|line| line.contains(name)).unwrap();
        Path::new("/sys/fs/ext4").join(line.split(' ').next().unwrap().strip_prefix("/dev/").unwrap())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(self.at()).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_filesystem_is_seen_to_fill_and_to_become_read_only() {
    let mounted = Mounted::new();
    let empty = mounted.read();
    assert_eq!((empty.read_only, empty.errors, empty.written), (Some(false), Some(0), true), "{empty:?}");
    assert!(empty.free_bytes.unwrap() > empty.bytes.unwrap() / 2 && empty.free_inodes.unwrap() > 100, "{empty:?}");

    let mut filler = File::create(mounted.at().join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
    _ = filler.sync_all();
    drop(filler);
    let mut made = 0;
    while made < 100_000 && File::create(mounted.at().join(format!("{made}"))).is_ok() {
        made += 1;
    }
    let full = mounted.read();
    // An ordinary process has nothing left; root could still use what ext4 keeps back.
    assert_eq!(full.free_bytes, Some(0), "{full:?}");
    assert!(full.free_inodes.unwrap() < empty.free_inodes.unwrap(), "{full:?}");

    run(Command::new("mount").args(["-o", "remount,ro"]).arg(mounted.at()));
    assert_eq!(mounted.read().read_only, Some(true), "by hand");
    run(Command::new("mount").args(["-o", "remount,rw"]).arg(mounted.at()));
    assert_eq!(mounted.read().read_only, Some(false));
    fs::write(mounted.kernel().join("trigger_fs_error"), "an error that a test asked for").unwrap();
    let broken = mounted.read();
    assert_eq!((broken.read_only, broken.errors), (Some(true), Some(1)), "{broken:?}");
    assert!(File::create(mounted.at().join("one more")).is_err(), "the kernel takes no writes");
}
