//! Groups of users.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::UserName;

/// Longest name of a group, in characters (ownCloud's column).
const GROUP_NAME_CHARS_MAX: usize = 64;

/// The name of a group: 1 to 64 printable characters without a slash, and without spaces at its ends. Unique ignoring case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(Box<str>);

/// A text that is no name of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group name is 1 to 64 printable characters without a slash, and without spaces at its ends")]
pub struct InvalidGroupName;

impl GroupName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidGroupName`].
    pub fn parse(text: &str) -> Result<GroupName, InvalidGroupName> {
        let fits = (1..=GROUP_NAME_CHARS_MAX).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(|letter| letter == '/' || letter.is_control() || is_invisible(letter));
        if fits { Ok(GroupName(text.into())) } else { Err(InvalidGroupName) }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which names are unique.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

/// Marks of direction and the like: a name with them looks like another one.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl TryFrom<String> for GroupName {
    type Error = InvalidGroupName;
    fn try_from(text: String) -> Result<GroupName, InvalidGroupName> {
        GroupName::parse(&text)
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> String {
        name.0.into_string()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Users who are named together: to share with, and to be administered by some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Shown to people.
    pub display_name: String,
    /// Who belongs to it.
    pub members: BTreeSet<UserName>,
    /// Who may administer its members.
    pub subadmins: BTreeSet<UserName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_are_printable_and_short() {
        for good in ["a", "Café-Team", "Family & friends", "研究", &"x".repeat(64)] {
            assert!(GroupName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", " a", "a ", "a/b", "a\nb", "a\u{0}", "a\u{202e}b", &"x".repeat(65)] {
            assert!(GroupName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(GroupName::parse("Équipe").unwrap().folded(), GroupName::parse("équipe").unwrap().folded());
    }
}
