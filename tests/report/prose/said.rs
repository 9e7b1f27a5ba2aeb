//! A text with numbers in it, and whether a text that is shown says the same.

/// Stands for a number.
const NUMBER: char = '\u{1}';

/// What takes the place of a `#`.
#[derive(Debug, Clone)]
pub enum Slot {
    Number(f64),
    /// Words of the results themselves: names, files, notes.
    Text(String),
    Said(Said),
}

/// Texts in words of ours, numbers that are to be among them, and texts of the results.
#[derive(Debug, Clone, Default)]
pub struct Said {
    text: String,
    numbers: Vec<f64>,
    /// The words of ours: a digit in them is of no results.
    words: Vec<&'static str>,
    /// A line's name in a drawing is left out where it would lie over something else.
    pub optional: bool,
}

/// A sentence with a `#` for each slot.
pub fn say(words: &'static str, slots: &[Slot]) -> Said {
    let mut said = Said {
        words: vec![words],
        ..Said::default()
    };
    let mut slots = slots.iter();
    for letter in words.chars() {
        if letter != '#' {
            said.text.push(letter);
            continue;
        }
        match slots
            .next()
            .unwrap_or_else(|| panic!("\"{words}\" has more slots"))
        {
            Slot::Number(number) => {
                said.text.push(NUMBER);
                said.numbers.push(*number);
            }
            Slot::Text(text) => said.text.push_str(text),
            Slot::Said(other) => said.append(other),
        }
    }
    assert!(slots.next().is_none(), "\"{words}\" has fewer slots");
    said
}

/// Texts one after another, with words between them.
pub fn joined(parts: &[Said], between: &'static str) -> Said {
    let mut said = Said {
        words: vec![between],
        ..Said::default()
    };
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            said.text.push_str(between);
        }
        said.append(part);
    }
    said
}

/// As a reader sees it: every space is one.
pub fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn has_digit(text: &str) -> bool {
    text.contains(char::is_numeric)
}

impl Said {
    fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.numbers.extend(&other.numbers);
        self.words.extend(&other.words);
    }

    /// Whether a reader finds a digit in it.
    pub fn has_digit(&self) -> bool {
        !self.numbers.is_empty() || has_digit(&self.text)
    }

    /// The same with a capital letter.
    pub fn capital(&self) -> Self {
        let (first, rest) = self
            .text
            .split_at(self.text.chars().next().map_or(0, char::len_utf8));
        Self {
            text: first.to_uppercase() + rest,
            ..self.clone()
        }
    }

    pub fn if_there_is_room(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// Our own words in it.
    pub fn words(&self) -> &[&'static str] {
        &self.words
    }

    /// Whether a text has exactly these words, and each number rounded to the digits that it shows.
    pub fn is_shown(&self, text: &str) -> bool {
        let (wanted, text) = (plain(&self.text), plain(text));
        let mut rest = &*text;
        let mut numbers = self.numbers.iter();
        for (at, words) in wanted.split(NUMBER).enumerate() {
            if at > 0 {
                let number = numbers.next().expect("one a mark");
                match after_number(rest, *number) {
                    Some(after) => rest = after,
                    None => return false,
                }
            }
            match rest.strip_prefix(words) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

/// What follows a number at the beginning of a text, where it is the one that is wanted.
fn after_number(text: &str, wanted: f64) -> Option<&str> {
    let (shown, unit, length) = number(text)?;
    let near = (shown - wanted).abs() <= 0.5 * unit * (1.0 + 1e-9);
    near.then(|| &text[length..])
}

/// The number that a text begins with, what one of its last digit is worth, and its length: `2,688`, `−1.6`, `1.2e−5`.
pub fn number(text: &str) -> Option<(f64, f64, usize)> {
    let sign = text.chars().next().filter(|c| "+−-".contains(*c));
    let start = sign.map_or(0, char::len_utf8);
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut end = start + digits(start);
    if end == start {
        return None;
    }
    while text[end..].starts_with(',') && digits(end + 1) == 3 {
        end += 4;
    }
    let mut decimals = 0;
    if text[end..].starts_with('.') && digits(end + 1) > 0 {
        decimals = digits(end + 1);
        end += 1 + decimals;
    }
    let mut plain = text[start..end].replace(',', "");
    let mut power = 0;
    if let Some(rest) = text[end..].strip_prefix('e') {
        let minus = rest.chars().next().filter(|c| "−-".contains(*c));
        let first = end + 1 + minus.map_or(0, char::len_utf8);
        let count = digits(first);
        if count > 0 {
            power = text[first..first + count].parse::<i32>().ok()?;
            power = if minus.is_some() { -power } else { power };
            end = first + count;
            plain = format!("{plain}e{power}");
        }
    }
    let value: f64 = plain.parse().ok()?;
    let unit = 10_f64.powi(power - i32::try_from(decimals).ok()?);
    let negative = sign.is_some_and(|sign| sign != '+');
    Some((if negative { -value } else { value }, unit, end))
}

#[test]
fn a_number_is_read_with_its_sign_its_commas_and_the_worth_of_its_last_digit() {
    for (text, found) in [
        ("2,688 neurons", Some((2688.0, 1.0, 5))),
        ("0, 1", Some((0.0, 1.0, 1))),
        ("−1.6 to", Some((-1.6, 0.1, 6))),
        ("+8.0)", Some((8.0, 0.1, 4))),
        ("3.", Some((3.0, 1.0, 1))),
        ("1.2e−5,", Some((1.2e-5, 1e-6, 8))),
        ("none", None),
    ] {
        let same = |(value, unit, length): (f64, f64, usize)| {
            let (wanted, digit, long) = found.expect("there is a number");
            value == wanted && (unit / digit - 1.0).abs() < 1e-9 && length == long
        };
        assert!(
            number(text).map_or(found.is_none(), same),
            "{text}: {:?}",
            number(text)
        );
    }
}

#[test]
fn a_text_is_said_where_words_and_numbers_agree() {
    let said = say(
        "# of #\u{a0}% by # are right.",
        &[
            Slot::Number(2.0),
            Slot::Number(92.63),
            Slot::Text("LCA 2".to_owned()),
        ],
    );
    assert!(said.is_shown("2 of 92.6\u{a0}% by LCA 2 are  right."));
    for other in [
        "3 of 92.6 % by LCA 2 are right.",
        "2 of 92.7 % by LCA 2 are right.",
        "2 of 92.6 % by LCA 1 are right.",
        "2 of 92.6 % by LCA 2 are wrong.",
        "2 of 92.6 % by LCA 2 are right. 1",
    ] {
        assert!(!said.is_shown(other), "{other}");
    }
}
