//! What a kind of board is: which of the kernel's devices are its LED, button, watchdog, TPM and sensors.
//!
//! Data only. The files are `hal/linux/boards`, and who reads them is there too.

/// A kind of board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name, as releases are named: `x86-64-uefi`.
    pub name: String,
    /// For a human.
    pub title: String,
    /// Whether there is an image for it; otherwise only its readings are known.
    pub has_image: bool,
    /// How the firmware names it: a start of the device tree's model. `None` is any machine of its architecture.
    pub model: Option<String>,
    /// Processor architecture.
    pub architecture: Architecture,
    /// Names below `/sys/class/leds` of the LEDs that show the mode; green first.
    pub leds: Vec<String>,
    /// The button: a line of a GPIO chip.
    pub button: Option<GpioLine>,
    /// Driver of the hardware watchdog, as `/sys/class/watchdog/*/identity` has it. `None` is any.
    pub watchdog: Option<String>,
    /// How the TPM is reached.
    pub tpm: TpmTransport,
    /// Name of the hwmon device that knows of under-voltage.
    pub under_voltage: Option<String>,
    /// Names of hwmon devices or thermal zones that measure the processor.
    pub cpu_sensors: Vec<String>,
    /// Where the firmware slows the processor down without the kernel's knowing, in °C.
    pub slows_down_at_c: Option<u8>,
    /// Known quirks, each a sentence for a human.
    pub quirks: Vec<String>,
}

/// A processor architecture that there is an image for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit x86.
    X86_64,
}

/// One line of a GPIO chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpioLine {
    /// The chip's label.
    pub chip: String,
    /// The line's number on it.
    pub line: u32,
}

/// How a TPM is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmTransport {
    /// The firmware knows it (ACPI, or a device tree node that it made).
    Firmware,
    /// A module on the SPI pins, by an overlay of the device tree.
    Spi,
}
