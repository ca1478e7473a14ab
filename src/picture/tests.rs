//! Synthetic digits in many sizes, formats and colours, hostile files, and real digits enlarged and read back.

use std::io::Read as _;

use super::frame::centre_of_mass;
use super::*;

/// A "7" drawn as ink.
struct Drawing {
    ink: Vec<f32>,
}

impl Drawing {
    /// Draws it in a picture of `h × w`, inside the given box, with strokes as thick as `pen`.
    fn seven(
        h: usize,
        w: usize,
        (top, first, height, width): (usize, usize, usize, usize),
        pen: usize,
    ) -> Self {
        let mut ink = vec![0.0; h * w];
        for y in 0..height {
            for x in 0..width {
                // The bar at the top, and the stroke from its right end to the foot in the middle.
                let slope = width as f64 - pen as f64 - (y as f64 / height as f64) * width as f64 / 2.0;
                if y < pen || (x as f64 - slope).abs() < pen as f64 / 2.0 {
                    ink[(top + y) * w + first + x] = 1.0;
                }
            }
        }
        Self { ink }
    }

    /// Grey levels, ink from `paper` to `pen`.
    fn levels(&self, paper: u8, pen: u8) -> Vec<u8> {
        let (paper, pen) = (f32::from(paper), f32::from(pen));
        self.ink.iter().map(|ink| (paper + ink * (pen - paper)).round() as u8).collect()
    }
}

fn png_bytes(h: usize, w: usize, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, w as u32, h as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

fn grey_png(h: usize, w: usize, data: &[u8]) -> Vec<u8> {
    png_bytes(h, w, png::ColorType::Grayscale, png::BitDepth::Eight, data)
}

fn jpeg_bytes(h: usize, w: usize, color: jpeg_encoder::ColorType, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 85).encode(data, w as u16, h as u16, color).unwrap();
    bytes
}

fn read(bytes: &[u8], side: usize) -> Result<Vec<f32>, PictureError> {
    let field = Field::new(side, side);
    from_bytes(bytes, Path::new("seven.png"), field, Invert::Auto).map(|picture| picture.pixels)
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |of: &[f32]| of.iter().map(|&x| f64::from(x)).sum::<f64>() / of.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let product = |x: &[f32], mx: f64, y: &[f32], my: f64| -> f64 {
        x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - mx) * (f64::from(y) - my)).sum()
    };
    product(a, ma, b, mb) / (product(a, ma, a, ma) * product(b, mb, b, mb)).sqrt()
}

/// Checks the input that every picture of a seven must give.
fn assert_is_the_seven(pixels: &[f32], what: &str) {
    assert_eq!(pixels.len(), 784, "{what}");
    assert!(pixels.iter().all(|v| (0.0..=1.0).contains(v)), "{what}: out of range");
    assert!(pixels.iter().copied().fold(0.0, f32::max) > 0.99, "{what}: too pale");
    let (y, x) = centre_of_mass(pixels, 28);
    assert!((y - 14.0).abs() <= 0.6 && (x - 14.0).abs() <= 0.6, "{what}: centre ({y}, {x})");
    let inked: Vec<usize> = (0..784).filter(|&at| pixels[at] > 0.3).map(|at| at / 28).collect();
    let height = inked.last().unwrap() - inked[0] + 1;
    assert!((19..=20).contains(&height), "{what}: {height} rows");
    assert!(inked.len() < 250, "{what}: the paper became ink");
    let clean = Drawing::seven(280, 280, (40, 50, 200, 140), 24);
    let reference = read(&grey_png(280, 280, &clean.levels(0, 255)), 28).unwrap();
    let correlation = correlation(pixels, &reference);
    assert!(correlation > 0.93, "{what}: correlation {correlation}");
}

#[test]
fn any_size_polarity_and_format_becomes_the_same_digit() {
    for (h, w, place, pen) in [
        (280, 280, (40, 50, 200, 140), 24),
        (60, 90, (5, 45, 50, 35), 6),
        (900, 400, (500, 180, 200, 140), 24),
    ] {
        let drawing = Drawing::seven(h, w, place, pen);
        for (paper, ink) in [(255, 0), (0, 255), (200, 60), (40, 170)] {
            let what = format!("{w}×{h}, paper {paper}, ink {ink}");
            let levels = drawing.levels(paper, ink);
            assert_is_the_seven(&read(&grey_png(h, w, &levels), 28).unwrap(), &what);
            let jpeg = jpeg_bytes(h, w, jpeg_encoder::ColorType::Luma, &levels);
            assert_is_the_seven(&read(&jpeg, 28).unwrap(), &format!("{what}, JPEG"));
        }
    }
}

