//! The expressions of conditions: where one ends in the text, and whether it can be read.
//!
//! Nothing is evaluated here. The text is bounded before CEL's own parser sees it, because that parser
//! recurses.

use cel::parser::Parser;

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::rule::ConditionInfo;

/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 4096;
/// Brackets in brackets, or operators before one operand.
const MAX_NESTING: usize = 32;
/// What CEL's parser may recurse; each level costs stack.
const MAX_RECURSION: u16 = 64;
/// Names that are no variables: the types and constants of CEL.
const KNOWN_NAMES: [&str; 13] = [
    "true",
    "false",
    "null",
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
];
/// Functions of the language, of its usual extensions, and ours.
const KNOWN_FUNCTIONS: [&str; 47] = [
    "all",
    "bool",
    "bytes",
    "ceil",
    "charAt",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "floor",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "has",
    "in_cidr",
    "indexOf",
    "int",
    "ipaddress",
    "isSubtreeOf",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "map",
    "matches",
    "max",
    "min",
    "replace",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "timestamp",
    "trim",
    "uint",
    "upperAscii",
];

/// The length of the text up to the brace that closes it, past strings, comments and braces of its own.
pub(crate) fn body_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'"' | b'\'' => {
                at += string_length(bytes, at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while bytes.get(at).is_some_and(|&byte| byte != b'\n') {
                    at += 1;
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of the string literal that begins here. One that is not closed ends with its line, or with the
/// text when it has three quotes.
fn string_length(bytes: &[u8], start: usize) -> usize {
    let Some(&quote) = bytes.get(start) else { return 0 };
    let before = start.checked_sub(1).and_then(|at| bytes.get(at));
    let raw = matches!(before, Some(b'r' | b'R'));
    let triple = bytes.get(start..start + 3).is_some_and(|three| three.iter().all(|&byte| byte == quote));
    let mut at = start + if triple { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' && !raw {
            at += 2;
        } else if byte == b'\n' && !triple {
            return at - start;
        } else if byte != quote {
            at += 1;
        } else if !triple {
            return at + 1 - start;
        } else if bytes.get(at..at + 3).is_some_and(|three| three.iter().all(|&byte| byte == quote)) {
            return at + 3 - start;
        } else {
            at += 1;
        }
    }
    bytes.len() - start
}

/// Whether CEL's parser can take the text without going deep.
fn too_large(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut prefix) = (0, 0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at += string_length(bytes, at).max(1);
                prefix = 0;
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'!' | b'-' | b'?' => prefix += 1,
            _ => {}
        }
        if !matches!(byte, b'!' | b'-' | b'?') && !byte.is_ascii_whitespace() {
            prefix = 0;
        }
        if depth > MAX_NESTING || prefix > MAX_NESTING {
            return true;
        }
        at += 1;
    }
    text.len() > MAX_EXPRESSION
}

/// Reads the expression of a condition and verifies its names.
pub(crate) fn verify(condition: &ConditionInfo, names: &[Span], faults: &mut Diagnostics<'_>) {
    let text = &*condition.expression;
    if too_large(text) {
        let help =
            format!("at most {MAX_EXPRESSION} bytes, and {MAX_NESTING} brackets or signs in one another");
        let message = format!("the expression of `{}` is too large", condition.name);
        faults.report_with(Code::ExpressionTooLarge, condition.span, message, || Some(help));
        return;
    }
    let parsed = Parser::new().max_recursion_depth(MAX_RECURSION).parse_with_source_info(text);
    let expression = match parsed {
        Ok((expression, _)) => expression,
        Err(errors) => {
            for error in errors.errors.iter().take(3) {
                let message = format!("the expression cannot be read: {}", one_line(&error.msg));
                faults.report(Code::ExpressionSyntax, place(condition, error.pos), message);
            }
            return;
        }
    };
    let mut names_of = Names::default();
    names_of.collect(&expression, &mut Vec::new());
    let declared = || condition.parameters.iter().map(|(name, _)| &**name);
    for name in &names_of.free {
        if !declared().any(|declared| declared == name) && !KNOWN_NAMES.contains(&name.as_str()) {
            let message = format!("`{}` has no parameter `{name}`", condition.name);
            faults.report_with(Code::UndeclaredName, word(condition, name), message, || {
                Some(match nearest(name, declared()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare it: `{name}`, with its type"),
                })
            });
        }
    }
    for function in &names_of.functions {
        if !KNOWN_FUNCTIONS.contains(&function.as_str()) {
            let message = format!("`{function}` is no function that conditions can call");
            faults.report_with(Code::UnknownFunction, word(condition, function), message, || {
                nearest(function, KNOWN_FUNCTIONS.into_iter()).map(|near| format!("did you mean `{near}`?"))
            });
        }
    }
    for ((name, _), &span) in condition.parameters.iter().zip(names) {
        if !names_of.free.iter().any(|free| **free == **name) {
            let message = format!("the parameter `{name}` of `{}` is not used", condition.name);
            faults.report(Code::UnusedParameter, span, message);
        }
    }
}

