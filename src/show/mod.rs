//! Drawing in the terminal: digits, bars and tables.
//!
//! Nothing here prints, and only [`Style::of_stdout`] queries the terminal: every function takes a [`Style`] and returns text, so that tests can
//! compare it exactly. Only [`Style::detect`] interprets the environment, which it takes as an argument. Text of several
//! lines does not end with a line feed.
//!
//! | File | Contents |
//! | --- | --- |
//! | `axis.rs` | numbers beside an axis, and text, for SVG and HTML |
//! | `columns.rs` | the columns of a table |
//! | `style.rs` | colours and other capabilities of the terminal |
//! | `grid.rs` | rows of cells in columns |
//! | `names.rs` | the names of the classes |
//! | `digit.rs` | a picture with one channel |
//! | `findings.rs` | the findings of `nn doctor` |
//! | `gallery.rs` | rows of pictures with their predictions; one picture beside its probabilities |
//! | `plot.rs` | a curve over a logarithmic axis |
//! | `scores.rs` | the figures of an evaluation: scores by class, errors of numbers |
//! | `shell.rs` | commands that can be pasted into a shell |
//! | `table.rs` | outputs as bars, the confusion matrix |

/// A count with its noun, such as `1 worker` or `3 workers`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

mod axis;
mod columns;
mod digit;
mod findings;
mod gallery;
mod grid;
mod names;
mod plot;
mod scores;
mod shell;
mod style;
mod table;

pub(crate) use axis::{escaped, ticks};
pub(crate) use columns::{columns_table, wrapped};
pub(crate) use findings::{Verdict, finding};
pub(crate) use gallery::{Tile, gallery, prediction};
pub(crate) use grid::grid;
pub(crate) use names::Names;
pub(crate) use plot::{Mark, plot};
pub(crate) use scores::{class_figures, class_table, number, r2, regression_table};
pub(crate) use shell::{shell_flag, shell_path_flag};
pub(crate) use style::{Style, may_color, use_color};
pub(crate) use table::{Answer, confusion_matrix, probabilities};
