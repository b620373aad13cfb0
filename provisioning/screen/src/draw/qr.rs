//! The QR code of the address and the pairing code, in half blocks or, where the terminal has none, in pairs of reversed spaces.

use holdfast_api::Screen;
use qrcode::{Color as Module, EcLevel, QrCode};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};

use super::{Glyphs, Look};

/// A QR code with its quiet zone.
pub(super) struct Qr {
    code: QrCode,
    modules: Vec<Module>,
    look: Look,
}

impl Qr {
    /// That of a box which shows a code; a code that only the boot medium knows is in the QR code printed with it.
    pub(super) fn of(screen: &Screen, look: Look) -> Option<Self> {
        let code = screen.pairing.as_ref()?.code.as_ref()?;
        Self::new(&format!("holdfast://{}:{}?code={code}", host(screen)?, screen.port), look)
    }

    fn new(text: &str, look: Look) -> Option<Self> {
        // A screen has no dirt and no folds, so the least correction, which gives the largest modules, is enough.
        let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
        Some(Self { modules: code.to_colors(), code, look })
    }

    /// Columns and rows that it takes.
    pub(super) fn size(&self) -> (u16, u16) {
        let side = u16::try_from(self.code.width() + 2 * QUIET).unwrap_or(u16::MAX);
        match self.look.glyphs {
            Glyphs::Ascii => (side.saturating_mul(2), side),
            Glyphs::Blocks => (side, side.div_ceil(2)),
        }
    }

    /// Draws it; nothing when it does not fit, because a part of it is of no use.
    pub(super) fn draw(&self, area: Rect, frame: &mut Frame<'_>) {
        let (width, height) = self.size();
        if width > area.width || height > area.height {
            return;
        }
        for y in 0..height {
            for x in 0..width {
                let (symbol, style) = self.cell(usize::from(x), usize::from(y));
                if let Some(cell) = frame.buffer_mut().cell_mut(Position::new(area.x + x, area.y + y)) {
                    cell.set_symbol(symbol).set_style(style);
                }
            }
        }
    }

    /// Light is drawn, dark is left: with colours as white on black whatever the terminal's are, without on the dark
    /// ground that a console has.
    fn cell(&self, x: usize, y: usize) -> (&'static str, Style) {
        if self.look.glyphs == Glyphs::Ascii {
            let style = Style::new();
            return (" ", if self.light(x / 2, y) { style.add_modifier(Modifier::REVERSED) } else { style });
        }
        let symbol = match (self.light(x, 2 * y), self.light(x, 2 * y + 1)) {
            (true, true) => "█",
            (true, false) => "▀",
            (false, true) => "▄",
            (false, false) => " ",
        };
        let style = if self.look.colour { Style::new().fg(Color::White).bg(Color::Black) } else { Style::new() };
        (symbol, style)
    }

    /// Whether a module is light; all are that lie outside of the code.
    fn light(&self, x: usize, y: usize) -> bool {
        let side = self.code.width();
        match (x.checked_sub(QUIET), y.checked_sub(QUIET)) {
            (Some(x), Some(y)) if x < side && y < side => self.modules[y * side + x] == Module::Light,
            _ => true,
        }
    }
}

/// The name to call the box by: its own, or an address while it has none.
pub(super) fn host(screen: &Screen) -> Option<String> {
    if !screen.name.is_empty() {
        return Some(format!("{}.local", screen.name));
    }
    let address = screen.addresses.first()?;
    Some(if address.contains(':') { format!("[{address}]") } else { address.clone() })
}

/// What the standard asks for on each side.
const QUIET: usize = 4;

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::play;
    use super::*;

    /// Draws a code in a corner of a terminal and reads it off the cells, each 2 by 4 dots, as a camera would.
    fn scanned(qr: &Qr) -> String {
        let (width, height) = qr.size();
        let mut terminal = Terminal::new(TestBackend::new(width + 4, height + 2)).unwrap();
        terminal.draw(|frame| qr.draw(Rect::new(2, 1, width, height), frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let light = |x: usize, y: usize| {
            let cell = &buffer[((x / 2) as u16, (y / 4) as u16)];
            match cell.symbol() {
                "█" => true,
                "▀" => y % 4 < 2,
                "▄" => y % 4 >= 2,
                _ => cell.modifier.contains(Modifier::REVERSED),
            }
        };
        // In half blocks a module is 2 by 2 dots, in pairs of spaces 4 by 4.
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(
            usize::from(buffer.area.width) * 2,
            usize::from(buffer.area.height) * 4,
            |x, y| if light(x, y) { 255 } else { 0 },
        );
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code is found");
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_scanner_reads_address_and_code() {
        for glyphs in [Glyphs::Ascii, Glyphs::Blocks] {
            for colour in [true, false] {
                let qr = Qr::of(&play::unpaired(), Look { glyphs, colour }).unwrap();
                assert_eq!(scanned(&qr), "holdfast://box-7f3a.local:4443?code=7KQ4-M2XD-9");
            }
        }
    }

    #[test]
    fn the_code_of_an_address_is_as_large_as_that_of_a_name() {
        let look = Look { glyphs: Glyphs::Blocks, colour: true };
        assert_eq!(Qr::of(&play::unpaired(), look).unwrap().size(), (37, 19));
        let nameless = Screen { name: String::new(), ..play::unpaired() };
        let qr = Qr::of(&nameless, look).unwrap();
        assert_eq!(qr.size(), (37, 19));
        assert_eq!(scanned(&qr), "holdfast://192.168.1.57:4443?code=7KQ4-M2XD-9");
        let sixth = Screen { addresses: vec!["2001:db8::1".to_owned()], ..nameless };
        assert_eq!(scanned(&Qr::of(&sixth, look).unwrap()), "holdfast://[2001:db8::1]:4443?code=7KQ4-M2XD-9");
    }

    #[test]
    fn there_is_none_without_a_code() {
        let look = Look { glyphs: Glyphs::Blocks, colour: true };
        assert!(Qr::of(&play::owned(), look).is_none());
        assert!(Qr::of(&play::medium(), look).is_none());
        assert!(Qr::new(&"x".repeat(8_000), look).is_none());
    }
}
