//! Pictures in folders that are named after their classes: `class/name.png`, or `train/class/name.png` and
//! `test/class/name.png`.

use std::collections::BTreeSet;

use crate::container::Container;
use crate::error::{DataError, listed, shown};
use crate::members::Found;
use crate::picture_file::{Refused, decode};
use crate::raw::{Answers, Inputs, Labels, Pixels, Places, Samples, Values};
use crate::source::LoadOptions;

/// The part of a data set that a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Test,
    Validation,
}

/// A picture's place in a data set.
#[derive(Debug, Clone, Copy)]
struct Member<'a> {
    name: &'a str,
    part: Option<Part>,
    class: &'a str,
}

/// Whether a file's name ends like that of a picture that is read.
pub(crate) fn is_picture(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".png", ".jpg", ".jpeg"].iter().any(|end| name.ends_with(end))
}

/// The part that a folder's name stands for.
fn part_of(folder: &str) -> Option<Part> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "test" | "testing" => Some(Part::Test),
        "val" | "valid" | "validation" => Some(Part::Validation),
        _ => None,
    }
}

fn member(name: &str) -> Option<Member<'_>> {
    let (folders, _) = name.rsplit_once('/')?;
    let (above, class) = folders.rsplit_once('/').unwrap_or(("", folders));
    let part = above.split('/').rev().find_map(part_of);
    // A picture right in `train/` has no class.
    (part_of(class).is_none() || part.is_some()).then_some(Member { name, part, class })
}

/// Reads the pictures among the files of a folder or archive.
pub(crate) fn read(container: &Container, files: &[&str], options: &LoadOptions) -> Result<Found, DataError> {
    let all: Vec<&str> = files.iter().copied().filter(|name| is_picture(name)).collect();
    let members: Vec<Member<'_>> = all.iter().filter_map(|name| member(name)).collect();
    let mut notes = Vec::new();
    if members.is_empty() {
        return Err(DataError::NoClassFolders {
            file: container.name(),
            picture: shown(all.first().unwrap_or(&""), 60),
        });
    }
    let count = |part| members.iter().filter(|member| member.part == part).count();
    let (train, test, validation) =
        (count(Some(Part::Train)), count(Some(Part::Test)), count(Some(Part::Validation)));
    let wanted_test = match (test, validation) {
        (0, 0) => None,
        (0, _) => Some(Part::Validation),
        _ => Some(Part::Test),
    };
    let (training, test): (Vec<Member<'_>>, Vec<Member<'_>>) = if train > 0 {
        let of = |part: Option<Part>| {
            members.iter().filter(|m| part.is_some() && m.part == part).copied().collect()
        };
        (of(Some(Part::Train)), of(wanted_test))
    } else {
        // Without a folder `train`, the names of folders say nothing but classes.
        (members.clone(), Vec::new())
    };
    if train > 0 && wanted_test == Some(Part::Validation) {
        notes.push("there is no folder `test`, so the pictures for validation are the test set".to_owned());
    }
    let unused = all.len() - training.len() - test.len();
    if unused > 0 {
        let read: BTreeSet<&str> = training.iter().chain(&test).map(|member| member.name).collect();
        let first = all.iter().find(|name| !read.contains(*name)).unwrap_or(&"");
        notes.push(format!(
            "{unused} pictures are left out, such as {}: they are in no class of the training or test set",
            shown(first, 60)
        ));
    }
    let known: BTreeSet<&str> = training.iter().map(|member| member.class).collect();
    if known.len() < 2 && options.class_names.is_none() {
        let class = known.first().copied().unwrap_or("");
        return Err(DataError::OneClassFolder { file: container.name(), class: shown(class, 60) });
    }
    let known: Vec<&str> = known.into_iter().collect();
    notes.push(format!("each folder is a class: {}", listed(&known)));
    notes.push(
        "the greys of the pictures are used as they are: dark ink on light paper is not inverted".to_owned(),
    );
    let mut reader = Reader { container, size: None, limit: options.max_bytes };
    let train = reader.samples(&training)?;
    let test = if test.is_empty() { None } else { Some(reader.samples(&test)?) };
    Ok(Found { train, test, notes })
}

/// Reads pictures that must all have one size.
struct Reader<'a> {
    container: &'a Container,
    /// The height and width, and the first picture that has them.
    size: Option<(usize, usize, String)>,
    limit: u64,
}

impl Reader<'_> {
    fn samples(&mut self, members: &[Member<'_>]) -> Result<Samples, DataError> {
        let names: Vec<&str> = members.iter().map(|member| member.name).collect();
        // Archives give their members in their own order.
        let mut pictures: Vec<Option<Vec<u8>>> = vec![None; names.len()];
        let mut total = 0_u64;
        let container = self.container;
        container.each(&names, &mut |at, bytes| {
            let pixels = self.picture(names[at], &bytes)?;
            total += pixels.len() as u64;
            if total > self.limit {
                let claim = String::new();
                return Err(DataError::TooLarge { file: container.name(), claim, limit: self.limit });
            }
            pictures[at] = Some(pixels);
            Ok(())
        })?;
        let mut data = Vec::with_capacity(total as usize);
        for (name, pixels) in names.iter().zip(pictures) {
            data.extend(pixels.ok_or_else(|| DataError::MissingMembers {
                file: container.name(),
                missing: shown(name, 120),
                found: String::new(),
            })?);
        }
        let (height, width) = self.size.as_ref().map_or((0, 0), |&(height, width, _)| (height, width));
        let file = container.name();
        let answers = Answers::Text(members.iter().map(|member| member.class.to_owned()).collect());
        let labels = Labels {
            file: file.clone(),
            answers,
            places: Places::Files(names.iter().map(|&name| container.display(name)).collect()),
        };
        let inputs = Inputs {
            file,
            values: Values::Bytes(data),
            samples: members.len(),
            width: height * width,
            image: Some((height, width)),
            pixels: Pixels::Always,
        };
        Ok(Samples { inputs, labels })
    }

    /// The grey pixels of a picture.
    fn picture(&mut self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
        let file = || self.container.display(name);
        let grey = decode(bytes).map_err(|refused| match refused {
            Refused::NotAPicture(what) => {
                DataError::BadPicture { file: file(), problem: format!("is {what}, not a PNG or JPEG") }
            }
            Refused::Unsupported(coding) => DataError::BadPicture {
                file: file(),
                problem: format!("is {coding}, which is not supported"),
            },
            Refused::Damaged(reason) => DataError::BadPicture {
                file: file(),
                problem: format!("is damaged or truncated ({})", shown(&reason, 200)),
            },
            Refused::TooManyPixels { width, height, .. } => DataError::BadPicture {
                file: file(),
                problem: format!("has {width}×{height} pixels, which is too many"),
            },
        })?;
        match &self.size {
            None => self.size = Some((grey.height, grey.width, file())),
            Some((height, width, first)) if (*height, *width) != (grey.height, grey.width) => {
                return Err(DataError::PictureSizes {
                    first: first.clone(),
                    first_size: format!("{width}×{height}"),
                    second: file(),
                    second_size: format!("{}×{}", grey.width, grey.height),
                    resize: format!("{width}x{height}"),
                });
            }
            Some(_) => {}
        }
        Ok(grey.luma)
    }
}
