//! The table of settings, and the macro that makes a typed struct of it.

use super::kinds::Check;
use super::{ConfigError, InForce};

/// A row of the table: all there is to know about one setting except its type.
#[derive(Clone, Copy)]
pub struct Setting {
    /// The field of the struct.
    pub field: &'static str,
    /// The heading under which `--help` and `config` show it.
    pub group: &'static str,
    /// What it is for, in a line.
    pub help: &'static str,
    /// Its names in the environment, the preferred one first.
    pub env: &'static [&'static str],
    /// The value when nothing says otherwise, as it would be written in the file.
    pub default: &'static str,
    /// What values it takes.
    pub kind: &'static dyn Check,
}

impl Setting {
    /// The name in the file, and of the flag after its two dashes.
    pub fn key(&self) -> String {
        self.field.replace('_', "-")
    }

    /// A value as it may be shown: a secret is not, nor is the password within an address.
    pub fn shown(&self, value: &str) -> String {
        match value {
            "" => "(none)".into(),
            _ if self.kind.secret() => "(secret)".into(),
            _ => without_secrets(value),
        }
    }
}

/// `amqp://user:pass@host/v?key=k` → `amqp://user:(secret)@host/v?(secret)`, wherever in the text an address stands: keys of services are
/// put into queries as well.
fn without_secrets(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (before, after) = rest.split_at(start);
        shown.push_str(before);
        // A password may hold any character except those that end the authority, so the last @ before them counts.
        let end = after.find(['/', '?', '#', ',', ' ']).unwrap_or(after.len());
        let (authority, mut tail) = after.split_at(end);
        match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
            Some((Some((user, _)), host)) => shown.push_str(&format!("{user}:(secret)@{host}")),
            _ => shown.push_str(authority),
        }
        let query = tail.find('?').filter(|at| !tail[..*at].contains([',', ' ']));
        if let Some(query) = query {
            shown.push_str(&tail[..query]);
            shown.push_str("?(secret)");
            tail = &tail[query..];
            tail = &tail[tail.find([',', ' ']).unwrap_or(tail.len())..];
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

/// A struct that [`settings!`](crate::settings) made.
pub trait FromTable: Sized {
    /// A row for each field, in the order in which they are shown.
    const TABLE: &'static [Setting];

    /// Reads each field from the text that is in force for it.
    fn from_values(values: &InForce) -> Result<Self, ConfigError>;
}

/// Makes a struct of settings together with their table. See [`config`](crate::config) for an example.
///
/// A field is `name: type = kind, env [names], default "text";` under a doc comment of one line that becomes its help. The kind, one of
/// [`kinds`](crate::config::kinds) or your own, says what may be written, and its `Value` is the type.
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($group:literal => {
                $($(#[doc = $help:literal])+ $field:ident: $type:ty = $kind:expr, env [$($env:literal),*], default $default:literal;)*
            })*
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($($(#[doc = $help])+ pub $field: $type,)*)*
        }

        impl $crate::config::FromTable for $name {
            const TABLE: &'static [$crate::config::Setting] = &[$($($crate::config::Setting {
                field: stringify!($field),
                group: $group,
                help: concat!($($help),+),
                env: &[$($env),*],
                default: $default,
                kind: &$kind,
            },)*)*];

            fn from_values(
                values: &$crate::config::InForce,
            ) -> ::std::result::Result<Self, $crate::config::ConfigError> {
                ::std::result::Result::Ok(Self { $($($field: values.read(stringify!($field), &$kind)?,)*)* })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (value, shown) in [
            ("amqp://guest:gu:e@st@127.0.0.1:5672/v", "amqp://guest:(secret)@127.0.0.1:5672/v"),
            ("nats://a:b@x,nats://c:d@y", "nats://a:(secret)@x,nats://c:(secret)@y"),
            ("http://h/{code}?apikey=top,http://i", "http://h/{code}?(secret),http://i"),
            ("http://h/a, is it?", "http://h/a, is it?"),
            ("https://example.org/a:b@c", "https://example.org/a:b@c"),
            ("nats://token@host", "nats://token@host"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(without_secrets(value), shown);
        }
    }
}
