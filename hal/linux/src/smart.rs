//! What `smartctl --json --all` printed of a disk. Read by serde_json, within a bound; what is not there is not present.

use holdfast_hal::storage::DiskReading;
use serde::Deserialize;

/// Why an output of `smartctl` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SmartError {
    /// It is no JSON of that form.
    #[error("the output of smartctl is not what `smartctl --json --all` prints; smartmontools 7.0 or later is needed")]
    NotJson(#[source] serde_json::Error),
    /// It is far longer than a disk has to tell.
    #[error("the output of smartctl has {len} bytes, more than the {OUTPUT_BYTES_MAX} that any disk needs")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

/// The disk that an output of `smartctl --json --all` describes.
///
/// # Errors
/// When the output is too long or no JSON object.
pub fn parse_smart(output: &[u8]) -> Result<DiskReading, SmartError> {
    if output.len() > OUTPUT_BYTES_MAX {
        return Err(SmartError::TooLong { len: output.len() });
    }
    let output: Output = serde_json::from_slice(output).map_err(SmartError::NotJson)?;
    let name = output.device.name.unwrap_or_default();
    let log = output.nvme_smart_health_information_log;
    let attributes = output.ata_smart_attributes.table;
    let moved =
        attributes.iter().filter(|attribute| ATA_MEDIA.contains(&attribute.id)).map(|attribute| attribute.raw.value);
    Ok(DiskReading {
        name: name.rsplit('/').next().unwrap_or_default().to_owned(),
        model: output.model_name,
        passed: output.smart_status.passed,
        critical_warning: log.critical_warning,
        used_percent: log.percentage_used.or(output.endurance_used.current_percent),
        spare_percent: log.available_spare.or(output.spare_available.current_percent),
        spare_limit_percent: log.available_spare_threshold.or(output.spare_available.threshold_percent),
        media_errors: log.media_errors.or_else(|| moved.reduce(u64::saturating_add)),
        temperature_c: output.temperature.current,
        temperature_limit_c: output.nvme_composite_temperature_threshold.warning.or(output.temperature.op_limit_max),
        ..DiskReading::default()
    })
}

/// Only what is read; everything else of the output is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Output {
    device: Device,
    model_name: Option<String>,
    smart_status: Status,
    temperature: Temperature,
    nvme_composite_temperature_threshold: Threshold,
    nvme_smart_health_information_log: NvmeLog,
    endurance_used: Percent,
    spare_available: Percent,
    ata_smart_attributes: Attributes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Device {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    passed: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Temperature {
    current: Option<i32>,
    op_limit_max: Option<i32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Threshold {
    warning: Option<i32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NvmeLog {
    critical_warning: Option<u8>,
    available_spare: Option<u32>,
    available_spare_threshold: Option<u32>,
    percentage_used: Option<u32>,
    media_errors: Option<u64>,
}

/// In the words of smartmontools 7.5 for any kind of disk.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Percent {
    current_percent: Option<u32>,
    threshold_percent: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    table: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    id: u16,
    raw: Raw,
}

#[derive(Deserialize)]
struct Raw {
    value: u64,
}

/// A disk with every log it can have prints a tenth of this.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Reallocated sectors, reported uncorrectable errors, pending sectors, offline uncorrectable sectors.
const ATA_MEDIA: &[u16] = &[5, 187, 197, 198];
