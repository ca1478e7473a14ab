//! Parallel coordinates: an axis for each option that varies, and one for the figure that compares the trials. A line is a trial.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::super::sweep::{Results, Trial, TrialState, value_in_words};
use super::super::scale::{Scale, written};
use super::{about, class, legend, short};
use crate::show::escaped;

/// From the top of the drawing to the top and the bottom of the axes.
const TOP: f64 = 34.0;
const FLOOR: f64 = 290.0;
/// Where trials end that have no figure, below the last axis.
const NOWHERE: f64 = 318.0;
const HEIGHT: f64 = 332.0;
/// The room for the first axis' names, between two axes, and beyond the last one.
const LEFT: f64 = 90.0;
const GAP: f64 = 150.0;
const RIGHT: f64 = 110.0;
/// The least room between the first and the last axis.
const LEAST: f64 = 760.0;
/// Lines with the same value are drawn apart, over no more than this in all.
const APART: f64 = 12.0;

/// The longest name beside an axis, in characters.
const LONGEST: usize = 14;
/// The most different numbers that are all named.
const SINGLE: usize = 8;
/// The least part of an axis between two names.
const CLOSE: f64 = 0.05;

/// An axis of the drawing.
enum Axis {
    /// With the places that have a name: the values if they are few, or round numbers.
    Numbers(Scale, Vec<f64>),
    Names(Vec<String>),
}

impl Axis {
    /// The axis of an option.
    fn of(option: &str, trials: &[&Trial]) -> Option<Self> {
        let values = || trials.iter().map(|trial| trial.options.get(option));
        if values().all(|value| value.is_some_and(Value::is_number)) {
            let mut numbers: Vec<f64> = values().filter_map(|value| value?.as_f64()).collect();
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            let scale = Scale::suitable(numbers.iter().copied())?;
            if numbers.len() > SINGLE {
                numbers = scale.ticks().into_iter().map(|(tick, _)| tick).collect();
            }
            return Some(Self::Numbers(scale, numbers));
        }
        let mut names: Vec<String> = Vec::new();
        for value in values() {
            let name = value_in_words(value);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Some(Self::Names(names))
    }

    /// The place of a value, from 0 at the bottom to 1 at the top.
    fn at(&self, value: Option<&Value>) -> f64 {
        match self {
            Self::Numbers(scale, _) => value.and_then(Value::as_f64).map_or(0.5, |x| scale.at(x)),
            Self::Names(names) => {
                let name = value_in_words(value);
                place(names.iter().position(|known| *known == name).unwrap_or(0), names.len())
            }
        }
    }

    /// Places, with what is written there.
    fn marks(&self) -> Vec<(f64, String)> {
        match self {
            Self::Numbers(scale, numbers) => {
                let mut marks: Vec<(f64, String)> = Vec::new();
                for &number in numbers {
                    let at = scale.at(number);
                    // Names that would lie on each other are left out.
                    if marks.last().is_none_or(|(last, _)| at - last > CLOSE) {
                        marks.push((at, written(number)));
                    }
                }
                marks
            }
            Self::Names(names) => names
                .iter()
                .enumerate()
                .map(|(at, name)| (place(at, names.len()), short(name, LONGEST)))
                .collect(),
        }
    }
}

/// The place of a name, of which there are `count`; the first is on top.
fn place(at: usize, count: usize) -> f64 {
    if count < 2 { 0.5 } else { 1.0 - at as f64 / (count - 1) as f64 }
}

/// The figure; empty if no option varies, or no trial has a figure.
pub(super) fn figure(results: &Results, drawn: &[usize]) -> String {
    let trials: Vec<&Trial> = drawn.iter().map(|&at| &results.trials[at]).collect();
    let (times, name) = results.by.of_axis();
    let figure = |trial: &Trial| trial.score.value.map(|value| value * times).filter(|x| x.is_finite());
    let scale = Scale::linear(trials.iter().filter_map(|trial| figure(trial)));
    let axes: Vec<(&String, Axis)> =
        results.varied.iter().filter_map(|option| Some((option, Axis::of(option, &trials)?))).collect();
    let Some(scale) = scale.filter(|_| !axes.is_empty()).map(Scale::roomy) else { return String::new() };
    let gap = GAP.max(LEAST / axes.len() as f64);
    let width = LEFT + gap * axes.len() as f64 + RIGHT;
    let broad = if axes.len() > 5 { " broad" } else { "" };
    let mut svg = format!(
        "<figure class=\"parallel{broad}\"><figcaption>Trials by their options</figcaption><div class=\"wide\">\
         <svg viewBox=\"0 0 {width:.0} {HEIGHT}\" role=\"img\" aria-label=\"Parallel coordinates: the options of each trial and its {}\">",
        escaped(&results.by.in_words())
    );
    let x = |at: usize| LEFT + gap * at as f64;
    let y = |at: f64| FLOOR - at * (FLOOR - TOP);
    // Lines below, so that names stay readable.
    svg += &lines(results, &trials, &axes, &|trial| figure(trial).map(|x| scale.at(x)), (&x, &y));
    let mut axis = |at: usize, name: &str, is_log: bool, marks: Vec<(f64, String)>, right: bool| {
        let x = x(at);
        // The last name is long, and ends with the drawing.
        let (middle, anchor) = if right { (width - 4.0, "end") } else { (x, "middle") };
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{x:.1} {TOP}V{FLOOR}\"/><text class=\"name\" x=\"{middle:.1}\" y=\"14\" text-anchor=\"{anchor}\">{}{}</text>",
            escaped(name),
            if is_log { " (log)" } else { "" }
        );
        let (beside, anchor) = if right { (x + 8.0, "start") } else { (x - 8.0, "end") };
        for (place, text) in marks {
            let y = y(place);
            let _ = write!(
                svg,
                "<path class=\"axis\" d=\"M{:.1} {y:.1}h6\"/><text x=\"{beside:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                x - 3.0,
                y + 4.0,
                escaped(&text)
            );
        }
    };
    for (at, (option, of)) in axes.iter().enumerate() {
        let is_log = matches!(of, Axis::Numbers(scale, _) if scale.is_log());
        axis(at, option, is_log, of.marks(), false);
    }
    let marks = scale.ticks().into_iter().map(|(tick, name)| (scale.at(tick), name)).collect();
    axis(axes.len(), &name, false, marks, true);
    if trials.iter().any(|trial| figure(trial).is_none()) {
        let x = x(axes.len());
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{:.1} {NOWHERE}h8\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"start\">no figure</text>",
            x - 4.0,
            x + 8.0,
            NOWHERE + 4.0
        );
    }
    format!(
        "{svg}</svg></div>{}<p class=\"faint\">A line is a trial; {} is {}. Lines with the same value are drawn a little apart.</p></figure>\n",
        legend(results, drawn),
        escaped(&results.by.in_words()),
        if results.by.more_is_better() { "better the higher it is" } else { "better the lower it is" }
    )
}

