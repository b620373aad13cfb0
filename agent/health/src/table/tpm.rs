//! The TPM, and the makes of it that are known to be bad.

use super::{ALL, Row, critical, info, warning};
use crate::condition::Part::Tpm;
use crate::measure::Measure as M;

pub(super) const ROWS: &[Row] = &[
    critical(Tpm, "tpm.gone", M::TpmGone)
        .set()
        .for_s(0, 10)
        .text("the TPM does not answer; signing goes on to the end of the lease only")
        .remedy("restart the box; if the TPM stays away, check the module's seat or the firmware's settings")
        .may_cost(ALL)
        .from("own rule: the TPM's counter bounds what may be signed"),
    warning(Tpm, "tpm.known-bad", M::TpmBad)
        .set()
        .for_s(0, 0)
        .text("the TPM's firmware is one from which keys can be had")
        .remedy("update the TPM's firmware with its maker's tool, or use another TPM; prepare the box's move first")
        .from("makers' advisories: CVE-2017-15361 (Infineon), CVE-2019-16863 (STMicroelectronics)"),
    critical(Tpm, "tpm.self-test-failed", M::TpmSelfTest)
        .set()
        .for_s(0, 0)
        .text("the TPM failed its self test")
        .remedy("switch the box off and on again; replace the TPM if the test fails again")
        .may_cost(ALL)
        .from("TCG library specification, failure mode: it answers nothing else"),
    warning(Tpm, "tpm.lockout-near", M::TpmLockout)
        .above(50.0, 25.0)
        .for_s(0, 0)
        .text("{value} of the failed authorisations that lock the TPM have happened")
        .remedy("find out who asks: nothing of the box ever fails an authorisation")
        .may_cost(ALL)
        .from("TCG library specification, dictionary attack protection; half of the way is own choice"),
    critical(Tpm, "tpm.lockout-near", M::TpmLockout)
        .above(99.0, 75.0)
        .for_s(0, 0)
        .text("the TPM is locked after failed authorisations")
        .remedy("leave the box on: the TPM counts down by itself; a restart makes it longer")
        .may_cost(ALL)
        .from("TCG library specification, dictionary attack protection"),
    warning(Tpm, "tpm.slow", M::TpmLatency)
        .above(2000.0, 1000.0)
        .for_s(600, 600)
        .text("a command to the TPM takes {value}")
        .remedy("update the firmware of the TPM or the board; a slow TPM delays starts and renewals of the lease")
        .from("own choice: a lease is renewed minutes ahead, so only seconds are felt"),
    warning(Tpm, "tpm.worn", M::TpmNv)
        .below(730.0, 800.0)
        .for_s(86_400, 86_400)
        .text("at the present rate the TPM's memory is worn out in {value}")
        .remedy("find what restarts the box so often; each start and renewal writes once")
        .may_cost(ALL)
        .from("the maker's figure of NV writes; two years is own choice"),
    critical(Tpm, "tpm.worn", M::TpmNv)
        .below(60.0, 90.0)
        .for_s(86_400, 86_400)
        .text("at the present rate the TPM's memory is worn out in {value}")
        .remedy("prepare to move the shares to another box now")
        .may_cost(ALL)
        .from("the maker's figure of NV writes; two months are time to move"),
    info(Tpm, "tpm.tier", M::TpmTier)
        .above(1.0, 1.0)
        .for_s(0, 0)
        .text("the first stage of the boot is taken on trust (tier B)")
        .remedy("nothing to do on this board; others can prove their boot from the first instruction")
        .from("own tiers: A genuine TPM and measured boot, B genuine TPM, C neither"),
    warning(Tpm, "tpm.tier", M::TpmTier)
        .above(2.0, 2.0)
        .for_s(0, 0)
        .text("the box can prove nothing (tier C): its TPM is missing or emulated")
        .remedy("use this box for tests and trials only")
        .from("own tiers: an emulated TPM proves nothing, so tier C is never shown as healthy"),
];

/// Whether a TPM's firmware is on the list of known-bad ones.
pub(crate) fn is_known_bad(maker: &str, firmware: (u16, u16)) -> bool {
    KNOWN_BAD.iter().any(|bad| bad.maker == maker && bad.from <= firmware && firmware <= bad.to)
}

/// Firmware versions of one maker, both ends included.
struct KnownBad {
    maker: &'static str,
    from: (u16, u16),
    to: (u16, u16),
}

/// Makers by their TCG vendor id. From the makers' own advisories; both say that versions not named are sound.
const KNOWN_BAD: &[KnownBad] = &[
    // CVE-2017-15361: RSA keys that can be factored. Mended in 5.62 (SLB 9665) and 7.62 (SLB 9670).
    KnownBad { maker: "IFX", from: (5, 0), to: (5, 61) },
    KnownBad { maker: "IFX", from: (7, 0), to: (7, 61) },
    // CVE-2019-16863: ECDSA nonces by their time. One entry for each version of ST's list.
    KnownBad { maker: "STM", from: (71, 0), to: (71, 0) },
    KnownBad { maker: "STM", from: (71, 4), to: (71, 4) },
    KnownBad { maker: "STM", from: (71, 12), to: (71, 12) },
    KnownBad { maker: "STM", from: (73, 0), to: (73, 0) },
    KnownBad { maker: "STM", from: (73, 4), to: (73, 5) },
    KnownBad { maker: "STM", from: (73, 8), to: (73, 9) },
    KnownBad { maker: "STM", from: (74, 0), to: (74, 0) },
    KnownBad { maker: "STM", from: (74, 4), to: (74, 5) },
    KnownBad { maker: "STM", from: (74, 8), to: (74, 9) },
    KnownBad { maker: "STM", from: (74, 16), to: (74, 16) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mended_versions_are_not_bad() {
        for (maker, firmware, bad) in [
            ("IFX", (5, 61), true),
            ("IFX", (5, 62), false),
            ("IFX", (7, 40), true),
            ("IFX", (7, 62), false),
            ("IFX", (16, 13), false),
            ("STM", (71, 12), true),
            ("STM", (71, 16), false),
            ("STM", (73, 20), false),
            ("STM", (74, 64), false),
            ("NTC", (71, 12), false),
        ] {
            assert_eq!(is_known_bad(maker, firmware), bad, "{maker} {firmware:?}");
        }
    }
}
