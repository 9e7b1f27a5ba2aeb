//! The text of a shader as it is compiled: constants that the host sets, and loops that it unrolls.
//!
//! The translation to SPIR-V, MSL and HLSL leaves loops as they are, and checks every index that is not a constant. A loop over
//! literals or constants that is marked `// unroll` is written out here, its variable a constant in each copy:
//!
//! ```text
//! for (var k = 0u; k < 16u; k++) { // unroll
//!   s = fma(left[k][ty], right[k][tx], s);
//! }
//! ```
//!
//! Such a loop goes up by one and holds no `break` or `continue` of its own. What is not marked stays as it is, and what is marked is WGSL without this, too.

use std::ops::Range;

/// Behind the opening brace of a loop that is to be unrolled.
const MARK: &str = " // unroll";

/// The text with marked loops written out and `const` declarations set, and the constants for which there is none: overrides.
pub(super) fn prepared<'a>(
    source: &str,
    constants: &[(&'a str, f64)],
) -> (String, Vec<(&'a str, f64)>) {
    let (source, overrides) = with_constants(source, constants);
    (unrolled(&source, &source), overrides)
}

fn with_constants<'a>(source: &str, constants: &[(&'a str, f64)]) -> (String, Vec<(&'a str, f64)>) {
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let mut overrides = Vec::new();
    for &(name, value) in constants {
        let declared = format!("const {name}: u32 = ");
        match lines.iter_mut().find(|line| line.starts_with(&declared)) {
            Some(line) => *line = format!("{declared}{}u;", value as u32),
            None => overrides.push((name, value)),
        }
    }
    (lines.join("\n"), overrides)
}

/// Every marked loop of a part of a source written out, inner loops as well.
fn unrolled(part: &str, source: &str) -> String {
    let lines: Vec<&str> = part.lines().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some((name, range)) = marked(lines[at], source) else {
            out.push(lines[at].to_owned());
            at += 1;
            continue;
        };
        let indent = lines[at].len() - lines[at].trim_start().len();
        let closing = format!("{:indent$}}}", "");
        let rest = lines[at + 1..].iter().position(|line| *line == closing);
        // A loop without its end would not compile either way.
        let end = rest.map_or(lines.len(), |length| at + 1 + length);
        let body = unrolled(&lines[at + 1..end].join("\n"), source);
        for value in range {
            out.push(format!("{{ const {name} = {value}u;\n{body}\n}}"));
        }
        at = end + 1;
    }
    out.join("\n")
}

/// The variable of a marked loop, and its values.
fn marked<'a>(line: &'a str, source: &str) -> Option<(&'a str, Range<u32>)> {
    let head = line.trim_start().strip_suffix(MARK)?;
    let head = head.strip_prefix("for (var ")?;
    let (name, rest) = head.split_once(" = ")?;
    let (from, rest) = rest.split_once("; ")?;
    let bound = rest.strip_prefix(name)?.strip_prefix(" < ")?;
    let (to, step) = bound.split_once("; ")?;
    let by_one = step.strip_prefix(name) == Some("++) {");
    by_one.then_some(())?;
    Some((name, value(from, source)?..value(to, source)?))
}

/// What a literal or a constant of a source says.
fn value(said: &str, source: &str) -> Option<u32> {
    let literal = |said: &str| said.strip_suffix('u')?.parse().ok();
    let declared = format!("const {said}: u32 = ");
    let constant = || source.lines().find_map(|line| line.strip_prefix(&declared));
    literal(said).or_else(|| literal(constant()?.strip_suffix(';')?))
}
