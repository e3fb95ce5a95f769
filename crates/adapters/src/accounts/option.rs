//! What is wrong with an option.

/// Why an adapter can't be made from its options. It quotes neither a key nor an address, for either may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} {what}")]
pub struct BadOption {
    /// Which option, by the name of its setting in the environment.
    pub option: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl BadOption {
    pub(super) fn new(option: &'static str, what: impl Into<String>) -> Self {
        Self { option, what: what.into() }
    }
}
