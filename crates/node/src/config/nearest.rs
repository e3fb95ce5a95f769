//! The name that somebody may have meant.

/// The name most like `written`, if any is like it at all.
pub(super) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &&str| strsim::jaro_winkler(written, name);
    names
        .into_iter()
        .filter(|name| likeness(name) > 0.8)
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_the_name_and_nonsense_does_not() {
        let names = ["port", "interface", "data", "log", "log-format"];
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("interfaces", names), Some("interface"));
        assert_eq!(nearest("log_format", names), Some("log-format"));
        assert_eq!(nearest("xyzzy", names), None);
    }
}
