//! The whole machine as plain readings, and the small traits that give them, one for each part.
//!
//! In every reading `None` says "not present": the machine has no such sensor, or it did not answer. It is never written
//! as zero, and nobody may take it for one. Counters count since the boot unless their line says otherwise.

use crate::chip::TpmReading;
use crate::clock::ClockReading;
use crate::cpu::CpuReading;
use crate::link::NetReading;
use crate::memory::MemoryReading;
use crate::power::PowerReading;
use crate::storage::StorageReading;
use crate::system::SystemReading;

/// Disks and filesystems.
pub trait Storage {
    /// What they show now.
    fn storage(&mut self) -> StorageReading;
}

/// Main memory.
pub trait Memory {
    /// What it shows now.
    fn memory(&mut self) -> MemoryReading;
}

/// The processors and their heat.
pub trait Cpu {
    /// What they show now.
    fn cpu(&mut self) -> CpuReading;
}

/// What feeds the machine.
pub trait Power {
    /// What it shows now.
    fn power(&mut self) -> PowerReading;
}

/// What keeps the machine's clock right.
pub trait Clock {
    /// What it shows now.
    fn clock(&mut self) -> ClockReading;
}

/// The network ports.
pub trait Link {
    /// What they show now.
    fn net(&mut self) -> NetReading;
}

/// Kernel, boot and watchdog.
pub trait System {
    /// What they show now.
    fn system(&mut self) -> SystemReading;
}

/// Everything that a machine shows at one moment. The TPM's part comes by the vault, the only one who may talk to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineReading {
    /// Disks and filesystems.
    pub storage: StorageReading,
    /// Main memory.
    pub memory: MemoryReading,
    /// Processors.
    pub cpu: CpuReading,
    /// Power.
    pub power: PowerReading,
    /// Clock.
    pub clock: ClockReading,
    /// TPM.
    pub tpm: TpmReading,
    /// Network ports.
    pub net: NetReading,
    /// Kernel, boot and watchdog.
    pub system: SystemReading,
}

/// How much of the time work stood still for want of something (the kernel's `accounting/psi.rst`), in percent of the last
/// 60 s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// At least one task stood still.
    pub some_percent: Option<f64>,
    /// Every task stood still.
    pub full_percent: Option<f64>,
}
