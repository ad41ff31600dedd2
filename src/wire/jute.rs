//! The jute primitives (`BinaryInputArchive`, `BinaryOutputArchive`): big-endian numbers, buffers and strings with an
//! int length where -1 is null, vectors with an int count where -1 is null.

use std::borrow::Cow;

/// Why bytes are not the record they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The record goes on past the end of the input.
    #[error("the record ends after {have} bytes, {need} more are needed at offset {at}")]
    Short {
        /// Offset of the field.
        at: usize,
        /// Bytes the field needs.
        need: usize,
        /// Length of the input.
        have: usize,
    },
    /// A length is negative (other than -1) or above the limit.
    #[error("unreasonable length {length} at offset {at}")]
    BadLength {
        /// Offset of the length.
        at: usize,
        /// The length found.
        length: i64,
    },
    /// A value is not among those the record allows.
    #[error("{what} {value} at offset {at} is not known")]
    BadValue {
        /// Offset of the value.
        at: usize,
        /// The field.
        what: &'static str,
        /// The value found.
        value: i64,
    },
    /// A field that must be there is null.
    #[error("{what} is null")]
    Null {
        /// The field.
        what: &'static str,
    },
    /// The path of a request is null; the rest of it can be read.
    #[error("the path is null")]
    NullPath,
}

/// Reads jute values from a slice, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    field_bytes_max: usize,
}

/// Text as Java reads it: malformed bytes become U+FFFD. A surrogate, three bytes that are well-formed but for their
/// meaning, becomes one of them in Java and three in Rust.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => malformed_text(bytes),
    }
}

fn malformed_text(bytes: &[u8]) -> Cow<'_, str> {
    let is_surrogate = |bytes: &[u8]| matches!(bytes, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
    if !(0..bytes.len()).any(|at| is_surrogate(&bytes[at..])) {
        return String::from_utf8_lossy(bytes);
    }
    let (mut sound, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some((first, others)) = rest.split_first() {
        if is_surrogate(rest) {
            sound.extend_from_slice("\u{fffd}".as_bytes());
            rest = &rest[3..];
        } else {
            sound.push(*first);
            rest = others;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&sound).into_owned())
}

impl<'a> Reader<'a> {
    /// A reader whose fields are limited by the input's own length only.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, field_bytes_max: i32::MAX as usize }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The unread rest.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next `need` bytes as they are.
    #[inline]
    pub fn take(&mut self, need: usize) -> Result<&'a [u8], DecodeError> {
        if self.remaining() < need {
            return Err(DecodeError::Short { at: self.at, need, have: self.bytes.len() });
        }
        let taken = &self.bytes[self.at..self.at + need];
        self.at += need;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take returns as many bytes as asked for"))
    }

    /// One byte; any but 0 is true.
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    /// 4 bytes.
    #[inline]
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// 8 bytes.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A buffer; None is jute's null.
    #[inline]
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let at = self.at;
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        if length < 0 || length as usize > self.field_bytes_max {
            return Err(DecodeError::BadLength { at, length: length as i64 });
        }
        self.take(length as usize).map(Some)
    }

    /// A string; None is jute's null. Malformed bytes become U+FFFD, as in Java.
    pub fn ustring(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(text))
    }

    /// A string that must not be null.
    pub fn string(&mut self, what: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        self.ustring()?.ok_or(DecodeError::Null { what })
    }

    /// A vector's count; None is jute's null. A negative count other than -1 reads as empty, as in Java.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = self.int()?;
        Ok(if count == -1 { None } else { Some(count.max(0) as usize) })
    }

    /// A vector of non-null strings; None is jute's null.
    pub fn strings(&mut self, what: &'static str) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
        let Some(count) = self.count()? else { return Ok(None) };
        let mut strings = Vec::with_capacity(count.min(self.remaining() / 4));
        for _ in 0..count {
            strings.push(self.string(what)?);
        }
        Ok(Some(strings))
    }
}

/// Appends jute values to a byte vector.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// One byte, 0 or 1.
    pub fn boolean(&mut self, value: bool) {
        self.out.push(value as u8);
    }

    /// 4 bytes.
    pub fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// 8 bytes.
    pub fn long(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// A buffer, null as length -1.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.int(bytes.len() as i32);
                self.raw(bytes);
            }
        }
    }

    /// A string. Java writes supplementary characters as two surrogates of three bytes each; so does this.
    pub fn string(&mut self, value: &str) {
        if value.bytes().all(|byte| byte < 0xf0) {
            return self.buffer(Some(value.as_bytes()));
        }
        let start = self.out.len();
        self.int(0);
        for unit in value.encode_utf16() {
            match unit {
                0..0x80 => self.out.push(unit as u8),
                0x80..0x800 => self.raw(&[0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
                _ => self.raw(&[
                    0xe0 | (unit >> 12) as u8,
                    0x80 | ((unit >> 6) & 0x3f) as u8,
                    0x80 | (unit & 0x3f) as u8,
                ]),
            }
        }
        let length = (self.out.len() - start - 4) as i32;
        self.out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// A string or null.
    pub fn ustring(&mut self, value: Option<&str>) {
        match value {
            None => self.int(-1),
            Some(value) => self.string(value),
        }
    }

    /// A vector of strings.
    pub fn strings<S: AsRef<str>>(&mut self, values: &[S]) {
        self.int(values.len() as i32);
        for value in values {
            self.string(value.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_text_reads_as_in_java() {
        assert_eq!(text(b"/a"), "/a");
        assert_eq!(text(b"/\xff\xc3("), "/\u{fffd}\u{fffd}(");
        assert_eq!(text(b"/\xed\xa0\x80x\xed\xbf\xbf"), "/\u{fffd}x\u{fffd}");
        assert_eq!(text(b"\xed\x9f\xbf\xed\xa0"), "\u{d7ff}\u{fffd}\u{fffd}");
    }

    #[test]
    fn null_and_empty_are_distinct() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.buffer(None);
        writer.buffer(Some(b""));
        writer.ustring(None);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b""[..])));
        assert_eq!(reader.ustring(), Ok(None));
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn lengths_beyond_the_input_are_errors_not_allocations() {
        assert!(matches!(Reader::new(&[0x7f, 0xff, 0xff, 0xff]).buffer(), Err(DecodeError::Short { .. })));
        assert!(matches!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).buffer(),
            Err(DecodeError::BadLength { .. })
        ));
        assert!(Reader::new(&[0x7f, 0xff, 0xff, 0xff]).strings("path").is_err());
    }
}
