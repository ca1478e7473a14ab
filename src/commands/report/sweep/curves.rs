//! Learning curves of all trials.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::super::sweep::{Results, TrialState};
use super::super::chart::Plane;
use super::super::scale::Scale;
use super::{about, class, legend};

/// The most points of a line: more would not be seen.
const POINTS: usize = 300;

/// The curves of loss and accuracy on the samples that compare runs; `logs` has the trials that are drawn, with the lines of their epochs.
pub(super) fn figures(results: &Results, logs: &[(usize, Vec<Map<String, Value>>)]) -> String {
    let set = if results.by.is_by_validation() { "validation" } else { "test" };
    let mut html = String::new();
    for (figure, title, times) in
        [("loss", "loss", 1.0), ("accuracy", "accuracy in %", 100.0), ("r2", "R²", 1.0)]
    {
        let (key, title) = (format!("{set}_{figure}"), format!("{set} {title}"));
        html += &chart(results, logs, &key, &title, times);
    }
    if html.is_empty() {
        html
    } else {
        format!("<h3>Learning curves</h3>\n<div class=\"charts\">\n{html}</div>\n")
    }
}

fn chart(
    results: &Results,
    logs: &[(usize, Vec<Map<String, Value>>)],
    key: &str,
    title: &str,
    times: f64,
) -> String {
    let point =
        |line: &Map<String, Value>| Some((line.get("epoch")?.as_f64()?, line.get(key)?.as_f64()? * times));
    let curves: Vec<(usize, Vec<(f64, f64)>)> =
        logs.iter().map(|(at, log)| (*at, thinned(log.iter().filter_map(point).collect()))).collect();
    // A diverged run would leave no room for the others, unless there are none.
    let tame = |at: usize| !matches!(results.trials[at].state, TrialState::Diverged | TrialState::Failed);
    let any = curves.iter().any(|(at, points)| tame(*at) && !points.is_empty());
    let points = || curves.iter().filter(|(at, _)| !any || tame(*at)).flat_map(|(_, points)| points);
    let x = Scale::linear(curves.iter().flat_map(|(_, points)| points).map(|point| point.0));
    let values = points().map(|point| point.1);
    let y = if key.ends_with("loss") { Scale::suitable(values) } else { Scale::linear(values) };
    let (Some(x), Some(y)) = (x, y) else { return String::new() };
    let plane = Plane { x, y: y.roomy() };
    let scale = if y.is_log() { ", logarithmic" } else { "" };
    let mut svg = plane.begin(&format!("{title}{scale}"), "epoch");
    for (at, points) in &curves {
        let trial = &results.trials[*at];
        let (class, points) = (class(results, trial), cut(points, &plane));
        let path = plane.path(&points);
        if !path.is_empty() {
            let _ = write!(
                svg,
                "<path class=\"{class}\" d=\"{path}\"><title>{}</title></path>{}",
                about(results, trial),
                plane.dot(&points, class)
            );
        }
    }
    let drawn: Vec<usize> =
        curves.iter().filter(|(_, points)| !points.is_empty()).map(|(at, _)| *at).collect();
    format!("{svg}</svg>{}</figure>\n", legend(results, &drawn))
}

/// So few points as are seen, with the first and the last.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last).map(|(_, p)| p).collect()
}

/// The points up to where the curve leaves the drawing at its top.
fn cut(points: &[(f64, f64)], plane: &Plane) -> Vec<(f64, f64)> {
    let within = points.iter().take_while(|(_, y)| plane.y.at(*y).is_nan() || plane.y.at(*y) <= 1.0);
    let mut kept: Vec<(f64, f64)> = within.copied().collect();
    if let Some((x, y)) = points.get(kept.len()).filter(|(_, y)| !y.is_nan()) {
        let top = plane.y.high();
        // On the way from the last point within to this one.
        let from = kept.last().copied();
        kept.push(match from {
            Some((before, low)) if y.is_finite() => (before + (x - before) * (top - low) / (y - low), top),
            _ => (*x, top),
        });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..1000).map(|x| (f64::from(x), 0.0)).collect();
        let thin = thinned(points.clone());
        assert!((250..=301).contains(&thin.len()) && thin[0] == points[0] && thin.last() == points.last());
        assert_eq!(thinned(points[..300].to_vec()).len(), 300);
        assert!(thinned(Vec::new()).is_empty());
    }

    #[test]
    fn what_leaves_the_drawing_ends_at_its_top() {
        let scale = Scale::linear([0.0, 10.0].into_iter()).unwrap();
        let plane = Plane { x: scale, y: scale };
        assert_eq!(cut(&[(1.0, 4.0), (2.0, 16.0), (3.0, 5.0)], &plane), [(1.0, 4.0), (1.5, 10.0)]);
        assert_eq!(cut(&[(1.0, f64::INFINITY)], &plane), [(1.0, 10.0)]);
        assert_eq!(cut(&[(1.0, 4.0), (2.0, 10.0)], &plane).len(), 2);
    }
}
