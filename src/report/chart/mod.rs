//! Line charts as SVG, drawn by hand: colours come from the page's style sheet, so that one drawing serves light, dark
//! and paper; every line is named where it runs, not in a legend.

pub mod axis;
mod label;

use std::fmt::Write as _;

use minijinja::HtmlEscape;

pub use axis::{Axis, Scale};
use label::Placed;

/// The style of a line: its colour, and how it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// 0 … 6: the style sheet's `--c0` … `--c6`; 0 is for what is compared with (random, chance).
    pub colour: usize,
    /// Drawn with gaps.
    pub dashed: bool,
}

/// Where the name of a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Right of its last point.
    AtEnd,
    /// Wherever beside the line there is most room: for lines that end in the same point.
    Inline,
}

/// How a line goes from point to point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Straight, and each point is marked.
    Marked,
    /// Straight.
    Straight,
    /// Level up to the next point, and from the last to the end of the axis.
    Steps,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its look.
    pub style: Style,
    /// Its points, by x.
    pub points: Vec<(f64, f64)>,
    /// The lower and upper end of an interval at each point; empty when there are none.
    pub intervals: Vec<[f64; 2]>,
    /// How it goes from one to the next.
    pub course: Course,
}

/// A line across the drawing, with a band around it where it has an interval.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its look.
    pub style: Style,
    /// y.
    pub at: f64,
    /// The interval.
    pub band: Option<[f64; 2]>,
}

/// A chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows, for those who cannot see it.
    pub title: String,
    /// Width in units of the drawing; a unit is about a pixel.
    pub width: f64,
    /// Height in the same units.
    pub height: f64,
    /// Room at the right for names.
    pub right: f64,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Lines across.
    pub rules: Vec<Rule>,
    /// A vertical mark and its name.
    pub mark: Option<(f64, String)>,
    /// The lines.
    pub series: Vec<Series>,
    /// Where the lines are named.
    pub naming: Naming,
}

const LEFT: f64 = 64.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

