//! What is made from the arguments' description: completion for shells, and the manual pages.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Raw;
use crate::exit::Failure;
use crate::world::World;

/// Writes what a shell needs to complete this command.
pub(crate) fn completion(world: &mut World<'_>, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Raw::command(), "holdfast", &mut script);
    let script = String::from_utf8(script).map_err(|err| Failure::because("the script is no text", err))?;
    world.output.write(&script)
}

/// Writes a manual page for each command.
pub(crate) fn pages(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(Failure::write(dir))?;
    clap_mangen::generate_to(whole(), dir).map_err(Failure::write(dir))
}

/// The tree of commands with the arguments that each inherits.
fn whole() -> Command {
    let mut command = Raw::command().disable_help_subcommand(true);
    command.build();
    command
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Format;
    use crate::plan::Boxes;
    use crate::terminal::Script;
    use crate::world::played::play;

    /// Every command with its whole name.
    fn commands() -> Vec<(String, Command)> {
        fn collect(prefix: &str, command: &Command, all: &mut Vec<(String, Command)>) {
            let name = format!("{prefix} {}", command.get_name()).trim().to_owned();
            all.push((name.clone(), command.clone()));
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                collect(&name, sub, all);
            }
        }
        let mut all = Vec::new();
        collect("", &whole(), &mut all);
        assert!(all.len() > 50, "only {} commands: this test would prove nothing", all.len());
        all
    }

    fn help_of(command: &Command) -> String {
        command.clone().render_long_help().to_string()
    }

    #[test]
    fn every_command_has_an_example_that_it_understands() {
        for (name, command) in commands() {
            let help = help_of(&command);
            let (_, examples) = help.split_once("Example:\n").unwrap_or_else(|| panic!("{name} has no example"));
            let lines = examples.lines().map(str::trim).take_while(|line| !line.is_empty());
            let mut count = 0;
            for line in lines {
                let line = line.split_once(" > ").map_or(line, |(command, _)| command);
                let words = line.split_whitespace().skip_while(|word| *word != "holdfast");
                let parsed = Raw::try_parse_from(words);
                assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
                count += 1;
            }
            assert!(count > 0, "{name} has no example");
        }
    }

    #[test]
    fn the_readme_names_only_commands_that_there_are() {
        let readme = include_str!("../../../README.md");
        for (chapter, at_least) in [("First hour", 6), ("Day two", 10), ("The board died, what now", 7)] {
            let (_, text) = readme.split_once(&format!("\n## {chapter}\n")).expect("the README has this chapter");
            let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
            let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
            assert!(lines.len() >= at_least, "{chapter} has {} commands", lines.len());
            for line in lines {
                let command = line.split_once(" > ").map_or(line, |(command, _)| command);
                let parsed = Raw::try_parse_from(command.split_whitespace());
                assert!(parsed.is_ok(), "{chapter}: {line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn the_help_is_what_was_reviewed() {
        for (name, command) in commands() {
            insta::assert_snapshot!(name.replace(' ', "-"), help_of(&command));
        }
    }

    #[test]
    fn there_is_a_page_for_each_command() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("holdfast-cluster-import.1")).unwrap();
        assert!(page.contains("danger\\-no\\-history"), "{page}");
        assert!(page.contains("slashing"), "{page}");
    }

    #[test]
    fn every_shell_gets_its_script() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let (script, result) =
                play(Vec::new(), (Boxes::All, Format::Table), &mut Script::answering(&[]), |world| {
                    completion(world, shell)
                });
            result.unwrap();
            assert!(script.contains("never-signed"), "{shell}");
        }
    }
}
