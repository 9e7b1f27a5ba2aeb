//! The concepts of a run: which samples each covers.

use regex::Regex;

use crate::analysis::concepts::Vocabulary;
use crate::analysis::sample_sets::SampleSets;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// A concept that a user describes.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Its name.
    pub name: String,
    /// What its words look like, from first to last letter.
    pub expression: Regex,
}

impl Pattern {
    /// `expression` is a regular expression that whole words must match.
    ///
    /// # Errors
    /// When the name is empty or the expression is none.
    pub fn new(name: &str, expression: &str) -> Result<Self> {
        let refused = |problem: String| {
            let fix = "Write NAME=REGEX, such as number=[0-9]+; the whole word must match";
            Error::invalid(format!("concept \"{name}\""), problem, fix)
        };
        if name.is_empty() {
            return Err(refused("it has no name".into()));
        }
        // Alone first: `a)(b` would become an expression by what is put around it.
        let whole = Regex::new(expression).and_then(|_| Regex::new(&format!("^(?:{expression})$")));
        Ok(Self {
            name: name.to_owned(),
            expression: whole.map_err(|e| {
                let text = e.to_string();
                refused(text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
            })?,
        })
    }
}

/// A concept and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Concept {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) pattern: Option<String>,
}

/// Every class that occurs, every pattern, and every word that occurs `min_count` times, with the samples that each
/// covers.
///
/// # Errors
/// When there are patterns and no words.
pub(super) fn concepts(
    labels: &Labels,
    vocabulary: Option<&Vocabulary<'_>>,
    patterns: &[Pattern],
    min_count: usize,
) -> Result<(Vec<Concept>, SampleSets)> {
    let mut named = Vec::new();
    let mut sets = SampleSets::new(labels.len())?;
    for class in labels.present() {
        named.push(Concept {
            name: labels.classes()[class as usize].clone(),
            kind: "class",
            pattern: None,
        });
        sets.push(|sample| labels.ids()[sample] == class);
    }
    let Some(vocabulary) = vocabulary else {
        if let Some(pattern) = patterns.first() {
            return Err(Error::invalid(
                format!("concept \"{}\"", pattern.name),
                "it is a pattern of words, and the data have none",
                "Give --words, or leave --concept out",
            ));
        }
        return Ok((named, sets));
    };
    let (types, type_of) = (vocabulary.types(), vocabulary.type_of());
    for pattern in patterns {
        let matches: Vec<bool> = types
            .iter()
            .map(|t| pattern.expression.is_match(t))
            .collect();
        let text = pattern.expression.as_str();
        let text = text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$"));
        named.push(Concept {
            name: pattern.name.clone(),
            kind: "pattern",
            pattern: text.map(str::to_owned),
        });
        sets.push(|sample| matches[type_of[sample]]);
    }
    for (word, count) in vocabulary.counts().iter().enumerate() {
        if *count >= min_count {
            named.push(Concept {
                name: types[word].to_owned(),
                kind: "word",
                pattern: None,
            });
            sets.push(|sample| type_of[sample] == word);
        }
    }
    Ok((named, sets))
}
