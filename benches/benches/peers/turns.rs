//! Turns: each round of a row goes through all engines, so that what disturbs the machine disturbs all alike.

use std::time::Duration;

use formwork_benches::report::{Cell, Measured, ROWS};

const ROUNDS: usize = 9;
/// Whoever has taken so long with a row is not asked again.
const ENOUGH: Duration = Duration::from_secs(3);

/// One engine before it is measured.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    /// One for each of [`ROWS`].
    pub(crate) turns: Vec<Turn<'a>>,
}

pub(crate) enum Turn<'a> {
    /// Does the work so many times and says how long one took.
    Timed(Box<dyn FnMut() -> (usize, Duration) + 'a>),
    Known(Cell),
}

pub(crate) fn take(mut contestants: Vec<Contestant<'_>>) -> Vec<Measured> {
    let mut measured: Vec<Measured> = contestants
        .iter()
        .map(|contestant| Measured { name: contestant.name.clone(), cells: Vec::new() })
        .collect();
    for (row, name) in ROWS.iter().enumerate() {
        eprintln!("peers:   {name}");
        let mut turns: Vec<&mut Turn<'_>> =
            contestants.iter_mut().filter_map(|contestant| contestant.turns.get_mut(row)).collect();
        for (measured, cell) in measured.iter_mut().zip(rounds(&mut turns)) {
            measured.cells.push(cell);
        }
    }
    measured
}

fn rounds(turns: &mut [&mut Turn<'_>]) -> Vec<Cell> {
    let mut best = vec![f64::INFINITY; turns.len()];
    let mut spent = vec![Duration::ZERO; turns.len()];
    for _ in 0..ROUNDS {
        for ((turn, best), spent) in turns.iter_mut().zip(&mut best).zip(&mut spent) {
            if let (Turn::Timed(work), true) = (&mut **turn, *spent < ENOUGH) {
                let (count, took) = work();
                *spent += took;
                *best = best.min(took.as_nanos() as f64 / count as f64);
            }
        }
    }
    turns
        .iter()
        .zip(best)
        .map(|(turn, best)| if let Turn::Known(cell) = &**turn { cell.clone() } else { Cell::Nanos(best) })
        .collect()
}
