use super::*;
use crate::random::{Purpose, epoch_key, sample_key};

const SIZES: [(usize, usize); 7] = [(28, 28), (8, 8), (5, 9), (1, 1), (32, 32), (64, 48), (1, 13)];

const ALL: Augmentation =
    Augmentation { rotation: 15.0, scale: 0.15, shear: 0.15, shift: 1.5, elastic: 1.2, flip: true };

const STILL: Draw =
    Draw { rotation: 0.0, scale: [1.0; 2], shear: 0.0, shift: [0.0; 2], noise: None, flip: false };

fn key(seed: u64, epoch: u64, sample: u32) -> u64 {
    sample_key(epoch_key(seed, Purpose::Distortion, epoch), sample)
}

/// Numbers in (−1, 1) that are not round.
fn picture((height, width): (usize, usize)) -> Vec<f32> {
    (0..height * width).map(|i| noise(word(9, i as u32) as u32)).collect()
}

/// The picture under what was drawn, on every instruction set.
fn drawn(size: (usize, usize), amounts: Augmentation, draw: &Draw, source: &[f32]) -> Vec<f32> {
    let distorter = Distorter::new(amounts, size);
    let warp = distorter.warp(draw);
    let mut canvas = distorter.canvas();
    let mut all = Isa::available().into_iter().map(|isa| {
        let mut out = vec![f32::NAN; source.len()];
        distort(isa, &distorter.shape, &warp, source, &mut canvas, &mut out);
        (isa, out)
    });
    let (_, first) = all.next().unwrap();
    for (isa, other) in all {
        let same = first.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{size:?} on {}: {draw:?}", isa.name());
    }
    first
}

#[test]
fn every_instruction_set_gives_the_same_bits_within_the_range_of_the_picture() {
    let amounts = [
        Augmentation::AFFINE,
        Augmentation::ELASTIC,
        ALL,
        // As wild as can be: most sources are outside of the picture.
        Augmentation { rotation: 180.0, scale: 0.999, shear: 2.0, shift: 28.0, elastic: 10.0, flip: true },
    ];
    for size in SIZES {
        let source = picture(size);
        for amounts in amounts {
            amounts.check().unwrap();
            let distorter = Distorter::new(amounts, size);
            let mut canvas = distorter.canvas();
            for sample in 0..50 {
                let key = key(1, 2, sample);
                let want = drawn(size, amounts, &distorter.draw(key), &source);
                let mut out = vec![f32::NAN; source.len()];
                distorter.distort(Isa::best(), key, &source, &mut canvas, &mut out);
                assert_eq!(out, want, "the canvas is left as it was");
                assert!(out.iter().all(|x| x.abs() < 1.000_001));
            }
        }
    }
}

#[test]
fn no_amount_changes_nothing_and_no_parameters_read_outside() {
    for size in SIZES {
        let source = picture(size);
        let distorter = Distorter::new(Augmentation::default(), size);
        for sample in 0..10 {
            let draw = distorter.draw(key(1, 0, sample));
            assert_eq!(draw, STILL);
            assert_eq!(drawn(size, Augmentation::default(), &draw, &source), source);
        }
        for wild in [1e9, -1e9, 1e38, -1e38, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            for draw in [
                Draw { scale: [wild, 1.0], ..STILL },
                Draw { scale: [1.0, wild], shear: -wild, ..STILL },
                Draw { shift: [wild, -wild], ..STILL },
                Draw { noise: Some([[[wild as f32; 8]; KNOTS]; 2]), ..STILL },
            ] {
                let out = drawn(size, ALL, &draw, &source);
                assert!(out.iter().all(|x| x.is_finite()), "{size:?} {draw:?}");
            }
        }
    }
}

