//! The texts of a page that have digits: every digit between `<body>` and `</body>` is in one of them, but for the cells of
//! numbers and the ticks of axes, which are figures of tables and charts.

use std::collections::BTreeMap;

use super::Place;
use super::said::{has_digit, plain};
use crate::report::markup::Element;

/// Parts that are put together to one text stand between these.
pub const BETWEEN: &str = " | ";

/// Texts by where they stand.
pub type Texts = BTreeMap<Place, Vec<String>>;

/// What a walk over the page is at.
#[derive(Default)]
struct Walk {
    task: usize,
    heading: String,
    found: Texts,
    /// Attributes with a digit that were met.
    spoken: usize,
}

/// All of a page.
pub fn texts(root: &Element) -> Texts {
    let mut walk = Walk::default();
    root.all("title")
        .into_iter()
        .for_each(|title| walk.text(&title.text));
    let body = root.all("body")[0];
    walk.element(body);
    let elements = body.walk().into_iter();
    let spoken = elements
        .flat_map(spoken)
        .filter(|text| has_digit(text))
        .count();
    assert_eq!(
        walk.spoken, spoken,
        "every attribute that is read out is among the texts"
    );
    walk.found
}

/// Elements whose text is one, with that of all inside.
const TEXTS: [&str; 13] = [
    "h1",
    "h2",
    "h3",
    "h4",
    "p",
    "pre",
    "summary",
    "figcaption",
    "span",
    "a",
    "label",
    "button",
    "option",
];

/// Attributes that are read out or shown.
const SPOKEN: [&str; 4] = ["alt", "aria-label", "label", "title"];

fn spoken(element: &Element) -> impl Iterator<Item = &str> {
    SPOKEN
        .into_iter()
        .filter_map(|name| element.attribute(name))
}

fn digits(text: &str) -> usize {
    text.chars().filter(|letter| letter.is_numeric()).count()
}

fn is_raw(element: &Element) -> bool {
    matches!(&*element.name, "script" | "style")
}

/// Texts one after another; of those without anything nothing.
fn together<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(plain).filter(|text| !text.is_empty()).collect();
    texts.join(BETWEEN)
}

impl Walk {
    fn text(&mut self, text: &str) {
        self.text_at(self.heading.clone(), text);
    }

    fn text_at(&mut self, heading: String, text: &str) {
        if has_digit(text) {
            let texts = self.found.entry((self.task, heading)).or_default();
            texts.push(plain(text));
        }
    }

    fn element(&mut self, element: &Element) {
        if is_raw(element) {
            return;
        }
        let class = |class: &str| element.has_class(class);
        if element.name == "article" {
            self.task += 1;
        } else if element.name == "section" && class("common") {
            self.task = 0;
        }
        if matches!(&*element.name, "h2" | "h3") {
            let name = if class("taskname") {
                "Task"
            } else {
                &*element.text
            };
            let name: String = name.chars().filter(|c| !c.is_numeric()).collect();
            self.heading = plain(&name);
        }
        for text in spoken(element) {
            self.text(text);
            self.spoken += usize::from(has_digit(text));
        }
        match &*element.name {
            "svg" => self.drawing(element),
            "tr" => self.row(element),
            "dl" => {
                for fact in &element.inside {
                    self.text(&together(fact.inside.iter().map(|part| &*part.text)));
                }
            }
            "li" => self.text(&item(element)),
            _ if class("stack") => self.bars(element),
            _ if class("key") => self.text(&together(element.inside.iter().map(|p| &*p.text))),
            name if TEXTS.contains(&name) => self.text(&element.text),
            _ => {
                let inside = element.inside.iter().filter(|inside| !is_raw(inside));
                let inside: usize = inside.map(|inside| digits(&inside.text)).sum();
                assert_eq!(
                    inside,
                    digits(&element.text),
                    "a number between elements: {}",
                    element.text
                );
                element
                    .inside
                    .iter()
                    .for_each(|inside| self.element(inside));
            }
        }
    }

    /// The names in a drawing; ticks are of the axes.
    fn drawing(&mut self, svg: &Element) {
        let title = plain(svg.attribute("aria-label").unwrap_or_default());
        let title = format!("drawing: {title}");
        for text in svg.all("text") {
            if !text.has_class("tick") {
                self.text_at(title.clone(), &text.text);
            }
        }
    }

    /// The cells of a row that are texts, not numbers with all their digits beside.
    fn row(&mut self, row: &Element) {
        let cells = row
            .inside
            .iter()
            .filter(|cell| cell.attribute("data-sort").is_none());
        let texts = cells.map(|cell| &*cell.text).filter(|text| has_digit(text));
        self.text(&together(texts));
    }

    /// A row of bars: its name, what each bar says and shows, the note.
    fn bars(&mut self, stack: &Element) {
        for row in stack.inside.chunks(3) {
            let bars = row[1].inside.iter();
            self.spoken += bars
                .clone()
                .flat_map(spoken)
                .filter(|text| has_digit(text))
                .count();
            let bars =
                bars.flat_map(|bar| [bar.attribute("title").unwrap_or_default(), &*bar.text]);
            let parts = [&*row[0].text]
                .into_iter()
                .chain(bars)
                .chain([&*row[2].text]);
            self.text(&together(parts));
        }
    }
}

/// Parts of an item of a list; code is in the middle of a text.
fn item(item: &Element) -> String {
    if !item.all("code").is_empty() {
        return item.text.clone();
    }
    let parts = item.inside.iter().flat_map(|part| match &*part.name {
        "div" => part.inside.iter().map(|inside| &*inside.text).collect(),
        _ => vec![&*part.text],
    });
    let whole = together(parts);
    if digits(&whole) == digits(&item.text) {
        whole
    } else {
        item.text.clone()
    }
}
