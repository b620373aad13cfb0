//! Power, the last boot's cause, and what Network UPS Tools say, by the kernel's hwmon, watchdog and pstore documentation
//! and upsc(8).

use std::path::Path;

use holdfast_hal::board::Board;
use holdfast_hal::power::{BootCause, PowerReading, UpsReading};

use crate::files::{entries, hex_number, number, word};

/// How often resets came is not in the machine but in what was kept of earlier boots; so is whether there is a UPS.
pub(crate) fn read(root: &Path, board: Option<&Board>) -> PowerReading {
    let name = board.and_then(|board| board.under_voltage.as_deref()).unwrap_or(UNDER_VOLTAGE);
    let chips = entries(&root.join("sys/class/hwmon"), "hwmon");
    let chip = chips.into_iter().find(|(_, chip)| word(&chip.join("name")).as_deref() == Some(name));
    let alarm: Option<u8> = chip.and_then(|(_, chip)| number(&chip.join("in0_lcrit_alarm")));
    PowerReading { under_voltage: alarm.map(|alarm| alarm != 0), ..PowerReading::default() }
}

/// What this boot tells of the end of the one before.
pub(crate) fn boot_cause(root: &Path) -> BootCause {
    let dogs = entries(&root.join("sys/class/watchdog"), "watchdog");
    let status: Vec<u64> = dogs.iter().filter_map(|(_, dog)| hex_number(&dog.join("bootstatus"))).collect();
    let store = root.join("sys/fs/pstore");
    let panicked = store.is_dir().then(|| !entries(&store, "dmesg-").is_empty());
    let by_watchdog = (!status.is_empty()).then(|| status.iter().any(|bits| bits & CARD_RESET != 0));
    BootCause { by_watchdog, panicked }
}

/// What `upsc` printed of a supply: a line `name: value` for each variable.
///
/// What is no such line is passed over; a supply whose state is not among the lines does not answer.
#[must_use]
pub fn parse_upsc(text: &str) -> UpsReading {
    let value = |name: &str| {
        let lines = text.lines().take(UPSC_LINES_MAX);
        lines.into_iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let Some(status) = value("ups.status") else { return UpsReading::default() };
    let is = |flag: &str| Some(status.split_whitespace().any(|word| word == flag));
    // Some drivers write fractions of a percent or a second.
    let whole = |name: &str| {
        let number: f64 = value(name)?.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds of the filter")]
        (0.0..f64::from(u32::MAX)).contains(&number).then_some(number as u32)
    };
    UpsReading {
        answers: true,
        on_battery: is("OB"),
        low: is("LB"),
        replace: is("RB"),
        charge_percent: whole("battery.charge").filter(|percent| *percent <= 100),
        runtime_s: whole("battery.runtime"),
    }
}

/// The Pi's firmware, by the driver of that name.
const UNDER_VOLTAGE: &str = "rpi_volt";
/// `WDIOF_CARDRESET` of `linux/watchdog.h`: the watchdog reset the machine.
const CARD_RESET: u64 = 0x20;
/// Drivers know fewer than a hundred variables.
const UPSC_LINES_MAX: usize = 1000;
