//! Rows of pictures with their predictions, and one picture beside its probabilities.

use std::ops::Range;

use super::digit::{drawn, drawn_small};
use super::names::Names;
use super::style::{Block, Style, Tint, columns, join, left};
use super::table::{Answer, bars};
use crate::metrics::{OutputKind, predicted};

/// One picture in a [`gallery`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// The pixels, row-major, 0 for no ink and 1 for full ink.
    pub(crate) pixels: &'a [f32],
    /// The predicted class.
    pub(crate) answer: usize,
    /// The output of that class.
    pub(crate) confidence: f32,
    /// The meaning of that output.
    pub(crate) kind: OutputKind,
    /// The true class, if it is known. A wrong prediction is marked.
    pub(crate) truth: Option<usize>,
}

/// Columns between two pictures.
const GAP: usize = 3;

/// Columns of a caption such as `Digit 6  100.0 %`.
const CAPTION: usize = 16;

/// Draws pictures of `h × w` in rows, as many side by side as the style's width allows. Above each picture stands the
/// predicted class with its output; below a wrong prediction stands the true class, as in `✗ is 5`.
///
/// Margins that are empty in all pictures are cropped, so that more pictures fit in a row, and small pictures are doubled.
///
/// # Panics
/// If a tile does not have `h × w` pixels.
pub(crate) fn gallery(tiles: &[Tile<'_>], h: usize, w: usize, names: &Names, style: &Style) -> String {
    let pictures: Vec<&[f32]> = tiles.iter().map(|tile| tile.pixels).collect();
    let ink = common_ink(&pictures, h, w);
    let blocks: Vec<Block> = tiles
        .iter()
        .map(|tile| {
            let picture = sized(&cut(tile.pixels, w, &ink), ink.rows.len(), ink.columns.len(), style);
            captioned(tile, picture, names, style)
        })
        .collect();
    let across = blocks.first().map_or(1, |block| ((style.width + GAP) / (block.width + GAP)).max(1));
    let rows: Vec<String> = blocks.chunks(across).map(|row| Block::beside(row, GAP).into_text()).collect();
    rows.join("\n\n")
}

/// Draws one picture of `h × w`, with its prediction and the `top` most probable classes beside it (below it on a narrow
/// terminal).
///
/// # Panics
/// If the length of `pixels` is not `h × w`, or there are no outputs.
pub(crate) fn prediction(
    pixels: &[f32],
    (h, w): (usize, usize),
    given: Answer<'_>,
    truth: Option<usize>,
    top: usize,
    names: &Names,
    style: &Style,
) -> String {
    let ink = common_ink(&[pixels], h, w);
    let picture = sized(&cut(pixels, w, &ink), ink.rows.len(), ink.columns.len(), style);
    let beside = style.width.saturating_sub(picture.width + GAP);
    let fits = beside >= 28;
    let answer = predicted(given.outputs);
    let lines =
        bars(given, names, top, truth, &Style { width: if fits { beside } else { style.width }, ..*style });
    let caption = style.clip(&names.caption(answer), lines.width);
    let mut text = Block::new(lines.width);
    let tint = if truth.is_some_and(|truth| truth != answer) { Tint::Bad } else { Tint::Strong };
    text.push(&style.paint(tint, &caption), columns(&caption));
    text.push("", 0);
    text.lines.extend(lines.lines);
    if fits {
        let height = picture.lines.len();
        Block::beside(&[picture, text.centred(height)], GAP).into_text()
    } else {
        join(&[picture.into_text(), String::new(), text.into_text()])
    }
}

/// Draws a picture at a legible size: with colours small pictures are doubled, without colours large ones are halved.
fn sized(pixels: &[f32], h: usize, w: usize, style: &Style) -> Block {
    let small = h.max(w) <= 12;
    if style.colored() && small {
        let rows = pixels.chunks_exact(w.max(1)).flat_map(|row| [row, row]);
        let doubled: Vec<f32> = rows.flatten().flat_map(|&pixel| [pixel; 2]).collect();
        drawn(&doubled, 2 * h, 2 * w, style)
    } else if !style.colored() && !small && w <= style.width {
        drawn_small(pixels, h, w)
    } else {
        drawn(pixels, h, w, style)
    }
}

/// A picture below its caption.
fn captioned(tile: &Tile<'_>, picture: Block, names: &Names, style: &Style) -> Block {
    let width = picture.width.max(CAPTION.min(style.width));
    let wrong = tile.truth.filter(|&truth| truth != tile.answer);
    let confidence = style.confidence(tile.confidence, tile.kind);
    let room = width.saturating_sub(columns(&confidence) + 1);
    let answer = style.clip(&names.caption(tile.answer), room);
    let tint = if wrong.is_some() { Tint::Bad } else { Tint::Strong };

    let mut block = Block::new(width);
    let space = " ".repeat(
        picture
            .width
            .max(columns(&answer) + 1 + columns(&confidence))
            .saturating_sub(columns(&answer) + columns(&confidence)),
    );
    block.push(
        &format!("{}{space}{}", style.paint(tint, &answer), style.paint(Tint::Dim, &confidence)),
        columns(&answer) + space.len() + columns(&confidence),
    );
    for line in &picture.lines {
        block.push(line, picture.width);
    }
    if let Some(truth) = wrong {
        let mark = format!("{} is {}", style.pick("✗", "x"), names.name(truth));
        let mark = left(&style.clip(&mark, width), width);
        block.push(&style.paint(Tint::Bad, mark.trim_end()), columns(mark.trim_end()));
    }
    block
}

/// A part of a picture.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    rows: Range<usize>,
    columns: Range<usize>,
}

