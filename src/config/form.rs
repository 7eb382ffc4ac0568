//! How the value of a key is written, and which field it goes to.
//!
//! A form checks one value by itself; what two values mean together is settled in
//! [`draft`](super::draft). The forms of all keys stand in the table of [`keys`](super::keys).

use super::draft::Draft;
use super::keys::Spelling;
use super::settings::Setting;

/// The shape of a value and its destination.
pub(super) enum Form {
    /// A whole number in a closed range.
    Int { min: i64, max: i64, set: fn(&mut Draft, i64) -> Option<()> },
    /// A decimal number in a closed range.
    Real { min: f64, max: f64, set: fn(&mut Draft, f64) },
    /// `true` or `false` in any case. In a key of the file anything else is an error, in a system
    /// property it is `false`.
    Flag(fn(&mut Draft, bool)),
    /// Exactly `word` for yes, anything else for no.
    Word { word: &'static str, set: fn(&mut Draft, bool) },
    /// A Java class; those listed ask for nothing that Rookeeper lacks.
    Class(&'static [&'static str], fn(&mut Draft, &str)),
    /// Anything else.
    Text(fn(&mut Draft, &Setting) -> Result<(), Complaint>),
}

/// What is wrong with a value, in two halves of a sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Complaint {
    /// Follows `key=value`.
    pub(super) problem: String,
    /// Follows "write".
    pub(super) expected: String,
}

impl Complaint {
    /// A complaint from its two halves.
    pub(super) fn new(problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { problem: problem.into(), expected: expected.into() }
    }
}

impl From<(String, String)> for Complaint {
    fn from((problem, expected): (String, String)) -> Self {
        Self { problem, expected }
    }
}

impl Form {
    /// Reads `setting` into `draft`; a returned remark is worth a warning.
    ///
    /// # Errors
    ///
    /// The value does not have this form.
    pub(super) fn read(
        &self,
        draft: &mut Draft,
        setting: &Setting,
    ) -> Result<Option<String>, Complaint> {
        let value = setting.value.as_str();
        match self {
            Form::Int { min, max, set } => {
                let number = whole_number(value, setting.key.spelling);
                let in_range = number.filter(|number| (*min..=*max).contains(number));
                let problem = if number.is_some() { OUT_OF_RANGE } else { NOT_WHOLE };
                in_range.and_then(|number| set(draft, number)).ok_or_else(|| {
                    Complaint::new(problem, format!("a whole number from {min} to {max}"))
                })?;
            }
            Form::Real { min, max, set } => {
                let number = value.parse().ok().filter(|number| (*min..=*max).contains(number));
                let number = number.ok_or_else(|| {
                    Complaint::new(NOT_REAL, format!("a number from {min} to {max}"))
                })?;
                set(draft, number);
            }
            Form::Flag(set) => {
                return read_flag(setting).map(|(flag, remark)| {
                    set(draft, flag);
                    remark
                });
            }
            Form::Word { word, set } => {
                set(draft, value == *word);
                let unclear = value != *word && !value.eq_ignore_ascii_case("no");
                return Ok(
                    unclear.then(|| format!("is read as no; write {word:?} to switch it on"))
                );
            }
            Form::Class(_, set) => set(draft, value),
            Form::Text(set) => set(draft, setting)?,
        }
        Ok(None)
    }
}

const NOT_WHOLE: &str = "is not a whole number";
const OUT_OF_RANGE: &str = "is out of range";
const NOT_REAL: &str = "is not a number in the range";

/// Reads `true` or `false`.
///
/// Source: ZooKeeper, `QuorumPeerConfig.parseBoolean`; Java, `Boolean.parseBoolean`.
fn read_flag(setting: &Setting) -> Result<(bool, Option<String>), Complaint> {
    let value = setting.value.as_str();
    let is_true = value.eq_ignore_ascii_case("true");
    if is_true || value.eq_ignore_ascii_case("false") {
        return Ok((is_true, None));
    }
    match setting.key.spelling {
        Spelling::File => Err(Complaint::new("is neither true nor false", "true or false")),
        Spelling::Property | Spelling::BareProperty => {
            let remark = "is read as false, as ZooKeeper reads it; write true or false";
            Ok((false, Some(remark.to_owned())))
        }
    }
}

/// Reads a decimal number; a system property may also be hexadecimal (`0x` or `#`).
///
/// A property with a leading zero is refused: Java reads it as octal in some keys only.
///
/// Source: Java, `Integer.parseInt` and `Integer.decode`.
fn whole_number(text: &str, spelling: Spelling) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match spelling {
        Spelling::File => (digits, 10),
        Spelling::Property | Spelling::BareProperty => {
            let hex = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
            hex.map_or((digits, 10), |hex| (hex, 16))
        }
    };
    let octal =
        radix == 10 && spelling != Spelling::File && digits.len() > 1 && digits.starts_with('0');
    if octal || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok().map(|magnitude| sign * magnitude)
}

/// Stores `value`, or nothing if the field is too narrow for it.
pub(super) fn put<T: TryFrom<i64>>(slot: &mut T, value: i64) -> Option<()> {
    *slot = T::try_from(value).ok()?;
    Some(())
}

/// Stores `value` if it is at least `least`, else `None`: the key's way to say "off".
pub(super) fn put_from<T: TryFrom<i64>>(
    slot: &mut Option<T>,
    least: i64,
    value: i64,
) -> Option<()> {
    *slot = if least <= value { Some(T::try_from(value).ok()?) } else { None };
    Some(())
}