impl Chart {
    /// The drawing, an `<svg>` element whose every text is escaped.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        let title = HtmlEscape(&self.title);
        put(
            &mut out,
            format_args!(
                "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" \
                 aria-label=\"{title}\" data-plot=\"{LEFT} {TOP} {} {}\" data-x=\"{}\" data-y=\"{}\" data-of=\"{}\">",
                self.width,
                self.height,
                self.plot_right(),
                self.plot_bottom(),
                for_script(&self.x),
                for_script(&self.y),
                HtmlEscape(&self.x.label),
            ),
        );
        self.bands(&mut out);
        self.axes(&mut out);
        self.rules(&mut out);
        for series in &self.series {
            self.line(&mut out, series);
        }
        self.names(&mut out);
        let (top, bottom) = (TOP, self.plot_bottom());
        put(
            &mut out,
            format_args!(
                "<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{top}\" y2=\"{bottom}\"/></svg>"
            ),
        );
        out
    }

    fn plot_right(&self) -> f64 {
        self.width - self.right
    }

    fn plot_bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.share(x) * (self.plot_right() - LEFT)
    }

    fn py(&self, y: f64) -> f64 {
        self.plot_bottom() - self.y.share(y) * (self.plot_bottom() - TOP)
    }

    fn bands(&self, out: &mut String) {
        for rule in &self.rules {
            if let Some([low, high]) = rule.band {
                put(
                    out,
                    format_args!(
                        "<rect class=\"band c{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                        rule.style.colour,
                        self.py(high),
                        self.plot_right() - LEFT,
                        (self.py(low) - self.py(high)).max(0.0),
                    ),
                );
            }
        }
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (self.plot_right(), self.plot_bottom());
        for (at, text) in &self.y.ticks {
            let y = self.py(*at);
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 8.0,
                    y + 4.0,
                    HtmlEscape(text),
                ),
            );
        }
        put(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>"
            ),
        );
        for (at, text) in &self.x.ticks {
            let x = self.px(*at);
            put(
                out,
                format_args!(
                    "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                     <text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    bottom + 4.0,
                    bottom + 17.0,
                    HtmlEscape(text),
                ),
            );
        }
        let (middle, below) = ((LEFT + right) / 2.0, self.height - 8.0);
        put(
            out,
            format_args!(
                "<text class=\"label\" x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>\
                 <text class=\"label\" transform=\"translate(13 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                HtmlEscape(&self.x.label),
                (TOP + bottom) / 2.0,
                HtmlEscape(&self.y.label),
            ),
        );
    }

    fn rules(&self, out: &mut String) {
        for rule in &self.rules {
            let y = self.py(rule.at);
            put(
                out,
                format_args!(
                    "<line class=\"rule c{}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                    rule.style.colour,
                    self.plot_right(),
                ),
            );
        }
        if let Some((at, name)) = &self.mark {
            let x = self.px(*at);
            let (anchor, aside) = if self.x.share(*at) > 0.5 {
                ("end", -5.0)
            } else {
                ("start", 5.0)
            };
            put(
                out,
                format_args!(
                    "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\"/>\
                     <text class=\"name\" x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                    self.plot_bottom(),
                    x + aside,
                    self.plot_bottom() - 8.0,
                    HtmlEscape(name),
                ),
            );
        }
    }

    fn line(&self, out: &mut String, series: &Series) {
        let colour = series.style.colour;
        let ends = series.points.iter().zip(&series.intervals);
        for ((x, _), [low, high]) in ends {
            let (x, low, high) = (self.px(*x), self.py(*low), self.py(*high));
            put(
                out,
                format_args!(
                    "<path class=\"whisker c{colour}\" d=\"M{x:.1} {low:.1}V{high:.1}m-3 0h6m-3 0V{low:.1}m-3 0h6\"/>"
                ),
            );
        }
        let mut path = String::new();
        for (x, y) in self.drawn(series) {
            let step = if path.is_empty() { 'M' } else { 'L' };
            put(&mut path, format_args!("{step}{x:.1} {y:.1}"));
        }
        let dashed = if series.style.dashed { " dashed" } else { "" };
        put(
            out,
            format_args!(
                "<path class=\"line c{colour}{dashed}\" d=\"{path}\" data-name=\"{}\"/>",
                HtmlEscape(&series.name)
            ),
        );
        if series.course == Course::Marked {
            for &(x, y) in &series.points {
                put(
                    out,
                    format_args!("<path class=\"dot c{colour}{dashed}\" d=\""),
                );
                marker(out, series.style, self.px(x), self.py(y));
                out.push_str("\"/>");
            }
        }
    }

    /// Where a line turns, in units of the drawing.
    fn drawn(&self, series: &Series) -> Vec<(f64, f64)> {
        if series.course != Course::Steps {
            return self.thinned(&series.points);
        }
        let ends = series.points.iter().skip(1).map(|point| point.0);
        let ends = ends.chain([self.x.high]);
        let levels = series.points.iter().zip(ends);
        let corners = levels.flat_map(|(&(x, y), end)| [(x, y), (end, y)]);
        self.thinned(&corners.collect::<Vec<_>>())
    }

    /// The points in units of the drawing; of those that share six tenths of a unit only the first, lowest, highest and
    /// last are kept, which looks the same.
    fn thinned(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let mut kept: Vec<(f64, f64)> = Vec::new();
        let mut column: Vec<(f64, f64)> = Vec::new();
        for &(x, y) in points {
            let point = (self.px(x), self.py(y));
            if column.first().is_some_and(|first| point.0 - first.0 > 0.6) {
                flush(&mut column, &mut kept);
            }
            column.push(point);
        }
        flush(&mut column, &mut kept);
        kept
    }

    fn names(&self, out: &mut String) {
        let right = self.plot_right();
        let mut ends: Vec<Placed> = self
            .rules
            .iter()
            .map(|rule| Placed::at_end(&rule.name, rule.style.colour, right, self.py(rule.at)))
            .collect();
        let mut inside = Vec::new();
        match self.naming {
            Naming::AtEnd => ends.extend(self.series.iter().filter_map(|series| {
                let &(x, y) = series.points.last()?;
                Some(Placed::at_end(
                    &series.name,
                    series.style.colour,
                    self.px(x).max(right - 6.0),
                    self.py(y),
                ))
            })),
            Naming::Inline => {
                let lines: Vec<(&Series, Vec<(f64, f64)>)> = self
                    .series
                    .iter()
                    .map(|series| (series, self.drawn(series)))
                    .collect();
                let rules: Vec<f64> = self.rules.iter().map(|rule| self.py(rule.at)).collect();
                let room = [LEFT, TOP, right, self.plot_bottom()];
                inside = label::inline(&lines, &rules, room);
            }
        }
        label::push_apart(&mut ends, TOP, self.plot_bottom());
        for name in ends.iter().chain(&inside) {
            name.draw(out);
        }
    }
}

fn flush(column: &mut Vec<(f64, f64)>, kept: &mut Vec<(f64, f64)>) {
    if column.len() > 4 {
        let last = column.len() - 1;
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let mut keep = [
            0,
            (0..=last).min_by(by_height).unwrap_or(0),
            (0..=last).max_by(by_height).unwrap_or(0),
            last,
        ];
        keep.sort_unstable();
        let mut previous = usize::MAX;
        for at in keep {
            if at != previous {
                kept.push(column[at]);
            }
            previous = at;
        }
    } else {
        kept.extend_from_slice(column);
    }
    column.clear();
}

/// Each colour has a shape as well, for those who do not tell the colours apart.
fn marker(out: &mut String, style: Style, x: f64, y: f64) {
    match style.colour % 4 {
        1 => put(
            out,
            format_args!(
                "M{:.1} {y:.1}a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
                x - 3.6
            ),
        ),
        2 => put(
            out,
            format_args!("M{:.1} {:.1}h6.4v6.4h-6.4z", x - 3.2, y - 3.2),
        ),
        3 => put(out, format_args!("M{x:.1} {:.1}l4.2 7.2h-8.4z", y - 4.6)),
        _ => put(
            out,
            format_args!("M{x:.1} {:.1}l4.4 4.4l-4.4 4.4l-4.4 -4.4z", y - 4.4),
        ),
    }
}

fn for_script(axis: &Axis) -> String {
    format!(
        "{} {} {} {}",
        axis.scale.name(),
        axis.low,
        axis.high,
        axis.unit
    )
}

/// Appends to a string, which cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to a string cannot fail");
}
