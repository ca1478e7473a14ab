//! Pictures for TensorBoard, drawn pixel by pixel: a confusion matrix, and samples side by side.

use super::messages::summary::Image;

/// A picture of `width` × `height` pixels, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

/// Red, green and blue of what is empty, of lines and digits, and of a count of 100 % (dark blue on white).
const WHITE: [u8; 3] = [255; 3];
const INK: [u8; 3] = [60; 3];
const FULL: [u8; 3] = [8, 48, 107];
/// The frame of a sample that is wrong.
const WRONG: [u8; 3] = [200, 40, 40];

/// The largest side of a picture: a matrix of very many classes is left out.
const MAX_SIDE: usize = 2048;

impl Picture {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![WHITE; width * height] }
    }

    /// Fills a rectangle.
    fn fill(&mut self, (x, y): (usize, usize), (width, height): (usize, usize), color: [u8; 3]) {
        for row in y..(y + height).min(self.height) {
            let (from, to) = (x.min(self.width), (x + width).min(self.width));
            self.pixels[row * self.width..][from..to].fill(color);
        }
    }

    /// Writes a number with 3 × 5 pixels a digit, enlarged by `scale`, with the top left corner at (x, y).
    fn write(&mut self, number: usize, (mut x, y): (usize, usize), scale: usize) {
        for digit in number.to_string().bytes() {
            let rows = DIGITS[usize::from(digit - b'0')];
            for (row, bits) in rows.into_iter().enumerate() {
                for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                    self.fill((x + column * scale, y + row * scale), (scale, scale), INK);
                }
            }
            x += 4 * scale;
        }
    }

    /// The picture as a PNG file; `None` if it cannot be encoded.
    pub(super) fn encoded(&self) -> Option<Image> {
        let (width, height) = (u32::try_from(self.width).ok()?, u32::try_from(self.height).ok()?);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // The run waits for it, after each epoch.
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header().ok()?.write_image_data(self.pixels.as_flattened()).ok()?;
        Some(Image {
            height: self.height as i32,
            width: self.width as i32,
            colorspace: 3,
            encoded_image_string: file,
        })
    }
}

/// The rows of the digits, three bits each.
const DIGITS: [[u8; 5]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 1, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];

/// The confusion matrix: a row for each true class, a column for each predicted one, numbered; the darker, the larger is the
/// part of the row. `count(true, predicted)` gives the samples. `None` for more classes than a picture has room for.
pub(crate) fn confusion(classes: usize, count: impl Fn(usize, usize) -> usize) -> Option<Picture> {
    let (cell, margin, scale) = if classes <= 40 { (24, 28, 2) } else { (8, 0, 1) };
    let side = margin + classes * cell + 1;
    if classes == 0 || side > MAX_SIDE {
        return None;
    }
    let mut picture = Picture::new(side, side);
    for row in 0..classes {
        let all: usize = (0..classes).map(|column| count(row, column)).sum();
        for column in 0..classes {
            let part = count(row, column) as f64 / all.max(1) as f64;
            // The root, so that a few confusions among many right answers are seen.
            let shade = |full: u8| (255.0 - (255.0 - f64::from(full)) * part.sqrt()) as u8;
            let place = (margin + column * cell, margin + row * cell);
            picture.fill(place, (cell + 1, cell + 1), [200; 3]);
            picture.fill((place.0 + 1, place.1 + 1), (cell - 1, cell - 1), FULL.map(shade));
        }
    }
    if margin > 0 {
        for class in 0..classes {
            let middle = margin + class * cell + cell / 2 - 5;
            picture.write(class, (6, middle), scale);
            picture.write(class, (middle, 10), scale);
        }
    }
    Some(picture)
}

/// A wrongly classified sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wrong {
    /// Its pixels from 0, which is drawn black, to 1, row by row.
    pub(crate) pixels: Vec<f32>,
    /// The numbers of its class and of the one that was predicted.
    pub(crate) truth: usize,
    /// As there.
    pub(crate) predicted: usize,
}

/// Samples in up to eight columns, above each its class and the predicted one. `None` if there are none, or too large ones.
pub(crate) fn mosaic(samples: &[Wrong], (height, width): (usize, usize)) -> Option<Picture> {
    let zoom = (56 / width.max(height).max(1)).max(1);
    let cell = (width * zoom + 8, height * zoom + 20);
    let columns = samples.len().min(8);
    let rows = samples.len().div_ceil(8);
    let (wide, high) = (columns * cell.0, rows * cell.1);
    if samples.is_empty() || wide > MAX_SIDE || high > MAX_SIDE {
        return None;
    }
    let mut picture = Picture::new(wide, high);
    for (at, sample) in samples.iter().enumerate() {
        let (x, y) = (at % 8 * cell.0 + 4, at / 8 * cell.1 + 4);
        picture.write(sample.truth, (x, y), 2);
        picture.write(sample.predicted, (x + width * zoom / 2 + 2, y), 2);
        picture.fill((x - 1, y + 11), (width * zoom + 2, height * zoom + 2), WRONG);
        for (pixel, &value) in sample.pixels.iter().enumerate().take(width * height) {
            let grey = (value.clamp(0.0, 1.0) * 255.0) as u8;
            let place = (x + pixel % width * zoom, y + 12 + pixel / width * zoom);
            picture.fill(place, (zoom, zoom), [grey; 3]);
        }
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(picture: &Picture) -> (u32, u32, Vec<u8>) {
        let file = picture.encoded().unwrap().encoded_image_string;
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn a_confusion_matrix_is_dark_where_the_counts_are() {
        let picture = confusion(3, |row, column| usize::from(row == column) * 5).unwrap();
        let (width, height, pixels) = decoded(&picture);
        assert_eq!((width, height), (101, 101));
        let middle = |row: usize, column: usize| {
            let (x, y) = (28 + column * 24 + 12, 28 + row * 24 + 12);
            &pixels[(y * 101 + x) * 3..][..3]
        };
        for row in 0..3 {
            for column in 0..3 {
                assert_eq!(middle(row, column), if row == column { FULL } else { WHITE });
            }
        }
        assert_eq!(confusion(0, |_, _| 0), None);
        assert_eq!(confusion(10_000, |_, _| 0), None);
        assert!(confusion(200, |_, _| 1).is_some());
    }

    #[test]
    fn samples_are_drawn_side_by_side() {
        let wrong = Wrong { pixels: [0.0, 1.0, 0.5, f32::NAN].to_vec(), truth: 12, predicted: 3 };
        let picture = mosaic(&vec![wrong; 9], (2, 2)).unwrap();
        let (width, height, pixels) = decoded(&picture);
        assert_eq!((width, height), (8 * 64, 2 * 76));
        let at = |x: usize, y: usize| pixels[(y * width as usize + x) * 3];
        // The first sample's pixels, 28 times as large: black, white, grey, black.
        assert_eq!((at(5, 17), at(40, 17), at(5, 50), at(40, 50)), (0, 255, 127, 0));
        assert_eq!(mosaic(&[], (2, 2)), None);
        let large = Wrong { pixels: vec![0.0; 9_000_000], truth: 0, predicted: 1 };
        assert_eq!(mosaic(&[large], (3000, 3000)), None);
    }
}