#[test]
fn a_large_picture_is_shrunk_first() {
    let drawing = Drawing::seven(1500, 2000, (200, 900, 1000, 700), 120);
    assert_is_the_seven(&read(&grey_png(1500, 2000, &drawing.levels(255, 0)), 28).unwrap(), "large");
}

#[test]
fn colour_alpha_and_depth() {
    let drawing = Drawing::seven(140, 140, (20, 25, 100, 70), 12);
    let pixels = |of: &dyn Fn(bool) -> Vec<u8>| -> Vec<u8> {
        drawing.ink.iter().flat_map(|&ink| of(ink > 0.5)).collect()
    };
    let eight = |color, data: Vec<u8>| png_bytes(140, 140, color, png::BitDepth::Eight, &data);
    use png::ColorType::{GrayscaleAlpha, Rgb, Rgba};
    let blue_on_yellow = eight(Rgb, pixels(&|ink| if ink { vec![20, 30, 160] } else { vec![250, 240, 150] }));
    assert_is_the_seven(&read(&blue_on_yellow, 28).unwrap(), "blue on yellow");
    let on_nothing = eight(Rgba, pixels(&|ink| vec![0, 0, 0, if ink { 255 } else { 0 }]));
    assert_is_the_seven(&read(&on_nothing, 28).unwrap(), "black on nothing");
    let white_on_nothing = eight(Rgba, pixels(&|ink| vec![255, 255, 255, if ink { 255 } else { 0 }]));
    assert_is_the_seven(&read(&white_on_nothing, 28).unwrap(), "white on nothing");
    let half = eight(GrayscaleAlpha, pixels(&|ink| vec![0, if ink { 128 } else { 0 }]));
    assert_is_the_seven(&read(&half, 28).unwrap(), "half transparent");
    let deep = pixels(&|ink| (if ink { 60_000_u16 } else { 1_000 }).to_be_bytes().to_vec());
    let deep = png_bytes(140, 140, png::ColorType::Grayscale, png::BitDepth::Sixteen, &deep);
    assert_is_the_seven(&read(&deep, 28).unwrap(), "16 bits");
    let rgb = pixels(&|ink| if ink { vec![200, 0, 0] } else { vec![255, 250, 245] });
    let jpeg = jpeg_bytes(140, 140, jpeg_encoder::ColorType::Rgb, &rgb);
    assert_is_the_seven(&read(&jpeg, 28).unwrap(), "red on white, JPEG");
}

#[test]
fn a_photograph_with_shadow_grain_and_dust() {
    let drawing = Drawing::seven(480, 640, (120, 260, 240, 168), 28);
    let mut levels = drawing.levels(215, 50);
    for (at, level) in levels.iter_mut().enumerate() {
        let (y, x) = (at / 640, at % 640);
        let grain = ((at.wrapping_mul(2_654_435_761) >> 7) % 13) as f32 - 6.0;
        *level = (f32::from(*level) * (1.0 - 0.15 * (x + y) as f32 / 1120.0) + grain) as u8;
    }
    for (y, x) in [(30, 600), (430, 40)] {
        (0..9).for_each(|at| levels[(y + at / 3) * 640 + x + at % 3] = 20);
    }
    let jpeg = jpeg_bytes(480, 640, jpeg_encoder::ColorType::Luma, &levels);
    assert_is_the_seven(&read(&jpeg, 28).unwrap(), "photograph");
}

#[test]
fn a_thin_pen_is_not_pale() {
    let drawing = Drawing::seven(400, 400, (60, 80, 280, 200), 5);
    let pixels = read(&grey_png(400, 400, &drawing.levels(255, 0)), 28).unwrap();
    assert!(pixels.iter().filter(|v| **v > 0.5).count() > 20);
}

