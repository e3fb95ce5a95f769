//! Kinds of values: how each is written, and the sentence that says so.

use std::path::PathBuf;

mod amounts;
mod level;
mod net;

pub use amounts::{Bytes, Count, Ratio, Time};
pub use level::{LogFilter, LogLevels};
pub use net::{
    AllowedOrigins, Host, Hosts, IpAddress, Network, Networks, Origin, Origins, Port, Url, UrlWithQuery,
};

/// A kind of value.
pub trait Kind: Sync {
    /// What the text becomes.
    type Value;

    /// The value, if the text is one.
    fn parse(&self, text: &str) -> Option<Self::Value>;

    /// What is allowed, to follow "must be".
    fn allowed(&self) -> String;

    /// The word that stands for a value in `--help`.
    fn placeholder(&self) -> &'static str;

    /// Whether a value is never to be shown.
    fn secret(&self) -> bool {
        false
    }

    /// The value of a flag that is given without one, if that is allowed.
    fn bare(&self) -> Option<&'static str> {
        None
    }
}

/// A kind, whatever its values become: what the table needs of one.
pub trait Check: Sync {
    /// Whether the text is a value.
    fn is_allowed(&self, text: &str) -> bool;
    /// See [`Kind::placeholder`].
    fn placeholder(&self) -> &'static str;
    /// See [`Kind::secret`].
    fn secret(&self) -> bool;
    /// See [`Kind::bare`].
    fn bare(&self) -> Option<&'static str>;
}

impl<K: Kind> Check for K {
    fn is_allowed(&self, text: &str) -> bool {
        self.parse(text).is_some()
    }
    fn placeholder(&self) -> &'static str {
        Kind::placeholder(self)
    }
    fn secret(&self) -> bool {
        Kind::secret(self)
    }
    fn bare(&self) -> Option<&'static str> {
        Kind::bare(self)
    }
}

/// A value that may be left out: empty is `None`.
pub struct Optional<K>(pub K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        if text.is_empty() { Some(None) } else { self.0.parse(text).map(Some) }
    }
    fn allowed(&self) -> String {
        format!("empty or {}", self.0.allowed())
    }
    fn placeholder(&self) -> &'static str {
        self.0.placeholder()
    }
    fn secret(&self) -> bool {
        self.0.secret()
    }
}

/// `true` or `false`; a flag alone is `true`.
pub struct Bool;

impl Kind for Bool {
    type Value = bool;

    fn parse(&self, text: &str) -> Option<bool> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }
    fn allowed(&self) -> String {
        "true or false".into()
    }
    fn placeholder(&self) -> &'static str {
        "BOOL"
    }
    fn bare(&self) -> Option<&'static str> {
        Some("true")
    }
}

/// A text that is not empty.
pub struct Text;

impl Kind for Text {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (!text.trim().is_empty()).then(|| text.into())
    }
    fn allowed(&self) -> String {
        "a text that is not empty".into()
    }
    fn placeholder(&self) -> &'static str {
        "TEXT"
    }
}

/// The name of a queue: 1 to 255 bytes, which is AMQP's bound of short texts.
pub struct QueueName;

impl Kind for QueueName {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        ((1..=255).contains(&text.len()) && !text.contains('\0')).then(|| text.into())
    }
    fn allowed(&self) -> String {
        "the name of a queue, 1 to 255 bytes".into()
    }
    fn placeholder(&self) -> &'static str {
        "QUEUE"
    }
}

/// A name for use within other names: 1 to 48 letters, digits and `_`, the first a letter.
pub struct Token;

impl Kind for Token {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (begins && is_plain && text.len() <= 48).then(|| text.into())
    }
    fn allowed(&self) -> String {
        "1 to 48 letters, digits and _, the first a letter".into()
    }
    fn placeholder(&self) -> &'static str {
        "NAME"
    }
}

/// A password or key: not empty, never shown.
pub struct Secret;

impl Kind for Secret {
    type Value = hubbub_core::ports::accounts::Secret;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        (!text.is_empty()).then(|| hubbub_core::ports::accounts::Secret::new(text.into()))
    }
    fn allowed(&self) -> String {
        "a secret that is not empty".into()
    }
    fn placeholder(&self) -> &'static str {
        "SECRET"
    }
    fn secret(&self) -> bool {
        true
    }
}

/// A path of a file or a folder, which need not exist.
pub struct Path;

impl Kind for Path {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }
    fn allowed(&self) -> String {
        "a path".into()
    }
    fn placeholder(&self) -> &'static str {
        "PATH"
    }
}

/// One of a few words, each with what it stands for. Case does not matter.
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + Sync> Kind for OneOf<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }
    fn allowed(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }
    fn placeholder(&self) -> &'static str {
        "WORD"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_value_may_be_empty_but_not_wrong() {
        assert_eq!(Optional(Port).parse(""), Some(None));
        assert_eq!(Optional(Port).parse("80"), Some(Some(80)));
        assert_eq!(Optional(Port).parse("x"), None);
        assert!(Kind::secret(&Optional(Secret)));
        let long = "q".repeat(256);
        assert!(QueueName.parse(&long[1..]).is_some() && QueueName.parse(&long).is_none());
    }

    #[test]
    fn a_word_is_taken_in_any_case() {
        let kind = OneOf(&[("dev", 1), ("production", 2)]);
        assert_eq!(kind.parse("Production"), Some(2));
        assert_eq!(kind.parse("prod"), None);
        assert_eq!(kind.allowed(), "one of dev, production");
    }
}
