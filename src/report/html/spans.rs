//! Texts that name something to type: in a terminal it stands between backticks, on a page it is set as code.

use serde::Serialize;

/// A part of a text.
#[derive(Debug, Serialize)]
pub(super) struct Span<'a> {
    text: &'a str,
    code: bool,
}

/// Signs that keys, values, flags and commands have beside letters and digits.
const SIGNS: &str = "._-=/ ";

/// Whether this is a key of a specification, with a value or without, a flag or a command. A text may hold names of the data
/// too, which have backticks of their own: as tokens of source code, as quotation marks of treebanks. These stay as they are.
fn is_code(inside: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || SIGNS.contains(letter);
    inside.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '-')
        && inside.ends_with(|last: char| last.is_ascii_alphanumeric())
        && inside.chars().all(plain)
}

/// The first code of a text, what stands before it and what after it.
fn first_code(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('`').find_map(|(open, _)| {
        let (inside, after) = text[open + 1..].split_once('`')?;
        is_code(inside).then_some((&text[..open], inside, after))
    })
}

/// A text in its parts; escaping is the template's.
pub(super) fn spans(text: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some((before, code, after)) = first_code(rest) {
        spans.push(Span {
            text: before,
            code: false,
        });
        spans.push(Span {
            text: code,
            code: true,
        });
        rest = after;
    }
    spans.push(Span {
        text: rest,
        code: false,
    });
    spans
}

/// Every text of a list in its parts.
pub(super) fn all(texts: &[String]) -> Vec<Vec<Span<'_>>> {
    texts.iter().map(|text| spans(text)).collect()
}
