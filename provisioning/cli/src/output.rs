//! How answers are written: tables for people, JSON and YAML for programs. Colour repeats what words and marks say.

use std::io::{self, Write};

use holdfast_api::printable;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::args::Format;
use crate::exit::Failure;

/// Where answers go, and in which form.
pub(crate) struct Output<'a> {
    format: Format,
    colour: bool,
    to: &'a mut dyn Write,
}

/// Columns under their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// How good a thing is; only a colour, the text says it as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing to say.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Look at it soon.
    Warn,
    /// Look at it now.
    Bad,
}

impl<'a> Output<'a> {
    /// Writes to `to`; in colour only when that is a terminal and nobody said no.
    pub(crate) fn new(format: Format, colour: bool, to: &'a mut dyn Write) -> Self {
        Self { format, colour, to }
    }

    /// Whether people read it.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Writes an answer: `table` for people, the value for programs.
    pub(crate) fn show<T: Serialize>(&mut self, value: &T, table: impl FnOnce(&T) -> Table) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => table(value).render(self.colour),
            Format::Json => json(value)?,
            Format::Yaml => yaml(value)?,
        };
        self.write(&text)
    }

    /// Writes a table.
    pub(crate) fn write_table(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render(self.colour);
        self.write(&text)
    }

    /// Writes a line for people; programs get their answer by [`Output::show`].
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        if self.is_table() { self.write(&format!("{line}\n")) } else { Ok(()) }
    }

    /// Writes text as it is, whatever the form: a file's content, a log line.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        match written {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyReads),
            Err(err) => Err(Failure::Write { path: "standard output".into(), err }),
            Ok(()) => Ok(()),
        }
    }
}

impl Table {
    /// An empty table.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// A table without a head: names and what belongs to them.
    pub(crate) fn pairs<const N: usize>(pairs: [(&'static str, Cell); N]) -> Self {
        Self { head: Vec::new(), rows: pairs.map(|(name, cell)| vec![name.into(), cell]).to_vec() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, columns aligned by the width that a terminal gives each character.
    pub(crate) fn render(&self, colour: bool) -> String {
        let head: Vec<Cell> = self.head.iter().map(|name| Cell::from(*name)).collect();
        let rows: Vec<&[Cell]> = (!head.is_empty())
            .then_some(head.as_slice())
            .into_iter()
            .chain(self.rows.iter().map(Vec::as_slice))
            .collect();
        let columns = rows.iter().map(|row| row.len()).max().unwrap_or_default();
        let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width()).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or_default()).collect();
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&cell.painted(colour));
                line.push_str(&" ".repeat(width - cell.text.width() + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Cell {
    /// A text with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { tone, ..Self::from(text.into()) }
    }

    fn painted(&self, colour: bool) -> String {
        let code = match self.tone {
            Tone::Good if colour => "32",
            Tone::Warn if colour => "33",
            Tone::Bad if colour => "31",
            Tone::Plain | Tone::Good | Tone::Warn | Tone::Bad => return self.text.clone(),
        };
        format!("\u{1b}[{code}m{}\u{1b}[0m", self.text)
    }
}

impl From<String> for Cell {
    /// What a box says may not move the cursor of whoever reads it.
    fn from(text: String) -> Self {
        Self { text: printable(&text).into_owned(), tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// Pretty JSON with a final newline.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|err| Failure::because("cannot write JSON", err))?;
    Ok(format!("{text}\n"))
}

/// YAML with a final newline.
pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text = serde_saphyr::to_string(value).map_err(|err| Failure::because("cannot write YAML", err))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["BOX", "MODE", "CLUSTER"]);
        table.row([Cell::from("box-7f3a"), Cell::toned("ready", Tone::Good), "Four Friends".into()]);
        table.row([Cell::from("雪-1"), Cell::toned("halted", Tone::Bad), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        assert_eq!(
            table().render(false),
            "BOX       MODE    CLUSTER\nbox-7f3a  ready   Four Friends\n雪-1      halted\n"
        );
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let coloured = table().render(true);
        assert!(coloured.contains("\u{1b}[32mready\u{1b}[0m"));
        let without = coloured.replace("\u{1b}[32m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(without, table().render(false));
    }

    #[test]
    fn what_a_box_says_moves_no_cursor() {
        let mut table = Table::new(&["NAME"]);
        table.row([Cell::from("a\u{1b}[2Jb\n")]);
        assert_eq!(table.render(false), "NAME\na [2Jb\n");
    }

    #[test]
    fn programs_get_the_value_and_no_table() {
        for (format, expected) in [(Format::Json, "[\n  1,\n  2\n]\n"), (Format::Yaml, "- 1\n- 2\n")] {
            let mut written = Vec::new();
            let mut output = Output::new(format, false, &mut written);
            output.say("for people").unwrap();
            output.show(&[1, 2], |_| panic!("no table was asked for")).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
