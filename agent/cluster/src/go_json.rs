//! JSON as the reference writes it: one space of indentation, no final newline, and `<`, `>`, `&` and the two separators
//! that JavaScript takes for line ends escaped. Needed so that a lock that was read is written byte for byte.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Writes plain data: structs, lists, texts and numbers.
pub(crate) fn to_go_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let formatter = GoFormatter(PrettyFormatter::with_indent(b" "));
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("plain data has a JSON form, and memory takes it");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

struct GoFormatter(PrettyFormatter<'static>);

macro_rules! as_pretty {
    ($($name:ident($($first:ident)?);)*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $first: bool)?) -> io::Result<()> {
            self.0.$name(writer $(, $first)?)
        }
    )*};
}

impl Formatter for GoFormatter {
    as_pretty! {
        begin_array();
        end_array();
        begin_array_value(first);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first);
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(ESCAPED) {
            let (plain, from) = rest.split_at(at);
            let escaped = from.chars().next().expect("found at this place");
            write!(writer, "{plain}\\u{:04x}", u32::from(escaped))?;
            rest = &from[escaped.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

const ESCAPED: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_go_does() {
        assert_eq!(to_go_json(&"a<b>&c\u{2028}ü\"\n"), r#""a\u003cb\u003e\u0026c\u2028ü\"\n""#);
        assert_eq!(to_go_json(&["x", "<"]), "[\n \"x\",\n \"\\u003c\"\n]");
        assert_eq!(to_go_json(&[(); 0]), "[]");
    }
}
