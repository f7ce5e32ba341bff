//! The expressions of conditions: where one ends in the text, and whether it can be read.
//!
//! Nothing is evaluated here. The text is bounded before CEL's parser sees it, and what it made is bounded after.
//! Of the two parsers of the crate the one of Pratt's kind is used: the other one takes 150 KB of stack for a
//! parenthesis in a debug build, so that twelve of them are the end of a thread.

use std::fmt;

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, MapExpr, StructExpr};
use cel::parser::{Expression, PrattParser};
use rustc_hash::FxHashSet;

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::rule::ConditionInfo;

/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 8192;
/// Brackets in brackets, or operators before one operand.
const MAX_NESTING: usize = 32;
/// What CEL's parser may recurse; each level costs stack.
const MAX_RECURSION: u16 = 96;
/// Operations in operations; evaluation recurses through them, and takes 38 KB of stack for each in a debug build.
/// Chains of `&&` and `||` are balanced trees, and so hardly deep.
const MAX_DEPTH: usize = 32;
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
const KNOWN_FUNCTIONS: [&str; 48] = [
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
    "type",
    "uint",
    "upperAscii",
];

/// The body of a condition: all between the braces, and the expression in it with its place.
pub(crate) struct Body<'a> {
    pub(crate) whole: &'a str,
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

/// The body that begins at a place, behind its brace; one that is not closed is reported.
pub(crate) fn body<'a>(
    source: usize,
    text: &'a str,
    at: usize,
    faults: &mut Diagnostics<'_>,
) -> Option<Body<'a>> {
    let rest = text.get(at..).unwrap_or("");
    let Some(whole) = body_length(rest).and_then(|length| rest.get(..length)) else {
        let opening = Span { source, start: at.saturating_sub(1), end: at };
        faults.report(Code::Unclosed, opening, "the condition is not closed, expected `}`");
        return None;
    };
    let text = whole.trim();
    let start = at + whole.len() - whole.trim_start().len();
    Some(Body { whole, text, span: Span { source, start, end: start + text.len() } })
}

/// The length of the text up to the brace that closes it, past strings, comments and braces of its own.
fn body_length(text: &str) -> Option<usize> {
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
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at += text.get(at + 2..).and_then(|rest| rest.find("*/")).map_or(2, |length| length + 4);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The expression without the `/* */` around it, which CEL does not know, and where it begins in the text.
pub(crate) fn uncommented(text: &str) -> (&str, usize) {
    let mut inner = text;
    while let Some((_, rest)) = inner.strip_prefix("/*").and_then(|rest| rest.split_once("*/")) {
        inner = rest.trim_start();
    }
    let start = text.len() - inner.len();
    while let Some((rest, _)) = inner.strip_suffix("*/").and_then(|rest| rest.rsplit_once("/*")) {
        inner = rest.trim_end();
    }
    (inner, start)
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
    let expression = match read(&condition.expression) {
        Ok(expression) => expression,
        Err(Unread::TooLarge) => {
            let help = format!(
                "at most {MAX_EXPRESSION} bytes, {MAX_NESTING} brackets or signs and {MAX_DEPTH} operations in one another"
            );
            let message = format!("the expression of `{}` is too large", condition.name);
            faults.report_with(Code::ExpressionTooLarge, condition.span, message, || Some(help));
            return;
        }
        Err(Unread::Syntax(errors)) => {
            for (message, position) in errors {
                let message = format!("the expression cannot be read: {message}");
                faults.report(Code::ExpressionSyntax, place(condition, position), message);
            }
            return;
        }
    };
    let found = Names::of(&expression);
    let declared = || condition.parameters.iter().map(|(name, _)| &**name);
    let known: FxHashSet<&str> = declared().collect();
    for name in &found.free {
        if !known.contains(name) && !KNOWN_NAMES.contains(name) {
            let message = format!("`{}` has no parameter `{name}`", condition.name);
            faults.report_with(Code::UndeclaredName, word(condition, name), message, || {
                Some(match nearest(name, declared()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare it: `{name}`, with its type"),
                })
            });
        }
    }
    for function in &found.functions {
        if !KNOWN_FUNCTIONS.contains(function) {
            let message = format!("`{function}` is no function that conditions can call");
            faults.report_with(Code::UnknownFunction, word(condition, function), message, || {
                nearest(function, KNOWN_FUNCTIONS.into_iter()).map(|near| format!("did you mean `{near}`?"))
            });
        }
    }
    for ((name, _), &span) in condition.parameters.iter().zip(names) {
        if !found.free.contains(&**name) {
            let message = format!("the parameter `{name}` of `{}` is not used", condition.name);
            faults.report(Code::UnusedParameter, span, message);
        }
    }
}

/// Why an expression cannot be read.
#[derive(Debug)]
pub(crate) enum Unread {
    TooLarge,
    /// Messages and places, line and column from 1; never empty.
    Syntax(Vec<(String, (isize, isize))>),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the expression is too large"),
            Self::Syntax(faults) => f.write_str(faults.first().map_or("", |(message, _)| message)),
        }
    }
}

