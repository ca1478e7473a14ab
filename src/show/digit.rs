//! A picture with one channel, drawn in characters.
//!
//! A character cell is about twice as high as wide. With colours, `▀` shows two square pixels per cell: the upper in the
//! foreground colour, the lower in the background colour. Without colours, each pixel is two characters of a ramp from
//! light to dense.

use std::fmt::Write as _;

use super::style::{Block, Color, Style};
use crate::picture::resize;

/// Characters from no ink to full ink.
const RAMP: &[u8; 10] = b" .:-=+*#%@";

/// The grey of no ink. It is not quite black, so that the edge of the picture shows on a black terminal.
const PAPER: f32 = 22.0;

/// Draws `pixels`, row-major `[h][w]` with 0 for no ink and 1 for full ink. Each line of text shows two rows of pixels, or
/// one without colours. A picture wider than the style allows is shrunk; a smaller one is never enlarged.
///
/// # Panics
/// If the length of `pixels` is not `h × w`.
pub(super) fn drawn(pixels: &[f32], h: usize, w: usize, style: &Style) -> Block {
    assert_eq!(pixels.len(), h * w, "the pixels of a picture of {h}×{w}");
    if pixels.is_empty() {
        return Block::default();
    }
    let per_pixel = if style.colored() { 1 } else { 2 };
    let most = (style.width / per_pixel).max(1);
    if w > most {
        let less = (h * most / w).max(1);
        return drawn(&resize(pixels, h, w, less, most), less, most, style);
    }
    let rows: Vec<&[f32]> = pixels.chunks_exact(w).collect();
    let lines = if style.colored() {
        rows.chunks(2).map(|pair| half_blocks(pair[0], pair.get(1).copied(), style.color)).collect()
    } else {
        rows.iter().map(|row| row.iter().flat_map(|&v| [ramp(v); 2]).collect()).collect()
    };
    Block { width: w * per_pixel, lines }
}

/// Draws without colours at half the size of [`drawn`]: one character for two pixels, one above the other.
pub(super) fn drawn_small(pixels: &[f32], h: usize, w: usize) -> Block {
    let halved = resize(pixels, h, w, h.div_ceil(2), w);
    Block {
        width: w,
        lines: halved.chunks_exact(w).map(|row| row.iter().map(|&v| ramp(v)).collect()).collect(),
    }
}

fn ramp(value: f32) -> char {
    // Rounding takes NaN to 0.
    char::from(RAMP[(value.clamp(0.0, 1.0) * 9.0).round() as usize])
}

/// A grey in the terminal's terms: 0..=255, or an index of the palette.
fn grey(value: f32, color: Color) -> u8 {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    match color {
        Color::True => (PAPER + value * (255.0 - PAPER)).round() as u8,
        // Indices 233 to 255 of the palette are the greys 18, 28, … 238.
        _ => 233 + (value * 22.0).round() as u8,
    }
}

/// Draws two rows of pixels as one line. The foreground is always the lighter of the two pixels, so that the digit stays
/// readable if colours are lost, as in copied text and logs.
fn half_blocks(upper: &[f32], lower: Option<&[f32]>, color: Color) -> String {
    let code = |layer: u8, grey: u8| match color {
        Color::True => format!("{layer};2;{grey};{grey};{grey}"),
        _ => format!("{layer};5;{grey}"),
    };
    let middle = grey(0.5, color);
    let mut line = String::new();
    let (mut fore, mut back) = (None, None);
    for (at, &value) in upper.iter().enumerate() {
        let above = grey(value, color);
        // An odd last row has no lower half: the terminal's own background stays.
        let below = lower.map(|row| grey(row[at], color));
        let (new_fore, new_back, character) = match below {
            None => (Some(above), None, '▀'),
            // A full block or a space avoids the seam that some fonts leave between two halves of the same grey.
            Some(below) if below == above && above >= middle => (Some(above), back, '█'),
            Some(below) if below == above => (fore, Some(above), ' '),
            Some(below) if below < above => (Some(above), Some(below), '▀'),
            Some(below) => (Some(below), Some(above), '▄'),
        };
        let mut codes = Vec::new();
        if new_fore != fore {
            codes.extend(new_fore.map(|grey| code(38, grey)));
        }
        if new_back != back {
            codes.extend(new_back.map(|grey| code(48, grey)));
        }
        if !codes.is_empty() {
            let _ = write!(line, "\x1b[{}m", codes.join(";")); // writing to a String cannot fail
        }
        (fore, back) = (new_fore, new_back);
        line.push(character);
    }
    line + "\x1b[0m"
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: [f32; 15] = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];

    #[test]
    fn plain_text_takes_two_characters_a_pixel() {
        let lines = drawn(&SEVEN, 5, 3, &Style::plain(80)).lines;
        assert_eq!(lines, ["@@@@@@", "    @@", "  ++++", "  @@  ", "  @@  "]);
    }

    #[test]
    fn half_blocks_show_two_rows() {
        let style = Style { color: Color::True, unicode: true, width: 80 };
        let lines = drawn(&SEVEN, 5, 3, &style).lines;
        assert_eq!(
            lines,
            [
                "\x1b[38;2;255;255;255;48;2;22;22;22m▀▀█\x1b[0m",
                "\x1b[48;2;22;22;22m \x1b[38;2;255;255;255;48;2;139;139;139m▄\x1b[38;2;139;139;139;48;2;22;22;22m▀\x1b[0m",
                "\x1b[38;2;22;22;22m▀\x1b[38;2;255;255;255m▀\x1b[38;2;22;22;22m▀\x1b[0m",
            ]
        );
        let palette = drawn(&SEVEN[..6], 2, 3, &Style { color: Color::Palette, ..style }).lines;
        assert_eq!(palette, ["\x1b[38;5;255;48;5;233m▀▀█\x1b[0m"]);
    }

    #[test]
    fn greys_are_monotonic_and_strange_numbers_are_clamped() {
        for color in [Color::True, Color::Palette] {
            let greys: Vec<u8> = (0..=100).map(|v| grey(v as f32 / 100.0, color)).collect();
            assert!(greys.is_sorted());
            for strange in [f32::NAN, -1.0] {
                assert_eq!(grey(strange, color), grey(0.0, color));
            }
            assert_eq!(grey(f32::INFINITY, color), grey(1.0, color));
        }
        assert_eq!(ramp(f32::NAN), ' ');
    }

    #[test]
    fn a_wide_picture_is_shrunk_to_fit() {
        let lines = drawn(&vec![1.0; 200 * 100], 100, 200, &Style::plain(40)).lines;
        assert_eq!((lines.len(), lines[0].len()), (10, 40));
    }
}
