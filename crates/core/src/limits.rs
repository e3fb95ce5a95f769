//! Limits of what a user may say, fixed by the protocol, and the texts that keep to them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest text of a message, in characters (Unicode scalar values).
pub const TEXT_CHARS_MAX: usize = 4_096;
/// Longest name of a room or a user, in characters.
pub const NAME_CHARS_MAX: usize = 80;
/// Longest topic of a room, in characters.
pub const TOPIC_CHARS_MAX: usize = 256;
/// Largest image, in bytes of the picture itself, before base64.
pub const IMAGE_BYTES_MAX: usize = 256 * 1_024;
/// Longest image as a data URL, in bytes: the picture in base64 and its prefix.
pub const IMAGE_URL_BYTES_MAX: usize = IMAGE_BYTES_MAX.div_ceil(3) * 4 + 32;
/// How many entries back a repeat is looked for, when the client does not say what it had seen.
pub const REPEAT_WINDOW: u64 = 10_000;
/// Most entries and days that a room may be told to keep: what is more is all.
pub const RETENTION_ENTRIES_MAX: u64 = 1_000_000_000_000;
/// See [`RETENTION_ENTRIES_MAX`].
pub const RETENTION_DAYS_MAX: u32 = 36_500;

const IMAGE_TYPES: [&str; 4] = ["png", "jpeg", "gif", "webp"];

/// Why a text is not taken. `field` is the name of the field on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Nothing but white space.
    #[error("{field} must not be empty")]
    Empty {
        /// Name of the field.
        field: &'static str,
    },
    /// Longer than its limit.
    #[error("{field} is longer than {max} {unit}")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// The limit.
        max: usize,
        /// What the limit counts.
        unit: &'static str,
    },
    /// A control character in a one-line text.
    #[error("{field} must not have control characters")]
    Control {
        /// Name of the field.
        field: &'static str,
    },
    /// Not a data URL of an image that we take.
    #[error("image must be a base64 data URL of a png, jpeg, gif or webp")]
    NotAnImage,
}

impl BadText {
    /// The field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty { field } | Self::TooLong { field, .. } | Self::Control { field } => field,
            Self::NotAnImage => "image",
        }
    }
}

fn check_chars(field: &'static str, text: &str, max: usize) -> Result<(), BadText> {
    // A text of at most `max` bytes has at most `max` characters: most texts need no count.
    match text.len() > max && text.chars().count() > max {
        true => Err(BadText::TooLong { field, max, unit: "characters" }),
        false => Ok(()),
    }
}

/// Checks a name of a room or a user: 1 to 80 characters on one line, white space around it taken off.
pub fn check_name(text: &str) -> Result<Arc<str>, BadText> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BadText::Empty { field: "name" });
    }
    check_chars("name", text, NAME_CHARS_MAX)?;
    match text.chars().any(char::is_control) {
        true => Err(BadText::Control { field: "name" }),
        false => Ok(text.into()),
    }
}

/// Checks a room's topic: up to 256 characters on one line; empty is no topic.
pub fn check_topic(text: &str) -> Result<Arc<str>, BadText> {
    let text = text.trim();
    check_chars("topic", text, TOPIC_CHARS_MAX)?;
    match text.chars().any(char::is_control) {
        true => Err(BadText::Control { field: "topic" }),
        false => Ok(text.into()),
    }
}

/// What a message says. Made by [`Content::text`] or [`Content::image`], so that one that exists is within its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// A text that is one http or https address and nothing else.
    Link(String),
    /// A picture, as a data URL.
    Image(String),
}

impl Content {
    /// A text of 1 to 4,096 characters, not all white space; a link if it is one web address.
    pub fn text(text: String) -> Result<Self, BadText> {
        if text.trim().is_empty() {
            return Err(BadText::Empty { field: "text" });
        }
        check_chars("text", &text, TEXT_CHARS_MAX)?;
        Ok(if is_link(&text) { Self::Link(text) } else { Self::Text(text) })
    }

    /// A picture as a data URL, or in plain base64: of which type it is, its first bytes say. Line breaks, which many encoders
    /// make, are taken out.
    pub fn picture(text: String) -> Result<Self, BadText> {
        if text.starts_with("data:") {
            return Self::image(text);
        }
        let digits: String = text.split_ascii_whitespace().collect();
        // The signatures in base64, as far as they fill whole digits.
        let kind = match digits.as_bytes() {
            [b'i', b'V', b'B', b'O', b'R', ..] => "png",
            [b'/', b'9', b'j', b'/', ..] => "jpeg",
            [b'R', b'0', b'l', b'G', b'O', b'D', ..] => "gif",
            [b'U', b'k', b'l', b'G', b'R', _, _, _, _, _, _, _, b'R', b'U', b'J', b'Q', ..] => "webp",
            _ => return Err(BadText::NotAnImage),
        };
        Self::image(format!("data:image/{kind};base64,{digits}"))
    }

