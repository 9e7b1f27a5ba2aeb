//! The one error type of the crate.
//!
//! A message names what is wrong, where, the value, the allowed range and what to do about it. Something that did not
//! converge, a constant neuron or a class that is missing from train are *not* errors: they are results and are reported.

use std::path::{Path, PathBuf};

/// Result with the crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, grouped by what the user has to fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened, read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read but its contents are not usable.
    #[error("{}: {place}: {problem}. {fix}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where in it: `line 3, column 7`, `tensor "activations"`, `row 12, neuron 40`.
        place: String,
        /// What is wrong there, with the value.
        problem: String,
        /// What to do about it.
        fix: String,
    },
    /// A value, alone or together with another one, is outside what an operation allows.
    #[error("{what}: {problem}. {fix}")]
    Invalid {
        /// The thing that is wrong: a parameter, a pair of inputs.
        what: String,
        /// The value and the allowed range.
        problem: String,
        /// What to do about it.
        fix: String,
    },
    /// No such compute device, or it cannot be opened.
    #[error("device \"{asked}\": {problem}. {fix}")]
    Device {
        /// What the user asked for.
        asked: String,
        /// Why it cannot be had.
        problem: String,
        /// What to do about it.
        fix: String,
    },
    /// A GPU refused an operation or was lost.
    #[error(
        "{operation} on {adapter}: {problem}. Rerun with --device cpu, or with a smaller input"
    )]
    Gpu {
        /// The operation that ran.
        operation: String,
        /// The adapter's name.
        adapter: String,
        /// What the driver or the validation said.
        problem: String,
        /// What kind of trouble that is.
        trouble: Trouble,
    },
    /// What a device computed deviates from what the native path computes.
    #[error(
        "validation failed: {what}. Where they deviate, the native results were written; do not trust this device"
    )]
    Validation {
        /// Which operations, with their deviations.
        what: String,
    },
    /// The user stopped the run.
    #[error("interrupted; what was done is kept in {}. Go on with --resume", kept.display())]
    Interrupted {
        /// The folder of what was done.
        kept: PathBuf,
    },
}

/// What kind of trouble a GPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its memory is used up: smaller blocks may fit, the native path does.
    Memory,
    /// It is gone: the driver was reset, or the device taken away.
    Lost,
    /// What it gave back is wrong, as a check of it shows: nothing that it computed is to be trusted.
    Wrong,
    /// It refused something: trying again does not help.
    Refused,
}

impl Error {
    /// What kind of trouble a GPU has; `None` of other errors.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Gpu { trouble, .. } => Some(*trouble),
            _ => None,
        }
    }

    /// An [`Error::Io`] for `path`.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// An [`Error::File`] for `path`.
    pub fn file(
        path: &Path,
        place: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::File {
            path: path.to_owned(),
            place: printable(place.into()),
            problem: printable(problem.into()),
            fix: printable(fix.into()),
        }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(
        what: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            what: printable(what.into()),
            problem: printable(problem.into()),
            fix: printable(fix.into()),
        }
    }
}

/// Of names that are allowed, the one with the fewest edits, when it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(
    wanted: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let length = |name: &str| name.chars().count();
    // Half of it, and not all: of one letter any other would be meant.
    let most = |name: &str| {
        let all = length(name).max(length(wanted));
        length(name).div_ceil(2).min(all.saturating_sub(1))
    };
    // The lengths alone tell far ones, which may be as long as a file.
    let may_be = |name: &&str| length(name).abs_diff(length(wanted)) <= most(name);
    let edits = |name: &'a str| (strsim::damerau_levenshtein(wanted, name), name);
    let named = allowed.into_iter().filter(may_be).map(edits);
    let (_, name) = named.filter(|(edits, name)| *edits <= most(name)).min()?;
    Some(name)
}

/// `Did you mean "lca"? `, for what to do where a name is not one of these; nothing where none is near.
pub(crate) fn meant<'a>(wanted: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(wanted, allowed);
    near.map_or_else(String::new, |name| format!("Did you mean \"{name}\"? "))
}

/// Most characters of a part of a message: what is quoted may be as long as a file.
const LONGEST: usize = 800;

/// Without the control characters that a quoted value may hold, which a terminal would obey; lines stay lines. Cut off where it is
/// too long to be read.
pub(crate) fn printable(text: String) -> String {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let mut text = match text.contains(obeyed) {
        true => text.replace(obeyed, "\u{fffd}"),
        false => text,
    };
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::error::nearest;

    #[test]
    fn a_name_is_meant_where_most_of_it_is_there() {
        let allowed = ["average", "single", "b", "pos"];
        for (wanted, meant) in [
            ("averge", Some("average")),
            ("sinlge", Some("single")),
            ("pso", Some("pos")),
            ("a", None),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, allowed), meant, "{wanted}");
        }
    }
}
