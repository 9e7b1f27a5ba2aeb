//! The page as a browser sees it: elements in their order, with attributes and texts.

use std::collections::BTreeMap;

/// An element that a page holds, with everything inside it.
#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub inside: Vec<Element>,
    /// Its text, and that of what is inside it.
    pub text: String,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub fn has_class(&self, class: &str) -> bool {
        let classes = self.attribute("class").unwrap_or_default();
        classes.split_whitespace().any(|other| other == class)
    }

    /// This element and all inside it, in their order.
    pub fn walk(&self) -> Vec<&Self> {
        let mut found = vec![self];
        found.extend(self.inside.iter().flat_map(Self::walk));
        found
    }

    pub fn all(&self, name: &str) -> Vec<&Self> {
        let mut found = self.walk();
        found.retain(|element| element.name == name);
        found
    }
}

fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for (escaped, letter) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&amp;", "&"),
    ] {
        out = out.replace(escaped, letter);
    }
    out
}

/// The root of a page that closes what it opens; attributes without a value stand last.
pub fn parse(page: &str) -> Element {
    let mut open = vec![Element::default()];
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let text = unescaped(&rest[..at]);
        open.iter_mut().for_each(|element| element.text += &text);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let closed = open.pop().expect("it was opened");
            assert_eq!(closed.name, name, "elements end in their order");
            let around = open.last_mut().expect("the root stays");
            around.inside.push(closed);
            continue;
        }
        let mut element = element(tag.trim_end_matches('/'));
        if matches!(&*element.name, "script" | "style") {
            let (raw, after) = rest
                .split_once(&format!("</{}>", element.name))
                .expect("it ends");
            element.text = raw.to_owned();
            rest = after;
        } else if !tag.ends_with('/') && !matches!(&*element.name, "meta" | "wbr") {
            open.push(element);
            continue;
        }
        open.last_mut()
            .expect("the root stays")
            .inside
            .push(element);
    }
    assert_eq!(open.len(), 1, "every element ends");
    open.remove(0)
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut attributes = BTreeMap::new();
    while !rest.trim().is_empty() {
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        let Some(value) = value.strip_prefix('"') else {
            attributes.insert(key.trim().to_owned(), String::new());
            break;
        };
        let (value, after) = value.split_once('"').expect("a value ends");
        attributes.insert(key.trim().to_owned(), unescaped(value));
        rest = after;
    }
    Element {
        name: name.to_owned(),
        attributes,
        ..Element::default()
    }
}