/// The lines of all trials.
fn lines(
    results: &Results,
    trials: &[&Trial],
    axes: &[(&String, Axis)],
    figure: &dyn Fn(&Trial) -> Option<f64>,
    (x, y): (&dyn Fn(usize) -> f64, &dyn Fn(f64) -> f64),
) -> String {
    let places: Vec<Vec<f64>> = axes
        .iter()
        .map(|(option, axis)| {
            let at: Vec<f64> = trials.iter().map(|trial| y(axis.at(trial.options.get(*option)))).collect();
            apart(&at, &trials.iter().map(|trial| figure(trial)).collect::<Vec<_>>())
        })
        .collect();
    let mut svg = String::new();
    for (at, trial) in trials.iter().enumerate() {
        let mut path = String::new();
        for (axis, places) in places.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if axis == 0 { 'M' } else { 'L' }, x(axis), places[at]);
        }
        let last = figure(trial).map_or(NOWHERE, y);
        let _ = write!(path, "L{:.1} {last:.1}", x(axes.len()));
        let _ = write!(
            svg,
            "<path class=\"{}\" d=\"{path}\"><title>{}</title></path>",
            class(results, trial),
            about(results, trial)
        );
        if matches!(trial.state, TrialState::Diverged | TrialState::Failed) {
            let (x, y) = (x(axes.len()), last);
            let _ = write!(svg, "<path class=\"cross\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>", x - 4.0, y - 4.0);
        }
    }
    svg
}

/// Places at which several trials are, drawn apart in the order of their figures.
fn apart(places: &[f64], figures: &[Option<f64>]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    let figure = |at: usize| figures[at].unwrap_or(f64::NEG_INFINITY);
    // The highest figure is on top, where y is least.
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]).then(figure(b).total_cmp(&figure(a))));
    let mut moved = places.to_vec();
    for same in order.chunk_by(|&a, &b| places[a] == places[b]) {
        let step = (APART / same.len() as f64).min(3.0);
        for (rank, &at) in same.iter().enumerate() {
            moved[at] += (rank as f64 - (same.len() - 1) as f64 / 2.0) * step;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_places_are_drawn_apart_by_figure() {
        let moved = apart(&[10.0, 50.0, 10.0, 10.0], &[Some(0.2), None, Some(0.9), None]);
        assert_eq!(moved, [10.0, 50.0, 7.0, 13.0]);
        let many = apart(&[0.0; 100], &[None; 100]);
        assert!(many.iter().all(|y| y.abs() < APART / 2.0));
    }

    #[test]
    fn names_are_from_top_to_bottom() {
        assert_eq!([0, 1, 2].map(|at| place(at, 3)), [1.0, 0.5, 0.0]);
        assert_eq!(place(0, 1), 0.5);
        assert_eq!(
            (short("relu", 14), short("a-very-long-name", 14)),
            ("relu".into(), "a-very-long-n…".into())
        );
    }
}
