//! What feeds the machine, and when it failed.

/// Power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerReading {
    /// Whether the supply fell below the board's lowest voltage.
    pub under_voltage: Option<bool>,
    /// ResetCounts of the last 24 h that nobody asked for, by cause.
    pub resets: ResetCounts,
    /// The uninterruptible supply; `None` when none is configured.
    pub ups: Option<UpsReading>,
}

/// ResetCounts of the last 24 h that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetCounts {
    /// The hardware watchdog bit.
    pub watchdog: Option<u32>,
    /// Power went away.
    pub power: Option<u32>,
    /// The kernel panicked.
    pub panic: Option<u32>,
}

/// What Network UPS Tools say of the supply. All is `None` when they did not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpsReading {
    /// Whether they answered, and know the supply's state.
    pub answers: bool,
    /// Whether it runs on its battery.
    pub on_battery: Option<bool>,
    /// Whether it says itself that its battery is low.
    pub low: Option<bool>,
    /// Whether it wants a new battery.
    pub replace: Option<bool>,
    /// Charge of the battery, in percent.
    pub charge_percent: Option<u32>,
    /// Time that the battery lasts at the present load, in s.
    pub runtime_s: Option<u32>,
}

/// What a boot tells of the end of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootCause {
    /// Whether the hardware watchdog ended it.
    pub by_watchdog: Option<bool>,
    /// Whether the kernel left the log of a panic.
    pub panicked: Option<bool>,
}
