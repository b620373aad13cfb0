//! What the TPM shows of its own health. The vault reads it, and hands it on in its status.

/// The TPM's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TpmReading {
    /// Whether it answers.
    pub present: Option<bool>,
    /// Its maker, by the four letters of TCG's vendor list.
    pub maker: Option<String>,
    /// Its firmware: major and minor number.
    pub firmware: Option<(u16, u16)>,
    /// Whether it passed its self test.
    pub self_test_passed: Option<bool>,
    /// Failed authorisations that count towards its lockout.
    pub lockout_count: Option<u32>,
    /// How many of them lock it.
    pub lockout_max: Option<u32>,
    /// How long its last counter command took, in ms.
    pub latency_ms: Option<u64>,
    /// Writes that its NV memory is still good for, by the maker's figure.
    pub nv_writes_left: Option<u64>,
    /// Writes to its NV memory in the last 24 h.
    pub nv_writes_day: Option<u64>,
    /// How much the box can prove.
    pub tier: Option<Tier>,
}

/// How much a box can prove of itself, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// A genuine TPM, and a boot that was measured from its first instruction.
    A,
    /// A genuine TPM; the first stage of the boot is taken on trust.
    B,
    /// No TPM, or an emulated one: nothing is proved.
    C,
}
