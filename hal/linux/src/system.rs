//! Kernel and watchdog, by proc(5) and the kernel's watchdog documentation.

use std::path::Path;

use holdfast_hal::system::SystemReading;

use crate::files::{entries, number, sum, text, word};

/// Boot slot, updates and shutdowns are not the machine's to tell.
pub(crate) fn read(root: &Path) -> SystemReading {
    let uptime = text(&root.join("proc/uptime"));
    let dogs = entries(&root.join("sys/class/watchdog"), "watchdog");
    let states: Vec<String> = dogs.iter().filter_map(|(_, dog)| word(&dog.join("state"))).collect();
    SystemReading {
        uptime_s: uptime.and_then(|uptime| uptime.split(['.', ' ']).next()?.parse().ok()),
        taint: number(&root.join("proc/sys/kernel/tainted")),
        machine_checks: text(&root.join("proc/interrupts")).and_then(|interrupts| machine_checks(&interrupts)),
        // A machine without a watchdog has none that runs, which is what matters.
        watchdog_armed: root.join("sys/class").is_dir().then(|| states.iter().any(|state| state == "active")),
        ..SystemReading::default()
    }
}

/// The line `MCE:`, with a number for each processor and a title after them. Only x86 has it.
fn machine_checks(interrupts: &str) -> Option<u64> {
    let line = interrupts.lines().find_map(|line| line.trim_start().strip_prefix("MCE:"))?;
    sum(line.split_whitespace().map_while(|word| word.parse().ok()).map(Some))
}