#[test]
fn shifts_turns_and_mirrors_by_whole_pixels_move_pixels() {
    for size in SIZES {
        let (height, width) = size;
        let source = picture(size);
        let at = |y: isize, x: isize| match (usize::try_from(y), usize::try_from(x)) {
            (Ok(y), Ok(x)) if y < height && x < width => source[y * width + x],
            _ => 0.0,
        };
        let moved = |place: &dyn Fn(isize, isize) -> f32| -> Vec<f32> {
            (0..height * width).map(|i| place((i / width) as isize, (i % width) as isize)).collect()
        };
        let draws = |draw: &Draw| drawn(size, Augmentation::default(), draw, &source);
        for (dx, dy) in [(1, 0), (0, -2), (-3, 3), (100, 0), (0, -100)] {
            let shifted = draws(&Draw { shift: [dx as f64, dy as f64], ..STILL });
            assert_eq!(shifted, moved(&|y, x| at(y + dy, x + dx)), "{size:?} {dx} {dy}");
        }
        let last = width as isize - 1;
        assert_eq!(draws(&Draw { flip: true, ..STILL }), moved(&|y, x| at(y, last - x)));
        assert_eq!(
            draws(&Draw { flip: true, shift: [1.0, 0.0], ..STILL }),
            moved(&|y, x| at(y, last - x + 1)),
            "the mirror comes last"
        );
        if height == width {
            for (angle, turned) in [
                (90.0, moved(&|y, x| at(x, last - y))),
                (-90.0, moved(&|y, x| at(last - x, y))),
                (180.0, moved(&|y, x| at(last - y, last - x))),
            ] {
                let out = draws(&Draw { rotation: angle, ..STILL });
                assert!(out.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1e-5), "{size:?} {angle}");
            }
        }
    }
    // Half a pixel to the right of the last one is half of it.
    let half = Draw { shift: [0.5, 0.0], ..STILL };
    assert_eq!(drawn((1, 3), Augmentation::default(), &half, &[2.0, 4.0, 8.0]), [3.0, 6.0, 4.0]);
}

#[test]
fn what_is_drawn_keeps_to_its_range_and_has_a_mean_of_nothing() {
    let size = (14, 56);
    let distorter = Distorter::new(ALL, size);
    let count = 20_000;
    let (mut sums, mut flips) = ([0.0; 6], 0);
    for sample in 0..count {
        let draw = distorter.draw(key(3, 1, sample));
        let relative = [
            draw.rotation / 15.0,
            (draw.scale[0] - 1.0) / f64::from(ALL.scale),
            (draw.scale[1] - 1.0) / f64::from(ALL.scale),
            draw.shear / f64::from(ALL.shear),
            draw.shift[0] / 3.0,
            draw.shift[1] / 0.75,
        ];
        for (sum, x) in sums.iter_mut().zip(relative) {
            assert!(x.abs() <= 1.0 + 1e-12, "{draw:?}");
            *sum += x;
        }
        flips += u32::from(draw.flip);
        assert!(draw.noise.unwrap().as_flattened().as_flattened().iter().all(|x| x.abs() < 1.0));
    }
    // Five deviations of the mean of numbers with variance 1/3, and of throws.
    assert!(sums.iter().all(|sum| sum.abs() < 5.0 * (f64::from(count) / 3.0).sqrt()), "{sums:?}");
    assert!(flips.abs_diff(count / 2) < 5 * 71, "{flips}");
    assert_eq!([noise(0), noise(u32::MAX)], [-1.0 + 2_f32.powi(-24), 1.0 - 2_f32.powi(-24)]);
}

#[test]
fn the_field_has_its_root_mean_square_along_each_axis() {
    for size in SIZES {
        let (height, width) = size;
        let distorter = Distorter::new(Augmentation::ELASTIC, size);
        let keys = 2000;
        let mut squares = [0.0; 2];
        for sample in 0..keys {
            let field = distorter.warp(&distorter.draw(key(1, 0, sample))).field.unwrap();
            for i in 0..height * width {
                let moves = distorter.shape.displacement(&field, i / width, i % width);
                for (sum, by) in squares.iter_mut().zip(moves) {
                    *sum += f64::from(by) * f64::from(by);
                }
            }
        }
        let root = squares.map(|sum| (sum / f64::from(keys) / (height * width) as f64).sqrt());
        for (root, side) in root.into_iter().zip([width, height]) {
            let want = 1.2 * side as f64 / 28.0;
            assert!((root / want - 1.0).abs() < 0.06, "{size:?}: {root} for {want}");
        }
    }
}

