//! The figures compared with scikit-learn's, which `make_metrics.py` computed.

use serde_json::Value;

use super::classes::{OutputKind, class_report};
use super::numbers::{Unit, Units, regression};

/// The largest distance from a golden value, relative to it if it is above 1.
const TOLERANCE: f64 = 1e-12;

fn golden(group: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("metrics.json")).unwrap();
    all[group].as_array().unwrap().clone()
}

fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// Fails unless every figure in `want` has the same name and value in `got`.
#[track_caller]
fn agree(got: &Value, want: &Value, case: &Value) {
    for (name, want) in want.as_object().unwrap() {
        let Some(got) = got.get(name) else { panic!("{name} is missing in {}: {got}", case["name"]) };
        let near = match (got.as_f64(), want.as_f64()) {
            (Some(got), Some(want)) => (got - want).abs() <= TOLERANCE * want.abs().max(1.0),
            _ => got.is_null() && want.is_null(),
        };
        assert!(near, "{name} of {} is {got}, should be {want}", case["name"]);
    }
}

#[test]
fn figures_on_classes_are_those_of_scikit_learn() {
    let cases = golden("classification");
    assert_eq!(cases.len(), 10);
    for case in &cases {
        let labels: Vec<u32> = numbers(&case["labels"]).iter().map(|&label| label as u32).collect();
        let kind = if case["probabilities"] == true { OutputKind::Probabilities } else { OutputKind::Scores };
        let classes = usize::try_from(case["classes"].as_u64().unwrap()).unwrap();
        let report = class_report(&labels, &numbers(&case["outputs"]), classes, kind);
        agree(&serde_json::to_value(&report).unwrap(), &case["want"], case);
    }
}

#[test]
fn errors_of_numbers_are_those_of_scikit_learn() {
    let cases = golden("regression");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let width = usize::try_from(case["width"].as_u64().unwrap()).unwrap();
        let units = case["units"].as_array().map_or_else(Vec::new, |units| {
            let number = |x: &Value| x.as_f64().unwrap();
            units.iter().map(|unit| Unit { mean: number(&unit[0]), std: number(&unit[1]) }).collect()
        });
        let (targets, outputs) = (numbers(&case["targets"]), numbers(&case["outputs"]));
        let report = serde_json::to_value(regression(&targets, &outputs, width, &Units(units))).unwrap();
        let mut want = case["want"].clone();
        let columns = want.as_object_mut().unwrap().remove("columns").unwrap();
        agree(&report, &want, case);
        for (name, column) in columns.as_object().unwrap() {
            for (target, want) in column.as_array().unwrap().iter().enumerate() {
                let want = serde_json::json!({ name: want });
                agree(&report["outputs"][target], &want, case);
            }
        }
    }
}
