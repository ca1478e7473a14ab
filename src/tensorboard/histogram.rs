//! Numbers in equal intervals between the smallest and the largest.

use super::messages::Histogram;

/// Intervals: TensorBoard shows thirty of whatever it gets, so twice as many keep the shape.
const BUCKETS: usize = 60;

/// Partial results side by side: one after the other, each addition would wait for the one before.
const LANES: usize = 8;

/// What a pass over the finite numbers finds.
struct Range {
    min: f32,
    max: f32,
    num: u64,
    sum: f64,
    sum_squares: f64,
}

impl Range {
    fn of(numbers: &[f32]) -> Self {
        let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let (mut num, mut sum, mut squares) = ([0_u64; LANES], [0.0_f64; LANES], [0.0_f64; LANES]);
        for chunk in numbers.chunks(LANES) {
            for (lane, &x) in chunk.iter().enumerate() {
                let finite = x.is_finite();
                let or = |other: f32| if finite { x } else { other };
                min[lane] = min[lane].min(or(f32::INFINITY));
                max[lane] = max[lane].max(or(f32::NEG_INFINITY));
                let x = f64::from(or(0.0));
                num[lane] += u64::from(finite);
                sum[lane] += x;
                squares[lane] += x * x;
            }
        }
        Self {
            min: min.into_iter().fold(f32::INFINITY, f32::min),
            max: max.into_iter().fold(f32::NEG_INFINITY, f32::max),
            num: num.into_iter().sum(),
            sum: sum.into_iter().sum(),
            sum_squares: squares.into_iter().sum(),
        }
    }
}

/// The histogram of the finite numbers.
pub(super) fn histogram(numbers: &[f32]) -> Histogram {
    let Range { mut min, mut max, num, sum, sum_squares } = Range::of(numbers);
    if num == 0 {
        (min, max) = (0.0, 0.0);
    }
    let (min, max) = (f64::from(min), f64::from(max));
    let (bucket_limit, bucket) = if max > min {
        let width = (max - min) / BUCKETS as f64;
        // A division for each number would take as long as all the rest.
        let per_bucket = 1.0 / width;
        // Many numbers in a row fall into the same interval. The last count of each lane is of those that are not finite.
        let mut counts = [[0_u64; BUCKETS + 1]; LANES];
        for chunk in numbers.chunks(LANES) {
            for (counts, &x) in counts.iter_mut().zip(chunk) {
                // What is negative or NaN becomes 0.
                let at = (((f64::from(x) - min) * per_bucket) as usize).min(BUCKETS - 1);
                counts[if x.is_finite() { at } else { BUCKETS }] += 1;
            }
        }
        let mut limits: Vec<f64> = (1..=BUCKETS).map(|i| min + width * i as f64).collect();
        limits[BUCKETS - 1] = max;
        let count = |bucket: usize| counts.iter().map(|lane| lane[bucket]).sum::<u64>() as f64;
        (limits, (0..BUCKETS).map(count).collect())
    } else {
        (vec![max], vec![num as f64])
    };
    Histogram { min, max, num: num as f64, sum, sum_squares, bucket_limit, bucket }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_number_is_counted_once() {
        let numbers: Vec<f32> = (0..=600).map(|i| i as f32 / 100.0 - 3.0).collect();
        let found = histogram(&numbers);
        assert_eq!((found.min, found.max, found.num), (-3.0, 3.0, 601.0));
        assert_eq!(found.bucket.iter().sum::<f64>(), 601.0);
        assert!(found.bucket.iter().all(|&count| (9.0..=12.0).contains(&count)), "{:?}", found.bucket);
        assert!(found.bucket_limit.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(found.bucket_limit.last(), Some(&3.0));
        assert!(found.sum.abs() < 1e-4);
    }

    #[test]
    fn numbers_without_a_range_have_one_bucket() {
        let found = histogram(&[2.0, f32::NAN, 2.0, f32::INFINITY]);
        assert_eq!((found.bucket, found.bucket_limit), (vec![2.0], vec![2.0]));
        assert_eq!((found.sum, found.sum_squares), (4.0, 8.0));
        let none = histogram(&[]);
        assert_eq!((none.num, none.bucket), (0.0, vec![0.0]));
        // Differences that no f32 holds.
        let wide = histogram(&[f32::MIN, f32::MAX]);
        assert_eq!(wide.bucket.iter().sum::<f64>(), 2.0);
        assert_eq!((wide.bucket[0], wide.bucket[59]), (1.0, 1.0));
    }
}
