//! Our programs, as they go into an image: there, for its architecture, stripped, and not newer than its C library.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow, bail, ensure};
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader as _};
use object::{Architecture, Endianness, Object as _};

use crate::run::run;

/// What an image has of ours.
pub(crate) const PROGRAMS: &[&str] = &["holdfastd", "holdfast-helper", "holdfast-screen", "holdfast-vault"];

/// The C library of Debian trixie. A program that asks for a newer one would not start in the image.
const GLIBC: (u32, u32) = (2, 41);

/// Copies the programs from one folder to another.
pub(crate) fn copy(from: &Path, to: &Path, architecture: &str) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for name in PROGRAMS {
        let (source, target) = (from.join(name), to.join(name));
        let bytes = fs::read(&source).with_context(|| format!("{} is not built", source.display()))?;
        check(&bytes, architecture).with_context(|| format!("{} is not for this image", source.display()))?;
        run(Command::new(strip(architecture)).arg("-o").arg(&target).arg(&source))?;
    }
    Ok(())
}

fn strip(architecture: &str) -> &'static str {
    if architecture == "arm64" && cfg!(not(target_arch = "aarch64")) { "aarch64-linux-gnu-strip" } else { "strip" }
}

/// Whether a program runs on an architecture with the image's C library.
fn check(bytes: &[u8], architecture: &str) -> anyhow::Result<()> {
    let wanted = match architecture {
        "x86-64" => Architecture::X86_64,
        "arm64" => Architecture::Aarch64,
        other => bail!("no image is built for {other}"),
    };
    let found = object::File::parse(bytes).context("it is no program")?.architecture();
    ensure!(found == wanted, "it is for {found:?}, the image for {wanted:?}");
    let newest = glibc(bytes)?.ok_or_else(|| anyhow!("it says nothing about the C library"))?;
    ensure!(
        newest <= GLIBC,
        "it wants glibc {}.{}, the image has {}.{}: build it on Debian 13 or older",
        newest.0,
        newest.1,
        GLIBC.0,
        GLIBC.1
    );
    Ok(())
}

/// The newest version of the C library that a program asks for.
fn glibc(bytes: &[u8]) -> anyhow::Result<Option<(u32, u32)>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut newest = None;
    for section in sections.iter() {
        let Some((mut needs, names)) = section.gnu_verneed(endian, bytes)? else { continue };
        let strings = sections.strings(endian, bytes, names)?;
        while let Some((_, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                let name = String::from_utf8_lossy(version.name(endian, strings)?).into_owned();
                newest = newest.max(version_of(&name));
            }
        }
    }
    Ok(newest)
}

/// Of `GLIBC_2.34` the numbers.
fn version_of(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.strip_prefix("GLIBC_")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_says_what_it_wants() {
        let own = fs::read("/proc/self/exe").unwrap();
        assert!(glibc(&own).unwrap() >= Some((2, 17)));
        let (here, other) = if cfg!(target_arch = "aarch64") { ("arm64", "x86-64") } else { ("x86-64", "arm64") };
        check(&own, here).unwrap();
        assert!(format!("{:#}", check(&own, other).unwrap_err()).contains("the image for"));
        assert!(check(b"#!/bin/sh\n", here).is_err());
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(version_of("GLIBC_2.9") < version_of("GLIBC_2.34"));
        assert_eq!(version_of("GLIBC_PRIVATE"), None);
        assert_eq!(version_of("GCC_3.0"), None);
    }
}
