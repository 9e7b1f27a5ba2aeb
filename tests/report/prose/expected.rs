//! What the texts of a page have to say, by the names of the fields of its document alone.

mod answers;
mod claims;
mod common;
mod comparison;
mod sets;
mod tasks;

pub use comparison::comparison;
use serde_json::Value;

use super::Place;
use super::said::{Said, Slot, joined, plain, say};

/// Statements by where they stand.
pub type Statements = std::collections::BTreeMap<Place, Vec<Said>>;

/// A page that is being told from top to bottom.
#[derive(Default)]
pub struct Page {
    task: usize,
    heading: &'static str,
    pub found: Statements,
}

impl Page {
    fn heading(&mut self, task: usize, heading: &'static str) {
        (self.task, self.heading) = (task, heading);
    }

    fn say(&mut self, said: Said) {
        let place = (self.task, self.heading.to_owned());
        self.found.entry(place).or_default().push(said);
    }

    /// A row of a table or of bars: its texts that have a digit.
    fn row(&mut self, cells: impl IntoIterator<Item = Said>) {
        let cells: Vec<Said> = cells.into_iter().filter(Said::has_digit).collect();
        self.say(joined(&cells, " | "));
    }

    /// A drawing is called by what it is said to be; names in it.
    fn drawing(&mut self, title: Said, name: &str, names: impl IntoIterator<Item = Said>) {
        self.say(title);
        let place = (self.task, format!("drawing: {}", plain(name)));
        self.found.entry(place).or_default().extend(names);
    }
}

/// Everything of the report of these results.
pub fn report(results: &Value) -> Statements {
    let mut page = Page::default();
    common::head(results, &mut page);
    for (at, task) in list(&results["tasks"]).iter().enumerate() {
        tasks::task(at + 1, results, task, &mut page);
    }
    common::foot(results, &mut page);
    page.found
}

/// A number of the document; what is none is like no number on the page.
fn value(of: &Value) -> f64 {
    of.as_f64().unwrap_or(f64::NAN)
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

fn words(of: &Value) -> &str {
    of.as_str().unwrap_or_default()
}

fn number(of: impl Into<f64>) -> Slot {
    Slot::Number(of.into())
}

fn figure(of: &Value) -> Slot {
    Slot::Number(value(of))
}

fn text(of: &str) -> Slot {
    Slot::Text(of.to_owned())
}

fn part(of: Said) -> Slot {
    Slot::Said(of)
}

/// As a percentage, without the sign.
fn hundredths(of: &Value) -> Slot {
    Slot::Number(value(of) * 100.0)
}

fn just(of: &str) -> Said {
    say("#", &[text(of)])
}

/// A warning, without the backticks around what is to be typed.
fn warned(of: &Value) -> Said {
    let code = regex::Regex::new("`([[:alnum:]-][[:alnum:]._=/ -]*)`").expect("a pattern");
    just(&code.replace_all(words(of), "$1"))
}

fn percent(of: &Value) -> Said {
    say("# %", &[hundredths(of)])
}

fn interval(of: &Value) -> Said {
    say("#–# %", &[hundredths(&of[0]), hundredths(&of[1])])
}

/// Ends of an interval in points.
fn ends(of: &Value) -> Said {
    say("# to #", &[hundredths(&of[0]), hundredths(&of[1])])
}

/// `4 neurons`, `1 neuron`.
fn counted(of: f64, thing: &str) -> Said {
    let s = if of == 1.0 { "" } else { "s" };
    say("# ##", &[number(of), text(thing), text(s)])
}

fn p_value(of: &Value) -> Said {
    if value(of) < 0.001 {
        say("< 0.001", &[])
    } else {
        say("#", &[figure(of)])
    }
}

/// `= 0.38`, `< 0.001`.
fn p_is(of: &Value) -> Said {
    if value(of) < 0.001 {
        p_value(of)
    } else {
        say("= #", &[figure(of)])
    }
}

/// How an ordering is called.
fn ordering(of: &Value) -> Said {
    match words(of) {
        "lca" => say("LCA", &[]),
        name => just(&name.replace(['_', '-'], " ")),
    }
}

/// Layers from the first up to one.
fn span(results: &Value, last: &Value) -> Said {
    let first = &results["data"]["layers"][0];
    if value(first) >= value(last) {
        say("layer # alone", &[figure(last)])
    } else {
        say("layers #–#", &[figure(first), figure(last)])
    }
}
