//! `formwork authz check --batch`: questions as JSON lines.
//!
//! Whatever whole lines have arrived are answered at once, so that a program can ask, wait for the answer and ask again;
//! where much has arrived, all processors share it. Answers come in the order of the questions.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZero,
    time::Instant,
};

use formwork_authz::{Answered, Context, Graph};

use crate::cli::{Exit, Failure};

/// Room for what has arrived.
const BUFFER: usize = 4 << 20;
/// Less than this is not worth a second thread.
const SHARED: usize = 32 << 10;
/// The longest line.
const MAX_LINE: usize = 64 << 20;

pub(super) fn run(graph: &Graph, context: &Context, from: &str, stats: bool) -> Result<(), Failure> {
    let started = Instant::now();
    let mut input: Box<dyn Read> = match from {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(File::open(path).map_err(|error| format!("`{path}` cannot be read: {error}"))?),
    };
    let answered = answer(graph, context, from, &mut input)?;
    if stats {
        let (seconds, answers) = (started.elapsed().as_secs_f64(), answered.answers);
        let rate = answers as f64 / seconds;
        eprintln!(
            "{answers} answers in {seconds:.3} seconds, {rate:.0} a second; {} errors",
            answered.errors
        );
    }
    match answered.errors {
        0 => Ok(()),
        _ => Err(Exit(1).into()),
    }
}

fn answer(graph: &Graph, context: &Context, from: &str, input: &mut dyn Read) -> Result<Answered, Failure> {
    let mut output = std::io::stdout().lock();
    let mut buffer = vec![0; BUFFER];
    let (mut filled, mut answered) = (0, Answered::default());
    loop {
        if filled == buffer.len() {
            if filled >= MAX_LINE {
                let line = answered.lines + 1;
                return Err(format!("line {line} of `{from}` is longer than {MAX_LINE} bytes").into());
            }
            buffer.resize(filled * 2, 0);
        }
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let read = input.read(room).map_err(|error| format!("`{from}` cannot be read: {error}"))?;
        filled += read;
        let arrived = buffer.get(..filled).unwrap_or_default();
        // At the end the last line needs no end of its own.
        let whole = match arrived.iter().rposition(|&byte| byte == b'\n') {
            _ if read == 0 => filled,
            Some(at) => at + 1,
            None => continue,
        };
        let (lines, _) = arrived.split_at_checked(whole).unwrap_or((arrived, &[]));
        for (answers, count) in shared(graph, context, lines, answered.lines + 1) {
            answered += count;
            // Nobody reads on: that is no fault.
            if output.write_all(&answers).is_err() {
                return Ok(answered);
            }
        }
        if output.flush().is_err() || read == 0 {
            return Ok(answered);
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// The answers of parts of the lines, in order.
fn shared(graph: &Graph, context: &Context, lines: &[u8], first_line: usize) -> Vec<(Vec<u8>, Answered)> {
    let threads =
        std::thread::available_parallelism().map_or(1, NonZero::get).min(lines.len() / SHARED).max(1);
    let (mut parts, mut rest, mut line) = (Vec::new(), lines, first_line);
    for left in (1..=threads).rev() {
        let about = rest.len() / left;
        let end =
            rest.iter().skip(about).position(|&byte| byte == b'\n').map_or(rest.len(), |at| about + at + 1);
        let (part, after) =
            rest.split_at_checked(if left == 1 { rest.len() } else { end }).unwrap_or((rest, &[]));
        parts.push((part, line));
        // The last part needs no count.
        line += if left == 1 { 0 } else { part.iter().filter(|&&byte| byte == b'\n').count() };
        rest = after;
    }
    let one = |(part, line): (&[u8], usize)| {
        let mut answers = Vec::with_capacity(part.len() / 3);
        let count = graph.answer_json_lines(context, part, line, &mut answers);
        (answers, count)
    };
    if parts.len() == 1 {
        return parts.into_iter().map(one).collect();
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = parts.iter().map(|&part| scope.spawn(move || one(part))).collect();
        let answered = running.into_iter().zip(&parts);
        // A thread that failed is asked again here, where the failure is seen.
        answered.map(|(thread, &part)| thread.join().unwrap_or_else(|_| one(part))).collect()
    })
}
