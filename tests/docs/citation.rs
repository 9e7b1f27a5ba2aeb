//! `CITATION.cff` says of the software what `Cargo.toml` says.

use super::read;

/// The value of a key at the top level.
fn value<'a>(citation: &'a str, key: &str) -> Option<&'a str> {
    let line = citation
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().trim_matches('"'))
}

/// The items of a list at the top level.
fn items<'a>(citation: &'a str, key: &str) -> Vec<&'a str> {
    let mut lines = citation.lines();
    lines.find(|line| line.strip_prefix(key) == Some(":"));
    lines
        .map_while(|line| line.strip_prefix("  - "))
        .map(str::trim)
        .collect()
}

#[test]
fn the_citation_has_the_version_and_licence_of_the_crate() {
    let citation = read("CITATION.cff");
    assert_eq!(value(&citation, "cff-version"), Some("1.2.0"));
    assert_eq!(value(&citation, "title"), Some("neurosieve"));
    assert_eq!(value(&citation, "type"), Some("software"));
    assert!(value(&citation, "message").is_some());
    assert_eq!(value(&citation, "version"), Some(env!("CARGO_PKG_VERSION")));
    let crate_licence: Vec<&str> = env!("CARGO_PKG_LICENSE").split(" OR ").collect();
    assert_eq!(items(&citation, "license"), crate_licence);
    assert_eq!(
        items(&citation, "authors"),
        ["name: \"The neurosieve authors\""]
    );
}

#[test]
fn what_the_citation_lacks_is_not_found() {
    let citation = "title: \"a\"\nlicense:\n  - MIT\nversion: 1\n";
    assert_eq!(value(citation, "version"), Some("1"));
    assert_eq!(value(citation, "vers"), None);
    assert_eq!(items(citation, "license"), ["MIT"]);
    assert!(items(citation, "authors").is_empty());
}
