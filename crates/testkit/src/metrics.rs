//! What `/metrics` shows, held against what operators can read about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Hubbub;

/// The labels of each of our metrics in a text: an exposition, a query, or a page that writes `name{label,label}`. A name that
/// stands there several times has the labels of all of them.
pub fn labels_of_metrics(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (at, _) in text.match_indices("hubbub_") {
        if text[..at].ends_with(is_of_name) {
            continue;
        }
        let (name, rest) =
            text[at..].split_at(text[at..].find(|c| !is_of_name(c)).unwrap_or(text.len() - at));
        // What the exposition adds to the name of a histogram.
        let added = ["_bucket", "_sum", "_count"].iter().find_map(|added| name.strip_suffix(added));
        let labels = found.entry(added.unwrap_or(name)).or_default();
        if let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            labels.extend(
                inside.split(',').map(|label| label.split(['=', '!']).next().unwrap_or_default().trim()),
            );
        }
    }
    found
}

/// `docs/operations.md`.
///
/// # Panics
/// When it can't be read.
pub fn page_for_operators() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    std::fs::read_to_string(page).expect("docs/operations.md can be read")
}

/// Fails if a process shows a metric, or one with a label, that `docs/operations.md` does not have: what dashboards and alerts ask
/// for is held to that page.
///
/// # Panics
/// When it does, or can't be asked.
pub async fn shows_what_is_documented(process: &Hubbub) {
    let page = page_for_operators();
    let documented = labels_of_metrics(&page);
    let shown = process.get("/metrics", None).await.expect("an exposition").text;
    let samples = shown.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let shown = labels_of_metrics(&samples);
    assert!(!shown.is_empty(), "{samples}");
    for (name, mut labels) in shown {
        labels.remove("le");
        assert_eq!(
            Some(&labels),
            documented.get(name),
            "the labels of {name}, and those in docs/operations.md"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_found_in_each_form() {
        let of = |text| {
            labels_of_metrics(text)
                .into_iter()
                .map(|(name, labels)| (name, labels.into_iter().collect()))
                .collect::<Vec<(&str, Vec<&str>)>>()
        };
        assert_eq!(
            of("hubbub_a_total{code=\"x\",door=\"ws\"} 3\nhubbub_b 1"),
            [("hubbub_a_total", vec!["code", "door"]), ("hubbub_b", vec![])]
        );
        assert_eq!(
            of("`hubbub_a_total{code,door}`, `hubbub_b`"),
            [("hubbub_a_total", vec!["code", "door"]), ("hubbub_b", vec![])]
        );
        assert_eq!(
            of("rate(hubbub_c_seconds_bucket{job=~\"$job\",op!=\"x\"}[5m])"),
            [("hubbub_c_seconds", vec!["job", "op"])]
        );
    }
}
