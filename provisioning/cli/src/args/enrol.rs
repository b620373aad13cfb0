//! From a box that nobody owns to one that is known here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Args, Debug)]
pub(crate) struct DiscoverArgs {
    /// How long to listen, such as 3s
    #[arg(long = "for", value_name = "SPAN", default_value = "3s", value_parser = span)]
    pub(crate) listen: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct PairArgs {
    /// The box's name or address as its screen shows it, with :PORT when that is not 4443
    pub(crate) address: String,
    /// Read the code from this file, or from standard input with -
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// What to call the box here; its own name when absent
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Take a box whose TPM is emulated: its seal protects nothing, and its evidence proves nothing
    #[arg(long)]
    pub(crate) danger_accept_emulated_tpm: bool,
    #[command(flatten)]
    pub(crate) passphrase: NewPassphraseArgs,
}

/// How the authority's passphrase is known.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PassphraseArgs {
    /// Read the authority's passphrase from the first line of this file
    #[arg(long, value_name = "FILE", env = "HOLDFAST_PASSPHRASE_FILE", hide_env_values = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// How the passphrase of an authority that is kept anew is chosen.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct NewPassphraseArgs {
    #[command(flatten)]
    pub(crate) known: PassphraseArgs,
    /// Keep the authority without a passphrase: whoever reads this machine's disk commands the boxes
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) danger_no_passphrase: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// Show which authority is kept here
    #[command(after_help = "Example:\n  holdfast authority show")]
    Show,
    /// Copy the authority, encrypted, to a file that you keep elsewhere
    #[command(after_help = "Example:\n  holdfast authority export authority.pem")]
    Export(ExportArgs),
    /// Take an authority that was exported
    #[command(after_help = "Example:\n  holdfast authority import authority.pem")]
    Import(ImportAuthorityArgs),
    /// Make a client certificate for somebody else, with what he needs to know of your boxes
    #[command(after_help = "Example:
  holdfast authority issue alice --role operator --out alice/
  holdfast authority issue bob --role reader --csr bob.csr --out bob/
  holdfast authority issue bob --role reader --csr bob.csr --out bob/ --context attic")]
    Issue(IssueArgs),
    /// Let a client certificate count no more on the selected boxes
    #[command(after_help = "Example:\n  holdfast authority revoke 0x5f0c3a --all")]
    Revoke {
        /// Its serial number in hex, as `authority issue` said it
        serial: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The file to write; an existing one is kept
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ImportAuthorityArgs {
    /// The file that `authority export` wrote
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: NewPassphraseArgs,
}

#[derive(Args, Debug)]
pub(crate) struct IssueArgs {
    /// Who gets it
    pub(crate) name: String,
    /// What its holder may do
    #[arg(long, value_enum)]
    pub(crate) role: RoleArg,
    /// Certify the key of this request (PEM), so that its secret stays where it was made; without, a key is made here
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: Option<PathBuf>,
    /// The folder to write into
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Sees
    Reader,
    /// Drains, reboots, asks for evidence
    Operator,
    /// Changes everything but what only the authority can order
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Make a key of your own for boxes that somebody else owns, and the request that he certifies
    #[command(after_help = "Example:\n  holdfast context request attic --out attic.csr
  then its owner:  holdfast authority issue bob --role operator --csr attic.csr --out bob/
  then here again: holdfast context add attic --certificate bob/access.json")]
    Request(RequestArgs),
    /// Take up access to boxes that somebody else owns, or the certificate that follows yours
    #[command(after_help = "Example:\n  holdfast context add attic --certificate bob/access.json
  holdfast context add attic --box 192.168.1.57 --certificate bob/access.json")]
    Add(AddArgs),
    /// List the boxes that are known here
    #[command(after_help = "Example:\n  holdfast context list")]
    List,
    /// Select the box that commands go to
    #[command(after_help = "Example:\n  holdfast context use box-7f3a")]
    Use {
        /// The name of the context
        name: String,
    },
    /// Show what is known of a box
    #[command(after_help = "Example:\n  holdfast context show box-7f3a")]
    Show {
        /// The name of the context; the selected one when absent
        name: Option<String>,
    },
    /// Make your certificate for a box anew; done by itself when the authority opens without a passphrase being asked
    #[command(after_help = "Example:\n  holdfast context renew box-7f3a")]
    Renew {
        /// The name of the context
        name: String,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Forget a box; the box itself is left as it is
    #[command(after_help = "Example:\n  holdfast context remove box-7f3a")]
    Remove {
        /// The name of the context
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct RequestArgs {
    /// What to call the key here; for a context that is there already, its key is certified anew
    pub(crate) name: String,
    /// The file to write; an existing one is kept. Without, the request is printed
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// What to call the box here; without, every box of the file is added under the name that its owner gave it
    pub(crate) name: Option<String>,
    /// The file access.json that `authority issue` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// Where the box is reached from here, when that is not where its owner reaches it
    #[arg(long = "box", value_name = "ADDRESS", requires = "name")]
    pub(crate) address: Option<String>,
    /// The key that came with the certificate, when it was not made here by `context request`
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// A span of time in whole units: `90s`, `30m`, `24h`, `7d`.
pub(super) fn span(text: &str) -> Result<Duration, SpanError> {
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(SpanError)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(SpanError),
    };
    let count: u64 = digits.parse().map_err(|_| SpanError)?;
    let span = count.checked_mul(seconds).filter(|span| (1..=SPAN_MAX_S).contains(span)).ok_or(SpanError)?;
    Ok(Duration::from_secs(span))
}

/// A text that is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a span is a number of s, m, h or d, such as 30m, and at most 365d")]
pub(crate) struct SpanError;

/// Longer than any box remembers.
const SPAN_MAX_S: u64 = 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_an_end() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "s", "3", "0s", "-1s", "1.5h", "3w", "400d", "99999999999999999999d", "3é"] {
            assert_eq!(span(wrong), Err(SpanError), "{wrong:?}");
        }
    }
}
