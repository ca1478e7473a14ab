//! Distortions of pictures in training: turned, stretched, sheared, shifted, bent and mirrored at random, so that a network
//! sees no picture twice.
//!
//! A distortion is a function of (seed, epoch, sample) and of the amounts in [`Augmentation`], the same on every machine:
//! its random numbers have addresses ([`sample_key`](crate::random::sample_key)), its sines come from `libm`, and the rest
//! is additions and multiplications of IEEE 754, in one order.
//!
//! The source of the pixel at distance p from the picture's centre c is c + t + R S D p + e(p): D stretches each axis, S
//! shears, R turns, t shifts, and e is the elastic field: random numbers at 7 × 7 knots, joined by cubic B-splines (in the
//! manner of Simard, Steinkraus and Platt 2003, who smooth a number for each pixel instead, which takes four times as
//! long). What is there is interpolated bilinearly, once for all of it. Around the picture everything is 0.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::kernel::Isa;
use crate::kernel::distort::{Canvas, KNOTS, Knots, Shape, Warp, distort};
use crate::random::word;
use crate::spec::exact_f32;

/// Random distortions of pictures in training: how large each may be. All are uniform between −amount and amount, and 0
/// means none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Augmentation {
    /// The largest angle, in degrees; 0 to 180.
    #[serde(deserialize_with = "exact_f32")]
    pub rotation: f32,
    /// The largest relative change of the distances in the source along each axis, which change independently: with 0.15 what
    /// is 100 pixels long becomes 87 to 118. At least 0 and below 1.
    #[serde(deserialize_with = "exact_f32")]
    pub scale: f32,
    /// The largest shift of a row, relative to its distance from the middle row; 0 to 2.
    #[serde(deserialize_with = "exact_f32")]
    pub shear: f32,
    /// The largest shift along each axis, in pixels of a picture with 28 of them along it: it grows with the picture. 0 to
    /// 28.
    #[serde(deserialize_with = "exact_f32")]
    pub shift: f32,
    /// The root mean square of the elastic field along each axis, in the same pixels; 0 to 10.
    #[serde(deserialize_with = "exact_f32")]
    pub elastic: f32,
    /// Mirror half of the pictures left-right.
    pub flip: bool,
}

/// The reason why [`Augmentation::check`] refuses an amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {value}, but must be {limits}")]
pub struct AugmentationError {
    /// The field of [`Augmentation`].
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub limits: &'static str,
}

impl Augmentation {
    /// The affine part of a recipe that is good for handwritten digits.
    pub const AFFINE: Self =
        Self { rotation: 15.0, scale: 0.15, shear: 0.15, shift: 1.5, elastic: 0.0, flip: false };

    /// The elastic part of that recipe.
    pub const ELASTIC: Self =
        Self { rotation: 0.0, scale: 0.0, shear: 0.0, shift: 0.0, elastic: 1.2, flip: false };

    /// Whether every picture stays as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every amount.
    ///
    /// # Errors
    /// The first amount that is not within its limits.
    pub fn check(&self) -> Result<(), AugmentationError> {
        let &Self { rotation, scale, shear, shift, elastic, flip: _ } = self;
        // NaN is in no range.
        for (field, value, allowed, limits) in [
            ("rotation", rotation, (0.0..=180.0).contains(&rotation), "from 0 to 180 degrees"),
            ("scale", scale, (0.0..1.0).contains(&scale), "at least 0 and below 1"),
            ("shear", shear, (0.0..=2.0).contains(&shear), "from 0 to 2"),
            ("shift", shift, (0.0..=28.0).contains(&shift), "from 0 to 28 pixels"),
            ("elastic", elastic, (0.0..=10.0).contains(&elastic), "from 0 to 10 pixels"),
        ] {
            if !allowed {
                return Err(AugmentationError { field, value: value.to_string(), limits });
            }
        }
        Ok(())
    }
}

/// What is drawn for one picture.
#[derive(Debug, Clone, PartialEq)]
struct Draw {
    /// In degrees, from the axis x (right) to the axis y (down).
    rotation: f64,
    /// The factors along x and y.
    scale: [f64; 2],
    /// The shift of x for each pixel of y.
    shear: f64,
    /// Along x and y, in pixels of this picture.
    shift: [f64; 2],
    /// In (−1, 1) for each knot, for x and for y; nothing without an elastic field.
    noise: Option<[[Knots; KNOTS]; 2]>,
    /// Mirror the result.
    flip: bool,
}

/// The first word of the elastic field; those before are for single numbers.
const FIELD: u32 = 8;

/// The number in [−1, 1) of a word, with 53 bits.
fn signed(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1_u64 << 52) as f64) - 1.0
}

/// The number in (−1, 1) of half a word, with 24 bits and a mean of 0. It is exact.
fn noise(half: u32) -> f32 {
    (half >> 8) as f32 * (1.0 / 8_388_608.0) - (1.0 - 1.0 / 16_777_216.0)
}

