//! What several targets ask of a text.

use palisade::Error;

/// An error is one line without control characters, its hint too: what it quotes was cleaned.
///
/// # Panics
/// Where it is not.
pub fn assert_clean(error: &Error) {
    for text in std::iter::once(&error.message).chain(&error.hint) {
        assert!(!text.chars().any(char::is_control), "a control character in {text:?}");
        assert!(!text.chars().any(hides), "a bidi or tag character in {text:?}");
    }
}

/// Bidi and tag characters, which show a text as another than it is. Written out here, so that the cleaner is not compared
/// with itself.
#[must_use]
pub fn hides(c: char) -> bool {
    let bidi = ['\u{061c}', '\u{200e}', '\u{200f}'].contains(&c) || ('\u{202a}'..='\u{202e}').contains(&c);
    bidi || ('\u{2066}'..='\u{2069}').contains(&c) || ('\u{e0000}'..='\u{e007f}').contains(&c)
}
