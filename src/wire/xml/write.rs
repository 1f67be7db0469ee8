//! XML as bytes: every text goes through the escaping, every tag is a constant or a checked name.

use bytes::Bytes;

use crate::domain::PropertyName;

/// Digits of the largest number.
const DECIMAL_DIGITS_MAX: usize = 20;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `00` to `99`: decimal digits are written two at a time.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut rest: &mut [[u8; 2]] = &mut pairs;
    let mut number = 0_u8;
    while let Some((pair, more)) = rest.split_first_mut() {
        *pair = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
        rest = more;
    }
    pairs
};

/// Appends XML to a buffer. Texts are escaped; markup can only be a constant of the program or a name that the reader has checked.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty buffer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes) }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Markup that was written in the program itself.
    #[inline]
    pub fn markup(&mut self, markup: &'static str) {
        self.out.extend_from_slice(markup.as_bytes());
    }

    /// What this writer, or [`Element::to_xml`](super::Element::to_xml), wrote before.
    #[inline]
    pub fn written(&mut self, xml: &[u8]) {
        self.out.extend_from_slice(xml);
    }

    /// Text, escaped.
    #[inline]
    pub fn text(&mut self, text: &str) {
        escape(&mut self.out, text, false);
    }

    /// Text that is known to hold nothing that needs escaping: digits, dates, encoded paths.
    #[inline]
    pub fn plain(&mut self, text: &[u8]) {
        debug_assert!(!text.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&')), "this is not plain");
        self.out.extend_from_slice(text);
    }

    /// A number in decimal digits.
    #[inline]
    pub fn number(&mut self, number: u64) {
        self.padded_number(number, 1);
    }

    /// A number in decimal digits, with zeros before it where it has fewer than `digits_min`.
    pub fn padded_number(&mut self, mut number: u64, digits_min: usize) {
        let mut digits = [b'0'; DECIMAL_DIGITS_MAX];
        let mut count = 0;
        for pair in digits.rchunks_exact_mut(2) {
            let low = usize::try_from(number % 100).unwrap_or_default();
            pair.copy_from_slice(PAIRS.get(low).unwrap_or(b"00"));
            number /= 100;
            // Of the highest pair the first digit may be a zero.
            count += if number == 0 && low < 10 { 1 } else { 2 };
            if number == 0 {
                break;
            }
        }
        let count = count.max(digits_min).min(digits.len());
        self.out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
    }

    /// A number in hexadecimal digits.
    pub fn hexadecimal(&mut self, mut number: u64) {
        let mut digits = [b'0'; 16];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = *HEX.get(usize::try_from(number & 15).unwrap_or_default()).unwrap_or(&b'0');
            number >>= 4;
            count += 1;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
    }

    /// `<open>text</close>`; the tags are constants.
    pub fn leaf(&mut self, open: &'static str, text: &str, close: &'static str) {
        self.markup(open);
        self.text(text);
        self.markup(close);
    }

    /// `<local xmlns="…"`, with the declaration only where `inherited` is another namespace. Attributes may follow.
    pub fn open_named(&mut self, name: &PropertyName, inherited: Option<&str>) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.local.as_bytes());
        if inherited != Some(&*name.namespace) {
            self.attribute("", "xmlns", &name.namespace);
        }
    }

    /// An attribute of the element that was just opened.
    pub fn attribute(&mut self, prefix: &str, name: &str, value: &str) {
        self.out.push(b' ');
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"=\"");
        escape(&mut self.out, value, true);
        self.out.push(b'"');
    }

    /// Ends a start tag.
    pub fn end_open(&mut self) {
        self.out.push(b'>');
    }

    /// Ends the tag of an empty element.
    pub fn end_empty(&mut self) {
        self.out.extend_from_slice(b"/>");
    }

    /// `</local>`.
    pub fn close_local(&mut self, local: &str) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(local.as_bytes());
        self.out.push(b'>');
    }

    /// `<local xmlns="…"/>`.
    pub fn empty_named(&mut self, name: &PropertyName) {
        self.open_named(name, None);
        self.end_empty();
    }

    /// Everything written, leaving an empty buffer with room for `bytes` more.
    pub fn take(&mut self, bytes: usize) -> Bytes {
        Bytes::from(std::mem::replace(&mut self.out, Vec::with_capacity(bytes)))
    }

    /// Everything written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Everything written, as text.
    pub fn into_string(self) -> String {
        String::from_utf8(self.out).unwrap_or_default()
    }
}

/// Bytes that cannot stand as they are, or may begin something that cannot. A table, since a listing asks for every byte of every name.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut rest: &mut [bool] = &mut special;
    let mut byte = 0_u8;
    while let Some((slot, more)) = rest.split_first_mut() {
        *slot = matches!(byte, b'<' | b'>' | b'&' | b'"' | 0..=31 | 0xef);
        byte = byte.wrapping_add(1);
        rest = more;
    }
    special
};

/// Escapes a text. Characters that XML 1.0 cannot carry at all become U+FFFD: names of files may hold them.
fn escape(out: &mut Vec<u8>, text: &str, attribute: bool) {
    let mut rest = text.as_bytes();
    loop {
        let special = |byte: &u8| SPECIAL.get(usize::from(*byte)) == Some(&true);
        let Some(at) = rest.iter().position(special) else {
            out.extend_from_slice(rest);
            return;
        };
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, mut after)) = tail.split_first() else { return };
        let replacement: &[u8] = match byte {
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'&' => b"&amp;",
            b'"' => b"&quot;",
            b'\r' => b"&#13;",
            b'\n' if attribute => b"&#10;",
            b'\t' if attribute => b"&#9;",
            b'\n' => b"\n",
            b'\t' => b"\t",
            0xef => match after.split_at_checked(2) {
                // U+FFFE and U+FFFF.
                Some(([0xbf, 0xbe | 0xbf], rest)) => {
                    after = rest;
                    "\u{fffd}".as_bytes()
                }
                Some(_) | None => &[0xef],
            },
            _ => "\u{fffd}".as_bytes(),
        };
        out.extend_from_slice(replacement);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_texts_are_escaped() {
        let mut writer = Writer::new();
        writer.text("a<b>&\"c\r\n\u{1}é\u{fffe}\u{ff21}\u{ffff}");
        assert_eq!(writer.into_string(), "a&lt;b&gt;&amp;&quot;c&#13;\n\u{fffd}é\u{fffd}\u{ff21}\u{fffd}");
    }

    #[test]
    fn numbers_need_no_formatter() {
        for number in [0, 7, 10, 99, 100, 255, 4096, 10_000_000, 123_456_789, u64::MAX] {
            let mut writer = Writer::new();
            writer.number(number);
            writer.markup(" ");
            writer.padded_number(number, 8);
            writer.markup(" ");
            writer.hexadecimal(number);
            assert_eq!(writer.into_string(), format!("{number} {number:08} {number:x}"));
        }
    }
}
