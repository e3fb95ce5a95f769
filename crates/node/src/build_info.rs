//! Which build this is.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build was told: `HUBBUB_COMMIT=$(git rev-parse --short HEAD) cargo build`.
pub const COMMIT: Option<&str> = option_env!("HUBBUB_COMMIT");

/// For `--version` and the first line of the log: `1.2.3 (abc1234)`, or the version alone.
pub fn version_and_commit() -> String {
    match COMMIT {
        Some(commit) if !commit.is_empty() => format!("{VERSION} ({commit})"),
        _ => VERSION.into(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_comes_first() {
        assert!(super::version_and_commit().starts_with(super::VERSION));
    }
}
