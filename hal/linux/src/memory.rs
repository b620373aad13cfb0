//! Main memory and pressure, by proc(5), `accounting/psi.rst` and the EDAC part of the kernel's ABI documentation.

use std::path::Path;

use holdfast_hal::machine::Pressure;
use holdfast_hal::memory::MemoryReading;

use crate::files::{entries, number, sum, text};
use crate::process::sum_kib;

pub(crate) fn read(root: &Path) -> MemoryReading {
    let info = text(&root.join("proc/meminfo"));
    let kib = |name| info.as_deref().and_then(|info| sum_kib(info, &[name]));
    let controllers = entries(&root.join("sys/devices/system/edac/mc"), "mc");
    let errors = |file: &str| sum(controllers.iter().map(|(_, controller)| number(&controller.join(file))));
    MemoryReading {
        total_kib: kib("MemTotal"),
        available_kib: kib("MemAvailable"),
        pressure: pressure(root, "memory"),
        oom_kills: text(&root.join("proc/vmstat")).and_then(|vmstat| field(&vmstat, "oom_kill")?.parse().ok()),
        ecc_corrected: errors("ce_count"),
        ecc_uncorrected: errors("ue_count"),
    }
}

/// How much work waits for `what`.
pub(crate) fn pressure(root: &Path, what: &str) -> Pressure {
    let text = text(&root.join("proc/pressure").join(what));
    let percent = |kind| {
        let line = field(text.as_deref()?, kind)?;
        let percent: f64 = line.split_whitespace().find_map(|word| word.strip_prefix("avg60="))?.parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent)
    };
    Pressure { some_percent: percent("some"), full_percent: percent("full") }
}

/// The rest of the line that begins with a word.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::trim))
}
