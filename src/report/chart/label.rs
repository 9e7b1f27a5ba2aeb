//! Names of lines: where they stand so that they can be read.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

use super::Series;

/// Height of a line of text.
const LINE: f64 = 14.5;
/// About the width of a letter.
const LETTER: f64 = 7.2;

/// A name and its place.
#[derive(Debug)]
pub(super) struct Placed {
    name: String,
    colour: usize,
    /// Left end of the text, and its baseline.
    text: (f64, f64),
    /// Where the line ends that it names; a thread leads there when the text was pushed away.
    end: Option<(f64, f64)>,
}

impl Placed {
    /// Right of a point.
    pub(super) fn at_end(name: &str, colour: usize, x: f64, y: f64) -> Self {
        Self {
            name: name.to_owned(),
            colour,
            text: (x + 16.0, y + 4.0),
            end: Some((x + 3.0, y)),
        }
    }

    pub(super) fn draw(&self, out: &mut String) {
        let (x, y) = self.text;
        let colour = self.colour;
        if let Some((from, height)) = self.end {
            let to = y - 4.0;
            write!(
                out,
                "<path class=\"thread c{colour}\" d=\"M{from:.1} {height:.1}L{:.1} {to:.1}\"/>",
                x - 3.0
            )
            .expect("writing to a string cannot fail");
        }
        write!(
            out,
            "<text class=\"name c{colour}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            HtmlEscape(&self.name)
        )
        .expect("writing to a string cannot fail");
    }
}

/// Moves names that stand too near to each other up and down until they do not, inside `top` … `bottom`.
pub(super) fn push_apart(names: &mut [Placed], top: f64, bottom: f64) {
    names.sort_by(|a, b| a.text.1.total_cmp(&b.text.1));
    for _ in 0..200 {
        let mut moved = false;
        for at in 1..names.len() {
            let overlap = LINE - (names[at].text.1 - names[at - 1].text.1);
            if overlap > 0.01 {
                names[at - 1].text.1 -= overlap / 2.0;
                names[at].text.1 += overlap / 2.0;
                moved = true;
            }
        }
        for name in names.iter_mut() {
            name.text.1 = name.text.1.clamp(top + 6.0, bottom + 4.0);
        }
        if !moved {
            break;
        }
    }
}

/// Finds for each line the place beside it that is farthest from all other lines and names.
///
/// `rules` are the heights of lines across; `room` is left, top, right, bottom.
pub(super) fn inline(
    lines: &[(&Series, Vec<(f64, f64)>)],
    rules: &[f64],
    [left, top, right, bottom]: [f64; 4],
) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    let mut taken: Vec<[f64; 4]> = Vec::new();
    for (mine, (series, points)) in lines.iter().enumerate() {
        let width = series.name.chars().count() as f64 * LETTER;
        let mut best: Option<(f64, [f64; 4])> = None;
        for &(x, y) in points.iter().step_by((points.len() / 120).max(1)) {
            // Left above the line and right below it: a rising curve leaves room there; then straight above and below.
            for (dx, dy) in [
                (-width - 6.0, -LINE + 2.0),
                (7.0, 2.0),
                (-width / 2.0, -LINE - 5.0),
                (-width / 2.0, 6.0),
            ] {
                let b = [x + dx, y + dy, x + dx + width, y + dy + LINE];
                if b[0] < left + 4.0 || b[2] > right - 2.0 || b[1] < top || b[3] > bottom - 2.0 {
                    continue;
                }
                let others = lines
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != mine)
                    .map(|(_, (_, p))| clearance(&b, p))
                    .chain(
                        rules
                            .iter()
                            .map(|&y| clearance(&b, &[(b[0], y), (b[2], y)])),
                    )
                    .chain(taken.iter().map(|t| gap(&b, t)))
                    .fold(40.0, f64::min);
                let score = others + clearance(&b, points).min(4.0) * 2.0;
                if best.is_none_or(|(known, _)| score > known) {
                    best = Some((score, b));
                }
            }
        }
        if let Some((_, b)) = best {
            taken.push(b);
            placed.push(Placed {
                name: series.name.clone(),
                colour: series.style.colour,
                text: (b[0], b[3] - 3.5),
                end: None,
            });
        }
    }
    placed
}

/// Distance from a box to a line; negative where the line crosses it.
fn clearance(b: &[f64; 4], points: &[(f64, f64)]) -> f64 {
    points
        .windows(2)
        .filter(|pair| pair[1].0 >= b[0] - 8.0 && pair[0].0 <= b[2] + 8.0)
        .map(|pair| {
            let (low, high) = (pair[0].1.min(pair[1].1), pair[0].1.max(pair[1].1));
            let across = (b[0] - pair[1].0).max(pair[0].0 - b[2]);
            let along = (b[1] - high).max(low - b[3]);
            across.max(along)
        })
        .fold(f64::INFINITY, f64::min)
}

/// Distance between two boxes; negative where they overlap.
fn gap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    (a[0] - b[2])
        .max(b[0] - a[2])
        .max(a[1] - b[3])
        .max(b[1] - a[3])
}
