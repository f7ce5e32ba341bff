//! Forms under which values count as equal in a blind index.
//!
//! Any `fn(&str) -> String` will do; a change of it needs the indexes made anew.

/// As it is.
pub fn exact(text: &str) -> String {
    text.to_owned()
}

/// Without white space around it, in lower case: email addresses.
pub fn ignoring_case(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Letters and digits alone, in lower case: telephone, passport and account numbers.
pub fn letters_and_digits(text: &str) -> String {
    text.chars().filter(|sign| sign.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
