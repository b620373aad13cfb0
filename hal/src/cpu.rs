//! What the processors show.

use crate::machine::Pressure;

/// The processors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuReading {
    /// Features that the fast path of BLS uses and this machine lacks, by the kernel's names; none for none.
    pub missing_features: Option<Vec<&'static str>>,
    /// Temperature of the hottest sensor, in thousandths of a °C.
    pub temperature_mc: Option<i64>,
    /// The lowest trip point at which that sensor's machine slows down or switches off, in thousandths of a °C.
    pub trip_mc: Option<i64>,
    /// How often the hardware slowed itself down for heat.
    pub throttles: Option<u64>,
    /// The highest frequency that is allowed now, in kHz.
    pub frequency_allowed_khz: Option<u64>,
    /// The highest frequency of the hardware, in kHz.
    pub frequency_best_khz: Option<u64>,
    /// How much work waits for a processor.
    pub pressure: Pressure,
    /// CPU time that the host of a virtual machine took away, in ms, over all processors.
    pub steal_ms: Option<u64>,
    /// CPU time in all, idle time included, in ms, over all processors.
    pub total_ms: Option<u64>,
}
