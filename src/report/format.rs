//! Numbers as people read them.

/// A no-break space: a number and its unit stay on one line.
const NBSP: char = '\u{a0}';

/// 0.9263 → `92.6 %`.
pub fn percent(share: f64) -> String {
    format!("{}{NBSP}%", percent_bare(share))
}

/// 0.9263 → `92.6`.
pub fn percent_bare(share: f64) -> String {
    minus(format!("{:.1}", share * 100.0))
}

/// [0.88, 0.956] → `88.0–95.6 %`.
pub fn interval([low, high]: [f64; 2]) -> String {
    format!("{}–{}{NBSP}%", percent_bare(low), percent_bare(high))
}

/// A difference of shares in percentage points, with its sign: −0.016 → `−1.6`.
pub fn points(difference: f64) -> String {
    let text = format!("{:+.1}", difference * 100.0);
    minus(match text.as_str() {
        "+0.0" | "-0.0" => "0.0".to_owned(),
        _ => text,
    })
}

/// An interval of a difference: [−0.04, 0.01] → `−4.0 to +1.0`.
pub fn points_interval([low, high]: [f64; 2]) -> String {
    format!("{} to {}", points(low), points(high))
}

/// δ, a share, without needless digits: 0.005 → `0.5 %`, 0.01 → `1 %`.
pub fn delta(share: f64) -> String {
    format!("{}{NBSP}%", plain(share * 100.0))
}

/// A p value: `0.38`, `< 0.001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 {
        format!("<{NBSP}0.001")
    } else if p < 0.1 {
        format!("{p:.3}")
    } else {
        format!("{p:.2}")
    }
}

/// A whole number with a comma every three digits: 2688 → `2,688`.
pub fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 neuron`, `2 neurons`.
pub fn counted(value: usize, thing: &str) -> String {
    format!(
        "{}{NBSP}{thing}{}",
        count(value),
        if value == 1 { "" } else { "s" }
    )
}

/// A number of any size in few digits: 0.0123 → `0.0123`, 1.234e-5 → `1.2e−5`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    minus(if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.1e}").replace("e-", "e−")
    } else if size < 1.0 {
        format!("{value:.4}")
    } else if size < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    })
}

/// A number without trailing zeros, rounded to six decimals: 0.30000000000000004 → `0.3`.
pub fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    minus(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Seconds: `0.04 s`, `12.3 s`, `3 min 20 s`.
pub fn seconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}{NBSP}s")
    } else if value < 120.0 {
        format!("{value:.1}{NBSP}s")
    } else {
        let whole = value.round();
        format!(
            "{:.0}{NBSP}min {:.0}{NBSP}s",
            (whole / 60.0).floor(),
            whole % 60.0
        )
    }
}

/// The layers 0 … `last`: `layer 0 alone`, `layers 0–3`; `first` is the lowest layer that there is.
pub fn layers_up_to(first: u32, last: u32) -> String {
    if first >= last {
        format!("layer{NBSP}{last} alone")
    } else {
        format!("layers{NBSP}{first}–{last}")
    }
}

/// The same for a table: `0`, `0–3`.
pub fn layer_span(first: u32, last: u32) -> String {
    if first >= last {
        last.to_string()
    } else {
        format!("{first}–{last}")
    }
}

/// How a neuron ordering is called in running text.
pub fn ranking(name: &str) -> String {
    match name {
        "lca" => "LCA".to_owned(),
        other => other.replace(['_', '-'], " "),
    }
}

/// What a neuron ordering of a study's minimal sets goes by.
pub fn goes_by(name: &str) -> Option<&'static str> {
    match name {
        "lca" => Some("the weights that the probe gives them (linguistic correlation analysis)"),
        "probeless" => Some("how far the means of the classes lie apart, without a probe"),
        _ => None,
    }
}

/// The hyphen of a negative number as a minus sign; the one of an exponent stays.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}