fn cut(pixels: &[f32], w: usize, part: &Part) -> Vec<f32> {
    let rows = pixels.chunks_exact(w.max(1)).take(part.rows.end).skip(part.rows.start);
    rows.flat_map(|row| &row[part.columns.clone()]).copied().collect()
}

/// The part of the pictures that contains all ink, with a margin of one pixel; everything if the pictures are small.
fn common_ink(pictures: &[&[f32]], h: usize, w: usize) -> Part {
    let whole = Part { rows: 0..h, columns: 0..w };
    for picture in pictures {
        assert_eq!(picture.len(), h * w, "the pixels of a picture of {h}×{w}");
    }
    if h.min(w) < 20 {
        return whole;
    }
    let inked = |at: &usize| pictures.iter().any(|picture| picture[*at] > 0.1);
    let ink: Vec<usize> = (0..h * w).filter(inked).collect();
    let span = |of: fn(usize, usize) -> usize, limit: usize| {
        let (low, high) =
            ink.iter().fold((limit, 0), |(low, high), &at| (low.min(of(at, w)), high.max(of(at, w))));
        low.saturating_sub(1)..(high + 2).min(limit)
    };
    if ink.is_empty() {
        whole
    } else {
        Part { rows: span(|at, w| at / w, h), columns: span(|at, w| at % w, w) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::style::Color;

    const ONE: [f32; 9] = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    const DASH: [f32; 9] = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0];

    fn tile(pixels: &[f32], answer: usize, truth: Option<usize>) -> Tile<'_> {
        Tile { pixels, answer, confidence: 0.982, kind: OutputKind::Probabilities, truth }
    }

    #[test]
    fn digits_stand_in_rows_below_their_predictions() {
        let tiles = [tile(&ONE, 1, Some(1)), tile(&DASH, 6, Some(5)), tile(&ONE, 1, None)];
        let text = gallery(&tiles, 3, 3, &Names::numbered(10), &Style::plain(40));
        let golden = "\
Digit 1 98.2 %     Digit 6 98.2 %
  @@
  @@               @@@@@@
  @@
                   x is 5

Digit 1 98.2 %
  @@
  @@
  @@";
        assert_eq!(text, golden);
    }

    #[test]
    fn a_score_has_no_percent_sign() {
        let score = Tile { kind: OutputKind::Scores, ..tile(&ONE, 1, None) };
        let text = gallery(&[score], 3, 3, &Names::numbered(10), &Style::plain(40));
        assert_eq!(text.lines().next(), Some("Digit 1 0.982"));
    }

    #[test]
    fn a_name_too_long_for_its_picture_is_cut() {
        let names = Names::new(&["Ankle boot, brown", "Bag"]);
        let text = gallery(&[tile(&ONE, 0, Some(1))], 3, 3, &names, &Style::plain(40));
        assert_eq!(text.lines().next(), Some("Ankle bo~ 98.2 %"));
        assert_eq!(text.lines().last(), Some("x is Bag"));
    }

    #[test]
    fn wrong_answers_are_red() {
        let style = Style { color: Color::Palette, unicode: true, width: 40 };
        let text = gallery(&[tile(&ONE, 6, Some(5))], 3, 3, &Names::numbered(10), &style);
        assert!(text.starts_with("\x1b[1;31mDigit 6\x1b[0m "), "{text:?}");
        assert!(text.ends_with("\x1b[1;31m✗ is 5\x1b[0m"), "{text:?}");
        assert!(!gallery(&[tile(&ONE, 5, Some(5))], 3, 3, &Names::numbered(10), &style).contains('✗'));
    }

    #[test]
    fn empty_margins_are_cropped() {
        let mut pixels = vec![0.0; 28 * 28];
        pixels[10 * 28 + 14] = 1.0;
        assert_eq!(common_ink(&[&pixels], 28, 28), Part { rows: 9..12, columns: 13..16 });
        assert_eq!(common_ink(&[&[0.0; 784]], 28, 28), Part { rows: 0..28, columns: 0..28 });
        assert_eq!(gallery(&[], 28, 28, &Names::numbered(10), &Style::plain(80)), "");
    }

    #[test]
    fn a_prediction_stands_beside_its_picture() {
        let names = Names::numbered(3);
        let given = Answer { outputs: &[0.0, 0.75, 0.25], kind: OutputKind::Probabilities };
        let text = prediction(&ONE, (3, 3), given, None, 2, &names, &Style::plain(44));
        let golden = [
            "  @@     Class 1",
            "  @@",
            "  @@     1  ##################        75.0 %",
            "         2  ######                    25.0 %",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), golden);
        let narrow = prediction(&ONE, (3, 3), given, Some(2), 1, &names, &Style::plain(30));
        let golden = [
            "  @@",
            "  @@",
            "  @@",
            "",
            "Class 1",
            "",
            "1  ########     75.0 %",
            "2  ###          25.0 % <- true",
        ];
        assert_eq!(narrow.lines().collect::<Vec<_>>(), golden);
    }
}
