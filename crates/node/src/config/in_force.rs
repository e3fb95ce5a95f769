//! What is in force, setting by setting, and where each value came from.

use std::fmt;

use super::kinds::Kind;
use super::{ConfigError, Setting, Source};

/// The text of every setting, with its source. Shows no secret: neither by `Display`, nor by `Debug`, nor as JSON.
pub struct InForce {
    values: Vec<(&'static Setting, String, Source)>,
}

impl InForce {
    pub(super) fn new(values: Vec<(&'static Setting, String, Source)>) -> Self {
        Self { values }
    }

    /// Reads a field by its kind. Called by what [`settings!`](crate::settings) makes.
    ///
    /// # Panics
    /// If the field is not in the table that this was made from.
    #[doc(hidden)]
    pub fn read<K: Kind>(&self, field: &str, kind: &K) -> Result<K::Value, ConfigError> {
        let (setting, text, source) = self
            .values
            .iter()
            .find(|(setting, ..)| setting.field == field)
            .expect("the macro makes the field and its row together");
        kind.parse(text).ok_or_else(|| ConfigError::WrongValue {
            setting: setting.key(),
            source_of_it: source.clone(),
            shown: setting.shown(text),
            allowed: kind.allowed(),
        })
    }

    /// A list of `{key, group, value, source}`, for `config --json`. A value is the text that was given.
    pub fn to_json(&self) -> serde_json::Value {
        let row = |(setting, text, source): &(&Setting, String, Source)| {
            serde_json::json!({
                "key": setting.key(),
                "group": setting.group,
                "value": setting.shown(text),
                "source": source.to_string(),
            })
        };
        self.values.iter().map(row).collect()
    }
}

/// A block a group; a line a setting: key, value, source.
impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> =
            self.values.iter().map(|(s, text, source)| (s.group, s.key(), s.shown(text), source)).collect();
        let key_width = rows.iter().map(|row| row.1.len()).max().unwrap_or(0);
        let value_width = rows.iter().map(|row| row.2.chars().count().min(40)).max().unwrap_or(0);
        let mut last_group = None;
        for (group, key, value, source) in &rows {
            if last_group != Some(group) {
                let gap = if last_group.is_some() { "\n" } else { "" };
                writeln!(f, "{gap}{group}")?;
                last_group = Some(group);
            }
            writeln!(f, "  {key:key_width$}  {value:value_width$}  {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.values.iter().map(|(s, text, _)| (s.field, s.shown(text)))).finish()
    }
}
