//! Drawing in the terminal: digits, bars and tables.
//!
//! Nothing here prints, and nothing here asks the terminal: every function takes a [`Style`] and returns text, so that
//! a test can hold it to the letter. [`Style::detect`] is the one place where the environment is judged, and it is
//! handed the environment too. Texts of several lines have no line feed at their end: `println!` them.
//!
//! | File | Draws |
//! | --- | --- |
//! | `style.rs` | colours, and what the terminal can do |
//! | `names.rs` | what the classes are called |
//! | `digit.rs` | a picture of one channel |
//! | `findings.rs` | what an examination has found |
//! | `gallery.rs` | rows of pictures under the answers given to them; one picture beside its probabilities |
//! | `table.rs` | probabilities as bars, the confusion matrix, scores by class, regression errors |

mod digit;
mod findings;
mod gallery;
mod names;
mod style;
mod table;

pub use digit::digit;
pub use findings::{Verdict, finding};
pub use gallery::{Tile, gallery, prediction};
pub use names::Names;
pub use style::{Color, Style};
pub use table::{class_table, confusion_matrix, probabilities, regression_table};
