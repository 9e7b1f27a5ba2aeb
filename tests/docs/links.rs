//! What pages point at: files, headings, paths in back quotes.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{pages, read, root};

/// Pages for people, as paths from the root.
fn texts() -> Vec<String> {
    let mut texts = pages();
    for name in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "fixtures/README.md",
    ] {
        texts.push(name.to_owned());
    }
    texts
}

/// Targets of the links and pictures of a page that do not leave the repository.
fn targets(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|after| after.split_once(')'))
        .map(|(target, _)| target)
        .filter(|target| !target.starts_with("http"))
        .collect()
}

/// The anchor of a heading, as GitHub makes it: small letters, digits, `-` and `_`, spaces as `-`.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ => letter.is_alphanumeric().then_some(letter),
        })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut code = false;
    text.lines()
        .filter(|line| {
            code ^= line.starts_with("```");
            !code && line.starts_with('#')
        })
        .map(anchor)
        .collect()
}

/// `page`'s folder joined with `target`, without `..`.
fn resolved(page: &str, target: &str) -> PathBuf {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for component in folder.join(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path
}

/// Links of a page that lead nowhere; `find` gives the text of a file, or an empty one of anything else that is there.
fn broken(page: &str, text: &str, find: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut broken = Vec::new();
    for target in targets(text) {
        let (path, heading) = target.split_once('#').unwrap_or((target, ""));
        let there = if path.is_empty() {
            Some(text.to_owned())
        } else {
            find(&resolved(page, path))
        };
        match there {
            None => broken.push(format!("{page}: there is no {target}")),
            Some(other) if !heading.is_empty() && !anchors(&other).contains(heading) => {
                broken.push(format!("{page}: there is no heading {target}"));
            }
            Some(_) => {}
        }
    }
    broken
}

fn find(path: &Path) -> Option<String> {
    let path = root().join(path);
    path.exists()
        .then(|| std::fs::read_to_string(&path).unwrap_or_default())
}

#[test]
fn links_lead_somewhere() {
    let found: Vec<String> = texts()
        .iter()
        .flat_map(|page| broken(page, &read(page), &find))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_caught() {
    let find = |path: &Path| {
        (path == Path::new("docs/a.md"))
            .then(|| "# Some *Title*, once\n```\n# no\n```\n".to_owned())
    };
    let fine =
        "[a](../a.md#some-title-once) ![b](../a.md) [c](https://example.org) [d](#here)\n# Here\n";
    assert!(broken("docs/concepts/b.md", fine, &find).is_empty());
    for wrong in [
        "[a](a.md)",
        "[a](../a.md#no)",
        "[a](#nowhere)",
        "![a](../a.png)",
    ] {
        assert_eq!(
            broken("docs/concepts/b.md", wrong, &find).len(),
            1,
            "{wrong}"
        );
    }
}

/// Paths in back quotes that are not there.
fn missing_paths(page: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let starts = [
        "src/",
        "tests/",
        "shaders/",
        "benches/",
        "python/",
        "fixtures/",
        "docs/",
        "fuzz/",
        ".ci/",
    ];
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::trim)
        .filter(|path| starts.iter().any(|start| path.starts_with(start)))
        .filter(|path| !path.contains(['<', '*', '{', ' ', '…', '#']))
        .filter(|path| !exists(path))
        .map(|path| format!("{page}: there is no {path}"))
        .collect()
}

#[test]
fn paths_in_back_quotes_are_there() {
    let made = |path: &str| path.starts_with("fuzz/corpus") || root().join(path).exists();
    let mut pages = pages();
    pages.push("CONTRIBUTING.md".to_owned());
    let found: Vec<String> = pages
        .iter()
        .flat_map(|page| missing_paths(page, &read(page), &made))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let text = "`src/lib.rs`, `src/no.rs`, `src/<op>.rs`, `out/x`";
    let lib = |path: &str| path == "src/lib.rs";
    assert_eq!(missing_paths("page", text, &lib).len(), 1);
}

#[test]
fn every_page_is_in_the_index_and_the_index_in_the_readme() {
    let index = read("docs/README.md");
    let linked: BTreeSet<PathBuf> = targets(&index)
        .into_iter()
        .map(|target| resolved("docs/README.md", target))
        .collect();
    for page in pages() {
        if page != "docs/README.md" {
            assert!(
                linked.contains(Path::new(&page)),
                "{page} is not in the index"
            );
        }
    }
    let readme = read("README.md");
    assert!(targets(&readme).contains(&"docs/README.md"));
}
