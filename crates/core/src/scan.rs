//! Looking through a text for bytes that it hardly ever has.

/// Whether some byte is one of those. All are looked at, so that it is many at a time: for a short text in which mostly there is none
/// that is a fraction of what stopping at the first would cost.
pub fn any(text: &str, is_one: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |any, byte| any | is_one(byte))
}