    /// A data URL of a png, jpeg, gif or webp of up to 256 KiB.
    pub fn image(url: String) -> Result<Self, BadText> {
        if url.len() > IMAGE_URL_BYTES_MAX {
            return Err(BadText::TooLong { field: "image", max: IMAGE_BYTES_MAX, unit: "bytes" });
        }
        let body = url
            .strip_prefix("data:image/")
            .and_then(|rest| rest.split_once(";base64,"))
            .filter(|(kind, _)| IMAGE_TYPES.contains(kind))
            .map(|(_, body)| body.as_bytes())
            .ok_or(BadText::NotAnImage)?;
        let padding = body.iter().rev().take_while(|b| **b == b'=').count();
        let digits = &body[..body.len() - padding];
        let well_formed = !digits.is_empty()
            && body.len() % 4 == 0
            && padding <= 2
            && digits.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/');
        match well_formed {
            true if body.len() / 4 * 3 - padding > IMAGE_BYTES_MAX => {
                Err(BadText::TooLong { field: "image", max: IMAGE_BYTES_MAX, unit: "bytes" })
            }
            true => Ok(Self::Image(url)),
            false => Err(BadText::NotAnImage),
        }
    }
}

/// What a bot says: a text of 1 to 4,096 characters. It may be a complaint, such as how a command is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotText {
    text: String,
    is_complaint: bool,
}

impl BotText {
    /// Takes the text if it is within its limits.
    pub fn new(text: String, is_complaint: bool) -> Result<Self, BadText> {
        if text.trim().is_empty() {
            return Err(BadText::Empty { field: "message" });
        }
        check_chars("message", &text, TEXT_CHARS_MAX)?;
        Ok(Self { text, is_complaint })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it says what was wrong with a command.
    pub fn is_complaint(&self) -> bool {
        self.is_complaint
    }
}

fn is_link(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    ["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && rest.starts_with(|c: char| c.is_alphanumeric() || c == '[')
        && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_in_characters() {
        assert!(Content::text("😀".repeat(TEXT_CHARS_MAX)).is_ok());
        assert!(matches!(Content::text("a".repeat(TEXT_CHARS_MAX + 1)), Err(BadText::TooLong { .. })));
        assert!(matches!(Content::text(" \n ".into()), Err(BadText::Empty { .. })));
    }

    #[test]
    fn one_web_address_alone_is_a_link() {
        for text in ["https://example.org/a?b#c", "HTTP://[::1]/", "Https://example.org"] {
            assert!(matches!(Content::text(text.into()), Ok(Content::Link(_))), "{text}");
        }
        for text in ["see https://example.org", "https://", "javascript:alert(1)", "https://a b"] {
            assert!(matches!(Content::text(text.into()), Ok(Content::Text(_))), "{text}");
        }
    }

    #[test]
    fn an_image_is_a_base64_data_url_of_a_known_type() {
        assert!(Content::image("data:image/png;base64,iVBORw==".into()).is_ok());
        for bad in [
            "data:image/svg+xml;base64,AAAA",
            "data:image/png;base64,",
            "data:image/png;base64,AAA",
            "data:image/png;base64,A A=",
            "data:image/png;base64,====",
            "https://example.org/a.png",
        ] {
            assert_eq!(Content::image(bad.into()), Err(BadText::NotAnImage), "{bad}");
        }
        for (last, is_taken) in [("AA==", true), ("AAA=", false), (&*"A".repeat(IMAGE_URL_BYTES_MAX), false)]
        {
            let image = format!("data:image/webp;base64,{}{last}", "A".repeat(IMAGE_BYTES_MAX / 3 * 4));
            let too_long =
                matches!(Content::image(image), Err(BadText::TooLong { max: IMAGE_BYTES_MAX, .. }));
            assert_eq!(too_long, !is_taken, "{}", last.len());
        }
    }

    #[test]
    fn plain_base64_says_of_which_type_it_is() {
        for (base64, kind) in [
            ("iVBO\nRw0K", "png"),
            ("/9j/4AAQ", "jpeg"),
            ("R0lGODlhAQABAAAAACw=", "gif"),
            ("UklGRiQAAABXRUJQVlA4IBgA", "webp"),
        ] {
            let digits = base64.replace('\n', "");
            let expected = Content::Image(format!("data:image/{kind};base64,{digits}"));
            assert_eq!(Content::picture(base64.into()), Ok(expected));
        }
        for bad in ["", "UklGRiQAAABXQVZFZm10IBAA", "PHN2Zz4=", "data:image/svg+xml;base64,AAAA"] {
            assert_eq!(Content::picture(bad.into()), Err(BadText::NotAnImage), "{bad}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(check_name("  the lobby ").as_deref(), Ok("the lobby"));
        assert_eq!(check_name("a\u{7}b"), Err(BadText::Control { field: "name" }));
        assert!(check_topic("").is_ok());
    }
}