#[test]
fn a_picture_of_the_models_size_is_not_reframed() {
    let drawing = Drawing::seven(28, 28, (2, 1, 11, 9), 2);
    let levels = drawing.levels(0, 200);
    let expected: Vec<f32> = levels.iter().map(|&level| f32::from(level) / 255.0).collect();
    assert_eq!(read(&grey_png(28, 28, &levels), 28).unwrap(), expected);
    let inverted: Vec<u8> = levels.iter().map(|level| 255 - level).collect();
    let back = read(&grey_png(28, 28, &inverted), 28).unwrap();
    assert!(back.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn polarity_can_be_forced() {
    let levels = Drawing::seven(28, 28, (2, 1, 11, 9), 2).levels(0, 255);
    let with = |invert| {
        from_bytes(&grey_png(28, 28, &levels), Path::new("x"), Field::new(28, 28), invert).unwrap().pixels
    };
    assert_eq!((with(Invert::Auto)[0], with(Invert::No)[0], with(Invert::Yes)[0]), (0.0, 0.0, 1.0));
    let big = Drawing::seven(100, 100, (20, 20, 60, 40), 8).levels(255, 0);
    let big = grey_png(100, 100, &big);
    let error = from_bytes(&big, Path::new("x.png"), Field::new(28, 28), Invert::No).unwrap_err();
    assert!(error.to_string().contains("try it inverted"), "{error}");
}

#[test]
fn eight_by_eight_models_see_the_whole_field_filled() {
    let drawing = Drawing::seven(200, 300, (30, 120, 150, 75), 18);
    let pixels = read(&grey_png(200, 300, &drawing.levels(255, 0)), 8).unwrap();
    assert_eq!(pixels.len(), 64);
    assert!(pixels[..8].iter().any(|v| *v > 0.7) && pixels[56..].iter().any(|v| *v > 0.3), "{pixels:?}");
    // Half as wide as high: the outer columns stay empty.
    assert!(pixels.chunks_exact(8).all(|row| row[0] == 0.0 && row[7] == 0.0));
}

#[test]
fn small_pictures_are_enlarged() {
    let drawing = Drawing::seven(12, 12, (1, 3, 10, 7), 1);
    let pixels = read(&grey_png(12, 12, &drawing.levels(255, 0)), 28).unwrap();
    let (y, x) = centre_of_mass(&pixels, 28);
    assert!((y - 14.0).abs() <= 0.6 && (x - 14.0).abs() <= 0.6, "({y}, {x})");
}

#[test]
fn every_cut_of_a_file_is_refused() {
    let levels = Drawing::seven(40, 40, (5, 8, 30, 21), 4).levels(255, 0);
    let png = grey_png(40, 40, &levels);
    let jpeg = jpeg_bytes(40, 40, jpeg_encoder::ColorType::Luma, &levels);
    for (whole, magic) in [(&png, 8), (&jpeg, 2)] {
        assert!(read(whole, 28).is_ok());
        // The PNG's last chunk of 12 bytes is empty, and the 4 bytes before it are a checksum.
        let end = if magic == 8 { whole.len() - 16 } else { whole.len() };
        for cut in 0..end {
            let error = read(&whole[..cut], 28).unwrap_err();
            let as_expected = match error {
                PictureError::Damaged { .. } => cut >= magic,
                PictureError::NotAPicture { .. } => cut < magic,
                _ => false,
            };
            assert!(as_expected, "{cut} of {}: {error}", whole.len());
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let levels = Drawing::seven(24, 24, (3, 5, 18, 13), 3).levels(255, 0);
    let rgb: Vec<u8> = levels.iter().flat_map(|&level| [level, level / 2, 255 - level]).collect();
    let files = [
        grey_png(24, 24, &levels),
        jpeg_bytes(24, 24, jpeg_encoder::ColorType::Luma, &levels),
        jpeg_bytes(24, 24, jpeg_encoder::ColorType::Rgb, &rgb),
    ];
    for file in &files {
        for at in 2..file.len() {
            for value in [0, 1, 0x7f, 0xff, file[at] ^ 0x10] {
                let mut bytes = file.clone();
                bytes[at] = value;
                let _ = read(&bytes, 28); // any result will do
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let mut png = Vec::from(*b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR");
    png.extend(60_000_u32.to_be_bytes());
    png.extend(60_000_u32.to_be_bytes());
    png.extend([8, 6, 0, 0, 0]);
    let mut sum = flate2::Crc::new();
    sum.update(&png[12..]);
    png.extend(sum.sum().to_be_bytes());
    let error = read(&png, 28).unwrap_err();
    assert!(matches!(error, PictureError::TooManyPixels { width: 60_000, height: 60_000, .. }), "{error}");
    assert!(error.to_string().contains("seven.png has 60000×60000 pixels"), "{error}");

    let mut jpeg = jpeg_bytes(8, 8, jpeg_encoder::ColorType::Luma, &[200; 64]);
    let frame = jpeg.windows(2).position(|pair| pair[0] == 0xff && pair[1] == 0xc0).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let error = read(&jpeg, 28).unwrap_err();
    assert!(matches!(error, PictureError::TooManyPixels { width: 65_535, .. }), "{error}");
}

#[test]
fn blank_pictures_are_refused() {
    for level in [0, 128, 255] {
        for side in [28, 100] {
            let error = read(&grey_png(side, side, &vec![level; side * side]), 28).unwrap_err();
            assert!(matches!(error, PictureError::Blank { .. }), "{error}");
        }
    }
    let clear = png_bytes(50, 50, png::ColorType::Rgba, png::BitDepth::Eight, &[0; 10_000]);
    assert!(matches!(read(&clear, 28), Err(PictureError::Blank { .. })));
}

#[test]
fn a_jpeg_with_arithmetic_coding_is_not_damaged() {
    let bytes = include_bytes!("../../tests/golden/arithmetic.jpg");
    let error = from_bytes(bytes, Path::new("seven.jpg"), Field::new(28, 28), Invert::Auto).unwrap_err();
    assert_eq!(
        error.to_string(),
        "seven.jpg is a JPEG with arithmetic coding, which is not supported: save it as PNG or baseline JPEG"
    );
    // What the remedy makes: baseline, and progressive too.
    let baseline = jpeg_bytes(
        28,
        28,
        jpeg_encoder::ColorType::Luma,
        &Drawing::seven(28, 28, (3, 5, 20, 15), 3).levels(255, 0),
    );
    assert!(read(&baseline, 28).is_ok());
}

#[test]
fn other_formats_are_named() {
    let says = |bytes: &[u8]| read(bytes, 28).unwrap_err().to_string();
    assert_eq!(says(b""), "seven.png is empty, not a PNG or JPEG picture: save it as PNG");
    assert!(says(b"GIF89a....").contains("is a GIF"));
    assert!(says(b"RIFF\0\0\0\0WEBPVP8 ").contains("is a WebP"));
    assert!(says(b"\0\0\0\x18ftypheic").contains("is a HEIC"));
    assert!(says(b"hello").contains("is something else"));
    let folder = tempfile::tempdir().unwrap();
    let error = load(&folder.path().join("no.png"), Field::new(8, 8), Invert::Auto).unwrap_err();
    assert!(matches!(error, PictureError::Missing { .. }) && error.to_string().contains("no.png"), "{error}");
    let error = load(folder.path(), Field::new(8, 8), Invert::Auto).unwrap_err();
    assert!(matches!(error, PictureError::Unreadable { .. }), "{error}");
}

#[test]
fn real_digits_survive_enlarging_and_inverting() {
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist/t10k-images-idx3-ubyte.gz");
    let Ok(file) = File::open(&mnist) else {
        eprintln!("skipped: MNIST is not beside the project");
        return;
    };
    const DIGITS: usize = 12;
    let mut bytes = vec![0; 16 + DIGITS * 784];
    flate2::read::GzDecoder::new(file).read_exact(&mut bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (number, digit) in bytes[16..].chunks_exact(784).enumerate() {
        // Ten times as large, black on white, in the lower right of a larger sheet of paper.
        let (h, w) = (420, 560);
        let mut sheet = vec![255; h * w];
        for y in 0..280 {
            for x in 0..280 {
                sheet[(y + 120) * w + x + 260] = 255 - digit[y / 10 * 28 + x / 10];
            }
        }
        let path = folder.path().join("digit.png");
        std::fs::write(&path, grey_png(h, w, &sheet)).unwrap();
        let back = load(&path, Field::new(28, 28), Invert::Auto).unwrap().pixels;
        let original: Vec<f32> = digit.iter().map(|&level| f32::from(level) / 255.0).collect();
        let likeness = correlation(&back, &original);
        assert!(likeness > 0.9, "digit {number}: {likeness}");
    }
}

/// A picture of the folder `tests/cases/pictures`, as the 28×28 field of a model.
fn case(name: &str) -> Picture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/pictures");
    load(&folder.join(name), Field::new(28, 28), Invert::Auto).unwrap()
}

/// Checks that a case shows one digit on clean paper, and that its longest horizontal stroke is in the given rows.
#[track_caller]
fn assert_shows(name: &str, bar: std::ops::Range<usize>) {
    let Picture { pixels, pieces } = case(name);
    assert_eq!(pieces, 1, "{name}");
    let ink: f32 = pixels.iter().sum();
    assert!((40.0..200.0).contains(&ink), "{name}: {ink} pixels of ink");
    let near = |side: usize| !(5..23).contains(&side);
    let corners: f32 = (0..784).filter(|at| near(at / 28) && near(at % 28)).map(|at| pixels[at]).sum();
    assert!(corners < 1.0, "{name}: {corners} pixels of ink in the corners");
    let in_row = |row: usize| pixels[row * 28..(row + 1) * 28].iter().sum::<f32>();
    let fullest = (0..28).max_by(|a, b| in_row(*a).total_cmp(&in_row(*b))).unwrap();
    assert!(bar.contains(&fullest), "{name}: the fullest row is {fullest}");
}

#[test]
fn photographs_in_uneven_light_show_their_digits_upright() {
    assert_shows("exif_4_quarter.jpg", 14..23);
    assert_shows("ph_2_small_g30_quarter.jpg", 18..25);
    assert_shows("phone_5_small.jpg", 3..25);
}

#[test]
fn frames_and_ruled_lines_are_not_ink() {
    assert_shows("img_black_border.png", 3..13);
    assert_shows("ruled_7.png", 3..13);
}

#[test]
fn any_frame_of_any_thickness_is_cut_off() {
    let drawing = Drawing::seven(200, 160, (50, 50, 90, 60), 10);
    let clean = read(&grey_png(200, 160, &drawing.levels(230, 30)), 28).unwrap();
    for (paper, ink, frame) in [(230, 30, 0_u8), (30, 230, 255)] {
        for thick in [[1, 1, 1, 1], [3, 5, 12, 20], [0, 0, 15, 0], [20, 0, 0, 0]] {
            let mut levels = drawing.levels(paper, ink);
            for (at, level) in levels.iter_mut().enumerate() {
                let (y, x) = (at / 160, at % 160);
                if y < thick[0] || y >= 200 - thick[1] || x < thick[2] || x >= 160 - thick[3] {
                    *level = frame;
                }
            }
            let what = format!("paper {paper}, frame {frame} of {thick:?}");
            let framed = read(&grey_png(200, 160, &levels), 28).unwrap();
            let likeness = correlation(&framed, &clean);
            assert!(likeness > 0.99, "{what}: {likeness}");
        }
    }
}

#[test]
fn the_hard_edge_of_a_shadow_is_not_ink() {
    let drawing = Drawing::seven(480, 640, (120, 260, 240, 168), 28);
    for (paper, ink) in [(220, 40), (60, 200)] {
        let mut levels = drawing.levels(paper, ink);
        for (at, level) in levels.iter_mut().enumerate() {
            // A shadow across the upper left of the sheet, with an edge a few pixels wide.
            let inside = ((700 - (at / 640 + at % 640) as i32) as f32 / 40.0).clamp(0.0, 1.0);
            *level = (f32::from(*level) * (1.0 - 0.5 * inside)) as u8;
        }
        let read = read(&grey_png(480, 640, &levels), 28).unwrap();
        let what = format!("paper {paper}, ink {ink}");
        let far: f32 = [0, 27, 27 * 28, 783].map(|corner| read[corner]).iter().sum();
        assert!(far < 0.05, "{what}: a corner is ink");
        let clean = self::read(&grey_png(480, 640, &drawing.levels(255, 0)), 28).unwrap();
        let likeness = correlation(&read, &clean);
        assert!(likeness > 0.9, "{what}: {likeness}");
    }
}

#[test]
fn several_digits_are_counted() {
    assert_eq!(case("several_374.png").pieces, 3);
    let one = Drawing::seven(200, 200, (40, 50, 120, 90), 12);
    let picture = from_bytes(
        &grey_png(200, 200, &one.levels(255, 0)),
        Path::new("x"),
        Field::new(28, 28),
        Invert::Auto,
    );
    assert_eq!(picture.unwrap().pieces, 1);
}

#[test]
fn a_model_of_picture_files_sees_their_own_greys() {
    let levels: Vec<u8> = (0..784).map(|at| (at % 251) as u8).collect();
    let field = Field { as_trained: true, ..Field::new(28, 28) };
    let picture = from_bytes(&grey_png(28, 28, &levels), Path::new("x"), field, Invert::Auto).unwrap();
    let expected: Vec<f32> = levels.iter().map(|&level| f32::from(level) / 255.0).collect();
    assert_eq!(picture.pixels, expected);
}
