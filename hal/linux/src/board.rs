//! The boards that Holdfast knows, each a small file, and the strict reader of these files.

use std::path::Path;

use holdfast_hal::board::{Architecture, Board, GpioLine, TpmTransport};
use serde::Deserialize;

use crate::files::word;

/// Why a board file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// It is no TOML, lacks something, or has something that no board has.
    #[error("the board file is not as it must be")]
    Malformed(#[from] toml::de::Error),
    /// It is longer than a board has to tell.
    #[error("the board file has {len} bytes, more than {FILE_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A value makes no sense.
    #[error("`{field}` of the board file: {problem}")]
    Senseless {
        /// Which.
        field: &'static str,
        /// Why.
        problem: &'static str,
    },
}

/// The boards that come with this build, by name.
pub const BOARDS: &[(&str, &str)] = &[
    ("arm64-uefi", include_str!("../boards/arm64-uefi.toml")),
    ("raspberry-pi-4", include_str!("../boards/raspberry-pi-4.toml")),
    ("raspberry-pi-5", include_str!("../boards/raspberry-pi-5.toml")),
    ("x86-64-uefi", include_str!("../boards/x86-64-uefi.toml")),
];

/// A board from the text of its file.
///
/// # Errors
/// When the text is too long, is not a board's, or has anything that a board does not have.
pub fn parse_board(text: &str) -> Result<Board, BoardError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(BoardError::TooLong { len: text.len() });
    }
    let raw: RawBoard = toml::from_str(text)?;
    let named = |name: &str| {
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    let senseless = |field, problem| Err(BoardError::Senseless { field, problem });
    if !named(&raw.name) {
        return senseless("name", "write it in small letters, digits and hyphens");
    }
    if raw.leds.iter().any(|led| led.is_empty() || led.contains('/')) {
        return senseless("leds", "write the names below /sys/class/leds");
    }
    if raw.slows_down_at_c.is_some_and(|celsius| !(40..=125).contains(&celsius)) {
        return senseless("slows_down_at_c", "no processor slows down below 40 or above 125");
    }
    if raw.model.as_deref().is_some_and(str::is_empty) {
        return senseless("model", "leave it out for any machine of the architecture");
    }
    Ok(Board {
        name: raw.name,
        title: raw.title,
        has_image: raw.has_image,
        model: raw.model,
        architecture: match raw.architecture {
            RawArchitecture::Aarch64 => Architecture::Aarch64,
            RawArchitecture::X86_64 => Architecture::X86_64,
        },
        leds: raw.leds,
        button: raw.button.map(|RawLine { chip, line }| GpioLine { chip, line }),
        watchdog: raw.watchdog,
        tpm: match raw.tpm {
            RawTransport::Firmware => TpmTransport::Firmware,
            RawTransport::Spi => TpmTransport::Spi,
        },
        under_voltage: raw.under_voltage,
        cpu_sensors: raw.cpu_sensors,
        slows_down_at_c: raw.slows_down_at_c,
        quirks: raw.quirks,
    })
}

/// The board that a machine is: by the model of its device tree, else any board of the architecture.
pub(crate) fn recognise(root: &Path, architecture: Architecture) -> Option<Board> {
    let model = word(&root.join("proc/device-tree/model"));
    let known: Vec<Board> = BOARDS.iter().filter_map(|(_, text)| parse_board(text).ok()).collect();
    let ours = || known.iter().filter(|board| board.architecture == architecture);
    // The file's model ends with a blank, so that a 4 is no 400; the tree's may end right there.
    let is = |board: &&Board| {
        let (own, found) = (board.model.as_deref(), model.as_deref());
        own.zip(found).is_some_and(|(own, found)| format!("{found} ").starts_with(own))
    };
    ours().find(is).or_else(|| ours().find(|board| board.model.is_none())).cloned()
}

/// What the file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBoard {
    name: String,
    title: String,
    has_image: bool,
    model: Option<String>,
    architecture: RawArchitecture,
    leds: Vec<String>,
    button: Option<RawLine>,
    watchdog: Option<String>,
    tpm: RawTransport,
    under_voltage: Option<String>,
    cpu_sensors: Vec<String>,
    slows_down_at_c: Option<u8>,
    quirks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawArchitecture {
    Aarch64,
    #[serde(rename = "x86_64")]
    X86_64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawTransport {
    Firmware,
    Spi,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    chip: String,
    line: u32,
}

/// Ours have a tenth of it.
const FILE_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_that_comes_along_is_read_and_bears_its_name() {
        for (name, text) in BOARDS {
            let board = parse_board(text).unwrap();
            assert_eq!(&board.name, name);
            assert!(!board.cpu_sensors.is_empty(), "{name}");
        }
        let without: Vec<&str> =
            BOARDS.iter().filter(|(_, text)| !parse_board(text).unwrap().has_image).map(|(name, _)| *name).collect();
        assert_eq!(without, ["raspberry-pi-5"]);
    }

    #[test]
    fn a_file_with_anything_else_in_it_is_refused() {
        let (_, good) = BOARDS[0];
        for (bad, says) in [
            (format!("{good}\nfan = 1\n"), "not as it must be"),
            (good.replace("has_image = true", ""), "not as it must be"),
            (good.replace("has_image = true", "has_image = \"yes\""), "not as it must be"),
            (good.replace("\"firmware\"", "\"lpc\""), "not as it must be"),
            (good.replace("arm64-uefi", "../arm64"), "`name`"),
            (good.replace("leds = []", "leds = [\"a/../b\"]"), "`leds`"),
            (good.replace("leds = []", "leds = []\nslows_down_at_c = 12"), "`slows_down_at_c`"),
            (good.replace("leds = []", "leds = []\nmodel = \"\""), "`model`"),
            (format!("{good}{}", "#".repeat(FILE_BYTES_MAX)), "bytes"),
            (String::new(), "not as it must be"),
        ] {
            let err = parse_board(&bad).unwrap_err().to_string();
            assert!(err.contains(says), "{err}\n{bad}");
        }
    }
}