/// Reads an expression, whose depth is bounded, so that what walks or evaluates it may recurse.
pub(crate) fn read(text: &str) -> Result<Expression, Unread> {
    if too_large(text) {
        return Err(Unread::TooLarge);
    }
    let parsed = PrattParser::new().max_recursion_depth(MAX_RECURSION).parse(text);
    let expression = parsed.map_err(|errors| {
        let told = errors.errors.iter().take(3).map(|error| (told(&error.msg), error.pos));
        Unread::Syntax(told.collect())
    })?;
    if Names::of(&expression).depth > MAX_DEPTH { Err(Unread::TooLarge) } else { Ok(expression) }
}

/// `mismatched input 'b' expecting <EOF>` in our words.
fn told(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let end = |word: &str| if word == "<EOF>" { "the end".to_owned() } else { format!("`{word}`") };
    let parts = message.strip_prefix("mismatched input '").and_then(|rest| rest.rsplit_once("' expecting "));
    let message = match parts {
        Some((found, "<EOF>")) => format!("expected an operator or the end, found {}", end(found)),
        Some((found, expected)) => format!("expected {expected}, found {}", end(found)),
        None => message.to_owned(),
    };
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
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

/// What an expression names, but for what a macro binds itself.
#[derive(Default)]
struct Names<'e> {
    free: FxHashSet<&'e str>,
    functions: FxHashSet<&'e str>,
    depth: usize,
}

/// What is still to be done while an expression is walked, without recursion.
enum Step<'e> {
    Enter(&'e Expression, usize),
    Bind(&'e ComprehensionExpr),
    /// Forgets what was bound since there were so many.
    Unbind(usize),
}

impl<'e> Names<'e> {
    fn of(expression: &'e Expression) -> Self {
        let (mut names, mut bound) = (Self::default(), Vec::new());
        let mut todo = vec![Step::Enter(expression, 1)];
        while let Some(step) = todo.pop() {
            match step {
                Step::Enter(expression, depth) => names.enter(expression, depth, &bound, &mut todo),
                Step::Bind(comprehension) => {
                    bound.push(comprehension.iter_var.as_str());
                    bound.extend(comprehension.iter_var2.as_deref());
                    bound.push(&comprehension.accu_var);
                }
                Step::Unbind(count) => bound.truncate(count),
            }
        }
        names
    }

    fn enter(
        &mut self,
        expression: &'e Expression,
        depth: usize,
        bound: &[&'e str],
        todo: &mut Vec<Step<'e>>,
    ) {
        self.depth = self.depth.max(depth);
        let mut enter = |expression: &'e Expression| todo.push(Step::Enter(expression, depth + 1));
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                    self.free.insert(name);
                }
            }
            Expr::Select(select) => enter(&select.operand),
            Expr::List(list) => list.elements.iter().for_each(enter),
            Expr::Call(call) => {
                // Operators are functions whose names are no words.
                if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    self.functions.insert(&call.func_name);
                }
                call.target.iter().map(|target| &**target).chain(&call.args).for_each(enter);
            }
            Expr::Map(MapExpr { entries }) | Expr::Struct(StructExpr { entries, .. }) => {
                for entry in entries {
                    match &entry.expr {
                        EntryExpr::StructField(field) => enter(&field.value),
                        EntryExpr::MapEntry(entry) => {
                            [&entry.key, &entry.value].into_iter().for_each(&mut enter)
                        }
                    }
                }
            }
            Expr::Comprehension(comprehension) => {
                // In the order of a stack: the last is done first.
                todo.push(Step::Unbind(bound.len()));
                for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                    todo.push(Step::Enter(part, depth + 1));
                }
                todo.push(Step::Bind(comprehension));
                for part in [&comprehension.iter_range, &comprehension.accu_init] {
                    todo.push(Step::Enter(part, depth + 1));
                }
            }
        }
    }
}