#[test]
fn a_distortion_depends_on_seed_epoch_and_sample_and_its_bits_are_pinned() {
    let mut seen: Vec<Vec<u32>> = Vec::new();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a, 32 bits at a time
    for size in [(28, 28), (5, 9)] {
        let (source, distorter) = (picture(size), Distorter::new(ALL, size));
        let mut canvas = distorter.canvas();
        for (seed, epoch, sample) in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, u32::MAX)] {
            let mut out = vec![0.0; source.len()];
            distorter.distort(Isa::best(), key(seed, epoch, sample), &source, &mut canvas, &mut out);
            seen.push(out.iter().map(|x| x.to_bits()).collect());
        }
    }
    for &bits in seen.iter().flatten() {
        hash = (hash ^ u64::from(bits)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    assert!((0..seen.len()).all(|i| (0..i).all(|j| seen[i] != seen[j])));
    // A change here changes the result of every run with distortions: it is a new version.
    assert_eq!(hash, 0xdb71_9258_e7c6_d467, "{hash:#018x}");
}

#[test]
fn amounts_are_checked_and_survive_being_written() {
    let refused = |amounts: Augmentation| amounts.check().unwrap_err().field;
    for wrong in [-0.1, 181.0, f32::NAN, f32::INFINITY] {
        assert_eq!(refused(Augmentation { rotation: wrong, ..ALL }), "rotation");
        assert_eq!(refused(Augmentation { scale: wrong, ..ALL }), "scale");
        assert_eq!(refused(Augmentation { shear: wrong, ..ALL }), "shear");
        assert_eq!(refused(Augmentation { shift: wrong, ..ALL }), "shift");
        assert_eq!(refused(Augmentation { elastic: wrong, ..ALL }), "elastic");
    }
    let error = Augmentation { scale: 1.0, ..ALL }.check().unwrap_err();
    assert_eq!(error.to_string(), "scale is 1, but must be at least 0 and below 1");
    assert!(Augmentation::default().is_none() && !ALL.is_none());
    Augmentation::default().check().unwrap();

    let amounts = Augmentation { elastic: 7.038_531e-26, ..ALL };
    let text = serde_json::to_string(&amounts).unwrap();
    assert_eq!(serde_json::from_str::<Augmentation>(&text).unwrap(), amounts);
    assert_eq!(serde_json::from_str::<Augmentation>("{}").unwrap(), Augmentation::default());
}

/// A case of `tests/golden/distort.json`; `tests/golden/README.md` describes it.
#[derive(Deserialize)]
struct Case {
    height: usize,
    width: usize,
    rotation: f64,
    scale: [f64; 2],
    shear: f64,
    shift: [f64; 2],
    elastic: f32,
    noise: [[[f32; KNOTS]; KNOTS]; 2],
    flip: bool,
    picture: Vec<f32>,
    distorted: Vec<f32>,
}

#[test]
fn distorted_pictures_are_scipys() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/golden/distort.json")).unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let mut noise = [[Knots::default(); KNOTS]; 2];
        for (to, from) in noise.as_flattened_mut().iter_mut().zip(case.noise.as_flattened()) {
            to[..KNOTS].copy_from_slice(from);
        }
        let draw = Draw {
            rotation: case.rotation,
            scale: case.scale,
            shear: case.shear,
            shift: case.shift,
            noise: (case.elastic > 0.0).then_some(noise),
            flip: case.flip,
        };
        let amounts = Augmentation { elastic: case.elastic, ..Augmentation::default() };
        let out = drawn((case.height, case.width), amounts, &draw, &case.picture);
        assert_eq!(out.len(), case.distorted.len());
        // Pixels are 0 to 1. Observed: 2.4e-6.
        let worst = out.iter().zip(&case.distorted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{}×{}: {worst}", case.height, case.width);
    }
}
