//! The file of settings: TOML, a key a setting, no sections.

use std::path::{Path, PathBuf};

use toml::Value;

use super::nearest::nearest;
use super::{ConfigError, Setting};

/// The values of a file, by field.
#[derive(Debug)]
pub(super) struct File {
    pub path: PathBuf,
    values: Vec<(&'static str, String)>,
}

impl File {
    /// Reads a file. Every key in it has to be one of the table.
    pub fn read(path: &Path, table: &[Setting]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.into(),
            what: format!("can't be read: {error}"),
        })?;
        Self::parse(path, &text, table)
    }

    pub fn parse(path: &Path, text: &str, table: &[Setting]) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError::File { path: path.into(), what };
        let entries: toml::Table = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            wrong(format!("line {line}: not TOML: {}", error.message().replace('\n', ", ")))
        })?;
        let mut values = Vec::with_capacity(entries.len());
        for (key, value) in &entries {
            let Some(setting) = table.iter().find(|setting| setting.key() == *key) else {
                let keys: Vec<_> = table.iter().map(Setting::key).collect();
                let nearest = nearest(key, keys.iter().map(String::as_str)).map(String::from);
                return Err(ConfigError::UnknownKey { path: path.into(), key: key.clone(), nearest });
            };
            let text = text_of(value).ok_or_else(|| {
                wrong(format!("key {key}: must be a text, a number, true, false, or a list of texts"))
            })?;
            values.push((setting.field, text));
        }
        Ok(Self { path: path.into(), values })
    }

    /// The text of a setting, if the file has it.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| *name == field).map(|(_, text)| text.as_str())
    }
}

/// A value as it would be written on the command line; a list is joined by commas.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(on) => Some(on.to_string()),
        Value::Array(items) => {
            items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}