/// The message of an ANTLR parser, shortened to what it met.
fn one_line(message: &str) -> String {
    let short = message.split("expecting").next().unwrap_or(message).trim();
    short.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}

/// Line and column of CEL, the first counted from 1, as a place in the source.
fn place(condition: &ConditionInfo, (line, column): (isize, isize)) -> Span {
    let text = &*condition.expression;
    let lines_before = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let mut starts = 0;
    for line in text.split_inclusive('\n').take(lines_before) {
        starts += line.len();
    }
    let rest = text.get(starts..).unwrap_or("");
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let offset = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
    let length = rest.get(offset..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    within(condition, starts + offset, length)
}

/// The first place of a word.
fn word(condition: &ConditionInfo, word: &str) -> Span {
    let text = &*condition.expression;
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let whole = |at: &usize| {
        let before = text.get(..*at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        !part(before) && !part(after) && before != Some('.')
    };
    let first = text.match_indices(word).map(|(at, _)| at);
    let at = first.clone().find(whole).or_else(|| first.clone().next()).unwrap_or(0);
    within(condition, at, word.len())
}

/// A part of the expression. A text that was written with escapes has no places of its own.
fn within(condition: &ConditionInfo, at: usize, length: usize) -> Span {
    let Span { source, start, end } = condition.span;
    if end - start != condition.expression.len() {
        return condition.span;
    }
    let start = (start + at).min(end);
    Span { source, start, end: (start + length).min(end.max(start)) }
}

/// The names of an expression that a macro does not bind itself.
#[derive(Default)]
struct Names {
    free: Vec<String>,
    functions: Vec<String>,
}

impl Names {
    /// Recursion is bounded: CEL's parser bounds the depth of expressions.
    fn collect(&mut self, expression: &cel::parser::Expression, bound: &mut Vec<String>) {
        use cel::common::ast::{EntryExpr, Expr};
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                if !name.starts_with('@') && !bound.contains(name) && !self.free.contains(name) {
                    self.free.push(name.clone());
                }
            }
            Expr::Select(select) => self.collect(&select.operand, bound),
            Expr::List(list) => list.elements.iter().for_each(|element| self.collect(element, bound)),
            Expr::Call(call) => {
                let name = &call.func_name;
                let plain = name.starts_with(|c: char| c.is_ascii_alphabetic());
                if plain && !self.functions.contains(name) {
                    self.functions.push(name.clone());
                }
                for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                    self.collect(part, bound);
                }
            }
            Expr::Comprehension(comprehension) => {
                self.collect(&comprehension.iter_range, bound);
                self.collect(&comprehension.accu_init, bound);
                let before = bound.len();
                bound.push(comprehension.iter_var.clone());
                bound.extend(comprehension.iter_var2.clone());
                bound.push(comprehension.accu_var.clone());
                for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                    self.collect(part, bound);
                }
                bound.truncate(before);
            }
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, bound)),
            Expr::Struct(structure) => {
                structure.entries.iter().for_each(|entry: &cel::common::ast::IdedEntryExpr| {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        self.collect(&field.value, bound);
                    }
                });
            }
        }
    }

    fn entry(&mut self, entry: &cel::common::ast::EntryExpr, bound: &mut Vec<String>) {
        use cel::common::ast::EntryExpr;
        match entry {
            EntryExpr::StructField(field) => self.collect(&field.value, bound),
            EntryExpr::MapEntry(entry) => {
                self.collect(&entry.key, bound);
                self.collect(&entry.value, bound);
            }
        }
    }
}
