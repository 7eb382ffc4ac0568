//! The primitives of jute, all big-endian: how each is read (nom parsers) and written.
//!
//! Decoding never reserves more than the bytes at hand could fill. Text with malformed UTF-8 is
//! read with U+FFFD in place of what is malformed, as upstream does; path validation refuses it.

use bytes::{BufMut, Bytes, BytesMut};
use nom::IResult;
use nom::error::{ErrorKind, ParseError};
use nom::number::complete::{be_i32, be_i64, be_u8};

/// A string that may be null.
pub type Text = Option<String>;

/// Bytes that are no record of the expected kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed record: {kind:?} with {remaining} bytes left")]
pub struct Malformed {
    /// What kind of parser gave up.
    pub kind: ErrorKind,
    /// How many bytes were left when it did.
    pub remaining: usize,
}

impl ParseError<&[u8]> for Malformed {
    fn from_error_kind(input: &[u8], kind: ErrorKind) -> Malformed {
        Malformed { kind, remaining: input.len() }
    }

    fn append(_: &[u8], _: ErrorKind, other: Malformed) -> Malformed {
        other
    }
}

/// What a parser gives: the rest of the input and a value.
pub type Parsed<'a, T> = IResult<&'a [u8], T, Malformed>;

/// A value that can be read from a frame.
pub trait Decode: Sized {
    /// Reads a value off the front of `input`, which lies within `frame`; node data becomes a slice
    /// of `frame`, without a copy.
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Self>;
}

/// A value that can be written to a frame.
pub trait Encode {
    /// Appends the value to `out`.
    fn encode(&self, out: &mut BytesMut);
}

/// Reads a `T` off the front of `frame`; bytes after it are ignored, as upstream does.
///
/// # Errors
///
/// [`Malformed`]: the bytes end too early or hold an impossible length.
pub fn decode_all<T: Decode>(frame: &Bytes) -> Result<T, Malformed> {
    match T::decode(frame, frame) {
        Ok((_, value)) => Ok(value),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(error),
        Err(nom::Err::Incomplete(_)) => {
            Err(Malformed { kind: ErrorKind::Complete, remaining: frame.len() })
        }
    }
}

/// The error for a length that cannot be.
fn impossible<T>(input: &[u8], kind: ErrorKind) -> Parsed<'_, T> {
    Err(nom::Err::Error(Malformed { kind, remaining: input.len() }))
}

/// Reads a length and that many bytes; -1 is null, any other negative length is malformed.
fn counted(input: &[u8]) -> Parsed<'_, Option<&[u8]>> {
    let (input, length) = be_i32(input)?;
    if length == -1 {
        return Ok((input, None));
    }
    let Ok(length) = usize::try_from(length) else {
        return impossible(input, ErrorKind::LengthValue);
    };
    match input.split_at_checked(length) {
        Some((value, rest)) => Ok((rest, Some(value))),
        None => impossible(input, ErrorKind::Eof),
    }
}

/// Writes the length and the bytes.
fn put_counted(out: &mut BytesMut, value: &[u8]) {
    out.put_i32(value.len() as i32);
    out.put_slice(value);
}

impl Decode for i32 {
    fn decode<'a>(input: &'a [u8], _: &Bytes) -> Parsed<'a, i32> {
        be_i32(input)
    }
}

impl Encode for i32 {
    fn encode(&self, out: &mut BytesMut) {
        out.put_i32(*self);
    }
}

impl Decode for i64 {
    fn decode<'a>(input: &'a [u8], _: &Bytes) -> Parsed<'a, i64> {
        be_i64(input)
    }
}

impl Encode for i64 {
    fn encode(&self, out: &mut BytesMut) {
        out.put_i64(*self);
    }
}

impl Decode for bool {
    fn decode<'a>(input: &'a [u8], _: &Bytes) -> Parsed<'a, bool> {
        let (input, byte) = be_u8(input)?;
        Ok((input, byte != 0))
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
}

impl Decode for Text {
    fn decode<'a>(input: &'a [u8], _: &Bytes) -> Parsed<'a, Text> {
        let (input, bytes) = counted(input)?;
        Ok((input, bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())))
    }
}

impl Encode for Text {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(text) => put_counted(out, text.as_bytes()),
            None => out.put_i32(-1),
        }
    }
}

impl Encode for str {
    fn encode(&self, out: &mut BytesMut) {
        put_counted(out, self.as_bytes());
    }
}

impl Decode for Option<Bytes> {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Option<Bytes>> {
        let (input, bytes) = counted(input)?;
        Ok((input, bytes.map(|bytes| frame.slice_ref(bytes))))
    }
}

impl Encode for Option<Bytes> {
    fn encode(&self, out: &mut BytesMut) {
        self.as_deref().encode(out);
    }
}

impl Encode for Option<&[u8]> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(bytes) => put_counted(out, bytes),
            None => out.put_i32(-1),
        }
    }
}

/// A count of -1 is a null vector, any other negative count an empty one, as upstream reads them.
impl<T: Decode> Decode for Option<Vec<T>> {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Option<Vec<T>>> {
        let (mut input, count) = be_i32(input)?;
        if count == -1 {
            return Ok((input, None));
        }
        let count = usize::try_from(count).unwrap_or(0);
        // No element is shorter than four bytes, so a hostile count reserves no more than it sent.
        let mut elements = Vec::with_capacity(count.min(input.len() / 4));
        for _ in 0..count {
            let (rest, element) = T::decode(input, frame)?;
            elements.push(element);
            input = rest;
        }
        Ok((input, Some(elements)))
    }
}

impl<T: Encode> Encode for Option<Vec<T>> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(elements) => elements.encode(out),
            None => out.put_i32(-1),
        }
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut BytesMut) {
        out.put_i32(self.len() as i32);
        for element in self {
            element.encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<T: Decode>(bytes: &[u8]) -> Result<T, Malformed> {
        decode_all(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn null_and_empty_are_two_things() {
        assert_eq!(decode::<Text>(&[0xff; 4]), Ok(None));
        assert_eq!(decode::<Text>(&[0; 4]), Ok(Some(String::new())));
        assert_eq!(decode::<Option<Bytes>>(&[0xff; 4]), Ok(None));
        assert_eq!(decode::<Option<Bytes>>(&[0; 4]), Ok(Some(Bytes::new())));
    }

    #[test]
    fn a_negative_or_overlong_length_is_malformed() {
        assert!(decode::<Text>(&(-2_i32).to_be_bytes()).is_err());
        assert!(decode::<Text>(&i32::MAX.to_be_bytes()).is_err());
        assert!(decode::<Option<Bytes>>(&[0, 0, 0, 2, 1]).is_err());
    }

    #[test]
    fn a_hostile_count_reserves_nothing() {
        assert!(decode::<Option<Vec<i64>>>(&i32::MAX.to_be_bytes()).is_err());
    }

    #[test]
    fn a_negative_count_is_an_empty_vector_and_minus_one_is_null() {
        assert_eq!(decode::<Option<Vec<i32>>>(&(-5_i32).to_be_bytes()), Ok(Some(vec![])));
        assert_eq!(decode::<Option<Vec<i32>>>(&(-1_i32).to_be_bytes()), Ok(None));
    }

    #[test]
    fn any_byte_but_zero_is_true_and_malformed_text_is_replaced() {
        assert_eq!(decode::<bool>(&[7]), Ok(true));
        assert_eq!(decode::<Text>(&[0, 0, 0, 2, b'/', 0xff]), Ok(Some("/\u{fffd}".into())));
    }
}
