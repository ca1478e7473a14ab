//! The UCI 8×8 digits, embedded.

use nn_core::{Dataset, Features, Targets};

use crate::error::DataError;
use crate::split::{TEST_FRACTION, split};

/// The seed of the split. It is part of the data set, so no option changes it.
const SEED: u64 = 0;

/// What messages call the digits.
pub(crate) const FILE: &str = "the embedded digits";

/// Loads the digits, split by class into a training and a test set ([`TEST_FRACTION`] unless given).
pub(crate) fn load(test_fraction: Option<f64>) -> Result<(Dataset, Dataset, Vec<usize>), DataError> {
    let all = whole()?;
    let samples = all.len();
    split(&all, test_fraction.unwrap_or(TEST_FRACTION), SEED)
        .ok_or_else(|| DataError::TooFewSamples { file: FILE.into(), samples })
}

/// The test set of the UCI's *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak 1998, CC BY 4.0; `optdigits.tes`, as
/// scikit-learn's `load_digits` has it): one digit a line, 64 pixels from 0 to 16, row by row, and the label.
const DIGITS: &str = include_str!("digits.csv");

fn whole() -> Result<Dataset, DataError> {
    let (mut data, mut labels) = (Vec::new(), Vec::new());
    for line in DIGITS.lines() {
        // A test reads all of it, so no number can be missing.
        data.extend(line.split(',').map_while(|number| number.parse::<u8>().ok()));
        labels.extend(data.pop().map(u32::from));
    }
    Dataset::new(
        Features::U8 { data, scale: 16.0 },
        8 * 8,
        Targets::Classes { labels, classes: 10 },
        Some((8, 8)),
    )
    .map_err(|source| DataError::Unusable { file: FILE.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::fingerprint;

    fn counts(set: &Dataset) -> Vec<usize> {
        (0..10).map(|digit| (0..set.len()).filter(|&i| set.label(i) == Some(digit)).count()).collect()
    }

    #[test]
    fn all_of_them_are_there() {
        let all = whole().unwrap();
        assert_eq!((all.len(), all.input_width(), all.output_width()), (1797, 64, 10));
        assert_eq!(counts(&all), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let numbers =
            DIGITS.lines().map(|line| line.split(',').map(|number| number.parse::<u8>().unwrap()).collect());
        let lines: Vec<Vec<u8>> = numbers.collect();
        assert!(lines.iter().all(|line| line.len() == 65 && line.iter().all(|&pixel| pixel <= 16)));
        assert!(lines.iter().any(|line| line.contains(&16)));
    }

    #[test]
    fn golden_split() {
        let (train, test, _) = load(None).unwrap();
        assert_eq!((train.len(), test.len()), (1438, 359));
        assert_eq!(counts(&test), [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]);
        assert_eq!(
            fingerprint(&train, &test),
            "8862be1553832acceae33dbb4b30117d7a54b33c75cfab98ef639234e96147fc"
        );
    }
}
