//! What went wrong while a condition was evaluated, in our words.
//!
//! INVARIANT: no value is told. What the library says holds the values themselves, of any length and, of maps, in
//! any order; they come from requests and stored relationships, and errors go to logs.

use cel::{ExecutionError, Value};

/// The functions of our own: what they say is fixed.
const OURS: [&str; 3] = ["ipaddress", "in_cidr", "isSubtreeOf"];
/// How much of a name of the expression is shown, in characters.
const MAX_WORD: usize = 64;

pub(super) fn told(error: &ExecutionError) -> String {
    use ExecutionError as E;
    match error {
        E::InvalidArgumentCount { expected, actual } => {
            format!("a function was given {actual} arguments and takes {expected}")
        }
        E::NotSupportedAsMethod { method, target } => {
            format!("`{}` is no function of {}", word(method), kind(target))
        }
        E::UnsupportedKeyType(key) => format!("{} can be no key of a map", kind(key)),
        E::NoSuchKey(_) => "a map has no such key".to_owned(),
        E::UndeclaredReference(name) => format!("`{}` is not known", word(name)),
        E::ValuesNotComparable(a, b) => format!("{} cannot be compared with {}", kind(a), kind(b)),
        E::UnsupportedBinaryOperator(operator, a, b) => {
            format!("`{operator}` does not take {} and {}", kind(a), kind(b))
        }
        E::UnsupportedIndex(index, of) => format!("{} is no index of {}", kind(index), kind(of)),
        E::FunctionError { function, message } if OURS.contains(&function.as_str()) => {
            format!("`{function}`: {message}")
        }
        E::FunctionError { function, .. } => {
            format!("`{}` cannot take what it was given", word(function))
        }
        E::DivisionByZero(_) | E::RemainderByZero(_) => "division by zero".to_owned(),
        E::Overflow(operator, ..) => format!("`{operator}` gives a number that is too large"),
        E::IndexOutOfBounds(_) => "a list has no such item".to_owned(),
        E::DuplicateKey(_) => "a map has a key twice".to_owned(),
        _ => "an operation does not take what it was given".to_owned(),
    }
}

fn kind(value: &Value) -> String {
    format!("a value of type {}", value.type_of())
}

fn word(word: &str) -> String {
    word.chars().take(MAX_WORD).collect()
}
