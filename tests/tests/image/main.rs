//! The image, in QEMU with an emulated TPM: from the build to a box that is paired, boots again, and is worth nothing with
//! another TPM. Run by `./dev test image`. What is seen is the box's screen and its API; the hand in the box of the variant
//! `test` looks only at what neither shows.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![forbid(unsafe_code)]

mod virtual_box;

use holdfast_tests::kit::{Desk, Place};
use virtual_box::{FIRST_BOOT_MAX, VirtualBox, build, code};

#[test]
fn a_box_boots_is_paired_and_opens_for_its_own_tpm_only() {
    build();
    let image = VirtualBox::image_register_11();
    let place = tempfile::tempdir().unwrap();
    let desk = Desk::new(&place.path().join("desk"), Place::here()).unwrap();

    let mut own = VirtualBox::start("suite", place.path());
    let code = own.see(FIRST_BOOT_MAX, code);
    assert!(own.screen().contains("maintenance: nobody owns this box"), "{}", own.screen());
    measured_as_predicted(&mut own, &image);
    closed_to_its_own_root(&mut own);
    listens_where_it_should_only(&mut own);

    let address = own.address();
    let pair = ["pair", &address, "--code-file", "-", "--name", "virtual", "--yes"];
    let with = ["--danger-accept-emulated-tpm", "--danger-no-passphrase"];
    let said = desk.run_with(&[pair.as_slice(), &with].concat(), &code).unwrap();
    assert!(said.contains("virtual is yours"), "{said}");
    let name = status(&desk)["name"].clone();
    let vault: serde_json::Value =
        serde_json::from_str(&desk.run(&["vault", "status", "-o", "json"]).unwrap()).unwrap();
    let vault = vault.as_array().map_or(&vault, |boxes| &boxes[0]).clone();
    let text = vault.to_string();
    assert!(text.contains("the TPM is emulated; Secure Boot is on and the boot is measured"), "{text}");

    own.restarted(|| drop(desk.run(&["--yes", "reboot"]).unwrap()));
    own.see(FIRST_BOOT_MAX, |screen| screen.contains("paired: the vault holds no shares yet").then_some(()));
    let after = status(&desk);
    assert_eq!((&after["name"], after["mode"].as_str()), (&name, Some("paired")), "{after}");
    assert_eq!(own.run("cat /run/holdfast-boot/var-volatile").unwrap_err().code, 1, "/var did not open");

    own.power_off();
    let mut other = own.with_another_tpm("suite-other", place.path());
    other.see(FIRST_BOOT_MAX, |screen| {
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        words.contains("what this box keeps does not open: the TPM is not the one that sealed it").then_some(())
    });
    assert!(!other.screen().contains("code"), "nobody pairs with it: {}", other.screen());
    let refused = desk.ask(&["status"], "").unwrap();
    assert_eq!(refused.code, 4, "nothing answers: {refused:?}");
    assert_eq!(other.run("cat /run/holdfast-boot/var-volatile").unwrap().trim(), "locked");
}

fn status(desk: &Desk) -> serde_json::Value {
    let said = desk.run(&["status", "-o", "json"]).unwrap();
    let all: serde_json::Value = serde_json::from_str(&said).unwrap();
    all.as_array().map_or(&all, |boxes| &boxes[0]).clone()
}

/// The value that the release key approved, extended by the phase that closes the box; and what must stay zero.
fn measured_as_predicted(own: &mut VirtualBox, image: &[u8; 32]) {
    let register = |own: &mut VirtualBox, number: u8| {
        own.run(&format!("cat /sys/class/tpm/tpm0/pcr-sha256/{number}")).unwrap().trim().to_lowercase()
    };
    let closed = virtual_box::extended(image, b"ready");
    assert_eq!(register(own, 11), hex::encode(closed));
    for zero in [12, 13] {
        assert_eq!(register(own, zero), "0".repeat(64), "register {zero}");
    }
}

/// What root of the box may not do, and what runs nowhere.
fn closed_to_its_own_root(own: &mut VirtualBox) {
    let says = |own: &mut VirtualBox, command: &str| own.run(command).unwrap().trim().to_owned();
    assert_eq!(says(own, "cat /sys/kernel/security/lockdown"), "none integrity [confidentiality]");
    assert_eq!(says(own, "cat /proc/sys/kernel/yama/ptrace_scope"), "3");
    assert_eq!(says(own, "cat /proc/sys/kernel/kexec_load_disabled"), "1");
    assert_eq!(says(own, "cat /proc/sys/kernel/sysrq"), "0");
    assert_eq!(says(own, "swapon --show"), "");
    assert_eq!(says(own, "systemctl list-units --failed --plain --no-legend"), "", "no unit fails");
    // A cycle is broken by leaving out one of its units, whichever it is.
    assert_eq!(
        says(own, "journalctl -b -q --no-pager -g 'ordering cycle' || true"),
        "",
        "the order of units has no cycle"
    );
    assert_eq!(says(own, "pgrep -l 'sshd|agetty|getty|login$' || true"), "", "nobody can log in");
    let options = says(own, "findmnt -n -o OPTIONS /var");
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|one| one == option), "/var is mounted {options}");
    }
    refused(own, "touch /usr/lib/holdfast/new", "Read-only file system");
    refused(own, "head -c 1 /proc/kcore", "Operation not permitted");
    let vault = says(own, "systemctl show -p MainPID --value holdfast-vault.service");
    assert_ne!(vault, "0", "the vault runs");
    refused(own, &format!("head -c 1 /proc/{vault}/mem"), "Permission denied");
}

/// A command fails, and for this reason.
fn refused(own: &mut VirtualBox, command: &str, why: &str) {
    let failed = own.run(command).unwrap_err();
    assert!(failed.said.contains(why), "{command}: {failed:?}");
}

/// The API, the announcement, and the client that asks for an address.
fn listens_where_it_should_only(own: &mut VirtualBox) {
    let listed = own.run("ss -H -l -n -t -u").unwrap();
    let mut open: Vec<String> = listed
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some(format!("{} {}", columns.next()?, columns.nth(3)?))
        })
        // Loopback: the metrics, and the name service of the box itself.
        .filter(|socket| !socket.contains(" 127.0.0."))
        .map(|socket| socket.rsplit_once(':').map(|(kind, port)| format!("{} {port}", &kind[..3])).unwrap())
        .collect();
    open.sort();
    open.dedup();
    assert_eq!(open, ["tcp 4443", "udp 5353", "udp 68"], "{listed}");
}
