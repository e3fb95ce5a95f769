//! Plots as SVG in the page itself: lines over time, latency by quantile, bars.

use std::fmt::Write;

use super::html::escaped;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;

/// A line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Whose.
    pub name: String,
    /// Which of the page's colors.
    pub color: usize,
    /// Whether it is dashed.
    pub dashed: bool,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// What goes to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// Seconds.
    Time,
    /// Parts of all, each nine taking as much room as the one before.
    Quantile,
}

/// A plot of lines; nothing if there is nothing to be seen.
pub fn lines(title: &str, unit: &str, across: Across, lines: &[Line]) -> String {
    let place = |x: f64| match across {
        Across::Time => x,
        Across::Quantile => -(1.0 - x).log10(),
    };
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|point| place(point.0)).fold(0.0, f64::max);
    let y_max = points().map(|point| point.1).fold(0.0, f64::max);
    if x_max <= 0.0 || y_max <= 0.0 {
        return String::new();
    }
    let step = step(y_max);
    let top = (y_max / step).ceil() * step;
    let x = |value: f64| LEFT + place(value) / x_max * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut out = begin(title, unit);
    // Writing to a String can't fail.
    for tick in 0..=(top / step).round() as u32 {
        let value = f64::from(tick) * step;
        let _ = write!(
            out,
            r#"<path class="grid" d="M{LEFT} {y:.1}H{}"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(value) + 4.0,
            number(value),
            y = y(value)
        );
    }
    for (value, label) in across.ticks(x_max) {
        let _ = write!(
            out,
            r#"<text x="{:.1}" y="{}" text-anchor="middle">{label}</text>"#,
            x(value),
            HEIGHT - 14.0
        );
    }
    for Line { name, color, dashed, points } in lines {
        let path: Vec<String> =
            points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
        let dash = if *dashed { " dashed" } else { "" };
        let _ = write!(
            out,
            r#"<path class="line c{}{dash}" d="M{}"><title>{}</title></path>"#,
            color % 8,
            path.join("L"),
            escaped(name)
        );
    }
    out.push_str("</svg></figure>");
    out
}

/// A bar for each name, with its number.
pub fn bars(title: &str, unit: &str, bars: &[(String, usize, f64)]) -> String {
    let max = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);
    if max <= 0.0 {
        return String::new();
    }
    let mut out = format!(
        r#"<figure><figcaption>{}, {}</figcaption><div class="bars">"#,
        escaped(title),
        escaped(unit)
    );
    for (name, color, value) in bars {
        let _ = write!(
            out,
            r#"<span>{}</span><span class="bar"><i class="b{}" style="width:{:.1}%"></i>{}</span>"#,
            escaped(name),
            color % 8,
            value / max * 80.0,
            number(*value)
        );
    }
    out.push_str("</div></figure>");
    out
}

impl Across {
    fn ticks(self, max: f64) -> Vec<(f64, String)> {
        match self {
            Self::Time => {
                let step = step(max);
                let count = (max / step).floor() as u32;
                (0..=count).map(|n| f64::from(n) * step).map(|at| (at, format!("{} s", number(at)))).collect()
            }
            Self::Quantile => [0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999]
                .into_iter()
                .filter(|&quantile: &f64| -(1.0 - quantile).log10() <= max)
                .map(|quantile| (quantile, format!("{} %", trimmed(quantile * 100.0, 4))))
                .collect(),
        }
    }
}

fn begin(title: &str, unit: &str) -> String {
    let (title, unit) = (escaped(title), escaped(unit));
    format!(
        r#"<figure><figcaption>{title}, {unit}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#
    )
}

/// A round distance of ticks, of which about five go into `max`.
fn step(max: f64) -> f64 {
    let rough = max / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
    factor * power
}

/// A number as people write it.
pub fn number(value: f64) -> String {
    match value.abs() {
        abs if abs >= 10_000_000.0 => format!("{} M", trimmed(value / 1e6, 1)),
        abs if abs >= 10_000.0 => format!("{} k", trimmed(value / 1e3, 1)),
        abs if abs >= 100.0 => trimmed(value, 0),
        abs if abs >= 1.0 => trimmed(value, 2),
        _ => trimmed(value, 3),
    }
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ticks_are_round() {
        assert_eq!([step(97.0), step(3.1), step(0.4)], [20.0, 1.0, 0.1]);
        let written = [0.0, 0.25, 6.5, 99.99999, 1_234.4, 40_000.0, 2_400_000.0, 12_500_000.0].map(number);
        assert_eq!(written, ["0", "0.25", "6.5", "100", "1234", "40 k", "2400 k", "12.5 M"]);
    }

    #[test]
    fn a_line_is_within_its_plot_and_named() {
        let line =
            Line { name: "a & b".into(), color: 9, dashed: true, points: vec![(0.0, 1.0), (10.0, 4.0)] };
        let plot = lines("latency", "ms", Across::Time, &[line]);
        assert!(plot.contains(r#"class="line c1 dashed""#) && plot.contains("a &amp; b"), "{plot}");
        assert!(
            plot.contains(&format!("M{LEFT:.1} "))
                && plot.contains(&format!("L{:.1} {TOP:.1}", WIDTH - RIGHT)),
            "{plot}"
        );
        assert!(lines("none", "ms", Across::Time, &[]).is_empty());
    }

    #[test]
    fn every_nine_of_a_quantile_takes_the_same_room() {
        let ticks = Across::Quantile.ticks(3.1);
        let names: Vec<&str> = ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %"]);
    }
}
