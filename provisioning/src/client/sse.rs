//! Server-sent events, as the HTML standard has them, bounded.

/// Takes bytes as they come, gives events as they are whole.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed after it ends no second line.
    after_return: bool,
    message: Message,
    /// A line of data was seen, be it empty.
    has_data: bool,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) kind: String,
    pub(super) data: String,
}

/// A line or an event that is longer than any of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Parser {
    /// Takes some bytes; each event that they complete is given to `sink`.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(Message)) -> Result<(), TooLong> {
        for byte in bytes {
            let ends_line = matches!(byte, b'\r' | b'\n');
            if ends_line && !(*byte == b'\n' && self.after_return) {
                let line = std::mem::take(&mut self.line);
                self.take_line(&String::from_utf8_lossy(&line), sink)?;
            } else if !ends_line {
                if self.line.len() >= LEN_MAX {
                    return Err(TooLong);
                }
                self.line.push(*byte);
            }
            self.after_return = *byte == b'\r';
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str, sink: &mut impl FnMut(Message)) -> Result<(), TooLong> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if std::mem::take(&mut self.has_data) {
                sink(message);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.add_data(value)?,
            "event" => value.clone_into(&mut self.message.kind),
            "id" if !value.contains('\0') => self.message.id = Some(value.to_owned()),
            // A comment, the time to wait that is ours to choose, or a field of another day.
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, value: &str) -> Result<(), TooLong> {
        if self.message.data.len() + value.len() >= LEN_MAX {
            return Err(TooLong);
        }
        if self.has_data {
            self.message.data.push('\n');
        }
        self.has_data = true;
        self.message.data.push_str(value);
        Ok(())
    }
}

/// The largest event is a duty with its history, some kilobytes.
const LEN_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(chunks: &[&[u8]]) -> Vec<Message> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        for chunk in chunks {
            parser.push(chunk, &mut |message| found.push(message)).unwrap();
        }
        found
    }

    fn message(id: &str, kind: &str, data: &str) -> Message {
        Message { id: Some(id.to_owned()), kind: kind.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = b": hello\n\nid: 7\nevent: mode\ndata: {\"a\":1}\n\nid:8\r\nevent:gap\r\ndata:one\r\ndata: two\r\n\r\ndata\rid: 9\r\r";
        let expected = [message("7", "mode", "{\"a\":1}"), message("8", "gap", "one\ntwo"), message("9", "", "")];
        assert_eq!(parsed(&[text]), expected);
        for cut in 0..text.len() {
            assert_eq!(parsed(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_whole_is_no_event() {
        assert_eq!(parsed(&[b"id: 7\ndata: x\n"]), []);
        assert_eq!(parsed(&[b"id: 7\nevent: mode\n\n"]), []);
    }

    #[test]
    fn a_line_and_an_event_have_an_end() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(&vec![b'x'; LEN_MAX + 1], &mut |_| {}), Err(TooLong));
        let mut parser = Parser::default();
        let line = [b"data: ", &vec![b'x'; LEN_MAX / 2][..], b"\n"].concat();
        parser.push(&line, &mut |_| {}).unwrap();
        assert_eq!(parser.push(&line, &mut |_| {}), Err(TooLong));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_and_no_cut_changes_the_events(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200),
            cut in 0_usize..200,
        ) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(parsed(&[&bytes[..]]), parsed(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
