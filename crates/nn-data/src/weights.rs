//! The weights of training samples: by their class, by a column, or both.

use nn_core::{Dataset, Targets};

use crate::error::{DataError, listed};

/// The weights of the classes.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ClassWeights {
    /// All classes weigh the same.
    #[default]
    None,
    /// Each class weighs n / (classes · samples of the class), so that all classes together weigh the same (scikit-learn's
    /// `class_weight="balanced"`).
    Balanced,
    /// The weight of each named class; that of the others is 1.
    Given(Vec<(String, f64)>),
}

/// The training set with weights that have a mean of 1, or as it is if nothing weighs its samples. `column` has a weight for
/// each sample; `names` are the names of the classes.
pub(crate) fn weigh(
    train: Dataset,
    classes: &ClassWeights,
    names: Option<&[String]>,
    column: Option<Vec<f64>>,
    file: &str,
) -> Result<Dataset, DataError> {
    if *classes == ClassWeights::None && column.is_none() {
        return Ok(train);
    }
    let mut weights = column.unwrap_or_else(|| vec![1.0; train.len()]);
    if let Some(of_class) = class_weights(&train, classes, names, file)?
        && let Targets::Classes { labels, .. } = train.targets()
    {
        weights.iter_mut().zip(labels).for_each(|(weight, &label)| *weight *= of_class[label as usize]);
    }
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return Err(DataError::NoWeight { file: file.into() });
    }
    let weights = weights.iter().map(|weight| (weight / mean) as f32).collect();
    train.with_weights(weights).map_err(|source| DataError::Unusable { file: file.into(), source })
}

fn class_weights(
    train: &Dataset,
    weights: &ClassWeights,
    names: Option<&[String]>,
    file: &str,
) -> Result<Option<Vec<f64>>, DataError> {
    if *weights == ClassWeights::None {
        return Ok(None);
    }
    let (Targets::Classes { labels, classes }, Some(names)) = (train.targets(), names) else {
        return Err(DataError::WeightsForNumbers { file: file.into() });
    };
    match weights {
        ClassWeights::None => Ok(None),
        ClassWeights::Balanced => {
            let mut counts = vec![0_usize; *classes];
            labels.iter().for_each(|&label| counts[label as usize] += 1);
            let present = counts.iter().filter(|count| **count > 0).count() as f64;
            let weight = |count: usize| labels.len() as f64 / (present * f64::max(count as f64, 1.0));
            Ok(Some(counts.into_iter().map(weight).collect()))
        }
        ClassWeights::Given(given) => {
            let mut all = vec![1.0; *classes];
            for (name, weight) in given {
                let Some(class) = names.iter().position(|known| known == name) else {
                    let known: Vec<&str> = names.iter().map(String::as_str).collect();
                    let (name, classes) = (crate::error::shown(name, 40), listed(&known));
                    return Err(DataError::NoSuchClass { file: file.into(), name, classes });
                };
                all[class] = *weight;
            }
            Ok(Some(all))
        }
    }
}

#[cfg(test)]
mod tests {
    use nn_core::Features;

    use super::*;

    fn train(labels: &[u32]) -> Dataset {
        let features = Features::F32(labels.iter().map(|&l| l as f32).collect());
        Dataset::new(features, 1, Targets::Classes { labels: labels.to_vec(), classes: 3 }, None).unwrap()
    }

    fn weighed(classes: &ClassWeights, column: Option<Vec<f64>>) -> Vec<f32> {
        let names = ["a", "b", "c"].map(String::from);
        let set = weigh(train(&[0, 0, 0, 1]), classes, Some(&names), column, "t").unwrap();
        set.weights().unwrap().to_vec()
    }

    /// `sklearn.utils.class_weight.compute_class_weight("balanced", classes=[0, 1], y=[0, 0, 0, 1])` is 2/3 and 2.
    #[test]
    fn balanced_classes_weigh_the_same() {
        let third = 2.0 / 3.0;
        assert_eq!(weighed(&ClassWeights::Balanced, None), [third, third, third, 2.0]);
        let given = ClassWeights::Given(vec![("b".into(), 5.0)]);
        assert_eq!(weighed(&given, None), [0.5, 0.5, 0.5, 2.5]);
        assert_eq!(weighed(&ClassWeights::None, Some(vec![1.0, 2.0, 1.0, 0.0])), [1.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn weights_that_cannot_be() {
        let names = ["a", "b", "c"].map(String::from);
        let of = |classes: ClassWeights, names: Option<&[String]>, column| {
            weigh(train(&[0, 1]), &classes, names, column, "t").unwrap_err().to_string()
        };
        let given = ClassWeights::Given(vec![("d".into(), 5.0)]);
        assert!(of(given, Some(&names), None).contains("the classes are a, b, c"));
        assert!(of(ClassWeights::Balanced, None, None).contains("are numbers"));
        assert!(of(ClassWeights::None, None, Some(vec![0.0, 0.0])).contains("weights"));
    }
}
