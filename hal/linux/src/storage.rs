//! Disks and filesystems, by the kernel's ABI documentation of block and MMC devices, proc(5), and statvfs(3).

use std::path::Path;

use holdfast_hal::storage::{DiskReading, FilesystemReading, HistoryReading, StorageReading};
use nix::sys::statvfs::statvfs;

use crate::files::{entries, hex_number, number, text, word};

/// How the history does only the vault can tell, and what a disk says of itself only `smartctl` asks.
pub(crate) fn read(root: &Path, filesystems: &[(String, bool)]) -> StorageReading {
    let disks = entries(&root.join("sys/block"), "").into_iter().filter(|(name, _)| is_disk(name));
    StorageReading {
        disks: disks.map(|(name, folder)| disk(&name, &folder)).collect(),
        filesystems: filesystems.iter().map(|(mount, written)| filesystem(root, mount, *written)).collect(),
        history: HistoryReading::default(),
    }
}

/// Disks of their own; what is built on them, in memory, or a boot partition of an eMMC is none.
fn is_disk(name: &str) -> bool {
    let known = ["nvme", "sd", "vd", "mmcblk"].iter().any(|prefix| name.starts_with(prefix));
    known && !name.contains("boot") && !name.contains("rpmb")
}

fn disk(name: &str, folder: &Path) -> DiskReading {
    let device = folder.join("device");
    let chip = entries(&device, "hwmon").into_iter().find_map(|(_, found)| {
        // NVMe drives have the chip itself here, SATA drives (drivetemp) a folder of chips.
        let inner = entries(&found, "hwmon").into_iter().map(|(_, chip)| chip).next();
        [Some(found), inner].into_iter().flatten().find(|chip| chip.join("temp1_input").is_file())
    });
    let celsius = |file: &str| {
        let mc: i64 = number(&chip.as_ref()?.join(file))?;
        i32::try_from(mc / 1000).ok().filter(|celsius| (-50..200).contains(celsius))
    };
    DiskReading {
        name: name.to_owned(),
        model: word(&device.join("model")).or_else(|| word(&device.join("name"))),
        used_percent: text(&device.join("life_time")).and_then(|estimates| emmc_used_percent(&estimates)),
        pre_eol: hex_number(&device.join("pre_eol_info"))
            .and_then(|state| u8::try_from(state).ok())
            .filter(|state| (1..=3).contains(state)),
        io_errors: hex_number(&device.join("ioerr_cnt")),
        temperature_c: celsius("temp1_input"),
        temperature_limit_c: celsius("temp1_max"),
        ..DiskReading::default()
    }
}

/// The worse of two estimates in steps of 10 % (JEDEC JESD84-B51), told as the middle of the step: `0x01` is up to 10 %, `0x0a`
/// is 90 % to 100 %, `0x0b` is more.
fn emmc_used_percent(estimates: &str) -> Option<u32> {
    let step = |word: &str| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let steps: Vec<u32> = estimates.split_whitespace().take(2).map(step).collect::<Option<_>>()?;
    steps.into_iter().filter(|step| (1..=11).contains(step)).max().map(|step| step * 10 - 5)
}

/// The filesystem that is mounted at `mount`. Space is asked of the machine at hand only: a recorded one has none.
pub(crate) fn filesystem(root: &Path, mount: &str, written: bool) -> FilesystemReading {
    let mounts = text(&root.join("proc/self/mounts"));
    let line = mounts.as_deref().and_then(|mounts| mount_of(mounts, mount));
    let space = (root == Path::new("/")).then(|| statvfs(mount).ok()).flatten();
    let blocks = |count: fn(&nix::sys::statvfs::Statvfs) -> u64| {
        space.as_ref().and_then(|space| count(space).checked_mul(space.fragment_size()))
    };
    let errors = line.and_then(|(device, _)| {
        let device = device.strip_prefix("/dev/").filter(|device| !device.contains('/'))?;
        number(&root.join("sys/fs/ext4").join(device).join("errors_count"))
    });
    FilesystemReading {
        mount: mount.to_owned(),
        bytes: blocks(nix::sys::statvfs::Statvfs::blocks),
        free_bytes: blocks(nix::sys::statvfs::Statvfs::blocks_available),
        // Filesystems that make inodes as they need them say zero.
        inodes: space.as_ref().map(nix::sys::statvfs::Statvfs::files).filter(|files| *files > 0),
        free_inodes: space.as_ref().filter(|space| space.files() > 0).map(|space| space.files_available()),
        read_only: line.map(|(_, options)| options.split(',').any(|option| READ_ONLY.contains(&option))),
        written,
        errors,
    }
}

/// Device and options of the last line for a mount point: a later mount hides an earlier one.
fn mount_of<'a>(mounts: &'a str, mount: &str) -> Option<(&'a str, &'a str)> {
    let escaped = mount.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012");
    mounts.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        let (device, at) = (words.next()?, words.next()?);
        (at == escaped).then_some(())?;
        Some((device, words.nth(1)?))
    })
}

/// Mount options of a filesystem that takes no writes. From Linux 6.15 on ext4 stays `rw` after an error and says
/// `emergency_ro`; `shutdown` is its word for one that was cut off from its disk.
const READ_ONLY: &[&str] = &["ro", "emergency_ro", "shutdown"];
