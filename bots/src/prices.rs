//! What a share costs: from a table, or from a service that is asked each time.

use std::collections::HashMap;
use std::path::Path;

use crate::quotes::{QuoteError, Quotes};

/// Digits before and after the point: far more than any share costs.
const DIGITS_MAX: usize = 15;
const DECIMALS_MAX: usize = 8;

/// Where quotes are from.
#[derive(Debug)]
pub struct Prices(Source);

#[derive(Debug)]
enum Source {
    Table(HashMap<String, Price>),
    Service(Quotes),
}

/// Prices that can't be used. The text says what to mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadPrices(pub(crate) String);

impl Prices {
    /// The small table that comes with the bot.
    pub fn built_in() -> Self {
        // A test reads it, so that it can't be one that is not understood.
        Self(Source::Table(table(include_str!("../prices.csv")).unwrap_or_default()))
    }

    /// A table in a file: a line `CODE,PRICE` each; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// A file that can't be read, or the first line that is not understood.
    pub fn from_file(path: &Path) -> Result<Self, BadPrices> {
        let bad = |error: String| BadPrices(format!("the prices in {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        Ok(Self(Source::Table(table(&text).map_err(bad)?)))
    }

    /// A service that is asked at this http or https URL, in which `{code}` stands for the code. It answers CSV with a header,
    /// whose column `Close` counts, or JSON with a number `price`; 404, or `N/D` for a price, when it knows no such code.
    ///
    /// # Errors
    /// A URL that is none or has no `{code}` behind its host; https on a machine without certificate authorities.
    pub fn from_url(url: &str) -> Result<Self, BadPrices> {
        Ok(Self(Source::Service(Quotes::at(url)?)))
    }

    /// What a share costs, if it is known. The code is in upper case.
    pub(crate) async fn of(&self, code: &str) -> Result<Option<Price>, QuoteError> {
        match &self.0 {
            Source::Table(table) => Ok(table.get(code).cloned()),
            Source::Service(quotes) => quotes.of(code).await,
        }
    }
}

/// A price as it is shown: a decimal number with two decimals or more, never rounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price(String);

impl Price {
    /// Reads a decimal number such as `93`, `93.4` or `93.4200`.
    pub fn read(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, max| {
            (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        (digits(whole, DIGITS_MAX) && digits(decimals, DECIMALS_MAX)).then(|| {
            let decimals = decimals.trim_end_matches('0');
            Self(format!("{whole}.{decimals:0<2}"))
        })
    }
}

impl std::fmt::Display for Price {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn table(text: &str) -> Result<HashMap<String, Price>, String> {
    let mut table = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let row = line.split_once(',').and_then(|(code, price)| {
            let code = code.trim();
            (!code.is_empty()).then_some(code.to_ascii_uppercase()).zip(Price::read(price.trim()))
        });
        let (code, price) = row.ok_or_else(|| format!("line {} is not CODE,PRICE", number + 1))?;
        table.insert(code, price);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_shown_as_it_is_with_two_decimals_or_more() {
        for (text, shown) in [
            ("93.42", Some("93.42")),
            ("93", Some("93.00")),
            ("93.4", Some("93.40")),
            ("93.4200", Some("93.42")),
            ("0.0034", Some("0.0034")),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("1e3", None),
            ("N/D", None),
            ("1.2.3", None),
            ("1234567890123456", None),
            ("1.123456789", None),
        ] {
            assert_eq!(Price::read(text).map(|price| price.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn the_table_that_comes_with_the_bot_is_read() {
        assert_eq!(table(include_str!("../prices.csv")).unwrap()["AAPL.US"], Price("93.42".into()));
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for bad in ["A", "A,", ",1", "A,one", "A;1"] {
            let error = table(&format!("# prices\n\nB,2\n{bad}\n")).unwrap_err();
            assert_eq!(error, "line 4 is not CODE,PRICE", "{bad}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.csv");
        let error = Prices::from_file(&path).unwrap_err().to_string();
        assert!(error.starts_with("the prices in ") && error.contains("prices.csv"), "{error}");
        std::fs::write(&path, "b , 2").unwrap();
        let Source::Table(table) = Prices::from_file(&path).unwrap().0 else { panic!("no table") };
        assert_eq!(table["B"], Price("2.00".into()));
    }
}