/// The cubic B-splines of 7 knots at `side` points from the second knot to the last but one, so that four of them are
/// there at every point. They are scaled so that a sum with independent numbers of variance 1 has, on average over the
/// points, variance 1.
fn splines(side: usize) -> Vec<Knots> {
    let spacing = (KNOTS - 3) as f64 / (side.max(2) - 1) as f64;
    let middle = (side as f64 - 1.0) / 2.0;
    let spline = |t: f64| match t {
        t if t < 1.0 => (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        t if t < 2.0 => (2.0 - t) * (2.0 - t) * (2.0 - t) / 6.0,
        _ => 0.0,
    };
    let values: Vec<[f64; KNOTS]> = (0..side)
        .map(|x| {
            let place = (x as f64 - middle) * spacing + (KNOTS - 1) as f64 / 2.0;
            core::array::from_fn(|knot| spline((place - knot as f64).abs()))
        })
        .collect();
    let squares: f64 = values.iter().flatten().map(|v| v * v).sum();
    let factor = libm::sqrt(side as f64 / squares);
    let scaled = |values: &[f64; KNOTS]| {
        let mut knots = Knots::default();
        for (knot, value) in knots.iter_mut().zip(values) {
            *knot = (value * factor) as f32;
        }
        knots
    };
    values.iter().map(scaled).collect()
}

/// Distorts pictures of one size.
#[derive(Debug)]
pub(crate) struct Distorter {
    augmentation: Augmentation,
    shape: Shape,
    /// The middle of the picture in x and y.
    centre: [f64; 2],
    /// The picture's pixels for one of a picture of 28 × 28, along x and y.
    pixel: [f64; 2],
    /// What to multiply the noise in (−1, 1) by, along x and y.
    elastic: [f32; 2],
}

impl Distorter {
    /// For pictures of (height, width).
    pub(crate) fn new(augmentation: Augmentation, (height, width): (usize, usize)) -> Self {
        let pixel = [width as f64 / 28.0, height as f64 / 28.0];
        // The variance of the noise is 1/3.
        let elastic = pixel.map(|p| (f64::from(augmentation.elastic) * p * libm::sqrt(3.0)) as f32);
        Self {
            augmentation,
            shape: Shape::new(splines(height), &splines(width)),
            centre: [width, height].map(|side| (side as f64 - 1.0) / 2.0),
            pixel,
            elastic,
        }
    }

    /// Working memory for a thread.
    pub(crate) fn canvas(&self) -> Canvas {
        self.shape.canvas()
    }

    /// Writes the distortion of a sample's picture to `out`: `key` is the sample's, and `source` its features after scaling.
    pub(crate) fn distort(&self, isa: Isa, key: u64, source: &[f32], canvas: &mut Canvas, out: &mut [f32]) {
        distort(isa, &self.shape, &self.warp(&self.draw(key)), source, canvas, out);
    }

    /// What a key draws.
    fn draw(&self, key: u64) -> Draw {
        let Augmentation { rotation, scale, shear, shift, elastic, flip } = self.augmentation;
        let draw = |at: u32, amount: f32| signed(word(key, at)) * f64::from(amount);
        let mut field = [[Knots::default(); KNOTS]; 2];
        if elastic > 0.0 {
            for i in 0..KNOTS * KNOTS {
                let word = word(key, FIELD + i as u32);
                field[0][i / KNOTS][i % KNOTS] = noise(word as u32);
                field[1][i / KNOTS][i % KNOTS] = noise((word >> 32) as u32);
            }
        }
        Draw {
            rotation: draw(0, rotation),
            scale: [1.0 + draw(1, scale), 1.0 + draw(2, scale)],
            shear: draw(3, shear),
            shift: [draw(4, shift) * self.pixel[0], draw(5, shift) * self.pixel[1]],
            noise: (elastic > 0.0).then_some(field),
            flip: flip && word(key, 6) >> 63 == 1,
        }
    }

    /// The map that is drawn: R S D in f64, and then rounded.
    fn warp(&self, draw: &Draw) -> Warp {
        let angle = draw.rotation * (core::f64::consts::PI / 180.0);
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        let matrix = [
            [cos * draw.scale[0], (cos * draw.shear - sin) * draw.scale[1]],
            [sin * draw.scale[0], (sin * draw.shear + cos) * draw.scale[1]],
        ];
        let field = draw.noise.map(|mut noise| {
            for (knots, amount) in noise.iter_mut().zip(self.elastic) {
                knots.as_flattened_mut().iter_mut().for_each(|knot| *knot *= amount);
            }
            noise
        });
        Warp {
            matrix: matrix.map(|row| row.map(|x| x as f32)),
            centre: [0, 1].map(|axis| (self.centre[axis] + draw.shift[axis]) as f32),
            field,
            flip: draw.flip,
        }
    }
}

#[cfg(test)]
mod tests;
