//! The backend of a command: its URL, and who gave it.

/// The environment variable with the default of `--backend`.
pub(crate) const BACKEND_VARIABLE: &str = "ANNALS_BACKEND";

/// The backend, and where its URL comes from.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) url: String,
    pub(crate) named_by: NamedBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    Nobody,
    Environment,
    Option,
}
