//! From bytes to text, in whatever encoding they are.
//!
//! Unicode is recognised by its byte order mark or by being valid UTF-8. Other encodings are guessed by
//! `chardetng`, as Firefox does; Western text is `windows-1252` there.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};

use crate::{Error, Foreign, Note};

/// Of text, at most one character in so many is a control character.
const CHARS_PER_CONTROL: usize = 50;
/// Invalid places in UTF-8 are damage, and not another encoding, if there are so many times as many
/// valid characters beyond ASCII.
const VALID_PER_INVALID: usize = 4;

/// Decodes text. `declared` is the encoding that the document states, which UTF-8 and byte order marks
/// outrank.
///
/// # Errors
/// [`Error::Unsupported`] if the bytes are not text.
pub(crate) fn text(
    bytes: Vec<u8>,
    declared: Option<&'static Encoding>,
    notes: &mut Vec<Note>,
) -> Result<String, Error> {
    if let Some((encoding, bom_len)) = Encoding::for_bom(&bytes) {
        return checked(decode(encoding, &bytes[bom_len..], notes));
    }
    if bytes.contains(&0) {
        return Err(Error::Unsupported { what: Foreign::Binary });
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return checked(text),
        Err(error) => error.into_bytes(),
    };
    if is_damaged_utf8(&bytes) {
        return checked(decode(UTF_8, &bytes, notes));
    }
    if let Some(encoding) = declared {
        return checked(decode(encoding, &bytes, notes));
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&bytes, true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    let text = checked(decode(encoding, &bytes, notes))?;
    notes.push(Note::GuessedEncoding { encoding: encoding.name() });
    Ok(text)
}

fn decode(encoding: &'static Encoding, bytes: &[u8], notes: &mut Vec<Note>) -> String {
    let (text, has_errors) = encoding.decode_without_bom_handling(bytes);
    if has_errors {
        // The text may have the character itself, too; then the number is an upper bound.
        let n_places = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
        notes.push(Note::InvalidBytes { n_places });
    }
    text.into_owned()
}

/// Whether the bytes are UTF-8 in which some places are broken.
fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (mut n_valid, mut n_invalid) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        n_valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        n_invalid += usize::from(!chunk.invalid().is_empty());
    }
    n_valid > n_invalid.saturating_mul(VALID_PER_INVALID)
}

/// Refuses what decodes but is no text.
fn checked(text: String) -> Result<String, Error> {
    let is_unusual = |c: &char| {
        c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{1b}' | '\u{85}')
    };
    let n_controls = text.chars().filter(is_unusual).count();
    if n_controls > 1 + text.len() / CHARS_PER_CONTROL {
        return Err(Error::Unsupported { what: Foreign::Binary });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, WINDOWS_1251, WINDOWS_1252};

    use super::*;

    fn decoded(bytes: &[u8]) -> (String, Vec<Note>) {
        let mut notes = Vec::new();
        (text(bytes.to_vec(), None, &mut notes).unwrap(), notes)
    }

    #[test]
    fn unicode_needs_no_note() {
        let utf16 = |to_bytes: fn(u16) -> [u8; 2], bom: [u8; 2]| -> Vec<u8> {
            bom.into_iter().chain("Größe 🦙".encode_utf16().flat_map(to_bytes)).collect()
        };
        for bytes in [
            "Größe 🦙".as_bytes().to_vec(),
            [b"\xef\xbb\xbf", "Größe 🦙".as_bytes()].concat(),
            utf16(u16::to_le_bytes, [0xff, 0xfe]),
            utf16(u16::to_be_bytes, [0xfe, 0xff]),
        ] {
            assert_eq!(decoded(&bytes), ("Größe 🦙".to_owned(), vec![]));
        }
    }

    #[test]
    fn other_encodings_are_guessed_and_noted() {
        for (encoding, plain) in [
            (WINDOWS_1252, "Die Größe der Äpfel – „schön“ für 5 €, Maß für Maß."),
            (WINDOWS_1251, "Все счастливые семьи похожи друг на друга."),
            (SHIFT_JIS, "吾輩は猫である。名前はまだ無い。どこで生れたか見当がつかぬ。"),
        ] {
            let (bytes, _, _) = encoding.encode(plain);
            let note = Note::GuessedEncoding { encoding: encoding.name() };
            assert_eq!(decoded(&bytes), (plain.to_owned(), vec![note]));
        }
    }

    #[test]
    fn damaged_utf8_stays_utf8() {
        let mut bytes = "äöü ßéè 漢字".as_bytes().to_vec();
        bytes.push(0xff);
        let (plain, notes) = decoded(&bytes);
        assert_eq!(plain, "äöü ßéè 漢字\u{fffd}");
        assert_eq!(notes, [Note::InvalidBytes { n_places: 1 }]);
    }

    #[test]
    fn binary_data_is_no_text() {
        let mut notes = Vec::new();
        for bytes in [&b"a\0b"[..], &[1, 2, 3, 4, 5, 6, 7, 8], b"\xff\xfe\x00\x00\x01\x00\x02\x00"]
        {
            let error = text(bytes.to_vec(), None, &mut notes).unwrap_err();
            assert!(matches!(error, Error::Unsupported { what: Foreign::Binary }), "{error}");
        }
    }
}
