//! The names of the classes.

/// The names of the classes, safe to write to a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    names: Vec<String>,
    digits: bool,
}

impl Names {
    /// Takes the names from a data set or model. Control characters, with which a file could steer the terminal, become
    /// `�`.
    pub(crate) fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let clean = |name: &str| name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let names: Vec<String> = names.iter().map(|name| clean(name.as_ref())).collect();
        let digits = names.len() == 10 && names.iter().enumerate().all(|(at, name)| *name == at.to_string());
        Self { names, digits }
    }

    /// The classes `0` to `classes - 1`, named by their numbers.
    pub(crate) fn numbered(classes: usize) -> Self {
        Self::new(&(0..classes).map(|class| class.to_string()).collect::<Vec<_>>())
    }

    /// The number of classes.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name of a class, for tables; `?7` for a class without one.
    pub(crate) fn name(&self, class: usize) -> String {
        self.names.get(class).cloned().unwrap_or_else(|| format!("?{class}"))
    }

    /// A class as the caption of a picture: `Digit 6` if the classes are the ten digits, `Class 6` if they are other
    /// numbers, else the name itself.
    pub(crate) fn caption(&self, class: usize) -> String {
        let name = self.name(class);
        if self.digits {
            format!("Digit {name}")
        } else if name.parse::<f64>().is_ok() {
            format!("Class {name}")
        } else {
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_say_what_the_class_is() {
        assert_eq!(Names::numbered(10).caption(6), "Digit 6");
        assert_eq!(Names::numbered(3).caption(2), "Class 2");
        assert_eq!(Names::new(&["T-shirt", "Trouser"]).caption(0), "T-shirt");
        assert_eq!(Names::numbered(3).name(7), "?7");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(Names::new(&["\x1b[2Jgone", "a\nb"]).name(0), "\u{fffd}[2Jgone");
    }
}
