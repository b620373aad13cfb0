//! Which of blst's assembly paths this machine runs.

/// The name of the assembly path that blst chose when the process started.
///
/// With blst's feature `portable` one binary carries both x86-64 paths, and the processor decides, so that an image runs on
/// every board. The detection here asks the same processor bits as blst's.
#[must_use]
pub fn path() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("adx") {
        "x86-64 ADX"
    } else {
        "x86-64 without ADX"
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("sha2") {
        "aarch64 ARMv8 with SHA-2"
    } else {
        "aarch64 ARMv8"
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        "C"
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_path_names_the_architecture() {
        let arch = if cfg!(target_arch = "x86_64") { "x86-64" } else { std::env::consts::ARCH };
        assert!(super::path().starts_with(arch), "{} on {arch}", super::path());
    }
}
