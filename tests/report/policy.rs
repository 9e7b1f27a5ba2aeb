//! The content-security policy of the page allows exactly its own script and style sheet.

use sha2::{Digest, Sha256};

use neurosieve::report::html;

use super::sample::results;
use super::{attributes, page};

/// What stands between the only pair of tags of that name, as a browser reads it.
fn between<'a>(page: &'a str, tag: &str) -> &'a str {
    let parts: Vec<&str> = page.split(&format!("<{tag}>")).collect();
    assert_eq!(parts.len(), 2, "one <{tag}>");
    let (inside, _) = parts[1].split_once(&format!("</{tag}>")).expect("it ends");
    inside
}

/// `sha256-…` of a text, in Base64 (RFC 4648).
fn source(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha256::digest(text.replace("\r\n", "\n"));
    let mut encoded = String::from("sha256-");
    for three in hash.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(three.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            encoded.push(if at <= three.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    encoded
}

#[test]
fn a_hash_is_that_of_the_standard() {
    // FIPS 180-2, appendix B.1.
    assert_eq!(
        source("abc"),
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    );
}

/// The report, and the page of a comparison.
fn pages() -> [String; 2] {
    let comparison = html::comparison(&super::comparison::two()).expect("it renders");
    [page(&results()), comparison]
}

#[test]
fn the_policy_allows_the_pages_own_script_and_style_and_nothing_else() {
    pages().iter().for_each(|page| allows_its_own(page));
}

fn allows_its_own(page: &str) {
    let policy = attributes(page, "content")
        .into_iter()
        .find(|content| content.contains("default-src"))
        .expect("there is a policy");
    let mut rules: Vec<&str> = policy.split("; ").collect();
    rules.sort_unstable();
    let script = format!("script-src '{}'", source(between(page, "script")));
    let style = format!("style-src-elem '{}'", source(between(page, "style")));
    let expected = [
        "base-uri 'none'",
        "default-src 'none'",
        "form-action 'none'",
        &script,
        "style-src-attr 'unsafe-inline'",
        &style,
    ];
    assert_eq!(
        rules, expected,
        "after a change of script.js or style.css: POLICY takes these hashes"
    );
    // It comes before whatever it is to forbid.
    assert!(page.find("Content-Security-Policy") < page.find("<style>"));
}

#[test]
fn style_attributes_hold_numbers_alone_and_no_element_has_a_handler() {
    pages().iter().for_each(|page| numbers_alone(page));
}

fn numbers_alone(page: &str) {
    let styles = attributes(page, "style");
    assert!(styles.len() >= 8, "{styles:?}");
    for style in styles {
        let (name, value) = style.split_once(':').expect("a property");
        assert!(["width", "height", "--v"].contains(&name), "{style}");
        let number = value.strip_suffix('%').expect("a share").parse::<f64>();
        assert!(number.is_ok_and(f64::is_finite), "{style}");
    }
    let tags = page
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split('>').next());
    for tag in tags.filter(|tag| !tag.starts_with("script")) {
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(!outside.contains(" on"), "<{tag}>");
    }
    assert!(!page.contains("javascript:"));
}
