//! Distorted pictures: where each pixel comes from, which the compiler vectorises, and what is there.
//!
//! There is no fused multiply-add in here: the portable code would call a function for each, and coordinates need no more
//! accuracy. The four neighbours of a pixel are loaded one by one: where it was measured (Zen 3), AVX2's gather instructions
//! took longer. Loads without bounds checks would save a fifth of the time of the loops, which is not worth unsafe code.

/// Knots of the elastic field along each axis.
pub(crate) const KNOTS: usize = 7;

/// A number for each knot along an axis. The eighth is 0: it makes the row one register.
pub(crate) type Knots = [f32; 8];

/// What all distortions of pictures of one size have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    height: usize,
    width: usize,
    /// The B-splines of each row, and what to multiply a knot's number by.
    rows: Vec<Knots>,
    /// The same for columns: a run of `padded` for each knot. The columns beyond the width have zeros.
    columns: Vec<f32>,
    /// The distance of each column from the centre; `padded` numbers.
    across: Vec<f32>,
    /// The width up to a multiple of 8, so that there is no rest for slower code.
    padded: usize,
}

/// One distortion: the map from a pixel's place to that of its source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Warp {
    /// x and y of the source, from the distances x and y of the pixel from the centre.
    pub(crate) matrix: [[f32; 2]; 2],
    /// x and y of the source of the centre.
    pub(crate) centre: [f32; 2],
    /// The numbers at the knots for x and for y, in pixels: a row of them for each knot of y.
    pub(crate) field: Option<[[Knots; KNOTS]; 2]>,
    /// Mirror the result left-right.
    pub(crate) flip: bool,
}

/// A thread's working memory for pictures of one size. The border of its picture is always 0; nothing else outlives a call.
#[derive(Debug)]
pub(crate) struct Canvas {
    /// The picture with a border of one pixel before and two behind it. A source is never further away than the first
    /// pixel outside, and the last neighbour is one more.
    pixels: Vec<f32>,
    /// x and y of each source in a row, then how far each is beyond its first neighbour.
    x: Vec<f32>,
    y: Vec<f32>,
    /// The index of each first neighbour.
    at: Vec<u32>,
}

impl Shape {
    /// `rows` and `columns` are the B-splines of each row and column.
    pub(crate) fn new(rows: Vec<Knots>, columns: &[Knots]) -> Self {
        let (height, width) = (rows.len(), columns.len());
        let padded = width.next_multiple_of(8);
        let centre = (width as f32 - 1.0) * 0.5;
        let spline = |j: usize| (0..padded).map(move |x| columns.get(x).map_or(0.0, |knots| knots[j]));
        let columns = (0..KNOTS).flat_map(spline).collect();
        Self {
            height,
            width,
            rows,
            columns,
            across: (0..padded).map(|x| x as f32 - centre).collect(),
            padded,
        }
    }

    /// The pixels of a picture.
    pub(crate) fn len(&self) -> usize {
        self.height * self.width
    }

    /// Working memory for pictures of this size.
    pub(crate) fn canvas(&self) -> Canvas {
        let row = || vec![0.0; self.padded];
        let pixels = vec![0.0; (self.height + 3) * (self.width + 3)];
        Canvas { pixels, x: row(), y: row(), at: vec![0; self.padded] }
    }

    /// How far the field moves the source of a pixel, in x and in y.
    #[cfg(test)]
    pub(crate) fn displacement(&self, field: &[[Knots; KNOTS]; 2], y: usize, x: usize) -> [f32; 2] {
        field.each_ref().map(|knots| {
            let knots = along(&self.rows[y], knots);
            (0..KNOTS).map(|j| knots[j] * self.columns[j * self.padded + x]).sum()
        })
    }
}

/// 2²³: a number from 0 to 2²² plus this one is rounded to an integer, which is in the low bits.
const ROUND: f32 = 8_388_608.0;

/// The greatest integer below a number from 0 to 2²², as a float and as an integer. A conversion by `as` would not become
/// vector code.
#[inline(always)]
fn floor(x: f32) -> (f32, u32) {
    let nearest = (x + ROUND) - ROUND;
    let floor = if nearest > x { nearest - 1.0 } else { nearest };
    (floor, (floor + ROUND).to_bits().wrapping_sub(ROUND.to_bits()))
}

