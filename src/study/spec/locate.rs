//! Where in the TOML text a fault is, and which allowed name is nearest to a misspelt one.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::check::Fault;
use crate::error::{Error, nearest};

/// What the TOML parser or serde refused, with line, column and the nearest allowed name.
pub(super) fn refused(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let place = error
        .span()
        .map_or_else(|| "the document".to_owned(), |span| place(text, span.start));
    let message = error.message().trim_end();
    let fix = match Unknown::parse(message) {
        Some(unknown) if !unknown.allowed.is_empty() => {
            match nearest(unknown.name, unknown.allowed.iter().copied()) {
                Some(name) => format!("Did you mean `{name}`?"),
                None => "Use one of the allowed names".to_owned(),
            }
        }
        _ if message.starts_with("missing field") => {
            "Add that key; a study needs [data] with train, dev and test".to_owned()
        }
        _ if message.ends_with("expected a sequence") => {
            let value = error.span().and_then(|span| text.get(span));
            format!("Write a list: [{}]", value.unwrap_or("…"))
        }
        _ => "Correct the specification there".to_owned(),
    };
    Error::file(path, place, message, fix)
}

/// A value outside its range, with the line and column where it stands.
pub(super) fn out_of_range(path: &Path, text: &str, fault: &Fault) -> Error {
    let at = span_of(text, &fault.key).map(|span| place(text, span.start));
    let place = match at {
        Some(at) => format!("{at}, key `{}`", fault.key.join(".")),
        None => format!("key `{}`", fault.key.join(".")),
    };
    Error::file(path, place, &*fault.problem, &*fault.fix)
}

/// `line L, column C` (both from 1, columns in characters) of a byte offset.
fn place(text: &str, offset: usize) -> String {
    let whole = (0..=offset.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    let before = &text[..whole.unwrap_or(0)];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    format!("line {line}, column {column}")
}

/// The span of the value that a key path leads to, or of the deepest part of the path that exists.
fn span_of(text: &str, key: &[&str]) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for name in key {
        let Some((_, value)) = table.iter().find(|(at, _)| at.get_ref() == name) else {
            break;
        };
        found = Some(value.span());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// serde's message about an unknown field or variant: the name, and those that are allowed.
struct Unknown<'a> {
    name: &'a str,
    allowed: Vec<&'a str>,
}

impl<'a> Unknown<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
            return None;
        }
        // The names stand between back quotes: every second piece.
        let mut names = message.split('`').skip(1).step_by(2);
        Some(Self {
            name: names.next()?,
            allowed: names.collect(),
        })
    }
}
