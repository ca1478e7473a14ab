//! Numbers in equal intervals between the smallest and the largest.

use super::messages::Histogram;

/// Intervals: TensorBoard shows thirty of whatever it gets, so twice as many keep the shape.
const BUCKETS: usize = 60;

/// The histogram of the finite numbers.
pub(super) fn histogram(numbers: &[f32]) -> Histogram {
    let finite = || numbers.iter().copied().filter(|x| x.is_finite());
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    let (mut num, mut sum, mut sum_squares) = (0_u64, 0.0, 0.0);
    for x in finite() {
        (min, max) = (min.min(x), max.max(x));
        num += 1;
        sum += f64::from(x);
        sum_squares += f64::from(x) * f64::from(x);
    }
    if num == 0 {
        (min, max) = (0.0, 0.0);
    }
    let (min, max) = (f64::from(min), f64::from(max));
    let (bucket_limit, bucket) = if max > min {
        let width = (max - min) / BUCKETS as f64;
        let mut bucket = vec![0.0; BUCKETS];
        for x in finite() {
            // Negative or NaN would become 0.
            let at = ((f64::from(x) - min) / width) as usize;
            bucket[at.min(BUCKETS - 1)] += 1.0;
        }
        let mut limits: Vec<f64> = (1..=BUCKETS).map(|i| min + width * i as f64).collect();
        limits[BUCKETS - 1] = max;
        (limits, bucket)
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