/// A coordinate between 0 and `last`; NaN becomes 0.
#[inline(always)]
fn clamp(x: f32, last: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < last { x } else { last }
}

/// The first pixel behind the picture, in coordinates of the canvas. Beyond 2²² pixels nothing is seen: see [`floor`].
#[inline(always)]
fn behind(side: usize) -> f32 {
    side.min((1 << 22) - 1) as f32 + 1.0
}

/// The field in one row of pixels: a number for each knot along it.
#[inline(always)]
fn along(row: &Knots, knots: &[Knots; KNOTS]) -> Knots {
    let mut sums = [0.0; 8];
    for (&spline, knots) in row.iter().zip(knots) {
        for (sum, knot) in sums.iter_mut().zip(knots) {
            *sum += spline * knot;
        }
    }
    sums
}

#[inline(always)]
fn distort_body(shape: &Shape, warp: &Warp, source: &[f32], canvas: &mut Canvas, out: &mut [f32]) {
    let &Shape { height, width, padded, .. } = shape;
    let stride = width + 3;
    assert!(source.len() == shape.len() && out.len() == shape.len());
    assert!(canvas.pixels.len() == (height + 3) * stride);
    for (inside, source) in canvas.pixels[stride..].chunks_exact_mut(stride).zip(source.chunks_exact(width)) {
        inside[1..=width].copy_from_slice(source);
    }
    let pixels = canvas.pixels.as_slice();
    let (xs, ys, at) = (&mut canvas.x[..padded], &mut canvas.y[..padded], &mut canvas.at[..padded]);
    let columns: [&[f32]; KNOTS] = core::array::from_fn(|j| &shape.columns[j * padded..][..padded]);
    let (right, bottom) = (behind(width), behind(height));
    let half = (height as f32 - 1.0) * 0.5;
    for ((row, spline), out) in shape.rows.iter().enumerate().zip(out.chunks_exact_mut(width)) {
        // 1 for the canvas's border.
        let down = row as f32 - half;
        let x0 = warp.matrix[0][1] * down + (warp.centre[0] + 1.0);
        let y0 = warp.matrix[1][1] * down + (warp.centre[1] + 1.0);
        for ((x, y), across) in xs.iter_mut().zip(ys.iter_mut()).zip(&shape.across) {
            *x = warp.matrix[0][0] * across + x0;
            *y = warp.matrix[1][0] * across + y0;
        }
        if let Some([field_x, field_y]) = &warp.field {
            let (field_x, field_y) = (along(spline, field_x), along(spline, field_y));
            for k in 0..padded {
                let (mut dx, mut dy) = (0.0, 0.0);
                for j in 0..KNOTS {
                    dx += field_x[j] * columns[j][k];
                    dy += field_y[j] * columns[j][k];
                }
                xs[k] += dx;
                ys[k] += dy;
            }
        }
        for ((x, y), at) in xs.iter_mut().zip(ys.iter_mut()).zip(at.iter_mut()) {
            let (within_x, within_y) = (clamp(*x, right), clamp(*y, bottom));
            let ((floor_x, column), (floor_y, row)) = (floor(within_x), floor(within_y));
            *x = within_x - floor_x;
            *y = within_y - floor_y;
            *at = row.wrapping_mul(stride as u32).wrapping_add(column);
        }
        for (((out, x), y), &at) in out.iter_mut().zip(xs.iter()).zip(ys.iter()).zip(at.iter()) {
            let near = &pixels[at as usize..][..stride + 2];
            let above = near[0] + x * (near[1] - near[0]);
            let below = near[stride] + x * (near[stride + 1] - near[stride]);
            *out = above + y * (below - above);
        }
        if warp.flip {
            out.reverse();
        }
    }
}

multiversion! {
    /// Writes the distorted picture to `out`. Each of its pixels is interpolated between the four neighbours of its source;
    /// outside of the picture there is 0.
    pub(crate) fn distort(
        shape: &Shape,
        warp: &Warp,
        source: &[f32],
        canvas: &mut Canvas,
        out: &mut [f32],
    ) = distort_body
}
